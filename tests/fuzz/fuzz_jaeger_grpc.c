/* SPDX-License-Identifier: Apache-2.0 */
/* What the walk accepts, as Jaeger's PostSpansRequest: protobuf-c must read it back, with each span
 * and a process for it. */
#include "api_v2.pb-c.h"
#include "jaeger_grpc_exporter/spans.h"
#include "otlp_batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct ut_pool *pool, const struct ut_batch *batch)
{
    struct ut_splice splice;
    UT_CHECK(ut_splice_batch(&splice, batch, 0, batch->spans) == 0);
    uint8_t *flat = ut_visit_flatten(&splice, pool);
    UT_CHECK(flat != NULL);
    struct ut_segment *message = ut_jaeger_write(ut_slice_of(flat, splice.bytes), pool);
    UT_CHECK(message != NULL);
    Jaeger__ApiV2__PostSpansRequest *request =
        jaeger__api_v2__post_spans_request__unpack(NULL, message->size, message->data);
    UT_CHECK(request != NULL && request->batch->n_spans == batch->spans);
    UT_CHECK(batch->spans == 0 || request->batch->process->service_name.len > 0);
    jaeger__api_v2__post_spans_request__free_unpacked(request, NULL);
    ut_segment_unref(message);
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
