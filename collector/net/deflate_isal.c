/* SPDX-License-Identifier: Apache-2.0 */
#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>

#include "net/deflate_decoder.h"

enum { PIECE = 1 << 30 }; /* bytes that ISA-L is given at once; its counts have 32 bits */

struct ut_deflate_decoder {
    struct inflate_state state;
};

size_t ut_deflate_decoder_bytes(void)
{
    return sizeof(struct ut_deflate_decoder);
}

bool ut_deflate_decoder_init(struct ut_deflate_decoder *decoder)
{
    isal_inflate_init(&decoder->state);
    return true;
}

void ut_deflate_decoder_done(struct ut_deflate_decoder *decoder)
{
    (void)decoder;
}

void ut_deflate_decoder_begin(struct ut_deflate_decoder *decoder)
{
    isal_inflate_reset(&decoder->state);
}

static uint32_t clip(size_t bytes)
{
    return bytes < PIECE ? (uint32_t)bytes : PIECE;
}

/* Whole bytes that are loaded into the state and not decoded go back to the input: at most `taken`,
 * as many as came from there. Returns how many. A header that is incomplete has its bytes elsewhere
 * in the state, behind those loaded. */
static size_t unload(struct inflate_state *state, size_t taken)
{
    if (state->read_in_length < 8 || state->block_state == ISAL_BLOCK_HDR)
        return 0;
    size_t loaded = (size_t)state->read_in_length / 8;
    loaded = loaded < taken ? loaded : taken;
    state->read_in_length -= (int32_t)loaded * 8;
    state->read_in &=
        state->read_in_length < 64 ? ((uint64_t)1 << state->read_in_length) - 1 : UINT64_MAX;
    return loaded;
}

/* The state's pointers are valid during a step only: what it needs of earlier bytes it has copied.
 */
enum ut_deflate_result ut_deflate_decoder_step(struct ut_deflate_decoder *decoder, ut_slice *input,
                                               uint8_t *out, size_t *room)
{
    struct inflate_state *state = &decoder->state;
    uint32_t in_before = clip(input->size), out_before = clip(*room);
    state->next_in = (uint8_t *)(uintptr_t)input->data;
    state->avail_in = in_before;
    state->next_out = out;
    state->avail_out = out_before;
    int result = isal_inflate(state);
    if (result != ISAL_DECOMP_OK || state->avail_in > in_before || state->avail_out > out_before)
        return UT_DEFLATE_CORRUPT;
    bool ended = state->block_state == ISAL_BLOCK_FINISH, full = state->avail_out == 0;
    size_t taken = in_before - state->avail_in;
    /* What follows the stream may be loaded before its end is known. */
    if (ended || full)
        taken -= unload(state, taken);
    *input = ut_slice_of(input->data + taken, input->size - taken);
    *room -= out_before - state->avail_out;
    if (ended)
        return state->read_in_length < 8 ? UT_DEFLATE_END : UT_DEFLATE_CORRUPT;
    if (full)
        return UT_DEFLATE_ROOM;
    return state->avail_in == 0 ? UT_DEFLATE_MORE : UT_DEFLATE_CORRUPT;
}

uint32_t ut_deflate_crc32(uint32_t crc, ut_slice bytes)
{
    return crc32_gzip_refl(crc, bytes.data, bytes.size);
}

uint32_t ut_deflate_adler32(uint32_t adler, ut_slice bytes)
{
    return isal_adler32(adler, bytes.data, bytes.size);
}
