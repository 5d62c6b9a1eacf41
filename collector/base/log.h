/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log: logfmt lines on stderr, `time=… level=… event=… key=value …`. Each event name, or each
 * cause of it where it has several, is limited to a burst of 5 lines and then one line in 10 s,
 * which says how many were left out.
 */
#ifndef UT_BASE_LOG_H
#define UT_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

enum ut_log_level { UT_LOG_DEBUG, UT_LOG_INFO, UT_LOG_WARN, UT_LOG_ERROR };

struct ut_log;

/* A log that writes to the descriptor `fd` (borrowed). NULL when out of memory. */
struct ut_log *ut_log_new(int fd, enum ut_log_level least) UT_MUST_USE;
void ut_log_free(struct ut_log *log);
void ut_log_set_level(struct ut_log *log, enum ut_log_level least);

/* `event` is a constant name, one per cause; `format` gives the `key=value` pairs. Values that may
 * hold blanks or come from outside are written with %q-like care: see ut_log_quote. A NULL log
 * drops the line. Returns whether it was within the limit. */
bool ut_log(struct ut_log *log, enum ut_log_level level, const char *event, const char *format, ...)
    UT_PRINTF(4, 5);

/* Likewise for an event of several causes, each with a limit of its own, so that a flood of one
 * does not hide another. `cause` is a constant or a name from the configuration, never what a
 * stranger says: the limit's table is small. */
bool ut_log_cause(struct ut_log *log, enum ut_log_level level, const char *event, const char *cause,
                  const char *format, ...) UT_PRINTF(5, 6);

/* Writes `text` into `out` as a logfmt value: quoted where needed, control characters and bytes
 * that are not UTF-8 escaped, cut to the room (out_size ≥ 8). Returns `out`. */
const char *ut_log_quote(char *out, size_t out_size, const char *text);

#endif
