/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the peer of an HTTP/2 server may do that brings no request forward: a token bucket a kind.
 * It is full at first, gains tokens with each answer that has gone out whole and slowly with time,
 * and never holds more than at first. Honest clients cancel, ping and open windows in proportion to
 * what they ask; who goes on beyond that is cut off. Pure: the caller tells the time.
 *
 *   kind           what takes a token                        at once  an answer  a second
 *   cancels        RST_STREAM: rapid reset                       100          1         1
 *   resets         RST_STREAM that we are made to send:          100          1         1
 *                  window overflow, bad header blocks, streams
 *                  above the limit (MadeYouReset)
 *   early_streams  streams above the limit, by a client that    1000          0         0
 *                  has not acknowledged the limit yet
 *   settings       SETTINGS and its ACK                          100          1         1
 *   pings          PING and its ACK                              100          1         1 *
 *   windows        WINDOW_UPDATE: dribble                       1000          8         8 **
 *   empty_frames   DATA that brings no byte; DATA of up to 16    100          1         1
 *                  bytes and HEADERS of streams that are over
 *   other_frames   PRIORITY, GOAWAY, PUSH_PROMISE, frames that   100          1         1
 *                  are known nowhere
 *
 *   *  one in `ping_interval_ns`, if `ping_idle` or a request is open
 *   ** gRPC's C core opens both windows again with each small answer
 *
 * Limits without a bucket: `headers` (a header block far above its limit), `continuations`
 * (CONTINUATION frames of one block; nghttp2 counts them), `unread` (frames that wait because the
 * peer does not read), `protocol` (HTTP/2 as it must not be).
 */
#ifndef UT_NET_H2_GUARD_H
#define UT_NET_H2_GUARD_H

#include <stdbool.h>
#include <stdint.h>

enum ut_h2_hit {
    UT_H2_HIT_CANCELS,
    UT_H2_HIT_RESETS,
    UT_H2_HIT_EARLY_STREAMS,
    UT_H2_HIT_SETTINGS,
    UT_H2_HIT_PINGS,
    UT_H2_HIT_WINDOWS,
    UT_H2_HIT_EMPTY_FRAMES,
    UT_H2_HIT_OTHER_FRAMES,
    UT_H2_HIT_HEADERS, /* no bucket from here on */
    UT_H2_HIT_CONTINUATIONS,
    UT_H2_HIT_UNREAD,
    UT_H2_HIT_PROTOCOL,
    UT_H2_HITS,
    UT_H2_HIT_NONE = UT_H2_HITS,
};

#define UT_H2_BUCKETS ((int)UT_H2_HIT_HEADERS)

struct ut_h2_guard {
    uint16_t left[UT_H2_BUCKETS];
    uint64_t filled_ns, ping_filled_ns; /* monotonic */
    uint64_t ping_interval_ns;
    bool ping_idle; /* PINGs gain tokens without an open request too */
};

void ut_h2_guard_init(struct ut_h2_guard *guard, uint64_t ping_interval_ns, bool ping_idle);
/* Takes a token; false: there is none, and the connection is to end. `open`: a request is. */
bool ut_h2_guard_take(struct ut_h2_guard *guard, enum ut_h2_hit kind, uint64_t now_ns, bool open);
/* An answer has gone out whole. */
void ut_h2_guard_credit(struct ut_h2_guard *guard);

/* The kind's name, for counters: a constant. */
const char *ut_h2_hit_name(enum ut_h2_hit hit);

#endif
