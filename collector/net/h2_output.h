/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an HTTP/2 session has to send, as a list of runs: small ones (frame headers, HEADERS,
 * SETTINGS, …) copied, payloads by reference. Shared by server and client.
 *
 * The session pumps frames in only while there is room, so the output is bounded; nghttp2 keeps the
 * rest. Memory: one block of the worker's pool, only while something is pending, so an idle
 * connection has none.
 */
#ifndef UT_NET_H2_OUTPUT_H
#define UT_NET_H2_OUTPUT_H

#include <stdbool.h>
#include <sys/uio.h>

#include "base/pool.h"
#include "base/slice.h"

struct ut_h2_output_block;
struct nghttp2_session;

struct ut_h2_output {
    struct ut_pool *pool;
    struct ut_h2_output_block *block; /* NULL while nothing is pending */
    /* Bytes ever pushed and ever consumed. Referenced bytes whose end was pushed as byte n are free
     * again when gone ≥ n. */
    uint64_t pushed, gone;
    bool session_pinned; /* the newest run lies in nghttp2's own buffer: no more frames till it went
                          */
};

void ut_h2_output_init(struct ut_h2_output *output, struct ut_pool *pool);
void ut_h2_output_done(struct ut_h2_output *output);

/* Whether `copies` more bytes in all and `runs` more runs fit now. */
bool ut_h2_output_has_room(const struct ut_h2_output *output, size_t copies, size_t runs);
/* Appends a copy of the bytes. 0; -ENOBUFS where there is no room now; -ENOMEM. */
int ut_h2_output_copy(struct ut_h2_output *output, ut_slice bytes) UT_MUST_USE;
/* Appends a run that points at the bytes, which stay as they are until they have gone. As above. */
int ut_h2_output_refer(struct ut_h2_output *output, ut_slice bytes) UT_MUST_USE;

/* Takes frames out of the session (nghttp2_session_mem_send) while there is room. The session's
 * send_data callback pushes DATA frames with the functions above, and answers
 * NGHTTP2_ERR_WOULDBLOCK where has_room says no. 0; -ENOMEM; -EPROTO for an error of nghttp2. */
int ut_h2_output_pump(struct ut_h2_output *output, struct nghttp2_session *session) UT_MUST_USE;

/* For ut_stream_ops: the runs that are next, and their going. */
size_t ut_h2_output_peek(const struct ut_h2_output *output, struct iovec *runs, size_t room);
void ut_h2_output_consume(struct ut_h2_output *output, size_t bytes);

static inline size_t ut_h2_output_bytes(const struct ut_h2_output *output)
{
    return (size_t)(output->pushed - output->gone);
}

#endif
