/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client shows a backend: one header field, made of a bearer token (RFC 6750) or a user and
 * password (RFC 7617). A token's file is looked at once a second, and when somebody says that it
 * has changed; what it holds counts once it stayed the same for a second. A file that cannot be
 * read, or holds no token, is said once for each state it is found in, and the former value stays.
 */
#ifndef UT_NET_CREDENTIALS_H
#define UT_NET_CREDENTIALS_H

#include <sys/stat.h>

#include "loop/worker.h"
#include "net/auth_settings.h"

enum {
    UT_CREDENTIALS_VALUE = 4096, /* bytes of a value, with the terminator */
    /* Values that stay readable after they were replaced, for requests that are on their way. */
    UT_CREDENTIALS_KEPT = 4,
    UT_CREDENTIALS_ERROR = 200,
};

struct ut_credentials {
    /* The owner's; may be NULL. `value` is another. */
    void (*changed)(struct ut_credentials *credentials);

    char name[UT_AUTH_WORD_MAX]; /* of the field, in lower case */
    const char *value;

    struct ut_worker *worker;
    const char *id; /* the exporter, for the log */
    struct ut_client_auth auth;
    struct stat used, seen; /* the file as it was read, or refused, and as it was looked at last */
    struct ut_timer look;
    unsigned newest;
    char values[UT_CREDENTIALS_KEPT][UT_CREDENTIALS_VALUE];
};

/* Reads the file, if there is one; `id` is the exporter's. 0, or a negative errno with the reason
 * in `error`: nothing is started then. */
int ut_credentials_start(struct ut_credentials *credentials, struct ut_worker *worker,
                         const char *id, const struct ut_client_extension *extension,
                         char error[UT_CREDENTIALS_ERROR]) UT_MUST_USE;
/* Looks at the file now, and believes it. */
void ut_credentials_reread(struct ut_credentials *credentials);
/* Not started: nothing. */
void ut_credentials_stop(struct ut_credentials *credentials);

#endif
