/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/held.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* A reading further from a moment than this does not tell of it. */
#define NEAR_NS (3 * UT_HELD_INTERVAL_NS)

int ut_held_init(struct ut_held *held)
{
    bool v1 = false;
    *held = (struct ut_held){.file = "memory.current"};
    held->by_slot = calloc(UT_WORKLOADS_MAX, sizeof(held->by_slot[0]));
    held->samples = calloc((size_t)UT_HELD_MAX * UT_HELD_SAMPLES, sizeof(held->samples[0]));
    if (held->by_slot == NULL || held->samples == NULL) {
        ut_held_done(held);
        return -ENOMEM;
    }
    if (ut_cgroup_mount_read_memory(&held->mount, &v1) != 0)
        held->mount.point[0] = '\0';
    if (v1)
        held->file = "memory.usage_in_bytes";
    return 0;
}

static void leave(struct ut_held *held, struct ut_held_watch *watch)
{
    if (watch->file >= 0)
        close(watch->file);
    held->by_slot[UT_WORKLOAD_SLOT(watch->workload)] = 0;
    *watch = (struct ut_held_watch){0};
    held->count--;
}

void ut_held_done(struct ut_held *held)
{
    for (int i = 0; i < UT_HELD_MAX; i++) {
        if (held->watches[i].workload != 0)
            leave(held, &held->watches[i]);
    }
    free(held->by_slot);
    free(held->samples);
    *held = (struct ut_held){0};
}

static int open_counter(const struct ut_held *held, const struct ut_workload *workload)
{
    char name[2 * UT_CGROUP_MOUNT_PATH];
    ut_slice path = ut_slice_of(workload->path, workload->path_size);
    if (held->mount.point[0] == '\0' ||
        !ut_cgroup_mount_file(&held->mount, path, held->file, name, sizeof(name)))
        return -1;
    return open(name, O_RDONLY | O_CLOEXEC);
}

void ut_held_want(struct ut_held *held, const struct ut_workload *workload, uint64_t now_ns)
{
    uint8_t *index = &held->by_slot[UT_WORKLOAD_SLOT(workload->id)];
    if (*index != 0) {
        held->watches[*index - 1].wanted_ns = now_ns;
        return;
    }
    uint8_t free_one = 0;
    while (free_one < UT_HELD_MAX && held->watches[free_one].workload != 0)
        free_one++;
    if (free_one == UT_HELD_MAX) {
        held->refused++;
        return;
    }
    held->watches[free_one] = (struct ut_held_watch){
        .workload = workload->id,
        .file = open_counter(held, workload),
        .wanted_ns = now_ns,
        .samples = &held->samples[(size_t)free_one * UT_HELD_SAMPLES],
    };
    *index = (uint8_t)(free_one + 1);
    held->count++;
}

void ut_held_forget_workload(struct ut_held *held, uint32_t slot)
{
    if (held->by_slot[slot] != 0)
        leave(held, &held->watches[held->by_slot[slot] - 1]);
}

/* ---- readings ------------------------------------------------------------------------------- */

static bool read_counter(int file, uint64_t *ret)
{
    char text[24];
    ssize_t size = pread(file, text, sizeof(text), 0);
    *ret = 0;
    for (ssize_t i = 0; i < size && text[i] >= '0' && text[i] <= '9'; i++)
        *ret = *ret * 10 + (uint64_t)(text[i] - '0');
    return size > 0 && *ret <= INT64_MAX;
}

static void sample_one(struct ut_held_watch *watch, uint64_t now_ns)
{
    struct ut_held_sample sample = {.unix_ns = now_ns};
    if (watch->file < 0)
        return;
    if (!read_counter(watch->file, &sample.bytes)) { /* the cgroup is gone */
        close(watch->file);
        watch->file = -1;
        return;
    }
    if (watch->count > 0 && watch->samples[(watch->count - 1) % UT_HELD_SAMPLES].unix_ns >= now_ns)
        watch->count = 0; /* the wall clock was set back: they are in no order any more */
    watch->samples[watch->count++ % UT_HELD_SAMPLES] = sample;
}

void ut_held_sample(struct ut_held *held, uint64_t now_ns)
{
    if (now_ns >= held->sampled_ns && now_ns - held->sampled_ns < UT_HELD_INTERVAL_NS / 2)
        return;
    held->sampled_ns = now_ns;
    for (int i = 0; i < UT_HELD_MAX; i++) {
        struct ut_held_watch *watch = &held->watches[i];
        if (watch->workload == 0)
            continue;
        if (now_ns > watch->wanted_ns + UT_HELD_WANTED_NS)
            leave(held, watch);
        else
            sample_one(watch, now_ns);
    }
}

const struct ut_held_watch *ut_held_of(const struct ut_held *held, uint32_t workload)
{
    uint8_t index = held->by_slot[UT_WORKLOAD_SLOT(workload)];
    return index != 0 && held->watches[index - 1].workload == workload ? &held->watches[index - 1]
                                                                       : NULL;
}

static uint32_t kept(const struct ut_held_watch *watch)
{
    return watch->count < UT_HELD_SAMPLES ? watch->count : UT_HELD_SAMPLES;
}

/* The i-th oldest. */
static const struct ut_held_sample *sample_at(const struct ut_held_watch *watch, uint32_t i)
{
    return &watch->samples[(watch->count - kept(watch) + i) % UT_HELD_SAMPLES];
}

/* The first that is not before the time; kept() where all are. */
static uint32_t first_from(const struct ut_held_watch *watch, uint64_t unix_ns)
{
    uint32_t low = 0, high = kept(watch);
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (sample_at(watch, middle)->unix_ns < unix_ns)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool ut_held_at(const struct ut_held_watch *watch, uint64_t unix_ns, uint64_t *ret)
{
    uint32_t next = first_from(watch, unix_ns);
    const struct ut_held_sample *after = next < kept(watch) ? sample_at(watch, next) : NULL;
    const struct ut_held_sample *before = next > 0 ? sample_at(watch, next - 1) : NULL;
    if (after == NULL || before == NULL) {
        const struct ut_held_sample *only = after != NULL ? after : before;
        if (only == NULL)
            return false;
        uint64_t away_ns =
            only->unix_ns > unix_ns ? only->unix_ns - unix_ns : unix_ns - only->unix_ns;
        *ret = only->bytes;
        return away_ns <= UT_HELD_INTERVAL_NS;
    }
    uint64_t apart_ns = after->unix_ns - before->unix_ns;
    double part = (double)(unix_ns - before->unix_ns) / (double)apart_ns;
    *ret =
        (uint64_t)((double)before->bytes + ((double)after->bytes - (double)before->bytes) * part);
    return apart_ns <= NEAR_NS;
}

uint64_t ut_held_range(const struct ut_held_watch *watch, uint64_t from_ns, uint64_t to_ns)
{
    uint64_t least = UINT64_MAX, most = 0;
    uint32_t i = first_from(watch, from_ns);
    for (i -= i > 0; i < kept(watch); i++) {
        const struct ut_held_sample *sample = sample_at(watch, i);
        least = sample->bytes < least ? sample->bytes : least;
        most = sample->bytes > most ? sample->bytes : most;
        if (sample->unix_ns > to_ns)
            break;
    }
    return most > least ? most - least : 0;
}
