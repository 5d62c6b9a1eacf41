/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gzip and deflate: the wrappers around bare deflate streams, byte by byte, with their checksums.
 *
 * States of gzip: FIXED → (EXTRA_SIZE → EXTRA) → (NAME) → (COMMENT) → (HEADER_CRC) → STREAM →
 * TRAILER → FIXED: whole, unless another member begins. Of deflate: ZLIB → STREAM → (TRAILER) →
 * ENDED.
 */
#include "net/deflate_decoder.h"
#include "net/inflate_kind.h"

enum state {
    FIXED,
    EXTRA_SIZE,
    EXTRA,
    NAME,
    COMMENT,
    HEADER_CRC,
    ZLIB,
    STREAM,
    TRAILER,
    ENDED,
};

/* Of gzip's header, RFC 1952 2.3.1. */
enum {
    FIXED_BYTES = 10,
    FLAG_CRC = 2,
    FLAG_EXTRA = 4,
    FLAG_NAME = 8,
    FLAG_COMMENT = 16,
    FLAGS_RESERVED = 0xe0,
    METHOD_DEFLATE = 8,
    ZLIB_BYTES = 2,
    ZLIB_DICTIONARY = 0x20,
};

struct deflate {
    struct ut_inflate base;
    enum state state;
    uint8_t gathered[FIXED_BYTES]; /* of a field that has to be whole */
    uint8_t gathered_size;
    uint8_t flags;       /* of gzip's header */
    bool bare;           /* deflate without a wrapper */
    bool any;            /* a member has been there */
    bool pending;        /* the decoder has more to write */
    uint32_t extra_left; /* bytes */
    uint32_t header_crc;
    uint32_t sum;      /* of the stream's bytes: CRC-32, or Adler-32 */
    uint32_t produced; /* of the member, modulo 2^32 */
};

enum { DECODER_AT = (sizeof(struct deflate) + 15) / 16 * 16 };

static struct deflate *deflate_of(struct ut_inflate *inflate)
{
    return UT_CONTAINER_OF(inflate, struct deflate, base);
}

static struct ut_deflate_decoder *decoder_of(struct deflate *deflate)
{
    return (struct ut_deflate_decoder *)(void *)((uint8_t *)deflate + DECODER_AT);
}

static size_t bytes(void)
{
    return DECODER_AT + ut_deflate_decoder_bytes();
}

static bool init(struct ut_inflate *inflate)
{
    return ut_deflate_decoder_init(decoder_of(deflate_of(inflate)));
}

static void done(struct ut_inflate *inflate)
{
    ut_deflate_decoder_done(decoder_of(deflate_of(inflate)));
}

static void begin(struct ut_inflate *inflate, enum ut_coding coding)
{
    struct deflate *deflate = deflate_of(inflate);
    *deflate = (struct deflate){.base = deflate->base};
    deflate->state = coding == UT_CODING_GZIP ? FIXED : ZLIB;
}

/* ---- headers -------------------------------------------------------------------------------- */

/* true: `size` bytes are gathered. */
static bool gather(struct deflate *deflate, ut_slice *input, size_t size)
{
    size_t missing = size - deflate->gathered_size;
    size_t taken = input->size < missing ? input->size : missing;
    if (taken > 0)
        memcpy(deflate->gathered + deflate->gathered_size, input->data, taken);
    deflate->gathered_size = (uint8_t)(deflate->gathered_size + taken);
    *input = ut_slice_of(input->data + taken, input->size - taken);
    return taken == missing;
}

static void begin_stream(struct deflate *deflate, uint32_t sum)
{
    deflate->state = STREAM;
    deflate->gathered_size = 0;
    deflate->sum = sum;
    deflate->produced = 0;
    ut_deflate_decoder_begin(decoder_of(deflate));
}

/* To the next part of gzip's header that this member has, behind `state`. */
static void go_on(struct deflate *deflate, enum state state)
{
    deflate->gathered_size = 0;
    if (state < EXTRA_SIZE && (deflate->flags & FLAG_EXTRA) != 0)
        deflate->state = EXTRA_SIZE;
    else if (state < NAME && (deflate->flags & FLAG_NAME) != 0)
        deflate->state = NAME;
    else if (state < COMMENT && (deflate->flags & FLAG_COMMENT) != 0)
        deflate->state = COMMENT;
    else if (state < HEADER_CRC && (deflate->flags & FLAG_CRC) != 0)
        deflate->state = HEADER_CRC;
    else
        begin_stream(deflate, 0);
}

static enum ut_inflate_result take_fixed(struct deflate *deflate, ut_slice *input)
{
    if (!gather(deflate, input, FIXED_BYTES))
        return UT_INFLATE_MORE;
    const uint8_t *header = deflate->gathered;
    if (header[0] != 0x1f || header[1] != 0x8b || header[2] != METHOD_DEFLATE ||
        (header[3] & FLAGS_RESERVED) != 0)
        return UT_INFLATE_CORRUPT;
    deflate->flags = header[3];
    deflate->header_crc = ut_deflate_crc32(0, ut_slice_of(header, FIXED_BYTES));
    go_on(deflate, FIXED);
    return UT_INFLATE_MORE;
}

static void take_extra_size(struct deflate *deflate, ut_slice *input)
{
    if (!gather(deflate, input, 2))
        return;
    deflate->header_crc = ut_deflate_crc32(deflate->header_crc, ut_slice_of(deflate->gathered, 2));
    deflate->extra_left = deflate->gathered[0] | (uint32_t)deflate->gathered[1] << 8;
    deflate->state = EXTRA;
}

static void skip(struct deflate *deflate, ut_slice *input, size_t size)
{
    deflate->header_crc = ut_deflate_crc32(deflate->header_crc, ut_slice_of(input->data, size));
    *input = ut_slice_of(input->data + size, input->size - size);
}

static void take_extra(struct deflate *deflate, ut_slice *input)
{
    size_t size = input->size < deflate->extra_left ? input->size : deflate->extra_left;
    skip(deflate, input, size);
    deflate->extra_left -= (uint32_t)size;
    if (deflate->extra_left == 0)
        go_on(deflate, EXTRA);
}

static void take_text(struct deflate *deflate, ut_slice *input)
{
    const uint8_t *end = memchr(input->data, 0, input->size);
    skip(deflate, input, end != NULL ? (size_t)(end + 1 - input->data) : input->size);
    if (end != NULL)
        go_on(deflate, deflate->state);
}

static enum ut_inflate_result take_header_crc(struct deflate *deflate, ut_slice *input)
{
    if (!gather(deflate, input, 2))
        return UT_INFLATE_MORE;
    uint32_t crc = deflate->gathered[0] | (uint32_t)deflate->gathered[1] << 8;
    if (crc != (deflate->header_crc & 0xffff))
        return UT_INFLATE_CORRUPT;
    begin_stream(deflate, 0);
    return UT_INFLATE_MORE;
}

/* RFC 1950 2.2, or a bare stream whose first bytes do not look like it. */
static enum ut_inflate_result take_zlib(struct deflate *deflate, ut_slice *input)
{
    if (!gather(deflate, input, ZLIB_BYTES))
        return UT_INFLATE_MORE;
    const uint8_t *header = deflate->gathered;
    bool is_zlib = (header[0] & 15) == METHOD_DEFLATE && header[0] >> 4 <= 7 &&
                   (header[0] << 8 | header[1]) % 31 == 0;
    if (is_zlib && (header[1] & ZLIB_DICTIONARY) != 0)
        return UT_INFLATE_CORRUPT;
    begin_stream(deflate, 1);
    deflate->bare = !is_zlib;
    deflate->gathered_size = is_zlib ? 0 : ZLIB_BYTES; /* the stream's own first bytes */
    return UT_INFLATE_MORE;
}

/* ---- the stream ----------------------------------------------------------------------------- */

static void sum_up(struct deflate *deflate, ut_slice written)
{
    deflate->produced += (uint32_t)written.size;
    if (deflate->base.coding == UT_CODING_GZIP)
        deflate->sum = ut_deflate_crc32(deflate->sum, written);
    else if (!deflate->bare)
        deflate->sum = ut_deflate_adler32(deflate->sum, written);
}

static enum ut_inflate_result decode(struct deflate *deflate, ut_slice *input,
                                     struct ut_inflate_body *body)
{
    body->want = 1;
    deflate->pending = true;
    if (body->size == body->room)
        return UT_INFLATE_ROOM;
    uint8_t *out = body->data + body->size;
    size_t room = body->room - body->size;
    enum ut_deflate_result result = ut_deflate_decoder_step(decoder_of(deflate), input, out, &room);
    sum_up(deflate, ut_slice_of(out, body->room - body->size - room));
    body->size = body->room - room;
    deflate->pending = result == UT_DEFLATE_ROOM;
    if (result == UT_DEFLATE_CORRUPT)
        return UT_INFLATE_CORRUPT;
    if (result == UT_DEFLATE_END)
        deflate->state = deflate->bare ? ENDED : TRAILER;
    return deflate->pending ? UT_INFLATE_ROOM : UT_INFLATE_MORE;
}

static enum ut_inflate_result take_stream(struct deflate *deflate, ut_slice *input,
                                          struct ut_inflate_body *body)
{
    if (deflate->gathered_size == 0)
        return decode(deflate, input, body);
    ut_slice first = ut_slice_of(deflate->gathered, deflate->gathered_size);
    enum ut_inflate_result result = decode(deflate, &first, body);
    if (result == UT_INFLATE_CORRUPT || (deflate->state == ENDED && first.size > 0))
        return UT_INFLATE_CORRUPT;
    memmove(deflate->gathered, first.data, first.size);
    deflate->gathered_size = (uint8_t)first.size;
    return result;
}

static uint32_t little(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static enum ut_inflate_result take_trailer(struct deflate *deflate, ut_slice *input)
{
    bool gzip = deflate->base.coding == UT_CODING_GZIP;
    if (!gather(deflate, input, gzip ? 8 : 4))
        return UT_INFLATE_MORE;
    const uint8_t *trailer = deflate->gathered;
    uint32_t sum = gzip ? little(trailer) : __builtin_bswap32(little(trailer));
    if (sum != deflate->sum || (gzip && little(trailer + 4) != deflate->produced))
        return UT_INFLATE_CORRUPT;
    deflate->gathered_size = 0;
    deflate->any = true;
    deflate->state = gzip ? FIXED : ENDED;
    return UT_INFLATE_MORE;
}

/* ---- steps ---------------------------------------------------------------------------------- */

static enum ut_inflate_result take(struct deflate *deflate, ut_slice *input,
                                   struct ut_inflate_body *body)
{
    switch (deflate->state) {
    case FIXED:
        return take_fixed(deflate, input);
    case EXTRA_SIZE:
        take_extra_size(deflate, input);
        return UT_INFLATE_MORE;
    case EXTRA:
        take_extra(deflate, input);
        return UT_INFLATE_MORE;
    case NAME:
    case COMMENT:
        take_text(deflate, input);
        return UT_INFLATE_MORE;
    case HEADER_CRC:
        return take_header_crc(deflate, input);
    case ZLIB:
        return take_zlib(deflate, input);
    case STREAM:
        return take_stream(deflate, input, body);
    case TRAILER:
        return take_trailer(deflate, input);
    case ENDED:
        break;
    }
    return UT_INFLATE_CORRUPT;
}

/* Without input there may be something to write, or the first bytes of a bare stream to decode. */
static bool has_more(const struct deflate *deflate, ut_slice input)
{
    return input.size > 0 || deflate->pending ||
           (deflate->state == STREAM && deflate->gathered_size > 0);
}

static enum ut_inflate_result step(struct ut_inflate *inflate, ut_slice *input,
                                   struct ut_inflate_body *body)
{
    struct deflate *deflate = deflate_of(inflate);
    enum ut_inflate_result result = UT_INFLATE_MORE;
    while (result == UT_INFLATE_MORE && has_more(deflate, *input))
        result = take(deflate, input, body);
    return result;
}

static bool is_whole(const struct ut_inflate *inflate)
{
    const struct deflate *deflate = UT_CONTAINER_OF(inflate, struct deflate, base);
    return deflate->state == ENDED ||
           (deflate->state == FIXED && deflate->any && deflate->gathered_size == 0);
}

const struct ut_inflate_kind ut_inflate_deflate = {
    .bytes = bytes,
    .init = init,
    .done = done,
    .begin = begin,
    .step = step,
    .is_whole = is_whole,
};
