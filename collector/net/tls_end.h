/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS as one `tls:` section describes it, of a listener or an exporter: the context that its new
 * connections get, kept in step with the files behind it. They are looked at every
 * `reload_interval`, and when told to (SIGHUP); they are small and read on the loop. Files that
 * cannot be used are looked at again soon, for they may be in the middle of a rotation; then it is
 * said loudly, at each look, and the old ones stay in force. Connections that are open keep theirs.
 * The keys of a server's session tickets are replaced by age.
 */
#ifndef UT_NET_TLS_END_H
#define UT_NET_TLS_END_H

#include "loop/worker.h"
#include "net/tls.h"

struct ut_tls_end_config {
    struct ut_worker *worker;
    enum ut_tls_role role;
    const struct ut_tls_settings *settings; /* borrowed, as is the next */
    const char *id;                         /* of the component */
    const char *labels;                     /* of the metrics */
};

struct ut_tls_end {
    struct ut_worker *worker;
    const struct ut_tls_settings *settings;
    const char *id;
    struct ut_tls_channel *channel;
    struct ut_tls_context *context; /* in force; NULL: there is no such section */
    struct ut_timer look, rotation;
    unsigned tries; /* that failed, of this look */
    uint64_t *reloaded, *failed;
    uint64_t *handshakes[2]; /* [resumed] */
    uint64_t *failures[UT_TLS_FAILURES];
};

/* Reads the files. 0, or a negative errno with *error: then there is nothing to be done with it. */
int ut_tls_end_init(struct ut_tls_end *end, const struct ut_tls_end_config *config,
                    struct ut_tls_error *error) UT_MUST_USE;
/* All connections must be gone. Nothing where it is cleared. */
void ut_tls_end_done(struct ut_tls_end *end);
/* The tickets that the server `from` has given are good here too, as long as the files are the same
 * and clients are asked for the same. */
void ut_tls_end_inherit(struct ut_tls_end *end, const struct ut_tls_end *from);
/* Looks at the files now. Nothing where it is cleared. */
void ut_tls_end_look(struct ut_tls_end *end);

#endif
