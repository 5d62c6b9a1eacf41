/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream socket on the worker's loop: reads into the worker's one read buffer, writes what its
 * protocol has pending, without copies and without memory of its own. The protocol behind it is
 * sans-I/O: it takes bytes in and offers runs of bytes to send.
 *
 * Writing is put off to the end of the loop's turn, so that all answers and requests of one turn
 * leave in one writev. When the socket is full the stream waits for it; `pending` is asked again.
 *
 * States: open → closing → closed. `on_end` comes once, for a peer that closed, an error, a
 * deadline or a protocol that asked for it; the handle's memory is the owner's until `on_closed`.
 */
#ifndef UT_NET_STREAM_H
#define UT_NET_STREAM_H

#include <sys/uio.h>

#include "base/slice.h"
#include "loop/worker.h"

#define UT_STREAM_RUNS_MAX 1016

struct ut_stream;

struct ut_stream_ops {
    /* Bytes from the peer, valid during the call. A negative errno ends the stream once what is
     * pending has been written (as far as the socket takes it). */
    int (*on_bytes)(struct ut_stream *stream, ut_slice bytes);
    /* Offers up to `room` runs that are to be sent next; the same ones until they are consumed.
     * Returns their number; a negative errno ends the stream. */
    int (*pending)(struct ut_stream *stream, struct iovec *runs, size_t room);
    /* `bytes` of what was offered have gone. */
    void (*consumed)(struct ut_stream *stream, size_t bytes);
    /* The stream has ended, `error` 0 for an orderly end by the peer or by ut_stream_close, else a
     * negative errno. No other callback but on_closed comes after it. */
    void (*on_end)(struct ut_stream *stream, int error);
    /* The handle is closed; the owner may free its memory. */
    void (*on_closed)(struct ut_stream *stream);
};

struct ut_stream {
    const struct ut_stream_ops *ops;
    struct ut_worker *worker;
    uv_poll_t poll;
    int fd;
    int events; /* what the poll handle waits for */
    struct ut_deferred flush;
    struct ut_timer linger; /* bounds the wait of a stream that ends when flushed */
    bool write_blocked, read_paused, ended;
    bool end_when_flushed;
    bool finishing, half_closed; /* ut_stream_finish; its sending half is closed */
    int end_error;
    uint64_t bytes_in, bytes_out;
};

/* Takes over the connected, non-blocking socket `fd` and starts reading. On failure (negative
 * errno) the descriptor is still the caller's. */
int ut_stream_open(struct ut_stream *stream, struct ut_worker *worker, int fd,
                   const struct ut_stream_ops *ops) UT_MUST_USE;
/* There is something pending: writes at the end of the loop's turn. */
void ut_stream_flush_later(struct ut_stream *stream);
/* Ends the stream after what is pending has been written, after one second at the latest. */
void ut_stream_end_when_flushed(struct ut_stream *stream);
/* Like it, but reads on until the peer ends too, for one second at most: a peer that is still
 * sending would lose the last answer to the reset that unread bytes cause. Nothing more may become
 * pending. */
void ut_stream_finish(struct ut_stream *stream);
/* Ends the stream now: on_end (unless it came already), then on_closed. */
void ut_stream_close(struct ut_stream *stream, int error);
/* Back-pressure: stops and resumes reading. */
void ut_stream_pause(struct ut_stream *stream, bool paused);

#endif
