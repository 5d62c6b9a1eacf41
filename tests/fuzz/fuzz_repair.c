/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes that the walk takes, with bad text: the repair must do what the slow reference does. */
#include "otlp/repair.h"
#include "otlp_batch.h"
#include "repair_reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_repair(struct ut_batch **batch, const uint8_t *data, size_t size)
{
    static const struct ut_writer_limits limits = {.bytes_max = (size_t)1 << 24};
    struct ut_walk_report report;
    struct otlp_bytes want = {0};
    uint32_t strings = 0;
    uint32_t reference = reference_repair(&want, UT_SCHEMA_REQUEST, ut_slice_of(data, size));
    int error = ut_repair_batch(batch, &limits, &report, &strings);
    UT_CHECK(error == 0 && strings == reference && strings > 0 && !report.bad_text);
    const struct ut_body *body = (*batch)->first;
    UT_CHECK(ut_slice_equal(ut_body_slice(body, body->start, body->end - body->start),
                            ut_slice_of(want.data, want.size)));
    otlp_free(&want);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ut_pool pool;
    struct ut_walk_report report;
    ut_pool_init(&pool, 0);
    struct ut_batch *batch = otlp_batch_of(&pool, data, size, &report, NULL);
    if (batch != NULL && report.bad_text)
        check_repair(&batch, data, size);
    ut_batch_unref(batch);
    UT_CHECK(pool.in_use == 0);
    ut_pool_done(&pool);
    return 0;
}
