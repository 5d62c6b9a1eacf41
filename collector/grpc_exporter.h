/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What exporters over gRPC share: an item becomes one call of a unary method (net/grpc_client.h).
 * The message is the splice's list of runs; no byte of a span is copied on its way to the socket,
 * or to encryption. With `compression`, or where the method wants another form than OTLP's, it is
 * one piece instead, made when the item comes: as many bytes as are on their way are kept in this
 * form beside their batch.
 *
 * Such an exporter is its method, two functions that name it, and a type with UT_GRPC_EXPORTER_OPS.
 * Invariants: 1. each item is finished exactly once; 2. only when nothing refers to its batch, or
 * to what was made of it, any more.
 */
#ifndef UT_GRPC_EXPORTER_H
#define UT_GRPC_EXPORTER_H

#include "component.h"
#include "net/grpc_client.h"

struct ut_grpc_exporter_config {
    struct ut_exporter_settings settings;
    struct ut_grpc_client_settings grpc;
};

/* Constant. */
struct ut_grpc_exporter_method {
    const char *path;
    uint16_t default_port;
    /* The message of a request of checked bytes in one piece: the caller's reference; NULL: out of
     * memory. Where it is not set the request is the message. */
    struct ut_segment *(*convert)(ut_slice request, struct ut_pool *pool);
};

extern const struct ut_field ut_grpc_exporter_fields[];

/* As in struct ut_exporter_type. */
int ut_grpc_exporter_create(struct ut_exporter **ret, const struct ut_build *build,
                            const struct ut_exporter_type *type,
                            const struct ut_grpc_exporter_method *method) UT_MUST_USE;
void ut_grpc_exporter_check(const void *config, const struct ut_grpc_exporter_method *method,
                            struct ut_config_report *report);
const char *ut_grpc_exporter_endpoint(const void *config);
size_t ut_grpc_exporter_extensions(const void *config, const char **out, size_t room);
const struct ut_exporter_settings *ut_grpc_exporter_settings(const void *config);
int ut_grpc_exporter_start(struct ut_exporter *base, char error[UT_ERROR_TEXT]);
uint32_t ut_grpc_exporter_endpoints(const struct ut_exporter *base);
void ut_grpc_exporter_reread_files(struct ut_exporter *base);
void ut_grpc_exporter_send(struct ut_exporter *base, struct ut_item *item);
void ut_grpc_exporter_stop(struct ut_exporter *base, void (*stopped)(void *arg), void *arg);
void ut_grpc_exporter_free(struct ut_exporter *base);

/* All of a type but its name, `check` and `create`. */
#define UT_GRPC_EXPORTER_OPS                                                                       \
    .fields = ut_grpc_exporter_fields, .config_size = sizeof(struct ut_grpc_exporter_config),      \
    .endpoint = ut_grpc_exporter_endpoint, .extensions = ut_grpc_exporter_extensions,              \
    .settings = ut_grpc_exporter_settings, .start = ut_grpc_exporter_start,                        \
    .endpoints = ut_grpc_exporter_endpoints, .reread_files = ut_grpc_exporter_reread_files,        \
    .send = ut_grpc_exporter_send, .stop = ut_grpc_exporter_stop, .free = ut_grpc_exporter_free

#endif
