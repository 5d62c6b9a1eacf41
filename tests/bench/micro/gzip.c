/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an exporter's gzip costs beside the library alone on the same bytes: the runs of a splice
 * into a body of the pool, as exporters make it, and the whole request in one call into memory that
 * is warm. The request is the load's; as it came, and with an edit on every span, which makes three
 * runs of each. Prints one figure a line, `name value`: the library's MB/s, and for each of the two
 * how many times its time is taken, the median of pairs in turn.
 *
 * usage: bench_gzip
 */
#include <isa-l/igzip_lib.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "body.h"
#include "model/attributes.h"
#include "net/compress.h"
#include "otlp/encode.h"
#include "otlp/splice.h"
#include "otlp_batch.h"

enum { PAIRS = 21, ROUNDS = 100, LEVEL = 1 };

static struct ut_pool pool;
static struct ut_compressor *compressor;
static struct isal_zstream stream;
static uint8_t level_buffer[ISAL_DEF_LVL1_DEFAULT];

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void check(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "bench_gzip: %s\n", what);
    exit(1);
}

/* ---- the two sides: ns of a round, and how long the body became ------------------------------ */

static uint64_t run_ours(const struct ut_splice *splice, size_t *ret_size)
{
    uint64_t begin = cpu_ns();
    for (int i = 0; i < ROUNDS; i++) {
        struct ut_segment *body =
            ut_compress(compressor, splice->runs + 1, splice->run_count - 1, splice->bytes);
        check(body != NULL, "ut_compress");
        *ret_size = body->size;
        ut_segment_unref(body);
    }
    return cpu_ns() - begin;
}

static uint64_t run_library(ut_slice bytes, uint8_t *out, size_t room, size_t *ret_size)
{
    uint64_t begin = cpu_ns();
    for (int i = 0; i < ROUNDS; i++) {
        isal_deflate_init(&stream);
        stream.level = LEVEL;
        stream.level_buf = level_buffer;
        stream.level_buf_size = sizeof(level_buffer);
        stream.gzip_flag = IGZIP_GZIP;
        stream.end_of_stream = 1;
        stream.next_in = (uint8_t *)(uintptr_t)bytes.data;
        stream.avail_in = (uint32_t)bytes.size;
        stream.next_out = out;
        stream.avail_out = (uint32_t)room;
        check(isal_deflate(&stream) == COMP_OK && stream.avail_in == 0, "isal_deflate");
        *ret_size = stream.total_out;
    }
    return cpu_ns() - begin;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double figures[PAIRS])
{
    qsort(figures, PAIRS, sizeof(figures[0]), compare);
    return figures[PAIRS / 2];
}

static void measure(const char *name, struct ut_batch *batch)
{
    struct ut_splice splice;
    double ratios[PAIRS], rates[PAIRS];
    check(ut_splice_batch(&splice, batch, 0, batch->spans) == 0, "splice");
    uint8_t *bytes = malloc(splice.bytes), *out = calloc(2, splice.bytes);
    check(bytes != NULL && out != NULL, "no memory");
    size_t at = 0;
    for (size_t i = 1; i < splice.run_count; at += splice.runs[i++].iov_len)
        memcpy(bytes + at, splice.runs[i].iov_base, splice.runs[i].iov_len);
    for (int i = 0; i < PAIRS; i++) {
        size_t size, alone_size;
        uint64_t ours = run_ours(&splice, &size);
        uint64_t alone = run_library(ut_slice_of(bytes, at), out, 2 * splice.bytes, &alone_size);
        check(size < alone_size + alone_size / 50, "our body is longer than the library's");
        ratios[i] = (double)ours / (double)alone;
        rates[i] = (double)ROUNDS * (double)at / (double)alone * 1e3;
    }
    printf("%s_library_mb_s %.1f\n%s_ratio %.3f\n", name, median(rates), name, median(ratios));
    free(bytes);
    free(out);
    ut_splice_done(&splice);
}

static void edit_span(struct ut_body *body, uint32_t span)
{
    struct ut_encoder encoder;
    ut_encoder_init(&encoder, &body->arena);
    ut_encode_string(&encoder, UT_FIELD_SPAN_ATTRIBUTES, UT_ATTR_TCP_MATCH, UT_SLICE("connection"));
    ut_encode_int(&encoder, UT_FIELD_SPAN_ATTRIBUTES, UT_ATTR_TCP_RETRANSMITS, 1);
    struct ut_edit *edit = ut_arena_alloc(&body->arena, sizeof(*edit));
    check(edit != NULL, "no memory");
    *edit = (struct ut_edit){.added = ut_encoder_bytes(&encoder)};
    check(ut_body_set_edit(body, span, edit) == 0, "no memory");
}

int main(void)
{
    const struct body_options options = {.spans = 512, .attributes = 8, .kind = 2};
    size_t size;
    uint8_t *request = body_new(&options, &size);
    ut_pool_init(&pool, (size_t)16 << 20);
    compressor = ut_compressor_new(&pool, UT_CODING_GZIP);
    struct ut_batch *batch = otlp_batch_of(&pool, request + 5, size - 5, NULL, NULL);
    check(compressor != NULL && batch != NULL, "no memory");
    measure("plain", batch);
    for (uint32_t i = 0; i < batch->first->span_count; i++)
        edit_span(batch->first, i);
    measure("edited", batch);
    ut_batch_unref(batch);
    ut_compressor_free(compressor);
    ut_pool_done(&pool);
    free(request);
    return 0;
}
