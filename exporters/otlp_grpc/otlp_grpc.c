/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The otlp_grpc exporter: an item becomes one Export call over HTTP/2, with TLS or without. The
 * message is the splice's list of runs behind a gRPC prefix; no byte of a span is copied on its way
 * to the socket, or to encryption.
 * With `compression` it is one compressed run instead, made when the item comes: as many bytes as
 * are on their way are kept in this form beside their batch.
 *
 * One `struct send` is an item on its way. Its states: waiting (no connection takes calls) ⇄ called
 * → finished. Its deadline runs from ut_exporter_type.send on, whatever it waits for.
 *
 * Invariants: 1. each item is finished exactly once; 2. only when nothing refers to its batch any
 * more (see net/h2_client.h); 3. what the backend certainly did not process (GOAWAY,
 * REFUSED_STREAM) is sent again from here, RESENDS_MAX times at most, and is no failed attempt.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "component.h"
#include "net/compress.h"
#include "otlp/splice.h"
#include "otlp_grpc_exporter/link.h"
#include "otlp_grpc_exporter/response.h"
#include "otlp_grpc_exporter/settings.h"

enum {
    GRPC_PREFIX = 5,
    RESENDS_MAX = 8,
};

extern const struct ut_exporter_type ut_exporter_otlp_grpc;

struct otlp_grpc;

struct send {
    struct ut_link_call call;
    struct otlp_grpc *exporter;
    struct ut_item *item;
    struct ut_splice splice;
    struct ut_segment *packed; /* the compressed message, in place of the splice; or NULL */
    struct iovec packed_runs[2];
    uint8_t prefix[GRPC_PREFIX];
    uint8_t resends;
    bool timed_out;
    struct ut_timer deadline;
    struct send *previous, *next; /* among the waiting ones */
    struct ut_response response;
};

struct otlp_grpc {
    struct ut_exporter base;
    struct ut_worker *worker;
    const struct ut_otlp_grpc_config *config;
    const char *id;
    struct ut_link link;
    struct ut_tls_end tls; /* cleared: cleartext */
    struct ut_otlp_grpc_headers headers;
    struct ut_compressor *compressor; /* NULL: messages go as they are */
    struct send *waiting_first, *waiting_last;
    uint32_t sends; /* not finished */
    bool stopping;
    void (*stopped)(void *arg);
    void *stopped_arg;
};

/* ---- the message ---------------------------------------------------------------------------- */

static void release_message(struct send *send)
{
    if (send->packed != NULL)
        ut_segment_unref(send->packed);
    else
        ut_splice_done(&send->splice);
}

static void write_prefix(struct send *send, size_t bytes)
{
    send->prefix[0] = send->packed != NULL; /* compressed */
    for (int i = 0; i < 4; i++)
        send->prefix[1 + i] = (uint8_t)(bytes >> (24 - 8 * i));
}

/* The message as it goes: the runs behind the prefix. false: no memory to compress it. */
static bool frame_message(struct send *send, struct ut_h2_call *call)
{
    struct ut_splice *splice = &send->splice;
    if (send->exporter->compressor == NULL) {
        write_prefix(send, splice->bytes);
        splice->runs[0] = (struct iovec){send->prefix, GRPC_PREFIX};
        call->runs = splice->runs;
        call->run_count = splice->run_count;
        call->body_bytes = splice->bytes + GRPC_PREFIX;
        return true;
    }
    send->packed = ut_compress(send->exporter->compressor, splice->runs + 1, splice->run_count - 1,
                               splice->bytes);
    if (send->packed == NULL)
        return false;
    ut_splice_done(splice);
    write_prefix(send, send->packed->size);
    send->packed_runs[0] = (struct iovec){send->prefix, GRPC_PREFIX};
    send->packed_runs[1] = (struct iovec){send->packed->data, send->packed->size};
    call->runs = send->packed_runs;
    call->run_count = 2;
    call->body_bytes = send->packed->size + GRPC_PREFIX;
    return true;
}

/* ---- finishing an item ---------------------------------------------------------------------- */

static void finish(struct send *send, const struct ut_outcome *outcome)
{
    struct otlp_grpc *exporter = send->exporter;
    struct ut_item *item = send->item;
    ut_timer_cancel(&exporter->worker->timers, &send->deadline);
    release_message(send);
    ut_response_done(&send->response);
    ut_pool_free(&exporter->worker->pool, send);
    exporter->sends--;
    item->done(item, outcome);
}

static void finish_retry(struct send *send, enum ut_setback cause, const char *text)
{
    finish(send, &(struct ut_outcome){.result = UT_RETRY, .cause = cause, .text = text});
}

static void finish_stopping(struct send *send)
{
    finish_retry(send, UT_SETBACK_LOCAL, "stopping");
}

/* ---- waiting for a connection --------------------------------------------------------------- */

static void wait_for_connection(struct send *send)
{
    struct otlp_grpc *exporter = send->exporter;
    send->previous = exporter->waiting_last;
    send->next = NULL;
    if (exporter->waiting_last != NULL)
        exporter->waiting_last->next = send;
    else
        exporter->waiting_first = send;
    exporter->waiting_last = send;
    ut_link_connect(&exporter->link);
}

static void stop_waiting(struct send *send)
{
    struct otlp_grpc *exporter = send->exporter;
    if (send->previous != NULL)
        send->previous->next = send->next;
    else
        exporter->waiting_first = send->next;
    if (send->next != NULL)
        send->next->previous = send->previous;
    else
        exporter->waiting_last = send->previous;
}

static void on_link_ready(struct ut_link *link)
{
    struct otlp_grpc *exporter = UT_CONTAINER_OF(link, struct otlp_grpc, link);
    while (exporter->waiting_first != NULL &&
           ut_link_submit(link, &exporter->waiting_first->call) == 0)
        stop_waiting(exporter->waiting_first);
    if (exporter->waiting_first != NULL)
        ut_link_connect(link);
}

static void dispatch(struct send *send)
{
    if (ut_link_submit(&send->exporter->link, &send->call) != 0)
        wait_for_connection(send);
}

static void on_deadline(struct ut_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    struct send *send = UT_CONTAINER_OF(timer, struct send, deadline);
    struct otlp_grpc *exporter = send->exporter;
    const char *trouble = exporter->link.trouble;
    if (send->call.connection == NULL) {
        stop_waiting(send);
        finish_retry(send, UT_SETBACK_TRANSPORT,
                     trouble[0] != '\0' ? trouble : "no connection within the timeout");
        return;
    }
    send->timed_out = true;
    ut_link_cancel(&exporter->link, &send->call);
}

/* ---- the call ------------------------------------------------------------------------------- */

static struct send *send_of(struct ut_h2_call *call)
{
    return UT_CONTAINER_OF(call, struct send, call.call);
}

static void on_header(struct ut_h2_call *call, ut_slice name, ut_slice value)
{
    ut_response_header(&send_of(call)->response, name, value);
}

static void on_data(struct ut_h2_call *call, ut_slice bytes)
{
    ut_response_data(&send_of(call)->response, bytes);
}

static void finish_answered(struct send *send)
{
    struct ut_outcome outcome;
    char text[UT_RESPONSE_TEXT];
    ut_response_outcome(&send->response, send->item->span_count, &outcome, text);
    finish(send, &outcome);
}

static void finish_timed_out(struct send *send)
{
    char text[96];
    (void)snprintf(text, sizeof(text), "the backend did not answer within %" PRIu64 " ms",
                   send->exporter->config->timeout_ns / UT_NS_PER_MS);
    finish_retry(send, UT_SETBACK_TIMEOUT, text);
}

/* A reset says nothing about the spans, so they are kept; the backend may get them twice. */
static void finish_reset(struct send *send)
{
    char text[96];
    (void)snprintf(text, sizeof(text), "the backend reset the stream: %s",
                   ut_h2_error_name(send->call.call.error_code));
    finish_retry(send, UT_SETBACK_TRANSPORT, text);
}

static void finish_refused(struct send *send)
{
    if (send->exporter->stopping) {
        finish_stopping(send);
    } else if (send->timed_out) {
        finish_timed_out(send);
    } else if (send->resends++ == RESENDS_MAX) {
        finish_retry(send, UT_SETBACK_TRANSPORT, "the backend refuses streams");
    } else {
        ut_response_done(&send->response);
        ut_response_init(&send->response, &send->exporter->worker->pool);
        dispatch(send);
    }
}

static void on_done(struct ut_h2_call *call)
{
    struct send *send = send_of(call);
    struct ut_link *link = &send->exporter->link;
    if (call->end == UT_H2_COMPLETE)
        ut_link_praise(link, &send->call);
    send->call.connection = NULL;
    switch (call->end) {
    case UT_H2_COMPLETE:
        finish_answered(send);
        break;
    case UT_H2_REFUSED:
        finish_refused(send);
        break;
    case UT_H2_RESET:
        finish_reset(send);
        break;
    case UT_H2_CANCELLED:
        finish_timed_out(send);
        break;
    case UT_H2_LOST:
        if (send->exporter->stopping)
            finish_stopping(send);
        else
            finish_retry(send, UT_SETBACK_TRANSPORT, link->trouble);
        break;
    }
}

static const struct ut_h2_call_ops call_ops = {on_header, on_data, on_done};

/* ---- sending -------------------------------------------------------------------------------- */

static void refuse(struct ut_item *item, enum ut_result result, const char *text)
{
    item->done(item,
               &(struct ut_outcome){.result = result, .cause = UT_SETBACK_LOCAL, .text = text});
}

static void start_send(struct otlp_grpc *exporter, struct ut_item *item,
                       const struct ut_splice *splice)
{
    struct ut_worker *worker = exporter->worker;
    struct send *send = ut_pool_alloc(&worker->pool, sizeof(*send));
    if (send == NULL) {
        struct ut_splice unused = *splice;
        ut_splice_done(&unused);
        refuse(item, UT_RETRY, "out of memory");
        return;
    }
    send->exporter = exporter;
    send->item = item;
    send->splice = *splice;
    send->packed = NULL;
    send->resends = 0;
    send->timed_out = false;
    send->deadline = (struct ut_timer){.fire = on_deadline};
    ut_response_init(&send->response, &worker->pool);
    send->call = (struct ut_link_call){.call = {.ops = &call_ops}};
    exporter->sends++;
    if (!frame_message(send, &send->call.call)) {
        finish_retry(send, UT_SETBACK_LOCAL, "out of memory");
        return;
    }
    ut_timer_set(&worker->timers, &send->deadline,
                 ut_worker_now(worker) + exporter->config->timeout_ns);
    dispatch(send);
}

static void send_item(struct ut_exporter *base, struct ut_item *item)
{
    struct otlp_grpc *exporter = UT_CONTAINER_OF(base, struct otlp_grpc, base);
    struct ut_splice splice;
    if (exporter->stopping) {
        refuse(item, UT_RETRY, "stopping");
        return;
    }
    if (ut_splice_batch(&splice, item->batch, item->first_span, item->span_count) != 0) {
        refuse(item, UT_RETRY, "out of memory");
        return;
    }
    if (splice.bytes > exporter->config->max_message_bytes) {
        char text[96];
        (void)snprintf(text, sizeof(text), "%zu bytes are more than max_message_bytes, %" PRIu64,
                       splice.bytes, exporter->config->max_message_bytes);
        ut_splice_done(&splice);
        refuse(item, UT_TOO_LARGE, text);
        return;
    }
    start_send(exporter, item, &splice);
}

/* ---- life ----------------------------------------------------------------------------------- */

static void on_link_stopped(struct ut_link *link)
{
    struct otlp_grpc *exporter = UT_CONTAINER_OF(link, struct otlp_grpc, link);
    exporter->stopped(exporter->stopped_arg);
}

static int create(struct ut_exporter **ret, const struct ut_build *build)
{
    struct ut_link_options options = {
        .id = build->id, .on_ready = on_link_ready, .on_stopped = on_link_stopped};
    const char *error_text;
    int error = ut_otlp_grpc_endpoint(build->config, &options.endpoint, &error_text);
    if (error != 0)
        return error;
    struct otlp_grpc *exporter = ut_pool_alloc(&build->worker->pool, sizeof(*exporter));
    if (exporter == NULL)
        return -ENOMEM;
    *exporter = (struct otlp_grpc){
        .base = {&ut_exporter_otlp_grpc},
        .worker = build->worker,
        .config = build->config,
        .id = build->id,
    };
    enum ut_coding coding = ut_otlp_grpc_coding(build->config, &options.endpoint);
    if (coding != UT_CODING_IDENTITY) {
        exporter->compressor = ut_compressor_new(&build->worker->pool, coding);
        if (exporter->compressor == NULL) {
            ut_pool_free(&build->worker->pool, exporter);
            return -ENOMEM;
        }
    }
    ut_otlp_grpc_headers_init(&exporter->headers, exporter->config, &options.endpoint);
    options.headers = exporter->headers.fields;
    options.header_count = exporter->headers.count;
    options.connect_timeout_ns = exporter->config->timeout_ns;
    if (ut_otlp_grpc_is_secure(exporter->config, &options.endpoint))
        options.tls = &exporter->tls;
    ut_link_init(&exporter->link, build->worker, &options);
    *ret = &exporter->base;
    return 0;
}

static int open_tls(struct otlp_grpc *exporter, char error[UT_ERROR_TEXT])
{
    char labels[160];
    struct ut_tls_error why;
    if (exporter->link.options.tls == NULL)
        return 0;
    (void)snprintf(labels, sizeof(labels), "exporter=\"%s\"", exporter->id);
    const struct ut_tls_end_config config = {
        .worker = exporter->worker,
        .role = UT_TLS_CLIENT,
        .settings = &exporter->config->tls,
        .id = exporter->id,
        .labels = labels,
    };
    int result = ut_tls_end_init(&exporter->tls, &config, &why);
    if (result != 0)
        (void)snprintf(error, UT_ERROR_TEXT, "tls.%.16s: %s", why.key, why.text);
    return result;
}

/* Connects at once, so that an address that is wrong shows in the log before the first span. */
static int start(struct ut_exporter *base, char error[UT_ERROR_TEXT])
{
    struct otlp_grpc *exporter = UT_CONTAINER_OF(base, struct otlp_grpc, base);
    int result = open_tls(exporter, error);
    if (result == 0)
        ut_link_connect(&exporter->link);
    return result;
}

static void reread_files(struct ut_exporter *base)
{
    ut_tls_end_look(&UT_CONTAINER_OF(base, struct otlp_grpc, base)->tls);
}

static void stop(struct ut_exporter *base, void (*stopped)(void *arg), void *arg)
{
    struct otlp_grpc *exporter = UT_CONTAINER_OF(base, struct otlp_grpc, base);
    exporter->stopping = true;
    exporter->stopped = stopped;
    exporter->stopped_arg = arg;
    while (exporter->waiting_first != NULL) {
        struct send *send = exporter->waiting_first;
        stop_waiting(send);
        finish_stopping(send);
    }
    ut_link_stop(&exporter->link);
}

static void free_exporter(struct ut_exporter *base)
{
    if (base == NULL)
        return;
    struct otlp_grpc *exporter = UT_CONTAINER_OF(base, struct otlp_grpc, base);
    UT_CHECK(exporter->sends == 0);
    ut_link_done(&exporter->link);
    ut_tls_end_done(&exporter->tls);
    ut_compressor_free(exporter->compressor);
    ut_pool_free(&exporter->worker->pool, exporter);
}

static const char *endpoint_of(const void *config)
{
    return ((const struct ut_otlp_grpc_config *)config)->endpoint;
}

static const struct ut_exporter_settings *settings_of(const void *config)
{
    return &((const struct ut_otlp_grpc_config *)config)->settings;
}

const struct ut_exporter_type ut_exporter_otlp_grpc = {
    .name = "otlp_grpc",
    .fields = ut_otlp_grpc_fields,
    .config_size = sizeof(struct ut_otlp_grpc_config),
    .check = ut_otlp_grpc_check,
    .endpoint = endpoint_of,
    .settings = settings_of,
    .create = create,
    .start = start,
    .reread_files = reread_files,
    .send = send_item,
    .stop = stop,
    .free = free_exporter,
};
