/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a call: its segment grows as bytes arrive, or as they are inflated, each step charged
 * before it is written. */
#include "net/call_body.h"

#include <stdio.h>

enum {
    /* Blocks up to here are taken as bytes arrive; longer ones are mapped. */
    POOLED_BYTES = 1 << 20,
    /* A block is at most so many times what has arrived, or of FIRST_BLOCK bytes. */
    BLOCK_FACTOR = 4,
    FIRST_BLOCK = 4000,
    BLOCK_OVERHEAD = 16, /* bytes of a block that are the pool's */

    /* What is charged at once of a mapped block that is being inflated into. */
    INFLATED_STEP = 512 << 10,
    INFLATED_LEAST = 4000,
    EXPANSION_MOST = 64,
    /* Limits of call.h. */
    EXPANDED_FREE = 1 << 20,
    EXPANDED_MOST = 1100,
    NOTHING_FREE = 64 << 10,
    NOTHING_MOST = 2,
};

/* ---- room ----------------------------------------------------------------------------------- */

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
    size_t block = ut_pool_usable(segment) + BLOCK_OVERHEAD;
    size_t touched = (size + sizeof(*segment) + UT_BUDGET_STEP - 1) & ~(UT_BUDGET_STEP - 1);
    return block > POOLED_BYTES && touched < block ? touched : block;
}

static size_t context_cost(const struct ut_call *call)
{
    return call->inflate != NULL ? ut_inflate_cost(call->coding) : 0;
}

/* The segment gets room for `size` bytes, in a block for `block` bytes where it has none. */
static bool make_room(struct ut_call *call, size_t size, size_t block)
{
    struct ut_segment *old = call->segment;
    if (old != NULL && size <= old->capacity)
        return ut_call_hold(call, cost_of(old, size) + context_cost(call));
    struct ut_segment *bigger = ut_segment_new(call->calls->pool, block);
    if (bigger == NULL)
        return false;
    if (!ut_call_hold(call, cost_of(bigger, size) + context_cost(call))) {
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
    ut_call_release(call, cost_of(segment, segment->size));
}

void ut_call_replace(struct ut_call *call, struct ut_segment *segment)
{
    ut_segment_unref(call->segment);
    call->segment = segment;
    ut_call_reckon(call, segment);
}

/* ---- as it comes ---------------------------------------------------------------------------- */

static void append(struct ut_call *call, ut_slice bytes, size_t behind)
{
    size_t size = call->segment != NULL ? call->segment->size : 0;
    size_t needed = size + bytes.size;
    size_t block =
        call->coding == UT_CODING_IDENTITY ? block_for(call, needed + behind) : FIRST_BLOCK;
    if (!make_room(call, needed, block)) {
        ut_call_refuse_busy(call);
        return;
    }
    memcpy(call->segment->data + size, bytes.data, bytes.size);
    call->segment->size = needed;
}

/* ---- inflated ------------------------------------------------------------------------------- */

static void give_context(struct ut_call *call)
{
    if (call->inflate != NULL)
        ut_inflate_give(call->calls->service->inflates, call->inflate);
    call->inflate = NULL;
}

static bool take_context(struct ut_call *call)
{
    if (!ut_call_hold(call, ut_inflate_cost(call->coding)))
        return false;
    call->inflate = ut_inflate_take(call->calls->service->inflates, call->coding);
    return call->inflate != NULL;
}

static void refuse_corrupt(struct ut_call *call, const char *what)
{
    char text[80];
    (void)snprintf(text, sizeof(text), "the compressed body (%s) %s", ut_coding_name(call->coding),
                   what);
    ut_call_refuse(call, UT_REFUSED_PROTOCOL,
                   &(struct ut_failure){UT_GRPC_INVALID_ARGUMENT, 400, 0, text});
}

static void refuse_expansion(struct ut_call *call)
{
    ut_call_refuse(
        call, UT_REFUSED_SIZE,
        &(struct ut_failure){UT_GRPC_RESOURCE_EXHAUSTED, 413, 0, "the body expands too far"});
}

/* Whether what has been inflated out of `taken` bytes keeps the limits of call.h; else the call is
 * refused. */
static bool keeps_limits(struct ut_call *call, const struct ut_inflate_body *body, size_t taken)
{
    size_t size = body->size > body->declared ? body->size : body->declared;
    if (size > call->calls->service->body_bytes_max)
        ut_call_refuse_size(call, size);
    else if (body->size > EXPANDED_FREE && body->size / EXPANDED_MOST > taken)
        refuse_expansion(call);
    else if (taken > NOTHING_FREE && (taken - NOTHING_FREE) / NOTHING_MOST > body->size)
        refuse_corrupt(call, "is mostly empty");
    else
        return true;
    return false;
}

/* How long the block of an inflated body is to be that needs room for `size` bytes. */
static size_t inflated_block_for(const struct ut_call *call, size_t size, size_t declared,
                                 size_t behind)
{
    size_t here = call->came + behind;
    here = here < call->expected ? here : call->expected;
    size_t bytes = here * call->calls->expansion;
    if (call->segment != NULL && bytes < 2 * call->segment->size)
        bytes = 2 * call->segment->size;
    bytes = bytes > INFLATED_LEAST ? bytes : INFLATED_LEAST;
    size_t most = declared > 0 ? declared : call->calls->service->body_bytes_max;
    bytes = bytes < most ? bytes : most;
    return bytes > size ? bytes : size;
}

/* `wanted` bytes more can be written: a block of the pool whole, a mapped one in steps. */
static bool make_inflated_room(struct ut_call *call, const struct ut_inflate_body *body,
                               size_t behind)
{
    size_t size = body->size + body->want;
    struct ut_segment *segment = call->segment;
    if (segment == NULL || size > segment->capacity)
        return make_room(call, size, inflated_block_for(call, size, body->declared, behind));
    size_t step = body->size + INFLATED_STEP;
    step = step < segment->capacity ? step : segment->capacity;
    return make_room(call, size > step ? size : step, 0);
}

/* How far the segment may be written: as far as it is charged. */
static size_t room_of(const struct ut_call *call)
{
    const struct ut_segment *segment = call->segment;
    size_t charged = call->held - context_cost(call);
    if (charged >= ut_pool_usable(segment) + BLOCK_OVERHEAD)
        return segment->capacity;
    size_t room = charged - sizeof(*segment);
    return room < segment->capacity ? room : segment->capacity;
}

/* Of the body as it comes, `left` bytes that came and `behind` that are here follow `bytes`. */
static void inflate(struct ut_call *call, ut_slice bytes, size_t left, size_t behind)
{
    struct ut_inflate_body body = {0};
    for (;;) {
        struct ut_segment *segment = call->segment;
        if (segment != NULL) {
            body.data = segment->data;
            body.size = segment->size;
            body.room = room_of(call);
        }
        enum ut_inflate_result result = ut_inflate_step(call->inflate, &bytes, &body);
        if (segment != NULL)
            segment->size = body.size;
        if (!keeps_limits(call, &body, call->came - left - bytes.size))
            return;
        if (result == UT_INFLATE_CORRUPT)
            refuse_corrupt(call, "does not inflate");
        if (result != UT_INFLATE_ROOM)
            return;
        if (!make_inflated_room(call, &body, behind)) {
            ut_call_refuse_busy(call);
            return;
        }
    }
}

/* Takes a context and inflates what was kept so far, `left` bytes before what came. false: the call
 * was answered. */
static bool begin_inflating(struct ut_call *call, size_t left)
{
    struct ut_segment *kept = call->segment;
    call->segment = NULL;
    if (!take_context(call))
        ut_call_refuse_busy(call);
    else if (kept != NULL)
        inflate(call, ut_slice_of(kept->data, kept->size), left, 0);
    ut_segment_unref(kept);
    return call->state == UT_CALL_ARRIVING;
}

/* A body that fills less than half of its block gets one that fits. */
static void fit(struct ut_call *call)
{
    struct ut_segment *old = call->segment;
    size_t needed = old->size + sizeof(*old) + BLOCK_OVERHEAD;
    if (needed > cost_of(old, old->size) / 2)
        return;
    struct ut_segment *fitting = ut_segment_new(call->calls->pool, old->size);
    if (fitting == NULL)
        return;
    memcpy(fitting->data, old->data, old->size);
    fitting->size = old->size;
    ut_segment_unref(old);
    call->segment = fitting;
}

/* The next body of the connection will expand much as this one did. */
static void learn_expansion(struct ut_call *call)
{
    size_t times = call->segment->size / call->came + 1;
    call->calls->expansion = (uint32_t)(times < EXPANSION_MOST ? times : EXPANSION_MOST);
}

static bool finish_inflating(struct ut_call *call)
{
    if (!ut_inflate_is_whole(call->inflate)) {
        refuse_corrupt(call, "ends too early");
        return false;
    }
    give_context(call);
    if (call->segment == NULL) {
        ut_call_release(call, 0);
        return true;
    }
    fit(call);
    ut_call_reckon(call, call->segment);
    learn_expansion(call);
    return true;
}

/* ---- for the protocols, and call.c ---------------------------------------------------------- */

/* A plain body is kept as it came; of a compressed one so are the first bytes while there are few,
 * so that a stream that brings no more has no context. */
static bool is_kept(const struct ut_call *call)
{
    return call->coding == UT_CODING_IDENTITY ||
           (call->inflate == NULL && call->came < FIRST_BLOCK && call->came < call->expected);
}

void ut_call_append(struct ut_call *call, ut_slice bytes, size_t behind)
{
    call->came += bytes.size;
    if (call->came > call->calls->service->body_bytes_max)
        ut_call_refuse_size(call, call->came);
    else if (bytes.size > 0 && is_kept(call))
        append(call, bytes, behind);
    else if (bytes.size > 0 && (call->inflate != NULL || begin_inflating(call, bytes.size)))
        inflate(call, bytes, 0, behind);
}

bool ut_call_finish_body(struct ut_call *call)
{
    bool coded = call->coding != UT_CODING_IDENTITY && call->came > 0;
    if (coded && call->inflate == NULL && !begin_inflating(call, 0))
        return false;
    if (coded && !finish_inflating(call))
        return false;
    call->expected = call->came;
    if (call->segment == NULL && !make_room(call, 0, 0)) {
        ut_call_refuse_busy(call);
        return false;
    }
    return true;
}

void ut_call_drop_body(struct ut_call *call)
{
    give_context(call);
    ut_segment_unref(call->segment);
    call->segment = NULL;
}
