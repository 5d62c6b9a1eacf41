/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl, opened by the first who needs it. What it brings along (three more TLS and key
 * libraries, Kerberos, LDAP, SSH) costs a process 3.5 MiB, and most of them never send over HTTP.
 * To be included in place of <curl/curl.h>, whose names stay; nothing links libcurl.
 */
#ifndef UT_NET_CURL_LIBRARY_H
#define UT_NET_CURL_LIBRARY_H

#include <curl/curl.h>

#define UT_CURL_FUNCTIONS(EACH)                                                                    \
    EACH(easy_cleanup)                                                                             \
    EACH(easy_getinfo)                                                                             \
    EACH(easy_init)                                                                                \
    EACH(easy_setopt)                                                                              \
    EACH(easy_strerror)                                                                            \
    EACH(free)                                                                                     \
    EACH(global_cleanup)                                                                           \
    EACH(global_init)                                                                              \
    EACH(multi_add_handle)                                                                         \
    EACH(multi_assign)                                                                             \
    EACH(multi_cleanup)                                                                            \
    EACH(multi_info_read)                                                                          \
    EACH(multi_init)                                                                               \
    EACH(multi_remove_handle)                                                                      \
    EACH(multi_setopt)                                                                             \
    EACH(multi_socket_action)                                                                      \
    EACH(slist_append)                                                                             \
    EACH(slist_free_all)                                                                           \
    EACH(url)                                                                                      \
    EACH(url_cleanup)                                                                              \
    EACH(url_get)                                                                                  \
    EACH(url_set)                                                                                  \
    EACH(url_strerror)

#define UT_CURL_MEMBER(name) __typeof__(curl_##name) *name;
struct ut_curl {
    UT_CURL_FUNCTIONS(UT_CURL_MEMBER)
};
#undef UT_CURL_MEMBER

/* The library's functions, for good; NULL: it cannot be opened, and `*ret_error` says why (static;
 * may be NULL). Whoever has asked once and got it may call all functions below. From one thread. */
const struct ut_curl *ut_curl(const char **ret_error);

/* Some are macros that check types, of a function of the same name. */
#undef curl_easy_getinfo
#undef curl_easy_setopt
#undef curl_multi_setopt
#define curl_easy_cleanup ut_curl(NULL)->easy_cleanup
#define curl_easy_getinfo ut_curl(NULL)->easy_getinfo
#define curl_easy_init ut_curl(NULL)->easy_init
#define curl_easy_setopt ut_curl(NULL)->easy_setopt
#define curl_easy_strerror ut_curl(NULL)->easy_strerror
#define curl_free ut_curl(NULL)->free
#define curl_global_cleanup ut_curl(NULL)->global_cleanup
#define curl_global_init ut_curl(NULL)->global_init
#define curl_multi_add_handle ut_curl(NULL)->multi_add_handle
#define curl_multi_assign ut_curl(NULL)->multi_assign
#define curl_multi_cleanup ut_curl(NULL)->multi_cleanup
#define curl_multi_info_read ut_curl(NULL)->multi_info_read
#define curl_multi_init ut_curl(NULL)->multi_init
#define curl_multi_remove_handle ut_curl(NULL)->multi_remove_handle
#define curl_multi_setopt ut_curl(NULL)->multi_setopt
#define curl_multi_socket_action ut_curl(NULL)->multi_socket_action
#define curl_slist_append ut_curl(NULL)->slist_append
#define curl_slist_free_all ut_curl(NULL)->slist_free_all
#define curl_url ut_curl(NULL)->url
#define curl_url_cleanup ut_curl(NULL)->url_cleanup
#define curl_url_get ut_curl(NULL)->url_get
#define curl_url_set ut_curl(NULL)->url_set
#define curl_url_strerror ut_curl(NULL)->url_strerror

#endif
