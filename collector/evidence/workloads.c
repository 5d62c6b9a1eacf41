/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariants: 1. an entry is in exactly one of: its chain by id, the free list; 2. `cgroups` of a
 * workload is the number of its entries that live; 3. a workload that has been removed is no longer
 * found by path, so that nothing made later joins it; 4. of several entries with one id the newest
 * stands first in the chain, and at most that one lives.
 */
#include "evidence/workloads.h"

#include <errno.h>
#include <stdlib.h>

enum {
    BUCKETS = UT_TABLE_SIZE(16384, 4),
    POD_BUCKETS = UT_TABLE_SIZE(1024, 4),
    CONTAINER_BUCKETS = UT_TABLE_SIZE(1024, 4),
};

struct ut_cgroup_entry {
    uint64_t id;
    uint64_t removed_ns; /* 0: it lives */
    uint32_t workload;   /* id; 0: nobody's */
    uint32_t scan;       /* the latest scan that saw it, or went on before it was made */
    uint16_t next;
    uint8_t depth; /* directories below the workload's own */
    bool used;
    bool scanned; /* a scan has seen it: it is in the part of the tree that scans see */
    bool sought;  /* the path is not known yet; one scan looks for it */
};

static uint32_t mix(uint64_t value)
{
    value *= UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(value >> 32);
}

static uint32_t hash_bytes(ut_slice text)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < text.size; i++)
        hash = (hash ^ text.data[i]) * UINT64_C(0x100000001b3);
    return mix(hash);
}

int ut_workloads_init(struct ut_workloads *w)
{
    *w = (struct ut_workloads){0};
    w->slots = calloc(UT_WORKLOADS_MAX, sizeof(w->slots[0]));
    w->entries = calloc(UT_CGROUPS_MAX + 1, sizeof(w->entries[0]));
    w->by_id = calloc(BUCKETS, sizeof(w->by_id[0]));
    w->by_path = calloc(BUCKETS, sizeof(w->by_path[0]));
    w->by_pod = calloc(POD_BUCKETS, sizeof(w->by_pod[0]));
    w->by_container = calloc(CONTAINER_BUCKETS, sizeof(w->by_container[0]));
    if (w->slots == NULL || w->entries == NULL || w->by_id == NULL || w->by_path == NULL ||
        w->by_pod == NULL || w->by_container == NULL) {
        ut_workloads_done(w);
        return -ENOMEM;
    }
    w->free_entry = 1; /* entries beyond the ones ever used are free by themselves */
    return 0;
}

void ut_workloads_done(struct ut_workloads *w)
{
    free(w->slots);
    free(w->entries);
    free(w->by_id);
    free(w->by_path);
    free(w->by_pod);
    free(w->by_container);
    *w = (struct ut_workloads){0};
}

/* ---- workloads ------------------------------------------------------------------------------ */

static uint16_t slot_of(const struct ut_workloads *w, const struct ut_workload *workload)
{
    return (uint16_t)(workload - w->slots);
}

static uint16_t *path_bucket(const struct ut_workloads *w, ut_slice path)
{
    return &w->by_path[hash_bytes(path) % BUCKETS];
}

static uint16_t *pod_bucket(const struct ut_workloads *w, const char *pod_uid)
{
    return &w->by_pod[hash_bytes(ut_slice_str(pod_uid)) % POD_BUCKETS];
}

/* By what a shortened id has in common with the whole one. */
static uint16_t *container_bucket(const struct ut_workloads *w, ut_slice id)
{
    if (id.size > UT_SHORT_CONTAINER_ID)
        id.size = UT_SHORT_CONTAINER_ID;
    return &w->by_container[hash_bytes(id) % CONTAINER_BUCKETS];
}

static ut_slice path_of(const struct ut_workload *workload)
{
    return ut_slice_of(workload->path, workload->path_size);
}

static void unlink_path(struct ut_workloads *w, const struct ut_workload *workload)
{
    for (uint16_t *at = path_bucket(w, path_of(workload)); *at != 0;
         at = &w->slots[*at].next_by_path) {
        if (&w->slots[*at] == workload) {
            *at = workload->next_by_path;
            return;
        }
    }
}

static void unlink_pod(struct ut_workloads *w, const struct ut_workload *workload)
{
    if (workload->pod_uid[0] == '\0')
        return;
    for (uint16_t *at = pod_bucket(w, workload->pod_uid); *at != 0;
         at = &w->slots[*at].next_by_pod) {
        if (&w->slots[*at] == workload) {
            *at = workload->next_by_pod;
            return;
        }
    }
}

static void unlink_container(struct ut_workloads *w, const struct ut_workload *workload)
{
    if (workload->container_id[0] == '\0')
        return;
    for (uint16_t *at = container_bucket(w, ut_slice_str(workload->container_id)); *at != 0;
         at = &w->slots[*at].next_by_container) {
        if (&w->slots[*at] == workload) {
            *at = workload->next_by_container;
            return;
        }
    }
}

static void forget_workload(struct ut_workloads *w, struct ut_workload *workload)
{
    if (w->forget != NULL)
        w->forget(w->forget_arg, slot_of(w, workload));
    unlink_pod(w, workload);
    unlink_container(w, workload);
    workload->id &= 0xffff0000; /* the generation stays, the slot is free */
    w->count--;
}

/* A free slot, or the one that was removed longest ago; NULL when every workload lives. */
static struct ut_workload *take_slot(struct ut_workloads *w)
{
    struct ut_workload *oldest = NULL;
    for (uint32_t i = 1; i < UT_WORKLOADS_MAX; i++) {
        struct ut_workload *workload = &w->slots[i];
        if (UT_WORKLOAD_SLOT(workload->id) == 0)
            return workload;
        if (workload->removed_ns != 0 &&
            (oldest == NULL || workload->removed_ns < oldest->removed_ns))
            oldest = workload;
    }
    if (oldest != NULL)
        forget_workload(w, oldest);
    return oldest;
}

static void copy_text(char *out, size_t room, ut_slice text)
{
    size_t size = text.size < room ? text.size : room - 1;
    if (size > 0)
        memcpy(out, text.data, size);
    out[size] = '\0';
}

/* Cgroup names are any bytes; what goes into spans is plain ASCII here, '?' for the rest: one bad
 * byte would make a backend refuse a whole request. Of a long path the end tells more. */
static void show_path(struct ut_workload *workload)
{
    size_t room = sizeof(workload->shown_path) - 1;
    size_t skipped = workload->path_size > room ? workload->path_size - room : 0;
    size_t size = workload->path_size - skipped;
    for (size_t i = 0; i < size; i++) {
        char c = workload->path[skipped + i];
        workload->shown_path[i] = (unsigned char)c < 0x80 ? c : '?';
    }
    workload->shown_path[size] = '\0';
}

void ut_workloads_want_names(const struct ut_workloads *w, struct ut_workload *workload,
                             bool urgent)
{
    if (w->wanted != NULL && workload->container_id[0] != '\0' &&
        workload->names.state == UT_NAMES_UNKNOWN)
        w->wanted(w->wanted_arg, workload, urgent);
}

/* How much of its path names the directory above. */
static size_t above(const struct ut_workload *workload)
{
    size_t size = workload->path_size;
    while (size > 0 && workload->path[size - 1] != '/')
        size--;
    return size;
}

/* Where containers of one pod are. */
static bool are_beside(const struct ut_workload *a, const struct ut_workload *b)
{
    size_t size = above(a);
    return size == above(b) && memcmp(a->path, b->path, size) == 0;
}

/* Takes away what its path says of it. */
static void disown(struct ut_workloads *w, struct ut_workload *impostor)
{
    unlink_pod(w, impostor);
    unlink_container(w, impostor);
    impostor->container_id[0] = impostor->pod_uid[0] = '\0';
    impostor->names = (struct ut_container_names){.state = UT_NAMES_ABSENT};
    impostor->runtime = "";
    w->impostors++;
}

/* Two that cannot both be right: the one that lies deeper in others' is wrong. True: `fresh` is. At
 * the top of the hierarchy are only those whom the host's own rights have put there. */
static bool settle_pair(struct ut_workloads *w, struct ut_workload *fresh,
                        struct ut_workload *other)
{
    bool wrong = fresh->nesting > 0 && fresh->nesting >= other->nesting;
    if (other->nesting > 0 && other->nesting >= fresh->nesting)
        disown(w, other);
    if (wrong)
        disown(w, fresh);
    return wrong;
}

/* Of `fresh`, which is in no chain yet. */
static void settle_ids(struct ut_workloads *w, struct ut_workload *fresh)
{
    ut_slice id = ut_slice_str(fresh->container_id);
    struct ut_workload *other;
    for (uint16_t i = id.size != 0 ? *container_bucket(w, id) : 0; i != 0;) {
        other = &w->slots[i];
        i = other->next_by_container;
        if (other->removed_ns == 0 && strcmp(other->container_id, fresh->container_id) == 0 &&
            settle_pair(w, fresh, other))
            return;
    }
    for (uint16_t i = fresh->pod_uid[0] != '\0' ? *pod_bucket(w, fresh->pod_uid) : 0; i != 0;) {
        other = &w->slots[i];
        i = other->next_by_pod;
        if (other->removed_ns == 0 && strcmp(other->pod_uid, fresh->pod_uid) == 0 &&
            !are_beside(fresh, other) && settle_pair(w, fresh, other))
            return;
    }
}

static void link_workload(struct ut_workloads *w, struct ut_workload *workload)
{
    uint16_t *bucket = path_bucket(w, path_of(workload));
    workload->next_by_path = *bucket;
    *bucket = slot_of(w, workload);
    if (workload->pod_uid[0] != '\0') {
        bucket = pod_bucket(w, workload->pod_uid);
        workload->next_by_pod = *bucket;
        *bucket = slot_of(w, workload);
    }
    if (workload->container_id[0] != '\0') {
        bucket = container_bucket(w, ut_slice_str(workload->container_id));
        workload->next_by_container = *bucket;
        *bucket = slot_of(w, workload);
    }
}

static struct ut_workload *new_workload(struct ut_workloads *w,
                                        const struct ut_cgroup_identity *identity, ut_slice owner)
{
    struct ut_workload *workload = take_slot(w);
    if (workload == NULL) {
        w->overflows++;
        return NULL;
    }
    uint32_t generation = (workload->id >> 16) + 1;
    *workload = (struct ut_workload){
        .id = slot_of(w, workload) | generation << 16,
        .kind = identity->kind,
        .nesting = identity->nesting,
        .runtime = identity->runtime,
        .path_size = (uint16_t)owner.size,
    };
    memcpy(workload->path, owner.data, owner.size);
    memcpy(workload->pod_uid, identity->pod_uid, sizeof(workload->pod_uid));
    copy_text(workload->container_id, sizeof(workload->container_id), identity->container_id);
    for (char *c = workload->container_id; *c != '\0'; c++)
        *c = (unsigned char)*c < 0x80 ? *c : '?';
    show_path(workload);
    settle_ids(w, workload);
    link_workload(w, workload);
    w->count++;
    ut_workloads_want_names(w, workload, false);
    return workload;
}

/* The living workload that owns a path, made where there is none. NULL: nobody owns it. */
static struct ut_workload *owner_of(struct ut_workloads *w, ut_slice path)
{
    struct ut_cgroup_identity identity;
    if (ut_cgroup_path_parse(&identity, path) != 0 || identity.kind == UT_CGROUP_UNOWNED)
        return NULL;
    ut_slice owner = ut_slice_of(path.data, identity.owner_size);
    for (uint16_t i = *path_bucket(w, owner); i != 0; i = w->slots[i].next_by_path) {
        if (ut_slice_equal(path_of(&w->slots[i]), owner))
            return &w->slots[i];
    }
    return new_workload(w, &identity, owner);
}

static void retire(struct ut_workloads *w, struct ut_workload *workload, uint64_t now_ns)
{
    workload->removed_ns = now_ns;
    unlink_path(w, workload);
}

static void leave_workload(struct ut_workloads *w, uint32_t id, uint64_t now_ns)
{
    struct ut_workload *workload = ut_workloads_get(w, id);
    if (workload != NULL && --workload->cgroups == 0)
        retire(w, workload, now_ns);
}

struct ut_workload *ut_workloads_get(const struct ut_workloads *w, uint32_t id)
{
    uint32_t slot = UT_WORKLOAD_SLOT(id);
    if (slot == 0 || slot >= UT_WORKLOADS_MAX || w->slots[slot].id != id)
        return NULL;
    return &w->slots[slot];
}

const struct ut_workload *ut_workloads_next_in_pod(const struct ut_workloads *w,
                                                   const struct ut_workload *workload,
                                                   const struct ut_workload *previous)
{
    if (workload->pod_uid[0] == '\0')
        return NULL;
    uint16_t i = previous != NULL ? previous->next_by_pod : *pod_bucket(w, workload->pod_uid);
    for (; i != 0; i = w->slots[i].next_by_pod) {
        const struct ut_workload *other = &w->slots[i];
        if (other != workload && strcmp(other->pod_uid, workload->pod_uid) == 0 &&
            are_beside(other, workload))
            return other;
    }
    return NULL;
}

struct ut_workload *ut_workloads_by_container(const struct ut_workloads *w, ut_slice id)
{
    struct ut_workload *found = NULL;
    if (id.size == 0)
        return NULL;
    for (uint16_t i = *container_bucket(w, id); i != 0; i = w->slots[i].next_by_container) {
        struct ut_workload *workload = &w->slots[i];
        ut_slice whole = ut_slice_str(workload->container_id);
        if (ut_slice_equal(whole, id) && workload->removed_ns == 0)
            return workload;
        bool fits = id.size >= UT_SHORT_CONTAINER_ID ? ut_slice_starts(whole, id)
                                                     : ut_slice_equal(whole, id);
        if (fits && found != NULL)
            return NULL;
        if (fits)
            found = workload;
    }
    return found;
}

/* ---- cgroups -------------------------------------------------------------------------------- */

static struct ut_cgroup_entry *find_entry(const struct ut_workloads *w, uint64_t id)
{
    for (uint16_t i = w->by_id[mix(id) % BUCKETS]; i != 0; i = w->entries[i].next) {
        if (w->entries[i].id == id)
            return &w->entries[i];
    }
    return NULL;
}

static void follow(const struct ut_workloads *w, const struct ut_cgroup_entry *entry, bool yes)
{
    const struct ut_workload *workload = ut_workloads_get(w, entry->workload);
    if (w->follow != NULL && workload != NULL && workload->sends)
        w->follow(w->follow_arg, entry->id, yes);
}

static void remove_entry(struct ut_workloads *w, struct ut_cgroup_entry *entry, uint64_t now_ns)
{
    follow(w, entry, false);
    entry->removed_ns = now_ns;
    leave_workload(w, entry->workload, now_ns);
}

static void free_entry(struct ut_workloads *w, struct ut_cgroup_entry *entry)
{
    uint16_t index = (uint16_t)(entry - w->entries);
    uint16_t *at = &w->by_id[mix(entry->id) % BUCKETS];
    while (*at != index)
        at = &w->entries[*at].next;
    *at = entry->next;
    *entry = (struct ut_cgroup_entry){0};
    if (index < w->free_entry)
        w->free_entry = index;
}

/* A free entry; where all are in use, the one that was removed longest ago. */
static struct ut_cgroup_entry *take_entry(struct ut_workloads *w)
{
    while (w->free_entry <= UT_CGROUPS_MAX && w->entries[w->free_entry].used)
        w->free_entry++;
    if (w->free_entry <= UT_CGROUPS_MAX)
        return &w->entries[w->free_entry];
    struct ut_cgroup_entry *oldest = NULL;
    for (uint32_t i = 1; i <= UT_CGROUPS_MAX; i++) {
        struct ut_cgroup_entry *entry = &w->entries[i];
        if (entry->removed_ns != 0 && (oldest == NULL || entry->removed_ns < oldest->removed_ns))
            oldest = entry;
    }
    if (oldest == NULL) {
        w->overflows++;
        return NULL;
    }
    free_entry(w, oldest);
    return oldest;
}

static struct ut_cgroup_entry *add_entry(struct ut_workloads *w, uint64_t id)
{
    struct ut_cgroup_entry *entry = take_entry(w);
    if (entry == NULL)
        return NULL;
    uint16_t *bucket = &w->by_id[mix(id) % BUCKETS];
    *entry = (struct ut_cgroup_entry){.id = id, .used = true, .scan = w->scan, .next = *bucket};
    *bucket = (uint16_t)(entry - w->entries);
    return entry;
}

static void note_seen(const struct ut_workloads *w, struct ut_cgroup_entry *entry)
{
    entry->scan = w->scan;
    entry->scanned |= w->scanning;
}

static uint8_t depth_below(ut_slice path, size_t owner_size)
{
    unsigned depth = 0;
    for (size_t i = owner_size; i < path.size; i++)
        depth += path.data[i] == '/';
    return depth < UINT8_MAX ? (uint8_t)depth : UINT8_MAX;
}

/* Two directories cannot have one path: another cgroup at the path that names a workload says that
 * the one before is gone, with all below it, and that nobody told of it. */
static struct ut_workload *successor_of(struct ut_workloads *w, struct ut_workload *owner,
                                        uint64_t cgroup_id, ut_slice path, uint64_t now_ns)
{
    if (owner == NULL || owner->path_size != path.size || owner->own_cgroup == cgroup_id)
        return owner;
    if (owner->own_cgroup != 0) {
        uint32_t before = owner->id;
        for (uint32_t i = 1; i <= UT_CGROUPS_MAX; i++) {
            struct ut_cgroup_entry *entry = &w->entries[i];
            if (entry->used && entry->removed_ns == 0 && entry->workload == before)
                remove_entry(w, entry, now_ns);
        }
        owner = owner_of(w, path);
    }
    if (owner != NULL)
        owner->own_cgroup = cgroup_id;
    return owner;
}

static bool has_room(struct ut_workloads *w, const struct ut_workload *owner)
{
    if (owner == NULL || owner->cgroups < UT_CGROUPS_OF_ONE_MAX)
        return true;
    w->overflows++;
    return false;
}

void ut_workloads_created(struct ut_workloads *w, uint64_t cgroup_id, ut_slice path,
                          uint64_t now_ns)
{
    if (path.size == 0 || path.size >= UT_WORKLOAD_PATH_MAX) {
        w->rescan_wanted |= path.size == 0;
        return;
    }
    struct ut_workload *owner = successor_of(w, owner_of(w, path), cgroup_id, path, now_ns);
    struct ut_cgroup_entry *entry = find_entry(w, cgroup_id);
    if (entry != NULL && entry->removed_ns == 0 && !entry->sought) {
        if (entry->workload == (owner != NULL ? owner->id : 0)) {
            note_seen(w, entry);
            return;
        }
        remove_entry(w, entry, now_ns); /* its end was not told; the id is used again */
    }
    if (!has_room(w, owner)) {
        if (entry != NULL)
            entry->sought = false;
        return;
    }
    if (entry == NULL || !entry->sought || entry->removed_ns != 0)
        entry = add_entry(w, cgroup_id);
    if (entry != NULL) {
        entry->sought = false;
        note_seen(w, entry);
        entry->workload = owner != NULL ? owner->id : 0;
        entry->depth = owner != NULL ? depth_below(path, owner->path_size) : 0;
        follow(w, entry, true);
    }
    if (owner != NULL) {
        owner->cgroups += entry != NULL;
        if (owner->cgroups == 0)
            retire(w, owner, now_ns);
    }
}

void ut_workloads_removed(struct ut_workloads *w, uint64_t cgroup_id, uint64_t now_ns)
{
    struct ut_cgroup_entry *entry = find_entry(w, cgroup_id);
    if (entry != NULL && entry->removed_ns == 0)
        remove_entry(w, entry, now_ns);
}

uint32_t ut_workloads_of_cgroup(struct ut_workloads *w, uint64_t cgroup_id, bool *known)
{
    *known = true;
    if (cgroup_id == 0)
        return 0;
    struct ut_cgroup_entry *entry = find_entry(w, cgroup_id);
    if (entry != NULL) {
        *known = !entry->sought;
        return entry->workload;
    }
    *known = false;
    w->unknown_ids++;
    entry = add_entry(w, cgroup_id);
    if (entry != NULL) {
        entry->sought = true;
        w->rescan_wanted = true;
    }
    return 0;
}

void ut_workloads_follow_all(const struct ut_workloads *w)
{
    for (uint32_t i = 1; i <= UT_CGROUPS_MAX; i++) {
        const struct ut_cgroup_entry *entry = &w->entries[i];
        if (entry->used && entry->removed_ns == 0)
            follow(w, entry, true);
    }
}

void ut_workloads_sends(struct ut_workloads *w, struct ut_workload *workload)
{
    if (workload->sends)
        return;
    workload->sends = true;
    for (uint32_t i = 1; i <= UT_CGROUPS_MAX; i++) {
        const struct ut_cgroup_entry *entry = &w->entries[i];
        if (entry->used && entry->removed_ns == 0 && entry->workload == workload->id)
            follow(w, entry, true);
    }
}

uint32_t ut_workloads_living(const struct ut_workloads *w)
{
    uint32_t living = 0;
    for (uint32_t i = 1; i <= UT_CGROUPS_MAX; i++)
        living += w->entries[i].used && w->entries[i].removed_ns == 0;
    return living;
}

uint32_t ut_workloads_depth(const struct ut_workloads *w, uint64_t cgroup_id)
{
    const struct ut_cgroup_entry *entry = find_entry(w, cgroup_id);
    return entry != NULL ? entry->depth : 0;
}

void ut_workloads_scan_begin(struct ut_workloads *w)
{
    w->scan++;
    w->scanning = true;
    w->rescan_wanted = false;
}

void ut_workloads_scan_end(struct ut_workloads *w, enum ut_scan_reach reach, uint64_t now_ns)
{
    w->scanning = false;
    if (reach == UT_SCAN_BROKEN)
        return;
    for (uint32_t i = 1; i <= UT_CGROUPS_MAX; i++) {
        struct ut_cgroup_entry *entry = &w->entries[i];
        bool expected = reach == UT_SCAN_WHOLE || entry->scanned || entry->sought;
        if (entry->used && entry->removed_ns == 0 && entry->scan != w->scan && expected) {
            remove_entry(w, entry, now_ns);
            entry->sought = false; /* nobody's, as far as anyone can tell */
        }
    }
}

void ut_workloads_missed(struct ut_workloads *w)
{
    w->rescan_wanted = true;
}

void ut_workloads_expire(struct ut_workloads *w, uint64_t now_ns)
{
    if (now_ns < UT_WORKLOAD_KEPT_NS)
        return;
    uint64_t before_ns = now_ns - UT_WORKLOAD_KEPT_NS;
    for (uint32_t i = 1; i <= UT_CGROUPS_MAX; i++) {
        struct ut_cgroup_entry *entry = &w->entries[i];
        if (entry->removed_ns != 0 && entry->removed_ns < before_ns)
            free_entry(w, entry);
    }
    for (uint32_t i = 1; i < UT_WORKLOADS_MAX; i++) {
        struct ut_workload *workload = &w->slots[i];
        if (UT_WORKLOAD_SLOT(workload->id) != 0 && workload->removed_ns != 0 &&
            workload->removed_ns < before_ns)
            forget_workload(w, workload);
    }
}
