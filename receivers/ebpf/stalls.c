/* SPDX-License-Identifier: Apache-2.0 */
#include "stalls.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <bpf_skeletons/undertrace.skel.h>
#include <errno.h>

enum { BATCH = 512 };

/* As in memory.bpf.c. */
struct key {
    uint64_t cgroup, slot;
    uint32_t level, reserved;
};

struct sum {
    uint64_t ns;
    uint32_t first_ns, last_ns;
};

static void hand_over(const struct key *key, const struct sum *sum,
                      void (*record)(void *arg, const struct ut_record_header *record), void *arg)
{
    const struct ut_record_stall stall = {
        .header = {.size = sizeof(stall),
                   .version = UT_RECORD_VERSION,
                   .type = UT_RECORD_STALL,
                   .boot_ns = key->slot * UT_STALL_SLOT_NS,
                   .cgroup_id = key->cgroup},
        .ns = sum->ns,
        .first_ns = sum->first_ns,
        .last_ns = sum->last_ns,
        .level = key->level,
    };
    record(arg, &stall.header);
}

int ut_ebpf_take_stalls(struct ut_bpf *skeleton,
                        void (*record)(void *arg, const struct ut_record_header *record), void *arg)
{
    struct key keys[BATCH];
    struct sum sums[BATCH];
    uint32_t batch, idle = ~skeleton->bss->stall_table & 1;
    int table = bpf_map__fd(idle != 0 ? skeleton->maps.stalls_odd : skeleton->maps.stalls_even);
    bool more = skeleton->bss->stalls_waiting[idle] != 0;
    for (bool first = true; more; first = false) {
        uint32_t count = BATCH;
        int error = bpf_map_lookup_and_delete_batch(table, first ? NULL : &batch, &batch, keys,
                                                    sums, &count, NULL);
        if (error != 0 && error != -ENOENT)
            return error;
        for (uint32_t i = 0; i < count; i++)
            hand_over(&keys[i], &sums[i], record, arg);
        more = error == 0;
    }
    skeleton->bss->stalls_waiting[idle] = 0;
    skeleton->bss->stall_table = idle;
    return 0;
}
