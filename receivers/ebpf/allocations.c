/* SPDX-License-Identifier: Apache-2.0 */
#include "allocations.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <bpf_skeletons/undertrace.skel.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

enum { BATCH = 512 };
#define WINDOW_LEAST_NS (90 * UT_NS_PER_MS)

/* As in allocations.bpf.c. */
struct allocating {
    uint64_t cgroup, pages;
};

struct taking {
    const struct ut_ebpf_allocations *allocations;
    void (*record)(void *arg, const struct ut_record_header *record);
    void *arg;
};

int ut_ebpf_allocations_init(struct ut_ebpf_allocations *a, int cpus, struct ut_log *log)
{
    *a = (struct ut_ebpf_allocations){
        .per_cpu = calloc((size_t)cpus, sizeof(struct allocating)),
        .cpus = cpus,
        .page_bytes = (uint64_t)sysconf(_SC_PAGESIZE),
        .log = log,
    };
    return a->per_cpu != NULL ? 0 : -ENOMEM;
}

void ut_ebpf_allocations_done(struct ut_ebpf_allocations *a)
{
    free(a->per_cpu);
    *a = (struct ut_ebpf_allocations){0};
}

static void hand_over(const struct taking *taking, uint64_t cgroup, uint64_t pages)
{
    const struct ut_ebpf_allocations *a = taking->allocations;
    const struct ut_record_allocated record = {
        .header = {.size = sizeof(record),
                   .version = UT_RECORD_VERSION,
                   .type = UT_RECORD_ALLOCATED,
                   .boot_ns = a->began_ns,
                   .cgroup_id = cgroup},
        .bytes = pages * a->page_bytes,
        .window_ns = a->ended_ns - a->began_ns,
    };
    if (a->began_ns != 0)
        taking->record(taking->arg, &record.header);
}

/* What still stands with the CPUs. */
static int take_per_cpu(struct ut_ebpf_allocations *a, struct ut_bpf *skeleton, uint32_t idle,
                        const struct taking *taking)
{
    struct allocating *sums = a->per_cpu;
    size_t size = (size_t)a->cpus * sizeof(*sums);
    if (bpf_map__lookup_elem(skeleton->maps.allocating, &idle, sizeof(idle), sums, size, 0) != 0)
        return -errno;
    bool any = false;
    for (int cpu = 0; cpu < a->cpus; cpu++) {
        if (sums[cpu].pages == 0)
            continue;
        any = true;
        hand_over(taking, sums[cpu].cgroup, sums[cpu].pages);
    }
    if (!any)
        return 0;
    memset(sums, 0, size);
    return bpf_map__update_elem(skeleton->maps.allocating, &idle, sizeof(idle), sums, size,
                                BPF_ANY) == 0
               ? 0
               : -errno;
}

static int take_table(const struct bpf_map *map, const struct taking *taking)
{
    uint64_t cgroups[BATCH], pages[BATCH];
    uint32_t batch;
    int error = 0;
    for (bool first = true; error == 0; first = false) {
        uint32_t count = BATCH;
        error = bpf_map_lookup_and_delete_batch(bpf_map__fd(map), first ? NULL : &batch, &batch,
                                                cgroups, pages, &count, NULL);
        if (error != 0 && error != -ENOENT)
            return error;
        for (uint32_t i = 0; i < count; i++)
            hand_over(taking, cgroups[i], pages[i]);
    }
    return 0;
}

void ut_ebpf_take_allocations(struct ut_ebpf_allocations *a, struct ut_bpf *skeleton,
                              void (*record)(void *arg, const struct ut_record_header *record),
                              void *arg)
{
    const struct taking taking = {a, record, arg};
    uint32_t idle = ~skeleton->bss->allocated_table & 1;
    uint64_t now_ns = ut_clock_boot_ns();
    if (now_ns - a->turned_ns < WINDOW_LEAST_NS)
        return;
    int error = take_per_cpu(a, skeleton, idle, &taking);
    if (error == 0)
        error = take_table(idle != 0 ? skeleton->maps.allocated_odd : skeleton->maps.allocated_even,
                           &taking);
    if (error == 0)
        hand_over(&taking, 0, 0);
    else
        ut_log(a->log, UT_LOG_WARN, "ebpf_allocations",
               "error=\"%s\" text=\"what was allocated could not be read, and is missing on spans "
               "of this time\"",
               strerror(-error));
    a->began_ns = a->turned_ns;
    a->ended_ns = a->turned_ns = ut_clock_boot_ns();
    skeleton->bss->allocated_table = idle;
}
