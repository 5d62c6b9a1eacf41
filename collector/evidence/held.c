/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/held.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of so many slots a reading may be missing: beyond, nothing is known of the time between. */
#define APART_SLOTS 3
/* A slot may end so much early: its ends are ticks of others, which are not that exact. */
#define EARLY_NS (UT_HELD_INTERVAL_NS / 10)
/* How old PSI's figure may get while nobody tells of stalls, and how long after one that is. */
#define PRESSURE_AGE_NS UT_NS_PER_S
#define RESTS_NS (2 * UT_NS_PER_S)

enum {
    SERIES = 3, /* of a watch */
    /* Readings of PSI in UT_HELD_INTERVAL_NS, and of how many of those at once. */
    STALLING_AT_ONCE = 100,
    RESTING_AT_ONCE = 10,
    PARTS_MAX = 10,
    PARTIAL_CHUNKS = 2 * 2 * UT_HELD_MAX, /* of what is held, and of PSI */
};

#define SLOTS_MAX ((UT_HELD_MAX + UT_HELD_AT_ONCE - 1) / UT_HELD_AT_ONCE)
/* What is read in UT_SERIES_KEPT_NS. In chunks of a series these are some more: one at either end
 * may count in part. */
#define READINGS_KEPT                                                                              \
    (UT_SERIES_KEPT_NS / UT_HELD_INTERVAL_NS * (UT_HELD_AT_ONCE + RESTING_AT_ONCE))
#ifndef UT_SMALL_TABLES
_Static_assert(UT_HELD_CHUNKS >= READINGS_KEPT / UT_SERIES_CHUNK + PARTIAL_CHUNKS,
               "what is held stays UT_SERIES_KEPT_NS");
_Static_assert(UT_SERIES_POINTS - UT_SERIES_CHUNK >= UT_SERIES_KEPT_NS / UT_HELD_INTERVAL_NS,
               "likewise, of one workload");
_Static_assert(SLOTS_MAX <= 4, "a slot is 400 ms at most");
#endif
_Static_assert(UT_HELD_CHUNKS > SERIES * UT_HELD_MAX, "each series has its latest chunk");

int ut_held_init(struct ut_held *held)
{
    bool v1 = false;
    *held = (struct ut_held){.file = "memory.current", .slot_ns = UT_HELD_INTERVAL_NS};
    held->by_slot = calloc(UT_WORKLOADS_MAX, sizeof(held->by_slot[0]));
    if (held->by_slot == NULL || ut_series_pool_init(&held->pool, UT_HELD_CHUNKS) != 0) {
        ut_held_done(held);
        return -ENOMEM;
    }
    if (ut_cgroup_mount_read_memory(&held->mount, &v1) != 0)
        held->mount.point[0] = '\0';
    if (v1)
        held->file = "memory.usage_in_bytes";
    if (ut_cgroup_mount_read(&held->pressure_mount) != 0)
        held->pressure_mount.point[0] = '\0';
    return 0;
}

static void leave(struct ut_held *held, struct ut_held_watch *watch)
{
    if (watch->file >= 0)
        close(watch->file);
    if (watch->pressure_file >= 0)
        close(watch->pressure_file);
    ut_series_clear(&watch->held);
    ut_series_clear(&watch->allocated);
    ut_series_clear(&watch->pressure);
    held->by_slot[UT_WORKLOAD_SLOT(watch->workload)] = 0;
    *watch = (struct ut_held_watch){0};
    held->count--;
    while (held->slots > 0 && held->watches[held->slots - 1].workload == 0)
        held->slots--;
}

static void leave_all(struct ut_held *held)
{
    for (uint32_t i = 0; i < held->slots; i++) {
        if (held->watches[i].workload != 0)
            leave(held, &held->watches[i]);
    }
}

void ut_held_done(struct ut_held *held)
{
    leave_all(held);
    free(held->by_slot);
    ut_series_pool_done(&held->pool);
    *held = (struct ut_held){0};
}

/* −1: there is no such file. */
static int open_file(const struct ut_cgroup_mount *mount, const struct ut_workload *workload,
                     const char *file, int flags)
{
    char name[2 * UT_CGROUP_MOUNT_PATH];
    ut_slice path = ut_slice_of(workload->path, workload->path_size);
    if (mount->point[0] == '\0' || !ut_cgroup_mount_file(mount, path, file, name, sizeof(name)))
        return -1;
    return open(name, flags | O_CLOEXEC);
}

/* Where its own memory controller counts the cgroup, and the source can read that. */
static bool watch_by_source(const struct ut_held *held, uint32_t slot,
                            const struct ut_workload *workload)
{
    if (held->source == NULL || held->source->watch_usage == NULL)
        return false;
    int directory = open_file(&held->mount, workload, "", O_PATH | O_DIRECTORY);
    if (directory < 0)
        return false;
    bool watched = held->source->watch_usage(held->source, slot, directory) == 0;
    close(directory);
    return watched;
}

void ut_held_set_source(struct ut_held *held, struct ut_event_source *source)
{
    leave_all(held);
    held->source = source;
    held->sampled_ns = 0;
}

void ut_held_want(struct ut_held *held, const struct ut_workload *workload, uint64_t now_ns)
{
    uint16_t *index = &held->by_slot[UT_WORKLOAD_SLOT(workload->id)];
    if (*index != 0) {
        held->watches[*index - 1].wanted_ns = now_ns;
        return;
    }
    if (held->sampled_ns == 0)
        return;
    if (held->count == UT_HELD_MAX) {
        held->refused++;
        return;
    }
    uint16_t free_one = 0;
    while (held->watches[free_one].workload != 0)
        free_one++;
    bool counted = watch_by_source(held, free_one, workload);
    held->watches[free_one] = (struct ut_held_watch){
        .workload = workload->id,
        .counted = counted,
        .file = counted ? -1 : open_file(&held->mount, workload, held->file, O_RDONLY),
        .pressure_file = open_file(&held->pressure_mount, workload, "memory.pressure", O_RDONLY),
        .wanted_ns = now_ns,
        .held.pool = &held->pool,
        .allocated.pool = &held->pool,
        .pressure.pool = &held->pool,
    };
    *index = (uint16_t)(free_one + 1);
    held->count++;
    if (free_one >= held->slots)
        held->slots = free_one + 1;
}

void ut_held_forget_workload(struct ut_held *held, uint32_t slot)
{
    if (held->by_slot[slot] != 0)
        leave(held, &held->watches[held->by_slot[slot] - 1]);
}

/* ---- readings ------------------------------------------------------------------------------- */

static bool read_number(const char *text, ssize_t size, uint64_t *ret)
{
    *ret = 0;
    for (ssize_t i = 0; i < size && text[i] >= '0' && text[i] <= '9'; i++)
        *ret = *ret * 10 + (uint64_t)(text[i] - '0');
    return size > 0 && *ret <= INT64_MAX;
}

static void sample_file(struct ut_held_watch *watch, uint64_t now_ns, uint64_t apart_ns)
{
    char text[24];
    uint64_t bytes;
    if (watch->file < 0)
        return;
    if (read_number(text, pread(watch->file, text, sizeof(text), 0), &bytes)) {
        ut_series_add(&watch->held, now_ns, bytes, apart_ns);
        return;
    }
    close(watch->file); /* the cgroup is gone */
    watch->file = -1;
}

/* The pages of a cgroup are counted without a lock, and may seem fewer than none for a moment. */
static void sample_counted(struct ut_held_watch *watch, uint64_t bytes, uint64_t now_ns,
                           uint64_t apart_ns)
{
    if (bytes == UINT64_MAX)
        watch->counted = false; /* the cgroup is gone */
    else if (bytes <= INT64_MAX)
        ut_series_add(&watch->held, now_ns, bytes, apart_ns);
}

/* Of all slots; NULL: the source reads none of them, or none now. */
static const uint64_t *read_slots(const struct ut_held *held)
{
    for (uint32_t i = 0; i < held->slots; i++) {
        if (held->watches[i].counted)
            return held->source->read_usage(held->source, held->slots);
    }
    return NULL;
}

/* The total of "some avg10=… total=MICROSECONDS", the first line. */
static bool read_pressure(int file, uint64_t *ret)
{
    static const char mark[] = "total=";
    char text[96];
    ssize_t size = pread(file, text, sizeof(text) - 1, 0);
    text[size > 0 ? size : 0] = '\0';
    const char *total = strstr(text, mark);
    if (total == NULL)
        return false;
    total += sizeof(mark) - 1;
    if (!read_number(total, text + size - total, ret) || *ret > INT64_MAX / 1000)
        return false;
    *ret *= 1000;
    return true;
}

static bool wants_pressure(const struct ut_held_watch *watch, bool resting, uint64_t now_ns)
{
    bool rests = now_ns > watch->stalled_ns + RESTS_NS || watch->stalled_ns > now_ns;
    uint64_t read_ns = watch->pressure_read_ns;
    return watch->workload != 0 && watch->pressure_file >= 0 && rests == resting &&
           (!rests || now_ns < read_ns || now_ns - read_ns >= PRESSURE_AGE_NS);
}

/* The first stall after a rest did not begin when that was last read. */
static void sample_pressure(struct ut_held_watch *watch, uint64_t now_ns)
{
    uint64_t total_ns, since_ns = watch->pressure_read_ns;
    if (!read_pressure(watch->pressure_file, &total_ns)) {
        close(watch->pressure_file);
        watch->pressure_file = -1;
        return;
    }
    if (since_ns != 0 && watch->first_stalled_ns > since_ns && watch->first_stalled_ns < now_ns)
        ut_series_add(&watch->pressure, watch->first_stalled_ns, watch->pressure_ns, UINT64_MAX);
    ut_series_add(&watch->pressure, now_ns, total_ns, UINT64_MAX);
    watch->pressure_ns = total_ns;
    watch->pressure_read_ns = now_ns;
    watch->first_stalled_ns = 0;
}

/* So many of those that are due; the next time others first. */
static void sample_pressures(struct ut_held *held, bool resting, uint32_t most, uint64_t now_ns)
{
    uint32_t begin = held->next_pressure[resting];
    for (uint32_t i = 0; i < held->slots && most > 0; i++) {
        uint32_t at = (begin + i) % held->slots;
        if (!wants_pressure(&held->watches[at], resting, now_ns))
            continue;
        sample_pressure(&held->watches[at], now_ns);
        held->next_pressure[resting] = at + 1;
        most--;
    }
}

static void sample_watches(struct ut_held *held, uint64_t now_ns, uint64_t apart_ns)
{
    const uint64_t *bytes = read_slots(held);
    for (uint32_t i = 0; i < held->slots; i++) {
        struct ut_held_watch *watch = &held->watches[i];
        if (watch->workload == 0)
            continue;
        if (now_ns > watch->wanted_ns + UT_HELD_WANTED_NS)
            leave(held, watch);
        else if (watch->counted && bytes != NULL)
            sample_counted(watch, bytes[i], now_ns, apart_ns);
        else
            sample_file(watch, now_ns, apart_ns);
    }
}

/* A slot grows with the next reading, but shrinks at once. */
void ut_held_sample(struct ut_held *held, uint64_t now_ns)
{
    uint64_t needed = (held->count + UT_HELD_AT_ONCE - 1) / UT_HELD_AT_ONCE;
    uint64_t slot_ns = (needed > 0 ? needed : 1) * UT_HELD_INTERVAL_NS;
    uint64_t longest_ns = slot_ns > held->slot_ns ? slot_ns : held->slot_ns;
    uint64_t since_ns = now_ns - held->sampled_ns;
    if (now_ns >= held->sampled_ns && since_ns < slot_ns - EARLY_NS)
        return;
    uint64_t parts = (since_ns + UT_HELD_INTERVAL_NS / 2) / UT_HELD_INTERVAL_NS;
    uint32_t quota = (uint32_t)(parts < 1 ? 1 : parts < PARTS_MAX ? parts : PARTS_MAX);
    held->sampled_ns = now_ns;
    held->slot_ns = slot_ns;
    sample_watches(held, now_ns, APART_SLOTS * longest_ns);
    sample_pressures(held, false, quota * STALLING_AT_ONCE, now_ns);
    sample_pressures(held, true, quota * RESTING_AT_ONCE, now_ns);
}

static bool find(const struct ut_held *held, uint32_t workload, uint32_t *ret)
{
    *ret = held->by_slot[UT_WORKLOAD_SLOT(workload)];
    return *ret != 0 && held->watches[--*ret].workload == workload;
}

const struct ut_held_watch *ut_held_of(const struct ut_held *held, uint32_t workload)
{
    uint32_t i;
    return find(held, workload, &i) ? &held->watches[i] : NULL;
}

/* ---- what is told --------------------------------------------------------------------------- */

void ut_held_stalled(struct ut_held *held, uint32_t workload, uint64_t from_ns, uint64_t to_ns)
{
    uint32_t i;
    if (!find(held, workload, &i))
        return;
    struct ut_held_watch *watch = &held->watches[i];
    if (watch->first_stalled_ns == 0 || from_ns < watch->first_stalled_ns)
        watch->first_stalled_ns = from_ns;
    if (to_ns > watch->stalled_ns)
        watch->stalled_ns = to_ns;
}

void ut_held_allocated(struct ut_held *held, uint32_t workload, uint64_t bytes)
{
    uint32_t i;
    if (find(held, workload, &i))
        held->watches[i].allocating += bytes;
}

void ut_held_window(struct ut_held *held, uint64_t from_ns, uint64_t to_ns)
{
    for (uint32_t i = 0; i < held->slots; i++) {
        struct ut_held_watch *watch = &held->watches[i];
        if (watch->workload == 0)
            continue;
        ut_series_grow(&watch->allocated, from_ns, to_ns, watch->allocating);
        watch->allocating = 0;
    }
}

/* ---- what is asked -------------------------------------------------------------------------- */

bool ut_held_latest(const struct ut_held_watch *watch, uint64_t *ret)
{
    uint32_t kept = ut_series_kept(&watch->held);
    if (watch->workload == 0 || (watch->file < 0 && !watch->counted) || kept == 0)
        return false;
    *ret = ut_series_point(&watch->held, kept - 1)->value;
    return true;
}

bool ut_held_at(const struct ut_held_watch *watch, uint64_t unix_ns, uint64_t *ret)
{
    const struct ut_series *held = &watch->held;
    uint32_t next = ut_series_first(held, unix_ns), kept = ut_series_kept(held);
    if (kept > 0 && (next == 0 || next == kept)) { /* before the first, or behind the latest */
        const struct ut_point *only = ut_series_point(held, next == 0 ? 0 : kept - 1);
        uint64_t away_ns =
            only->unix_ns > unix_ns ? only->unix_ns - unix_ns : unix_ns - only->unix_ns;
        *ret = only->value;
        return away_ns <= UT_HELD_INTERVAL_NS;
    }
    return ut_series_at(held, unix_ns, ret);
}

uint64_t ut_held_slot_at(const struct ut_held_watch *watch, uint64_t unix_ns)
{
    const struct ut_series *held = &watch->held;
    uint32_t next = ut_series_first(held, unix_ns);
    if (next == 0 || next == ut_series_kept(held))
        return 0;
    uint64_t after_ns = ut_series_point(held, next)->unix_ns;
    return after_ns > unix_ns ? after_ns - ut_series_point(held, next - 1)->unix_ns : 0;
}

uint64_t ut_held_range(const struct ut_held_watch *watch, uint64_t from_ns, uint64_t to_ns)
{
    uint64_t least = UINT64_MAX, most = 0;
    uint32_t i = ut_series_first(&watch->held, from_ns);
    for (i -= i > 0; i < ut_series_kept(&watch->held); i++) {
        const struct ut_point *point = ut_series_point(&watch->held, i);
        least = point->value < least ? point->value : least;
        most = point->value > most ? point->value : most;
        if (point->unix_ns > to_ns)
            break;
    }
    return most > least ? most - least : 0;
}

bool ut_held_growth(const struct ut_series *series, uint64_t from_ns, uint64_t to_ns, uint64_t *ret)
{
    uint64_t before, after;
    if (!ut_series_at(series, from_ns, &before) || !ut_series_at(series, to_ns, &after))
        return false;
    *ret = after > before ? after - before : 0;
    return true;
}
