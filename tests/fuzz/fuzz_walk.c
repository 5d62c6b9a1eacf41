/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes through the walk; where it accepts them, the index must keep its promises. */
#include "model/batch.h"
#include "otlp/span_reader.h"
#include "otlp_batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_spans(struct ut_body *body, const struct ut_scope *scope, uint32_t *at)
{
    for (uint32_t i = 0; i < scope->span_count; i++) {
        const struct ut_span *span = &body->spans[scope->first_span + i];
        UT_CHECK(span->offset - span->header >= *at);
        UT_CHECK(span->header >= 2 && span->header <= 15);
        *at = span->offset + span->size;
        UT_CHECK(*at <= scope->end);
        if ((span->flags & UT_SPAN_LEFT_OUT) != 0)
            continue;
        struct ut_span_ends ends;
        struct ut_range *ranges = NULL;
        ut_span_read_ends(body, span, &ends);
        int forged = ut_span_forged_ranges(body, span, &ranges);
        UT_CHECK((forged > 0) == ((span->flags & UT_SPAN_FORGED) != 0));
    }
}

static void check_scopes(struct ut_body *body, const struct ut_resource *resource)
{
    uint32_t at = resource->content;
    for (uint32_t i = 0; i < resource->scope_count; i++) {
        const struct ut_scope *scope = &body->scopes[resource->first_scope + i];
        UT_CHECK(scope->offset >= at && scope->content > scope->offset);
        UT_CHECK(scope->span_count > 0 || scope->left_out);
        at = scope->content;
        check_spans(body, scope, &at);
        UT_CHECK(scope->end <= resource->end);
        at = scope->end;
    }
}

static void check_index(struct ut_body *body)
{
    uint32_t at = body->start, scopes = 0, spans = 0, left_out = 0;
    for (uint32_t i = 0; i < body->resource_count; i++) {
        const struct ut_resource *resource = &body->resources[i];
        UT_CHECK(resource->offset >= at && resource->end <= body->end);
        UT_CHECK(resource->first_scope == scopes && resource->first_span == spans);
        check_scopes(body, resource);
        at = resource->end;
        scopes += resource->scope_count;
        spans += resource->span_count;
        struct ut_range *ranges = NULL;
        int forged = ut_resource_ranges(body, resource, NULL, 0, &ranges);
        UT_CHECK((forged > 0) == ((resource->flags & UT_RESOURCE_FORGED) != 0));
    }
    UT_CHECK(scopes == body->scope_count && spans == body->span_count);
    for (uint32_t i = 0; i < body->span_count; i++)
        left_out += (body->spans[i].flags & UT_SPAN_LEFT_OUT) != 0;
    UT_CHECK(left_out == body->left_out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ut_pool pool;
    struct ut_walk_report report;
    int error;
    ut_pool_init(&pool, 0);
    struct ut_batch *batch = otlp_batch_of(&pool, data, size, &report, &error);
    if (batch != NULL) {
        check_index(batch->first);
        UT_CHECK((report.left_out > 0) == (report.reason != NULL));
    } else {
        UT_CHECK(error == -EBADMSG && report.error != NULL && report.offset <= size);
    }
    ut_batch_unref(batch);
    ut_pool_done(&pool);
    return 0;
}
