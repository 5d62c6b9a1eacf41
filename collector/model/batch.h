/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The batch: what moves through a pipeline, owned by exactly one holder at a time. It is a list of
 * bodies. A body is one received ExportTraceServiceRequest: the bytes (a segment) and an index over
 * them, made by one walk. Merging batches moves bodies from list to list; nothing is copied.
 *
 * Spans are never decoded. A span is one row of 64 bytes (a cache line): where its bytes are, and
 * what joins and sampling ask of every span. All offsets count from the start of the segment.
 *
 * A change is an edit: ranges of the original bytes that are left out, and encoded fields that are
 * added at the message's end. What has no edit is exported byte for byte.
 *
 * Invariants: 1. rows are ordered by offset, and so are scopes and resources; the spans of a scope
 * and the scopes of a resource are contiguous; 2. offset + size of every row lies within the
 * segment; 3. everything but the segment lives in the body's arena.
 */
#ifndef UT_MODEL_BATCH_H
#define UT_MODEL_BATCH_H

#include "base/arena.h"
#include "base/budget.h"
#include "base/segment.h"
#include "base/slice.h"
#include "model/verdict.h"

/* opentelemetry.proto.trace.v1.Span.SpanKind */
enum ut_span_kind {
    UT_SPAN_KIND_UNSPECIFIED,
    UT_SPAN_KIND_INTERNAL,
    UT_SPAN_KIND_SERVER,
    UT_SPAN_KIND_CLIENT,
    UT_SPAN_KIND_PRODUCER,
    UT_SPAN_KIND_CONSUMER,
};

enum ut_span_flag {
    /* Bad in itself or in its Resource or Scope: not exported, not counted. Neighbours that are bad
     * in themselves share one row, so that a body of nothing but tiny ones has a small index. */
    UT_SPAN_LEFT_OUT = 1,
    UT_SPAN_FORGED = 2, /* holds an attribute `undertrace.*` or an evidence event */
};

#define UT_SPAN_ENDS_FAR UINT16_MAX

struct ut_span {
    uint32_t offset;           /* of the Span message, behind its tag and length */
    uint32_t size;             /* bytes of the message */
    uint64_t start_ns, end_ns; /* UNIX time; 0 where absent */
    uint8_t trace_id[16];
    uint8_t span_id[8];
    uint8_t parent_id[8]; /* zero: a root span */
    uint8_t kind;         /* enum ut_span_kind; others as UNSPECIFIED */
    uint8_t status;       /* Status.code */
    uint8_t flags;        /* enum ut_span_flag */
    uint8_t header;       /* bytes of tag and length before `offset` */
    /* Where attributes that may name a network end stand in the message: from the first of them to
     * behind the last. Both 0: there are none; UT_SPAN_ENDS_FAR: farther than that. */
    uint16_t ends_begin, ends_end;
};

struct ut_range {
    uint32_t offset, size; /* in the segment */
};

struct ut_edit {
    const struct ut_range *removed; /* ordered, whole fields (tag included), without overlap */
    uint32_t removed_count;
    ut_slice added; /* encoded fields, in the body's arena */
};

/* A ScopeSpans that holds spans or is bad. The others have no row, nor have ResourceSpans without
 * spans: their bytes are kept like those of unknown fields. */
struct ut_scope {
    uint32_t offset;                 /* of the ScopeSpans field, at its tag */
    uint32_t content;                /* of the ScopeSpans message */
    uint32_t end;                    /* of both */
    uint32_t first_span, span_count; /* rows; LEFT_OUT ones are among them */
    bool left_out;                   /* bad: it goes nowhere, nor do its spans */
};

/* The attributes of a Resource that identity asks for; slices into the segment, empty if absent. */
struct ut_claims {
    ut_slice service_namespace, service_name, service_instance_id;
    ut_slice container_id, pod_uid;
    ut_slice cgroup_path; /* only Undertrace writes it, with the identity that it verified */
};

enum ut_resource_flag {
    UT_RESOURCE_FORGED = 1,   /* holds an attribute `undertrace.*` */
    UT_RESOURCE_LEFT_OUT = 2, /* bad: it goes nowhere, nor do its spans */
};

struct ut_resource {
    uint32_t offset;  /* of the ResourceSpans field, at its tag */
    uint32_t content; /* of the ResourceSpans message */
    uint32_t end;     /* of both */
    /* The (last) Resource message: at its tag, its content, its end; all 0 where there is none.
     * Several of them are one, as protobuf merges: the attributes of all count. */
    uint32_t resource_offset, resource_content, resource_end;
    uint32_t first_scope, scope_count;
    uint32_t first_span, span_count;
    uint32_t flags; /* enum ut_resource_flag */
    struct ut_claims claims;
    const struct ut_edit *edit; /* of the Resource message; NULL: none */
};

/* Who sent a body: how it reached us. The workload is looked up when spans are joined. */
struct ut_sender {
    uint64_t socket_cookie;     /* of our accepted socket; 0: not known */
    uint64_t connected_boot_ns; /* when we accepted it */
    uint64_t cgroup_id; /* of a unix socket's other end, as it was then; 0: not known, or TCP */
    bool is_unix;
    /* The configuration trusts it to pass on what an Undertrace found out about the spans of
     * others: by its user or certificate, or (the join finds out) its workload. */
    bool is_forwarder;
};

/* Who can name the workload of a sender, for the log. */
struct ut_sender_names {
    /* Writes its path into `out`; false: it is not known. Takes in all that the kernel has recorded
     * so far, so it is nothing to do for each request. */
    bool (*find)(struct ut_sender_names *names, const struct ut_sender *sender, char *out,
                 size_t room);
};

/* Someone who waits for what becomes of bodies (flow/delivery.h). */
struct ut_watch {
    /* `spans` of a body are finished at one exporter: SENT, PERMANENT, or RETRY where they were
     * given up although they might be sent again. */
    void (*finished)(struct ut_watch *watch, uint32_t spans, const struct ut_outcome *outcome);
    void (*released)(struct ut_watch *watch); /* a body that carried it is gone */
    bool withdrawn; /* its spans are not to be sent any more, those in flight excepted */
};

/* Who keeps a body on a disk as well (flow/keeping.h). A cursor is an exporter's number there. */
struct ut_keep {
    bool stored; /* it is there; before, it may be finished, but not left */
    /* `spans` of the body are finished at that exporter, for good. */
    void (*finished)(struct ut_keep *keep, uint32_t cursor, uint32_t spans);
    /* That exporter lets it go unfinished, to read it back from the disk. Its sequence there; and
     * how many spans will come back: all of them, those that were finished too. */
    uint64_t (*left)(struct ut_keep *keep, uint32_t cursor, uint32_t *ret_spans);
    void (*released)(
        struct ut_keep *keep); /* the body is gone; what is stored and not finished waits */
};

struct ut_body {
    struct ut_body *next;
    struct ut_segment *segment;
    uint32_t start, end; /* the request message within the segment */
    struct ut_arena arena;
    struct ut_budget *budget; /* NULL: charged nowhere */
    size_t charge;            /* bytes to return to the budget */
    struct ut_sender sender;
    struct ut_watch *watch;  /* NULL: nobody waits */
    struct ut_keep *keep;    /* NULL: it is in memory only, and stays so */
    struct ut_batch *lender; /* not NULL: a view of a body of that batch, which owns all of it */

    struct ut_resource *resources;
    struct ut_scope *scopes;
    struct ut_span *spans;
    uint32_t resource_count, scope_count, span_count;
    uint32_t left_out;                       /* rows of span_count */
    uint64_t oldest_start_ns, newest_end_ns; /* over the spans that are not left out */
    /* One per span, NULL where a span has none; NULL as a whole until the first edit. */
    const struct ut_edit **span_edits;
};

/* What a pipeline has admitted and its queues have not got yet. */
struct ut_on_the_way {
    uint32_t batches;
    uint64_t spans, bytes;
};

struct ut_batch {
    struct ut_batch *next; /* for lists of the present holder */
    struct ut_body *first, **last;
    struct ut_pool *pool;
    /* Where it is counted while it is on the way; NULL: it is not. Two that become one count as one
     * from then on. */
    struct ut_on_the_way *on_the_way;
    uint32_t spans;       /* that are not left out */
    size_t bytes;         /* of the messages as received */
    uint64_t received_ns; /* monotonic, of the oldest */
    uint64_t newest_end_ns;
    uint32_t refs; /* exporters that share it, see flow/queue.h */
};

/* An empty body and batch around `segment`, whose reference is taken over on success. NULL when the
 * pool has no memory; the reference stays the caller's then. The walk fills the body. */
struct ut_batch *ut_batch_new(struct ut_pool *pool, struct ut_segment *segment) UT_MUST_USE;
/* Counts after the walk, and again after spans were left out: spans, bytes, newest end. */
void ut_batch_measure(struct ut_batch *batch);
/* From now on it is counted in `on_the_way`, or (NULL) no more. */
void ut_batch_set_on_the_way(struct ut_batch *batch, struct ut_on_the_way *on_the_way);
/* Moves all bodies of `other` to the end of `batch`; `other` is gone afterwards. */
void ut_batch_append(struct ut_batch *batch, struct ut_batch *other);
/* Drops one reference; with the last one all bodies, their memory and their charges are gone.
 * NULL is fine. */
void ut_batch_unref(struct ut_batch *batch);
struct ut_batch *ut_batch_ref(struct ut_batch *batch);
/* A batch with views of the bodies of `batch`, for a holder who shares it with others and wants to
 * append to it. Takes over the caller's reference, which lives as long as the views. A batch that
 * is shared with nobody is returned as it is. NULL: out of memory, the reference stays the
 * caller's. */
struct ut_batch *ut_batch_view(struct ut_batch *batch) UT_MUST_USE;

/* Gives a span its edit (in the body's arena); makes the table on first use. -ENOMEM: the change is
 * dropped by the caller, never the span. */
int ut_body_set_edit(struct ut_body *body, uint32_t span, const struct ut_edit *edit) UT_MUST_USE;

/* That are not left out. */
static inline uint32_t ut_body_spans(const struct ut_body *body)
{
    return body->span_count - body->left_out;
}

static inline const struct ut_edit *ut_body_edit(const struct ut_body *body, uint32_t span)
{
    return body->span_edits != NULL ? body->span_edits[span] : NULL;
}

static inline ut_slice ut_body_slice(const struct ut_body *body, uint32_t offset, uint32_t size)
{
    return (ut_slice){body->segment->data + offset, size};
}

#endif
