/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may reach a port of the otlp receiver: the rights of its unix socket and the users that may
 * connect to it. Used by settings.c, which reads it, and by the port that it belongs to.
 */
#ifndef UT_OTLP_RECEIVER_ACCESS_H
#define UT_OTLP_RECEIVER_ACCESS_H

#include "auth.h"
#include "config/field.h"
#include "model/batch.h"
#include "net/unix_peer.h"
#include "net/unix_socket.h"
#include "telemetry/metrics.h"

enum ut_otlp_network { UT_OTLP_NETWORK_TCP, UT_OTLP_NETWORK_UNIX };

struct ut_otlp_access_settings {
    int transport; /* enum ut_otlp_network: what an endpoint without a scheme is */
    char *socket_mode, *socket_owner, *socket_group;
    struct ut_otlp_auth_settings auth;
    bool has_auth;
};

extern const char *const ut_otlp_networks[];

/* The rows of a protocol's table whose struct `owner` has a member `access`. */
#define UT_OTLP_ACCESS_FIELDS(owner)                                                               \
    {.key = "transport",                                                                           \
     .type = UT_FIELD_ENUM,                                                                        \
     .offset = offsetof(owner, access.transport),                                                  \
     .fallback = "tcp",                                                                            \
     .words = ut_otlp_networks},                                                                   \
        {.key = "socket_mode",                                                                     \
         .type = UT_FIELD_STRING,                                                                  \
         .offset = offsetof(owner, access.socket_mode)},                                           \
        {.key = "socket_owner",                                                                    \
         .type = UT_FIELD_STRING,                                                                  \
         .offset = offsetof(owner, access.socket_owner)},                                          \
        {.key = "socket_group",                                                                    \
         .type = UT_FIELD_STRING,                                                                  \
         .offset = offsetof(owner, access.socket_group)},                                          \
    {                                                                                              \
        .key = "auth", .type = UT_FIELD_MAP, .offset = offsetof(owner, access.auth),               \
        .fields = ut_otlp_auth_fields, .present = offsetof(owner, access.has_auth)                 \
    }

/* Whether the endpoint is a unix socket's. */
bool ut_otlp_access_is_unix(const struct ut_otlp_access_settings *settings, const char *endpoint);
/* Reports what cannot be; `protocol` is "grpc" or "http". */
void ut_otlp_access_check(struct ut_config_report *report, const char *protocol,
                          const struct ut_otlp_access_settings *settings, const char *endpoint);

/* Of a port that is a unix socket. */
struct ut_otlp_access {
    struct ut_unix_place place;
    struct ut_unix_allowed allowed;
    struct ut_unix_allowed forwarders; /* by their users only */
    struct ut_cgroup_mount mount;
    bool has_mount;
    uint64_t *refused_users, *peers[UT_UNIX_PEER_CGROUPS];
};

/* Looks names up. 0, or a negative errno with the reason in `error`. */
int ut_otlp_access_init(struct ut_otlp_access *access,
                        const struct ut_otlp_access_settings *settings, const char *endpoint,
                        char *error, size_t error_size) UT_MUST_USE;
/* The users whose spans may be those of others; as above. */
int ut_otlp_access_trust(struct ut_otlp_access *access, const struct ut_strings *uids, char *error,
                         size_t error_size) UT_MUST_USE;
/* Whether both let the same users in. */
bool ut_otlp_access_is_same(const struct ut_otlp_access *a, const struct ut_otlp_access *b);
void ut_otlp_access_count(struct ut_otlp_access *access, struct ut_metrics *metrics,
                          const char *labels);
/* Asks the kernel for the peer of an accepted socket. -EACCES: it may not connect, and that is
 * counted; other negative errnos of the socket. */
int ut_otlp_access_admit(struct ut_otlp_access *access, int fd,
                         struct ut_unix_peer *ret) UT_MUST_USE;

#endif
