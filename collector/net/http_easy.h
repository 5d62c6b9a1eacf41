/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One transfer of http_client.h as libcurl knows it: its options, what libcurl asks about its body
 * and hands over of its answer, and how it ended. For http_client.c only.
 */
#ifndef UT_NET_HTTP_EASY_H
#define UT_NET_HTTP_EASY_H

#include "net/curl_library.h"

#include "net/http_client.h"

enum { UT_HTTP_EASY_FORMER = 8 };

/* What all transfers of a client share. */
struct ut_http_easy {
    const struct ut_http_client_options *options;
    char *url; /* as libcurl gets it */
    struct curl_slist *headers, *connect_to;
    /* Lists that were replaced, and may be read by transfers that are under way. */
    struct curl_slist *former[UT_HTTP_EASY_FORMER];
    size_t former_count;
};

/* 0 or -ENOMEM; done in any case. */
int ut_http_easy_init(struct ut_http_easy *easy,
                      const struct ut_http_client_options *options) UT_MUST_USE;
void ut_http_easy_done(struct ut_http_easy *easy);

/* A handle with all options but those of its call; NULL: out of memory, or libcurl refuses one. */
CURL *ut_http_easy_new(const struct ut_http_easy *easy);
/* Adds a field to all requests from now on, in place of the one that was added before. 0, -ENOMEM,
 * or -EBUSY where it has to wait for ut_http_easy_settle. */
int ut_http_easy_show(struct ut_http_easy *easy, const char *name, const char *value) UT_MUST_USE;
/* No transfer is under way. */
void ut_http_easy_settle(struct ut_http_easy *easy);
/* Gives the handle its call, whose result is cleared. 0 or -ENOMEM. */
int ut_http_easy_begin(const struct ut_http_easy *easy, CURL *handle,
                       struct ut_http_call *call) UT_MUST_USE;
/* Whether the call of the handle has, or had, a connection. */
bool ut_http_easy_connected(CURL *handle);
/* The transfer has ended with `code`: fills in the call's result. */
void ut_http_easy_end(const struct ut_http_easy *easy, CURL *handle, struct ut_http_call *call,
                      CURLcode code);

#endif
