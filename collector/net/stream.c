/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One uv_poll handle and one descriptor. A wake-up reads once, and again where that filled the
 * buffer: what is read in one turn is answered in one write, and a small write costs as much as
 * several spans. Then the others have their turn. A flush writes until nothing is pending or the
 * socket is full, bounded per turn.
 *
 * Invariants: 1. `events` is what the poll handle waits for: libuv pays two system calls for each
 * change, so it is only touched when that differs; 2. after `ended` no operation is called but
 * on_closed; 3. a stream that ends when flushed ends after LINGER_NS at the latest.
 */
#include "net/stream.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

enum { READS_PER_TURN = 2, WRITES_PER_TURN = 32 };

#define LINGER_NS UT_NS_PER_S

static void on_closed(uv_handle_t *handle)
{
    struct ut_stream *stream = handle->data;
    stream->ops->on_closed(stream);
}

void ut_stream_close(struct ut_stream *stream, int error)
{
    if (stream->ended)
        return;
    stream->ended = true;
    ut_worker_undefer(stream->worker, &stream->flush);
    ut_timer_cancel(&stream->worker->timers, &stream->linger);
    uv_poll_stop(&stream->poll);
    uv_close((uv_handle_t *)&stream->poll, on_closed);
    close(stream->fd);
    stream->fd = -1;
    stream->ops->on_end(stream, error);
}

static void on_event(uv_poll_t *poll, int status, int events);

static void watch(struct ut_stream *stream)
{
    /* A stream that ends wants nothing more of its peer; the end of the peer's sending half, which
     * is reported as long as it is asked for, must not keep the answers from leaving. */
    int events = stream->end_when_flushed ? 0 : UV_DISCONNECT;
    if (!stream->read_paused && !stream->end_when_flushed)
        events |= UV_READABLE;
    if (stream->write_blocked)
        events |= UV_WRITABLE;
    if (stream->ended || events == stream->events)
        return;
    int error = uv_poll_start(&stream->poll, events, on_event);
    if (error != 0)
        ut_stream_close(stream, error);
    else
        stream->events = events;
}

/* 1: something was written and more may follow; 0: nothing pending or the socket is full. */
static int write_once(struct ut_stream *stream)
{
    struct iovec runs[UT_STREAM_RUNS_MAX];
    int count = stream->ops->pending(stream, runs, UT_STREAM_RUNS_MAX);
    if (count <= 0)
        return count;
    struct msghdr message = {.msg_iov = runs, .msg_iovlen = (size_t)count};
    ssize_t sent = sendmsg(stream->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
        stream->write_blocked = true;
        return 0;
    }
    if (sent < 0)
        return -errno;
    stream->bytes_out += (uint64_t)sent;
    stream->ops->consumed(stream, (size_t)sent);
    return 1;
}

static void write_pending(struct ut_stream *stream)
{
    stream->write_blocked = false;
    int more = 1;
    for (int i = 0; i < WRITES_PER_TURN && more > 0 && !stream->ended; i++)
        more = write_once(stream);
    if (stream->ended)
        return;
    if (more < 0) {
        ut_stream_close(stream, more);
        return;
    }
    /* The rest of a long output waits for the socket as if it were full: others have their turn. */
    if (more > 0)
        stream->write_blocked = true;
    if (stream->end_when_flushed && !stream->write_blocked) {
        ut_stream_close(stream, stream->end_error);
        return;
    }
    if (stream->finishing && !stream->half_closed && !stream->write_blocked) {
        stream->half_closed = true;
        (void)shutdown(stream->fd, SHUT_WR);
    }
    watch(stream);
}

static void on_flush(struct ut_deferred *deferred)
{
    struct ut_stream *stream = UT_CONTAINER_OF(deferred, struct ut_stream, flush);
    if (!stream->write_blocked)
        write_pending(stream);
}

static void on_linger(struct ut_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    struct ut_stream *stream = UT_CONTAINER_OF(timer, struct ut_stream, linger);
    ut_stream_close(stream, stream->end_error != 0 ? stream->end_error : -ETIMEDOUT);
}

static void set_linger(struct ut_stream *stream)
{
    struct ut_worker *worker = stream->worker;
    if (!ut_timer_is_set(&stream->linger))
        ut_timer_set(&worker->timers, &stream->linger, ut_worker_now(worker) + LINGER_NS);
}

static void end_later(struct ut_stream *stream, int error)
{
    if (stream->ended || stream->end_when_flushed)
        return;
    stream->end_when_flushed = true;
    stream->end_error = error;
    set_linger(stream);
    watch(stream);
    ut_stream_flush_later(stream);
}

/* true: there is more, and it is wanted. */
static bool read_once(struct ut_stream *stream)
{
    struct ut_worker *worker = stream->worker;
    ssize_t got = recv(stream->fd, worker->read_buffer, worker->read_buffer_size, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (got < 0) {
        ut_stream_close(stream, -errno);
        return false;
    }
    if (got == 0) {
        /* A peer that only closed its sending half still gets what is ready for it. */
        end_later(stream, 0);
        return false;
    }
    stream->bytes_in += (uint64_t)got;
    int error = stream->ops->on_bytes(stream, ut_slice_of(worker->read_buffer, (size_t)got));
    if (error != 0)
        end_later(stream, error);
    bool wanted = !stream->ended && (stream->events & UV_READABLE) != 0;
    return wanted && (size_t)got == worker->read_buffer_size;
}

static void read_some(struct ut_stream *stream)
{
    bool more = true;
    for (int i = 0; i < READS_PER_TURN && more; i++)
        more = read_once(stream);
}

/* libuv says EBADF whatever error stands on the socket, and watches no more: the last bytes and the
 * error itself are the socket's to tell. */
static void on_socket_error(struct ut_stream *stream)
{
    int error = 0;
    socklen_t size = sizeof(error);
    if ((stream->events & UV_READABLE) != 0)
        (void)read_once(stream);
    if (stream->ended)
        return;
    (void)getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    ut_stream_close(stream, error != 0 ? -error : -ECONNRESET);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct ut_stream *stream = poll->data;
    if (status < 0) {
        on_socket_error(stream);
        return;
    }
    if ((events & UV_READABLE) != 0 && (stream->events & UV_READABLE) != 0)
        read_some(stream);
    else if ((events & UV_DISCONNECT) != 0)
        ut_stream_close(stream, -ECONNRESET);
    if ((events & UV_WRITABLE) != 0 && stream->write_blocked && !stream->ended)
        write_pending(stream);
}

int ut_stream_open(struct ut_stream *stream, struct ut_worker *worker, int fd,
                   const struct ut_stream_ops *ops)
{
    *stream = (struct ut_stream){
        .ops = ops,
        .worker = worker,
        .fd = fd,
        .events = UV_READABLE | UV_DISCONNECT,
        .flush = {.run = on_flush},
        .linger = {.fire = on_linger},
    };
    int error = uv_poll_init(&worker->uv, &stream->poll, fd);
    if (error != 0)
        return error;
    stream->poll.data = stream;
    UT_CHECK(uv_poll_start(&stream->poll, stream->events, on_event) == 0);
    return 0;
}

void ut_stream_flush_later(struct ut_stream *stream)
{
    if (!stream->ended)
        ut_worker_defer(stream->worker, &stream->flush);
}

void ut_stream_end_when_flushed(struct ut_stream *stream)
{
    end_later(stream, 0);
}

void ut_stream_finish(struct ut_stream *stream)
{
    if (stream->ended || stream->end_when_flushed || stream->finishing)
        return;
    stream->finishing = true;
    set_linger(stream);
    ut_stream_flush_later(stream);
}

void ut_stream_pause(struct ut_stream *stream, bool paused)
{
    stream->read_paused = paused;
    watch(stream);
}
