/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an HTTP/1 connection, once whole and once in pieces of the size that the first byte
 * says: the same statuses come, as many messages, and nothing stays held. */
#include <stdlib.h>
#include <string.h>

#include "net/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); /* libFuzzer calls it */

enum { STATUSES = 4096 };

struct outcome {
    size_t messages, bytes, statuses;
    int status[STATUSES];
    bool ending;
};

static struct outcome *current;

static void on_message(struct ut_call *call)
{
    current->messages++;
    current->bytes += call->segment->size;
    ut_call_succeed(call, (ut_slice){0});
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

static const char *const origins[] = {"http://*.b"};
static const struct ut_http_cors cors = {.allowed_origins = origins, .allowed_origin_count = 1};
static const struct ut_service service = {
    .http_path = "/v1/traces",
    .http_metrics_path = "/v1/metrics",
    .http_logs_path = "/v1/logs",
    .cors = &cors,
    .body_bytes_max = 1 << 20,
    .retry_after_ms = 1000,
    .on_message = on_message,
    .on_gone = on_gone,
    .on_answered = on_answered,
    .on_refused = on_refused,
    .wake = wake,
};

static void take(struct ut_http1 *http1)
{
    struct iovec runs[4];
    for (int count; (count = ut_http1_pending(http1, runs, 4)) != 0;) {
        UT_CHECK(count > 0);
        for (int i = 0; i < count; i++)
            ut_http1_consumed(http1, runs[i].iov_len);
    }
}

static void play(struct outcome *outcome, const uint8_t *data, size_t size, size_t piece)
{
    /* Above any input, so that what is told does not hang on where it was cut. */
    static const struct ut_http1_limits limits = {.header_bytes = 1 << 20,
                                                  .header_fields = 1 << 20};
    struct ut_pool pool;
    struct ut_budget budget;
    struct ut_calls calls;
    struct ut_http1 http1;
    current = outcome;
    ut_pool_init(&pool, 1 << 20);
    ut_budget_init(&budget, 64 << 20);
    ut_calls_init(&calls, &pool, &budget, &service);
    ut_http1_init(&http1, &calls, &limits);
    for (size_t at = 0; at < size; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        uint8_t *copy = malloc(n);
        UT_CHECK(copy != NULL);
        memcpy(copy, data + at, n);
        UT_CHECK(ut_http1_receive(&http1, ut_slice_of(copy, n), 1) == 0);
        free(copy);
        take(&http1);
        UT_CHECK(!ut_http1_is_full(&http1));
    }
    outcome->ending = http1.ending;
    ut_http1_done(&http1);
    UT_CHECK(budget.used == 0);
    ut_pool_done(&pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct outcome whole, cut;
    if (size < 2 || size > 16384)
        return 0;
    memset(&whole, 0, sizeof(whole));
    memset(&cut, 0, sizeof(cut));
    play(&whole, data + 1, size - 1, size);
    play(&cut, data + 1, size - 1, (size_t)data[0] + 1);
    UT_CHECK(whole.messages == cut.messages && whole.bytes == cut.bytes);
    UT_CHECK(whole.statuses == cut.statuses && whole.ending == cut.ending);
    UT_CHECK(memcmp(whole.status, cut.status, whole.statuses * sizeof(int)) == 0);
    return 0;
}
