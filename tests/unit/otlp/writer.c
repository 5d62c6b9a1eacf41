/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "otlp/writer.h"

static struct ut_pool pool;
static struct ut_writer writer;
static const struct ut_writer_limits FREE = {.bytes_max = (size_t)1 << 30};

static void set_up(void)
{
    ut_pool_init(&pool, (size_t)8 << 20);
    cr_assert_eq(ut_writer_init(&writer, &pool, &FREE, 16, SIZE_MAX), 0);
}

static void tear_down(void)
{
    ut_writer_abandon(&writer);
    ut_pool_done(&pool);
}

TestSuite(writer, .init = set_up, .fini = tear_down);

/* Bytes of a pattern that does not repeat soon. */
static void write_pattern(size_t size)
{
    cr_assert(ut_writer_room(&writer, size));
    for (size_t i = 0; i < size; i++)
        *writer.next++ = (uint8_t)((i * 2654435761U) >> 13);
}

Test(writer, lengths_are_of_the_shortest_form_whatever_the_guess)
{
    static const size_t sizes[] = {0, 1, 127, 128, 16383, 16384, 2097151, 2097152};
    for (size_t i = 0; i < 8; i++) {
        for (size_t guess = 1; guess <= 5; guess++) {
            writer.next = writer.segment->data;
            cr_assert(ut_writer_room(&writer, 8));
            *writer.next++ = 0x0a;
            writer.next += guess;
            size_t content = ut_writer_position(&writer);
            write_pattern(sizes[i]);
            writer.end = writer.next; /* so that a longer length needs more room */
            size_t need = ut_writer_close(&writer, content, guess);
            cr_expect_eq(need, ut_wire_varint_size(sizes[i]));
            uint64_t size;
            const uint8_t *p = ut_wire_varint(writer.segment->data + 1, &size);
            cr_expect_eq(size, sizes[i]);
            cr_expect_eq(writer.next - p, (ptrdiff_t)sizes[i]);
            for (size_t j = 0; j < sizes[i]; j++)
                cr_assert_eq(p[j], (uint8_t)((j * 2654435761U) >> 13));
        }
    }
}

static void expect_swap(size_t before, size_t left, size_t right)
{
    writer.next = writer.segment->data;
    write_pattern(before + left + right + 3);
    static uint8_t want[10000];
    const uint8_t *data = writer.segment->data;
    memcpy(want, data, before + left + right + 3);
    memcpy(want + before, data + before + left, right);
    memcpy(want + before + right, data + before, left);
    ut_writer_swap(&writer, before, before + left, before + left + right);
    cr_expect_eq(memcmp(want, writer.segment->data, before + left + right + 3), 0, "%zu, %zu", left,
                 right);
}

Test(writer, runs_change_places)
{
    static const size_t sizes[] = {0, 1, 2, 511, 512, 513, 514, 1024, 1025, 1027, 2100, 3001};
    for (size_t i = 0; i < 12; i++) {
        for (size_t j = 0; j < 12; j++)
            expect_swap(7, sizes[i], sizes[j]);
    }
}
