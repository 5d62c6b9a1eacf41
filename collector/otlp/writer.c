/* SPDX-License-Identifier: Apache-2.0 */
#include "otlp/writer.h"

enum { SWAP_ROOM = 512 };

static bool hold(struct ut_writer *w, size_t bytes)
{
    return w->limits->hold == NULL || w->limits->hold(w->limits->arg, bytes);
}

static bool fail(struct ut_writer *w, int error)
{
    w->error = error;
    return false;
}

static size_t held_by(const struct ut_segment *segment)
{
    return segment != NULL ? ut_pool_usable(segment) : 0;
}

/* A segment for `capacity` bytes and what is there already. */
static bool move_to(struct ut_writer *w, size_t capacity)
{
    struct ut_segment *old = w->segment;
    struct ut_segment *bigger = ut_segment_new(w->pool, capacity);
    if (bigger == NULL)
        return fail(w, -ENOMEM);
    if (!hold(w, held_by(old) + held_by(bigger))) {
        ut_segment_unref(bigger);
        return fail(w, -ENOBUFS);
    }
    size_t size = old != NULL ? ut_writer_position(w) : 0;
    if (size > 0)
        memcpy(bigger->data, old->data, size);
    ut_segment_unref(old);
    if (old != NULL)
        (void)hold(w, held_by(bigger));
    w->segment = bigger;
    w->next = bigger->data + size;
    w->end = bigger->data + bigger->capacity;
    return true;
}

int ut_writer_init(struct ut_writer *writer, struct ut_pool *pool,
                   const struct ut_writer_limits *limits, size_t first, size_t likely_max)
{
    *writer = (struct ut_writer){.pool = pool, .limits = limits, .likely_max = likely_max};
    if (first > limits->bytes_max)
        first = limits->bytes_max;
    (void)move_to(writer, first + UT_WRITER_SLACK);
    return writer->error;
}

/* The capacity doubles, but not beyond what the output can come to, or may. */
bool ut_writer_grow(struct ut_writer *writer, size_t size)
{
    if (writer->error != 0)
        return false;
    size_t most = writer->limits->bytes_max, have = ut_writer_position(writer);
    if (have > most || size > SIZE_MAX / 8)
        return fail(writer, -EMSGSIZE);
    size_t want = writer->segment->capacity * 2;
    if (want > writer->likely_max)
        want = writer->likely_max;
    if (want > most)
        want = most;
    /* Room that was asked for need not be used: only what is written counts against the limit. */
    if (want < have + size)
        want = have + size;
    return move_to(writer, want + UT_WRITER_SLACK);
}

int ut_writer_finish(struct ut_writer *writer, struct ut_segment **ret)
{
    size_t size = ut_writer_position(writer);
    if (writer->error == 0 && (size > writer->limits->bytes_max || size > UINT32_MAX))
        writer->error = -EMSGSIZE;
    if (writer->error != 0) {
        ut_writer_abandon(writer);
        return writer->error;
    }
    writer->segment->size = size;
    *ret = writer->segment;
    return 0;
}

void ut_writer_abandon(struct ut_writer *writer)
{
    ut_segment_unref(writer->segment);
    writer->segment = NULL;
    (void)hold(writer, 0);
}

size_t ut_writer_close(struct ut_writer *writer, size_t content, size_t guess)
{
    size_t size = ut_writer_position(writer) - content;
    size_t need = ut_wire_varint_size(size);
    uint8_t *length = writer->segment->data + content - guess;
    if (__builtin_expect(need != guess, 0)) {
        if (need > guess && !ut_writer_room(writer, need - guess))
            return need;
        length = writer->segment->data + content - guess;
        memmove(length + need, length + guess, size);
        writer->next = length + need + size;
    }
    ut_wire_put_varint(length, size);
    return need;
}

/* `size` bytes at `a` and at `b`, which do not overlap, change places. */
static void exchange(uint8_t *a, uint8_t *b, size_t size)
{
    uint8_t aside[SWAP_ROOM];
    while (size > 0) {
        size_t part = size < sizeof(aside) ? size : sizeof(aside);
        memcpy(aside, a, part);
        memcpy(a, b, part);
        memcpy(b, aside, part);
        a += part;
        b += part;
        size -= part;
    }
}

/* The smaller run is exchanged with as many bytes at the far end of the other, where it belongs;
 * what is left are two runs to swap again. So each byte is moved once or twice (Gries and Mills).
 */
void ut_writer_swap(struct ut_writer *writer, size_t first, size_t second, size_t end)
{
    uint8_t *data = writer->segment->data + first, aside[SWAP_ROOM];
    size_t left = second - first, right = end - second;
    while (left > sizeof(aside) && right > sizeof(aside)) {
        if (left <= right) {
            exchange(data, data + right, left);
            right -= left;
        } else {
            exchange(data, data + left, right);
            data += right;
            left -= right;
        }
    }
    if (right <= left) {
        memcpy(aside, data + left, right);
        memmove(data + right, data, left);
        memcpy(data, aside, right);
    } else {
        memcpy(aside, data, left);
        memmove(data, data + left, right);
        memcpy(data + right, aside, left);
    }
}
