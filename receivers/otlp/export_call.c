/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One Export call: message (JSON becomes protobuf first) → walk → repair of its text, where that is
 * needed → batch → push → answer. The push outlives the call where the client gives up meanwhile:
 * it loses the answer, not the batch.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>

#include "otlp/json.h"
#include "otlp/repair.h"
#include "otlp/walk.h"
#include "receiver.h"

enum { TEXT_BYTES = 160 };

struct export
{
    struct ut_push push;
    struct ut_otlp_receiver *receiver;
    struct ut_push_target *target; /* the receiver's may be another one by the time of the answer */
    struct ut_otlp_counters *counters;
    uint32_t retry_after_ms;
    struct ut_call *call; /* NULL: the client has gone */
    uint32_t spans, left_out;
    const char *reason; /* why the first was left out; a constant */
};

/* ---- answers -------------------------------------------------------------------------------- */

static size_t put_varint(uint8_t *out, uint64_t value)
{
    size_t size = 0;
    for (; value >= 0x80; value >>= 7)
        out[size++] = (uint8_t)(value | 0x80);
    out[size++] = (uint8_t)value;
    return size;
}

/* Succeeds; with ExportTraceServiceResponse { partial_success { rejected_spans, error_message } }
 * where spans were left out. Without, the message is empty: the Collector's empty partial_success
 * draws warnings from some SDKs. */
static void succeed_in_protobuf(struct ut_call *call, uint32_t left_out, ut_slice text)
{
    if (left_out == 0) {
        ut_call_succeed(call, (ut_slice){0});
        return;
    }
    uint8_t partial[TEXT_BYTES + 16], message[TEXT_BYTES + 24];
    size_t size = 0;
    partial[size++] = 1 << 3;
    size += put_varint(partial + size, left_out);
    partial[size++] = 2 << 3 | 2;
    size += put_varint(partial + size, text.size);
    memcpy(partial + size, text.data, text.size);
    size += text.size;
    message[0] = 1 << 3 | 2;
    size_t head = 1 + put_varint(message + 1, size);
    memcpy(message + head, partial, size);
    ut_call_succeed(call, ut_slice_of(message, head + size));
}

static void succeed(struct ut_call *call, uint32_t left_out, const char *reason)
{
    char text[TEXT_BYTES] = "", json[UT_JSON_ANSWER_MAX];
    if (left_out > 0)
        (void)snprintf(text, sizeof(text), "%u %s left out; the first: %s", left_out,
                       left_out == 1 ? "span was" : "spans were", reason);
    if (call->encoding == UT_ENCODING_JSON)
        ut_call_succeed(call, ut_slice_of(json, ut_json_put_response(json, left_out, text)));
    else
        succeed_in_protobuf(call, left_out, ut_slice_str(text));
}

static void count(struct ut_otlp_counters *counters, enum ut_verdict verdict, uint32_t spans,
                  uint32_t left_out)
{
    *counters->received += (uint64_t)spans + left_out;
    switch (verdict) {
    case UT_ACCEPTED:
        *counters->accepted += spans;
        *counters->rejected += left_out;
        break;
    case UT_BUSY: /* the client sends all of them again */
        *counters->refused += (uint64_t)spans + left_out;
        break;
    case UT_REJECTED:
        *counters->rejected += (uint64_t)spans + left_out;
        break;
    }
}

/* The backend's own status where it refused the spans, unless a client would send them again. */
static enum ut_grpc_code code_of(const struct ut_answer *answer)
{
    switch ((enum ut_grpc_code)answer->status) {
    case UT_GRPC_OK:
    case UT_GRPC_CANCELLED:
    case UT_GRPC_DEADLINE_EXCEEDED:
    case UT_GRPC_ABORTED:
    case UT_GRPC_OUT_OF_RANGE:
    case UT_GRPC_UNAVAILABLE:
    case UT_GRPC_DATA_LOSS:
        return UT_GRPC_INVALID_ARGUMENT;
    default:
        return (enum ut_grpc_code)answer->status;
    }
}

static void on_pushed(struct ut_push *push, const struct ut_answer *answer)
{
    struct export *export = UT_CONTAINER_OF(push, struct export, push);
    struct ut_otlp_receiver *receiver = export->receiver;
    struct ut_call *call = export->call;
    uint32_t delay_ms = answer->delay_ms > 0 ? answer->delay_ms : export->retry_after_ms;
    count(export->counters, answer->verdict, export->spans, export->left_out);
    if (call != NULL && answer->verdict == UT_ACCEPTED)
        succeed(call, export->left_out, export->reason);
    else if (call != NULL && answer->verdict == UT_BUSY)
        ut_call_fail(call, UT_GRPC_UNAVAILABLE, delay_ms,
                     answer->text != NULL ? answer->text : "busy");
    else if (call != NULL)
        ut_call_fail(call, code_of(answer), 0, answer->text != NULL ? answer->text : "rejected");
    ut_pool_free(&receiver->worker->pool, export);
    receiver->pushes--;
    ut_otlp_receiver_settle(receiver);
}

/* ---- the way in ----------------------------------------------------------------------------- */

static void refuse_busy(struct ut_call *call)
{
    static const char text[] = "no memory left for this request now";
    ++*ut_otlp_counters_of(call)->limits[UT_OTLP_LIMIT_BUDGET];
    ut_otlp_log_refused(ut_otlp_connection_of(call->calls), call->ops->transport, UT_REFUSED_BUDGET,
                        text);
    ut_call_fail(call, UT_GRPC_UNAVAILABLE, call->calls->service->retry_after_ms, text);
}

static void refuse_unparsed(struct ut_call *call, const char *text)
{
    ut_otlp_log_malformed(call, text);
    ut_call_fail(call, UT_GRPC_INVALID_ARGUMENT, 0, text);
}

static void refuse_malformed(struct ut_call *call, const struct ut_walk_report *report)
{
    char text[TEXT_BYTES];
    (void)snprintf(text, sizeof(text), "the request does not parse: %s at offset %u", report->error,
                   report->offset);
    refuse_unparsed(call, text);
}

/* For the writer of the wire bytes: they are charged on top of those received while both are there.
 */
struct output {
    struct ut_call *call;
    size_t before; /* bytes held without it */
};

static bool hold_output(void *arg, size_t bytes)
{
    struct output *output = arg;
    return ut_call_hold(output->call, output->before + bytes);
}

static void refuse_json(struct ut_call *call, const struct ut_json_report *report)
{
    char text[TEXT_BYTES];
    (void)snprintf(text, sizeof(text), "the request is not OTLP's JSON: %s at offset %zu",
                   report->error, report->offset);
    refuse_unparsed(call, text);
}

/* The message in JSON becomes one in protobuf. false: the call was answered. */
static bool transcode(struct ut_call *call)
{
    struct output output = {call, call->held};
    const struct ut_writer_limits limits = {
        .bytes_max = call->calls->service->body_bytes_max,
        .hold = hold_output,
        .arg = &output,
    };
    struct ut_json_report report = {0};
    struct ut_segment *wire;
    ut_slice json = ut_slice_of(call->segment->data, call->segment->size);
    int error = ut_json_to_wire(json, call->calls->pool, &limits, &wire, &report);
    if (error == -EBADMSG)
        refuse_json(call, &report);
    else if (error == -EMSGSIZE)
        ut_call_refuse_size(call, json.size);
    else if (error != 0)
        refuse_busy(call);
    else
        ut_call_replace(call, wire);
    return error == 0;
}

/* Repairs the text of the batch, and what the call holds is the repaired request from then on. One
 * that would be too large stays as it came: its bad spans are left out. -ENOBUFS, -ENOMEM: no room,
 * and the batch is as it was. */
static int repair(struct ut_call *call, struct ut_batch **batch, struct ut_walk_report *report)
{
    struct output output = {call, call->held};
    const struct ut_writer_limits limits = {
        .bytes_max = call->calls->service->body_bytes_max,
        .hold = hold_output,
        .arg = &output,
    };
    uint32_t strings = 0;
    int error = ut_repair_batch(batch, &limits, report, &strings);
    if (error != 0 && error != -EMSGSIZE)
        return error;
    *ut_otlp_counters_of(call)->repaired += strings;
    ut_call_reckon(call, (*batch)->first->segment);
    return 0;
}

/* Charges the index and makes the body the batch's alone. */
static bool settle(struct ut_call *call, struct ut_batch *batch)
{
    struct ut_otlp_connection *connection = ut_otlp_connection_of(call->calls);
    struct ut_worker *worker = connection->receiver->worker;
    struct ut_body *body = batch->first;
    if (!ut_call_hold(call, call->held + body->arena.bytes + ut_pool_usable(batch)))
        return false;
    body->charge = ut_call_settle(call);
    body->budget = &worker->budget;
    body->sender = connection->sender;
    batch->received_ns = ut_worker_now(worker);
    return true;
}

/* Walks the message, repairs it and charges the index. NULL: the call was answered. */
static struct ut_batch *make_batch(struct ut_call *call, struct ut_walk_report *report)
{
    struct ut_otlp_receiver *receiver = ut_otlp_connection_of(call->calls)->receiver;
    struct ut_batch *batch = ut_batch_new(&receiver->worker->pool, call->segment);
    if (batch == NULL) {
        refuse_busy(call);
        return NULL;
    }
    call->segment = NULL;
    int error = ut_walk(batch->first, report);
    if (error != 0) {
        ut_batch_unref(batch);
        if (error == -EBADMSG)
            refuse_malformed(call, report);
        else
            refuse_busy(call);
        return NULL;
    }
    if (report->bad_text && receiver->invalid_utf8 == UT_OTLP_UTF8_REPLACE)
        error = repair(call, &batch, report);
    ut_batch_measure(batch);
    if (error != 0 || !settle(call, batch)) {
        count(ut_otlp_counters_of(call), UT_BUSY, batch->spans, report->left_out);
        ut_batch_unref(batch);
        refuse_busy(call);
        return NULL;
    }
    return batch;
}

/* When the answer has to leave so that the client still waits for it: a sixteenth of its patience
 * is for the way. */
static uint64_t deadline_of(const struct ut_call *call)
{
    return call->timeout_ns != 0 ? call->began_ns + call->timeout_ns / 16 * 15 : 0;
}

static void push(struct ut_call *call, struct ut_batch *batch, const struct ut_walk_report *report)
{
    struct ut_otlp_receiver *receiver = ut_otlp_connection_of(call->calls)->receiver;
    struct export *export = ut_pool_alloc(&receiver->worker->pool, sizeof(*export));
    if (export == NULL) {
        count(ut_otlp_counters_of(call), UT_BUSY, batch->spans, report->left_out);
        ut_batch_unref(batch);
        refuse_busy(call);
        return;
    }
    *export = (struct export){
        .push = {.batch = batch, .deadline_ns = deadline_of(call), .done = on_pushed},
        .receiver = receiver,
        .target = receiver->target,
        .counters = ut_otlp_counters_of(call),
        .retry_after_ms = call->calls->service->retry_after_ms,
        .call = call,
        .spans = batch->spans,
        .left_out = report->left_out,
        .reason = report->reason,
    };
    call->owner_data = export;
    receiver->pushes++;
    export->target->push(export->target, &export->push);
}

static void count_coding(const struct ut_call *call)
{
    if (call->coding == UT_CODING_IDENTITY)
        return;
    const struct ut_otlp_counters *counters = ut_otlp_counters_of(call);
    *counters->compressed[call->coding] += call->came;
    *counters->inflated[call->coding] += call->segment->size;
}

void ut_otlp_export(struct ut_call *call)
{
    struct ut_walk_report report = {0};
    count_coding(call);
    /* No bytes are an empty request in any encoding. */
    if (call->encoding == UT_ENCODING_JSON && call->segment->size > 0 && !transcode(call))
        return;
    struct ut_batch *batch = make_batch(call, &report);
    if (batch == NULL)
        return;
    if (report.left_out > 0)
        ut_otlp_log_left_out(call, report.left_out, report.reason);
    if (batch->spans > 0) {
        push(call, batch, &report);
        return;
    }
    /* Nothing to pass on: an empty request is a success, one of bad spans only a partial one. */
    ut_batch_unref(batch);
    count(ut_otlp_counters_of(call), UT_ACCEPTED, 0, report.left_out);
    succeed(call, report.left_out, report.reason);
}

void ut_otlp_export_abandon(struct ut_call *call)
{
    struct export *export = call->owner_data;
    struct ut_push_target *target = export->target;
    export->call = NULL;
    if (target->abandon != NULL)
        target->abandon(target, &export->push);
}
