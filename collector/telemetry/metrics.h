/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's own metrics: counters that anyone increments through a pointer, and gauges that are
 * read when somebody looks. Written out as Prometheus text (version 0.0.4).
 */
#ifndef UT_TELEMETRY_METRICS_H
#define UT_TELEMETRY_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

struct ut_metrics;

struct ut_metrics *ut_metrics_new(void) UT_MUST_USE;
void ut_metrics_free(struct ut_metrics *metrics);

/* The cell of a counter; the same name and labels give the same cell. `labels` is the inside of the
 * braces, values escaped (`receiver="otlp",transport="grpc"`), or "". All three texts are copied.
 * Never NULL (out of memory ends the program at start); cells live as long as the metrics.
 * `name` comes with its suffix `_total` where it has one. */
uint64_t *ut_metrics_counter(struct ut_metrics *metrics, const char *name, const char *labels,
                             const char *help);

/* The cell of a gauge, likewise. */
uint64_t *ut_metrics_level(struct ut_metrics *metrics, const char *name, const char *labels,
                           const char *help);
/* A gauge, read by `read(arg)` at each look. `remove` by the same arg before arg is gone. Of
 * several with the same name and labels the newest is read, until it is removed. */
void ut_metrics_gauge(struct ut_metrics *metrics, const char *name, const char *labels,
                      const char *help, double (*read)(void *arg), void *arg);
/* A counter that its owner keeps itself, read by `read(arg)`. */
void ut_metrics_counter_read(struct ut_metrics *metrics, const char *name, const char *labels,
                             const char *help, double (*read)(void *arg), void *arg);
void ut_metrics_remove(struct ut_metrics *metrics, void *arg);

/* A family of counters, or gauges, whose samples come and go: at each look `write(arg, out)` tells
 * those that there are, each once, by ut_metrics_tell. It has no other samples, and is not among
 * what ut_metrics_sum adds up. Taken out by `remove`; of several the newest is asked. */
struct ut_metrics_out;
void ut_metrics_family(struct ut_metrics *metrics, const char *name, const char *help,
                       void (*write)(void *arg, struct ut_metrics_out *out), void *arg);
void ut_metrics_gauge_family(struct ut_metrics *metrics, const char *name, const char *help,
                             void (*write)(void *arg, struct ut_metrics_out *out), void *arg);
void ut_metrics_tell(struct ut_metrics_out *out, const char *labels, double value);
/* Writes `text` as a label's value may stand, cut to `size` with the terminator; returns `out`. */
char *ut_metrics_escape(char *out, size_t size, const char *text);

/* The sum over all samples of the family `name`, as it stands now; 0 where there is none. */
double ut_metrics_sum(const struct ut_metrics *metrics, const char *name);

/* The Prometheus text; the caller frees it with free(). NULL when out of memory. */
char *ut_metrics_text(struct ut_metrics *metrics, size_t *ret_size) UT_MUST_USE;

#endif
