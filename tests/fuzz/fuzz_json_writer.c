/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes to JSON: as they are, which must end well, and, where the walk accepts them, by way of
 * the splice: then the text must be JSON without a key twice for jansson, and the reader must get a
 * request from it that stays as it is from then on.
 */
#include <jansson.h>

#include "otlp/json.h"
#include "otlp/json_writer.h"
#include "otlp/splice.h"
#include "otlp_batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct ut_writer_limits LIMITS = {.bytes_max = (size_t)1 << 26};

static void flatten(struct ut_blocks *out, struct otlp_bytes *ret)
{
    const struct iovec *runs;
    int count = ut_blocks_runs(out, &runs);
    UT_CHECK(count > 0);
    for (int i = 0; i < count; i++)
        otlp_raw(ret, runs[i].iov_base, runs[i].iov_len);
}

/* The text of the runs, read back. */
static struct ut_segment *there_and_back(struct ut_pool *pool, const struct iovec *runs,
                                         size_t count)
{
    struct ut_blocks out;
    struct otlp_bytes text = {0};
    struct ut_segment *segment = NULL;
    struct ut_json_report report;
    json_error_t error;
    ut_blocks_init(&out, pool);
    UT_CHECK(ut_json_from_wire(&out, runs, count) == 0);
    flatten(&out, &text);
    json_t *json = json_loadb((const char *)text.data, text.size,
                              JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    UT_CHECK(json != NULL);
    json_decref(json);
    UT_CHECK(ut_json_to_wire(ut_slice_of(text.data, text.size), pool, &LIMITS, &segment, &report) ==
             0);
    ut_blocks_done(&out);
    otlp_free(&text);
    return segment;
}

static void write_batch(struct ut_pool *pool, const struct ut_batch *batch)
{
    struct ut_splice splice;
    UT_CHECK(ut_splice_batch(&splice, batch, 0, batch->spans) == 0);
    struct ut_segment *first = there_and_back(pool, splice.runs + 1, splice.run_count - 1);
    struct iovec run = {first->data, first->size};
    struct ut_segment *second = there_and_back(pool, &run, 1);
    UT_CHECK(ut_slice_equal(ut_slice_of(first->data, first->size),
                            ut_slice_of(second->data, second->size)));
    ut_segment_unref(first);
    ut_segment_unref(second);
    ut_splice_done(&splice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ut_pool pool;
    struct ut_blocks out;
    ut_pool_init(&pool, 0);
    ut_blocks_init(&out, &pool);
    struct iovec run = {(void *)(uintptr_t)data, size};
    int error = ut_json_from_wire(&out, &run, 1);
    UT_CHECK(error == 0 || error == -EBADMSG);
    ut_blocks_done(&out);
    struct ut_batch *batch = otlp_batch_of(&pool, data, size, NULL, NULL);
    if (batch != NULL)
        write_batch(&pool, batch);
    ut_batch_unref(batch);
    UT_CHECK(pool.in_use == 0);
    ut_pool_done(&pool);
    return 0;
}
