/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plug-in contract: what a receiver, a processor and an exporter are to the rest of the
 * program.
 *
 * Upstream a receiver pushes a batch and is answered by `done`; downstream a queue sends an item
 * and is answered by `done` of the item. Each answer comes exactly once, maybe before the call
 * returns. All of a component's calls happen on its worker's thread.
 *
 * Life: create → start → … → stop → stopped → free. `create` opens nothing. A component that failed
 * to start is freed without stop.
 */
#ifndef UT_COMPONENT_H
#define UT_COMPONENT_H

#include "config/identity.h"
#include "loop/worker.h"
#include "model/batch.h"
#include "model/kernel_event.h"
#include "model/verdict.h"
#include "net/auth_settings.h"

struct ut_evidence; /* evidence/evidence.h; only processors of the program itself look inside */

/* ---- upstream: receiver → pipeline ---------------------------------------------------------- */

struct ut_push {
    struct ut_batch *batch; /* the pipeline's from the push on; gone when UT_ACCEPTED is answered */
    uint64_t deadline_ns;   /* monotonic: the sender waits no longer for the answer; 0: not known */
    /* Once per push; `answer` is valid during the call. With BUSY or REJECTED the batch has been
     * released, but for spans that are in flight. The push may be freed in here. */
    void (*done)(struct ut_push *push, const struct ut_answer *answer);
    /* The pipeline's own until `done`. */
    struct ut_push *next;
    void *held_by;
    uint64_t held_until_ns;
};

struct ut_push_target {
    void (*push)(struct ut_push_target *target, struct ut_push *push);
    /* The sender has gone before the answer: it loses the answer, not the batch. Nothing of it will
     * be withdrawn, and `done` comes soon, maybe in here. NULL: pushes are answered at once. */
    void (*abandon)(struct ut_push_target *target, struct ut_push *push);
};

/* ---- between processors --------------------------------------------------------------------- */

struct ut_consumer {
    /* Takes the batch over. Never refuses: room was taken at admission. */
    void (*consume)(struct ut_consumer *consumer, struct ut_batch *batch);
};

/* ---- downstream: queue → exporter ----------------------------------------------------------- */

#define UT_ENDPOINTS_MAX 16

/* Spans first_span … first_span + span_count - 1 of the batch, counted over the spans that are not
 * left out, in order of its bodies. */
struct ut_item {
    const struct ut_batch *batch; /* borrowed until done */
    uint32_t first_span, span_count;
    uint32_t endpoint; /* which of the exporter's endpoints is to get it */
    void (*done)(struct ut_item *item, const struct ut_outcome *outcome);
    void *exporter_data; /* the exporter's own, NULL at each send; the queue never looks at it */
};

/* ---- components ----------------------------------------------------------------------------- */

/* An extension of the configuration, for components whose settings name it. */
struct ut_extension {
    const char *id;     /* "basicauth/office" */
    const char *type;   /* "basicauth" */
    const void *config; /* the filled struct of its table */
};

struct ut_build {
    const char
        *id; /* as in the config: "otlp", "otlp_grpc/second"; lives as long as the component */
    const void *config; /* the filled struct of the type's table; likewise */
    struct ut_worker *worker;
    const struct ut_extension *extensions; /* live as long */
    size_t extension_count;
    const struct ut_config_identity *identity; /* lives as long; NULL: nobody's word counts */
    struct ut_sender_names *sender_names;      /* likewise; NULL: nobody watches the kernel */
    /* It is made at a reload: the component of the same id before may still have open what only one
     * can have, and lets go of it soon. */
    bool reload;
};

/* The extension of that id; NULL: there is none. */
const struct ut_extension *ut_build_extension(const struct ut_build *build, const char *id);
/* The same for what an exporter shows its backend; cleared where there is none, or `id` is NULL. */
struct ut_client_extension ut_build_client_extension(const struct ut_build *build, const char *id);

#define UT_ERROR_TEXT 256

struct ut_receiver {
    const struct ut_receiver_type *type;
};

struct ut_receiver_type {
    const char *name;
    const struct ut_field *fields;
    size_t config_size;
    bool once_per_process;                                              /* as ebpf */
    void (*check)(const void *config, struct ut_config_report *report); /* may be NULL */
    /* The addresses it will listen on, into `out`; returns how many. NULL: none. */
    size_t (*endpoints)(const void *config, const char **out, size_t room);
    /* Likewise the ids of the extensions that its settings name. */
    size_t (*extensions)(const void *config, const char **out, size_t room);

    /* `target` is where batches go; `sink` where kernel events go (NULL without `evidence`). */
    int (*create)(struct ut_receiver **ret, const struct ut_build *build,
                  struct ut_push_target *target, struct ut_event_sink *sink);
    /* On failure a negative errno, and in `error` what to do about it. */
    int (*start)(struct ut_receiver *receiver, char error[UT_ERROR_TEXT]);
    /* Looks at once whether the files that the settings name (certificates, tokens) have changed:
     * somebody says they have (SIGHUP). NULL: it has none. */
    void (*reread_files)(struct ut_receiver *receiver);
    /* A reload. `start_beside` is `start` while `old`, of the same id and type, goes on: an address
     * that both have stays open throughout. Then either the new one is stopped again, or it is told
     * to `take_over` and `old` to `retire`: that closes its listeners, keeps its connections and
     * sends what they bring to `target`, and calls stopped(arg) when the last is gone. `retire` may
     * come again with another target, and `stop` after it; then only the later `stopped` is called.
     */
    int (*start_beside)(struct ut_receiver *receiver, struct ut_receiver *old,
                        char error[UT_ERROR_TEXT]);
    void (*take_over)(struct ut_receiver *receiver, struct ut_receiver *old);
    void (*retire)(struct ut_receiver *receiver, struct ut_push_target *target,
                   void (*stopped)(void *arg), void *arg);
    /* In place of these three, for one that cannot be made anew: whether the settings of `build`
     * are those that it has. A negative errno says no, `error` what to do. */
    int (*keep)(struct ut_receiver *receiver, const struct ut_build *build,
                char error[UT_ERROR_TEXT]);
    /* Stops accepting and finishes what is arriving; calls stopped(arg) when nothing is left. */
    void (*stop)(struct ut_receiver *receiver, void (*stopped)(void *arg), void *arg);
    void (*free)(struct ut_receiver *receiver);
    /* Kernel events: a source to drain; NULL for receivers of spans. */
    struct ut_event_source *(*event_source)(struct ut_receiver *receiver);
};

struct ut_processor {
    const struct ut_processor_type *type;
    struct ut_consumer in;
    struct ut_consumer *out;
};

struct ut_processor_type {
    const char *name;
    const struct ut_field *fields;
    size_t config_size;
    void (*check)(const void *config, struct ut_config_report *report); /* may be NULL */
    /* `evidence` is NULL where the pipeline has no `ebpf`. */
    int (*create)(struct ut_processor **ret, const struct ut_build *build,
                  struct ut_evidence *evidence, struct ut_consumer *out);
    /* Passes on, at once, all that it holds. */
    void (*flush)(struct ut_processor *processor);
    void (*free)(struct ut_processor *processor);
};

struct ut_exporter {
    const struct ut_exporter_type *type;
};

/* What the flow layer reads from an exporter's config: its queue and retry. A table includes them
 * with UT_EXPORTER_FIELDS and the config struct begins with this struct. */
struct ut_exporter_settings {
    struct {
        bool enabled; /* false: as wait_for_result */
        bool wait_for_result, block_on_overflow;
        uint64_t num_consumers;
        uint64_t queue_size; /* in units of `sizer` */
        int sizer;           /* enum ut_sizer */
        int on_full;         /* enum ut_on_full */
        char *storage;       /* id of the extension that the queue is stored in; NULL: none */
        struct {
            bool present;
            uint64_t min_size, max_size; /* in units of `sizer`; max_size 0: none */
            uint64_t flush_timeout_ns;
            int sizer; /* enum ut_batch_sizer */
        } batch;
    } sending_queue;
    struct {
        bool enabled;
        uint64_t initial_interval_ns, max_interval_ns;
        uint64_t max_elapsed_time_ns; /* 0: for ever */
        double multiplier, randomization_factor;
    } retry_on_failure;
};

/* What a queue's size counts: batches as they come out of the processors, spans, or the bytes of
 * their messages as received. */
enum ut_sizer { UT_SIZER_REQUESTS, UT_SIZER_ITEMS, UT_SIZER_BYTES };
enum ut_batch_sizer { UT_BATCH_SIZER_ITEMS, UT_BATCH_SIZER_BYTES };
enum ut_on_full { UT_ON_FULL_REFUSE, UT_ON_FULL_DROP_OLDEST, UT_ON_FULL_DROP_NEWEST };

extern const struct ut_field ut_sending_queue_fields[];
extern const struct ut_field ut_retry_on_failure_fields[];
/* What the tables cannot express. The program calls it for every exporter with settings. */
void ut_exporter_settings_check(const struct ut_exporter_settings *settings,
                                struct ut_config_report *report);

/* The first rows of an exporter's table: `sending_queue` and `retry_on_failure`. */
#define UT_EXPORTER_FIELDS                                                                         \
    {                                                                                              \
        .key = "sending_queue",                                                                    \
        .type = UT_FIELD_MAP,                                                                      \
        .offset = offsetof(struct ut_exporter_settings, sending_queue),                            \
        .fields = ut_sending_queue_fields,                                                         \
        .present = UT_FIELD_NO_PRESENT,                                                            \
    },                                                                                             \
    {                                                                                              \
        .key = "retry_on_failure", .type = UT_FIELD_MAP,                                           \
        .offset = offsetof(struct ut_exporter_settings, retry_on_failure),                         \
        .fields = ut_retry_on_failure_fields, .present = UT_FIELD_NO_PRESENT,                      \
    }

struct ut_exporter_type {
    const char *name;
    const struct ut_field *fields;
    size_t config_size;
    void (*check)(const void *config, struct ut_config_report *report); /* may be NULL */
    /* The address that it will send to; NULL: none. */
    const char *(*endpoint)(const void *config);
    size_t (*extensions)(const void *config, const char **out, size_t room); /* as a receiver's */
    /* What the flow layer needs; NULL: defaults. */
    const struct ut_exporter_settings *(*settings)(const void *config);

    int (*create)(struct ut_exporter **ret, const struct ut_build *build);
    int (*start)(struct ut_exporter *exporter, char error[UT_ERROR_TEXT]);
    /* How many endpoints there are now, 1 … UT_ENDPOINTS_MAX; the queue spreads the items over
     * those that answer. NULL: one. */
    uint32_t (*endpoints)(const struct ut_exporter *exporter);
    void (*reread_files)(struct ut_exporter *exporter); /* as a receiver's */
    /* Borrows the item and finishes it exactly once. */
    void (*send)(struct ut_exporter *exporter, struct ut_item *item);
    /* Finishes what is in flight as UT_RETRY at once; calls stopped(arg) when nothing is left. */
    void (*stop)(struct ut_exporter *exporter, void (*stopped)(void *arg), void *arg);
    void (*free)(struct ut_exporter *exporter);
};

/* Made by the build from the ut_component() lines; NULL-terminated. */
extern const struct ut_receiver_type *const ut_receiver_types[];
extern const struct ut_processor_type *const ut_processor_types[];
extern const struct ut_exporter_type *const ut_exporter_types[];

#endif
