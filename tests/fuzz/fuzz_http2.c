/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as an HTTP/2 connection, gRPC and OTLP/HTTP. The first byte says in what pieces they
 * come, the second whether a sound opening stands before them. Three times: whole, in pieces, and
 * in pieces with the output taken in between. The first two tell the same; none holds more than a
 * MiB beyond its bodies, or anything in the end; what comes out is frames.
 */
#include <stdlib.h>
#include <string.h>

#include "net/h2_calls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); /* libFuzzer calls it */

enum { STATUSES = 4096, INPUT_MAX = 16384, HELD_MAX = 1 << 20 };

struct outcome {
    size_t messages, bytes, statuses;
    int status[STATUSES];
    enum ut_h2_hit ended_by;
    bool broken;
};

struct play {
    struct outcome *outcome;
    struct ut_pool pool;
    struct ut_budget budget;
    struct ut_calls calls;
    struct ut_h2_calls server;
    struct ut_h2_framing output; /* of what comes out: as of a client without a preface */
};

static struct outcome *current;

static void on_message(struct ut_call *call)
{
    current->messages++;
    current->bytes += call->segment->size;
    if (call->segment->size % 3 == 2)
        ut_call_fail(call, UT_GRPC_UNAVAILABLE, 1000, "no room");
    else
        ut_call_succeed(call, call->segment->size % 3 == 1 ? UT_SLICE("words") : (ut_slice){0});
}

static void on_gone(struct ut_call *call)
{
    (void)call;
    abort(); /* every call is answered at once */
}

static void on_answered(struct ut_calls *calls, enum ut_transport transport, int status)
{
    (void)calls, (void)transport;
    UT_CHECK(current->statuses < STATUSES);
    current->status[current->statuses++] = status;
}

static void on_refused(struct ut_calls *calls, enum ut_transport transport, enum ut_refusal why,
                       const char *text)
{
    (void)calls, (void)transport, (void)why, (void)text;
}

static void wake(struct ut_calls *calls)
{
    (void)calls;
}

static const struct ut_service service = {
    .grpc_path = "/g",
    .grpc_metrics_path = "/m",
    .http_path = "/v1/traces",
    .http_logs_path = "/v1/logs",
    .body_bytes_max = 1 << 16,
    .retry_after_ms = 1000,
    .on_message = on_message,
    .on_gone = on_gone,
    .on_answered = on_answered,
    .on_refused = on_refused,
    .wake = wake,
};

static void check_output(struct play *play, ut_slice bytes)
{
    while (bytes.size > 0) {
        struct ut_h2_frame frame;
        bool found;
        size_t used = ut_h2_framing_next(&play->output, bytes, &frame, &found);
        UT_CHECK(!found || frame.type <= NGHTTP2_CONTINUATION);
        bytes = ut_slice_of(bytes.data + used, bytes.size - used);
    }
}

static void take(struct play *play)
{
    struct iovec runs[4];
    struct ut_h2_server *h2 = &play->server.h2;
    for (int count; (count = ut_h2_server_pending(h2, runs, 4)) > 0;) {
        for (int i = 0; i < count; i++) {
            check_output(play, ut_slice_of(runs[i].iov_base, runs[i].iov_len));
            ut_h2_server_consumed(h2, runs[i].iov_len);
        }
    }
}

static bool give(struct play *play, ut_slice bytes)
{
    uint8_t *copy = malloc(bytes.size);
    UT_CHECK(copy != NULL);
    memcpy(copy, bytes.data, bytes.size);
    int error = ut_h2_server_receive(&play->server.h2, ut_slice_of(copy, bytes.size), 1);
    free(copy);
    UT_CHECK(play->pool.in_use <= HELD_MAX + play->budget.used);
    return error == 0;
}

static void run(struct outcome *outcome, ut_slice bytes, size_t piece, bool taking)
{
    static const struct ut_h2_limits limits = {
        .streams = 16, .header_bytes = 4096, .header_fields = 32};
    struct play play = {.outcome = outcome};
    current = outcome;
    ut_pool_init(&play.pool, 1 << 20);
    ut_budget_init(&play.budget, 64 << 20);
    ut_calls_init(&play.calls, &play.pool, &play.budget, &service);
    UT_CHECK(ut_h2_calls_init(&play.server, &play.calls, &limits) == 0);
    bool lives = true;
    for (size_t at = 0; at < bytes.size && lives; at += piece) {
        size_t n = bytes.size - at < piece ? bytes.size - at : piece;
        lives = give(&play, ut_slice_of(bytes.data + at, n));
        if (taking)
            take(&play);
    }
    outcome->ended_by = play.server.h2.ended_by;
    take(&play);
    outcome->broken = play.server.h2.broken;
    ut_h2_calls_done(&play.server);
    UT_CHECK(play.budget.used == 0 && play.pool.in_use == 0);
    ut_pool_done(&play.pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char opening[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                  "\0\0\0\4\0\0\0\0\0"
                                  "\0\0\0\4\1\0\0\0\0";
    static uint8_t bytes[sizeof(opening) + INPUT_MAX];
    static struct outcome whole, cut, taken;
    if (size < 3 || size > INPUT_MAX)
        return 0;
    size_t start = (data[1] & 1) != 0 ? sizeof(opening) - 1 : 0;
    memcpy(bytes, opening, start);
    memcpy(bytes + start, data + 2, size - 2);
    ut_slice all = ut_slice_of(bytes, start + size - 2);
    memset(&whole, 0, sizeof(whole));
    memset(&cut, 0, sizeof(cut));
    memset(&taken, 0, sizeof(taken));
    run(&whole, all, all.size, false);
    run(&cut, all, (size_t)data[0] + 1, false);
    run(&taken, all, (size_t)data[0] + 1, true);
    UT_CHECK(whole.messages == cut.messages && whole.bytes == cut.bytes);
    UT_CHECK(whole.statuses == cut.statuses && whole.ended_by == cut.ended_by);
    UT_CHECK(memcmp(whole.status, cut.status, whole.statuses * sizeof(int)) == 0);
    return 0;
}
