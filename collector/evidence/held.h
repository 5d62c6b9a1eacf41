/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much memory the workloads that send spans hold, as the kernel's own counters have it
 * (memory.current, in v1 memory.usage_in_bytes): read every UT_HELD_INTERVAL_NS, kept for two
 * minutes. Nothing is done on the kernel's side for it. Which workloads are read is what joins ask
 * for; one that sends no more is left after UT_HELD_WANTED_NS.
 */
#ifndef UT_EVIDENCE_HELD_H
#define UT_EVIDENCE_HELD_H

#include "base/cgroup_mount.h"
#include "evidence/workloads.h"

#define UT_HELD_MAX 128 /* workloads; each has an open file */
#define UT_HELD_SAMPLES 1200
#define UT_HELD_INTERVAL_NS (100 * UT_NS_PER_MS)
#define UT_HELD_WANTED_NS (60 * UT_NS_PER_S)

struct ut_held_sample {
    uint64_t unix_ns, bytes;
};

struct ut_held_watch {
    uint32_t workload; /* id; 0: free */
    int file;          /* −1: there is none to be read */
    uint64_t wanted_ns;
    uint32_t count; /* samples ever; the latest is at (count − 1) % UT_HELD_SAMPLES */
    struct ut_held_sample *samples; /* borrowed */
};

struct ut_held {
    struct ut_cgroup_mount mount; /* of the memory controller; point "": none */
    const char *file;             /* the name of the counter in a cgroup's directory */
    struct ut_held_watch watches[UT_HELD_MAX];
    struct ut_held_sample *samples;
    uint8_t *by_slot;    /* of workloads: index in `watches` and one; 0: none */
    uint64_t sampled_ns; /* UNIX */
    uint32_t count;
    uint64_t refused; /* how often a workload that sends spans found no room */
};

int ut_held_init(struct ut_held *held) UT_MUST_USE; /* 0 or -ENOMEM; where nothing is mounted, 0 */
void ut_held_done(struct ut_held *held);

/* The workload sends spans. */
void ut_held_want(struct ut_held *held, const struct ut_workload *workload, uint64_t now_ns);
/* Reads all that are wanted, unless that was done just now. */
void ut_held_sample(struct ut_held *held, uint64_t now_ns);
void ut_held_forget_workload(struct ut_held *held, uint32_t slot);

/* NULL: it is not read. */
const struct ut_held_watch *ut_held_of(const struct ut_held *held, uint32_t workload);
/* What it held then, between two readings in proportion; false where no reading is near. */
bool ut_held_at(const struct ut_held_watch *watch, uint64_t unix_ns, uint64_t *ret);
/* The most that it can have changed by between the two times. */
uint64_t ut_held_range(const struct ut_held_watch *watch, uint64_t from_ns, uint64_t to_ns);

#endif
