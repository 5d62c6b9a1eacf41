/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of libcurl's functions. It is the one thing here that is the process's and no worker's:
 * like what the loader itself binds it is written once, and the same whoever does it.
 */
#include "net/curl_library.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>

#define LIBRARY "libcurl.so.4"

static bool bind_all(struct ut_curl *table, void *library)
{
#define BIND(name)                                                                                 \
    void *at_##name = dlsym(library, "curl_" #name);                                               \
    memcpy(&table->name, &at_##name, sizeof(at_##name));
    UT_CURL_FUNCTIONS(BIND)
#undef BIND
#define IS_THERE(name) &&table->name != NULL
    return true UT_CURL_FUNCTIONS(IS_THERE);
#undef IS_THERE
}

const struct ut_curl *ut_curl(const char **ret_error)
{
    static struct ut_curl table;
    if (table.url_strerror != NULL)
        return &table;
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    struct ut_curl found = {0};
    if (library != NULL && bind_all(&found, library)) {
        table = found;
        return &table;
    }
    if (ret_error != NULL)
        *ret_error = library == NULL ? dlerror() : LIBRARY " is too old";
    return NULL;
}
