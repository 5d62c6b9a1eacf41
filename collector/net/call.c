/* SPDX-License-Identifier: Apache-2.0 */
#include "net/call.h"

#include <stdio.h>

enum {
    /* Blocks up to here are taken as bytes arrive; longer ones are mapped. */
    POOLED_BYTES = 1 << 20,
    /* A block is at most so many times what has arrived, or of FIRST_BLOCK bytes. */
    BLOCK_FACTOR = 4,
    FIRST_BLOCK = 4000,
};

/* ---- the charge ----------------------------------------------------------------------------- */

static size_t round_up(size_t bytes, size_t step)
{
    return (bytes + step - 1) / step * step;
}

/* Gives back what the account has above its need. */
static void trim(struct ut_calls *calls)
{
    size_t need = round_up(calls->held, UT_BUDGET_STEP);
    if (calls->account.charged > need)
        ut_budget_release(&calls->account, calls->account.charged - need);
}

bool ut_call_hold(struct ut_call *call, size_t bytes)
{
    struct ut_calls *calls = call->calls;
    if (bytes <= call->held)
        return true;
    size_t held = calls->held + bytes - call->held;
    size_t need = round_up(held, UT_BUDGET_STEP);
    if (need > calls->account.charged &&
        !ut_budget_charge(&calls->account, need - calls->account.charged))
        return false;
    calls->held = held;
    call->held = bytes;
    return true;
}

size_t ut_call_settle(struct ut_call *call)
{
    struct ut_calls *calls = call->calls;
    size_t bytes = call->held;
    ut_budget_settle(&calls->account, bytes);
    calls->held -= bytes;
    call->held = 0;
    trim(calls);
    return bytes;
}

/* ---- states --------------------------------------------------------------------------------- */

void ut_call_init(struct ut_call *call, struct ut_calls *calls, const struct ut_call_ops *ops)
{
    *call = (struct ut_call){.calls = calls, .ops = ops, .expected = UT_CALL_LENGTH_UNKNOWN};
}

void ut_call_arrive(struct ut_call *call, uint64_t now_ns)
{
    struct ut_calls *calls = call->calls;
    call->state = UT_CALL_ARRIVING;
    call->began_ns = now_ns;
    call->next = calls->arriving;
    if (call->next != NULL)
        call->next->previous = call;
    calls->arriving = call;
}

static void leave_arriving(struct ut_call *call)
{
    if (call->previous != NULL)
        call->previous->next = call->next;
    else
        call->calls->arriving = call->next;
    if (call->next != NULL)
        call->next->previous = call->previous;
    call->previous = call->next = NULL;
}

/* Lets go of all that the call has before its answer, whatever its state. */
static void leave_state(struct ut_call *call)
{
    struct ut_calls *calls = call->calls;
    if (call->state == UT_CALL_ARRIVING)
        leave_arriving(call);
    else if (call->state == UT_CALL_HANDED_ON)
        calls->waiting--;
    ut_segment_unref(call->segment);
    call->segment = NULL;
    calls->held -= call->held;
    call->held = 0;
    trim(calls);
    call->state = UT_CALL_ANSWERED;
}

void ut_call_end(struct ut_call *call)
{
    if (call->state == UT_CALL_HANDED_ON)
        call->calls->service->on_gone(call);
    if (call->state != UT_CALL_ANSWERED)
        leave_state(call);
}

/* ---- answers -------------------------------------------------------------------------------- */

static void finish(struct ut_call *call, int status)
{
    struct ut_calls *calls = call->calls;
    leave_state(call);
    calls->service->on_answered(calls, call->ops->transport, status);
    calls->service->wake(calls);
}

void ut_call_succeed(struct ut_call *call, ut_slice message)
{
    call->ops->succeed(call, message);
    finish(call, call->ops->transport == UT_TRANSPORT_HTTP ? 200 : UT_GRPC_OK);
}

static int http_status_of(enum ut_grpc_code code)
{
    switch (code) {
    case UT_GRPC_INVALID_ARGUMENT:
        return 400;
    case UT_GRPC_RESOURCE_EXHAUSTED:
        return 413;
    case UT_GRPC_UNAVAILABLE:
        return 503;
    default:
        return 500;
    }
}

void ut_call_fail(struct ut_call *call, enum ut_grpc_code code, uint32_t retry_after_ms,
                  const char *text)
{
    const struct ut_failure failure = {code, http_status_of(code), retry_after_ms, text};
    finish(call, call->ops->fail(call, &failure));
}

void ut_call_refuse(struct ut_call *call, enum ut_refusal why, const struct ut_failure *failure)
{
    struct ut_calls *calls = call->calls;
    enum ut_transport transport = call->ops->transport;
    finish(call, call->ops->fail(call, failure));
    calls->service->on_refused(calls, transport, why, failure->text);
}

void ut_call_refuse_size(struct ut_call *call, size_t bytes)
{
    char text[96];
    (void)snprintf(text, sizeof(text), "a message of %zu bytes exceeds the limit of %zu", bytes,
                   call->calls->service->body_bytes_max);
    ut_call_refuse(call, UT_REFUSED_SIZE,
                   &(struct ut_failure){UT_GRPC_RESOURCE_EXHAUSTED, 413, 0, text});
}

static void refuse_busy(struct ut_call *call)
{
    ut_call_refuse(call, UT_REFUSED_BUDGET,
                   &(struct ut_failure){UT_GRPC_UNAVAILABLE, 503,
                                        call->calls->service->retry_after_ms,
                                        "no memory left for this request now"});
}

/* ---- the body ------------------------------------------------------------------------------- */

/* How long the block of a body is to be when `available` bytes of it are here or just behind. */
static size_t block_for(const struct ut_call *call, size_t available)
{
    bool known = call->expected != UT_CALL_LENGTH_UNKNOWN;
    size_t most = known ? call->expected : call->calls->service->body_bytes_max;
    if (known && most >= POOLED_BYTES)
        return most;
    size_t bytes = available * BLOCK_FACTOR;
    bytes = bytes > FIRST_BLOCK ? bytes : FIRST_BLOCK;
    return bytes < most ? bytes : most;
}

/* What a segment costs when `size` bytes have been written to it. */
static size_t cost_of(const struct ut_segment *segment, size_t size)
{
    size_t block = ut_pool_usable(segment) + 16;
    size_t touched = round_up(size + sizeof(*segment), UT_BUDGET_STEP);
    return block > POOLED_BYTES && touched < block ? touched : block;
}

/* The segment gets room for `size` bytes, `available` of which are here or just behind. */
static bool make_room(struct ut_call *call, size_t size, size_t available)
{
    struct ut_segment *old = call->segment;
    if (old != NULL && size <= old->capacity)
        return ut_call_hold(call, cost_of(old, size));
    struct ut_segment *bigger = ut_segment_new(call->calls->pool, block_for(call, available));
    if (bigger == NULL)
        return false;
    if (!ut_call_hold(call, cost_of(bigger, size))) {
        ut_segment_unref(bigger);
        return false;
    }
    if (old != NULL) {
        memcpy(bigger->data, old->data, old->size);
        bigger->size = old->size;
        ut_segment_unref(old);
    }
    call->segment = bigger;
    return true;
}

void ut_call_reckon(struct ut_call *call, const struct ut_segment *segment)
{
    size_t held = cost_of(segment, segment->size);
    if (held >= call->held)
        return;
    call->calls->held -= call->held - held;
    call->held = held;
    trim(call->calls);
}

void ut_call_replace(struct ut_call *call, struct ut_segment *segment)
{
    ut_segment_unref(call->segment);
    call->segment = segment;
    ut_call_reckon(call, segment);
}

void ut_call_append(struct ut_call *call, ut_slice bytes, size_t behind)
{
    size_t size = call->segment != NULL ? call->segment->size : 0;
    if (bytes.size > call->calls->service->body_bytes_max - size) {
        ut_call_refuse_size(call, size + bytes.size);
        return;
    }
    if (bytes.size == 0)
        return;
    if (!make_room(call, size + bytes.size, size + bytes.size + behind)) {
        refuse_busy(call);
        return;
    }
    memcpy(call->segment->data + size, bytes.data, bytes.size);
    call->segment->size = size + bytes.size;
}

void ut_call_complete(struct ut_call *call)
{
    call->expected = call->segment != NULL ? call->segment->size : 0;
    if (call->segment == NULL && !make_room(call, 0, 0)) {
        refuse_busy(call);
        return;
    }
    leave_arriving(call);
    call->state = UT_CALL_HANDED_ON;
    call->calls->waiting++;
    call->calls->service->on_message(call);
}

/* ---- life ----------------------------------------------------------------------------------- */

static void evict(struct ut_budget_account *account)
{
    struct ut_calls *calls = UT_CONTAINER_OF(account, struct ut_calls, account);
    while (calls->arriving != NULL)
        refuse_busy(calls->arriving);
}

void ut_calls_init(struct ut_calls *calls, struct ut_pool *pool, struct ut_budget *budget,
                   const struct ut_service *service)
{
    *calls = (struct ut_calls){.service = service, .pool = pool};
    ut_budget_account_init(&calls->account, budget, evict);
}
