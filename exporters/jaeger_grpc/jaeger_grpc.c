/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The jaeger_grpc exporter: an item becomes one PostSpans call of Jaeger's CollectorService
 * (net/grpc_client.h), for backends that do not take OTLP.
 *
 * Invariants: 1. each item is finished exactly once; 2. only when nothing refers to its message any
 * more.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "jaeger_grpc_exporter/settings.h"
#include "jaeger_grpc_exporter/spans.h"
#include "net/grpc_client.h"

extern const struct ut_exporter_type ut_exporter_jaeger_grpc;

struct jaeger_grpc {
    struct ut_exporter base;
    struct ut_worker *worker;
    const struct ut_jaeger_grpc_config *config;
    struct ut_grpc_client *client;
};

struct send {
    struct ut_grpc_client_call call;
    struct jaeger_grpc *exporter;
    struct ut_item *item;
    struct ut_segment *message;
    struct iovec runs[2]; /* the first is the client's */
};

static const struct ut_field fields[] = {
    UT_EXPORTER_FIELDS,
    UT_GRPC_CLIENT_FIELDS(struct ut_jaeger_grpc_config, grpc),
    UT_FIELD_END,
};

static struct jaeger_grpc *exporter_of(struct ut_exporter *base)
{
    return UT_CONTAINER_OF(base, struct jaeger_grpc, base);
}

/* ---- sending --------------------------------------------------------------------------------- */

static void release(struct send *send)
{
    ut_segment_unref(send->message);
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
        if (send->call.packed != NULL) {
            ut_segment_unref(send->message);
            send->message = NULL;
        }
        ut_grpc_client_send(&send->call);
        return;
    }
    (void)snprintf(text, sizeof(text), "%zu bytes are more than max_message_bytes, %" PRIu64,
                   send->message->size, send->exporter->config->grpc.max_message_bytes);
    release(send);
    if (error == -EMSGSIZE)
        refuse(item, UT_TOO_LARGE, text);
    else
        refuse(item, UT_RETRY, "out of memory");
}

/* The message of an item; NULL: out of memory. */
static struct ut_segment *make_message(struct ut_pool *pool, const struct ut_item *item)
{
    struct ut_splice splice;
    if (ut_splice_batch(&splice, item->batch, item->first_span, item->span_count) != 0)
        return NULL;
    size_t size = splice.bytes;
    uint8_t *flat = ut_visit_flatten(&splice, pool);
    ut_splice_done(&splice);
    if (flat == NULL)
        return NULL;
    struct ut_segment *message = ut_jaeger_write(ut_slice_of(flat, size), pool);
    ut_pool_free(pool, flat);
    return message;
}

static void send_item(struct ut_exporter *base, struct ut_item *item)
{
    struct jaeger_grpc *exporter = exporter_of(base);
    struct ut_pool *pool = &exporter->worker->pool;
    struct send *send = ut_pool_alloc(pool, sizeof(*send));
    if (send == NULL) {
        refuse(item, UT_RETRY, "out of memory");
        return;
    }
    send->message = make_message(pool, item);
    if (send->message == NULL) {
        ut_pool_free(pool, send);
        refuse(item, UT_RETRY, "out of memory");
        return;
    }
    send->exporter = exporter;
    send->item = item;
    send->runs[1] = (struct iovec){send->message->data, send->message->size};
    send->call.done = on_done;
    send->call.runs = send->runs;
    send->call.run_count = 2;
    send->call.bytes = send->message->size;
    send->call.span_count = item->span_count;
    send->call.endpoint = item->endpoint;
    start_send(send);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void check(const void *config, struct ut_config_report *report)
{
    ut_grpc_client_check(&((const struct ut_jaeger_grpc_config *)config)->grpc, UT_JAEGER_GRPC_PORT,
                         report);
}

static int create(struct ut_exporter **ret, const struct ut_build *build)
{
    struct ut_worker *worker = build->worker;
    const struct ut_jaeger_grpc_config *config = build->config;
    struct jaeger_grpc *exporter = ut_pool_alloc(&worker->pool, sizeof(*exporter));
    if (exporter == NULL)
        return -ENOMEM;
    *exporter = (struct jaeger_grpc){
        .base = {&ut_exporter_jaeger_grpc}, .worker = worker, .config = config};
    const struct ut_grpc_client_options options = {
        .id = build->id,
        .path = UT_JAEGER_GRPC_PATH,
        .default_port = UT_JAEGER_GRPC_PORT,
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
    return ut_grpc_client_endpoints(UT_CONTAINER_OF(base, const struct jaeger_grpc, base)->client);
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
    struct jaeger_grpc *exporter = exporter_of(base);
    ut_grpc_client_free(exporter->client);
    ut_pool_free(&exporter->worker->pool, exporter);
}

static const char *endpoint_of(const void *config)
{
    return ((const struct ut_jaeger_grpc_config *)config)->grpc.endpoint;
}

static size_t extensions_of(const void *config, const char **out, size_t room)
{
    const char *id = ((const struct ut_jaeger_grpc_config *)config)->grpc.auth.authenticator;
    if (id == NULL || room == 0)
        return 0;
    out[0] = id;
    return 1;
}

static const struct ut_exporter_settings *settings_of(const void *config)
{
    return &((const struct ut_jaeger_grpc_config *)config)->settings;
}

const struct ut_exporter_type ut_exporter_jaeger_grpc = {
    .name = "jaeger_grpc",
    .fields = fields,
    .config_size = sizeof(struct ut_jaeger_grpc_config),
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
