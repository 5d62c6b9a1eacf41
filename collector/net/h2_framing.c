/* SPDX-License-Identifier: Apache-2.0 */
#include "net/h2_framing.h"

#include <nghttp2/nghttp2.h>
#include <string.h>

void ut_h2_framing_init(struct ut_h2_framing *framing)
{
    *framing = (struct ut_h2_framing){.left = UT_H2_PREFACE};
}

static void end_payload(struct ut_h2_framing *framing)
{
    if (framing->ends_block)
        framing->in_block = framing->ends_block = false;
}

static struct ut_h2_frame frame_of(const uint8_t head[UT_H2_FRAME_HEAD])
{
    return (struct ut_h2_frame){
        .size = (uint32_t)head[0] << 16 | (uint32_t)head[1] << 8 | head[2],
        .type = head[3],
        .flags = head[4],
        .stream = (int32_t)((uint32_t)(head[5] & 0x7f) << 24 | (uint32_t)head[6] << 16 |
                            (uint32_t)head[7] << 8 | head[8]),
    };
}

static void begin_payload(struct ut_h2_framing *framing, const struct ut_h2_frame *frame)
{
    bool of_block = frame->type == NGHTTP2_HEADERS || frame->type == NGHTTP2_CONTINUATION;
    framing->in_block = of_block;
    framing->ends_block = of_block && (frame->flags & NGHTTP2_FLAG_END_HEADERS) != 0;
    framing->left = frame->size;
    framing->head_size = 0;
    if (framing->left == 0)
        end_payload(framing);
}

size_t ut_h2_framing_next(struct ut_h2_framing *framing, ut_slice bytes, struct ut_h2_frame *ret,
                          bool *ret_found)
{
    *ret_found = false;
    size_t at = framing->left < bytes.size ? framing->left : bytes.size;
    framing->left -= (uint32_t)at;
    if (at > 0 && framing->left == 0)
        end_payload(framing);
    size_t room = (size_t)UT_H2_FRAME_HEAD - framing->head_size;
    size_t size = bytes.size - at < room ? bytes.size - at : room;
    if (size == 0)
        return at;
    memcpy(framing->head + framing->head_size, bytes.data + at, size);
    framing->head_size = (uint8_t)(framing->head_size + size);
    if (framing->head_size == UT_H2_FRAME_HEAD) {
        *ret = frame_of(framing->head);
        *ret_found = true;
        begin_payload(framing, ret);
    }
    return at + size;
}
