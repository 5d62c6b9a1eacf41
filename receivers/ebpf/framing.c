/* SPDX-License-Identifier: Apache-2.0 */
#include "framing.h"

#include <string.h>

static const size_t sizes[UT_RECORD_TYPES] = {
    [UT_RECORD_RETRANSMIT] = sizeof(struct ut_record_retransmit),
    [UT_RECORD_CONNECTION] = sizeof(struct ut_record_connection),
    [UT_RECORD_CGROUP] = sizeof(struct ut_record_cgroup),
    [UT_RECORD_OOM_KILL] = sizeof(struct ut_record_oom_kill),
    [UT_RECORD_STALL] = sizeof(struct ut_record_stall),
    [UT_RECORD_RESET] = sizeof(struct ut_record_tcp),
    [UT_RECORD_ZERO_WINDOW] = sizeof(struct ut_record_tcp),
    [UT_RECORD_RECEIVE_DROP] = sizeof(struct ut_record_tcp),
    [UT_RECORD_LISTEN_OVERFLOW] = sizeof(struct ut_record_tcp),
    [UT_RECORD_UNDO] = sizeof(struct ut_record_tcp),
    [UT_RECORD_TRACE_IDS] = sizeof(struct ut_record_trace_ids),
    [UT_RECORD_ALLOCATED] = sizeof(struct ut_record_allocated),
    [UT_RECORD_HELD_BACK] = sizeof(struct ut_record_held_back),
};

enum ut_record_type ut_ebpf_record_type(const void *data, size_t size)
{
    struct ut_record_header header;
    if (size < sizeof(header))
        return 0;
    memcpy(&header, data, sizeof(header));
    if (header.size != size || header.version != UT_RECORD_VERSION ||
        header.type >= UT_RECORD_TYPES || size != sizes[header.type])
        return 0;
    return (enum ut_record_type)header.type;
}
