/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes through the JSON door. What it takes must be JSON for jansson too, parse as a request,
 * and come to the same bytes again when these are printed as JSON.
 */
#include <jansson.h>

#include "otlp/json.h"
#include "otlp_batch.h"
#include "otlp_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct ut_writer_limits LIMITS = {.bytes_max = (size_t)1 << 24};

/* Whether jansson says no for another reason than what is its own: text that is not UTF-8, numbers
 * beyond its types, NUL in keys. */
static bool is_no_json(const uint8_t *data, size_t size)
{
    json_error_t error;
    json_t *json = json_loadb((const char *)data, size, JSON_ALLOW_NUL, &error);
    json_decref(json);
    if (json != NULL)
        return false;
    enum json_error_code code = json_error_code(&error);
    return code != json_error_invalid_utf8 && code != json_error_numeric_overflow &&
           code != json_error_null_byte_in_key;
}

static void print_and_read_again(struct ut_pool *pool, ut_slice wire)
{
    struct otlp_bytes json = {0};
    struct ut_segment *again = NULL;
    struct ut_json_report report;
    otlp_json_print(&json, UT_SCHEMA_REQUEST, wire, &(struct otlp_json_style){0});
    int error = ut_json_to_wire(ut_slice_of(json.data, json.size), pool, &LIMITS, &again, &report);
    UT_CHECK(error == 0 && ut_slice_equal(ut_slice_of(again->data, again->size), wire));
    ut_segment_unref(again);
    otlp_free(&json);
}

static void check_wire(struct ut_pool *pool, const struct ut_segment *segment)
{
    struct ut_walk_report report;
    int error;
    struct ut_batch *batch = otlp_batch_of(pool, segment->data, segment->size, &report, &error);
    /* Requests of next to nothing but empty messages are refused by the walk for their index. */
    UT_CHECK(batch != NULL || (error == -EBADMSG && report.offset == 0));
    ut_batch_unref(batch);
    if (batch != NULL && !report.bad_text)
        print_and_read_again(pool, ut_slice_of(segment->data, segment->size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ut_pool pool;
    struct ut_segment *segment = NULL;
    struct ut_json_report report;
    ut_pool_init(&pool, 0);
    int error = ut_json_to_wire(ut_slice_of(data, size), &pool, &LIMITS, &segment, &report);
    if (error == 0) {
        UT_CHECK(segment->size <= size + size / 4096 + 16);
        UT_CHECK(!is_no_json(data, size));
        check_wire(&pool, segment);
        ut_segment_unref(segment);
    } else {
        UT_CHECK(error == -EBADMSG && report.error != NULL && report.offset <= size);
    }
    UT_CHECK(pool.in_use == 0);
    ut_pool_done(&pool);
    return 0;
}
