/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole configuration: the shape of the OpenTelemetry Collector's, read over tables of component
 * types that the program (or a test) gives. Everything is read and checked in one pass; nothing is
 * opened.
 */
#ifndef UT_CONFIG_CONFIG_H
#define UT_CONFIG_CONFIG_H

#include "base/log.h"
#include "base/slice.h"
#include "config/expand.h"
#include "config/field.h"
#include "config/identity.h"

/* What the answer to a sender promises; the stronger ones later. */
enum ut_ack { UT_ACK_QUEUED, UT_ACK_DURABLE, UT_ACK_DELIVERED, UT_ACKS };

/* A disk hold. */
struct ut_config_storage {
    bool present;
    int type, sync; /* words of the table; sync 0: group */
    char *directory;
    uint64_t max_bytes;
};

/* One component type, as far as its settings go. */
struct ut_config_type {
    const char *name; /* NULL ends a table */
    const struct ut_field *fields;
    size_t config_size;
    void (*check)(const void *config, struct ut_config_report *report); /* may be NULL */
    /* What holds for all components of the section; may be NULL. */
    void (*check_common)(const struct ut_config_type *type, const void *config,
                         struct ut_config_report *report);
    bool feeds_one_pipeline;     /* at most one pipeline may name a receiver of this type */
    bool once_per_process;       /* one component of this type at most may be in use */
    const char *needs_processor; /* a pipeline with this receiver must name this processor type */
    const char *unavailable;     /* not NULL: known, but why this build has none */
    size_t (*listens)(const void *config, const char **out,
                      size_t room);           /* receivers; may be NULL */
    const char *(*sends)(const void *config); /* exporters; may be NULL */
    size_t (*names)(const void *config, const char **out,
                    size_t room); /* ids of the extensions that it needs; may be NULL */
    /* Exporters; may be NULL: the ack that pipelines into it must have at least; and, where it
     * cannot serve pipelines with `ack`, why and what to do. NULL: it can. */
    enum ut_ack (*least_ack)(const struct ut_config_type *type, const void *config);
    const char *(*refuses_ack)(const struct ut_config_type *type, const void *config,
                               enum ut_ack ack);
    /* Exporters; may be NULL: the id of the extension that its queue is stored in, or NULL. */
    const char *(*stores_in)(const struct ut_config_type *type, const void *config);
    /* Extensions; NULL: it stores nothing. */
    const struct ut_config_storage *(*storage)(const void *config);
    uint64_t fixed_mib;         /* memory of fixed size that it takes while in use */
    const void *implementation; /* the caller's */
};

struct ut_config_types {
    const struct ut_config_type *receivers, *processors, *exporters;
    const struct ut_config_type *extensions; /* NULL: there are none */
    uint64_t fixed_mib;                      /* memory that the program takes whatever it does */
    uint64_t budget_mib;                     /* the least that must be left for spans in flight */
    uint64_t storage_mib;                    /* that disk holds take, all together */
};

struct ut_config_component {
    const struct ut_config_type *type;
    const char *id; /* "otlp", "otlp_grpc/second" */
    void *config;   /* of type->config_size bytes, aligned for any type */
    struct ut_config_at at;
    const char *path; /* "exporters.otlp_grpc/second" */
    size_t uses;      /* pipelines that name it; of an extension, components */
    bool listed;      /* of an extension: service.extensions names it */
};

struct ut_config_components {
    struct ut_config_component *items;
    size_t count;
};

struct ut_config_pipeline {
    const char *id; /* "traces", "traces/second" */
    int ack;        /* enum ut_ack; also `delivered` where an exporter waits for its result */
    uint64_t ack_timeout_ns;
    struct ut_config_storage storage; /* also where an exporter's queue names it */
    const struct ut_config_component **receivers, **processors, **exporters;
    size_t receiver_count, processor_count, exporter_count;
};

/* `undertrace:` */
struct ut_config_memory_limit {
    uint64_t limit_mib;
};

struct ut_config_program {
    struct ut_config_memory_limit memory;
    char *admin; /* "unix:///path"; "" : none */
    uint64_t shutdown_timeout_ns;
    uint64_t max_bytes_per_hour; /* of evidence, on all spans together; 0: any number */
    struct ut_config_identity identity;
};

/* `service.telemetry:` */
struct ut_config_logs {
    int level; /* enum ut_log_level */
};

struct ut_config_metrics {
    int level;     /* 0: none */
    char *address; /* of /metrics, /healthz, /readyz */
};

struct ut_config_telemetry {
    struct ut_config_logs logs;
    struct ut_config_metrics metrics;
};

struct ut_config {
    struct ut_config_memory memory; /* owns all below */
    struct ut_config_components receivers, processors, exporters, extensions;
    struct ut_config_pipeline *pipelines;
    size_t pipeline_count;
    struct ut_config_program program;
    struct ut_config_telemetry telemetry;
};

struct ut_config_source {
    ut_slice text;
    ut_config_env env;
};

/* Reads `source`; what there is to say goes to `messages` (whose `file` names the source). NULL if
 * there was an error. `types` is borrowed for the life of the configuration. */
struct ut_config *ut_config_read(const struct ut_config_source *source,
                                 const struct ut_config_types *types,
                                 struct ut_config_messages *messages) UT_MUST_USE;
void ut_config_free(struct ut_config *config); /* NULL is fine */
/* The Collector's `file_storage`, a row of the table of extensions. */
extern const struct ut_config_type ut_config_file_storage;
/* As it is written. */
const char *ut_config_ack_name(enum ut_ack ack);

#endif
