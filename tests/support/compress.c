/* SPDX-License-Identifier: Apache-2.0 */
#include "compress.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum { WINDOW_RAW = -15, WINDOW_ZLIB = 15, WINDOW_GZIP = 31 };

struct output {
    uint8_t *bytes;
    size_t size, room;
};

static void require(int condition)
{
    if (!condition)
        abort();
}

static uint8_t *room_for(struct output *output, size_t size)
{
    if (size > output->room - output->size) {
        output->room = output->size + size + output->room;
        output->bytes = realloc(output->bytes, output->room);
        require(output->bytes != NULL);
    }
    return output->bytes + output->size;
}

static void put(struct output *output, const void *bytes, size_t size)
{
    memcpy(room_for(output, size), bytes, size);
    output->size += size;
}

/* Zeros where `data` is NULL. */
static void deflate_into(struct output *output, int window, const uint8_t *data, size_t size,
                         gz_header *header)
{
    static const uint8_t zeros[1 << 16];
    z_stream stream = {0};
    require(deflateInit2(&stream, 6, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    if (header != NULL)
        require(deflateSetHeader(&stream, header) == Z_OK);
    int result = Z_OK;
    do {
        if (stream.avail_in == 0) {
            size_t piece = size < sizeof(zeros) ? size : sizeof(zeros);
            stream.next_in = (Bytef *)(uintptr_t)(data != NULL ? data : zeros);
            stream.avail_in = (uInt)piece;
            size -= piece;
            data = data != NULL ? data + piece : NULL;
        }
        stream.next_out = room_for(output, 4096);
        stream.avail_out = 4096;
        result = deflate(&stream, size == 0 ? Z_FINISH : Z_NO_FLUSH);
        output->size += 4096 - stream.avail_out;
    } while (result == Z_OK || result == Z_BUF_ERROR);
    require(result == Z_STREAM_END);
    require(deflateEnd(&stream) == Z_OK);
}

static void zstd_into(struct output *output, const uint8_t *data, size_t size, int stream)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    require(context != NULL);
    require(!ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, 3)));
    if (stream)
        require(!ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)));
    size_t left = 1;
    ZSTD_inBuffer in = {data, size, 0};
    if (stream) { /* so that the size is not known when the header is written */
        ZSTD_inBuffer first = {data, size / 2, 0};
        ZSTD_outBuffer out = {room_for(output, ZSTD_compressBound(size) + 64), output->room, 0};
        out.size = output->room - output->size;
        require(!ZSTD_isError(ZSTD_compressStream2(context, &out, &first, ZSTD_e_flush)));
        require(first.pos == first.size);
        output->size += out.pos;
        in.pos = first.size;
    }
    while (left != 0) {
        ZSTD_outBuffer out = {room_for(output, ZSTD_compressBound(size) + 64), 0, 0};
        out.size = output->room - output->size;
        left = ZSTD_compressStream2(context, &out, &in, ZSTD_e_end);
        require(!ZSTD_isError(left));
        output->size += out.pos;
    }
    ZSTD_freeCCtx(context);
}

static void gzip_with_header(struct output *output, const uint8_t *data, size_t size)
{
    static uint8_t extra[300] = {1, 2, 3}, name[] = "spans", comment[] = "of a test";
    gz_header header = {
        .text = 1,
        .time = 12345,
        .extra = extra,
        .extra_len = sizeof(extra),
        .name = name,
        .comment = comment,
        .hcrc = 1,
    };
    deflate_into(output, WINDOW_GZIP, data, size, &header);
}

uint8_t *compress_bytes(enum compress_form form, const void *data, size_t size, size_t *ret_size)
{
    static const uint8_t skippable[] = {0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c'};
    struct output output = {0};
    const uint8_t *bytes = data;
    size_t half = size / 2;
    switch (form) {
    case COMPRESS_GZIP:
        deflate_into(&output, WINDOW_GZIP, bytes, size, NULL);
        break;
    case COMPRESS_GZIP_HEADER:
        gzip_with_header(&output, bytes, size);
        break;
    case COMPRESS_GZIP_TWO:
        deflate_into(&output, WINDOW_GZIP, bytes, half, NULL);
        deflate_into(&output, WINDOW_GZIP, bytes + half, size - half, NULL);
        break;
    case COMPRESS_ZLIB:
        deflate_into(&output, WINDOW_ZLIB, bytes, size, NULL);
        break;
    case COMPRESS_RAW:
        deflate_into(&output, WINDOW_RAW, bytes, size, NULL);
        break;
    case COMPRESS_ZSTD:
        zstd_into(&output, bytes, size, 0);
        break;
    case COMPRESS_ZSTD_STREAM:
        zstd_into(&output, bytes, size, 1);
        break;
    case COMPRESS_ZSTD_TWO:
        zstd_into(&output, bytes, half, 0);
        put(&output, skippable, sizeof(skippable));
        zstd_into(&output, bytes + half, size - half, 1);
        break;
    case COMPRESS_FORMS:
        abort();
    }
    *ret_size = output.size;
    return output.bytes;
}

const char *compress_coding(enum compress_form form)
{
    if (form <= COMPRESS_GZIP_TWO)
        return "gzip";
    return form <= COMPRESS_RAW ? "deflate" : "zstd";
}

const char *compress_name(enum compress_form form)
{
    static const char *const names[COMPRESS_FORMS] = {
        "gzip", "gzip with a long header", "gzip in two members", "zlib", "bare deflate",
        "zstd", "zstd in a stream",        "zstd in two frames",
    };
    return names[form];
}

uint8_t *compress_bomb(enum compress_form form, size_t size, size_t *ret_size)
{
    /* Of zstd by hand: a block of 128 KiB of one byte takes four. */
    static const uint8_t magic[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58};
    static const uint8_t block[] = {0x02, 0x00, 0x10, 0}, last[] = {0x01, 0, 0};
    struct output output = {0};
    if (form < COMPRESS_ZSTD) {
        static const int windows[] = {WINDOW_GZIP, WINDOW_GZIP, WINDOW_GZIP, WINDOW_ZLIB,
                                      WINDOW_RAW};
        deflate_into(&output, windows[form], NULL, size, NULL);
    } else {
        put(&output, magic, sizeof(magic));
        for (size_t at = 0; at < size; at += 128 << 10)
            put(&output, block, sizeof(block));
        put(&output, last, sizeof(last));
    }
    *ret_size = output.size;
    return output.bytes;
}
