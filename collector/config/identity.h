/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `undertrace.identity`: whose word counts beside the kernel's on who sent a span. Read with the
 * configuration; asked by receivers (users, certificates) and by the join (workloads, claims).
 */
#ifndef UT_CONFIG_IDENTITY_H
#define UT_CONFIG_IDENTITY_H

#include "config/field.h"

enum { UT_IDENTITY_FORWARDERS_MAX = 64 }; /* of each kind */

/* Whose claims in a Resource (`container.id`) name its sender where the kernel does not. */
enum ut_trust_claims {
    UT_TRUST_NO_CLAIMS,
    UT_TRUST_FORWARDERS_CLAIMS, /* those that trusted forwarders bring */
    UT_TRUST_REMOTE_CLAIMS,     /* and those of whoever is not on this host */
};

struct ut_config_identity {
    /* Senders that pass spans of others on, and what an Undertrace before them found out. */
    struct {
        struct ut_strings uids;       /* of a unix socket's peer: numbers or names */
        struct ut_strings cert_names; /* of a TLS client's verified certificate */
        struct ut_strings workloads;  /* cgroup paths; '*' stands for a part of one name */
    } forwarders;
    int trust_claims; /* enum ut_trust_claims */
    char *containerd; /* "auto", "off", or its socket: "unix:///path" */
};

extern const struct ut_field ut_config_identity_fields[];

/* Whether the workload of that cgroup path is a trusted forwarder. */
bool ut_config_identity_has_workload(const struct ut_config_identity *identity, const char *path);

#endif
