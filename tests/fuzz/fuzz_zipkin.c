/* SPDX-License-Identifier: Apache-2.0 */
/* What the walk accepts, as Zipkin's JSON: it must be JSON without a key twice for jansson, with
 * one object for each span. */
#include <jansson.h>

#include "otlp_batch.h"
#include "zipkin_exporter/spans.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct ut_pool *pool, const struct ut_batch *batch)
{
    static const struct ut_zipkin_options options = {.default_service_name = {(void *)"x", 1}};
    struct ut_splice splice;
    struct ut_blocks out;
    struct ut_visit_text text;
    json_error_t error;
    UT_CHECK(ut_splice_batch(&splice, batch, 0, batch->spans) == 0);
    uint8_t *flat = ut_visit_flatten(&splice, pool);
    UT_CHECK(flat != NULL);
    ut_blocks_init(&out, pool);
    ut_zipkin_write(&out, ut_slice_of(flat, splice.bytes), &options);
    UT_CHECK(ut_visit_collect(&out, &text));
    json_t *json = json_loadb((const char *)text.text.data, text.text.size,
                              JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    /* What jansson cannot hold: a NUL in a key. */
    UT_CHECK(json != NULL || json_error_code(&error) == json_error_null_byte_in_key);
    UT_CHECK(json == NULL || json_array_size(json) == batch->spans);
    json_decref(json);
    ut_visit_text_done(&text, pool);
    ut_blocks_done(&out);
    ut_pool_free(pool, flat);
    ut_splice_done(&splice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ut_pool pool;
    ut_pool_init(&pool, 0);
    struct ut_batch *batch = otlp_batch_of(&pool, data, size, NULL, NULL);
    if (batch != NULL)
        check(&pool, batch);
    ut_batch_unref(batch);
    UT_CHECK(pool.in_use == 0);
    ut_pool_done(&pool);
    return 0;
}
