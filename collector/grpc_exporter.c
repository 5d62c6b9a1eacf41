/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc_exporter.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "otlp/splice.h"
#include "otlp/visit.h"

struct grpc_exporter {
    struct ut_exporter base;
    struct ut_worker *worker;
    const struct ut_grpc_exporter_config *config;
    const struct ut_grpc_exporter_method *method;
    struct ut_grpc_client *client;
};

struct send {
    struct ut_grpc_client_call call;
    struct grpc_exporter *exporter;
    struct ut_item *item;
    struct ut_splice splice;
    struct ut_segment *converted; /* NULL: the splice is the message */
    struct iovec runs[2];         /* of that; the first is the client's */
};

const struct ut_field ut_grpc_exporter_fields[] = {
    UT_EXPORTER_FIELDS,
    UT_GRPC_CLIENT_FIELDS(struct ut_grpc_exporter_config, grpc),
    UT_FIELD_END,
};

static struct grpc_exporter *exporter_of(struct ut_exporter *base)
{
    return UT_CONTAINER_OF(base, struct grpc_exporter, base);
}

/* ---- sending --------------------------------------------------------------------------------- */

static void release_message(struct send *send)
{
    ut_splice_done(&send->splice);
    ut_segment_unref(send->converted);
    send->converted = NULL;
}

static void release(struct send *send)
{
    release_message(send);
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

/* Puts what the method wants in place of the splice. false: out of memory. */
static bool convert(struct send *send)
{
    struct ut_pool *pool = &send->exporter->worker->pool;
    size_t size = send->splice.bytes;
    uint8_t *flat = ut_visit_flatten(&send->splice, pool);
    ut_splice_done(&send->splice);
    if (flat == NULL)
        return false;
    send->converted = send->exporter->method->convert(ut_slice_of(flat, size), pool);
    ut_pool_free(pool, flat);
    if (send->converted == NULL)
        return false;
    send->runs[1] = (struct iovec){send->converted->data, send->converted->size};
    send->call.runs = send->runs;
    send->call.run_count = 2;
    send->call.bytes = send->converted->size;
    return true;
}

static void start_send(struct send *send)
{
    struct ut_item *item = send->item;
    char text[96];
    bool made = send->exporter->method->convert == NULL || convert(send);
    int error = made ? ut_grpc_client_pack(send->exporter->client, &send->call) : -ENOMEM;
    if (error == 0) {
        if (send->call.packed != NULL)
            release_message(send);
        ut_grpc_client_send(&send->call);
        return;
    }
    (void)snprintf(text, sizeof(text), "%zu bytes are more than max_message_bytes, %" PRIu64,
                   send->call.bytes, send->exporter->config->grpc.max_message_bytes);
    release(send);
    if (error == -EMSGSIZE)
        refuse(item, UT_TOO_LARGE, text);
    else
        refuse(item, UT_RETRY, "out of memory");
}

void ut_grpc_exporter_send(struct ut_exporter *base, struct ut_item *item)
{
    struct grpc_exporter *exporter = exporter_of(base);
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
    send->converted = NULL;
    send->call.done = on_done;
    send->call.runs = send->splice.runs;
    send->call.run_count = send->splice.run_count;
    send->call.bytes = send->splice.bytes;
    send->call.span_count = item->span_count;
    send->call.endpoint = item->endpoint;
    start_send(send);
}

/* ---- life ------------------------------------------------------------------------------------ */

void ut_grpc_exporter_check(const void *config, const struct ut_grpc_exporter_method *method,
                            struct ut_config_report *report)
{
    ut_grpc_client_check(&((const struct ut_grpc_exporter_config *)config)->grpc,
                         method->default_port, report);
}

int ut_grpc_exporter_create(struct ut_exporter **ret, const struct ut_build *build,
                            const struct ut_exporter_type *type,
                            const struct ut_grpc_exporter_method *method)
{
    struct ut_worker *worker = build->worker;
    const struct ut_grpc_exporter_config *config = build->config;
    struct grpc_exporter *exporter = ut_pool_alloc(&worker->pool, sizeof(*exporter));
    if (exporter == NULL)
        return -ENOMEM;
    *exporter = (struct grpc_exporter){
        .base = {type}, .worker = worker, .config = config, .method = method};
    const struct ut_grpc_client_options options = {
        .id = build->id,
        .path = method->path,
        .default_port = method->default_port,
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

int ut_grpc_exporter_start(struct ut_exporter *base, char error[UT_ERROR_TEXT])
{
    return ut_grpc_client_start(exporter_of(base)->client, error);
}

uint32_t ut_grpc_exporter_endpoints(const struct ut_exporter *base)
{
    return ut_grpc_client_endpoints(
        UT_CONTAINER_OF(base, const struct grpc_exporter, base)->client);
}

void ut_grpc_exporter_reread_files(struct ut_exporter *base)
{
    ut_grpc_client_reread_files(exporter_of(base)->client);
}

void ut_grpc_exporter_stop(struct ut_exporter *base, void (*stopped)(void *arg), void *arg)
{
    ut_grpc_client_stop(exporter_of(base)->client, stopped, arg);
}

void ut_grpc_exporter_free(struct ut_exporter *base)
{
    if (base == NULL)
        return;
    struct grpc_exporter *exporter = exporter_of(base);
    ut_grpc_client_free(exporter->client);
    ut_pool_free(&exporter->worker->pool, exporter);
}

const char *ut_grpc_exporter_endpoint(const void *config)
{
    return ((const struct ut_grpc_exporter_config *)config)->grpc.endpoint;
}

size_t ut_grpc_exporter_extensions(const void *config, const char **out, size_t room)
{
    const char *id = ((const struct ut_grpc_exporter_config *)config)->grpc.auth.authenticator;
    if (id == NULL || room == 0)
        return 0;
    out[0] = id;
    return 1;
}

const struct ut_exporter_settings *ut_grpc_exporter_settings(const void *config)
{
    return &((const struct ut_grpc_exporter_config *)config)->settings;
}
