/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The zipkin exporter: an item becomes one POST of an array of spans in Zipkin's JSON.
 * Connections, names, proxies and TLS are net/http_client.h's.
 *
 * Invariants: 1. each item is finished exactly once; 2. only when the client has no use for its
 * bytes any more.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/blocks.h"
#include "net/http_client.h"
#include "net/http_outcome.h"
#include "zipkin_exporter/settings.h"
#include "zipkin_exporter/spans.h"

extern const struct ut_exporter_type ut_exporter_zipkin;

struct zipkin;

struct send {
    struct ut_http_call call;
    struct zipkin *exporter;
    struct ut_item *item;
    struct ut_blocks body;
};

struct zipkin {
    struct ut_exporter base;
    struct ut_worker *worker;
    const struct ut_zipkin_config *config;
    struct ut_http_client *client;
    uint32_t sends; /* not finished */
    bool stopping;
};

static struct zipkin *exporter_of(struct ut_exporter *base)
{
    return UT_CONTAINER_OF(base, struct zipkin, base);
}

/* ---- the answer ------------------------------------------------------------------------------ */

static void release(struct send *send)
{
    ut_blocks_done(&send->body);
    ut_pool_free(&send->exporter->worker->pool, send);
}

static void finish(struct send *send, const struct ut_outcome *outcome)
{
    struct ut_item *item = send->item;
    send->exporter->sends--;
    release(send);
    item->done(item, outcome);
}

static void finish_answered(struct send *send)
{
    const struct ut_http_call *call = &send->call;
    const struct ut_http_outcome_input input = {
        .status = call->status,
        .retry_after_ms = call->retry_after_ms,
        .type = call->type,
        .target = call->target,
        .body = call->body,
        .retry_500 = true, /* what Zipkin says when its storage is down */
    };
    struct ut_outcome outcome;
    char text[UT_HTTP_OUTCOME_TEXT];
    ut_http_outcome(&input, &outcome, text);
    finish(send, &outcome);
}

static void on_done(struct ut_http_call *call)
{
    struct send *send = UT_CONTAINER_OF(call, struct send, call);
    char text[UT_HTTP_CALL_ERROR];
    if (call->status != 0) {
        finish_answered(send);
        return;
    }
    memcpy(text, call->error, sizeof(text));
    finish(send, &(struct ut_outcome){.result = UT_RETRY, .cause = call->cause, .text = text});
}

/* ---- sending --------------------------------------------------------------------------------- */

static void refuse(struct ut_item *item, enum ut_result result, const char *text)
{
    item->done(item,
               &(struct ut_outcome){.result = result, .cause = UT_SETBACK_LOCAL, .text = text});
}

/* 0, -EMSGSIZE with the size in *ret_bytes, or -ENOMEM. */
static int make_body(struct send *send, size_t *ret_bytes)
{
    const struct zipkin *exporter = send->exporter;
    const struct ut_item *item = send->item;
    const struct ut_zipkin_options options = {
        .default_service_name = ut_slice_str(exporter->config->default_service_name)};
    struct ut_pool *pool = &exporter->worker->pool;
    struct ut_http_call *call = &send->call;
    struct ut_splice splice;
    if (ut_splice_batch(&splice, item->batch, item->first_span, item->span_count) != 0)
        return -ENOMEM;
    *ret_bytes = splice.bytes;
    bool fits = splice.bytes <= exporter->config->max_message_bytes;
    uint8_t *flat = fits ? ut_visit_flatten(&splice, pool) : NULL;
    ut_splice_done(&splice);
    if (flat == NULL)
        return fits ? -ENOMEM : -EMSGSIZE;
    ut_zipkin_write(&send->body, ut_slice_of(flat, *ret_bytes), &options);
    ut_pool_free(pool, flat);
    int count = ut_blocks_runs(&send->body, &call->runs);
    call->run_count = count > 0 ? (size_t)count : 0;
    call->bytes = ut_blocks_bytes(&send->body);
    return count < 0 ? count : 0;
}

static void refuse_large(struct send *send, size_t bytes)
{
    struct ut_item *item = send->item;
    char text[96];
    (void)snprintf(text, sizeof(text), "%zu bytes are more than max_message_bytes, %" PRIu64, bytes,
                   send->exporter->config->max_message_bytes);
    release(send);
    refuse(item, UT_TOO_LARGE, text);
}

static void start_send(struct send *send)
{
    struct ut_item *item = send->item;
    size_t bytes = 0;
    int error = make_body(send, &bytes);
    if (error == 0)
        error = ut_http_client_submit(send->exporter->client, &send->call);
    if (error == 0) {
        send->exporter->sends++;
        if (send->call.packed != NULL)
            ut_blocks_done(&send->body);
    } else if (error == -EMSGSIZE) {
        refuse_large(send, bytes);
    } else {
        release(send);
        refuse(item, UT_RETRY, "out of memory");
    }
}

static void send_item(struct ut_exporter *base, struct ut_item *item)
{
    struct zipkin *exporter = exporter_of(base);
    struct ut_pool *pool = &exporter->worker->pool;
    if (exporter->stopping) {
        refuse(item, UT_RETRY, "stopping");
        return;
    }
    struct send *send = ut_pool_alloc(pool, sizeof(*send));
    if (send == NULL) {
        refuse(item, UT_RETRY, "out of memory");
        return;
    }
    send->exporter = exporter;
    send->item = item;
    send->call.done = on_done;
    ut_blocks_init(&send->body, pool);
    start_send(send);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void free_exporter(struct ut_exporter *base)
{
    if (base == NULL)
        return;
    struct zipkin *exporter = exporter_of(base);
    UT_CHECK(exporter->sends == 0);
    ut_http_client_free(exporter->client);
    free(exporter);
}

static int create(struct ut_exporter **ret, const struct ut_build *build)
{
    struct zipkin *exporter = calloc(1, sizeof(*exporter));
    if (exporter == NULL)
        return -ENOMEM;
    exporter->base.type = &ut_exporter_zipkin;
    exporter->worker = build->worker;
    exporter->config = build->config;
    const struct ut_http_client_options options = {
        .id = build->id,
        .url = exporter->config->endpoint,
        .content_type = "application/json",
        .settings = &exporter->config->http,
        .auth = ut_build_client_extension(build, exporter->config->http.auth.authenticator),
    };
    int error = ut_http_client_new(&exporter->client, build->worker, &options);
    if (error != 0) {
        free_exporter(&exporter->base);
        return error;
    }
    *ret = &exporter->base;
    return 0;
}

static int start(struct ut_exporter *base, char error[UT_ERROR_TEXT])
{
    return ut_http_client_start(exporter_of(base)->client, error);
}

static void reread_files(struct ut_exporter *base)
{
    ut_http_client_reread_files(exporter_of(base)->client);
}

static void stop(struct ut_exporter *base, void (*stopped)(void *arg), void *arg)
{
    struct zipkin *exporter = exporter_of(base);
    exporter->stopping = true;
    ut_http_client_stop(exporter->client, stopped, arg);
}

static const char *endpoint_of(const void *config)
{
    return ((const struct ut_zipkin_config *)config)->endpoint;
}

static size_t extensions_of(const void *config, const char **out, size_t room)
{
    const char *id = ((const struct ut_zipkin_config *)config)->http.auth.authenticator;
    if (id == NULL || room == 0)
        return 0;
    out[0] = id;
    return 1;
}

static const struct ut_exporter_settings *settings_of(const void *config)
{
    return &((const struct ut_zipkin_config *)config)->settings;
}

const struct ut_exporter_type ut_exporter_zipkin = {
    .name = "zipkin",
    .fields = ut_zipkin_fields,
    .config_size = sizeof(struct ut_zipkin_config),
    .check = ut_zipkin_check,
    .endpoint = endpoint_of,
    .extensions = extensions_of,
    .settings = settings_of,
    .create = create,
    .start = start,
    .reread_files = reread_files,
    .send = send_item,
    .stop = stop,
    .free = free_exporter,
};
