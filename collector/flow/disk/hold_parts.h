/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the hold, shared by the hold*.c files. All of it belongs to the worker's thread; a
 * job that runs has what it needs in `group` or `reading`, which nobody touches meanwhile. */
#ifndef UT_FLOW_DISK_HOLD_PARTS_H
#define UT_FLOW_DISK_HOLD_PARTS_H

#include "flow/disk/hold.h"
#include "loop/work.h"

enum { UT_HOLD_BUCKETS = 1024 };

struct ut_hold_record {
    uint32_t index; /* in its value */
    uint32_t spans;
    uint32_t size;                   /* of the body */
    uint64_t pending;                /* cursors that have not finished it */
    uint64_t held;                   /* … and of these, those that have it in memory */
    struct ut_hold_outcome *outcome; /* of the next group; NULL: none waits */
};

/* A value of which something is in memory, or has changed since the last group. */
struct ut_hold_value {
    struct ut_hold *hold;
    struct ut_hold_value *next_in_bucket, *next_changed;
    uint64_t key;
    uint64_t taken;            /* bytes of the quota */
    uint32_t count, in_memory; /* records; of these, held by anyone */
    uint32_t in_use;           /* times that the job that runs, or a loop, has it in hand */
    bool changed;              /* in the list for the next group */
    struct ut_hold_record records[];
};

struct ut_hold_outcome {
    struct ut_hold_outcome *previous, *next;
    struct ut_hold_record *record;
    uint64_t sequence;
    size_t size;
    uint8_t bytes[];
};

struct ut_hold_cursor {
    char name[UT_HOLD_NAME_MAX]; /* "": free */
    bool claimed, unwritten;     /* the next group writes its name */
    uint64_t records, spans, bytes;
};

/* A list that grows to its largest group and stays. */
struct ut_hold_list {
    void *items;
    size_t count, room;
};

struct ut_hold_group {
    struct ut_store_group store;
    struct ut_hold_list deletes, changes, names, puts, outcomes, records;
    struct ut_hold_list dying;   /* struct ut_hold_value *, as in deletes */
    struct ut_hold_list altered; /* struct ut_hold_value *, as in changes */
    struct ut_hold_list coming;  /* struct ut_hold_value *, as in puts */
    struct ut_hold_list put_of;  /* struct ut_hold_put *, as in records */
    struct ut_hold_list written; /* struct ut_hold_outcome *, as in outcomes */
};

enum ut_hold_job { UT_HOLD_IDLE, UT_HOLD_COMMIT, UT_HOLD_READ, UT_HOLD_CLOSE };

struct ut_hold {
    struct ut_hold_config config;
    struct ut_worker *worker;
    struct ut_disk_directory directory;
    struct ut_disk_guard guard;
    struct ut_store *store;

    struct ut_hold_cursor cursors[UT_HOLD_CURSORS_MAX];
    struct ut_hold_value *buckets[UT_HOLD_BUCKETS];
    struct ut_hold_value *changed;
    struct ut_hold_put *waiting, **waiting_last;
    struct ut_hold_read *reads, **reads_last;
    struct ut_hold_outcome *outcomes, *outcomes_last;
    uint64_t next_sequence;
    struct ut_hold_figures figures;
    uint64_t trouble_at_ns; /* of the last trouble, monotonic */

    struct ut_work work;
    enum ut_hold_job job;
    int job_error;
    uint64_t job_began_ns; /* monotonic */
    bool read_is_next;     /* reads and commits take turns */
    struct ut_hold_group group;
    struct ut_hold_read *reading;
    struct ut_store_read store_read;

    struct ut_deferred turn; /* starts the next job at the end of the loop's turn */
    struct ut_timer ripe;    /* the first put that waits has waited long enough */
    uint64_t patience_ns;    /* how long that is */
    struct ut_timer flush;   /* what is finished is committed, puts or not */
    bool flush_due;
    uint64_t rest_until_ns; /* after a failure */

    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

static inline struct ut_hold_value *ut_hold_value_of(struct ut_hold_record *record)
{
    return UT_CONTAINER_OF(record - record->index, struct ut_hold_value, records[0]);
}

/* hold.c */
struct ut_hold_value *ut_hold_find(struct ut_hold *hold, uint64_t key);
/* A value that stands in no table yet; its records are nobody's. NULL when out of memory. */
struct ut_hold_value *ut_hold_value_new(struct ut_hold *hold, uint64_t key, uint32_t count);
void ut_hold_value_add(struct ut_hold_value *value);
/* Takes it out of the table and frees it. */
void ut_hold_value_drop(struct ut_hold_value *value);
/* … where nothing of it is in memory, in hand, or about to be written. */
void ut_hold_value_rest(struct ut_hold_value *value);
void ut_hold_value_change(struct ut_hold_value *value);
/* Counts a record in or out of the backlog of every cursor in `cursors`. */
void ut_hold_count(struct ut_hold *hold, const struct ut_hold_record *record, uint64_t cursors,
                   int sign);
void ut_hold_outcome_drop(struct ut_hold *hold, struct ut_hold_outcome *outcome);
/* Takes a put out of those that wait. */
void ut_hold_unlist(struct ut_hold *hold, struct ut_hold_put *put);
/* Something is to be done: now, or at the latest when finished records must be committed. */
void ut_hold_wake(struct ut_hold *hold);
void ut_hold_wake_later(struct ut_hold *hold);

/* Remembers what went wrong last, for people; `advice` is a constant. */
void ut_hold_note_trouble(struct ut_hold *hold, int error, const char *advice);
/* Counts requests that found no room and says what to do. */
void ut_hold_refused(struct ut_hold *hold, size_t requests, const char *advice);

/* hold_group.c */
bool ut_hold_group_wanted(const struct ut_hold *hold, uint64_t now_ns);
void ut_hold_group_build(struct ut_hold *hold);
void ut_hold_group_finish(struct ut_hold *hold, int error);
void ut_hold_group_free(struct ut_hold_group *group);

/* hold_read.c */
void ut_hold_read_run(struct ut_hold *hold); /* on the other thread; sets job_error */
void ut_hold_read_finish(struct ut_hold *hold);

/* hold_metrics.c */
void ut_hold_metrics_init(struct ut_hold *hold);
void ut_hold_metrics_done(struct ut_hold *hold);

#endif
