/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk hold on a real loop, its senders' bodies and what a test wants to know of them. Bodies are
 * made from a number, so that whoever reads one back knows what it should be.
 */
#ifndef UT_TEST_HOLD_HARNESS_H
#define UT_TEST_HOLD_HARNESS_H

#include <criterion/criterion.h>
#include <errno.h>

#include "base/clock.h"
#include "disk_scratch.h"
#include "flow/disk/hold.h"
#include "hold_bodies.h"

#define HARNESS_PUTS_MAX 4096

struct harness;

struct harness_put {
    struct ut_hold_put put;
    struct harness *harness;
    struct ut_hold_record *record; /* NULL: not stored, or let go */
    uint8_t *body;
    uint64_t number;
    int error; /* 1: not answered */
};

struct harness_taken {
    struct ut_hold_record *record;
    uint64_t number; /* of the body; UINT64_MAX: it is no body of ours */
    uint32_t outcome_size;
    uint8_t outcome[64];
};

struct harness {
    struct disk_scratch scratch;
    struct ut_worker worker;
    struct ut_hold_config config;
    struct ut_hold *hold;
    char error[UT_DISK_ERROR_TEXT];
    struct harness_put *puts[HARNESS_PUTS_MAX];
    size_t put_count, answered;
    struct harness_taken taken[HARNESS_PUTS_MAX];
    size_t taken_count;
    uint64_t damaged_records, damaged_spans;
    struct ut_hold_read read;
    bool patient /* the puts that come are */, reading, closed;
    uint64_t read_next;
    int read_error;
};

static inline void harness_init(struct harness *harness)
{
    memset(harness, 0, sizeof(*harness));
    disk_scratch_init(&harness->scratch);
    cr_assert_eq(ut_worker_init(&harness->worker, (size_t)64 << 20, NULL, ut_metrics_new()), 0);
    harness->config = (struct ut_hold_config){
        .worker = &harness->worker,
        .directory = harness->scratch.path,
        .max_bytes = (uint64_t)16 << 20,
        .sync = true,
        .durable = true,
    };
}

static inline int harness_open(struct harness *harness)
{
    harness->put_count = harness->answered = harness->taken_count = 0;
    harness->damaged_records = harness->damaged_spans = 0;
    harness->closed = false;
    return ut_hold_open(&harness->hold, &harness->config, harness->error);
}

/* Turns the loop until `condition` holds, 20 s at most. */
#define HARNESS_WAIT(harness, condition)                                                           \
    do {                                                                                           \
        uint64_t wait_end = ut_clock_monotonic_ns() + 20 * UT_NS_PER_S;                            \
        while (!(condition) && ut_clock_monotonic_ns() < wait_end)                                 \
            (void)uv_run(&(harness)->worker.uv, UV_RUN_ONCE);                                      \
        cr_assert(condition, "it did not come within 20 s");                                       \
    } while (0)

/* Turns it for so long. */
static inline void harness_turn(struct harness *harness, uint64_t ms)
{
    uint64_t end = ut_clock_monotonic_ns() + ms * UT_NS_PER_MS;
    while (ut_clock_monotonic_ns() < end) {
        (void)uv_run(&harness->worker.uv, UV_RUN_NOWAIT);
        (void)usleep(1000);
    }
}

/* ---- putting --------------------------------------------------------------------------------- */

static inline void harness_on_put(struct ut_hold_put *put, struct ut_hold_record *record, int error)
{
    struct harness_put *self = UT_CONTAINER_OF(put, struct harness_put, put);
    cr_assert_eq(self->error, 1, "answered twice");
    self->error = error;
    self->record = record;
    self->harness->answered++;
}

static inline void harness_outcome(struct ut_hold_record *record, const char *text)
{
    memcpy(ut_hold_outcome(record, strlen(text)), text, strlen(text));
}

static inline int harness_put(struct harness *harness, uint64_t number, size_t size,
                              uint64_t cursors)
{
    struct harness_put *self = calloc(1, sizeof(*self));
    self->harness = harness;
    self->number = number;
    self->error = 1;
    self->body = malloc(size);
    harness_fill(self->body, size, number);
    self->put = (struct ut_hold_put){
        .record = {.spans = (uint32_t)(number % 100 + 1),
                   .received_ns = number,
                   .workload = number * 3,
                   .cursors = cursors,
                   .body = ut_slice_of(self->body, size)},
        .patient = harness->patient,
        .done = harness_on_put,
    };
    int error = ut_hold_put(harness->hold, &self->put);
    if (error != 0) {
        free(self->body);
        free(self);
        return error;
    }
    cr_assert_lt(harness->put_count, HARNESS_PUTS_MAX);
    harness->puts[harness->put_count++] = self;
    return 0;
}

/* All that were put are answered. */
static inline void harness_settle(struct harness *harness)
{
    HARNESS_WAIT(harness, harness->answered == harness->put_count);
}

/* ---- reading --------------------------------------------------------------------------------- */

static inline void harness_on_take(struct ut_hold_read *read, struct ut_hold_record *handle,
                                   const struct ut_record *record, ut_slice outcome)
{
    struct harness *harness = UT_CONTAINER_OF(read, struct harness, read);
    cr_assert_lt(harness->taken_count, HARNESS_PUTS_MAX);
    struct harness_taken *taken = &harness->taken[harness->taken_count++];
    *taken = (struct harness_taken){
        handle, harness_number_of(record->body), (uint32_t)outcome.size, {0}};
    cr_expect_eq(record->spans, taken->number % 100 + 1);
    cr_expect_eq(record->received_ns, taken->number);
    cr_expect_eq(record->workload, taken->number * 3);
    cr_assert_leq(outcome.size, sizeof(taken->outcome));
    if (outcome.size > 0)
        memcpy(taken->outcome, outcome.data, outcome.size);
}

static inline void harness_on_damaged(struct ut_hold_read *read, uint64_t records, uint64_t spans)
{
    struct harness *harness = UT_CONTAINER_OF(read, struct harness, read);
    harness->damaged_records += records;
    harness->damaged_spans += spans;
}

static inline void harness_on_read(struct ut_hold_read *read, uint64_t next, int error)
{
    struct harness *harness = UT_CONTAINER_OF(read, struct harness, read);
    harness->read_next = next;
    harness->read_error = error;
    harness->reading = false;
}

static inline void harness_read_once(struct harness *harness, uint32_t cursor, uint64_t from,
                                     size_t bytes_max)
{
    harness->read = (struct ut_hold_read){
        .cursor = cursor,
        .from = from,
        .bytes_max = bytes_max,
        .take = harness_on_take,
        .damaged = harness_on_damaged,
        .done = harness_on_read,
    };
    harness->reading = true;
    ut_hold_read(harness->hold, &harness->read);
    HARNESS_WAIT(harness, !harness->reading);
    cr_assert_eq(harness->read_error, 0);
}

/* Everything that is pending for the cursor and not in memory. */
static inline void harness_read_all(struct harness *harness, uint32_t cursor)
{
    uint64_t from = 0;
    do {
        harness_read_once(harness, cursor, from, 64 << 10);
        from = harness->read_next;
    } while (from != UINT64_MAX);
}

static inline uint64_t harness_pending(const struct harness *harness, uint32_t cursor)
{
    struct ut_hold_backlog backlogs[UT_HOLD_CURSORS_MAX];
    size_t count = ut_hold_backlogs(harness->hold, backlogs, UT_HOLD_CURSORS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (backlogs[i].cursor == cursor)
            return backlogs[i].records;
    }
    return 0;
}

/* ---- the end --------------------------------------------------------------------------------- */

static inline void harness_on_closed(void *arg)
{
    *(bool *)arg = true;
}

static inline void harness_forget(struct harness *harness)
{
    for (size_t i = 0; i < harness->put_count; i++) {
        free(harness->puts[i]->body);
        free(harness->puts[i]);
    }
    harness->put_count = 0;
}

static inline void harness_close(struct harness *harness)
{
    ut_hold_close(harness->hold, harness_on_closed, &harness->closed);
    HARNESS_WAIT(harness, harness->closed);
    harness->hold = NULL;
    harness_forget(harness);
}

/* Checks, in ut_pool_done, that every block was given back. */
static inline void harness_done(struct harness *harness)
{
    struct ut_metrics *metrics = harness->worker.metrics;
    ut_worker_done(&harness->worker);
    ut_metrics_free(metrics);
    disk_scratch_done(&harness->scratch);
}

#endif
