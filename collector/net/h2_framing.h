/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames of an HTTP/2 client as they come, by their headers alone (RFC 9113 4.1), behind its
 * preface: nghttp2 does not tell of frames that it leaves aside, nor of a header block that stands
 * still. Bytes are looked at before nghttp2 gets them. Pure.
 */
#ifndef UT_NET_H2_FRAMING_H
#define UT_NET_H2_FRAMING_H

#include <stdbool.h>

#include "base/slice.h"

enum { UT_H2_FRAME_HEAD = 9, UT_H2_PREFACE = 24 }; /* bytes */

struct ut_h2_frame {
    uint32_t size; /* of the payload */
    uint8_t type, flags;
    int32_t stream;
};

struct ut_h2_framing {
    uint32_t left; /* of the frame's payload, or of the preface */
    uint8_t head_size;
    uint8_t head[UT_H2_FRAME_HEAD]; /* the newest one, until the next call */
    bool in_block;                  /* a header block has begun and is not complete */
    bool ends_block;
};

void ut_h2_framing_init(struct ut_h2_framing *framing);
/* Looks at `bytes` up to the end of the next frame header; returns how many of them that are.
 * *ret_found: there is one, in *ret, and its payload begins behind them; else they are all used. */
size_t ut_h2_framing_next(struct ut_h2_framing *framing, ut_slice bytes, struct ut_h2_frame *ret,
                          bool *ret_found);

#endif
