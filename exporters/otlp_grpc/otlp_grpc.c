/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The otlp_grpc exporter: an item becomes one Export call (net/grpc_client.h). The message is the
 * splice's list of runs; no byte of a span is copied on its way to the socket, or to encryption.
 * With `compression` it is one compressed run instead, made when the item comes: as many bytes as
 * are on their way are kept in this form beside their batch.
 *
 * Invariants: 1. each item is finished exactly once; 2. only when nothing refers to its batch any
 * more.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "net/grpc_client.h"
#include "otlp/splice.h"
#include "otlp_grpc_exporter/settings.h"

extern const struct ut_exporter_type ut_exporter_otlp_grpc;

struct otlp_grpc {
    struct ut_exporter base;
    struct ut_worker *worker;
    const struct ut_otlp_grpc_config *config;
    struct ut_grpc_client *client;
};

struct send {
    struct ut_grpc_client_call call;
    struct otlp_grpc *exporter;
    struct ut_item *item;
    struct ut_splice splice;
};

static const struct ut_field fields[] = {
    UT_EXPORTER_FIELDS,
    UT_GRPC_CLIENT_FIELDS(struct ut_otlp_grpc_config, grpc),
    UT_FIELD_END,
};

static struct otlp_grpc *exporter_of(struct ut_exporter *base)
{
    return UT_CONTAINER_OF(base, struct otlp_grpc, base);
}

/* ---- sending --------------------------------------------------------------------------------- */

static void release(struct send *send)
{
    ut_splice_done(&send->splice);
    ut_pool_free(&send->exporter->worker->pool, send);
}

static void on_done(struct ut_grpc_client_call *call, const struct ut_outcome *outcome)
{
    struct send *send = UT_CONTAINER_OF(call, struct send, call);
    struct ut_item *item = send->item;
    release(send);
    item->done(item, outcome);
}

static void refuse(struct ut_item *item, enum ut_result result, const char *text)
{
    item->done(item,
               &(struct ut_outcome){.result = result, .cause = UT_SETBACK_LOCAL, .text = text});
}

static void start_send(struct send *send)
{
    struct ut_item *item = send->item;
    char text[96];
    int error = ut_grpc_client_pack(send->exporter->client, &send->call);
    if (error == 0) {
        if (send->call.packed != NULL)
            ut_splice_done(&send->splice);
        ut_grpc_client_send(&send->call);
        return;
    }
    (void)snprintf(text, sizeof(text), "%zu bytes are more than max_message_bytes, %" PRIu64,
                   send->splice.bytes, send->exporter->config->grpc.max_message_bytes);
    release(send);
    if (error == -EMSGSIZE)
        refuse(item, UT_TOO_LARGE, text);
    else
        refuse(item, UT_RETRY, "out of memory");
}

static void send_item(struct ut_exporter *base, struct ut_item *item)
{
    struct otlp_grpc *exporter = exporter_of(base);
    struct send *send = ut_pool_alloc(&exporter->worker->pool, sizeof(*send));
    if (send == NULL) {
        refuse(item, UT_RETRY, "out of memory");
        return;
    }
    if (ut_splice_batch(&send->splice, item->batch, item->first_span, item->span_count) != 0) {
        ut_pool_free(&exporter->worker->pool, send);
        refuse(item, UT_RETRY, "out of memory");
        return;
    }
    send->exporter = exporter;
    send->item = item;
    send->call.done = on_done;
    send->call.runs = send->splice.runs;
    send->call.run_count = send->splice.run_count;
    send->call.bytes = send->splice.bytes;
    send->call.span_count = item->span_count;
    send->call.endpoint = item->endpoint;
    start_send(send);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void check(const void *config, struct ut_config_report *report)
{
    ut_grpc_client_check(&((const struct ut_otlp_grpc_config *)config)->grpc, UT_OTLP_GRPC_PORT,
                         report);
}

static int create(struct ut_exporter **ret, const struct ut_build *build)
{
    struct ut_worker *worker = build->worker;
    const struct ut_otlp_grpc_config *config = build->config;
    struct otlp_grpc *exporter = ut_pool_alloc(&worker->pool, sizeof(*exporter));
    if (exporter == NULL)
        return -ENOMEM;
    *exporter =
        (struct otlp_grpc){.base = {&ut_exporter_otlp_grpc}, .worker = worker, .config = config};
    const struct ut_grpc_client_options options = {
        .id = build->id,
        .path = UT_OTLP_GRPC_PATH,
        .default_port = UT_OTLP_GRPC_PORT,
        .settings = &config->grpc,
        .auth = ut_build_client_extension(build, config->grpc.auth.authenticator)};
    int error = ut_grpc_client_new(&exporter->client, worker, &options);
    if (error != 0) {
        ut_pool_free(&worker->pool, exporter);
        return error;
    }
    *ret = &exporter->base;
    return 0;
}

static int start(struct ut_exporter *base, char error[UT_ERROR_TEXT])
{
    return ut_grpc_client_start(exporter_of(base)->client, error);
}

static uint32_t endpoints(const struct ut_exporter *base)
{
    return ut_grpc_client_endpoints(UT_CONTAINER_OF(base, const struct otlp_grpc, base)->client);
}

static void reread_files(struct ut_exporter *base)
{
    ut_grpc_client_reread_files(exporter_of(base)->client);
}

static void stop(struct ut_exporter *base, void (*stopped)(void *arg), void *arg)
{
    ut_grpc_client_stop(exporter_of(base)->client, stopped, arg);
}

static void free_exporter(struct ut_exporter *base)
{
    if (base == NULL)
        return;
    struct otlp_grpc *exporter = exporter_of(base);
    ut_grpc_client_free(exporter->client);
    ut_pool_free(&exporter->worker->pool, exporter);
}

static const char *endpoint_of(const void *config)
{
    return ((const struct ut_otlp_grpc_config *)config)->grpc.endpoint;
}

static size_t extensions_of(const void *config, const char **out, size_t room)
{
    const char *id = ((const struct ut_otlp_grpc_config *)config)->grpc.auth.authenticator;
    if (id == NULL || room == 0)
        return 0;
    out[0] = id;
    return 1;
}

static const struct ut_exporter_settings *settings_of(const void *config)
{
    return &((const struct ut_otlp_grpc_config *)config)->settings;
}

const struct ut_exporter_type ut_exporter_otlp_grpc = {
    .name = "otlp_grpc",
    .fields = fields,
    .config_size = sizeof(struct ut_otlp_grpc_config),
    .check = check,
    .endpoint = endpoint_of,
    .extensions = extensions_of,
    .settings = settings_of,
    .create = create,
    .start = start,
    .endpoints = endpoints,
    .reread_files = reread_files,
    .send = send_item,
    .stop = stop,
    .free = free_exporter,
};
