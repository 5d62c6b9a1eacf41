/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The otlp_http exporter: an item becomes one POST of protobuf or JSON. Protobuf goes out of the
 * splice's runs; JSON is written into blocks first. Connections, names, proxies and TLS are
 * net/http_client.h's.
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
#include "otlp/json_writer.h"
#include "otlp/splice.h"
#include "otlp_http_exporter/response.h"
#include "otlp_http_exporter/settings.h"

extern const struct ut_exporter_type ut_exporter_otlp_http;

struct otlp_http;

struct send {
    struct ut_http_call call;
    struct otlp_http *exporter;
    struct ut_item *item;
    struct ut_splice splice;
    struct ut_blocks body; /* of JSON */
};

struct otlp_http {
    struct ut_exporter base;
    struct ut_worker *worker;
    const struct ut_otlp_http_config *config;
    struct ut_http_client *client;
    char *url;
    uint32_t sends; /* not finished */
    bool stopping;
};

static struct otlp_http *exporter_of(struct ut_exporter *base)
{
    return UT_CONTAINER_OF(base, struct otlp_http, base);
}

/* ---- the answer ------------------------------------------------------------------------------ */

static void release(struct send *send)
{
    ut_splice_done(&send->splice);
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
    };
    struct ut_outcome outcome;
    char text[UT_HTTP_OUTCOME_TEXT];
    ut_http_outcome(&input, &outcome, text);
    if (outcome.result == UT_SENT)
        ut_otlp_http_read_success(call->type, call->body, send->item->span_count, &outcome, text);
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

/* The body of the request, in the encoding of the config. */
static int make_body(struct send *send)
{
    struct ut_http_call *call = &send->call;
    const struct ut_splice *splice = &send->splice;
    if (send->exporter->config->encoding == UT_OTLP_HTTP_PROTO) {
        call->runs = splice->runs + 1;
        call->run_count = splice->run_count - 1;
        call->bytes = splice->bytes;
        return 0;
    }
    int error = ut_json_from_wire(&send->body, splice->runs + 1, splice->run_count - 1);
    int count = error == 0 ? ut_blocks_runs(&send->body, &call->runs) : error;
    if (count < 0)
        return count;
    call->run_count = (size_t)count;
    call->bytes = ut_blocks_bytes(&send->body);
    return 0;
}

static void start_send(struct send *send)
{
    struct ut_item *item = send->item;
    uint64_t most = send->exporter->config->max_message_bytes;
    if (send->splice.bytes > most) {
        char text[96];
        (void)snprintf(text, sizeof(text), "%zu bytes are more than max_message_bytes, %" PRIu64,
                       send->splice.bytes, most);
        release(send);
        refuse(item, UT_TOO_LARGE, text);
        return;
    }
    int error = make_body(send);
    if (error == 0)
        error = ut_http_client_submit(send->exporter->client, &send->call);
    if (error == 0) {
        send->exporter->sends++;
        if (send->call.packed != NULL) {
            ut_splice_done(&send->splice);
            ut_blocks_done(&send->body);
        }
        return;
    }
    release(send);
    if (error == -EBADMSG)
        refuse(item, UT_PERMANENT, "the spans cannot be written as JSON");
    else
        refuse(item, UT_RETRY, "out of memory");
}

static void send_item(struct ut_exporter *base, struct ut_item *item)
{
    struct otlp_http *exporter = exporter_of(base);
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
    if (ut_splice_batch(&send->splice, item->batch, item->first_span, item->span_count) != 0) {
        ut_pool_free(pool, send);
        refuse(item, UT_RETRY, "out of memory");
        return;
    }
    start_send(send);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void free_exporter(struct ut_exporter *base)
{
    if (base == NULL)
        return;
    struct otlp_http *exporter = exporter_of(base);
    UT_CHECK(exporter->sends == 0);
    ut_http_client_free(exporter->client);
    free(exporter->url);
    free(exporter);
}

static int create(struct ut_exporter **ret, const struct ut_build *build)
{
    struct otlp_http *exporter = calloc(1, sizeof(*exporter));
    if (exporter == NULL)
        return -ENOMEM;
    exporter->base.type = &ut_exporter_otlp_http;
    exporter->worker = build->worker;
    exporter->config = build->config;
    exporter->url = ut_otlp_http_url(exporter->config);
    const struct ut_http_client_options options = {
        .id = build->id,
        .url = exporter->url,
        .content_type = exporter->config->encoding == UT_OTLP_HTTP_JSON ? "application/json"
                                                                        : "application/x-protobuf",
        .settings = &exporter->config->http,
        .auth = ut_build_client_extension(build, exporter->config->http.auth.authenticator),
    };
    int error = exporter->url != NULL
                    ? ut_http_client_new(&exporter->client, build->worker, &options)
                    : -ENOMEM;
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
    struct otlp_http *exporter = exporter_of(base);
    exporter->stopping = true;
    ut_http_client_stop(exporter->client, stopped, arg);
}

static const char *endpoint_of(const void *config_)
{
    const struct ut_otlp_http_config *config = config_;
    return config->traces_endpoint != NULL ? config->traces_endpoint : config->endpoint;
}

static size_t extensions_of(const void *config, const char **out, size_t room)
{
    const char *id = ((const struct ut_otlp_http_config *)config)->http.auth.authenticator;
    if (id == NULL || room == 0)
        return 0;
    out[0] = id;
    return 1;
}

static const struct ut_exporter_settings *settings_of(const void *config)
{
    return &((const struct ut_otlp_http_config *)config)->settings;
}

const struct ut_exporter_type ut_exporter_otlp_http = {
    .name = "otlp_http",
    .fields = ut_otlp_http_fields,
    .config_size = sizeof(struct ut_otlp_http_config),
    .check = ut_otlp_http_check,
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
