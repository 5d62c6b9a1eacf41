/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the join share: the events of a body's workload, as that workload sees them. */
#ifndef UT_EVIDENCE_JOIN_VIEW_H
#define UT_EVIDENCE_JOIN_VIEW_H

#include "evidence/join.h"
#include "evidence/join_doubts.h"
#include "otlp/span_reader.h"

enum {
    UT_VIEWS_MAX = UT_TABLE_SIZE(4096, 16), /* events looked at for one body; the newest ones */
    UT_EXACT_VIEWS_MAX = UT_TABLE_SIZE(4096, 6), /* beside them, that name spans in hand */
    UT_GROUPS_MAX = UT_VIEWS_MAX + UT_EXACT_VIEWS_MAX,
    UT_MATCHES_MAX = UT_TABLE_SIZE(131072, 64), /* pairs of span and event in hand at once */
    UT_JOIN_SPANS_MAX = UT_TABLE_SIZE(4096, 3),
    UT_PORT_BUCKETS = 256,
    UT_SPAN_EVENTS_MAX = 16,
    UT_STALLS_VIEWED_MAX =
        UT_TABLE_SIZE(8192, 6), /* of one workload, for one body; the newest ones */
    UT_KILLS_VIEWED_MAX = UT_TABLE_SIZE(256, 4),
};

/* A change of what the workload holds by less is no evidence of its own. */
#define UT_HELD_CHANGE_LEAST (INT64_C(1) << 20)
/* Nor is it that it allocated less than this. */
#define UT_ALLOCATED_LEAST (UINT64_C(64) << 10)

/* A server span may begin so long after the retransmit of its request, or after establishment. */
#define UT_JOIN_BEGINS_WITHIN_NS (3 * UT_NS_PER_S)

/* A connection as the workload's own end sees it. */
struct ut_join_group {
    struct ut_connection *own;
    uint8_t role;
    bool mate;     /* of another workload in the same pod: class connection only */
    uint8_t ends;  /* enum ut_match_class that the span at hand reaches by its ends */
    uint32_t span; /* which span that was */
};

/* An event or a fold, on one side. Times are UNIX. */
struct ut_join_view {
    uint64_t low_ns, high_ns; /* its bytes were sent between these */
    uint64_t seen_ns;
    uint64_t received_ns;   /* an answer's request came in no earlier; 0: not known */
    struct ut_event *event; /* or: */
    struct ut_fold *fold;
    struct ut_traced *traced; /* NULL, or what of the event's bytes names the span */
    uint16_t group;
    uint8_t side, cause, kind;
    bool precise;     /* low_ns is the kernel's own stamp of the send, to the microsecond */
    bool alternating; /* low_ns knows when data last came in, not only the timeout */
    bool by_parent;   /* they name the span's parent */
    bool twice;       /* the same workload has the other side's view as well */
    /* Found by the passes over the spans. */
    uint8_t best; /* the strongest class that takes it, now or before */
    bool held;    /* a span takes it for the whole time, at that class */
    bool arrived;
    uint32_t sharers;
    uint64_t last_end_ns, last_start_ns; /* of the last server span that ended before `seen` */
    uint64_t first_start_ns;             /* of the first that began after it */
};

enum ut_join_fit {
    UT_FIT_NONE,
    UT_FIT_MEETS, /* the times meet, but the bytes may well be another's */
    UT_FIT_HOLDS, /* the bytes were sent, or waited for, within the span */
    UT_FIT_ENDED, /* a server span that ended before: the last one takes it */
    UT_FIT_BEGAN, /* a server span that begins after: the first one takes it */
};

struct ut_join_match {
    uint16_t view;
    uint8_t match; /* enum ut_match_class; NONE: not taken after all */
    uint8_t fit;   /* enum ut_join_fit */
};

/* What the memory system did to the workload at hand, oldest first. */
struct ut_join_stall {
    uint64_t from_ns, to_ns, ns;
    uint32_t sharers;
    uint8_t scope;
};

struct ut_join_kill {
    const struct ut_oom_kill *kill;
    uint32_t sharers;
};

/* What of it a span has met. */
struct ut_join_memory {
    uint32_t first_stall, stalls; /* of these some may not meet it after all */
    uint32_t first_kill, kills;
    bool held;        /* what the workload held is known at the span's end … */
    bool held_change; /* … and at its start */
    bool allocated;   /* what it allocated within the span is known */
    bool wall;        /* for how long some of its tasks stalled, likewise */
    uint64_t held_bytes;
    int64_t held_change_bytes;
    uint64_t allocated_bytes, wall_ns;
    bool any;
};

struct ut_join_span {
    uint32_t row;          /* in the body's index */
    uint32_t first, count; /* of its matches */
    struct ut_join_memory memory;
    bool partial;
};

/* What the span at hand names. */
struct ut_join_named {
    struct ut_span_ends ends;
    struct ut_endpoint remote; /* what may confirm: the address counts if has_address */
    bool has_address;
};

struct ut_join {
    struct ut_tables *tables;
    struct ut_allowance *allowance;
    struct ut_join_counters counters;
    uint64_t slack_ns, now_ns;
    uint64_t horizon_ns; /* not all is known of what was before it */
    const struct ut_workload *workload;
    uint32_t pass;
    struct {
        uint32_t pass, group;
    } * marks; /* by slot of a connection: its group, in that pass */

    struct ut_join_view *views; /* ordered by seen_ns; behind them the exact ones, in no order */
    struct ut_join_view *spare; /* of the same size, for merging */
    uint64_t *lowest_ns;        /* of views[i] and all behind it: the least low_ns */
    struct {
        uint16_t *views; /* by remote port modulo UT_PORT_BUCKETS, then by time */
        uint32_t begins[UT_PORT_BUCKETS];
        bool known; /* there is an index */
    } ports;
    struct ut_join_group *groups;
    struct ut_join_stall *stalls;
    struct ut_join_kill *kills;
    const struct ut_held_watch *held; /* NULL: it is not read */
    bool held_changed;                /* by much, within the times of the body at hand; or: */
    bool allocated_much;
    uint32_t *allocators; /* spans in hand that were open between allocated points i − 1 and i */
    uint32_t view_count, exact_count, group_count, stall_count, kill_count;
    bool exceeded;
    struct {
        uint32_t workload; /* 0: nothing has been gathered */
        uint64_t version, from_ns, to_ns;
    } gathered; /* what the views are for */

    struct ut_join_match *matches;
    struct ut_join_span *spans;
    uint32_t match_count, span_count;
    uint32_t serial; /* of the span at hand */
    bool learnt;     /* a view has something to remember */

    /* The span that was encoded last: one with the same matches gets the same bytes. */
    const struct ut_join_span *encoded;
    bool encoded_timed; /* its bytes depend on its own times too */
    ut_slice encoded_bytes;
    struct ut_allowed encoded_allowed;
    const struct ut_edit *encoded_edit; /* NULL: it was not for it alone */
    bool no_room;

    /* What the span that was looked at last names: spans beside it mostly name the same. */
    const struct ut_span *named_by; /* of the body at hand; NULL: none */
    struct ut_join_named named;

    struct ut_join_doubts doubts;

    /* How many connections of the workload fit what the span at hand names. */
    uint32_t fitting, fitting_serial;

    struct ut_unmatched_ends unmatched;
    uint32_t unmatched_serial; /* of the span that was looked at for it last */
};

/* join_gather.c: the views whose times can meet [from, to]. */
void ut_join_gather(struct ut_join *join, uint64_t from_ns, uint64_t to_ns);
/* The group of a connection; -1: there is no room. */
int ut_join_group_of(struct ut_join *join, struct ut_connection *own, bool mate);

/* join_ports.c: for a span that names its socket's remote port, the views of connections to it,
 * where enough views stand behind the one at `first` to make that worth while. `seek` gives the
 * place to begin at, for none before `first`; `next` the next view from a place on, UINT32_MAX:
 * there is none. */
void ut_join_index_ports(struct ut_join *join);
bool ut_join_has_port_index(const struct ut_join *join, uint32_t first);
uint32_t ut_join_seek_port(const struct ut_join *join, uint16_t port, uint32_t first);
uint32_t ut_join_next_on_port(const struct ut_join *join, uint16_t port, uint32_t *at);

/* join_exact.c: whether any event's bytes named the span or its parent; the matches of those that
 * did; and of which class they are once all spans in hand are known. */
bool ut_join_is_named(const struct ut_join *join, const struct ut_span *span);
void ut_join_match_named(struct ut_join *join, const struct ut_body *body,
                         const struct ut_span *span);
enum ut_match_class ut_join_named_class(const struct ut_join_view *view);

/* join_window.c */
void ut_join_place(struct ut_join_view *view);
enum ut_join_fit ut_join_fit(const struct ut_join_view *view, const struct ut_join_group *group,
                             const struct ut_span *span, uint64_t slack_ns);
/* Whether a server span that the event meets had the request already, so that no later one waited
 * for the retransmitted bytes. */
bool ut_join_had_arrived(const struct ut_join_view *view, const struct ut_span *span,
                         uint64_t slack_ns);

/* join_ends.c: what a span names, and whether one of its socket-level keys names another end than
 * the connection has; the strongest class that the named ends allow, NONE: they contradict. */
bool ut_join_contradicts(const struct ut_join_named *named, const struct ut_connection *own);
const struct ut_join_named *ut_join_read_named(struct ut_join *join, const struct ut_body *body,
                                               const struct ut_span *span);
enum ut_match_class ut_join_ends_class(struct ut_join *join, const struct ut_join_group *group,
                                       const struct ut_span *span,
                                       const struct ut_join_named *named);
/* The ends of the span at hand contradict the connection: remembers it where no other connection
 * of the workload fits them either. */
void ut_join_note_contradiction(struct ut_join *join, const struct ut_join_group *group,
                                const struct ut_span *span, const struct ut_join_named *named);

/* join_memory.c: the workload's stalls and kills that can meet [from, to]; which of them the span
 * meets; and what it says of them. */
void ut_join_gather_memory(struct ut_join *join, uint64_t from_ns, uint64_t to_ns);
void ut_join_begin_held(struct ut_join *join, uint64_t from_ns, uint64_t to_ns);
/* The spans in hand are done with. */
void ut_join_forget_sharers(struct ut_join *join);
void ut_join_meet_memory(struct ut_join *join, const struct ut_span *span,
                         struct ut_join_memory *ret);
struct ut_encoder;
size_t ut_join_memory_room(const struct ut_join_memory *memory); /* bytes, at most */
/* Returns the sharers of what is told. */
uint32_t ut_join_memory_attributes(const struct ut_join *join, const struct ut_span *span,
                                   const struct ut_join_memory *memory, struct ut_encoder *out);
uint32_t ut_join_memory_event_count(const struct ut_join *join, const struct ut_span *span,
                                    const struct ut_join_memory *memory);
/* Returns how many span events it wrote, less than half of UT_SPAN_EVENTS_MAX. */
uint32_t ut_join_memory_events(const struct ut_join *join, const struct ut_span *span,
                               const struct ut_join_memory *memory, struct ut_encoder *out);

/* join_encode.c: gives the span its evidence. */
void ut_join_encode(struct ut_join *join, struct ut_body *body, const struct ut_join_span *span);

static inline bool ut_join_is_client(const struct ut_span *span)
{
    return span->kind == UT_SPAN_KIND_CLIENT || span->kind == UT_SPAN_KIND_PRODUCER ||
           span->kind == UT_SPAN_KIND_CONSUMER;
}

#endif
