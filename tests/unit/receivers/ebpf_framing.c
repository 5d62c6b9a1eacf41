/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "ebpf_receiver/framing.h"

static struct ut_record_header header(size_t size, uint8_t type)
{
    return (struct ut_record_header){
        .size = (uint16_t)size, .version = UT_RECORD_VERSION, .type = type};
}

Test(framing, knows_each_type_by_its_size)
{
    struct ut_record_cgroup room = {.path_size = 0};
    const size_t tcp = sizeof(struct ut_record_tcp);
    const size_t sizes[UT_RECORD_TYPES] = {
        [UT_RECORD_RETRANSMIT] = sizeof(struct ut_record_retransmit),
        [UT_RECORD_CONNECTION] = sizeof(struct ut_record_connection),
        [UT_RECORD_CGROUP] = sizeof(struct ut_record_cgroup),
        [UT_RECORD_OOM_KILL] = sizeof(struct ut_record_oom_kill),
        [UT_RECORD_STALL] = sizeof(struct ut_record_stall),
        [UT_RECORD_RESET] = tcp,
        [UT_RECORD_ZERO_WINDOW] = tcp,
        [UT_RECORD_RECEIVE_DROP] = tcp,
        [UT_RECORD_LISTEN_OVERFLOW] = tcp,
        [UT_RECORD_UNDO] = tcp,
        [UT_RECORD_TRACE_IDS] = sizeof(struct ut_record_trace_ids),
        [UT_RECORD_ALLOCATED] = sizeof(struct ut_record_allocated),
        [UT_RECORD_HELD_BACK] = sizeof(struct ut_record_held_back),
    };
    for (uint8_t type = 1; type < UT_RECORD_TYPES; type++) {
        room.header = header(sizes[type], type);
        cr_assert_eq(ut_ebpf_record_type(&room, sizes[type]), type);
        cr_assert_eq(ut_ebpf_record_type(&room, sizes[type] - 1), 0);
        cr_assert_eq(ut_ebpf_record_type(&room, sizes[type] + 8), 0);
        room.header.size--;
        cr_assert_eq(ut_ebpf_record_type(&room, sizes[type]), 0);
    }
}

Test(framing, refuses_unknown_types_versions_and_scraps)
{
    struct ut_record_retransmit record = {.seq = 0};
    record.header = header(sizeof(record), 0);
    cr_assert_eq(ut_ebpf_record_type(&record, sizeof(record)), 0);
    record.header.type = UT_RECORD_TYPES;
    cr_assert_eq(ut_ebpf_record_type(&record, sizeof(record)), 0);
    record.header.type = 255;
    cr_assert_eq(ut_ebpf_record_type(&record, sizeof(record)), 0);
    record.header = header(sizeof(record), UT_RECORD_RETRANSMIT);
    record.header.version++;
    cr_assert_eq(ut_ebpf_record_type(&record, sizeof(record)), 0);
    for (size_t size = 0; size < sizeof(record.header); size++)
        cr_assert_eq(ut_ebpf_record_type(&record, size), 0);
}

Test(framing, takes_records_at_any_address)
{
    uint8_t bytes[sizeof(struct ut_record_connection) + 1];
    struct ut_record_header h = header(sizeof(struct ut_record_connection), UT_RECORD_CONNECTION);
    memset(bytes, 0, sizeof(bytes));
    memcpy(bytes + 1, &h, sizeof(h));
    cr_assert_eq(ut_ebpf_record_type(bytes + 1, sizeof(struct ut_record_connection)),
                 UT_RECORD_CONNECTION);
}
