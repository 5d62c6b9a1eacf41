/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an HTTP/2 session has to send, as a ring of runs: small ones (frame headers, HEADERS,
 * SETTINGS, …) copied into a buffer of its own, payloads by reference. Shared by server and client.
 *
 * The session pumps frames in (from nghttp2's mem_send and send_data callbacks) only while there is
 * room, so the output is bounded; nghttp2 keeps the rest.
 */
#ifndef UT_NET_H2_OUTPUT_H
#define UT_NET_H2_OUTPUT_H

#include <stdbool.h>
#include <sys/uio.h>

#include "base/slice.h"

#define UT_H2_OUTPUT_RUNS 512   /* runs */
#define UT_H2_OUTPUT_SMALL 16384 /* bytes of copied small runs */

struct ut_h2_output {
    struct iovec runs[UT_H2_OUTPUT_RUNS];
    size_t first, count;
    uint8_t small[UT_H2_OUTPUT_SMALL];
    size_t small_first, small_count; /* a ring of bytes */
    size_t bytes;                    /* pending */
};

#endif
