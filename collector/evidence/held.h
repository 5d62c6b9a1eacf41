/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept of the memory of the workloads that send spans:
 * - how much they hold, as the kernel's own counters have it, read once a slot: all at once by the
 *   source of kernel events where it can, else each from its file (memory.current, in v1
 *   memory.usage_in_bytes), which costs ten times as much;
 * - for how long some of their tasks stalled, by the clock on the wall (PSI: memory.pressure of the
 *   v2 hierarchy, where it can be read): where stalls were told of once a slot, else once a second,
 *   or, where so many are due that it would cost too much, as their turn comes;
 * - how much they allocated, where the kernel side counts it.
 * Which workloads that are is what joins ask for; one that sends no more is left after
 * UT_HELD_WANTED_NS.
 *
 * A slot is UT_HELD_INTERVAL_NS long for each UT_HELD_AT_ONCE workloads that are read, or part of
 * as many: 400 ms at most. So there are no more than 3,000 readings a second of what is held, and
 * 100 of PSI where nothing stalls; what there is of either in two minutes always has room in
 * the pool of series, however many workloads share it. That is 8 MiB, touched as it fills. What is
 * allocated, and PSI's figures of many that stall, are in the same pool: with those, hundreds of
 * busy workloads reach less far back.
 */
#ifndef UT_EVIDENCE_HELD_H
#define UT_EVIDENCE_HELD_H

#include "base/cgroup_mount.h"
#include "evidence/series.h"
#include "evidence/workloads.h"
#include "model/kernel_event.h"

#define UT_HELD_MAX UT_TABLE_SIZE(1024, 3)    /* workloads; each has one open file or two */
#define UT_HELD_AT_ONCE UT_TABLE_SIZE(300, 1) /* of them, in UT_HELD_INTERVAL_NS */
#define UT_HELD_INTERVAL_NS (100 * UT_NS_PER_MS)
#define UT_HELD_WANTED_NS (60 * UT_NS_PER_S)
#define UT_HELD_CHUNKS UT_TABLE_SIZE(16384, 16) /* of the pool */

struct ut_held_watch {
    uint32_t workload; /* id; 0: free */
    bool counted;      /* the source reads it, in the slot of its index */
    int file;          /* −1: there is none to be read */
    int pressure_file; /* likewise */
    uint64_t wanted_ns;
    struct ut_series held;                /* bytes */
    struct ut_series allocated, pressure; /* bytes, nanoseconds; they only grow */
    uint64_t allocating;                  /* bytes, of the window that is being told of */
    uint64_t pressure_ns;                 /* as of the latest reading */
    uint64_t pressure_read_ns;            /* UNIX, when that was; 0: never */
    uint64_t first_stalled_ns;            /* since then, UNIX; 0: not at all */
    uint64_t stalled_ns;                  /* the latest ever, UNIX */
};

struct ut_held {
    struct ut_event_source *source;        /* borrowed; may be NULL */
    struct ut_cgroup_mount mount;          /* of the memory controller; point "": none */
    const char *file;                      /* the name of the counter in a cgroup's directory */
    struct ut_cgroup_mount pressure_mount; /* of the v2 hierarchy; likewise */
    struct ut_held_watch watches[UT_HELD_MAX];
    struct ut_series_pool pool;
    uint16_t *by_slot;         /* of workloads: index in `watches` and one; 0: none */
    uint64_t sampled_ns;       /* UNIX; 0: nobody has asked for a reading */
    uint64_t slot_ns;          /* that began with it */
    uint32_t next_pressure[2]; /* of `watches`, whose turn it is: of those that stall, that rest */
    uint32_t count;
    uint32_t slots;   /* of `watches`, behind which all are free */
    uint64_t refused; /* how often a workload that sends spans found no room */
};

int ut_held_init(struct ut_held *held) UT_MUST_USE; /* 0 or -ENOMEM; where nothing is mounted, 0 */
void ut_held_done(struct ut_held *held);

/* May change while none of what is read matters: the readings begin anew. */
void ut_held_set_source(struct ut_held *held, struct ut_event_source *source);
/* The workload sends spans, and is read from now on, unless nobody asks for readings. */
void ut_held_want(struct ut_held *held, const struct ut_workload *workload, uint64_t now_ns);
/* Reads all that are wanted, if the slot is over. */
void ut_held_sample(struct ut_held *held, uint64_t now_ns);
/* Tasks of the workload stalled between the two times. */
void ut_held_stalled(struct ut_held *held, uint32_t workload, uint64_t from_ns, uint64_t to_ns);
/* The workload allocated so much in the window that is being told of … */
void ut_held_allocated(struct ut_held *held, uint32_t workload, uint64_t bytes);
/* … which was this one, and all of it has been told. */
void ut_held_window(struct ut_held *held, uint64_t from_ns, uint64_t to_ns);
void ut_held_forget_workload(struct ut_held *held, uint32_t slot);

/* NULL: it is not read. */
const struct ut_held_watch *ut_held_of(const struct ut_held *held, uint32_t workload);
/* What was read last; false: nothing, or its cgroup is gone, or nobody watches. */
bool ut_held_latest(const struct ut_held_watch *watch, uint64_t *ret);
/* What it held then, between two readings in proportion; false where no reading is near: one was
 * left out, or the first or the latest lies further away than UT_HELD_INTERVAL_NS. (Spans are told
 * of 300 ms after their end or later, so that the reading behind it is there even in the longest
 * slot, or the one before is that near.) */
bool ut_held_at(const struct ut_held_watch *watch, uint64_t unix_ns, uint64_t *ret);
/* How far apart the two readings are that it is in between; 0: it is at one, or near one. */
uint64_t ut_held_slot_at(const struct ut_held_watch *watch, uint64_t unix_ns);
/* The most that it can have changed by between the two times. */
uint64_t ut_held_range(const struct ut_held_watch *watch, uint64_t from_ns, uint64_t to_ns);
/* By how much a series of it that only grows grew between the two times; false where that is not
 * known. */
bool ut_held_growth(const struct ut_series *series, uint64_t from_ns, uint64_t to_ns,
                    uint64_t *ret);

#endif
