/* SPDX-License-Identifier: Apache-2.0 */
#include "debug_exporter/output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    PENDING_MAX = 1 << 20,
    WRITE_MAX = 4096, /* PIPE_BUF: what a pipe that polls writable takes without blocking */
    RETRY_MS = 50,
};

static bool wants_colours(int fd)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(fd) && (no_color == NULL || no_color[0] == '\0') &&
           (term == NULL || strcmp(term, "dumb") != 0);
}

static int open_again(int fd)
{
    struct stat status;
    char path[32];
    if (fstat(fd, &status) != 0 || !(S_ISFIFO(status.st_mode) || isatty(fd)))
        return -1;
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static bool is_writable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
    return poll(&poll_fd, 1, 0) == 1;
}

/* Bytes that were taken; fewer than `size` where the reader is slow or gone. */
static size_t write_some(struct debug_output *output, const char *data, size_t size)
{
    size_t taken = 0;
    int error = 0;
    while (taken < size && !output->failed && is_writable(output->fd)) {
        size_t piece = size - taken < WRITE_MAX ? size - taken : WRITE_MAX;
        ssize_t n = write(output->fd, data + taken, piece);
        if (n >= 0)
            taken += (size_t)n;
        else if (errno == EAGAIN)
            break;
        else if (errno != EINTR)
            error = errno;
        output->failed = error != 0;
    }
    if (error != 0)
        ut_log(output->worker->log, UT_LOG_WARN, "debug_output_failed",
               "error=\"%s\" text=\"nothing more is printed; other exporters get their spans\"",
               strerror(error));
    return taken;
}

/* true when nothing is pending any more. */
static bool flush(struct debug_output *output)
{
    struct debug_text *pending = &output->pending;
    output->written +=
        write_some(output, pending->data + output->written, pending->size - output->written);
    if (output->written < pending->size && !output->failed)
        return false;
    debug_text_clear(pending);
    output->written = 0;
    return true;
}

static void keep(struct debug_output *output, const char *data, size_t size)
{
    debug_text_append(&output->pending, data, size);
    if (!ut_timer_is_set(&output->timer))
        ut_timer_set(&output->worker->timers, &output->timer,
                     ut_worker_now(output->worker) + RETRY_MS * UT_NS_PER_MS);
}

static void leave_out(struct debug_output *output)
{
    output->left_out++;
    ++*output->left_out_total;
}

void debug_output_write(struct debug_output *output, const char *data, size_t size)
{
    bool busy = output->written < output->pending.size;
    if (output->failed || (busy && output->pending.size + size > PENDING_MAX)) {
        leave_out(output);
        return;
    }
    size_t taken = busy ? 0 : write_some(output, data, size);
    if (output->failed)
        leave_out(output);
    else if (taken < size)
        keep(output, data + taken, size - taken);
}

static void on_timer(struct ut_timer *timer, uint64_t now_ns)
{
    struct debug_output *output = UT_CONTAINER_OF(timer, struct debug_output, timer);
    if (!flush(output)) {
        ut_timer_set(&output->worker->timers, timer, now_ns + RETRY_MS * UT_NS_PER_MS);
        return;
    }
    if (output->left_out == 0 || output->failed)
        return;
    char line[96];
    int size = snprintf(line, sizeof(line), "… %llu left out: this output was not read\n\n",
                        (unsigned long long)output->left_out);
    output->left_out = 0;
    debug_output_write(output, line, (size_t)size);
}

void debug_output_init(struct debug_output *output, struct ut_worker *worker, int fd,
                       uint64_t *left_out_total)
{
    int own = open_again(fd);
    *output = (struct debug_output){
        .worker = worker,
        .fd = own >= 0 ? own : fd,
        .own_fd = own >= 0,
        .colours = wants_colours(fd),
        .timer = {.fire = on_timer},
        .left_out_total = left_out_total,
    };
    debug_text_init(&output->pending, &worker->pool, (size_t)2 * PENDING_MAX);
}

void debug_output_done(struct debug_output *output)
{
    (void)flush(output);
    ut_timer_cancel(&output->worker->timers, &output->timer);
    debug_text_done(&output->pending);
    if (output->own_fd)
        (void)close(output->fd);
}
