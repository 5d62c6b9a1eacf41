/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the credentials of a listener come from: texts of the configuration, and a file that is
 * looked at once a second, and when somebody says that it has changed (SIGHUP).
 *
 * A file that has changed is read once it stayed the same for a second, so that half of one that is
 * being written never counts. One that cannot be read, or holds nothing that is fine, is said, once
 * for each state it is found in, and what was in force stays so.
 *
 * States: started (the timer is set while there is a file, or something that expires) → stopped.
 */
#ifndef UT_NET_AUTH_SOURCE_H
#define UT_NET_AUTH_SOURCE_H

#include <sys/stat.h>

#include "loop/worker.h"
#include "net/auth.h"

enum { UT_AUTH_FILE_MAX = 64 << 10, UT_AUTH_TEXTS_MAX = UT_AUTH_MAX / 2 };

#define UT_AUTH_LOOK_NS UT_NS_PER_S

struct ut_auth_source {
    struct ut_auth *auth;
    struct ut_worker *worker;
    const char *id;           /* the component, for the log */
    const char *const *texts; /* of the configuration; borrowed, as the rest */
    size_t text_count;
    const char *file;       /* NULL: none */
    struct stat used, seen; /* the file as it was read, or refused, and as it was looked at last */
    struct ut_timer look;
    uint64_t next_look_ns;
    uint64_t *reloads, *failures; /* cells of counters */
};

/* Reads everything; the caller has filled the fields from `auth` to `file`. `labels` are of the
 * metrics. 0, or a negative errno with the reason in `error`: nothing is started then. */
int ut_auth_source_start(struct ut_auth_source *source, const char *labels, char *error,
                         size_t error_size) UT_MUST_USE;
void ut_auth_source_stop(struct ut_auth_source *source);
/* `source`, which was just started, takes the place of `from`: what was good there is good for a
 * while yet (ut_auth_inherit). */
void ut_auth_source_inherit(struct ut_auth_source *source, const struct ut_auth_source *from);
/* Looks at the file now, and believes it. */
void ut_auth_source_reread(struct ut_auth_source *source);

#endif
