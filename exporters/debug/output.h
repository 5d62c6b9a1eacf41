/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A descriptor that is written to without ever waiting for its reader: what it does not take is
 * kept, up to a limit, and tried again; above the limit whole texts are left out, counted, and the
 * reader is told once there is room again.
 *
 * Terminals and pipes are opened a second time, non-blocking, so that the description that is
 * shared with the shell stays as it is. Where that is refused each write is preceded by a poll. An
 * error (the reader is gone: EPIPE, SIGPIPE being ignored by the program) ends the output.
 */
#ifndef UT_DEBUG_OUTPUT_H
#define UT_DEBUG_OUTPUT_H

#include "debug_exporter/text.h"
#include "loop/worker.h"

struct debug_output {
    struct ut_worker *worker;
    int fd;
    bool own_fd, failed, colours;
    struct debug_text pending; /* from `written` on */
    size_t written;
    struct ut_timer timer; /* set while something is pending */
    uint64_t left_out;     /* texts since the reader was last told */
    uint64_t *left_out_total;
};

/* `fd` is borrowed. Colours: on a terminal, unless NO_COLOR is set or TERM is `dumb`.
 * `left_out_total` counts the texts that are left out. */
void debug_output_init(struct debug_output *output, struct ut_worker *worker, int fd,
                       uint64_t *left_out_total);
/* What is pending is tried a last time; it is lost if it does not go. */
void debug_output_done(struct debug_output *output);
void debug_output_write(struct debug_output *output, const char *data, size_t size);

#endif
