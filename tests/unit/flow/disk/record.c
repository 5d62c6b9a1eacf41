/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/disk/record.h"

#include <criterion/criterion.h>
#include <errno.h>

static uint8_t bytes[4096];

static struct ut_record make_record(uint64_t sequence, ut_slice body)
{
    return (struct ut_record){
        .sequence = sequence,
        .spans = 7,
        .received_ns = UINT64_C(1700000000123456789),
        .workload = 42,
        .cursors = 5,
        .body = body,
    };
}

Test(disk_record, comes_back_as_it_was_written)
{
    for (size_t size = 0; size < 40; size++) {
        uint8_t body[40];
        memset(body, 0xa5, sizeof(body));
        struct ut_record in = make_record(9, ut_slice_of(body, size)), out;
        ut_record_encode(bytes, UT_RECORD_BODY, &in);
        ut_slice value = ut_slice_of(bytes, ut_record_size(size));
        cr_assert_eq(ut_record_decode(value, UT_RECORD_BODY, 9, &out), 0);
        cr_expect_eq(out.sequence, 9);
        cr_expect_eq(out.spans, in.spans);
        cr_expect_eq(out.received_ns, in.received_ns);
        cr_expect_eq(out.workload, in.workload);
        cr_expect_eq(out.cursors, in.cursors);
        cr_expect(ut_slice_equal(out.body, in.body));
    }
}

Test(disk_record, any_flipped_bit_is_seen)
{
    struct ut_record in = make_record(9, UT_SLICE("a body of sixteen")), out;
    size_t meant = UT_RECORD_HEADER + in.body.size; /* what follows is padding */
    ut_record_encode(bytes, UT_RECORD_BODY, &in);
    ut_slice value = ut_slice_of(bytes, ut_record_size(in.body.size));
    for (size_t bit = 0; bit < meant * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        cr_expect_eq(ut_record_decode(value, UT_RECORD_BODY, 9, &out), -EBADMSG, "bit %zu", bit);
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    cr_expect_eq(ut_record_decode(value, UT_RECORD_BODY, 9, &out), 0);
}

Test(disk_record, neither_another_sequence_nor_another_kind_nor_a_short_one_is_taken)
{
    struct ut_record in = make_record(9, UT_SLICE("body")), out;
    ut_record_encode(bytes, UT_RECORD_BODY, &in);
    size_t size = ut_record_size(in.body.size);
    cr_expect_eq(ut_record_decode(ut_slice_of(bytes, size), UT_RECORD_BODY, 8, &out), -EBADMSG);
    cr_expect_eq(ut_record_decode(ut_slice_of(bytes, size), UT_RECORD_OUTCOME, 9, &out), -EBADMSG);
    for (size_t cut = 0; cut < size; cut++)
        cr_expect_eq(ut_record_decode(ut_slice_of(bytes, cut), UT_RECORD_BODY, 9, &out), -EBADMSG);
}

static struct ut_index_entry entries[UT_VALUE_RECORDS_MAX], found[UT_VALUE_RECORDS_MAX];

Test(disk_index, comes_back_and_any_flipped_bit_is_seen)
{
    struct ut_index in = {.key = 77, .count = 3, .entries = entries}, out = {.entries = found};
    for (uint32_t i = 0; i < 3; i++)
        entries[i] = (struct ut_index_entry){UINT64_C(1) << i, i + 10, i + 100};
    ut_index_encode(bytes, &in);
    ut_slice index = ut_slice_of(bytes, ut_index_size(3));
    cr_assert_eq(ut_index_decode(index, 77, &out), 0);
    cr_expect_eq(out.count, 3);
    cr_expect_arr_eq(found, entries, 3 * sizeof(*entries));
    cr_expect_eq(ut_index_decode(index, 78, &out), -EBADMSG);
    for (size_t bit = 0; bit < index.size * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        cr_expect_eq(ut_index_decode(index, 77, &out), -EBADMSG, "bit %zu", bit);
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    for (size_t cut = 0; cut < index.size; cut++)
        cr_expect_eq(ut_index_decode(ut_slice_of(bytes, cut), 77, &out), -EBADMSG);
}

Test(disk_index, is_made_anew_from_the_records_as_far_as_they_are_whole)
{
    struct ut_index out = {.entries = found};
    size_t size = 0, second = 0;
    for (uint64_t i = 0; i < 3; i++) {
        struct ut_record record = make_record(20 + i, UT_SLICE("some body"));
        second = i == 1 ? size : second;
        ut_record_encode(bytes + size, UT_RECORD_BODY, &record);
        size += ut_record_size(record.body.size);
    }
    cr_assert_eq(ut_index_rebuild(ut_slice_of(bytes, size), 20, &out), 0);
    cr_expect_eq(out.count, 3);
    cr_expect_eq(found[2].pending, 5);
    cr_expect_eq(found[2].spans, 7);
    cr_expect_eq(found[2].size, 9);
    bytes[second + UT_RECORD_HEADER] ^= 1;
    cr_assert_eq(ut_index_rebuild(ut_slice_of(bytes, size), 20, &out), 0);
    cr_expect_eq(out.count, 1);
    cr_expect_eq(ut_index_rebuild(ut_slice_of(bytes, size), 21, &out), -EBADMSG);
}

Test(disk_name, belongs_to_its_key)
{
    uint8_t name[UT_NAME_BYTES];
    uint32_t number = 0;
    ut_name_encode(name, UT_SLICE("otlp_grpc/a"), 3);
    ut_slice bytes_of = ut_slice_of(name, sizeof(name));
    cr_expect_eq(ut_name_decode(bytes_of, UT_SLICE("otlp_grpc/a"), &number), 0);
    cr_expect_eq(number, 3);
    cr_expect_eq(ut_name_decode(bytes_of, UT_SLICE("otlp_grpc/b"), &number), -EBADMSG);
    name[4] ^= 1;
    cr_expect_eq(ut_name_decode(bytes_of, UT_SLICE("otlp_grpc/a"), &number), -EBADMSG);
}
