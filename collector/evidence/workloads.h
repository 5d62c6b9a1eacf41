/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cgroup id to workload. Fed by CREATED and REMOVED records and by scans of the tree; asked by the
 * connection table, once per connection.
 *
 * A workload lives while one of its cgroups does. A cgroup made later at the same path belongs to a
 * new workload, also where the kernel gives it an old id, or where nobody told of the first one's
 * end. Removed ones are kept UT_WORKLOAD_KEPT_NS, because sockets and spans outlive their cgroups.
 *
 * Whoever may make cgroups below its own may call them like another's container. Ids in a path that
 * lies within a container are that one's word: they give way to those of a path that is less deep,
 * and of two alike neither stands.
 *
 * Workloads are named by ids that are never used twice in that time: slot and generation. Id 0 is
 * nobody.
 */
#ifndef UT_EVIDENCE_WORKLOADS_H
#define UT_EVIDENCE_WORKLOADS_H

#include <stdbool.h>

#include "base/clock.h"
#include "evidence/cgroup_path.h"
#include "evidence/container_names.h"
#include "evidence/table_size.h"

#define UT_WORKLOADS_MAX UT_TABLE_SIZE(4096, 6) /* slots; slot 0 is nobody */
#define UT_CGROUPS_MAX UT_TABLE_SIZE(16384, 6)
/* Of one workload that live: whoever makes more takes no room of others, their owner is unknown. */
#define UT_CGROUPS_OF_ONE_MAX UT_TABLE_SIZE(4096, 4)
#define UT_WORKLOAD_PATH_MAX 512
#define UT_WORKLOAD_KEPT_NS (900 * UT_NS_PER_S)
#define UT_WORKLOAD_SLOT(id) ((id)&0xffff)
#define UT_SHORT_CONTAINER_ID 12 /* characters; as people and tools shorten it */

struct ut_workload {
    uint32_t id;         /* slot | generation << 16; slot 0: free */
    uint32_t cgroups;    /* that live */
    uint64_t own_cgroup; /* id of the directory that names it; 0: not known */
    uint64_t removed_ns; /* UNIX; when the last of them went; 0: it lives */
    enum ut_cgroup_kind kind;
    unsigned nesting;      /* as its path tells (evidence/cgroup_path.h) */
    bool forwarder;        /* one of its connections brought several service instances */
    bool sends;            /* spans have come from it */
    uint16_t next_by_path; /* slots; 0 ends the chain */
    uint16_t next_by_pod;
    uint16_t next_by_container;
    uint16_t path_size;
    char path[UT_WORKLOAD_PATH_MAX];
    char container_id[128];
    char pod_uid[UT_POD_UID_TEXT];
    char shown_path[256]; /* valid UTF-8, below 256 bytes: the end of longer ones */
    const char *runtime;  /* as its path tells; "": it does not (evidence/cgroup_path.h) */
    struct ut_container_names names;
};

struct ut_workloads {
    struct ut_workload *slots;
    struct ut_cgroup_entry *entries; /* from index 1 */
    uint16_t *by_id, *by_path, *by_pod, *by_container;
    uint32_t free_entry;
    uint32_t scan; /* number of the scan that goes on or was last */
    uint32_t seen; /* cgroups, by the last one */
    bool scanning, rescan_wanted;
    uint32_t count; /* workloads kept */
    uint64_t unknown_ids, overflows;
    uint64_t impostors; /* that had the ids of another's container or pod in their path */
    /* A workload is about to be forgotten; its slot will be used again. */
    void (*forget)(void *arg, uint32_t slot);
    void *forget_arg;
    /* A cgroup of a workload that sends spans is there, or is gone. */
    void (*follow)(void *arg, uint64_t cgroup_id, bool follow);
    void *follow_arg;
    /* The names of a container are to be asked for: it has appeared, or (`urgent`) sends spans. May
     * be NULL. */
    void (*wanted)(void *arg, struct ut_workload *workload, bool urgent);
    void *wanted_arg;
};

int ut_workloads_init(struct ut_workloads *workloads) UT_MUST_USE; /* 0 or -ENOMEM */
void ut_workloads_done(struct ut_workloads *workloads);

/* A cgroup exists: by a record or by the scan. Told twice about the same one, nothing changes. A
 * path that is none asks for a rescan. */
void ut_workloads_created(struct ut_workloads *workloads, uint64_t cgroup_id, ut_slice path,
                          uint64_t now_ns);
void ut_workloads_removed(struct ut_workloads *workloads, uint64_t cgroup_id, uint64_t now_ns);

/* How much of the hierarchy a scan has seen. */
enum ut_scan_reach {
    UT_SCAN_BROKEN, /* it did not come to its end */
    UT_SCAN_PART,   /* all below its root: what only records told of may lie elsewhere */
    UT_SCAN_WHOLE,
};

/* Between begin and end every cgroup that can be seen is told by `created`. What this scan should
 * have seen and did not is gone. */
void ut_workloads_scan_begin(struct ut_workloads *workloads);
void ut_workloads_scan_end(struct ut_workloads *workloads, enum ut_scan_reach reach,
                           uint64_t now_ns);
/* Cgroups have come or gone of which no record tells. */
void ut_workloads_missed(struct ut_workloads *workloads);

/* The workload of a cgroup, 0 for nobody. An id that the table does not know gives 0, and asks for
 * a rescan unless one has looked for it already; `known` tells the two apart. */
uint32_t ut_workloads_of_cgroup(struct ut_workloads *workloads, uint64_t cgroup_id, bool *known);

/* Spans have come from the workload. */
void ut_workloads_sends(struct ut_workloads *workloads, struct ut_workload *workload);
/* Tells `follow` of all cgroups again whose workloads send spans. */
void ut_workloads_follow_all(const struct ut_workloads *workloads);

/* How many cgroups are there, as far as is known; it counts them. */
uint32_t ut_workloads_living(const struct ut_workloads *workloads);

/* How many directories the cgroup lies below the one that its workload is named by; 0 also where
 * that is not known. */
uint32_t ut_workloads_depth(const struct ut_workloads *workloads, uint64_t cgroup_id);

/* The one in the container of that id, or of the only id that begins with those 12 characters or
 * more; NULL: there is none, or several. */
struct ut_workload *ut_workloads_by_container(const struct ut_workloads *workloads,
                                              ut_slice container_id);

/* NULL for 0 and for one that has been forgotten. */
struct ut_workload *ut_workloads_get(const struct ut_workloads *workloads, uint32_t id);
/* The workloads, other than this one, that share its pod and stand beside it: begin with `previous`
 * NULL; NULL ends. */
const struct ut_workload *ut_workloads_next_in_pod(const struct ut_workloads *workloads,
                                                   const struct ut_workload *workload,
                                                   const struct ut_workload *previous);

/* Calls `wanted` for a container whose names are not known and not being asked for. */
void ut_workloads_want_names(const struct ut_workloads *workloads, struct ut_workload *workload,
                             bool urgent);

/* Forgets what was removed too long ago. */
void ut_workloads_expire(struct ut_workloads *workloads, uint64_t now_ns);

#endif
