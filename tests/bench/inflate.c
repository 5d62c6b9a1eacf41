/* SPDX-License-Identifier: Apache-2.0 */
/* The decompression library alone: inflates the load's compressed request again and again, in one
 * call into memory that is warm, and prints the CPU time as the load does. usage: inflate CODING
 * REQUESTS */
#include <isa-l/igzip_lib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zstd.h>

#include "body.h"

static struct inflate_state state;
static ZSTD_DCtx *context;

static size_t inflate_gzip(uint8_t *out, size_t room, uint8_t *in, size_t size)
{
    isal_inflate_init(&state);
    state.crc_flag = ISAL_GZIP;
    state.next_in = in;
    state.avail_in = (uint32_t)size;
    state.next_out = out;
    state.avail_out = (uint32_t)room;
    return isal_inflate_stateless(&state) == ISAL_DECOMP_OK ? state.total_out : 0;
}

static size_t inflate_zstd(uint8_t *out, size_t room, uint8_t *in, size_t size)
{
    return ZSTD_decompressDCtx(context, out, room, in, size);
}

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv)
{
    const struct body_options options = {.spans = 512, .attributes = 8, .kind = 2};
    if (argc != 3)
        return 2;
    size_t size, packed_size;
    bool zstd = strcmp(argv[1], "zstd") == 0;
    unsigned long requests = strtoul(argv[2], NULL, 10);
    uint8_t *plain = body_new(&options, &size);
    packed_size = size;
    uint8_t *packed = body_compress(plain, argv[1], &packed_size);
    uint8_t *out = calloc(1, size);
    context = ZSTD_createDCtx();
    if (out == NULL || context == NULL)
        return 1;
    uint64_t begun = 0;
    for (unsigned long i = 0; i < requests + requests / 10; i++) {
        if (i == requests / 10)
            begun = cpu_ns();
        size_t got = (zstd ? inflate_zstd : inflate_gzip)(out, size, packed + 5, packed_size - 5);
        if (got != size - 5)
            return 1;
    }
    printf("{\"requests\": %lu, \"spans\": %lu, \"cpu_ns\": %llu}\n", requests,
           requests * options.spans, (unsigned long long)(cpu_ns() - begun));
    ZSTD_freeDCtx(context);
    free(packed);
    free(out);
    return 0;
}
