/* SPDX-License-Identifier: Apache-2.0 */
#include "model/batch.h"

#include <errno.h>

static struct ut_body *new_body(struct ut_pool *pool, struct ut_segment *segment)
{
    UT_CHECK(segment->size <= UINT32_MAX); /* receivers limit bodies far below */
    struct ut_arena arena;
    ut_arena_init(&arena, pool);
    struct ut_body *body = ut_arena_alloc(&arena, sizeof(*body));
    if (body == NULL)
        return NULL;
    /* The body lives in its own arena; the copy of the arena's state inside it is the one in use.
     */
    *body = (struct ut_body){
        .segment = segment,
        .end = (uint32_t)segment->size,
        .arena = arena,
    };
    return body;
}

static void free_body(struct ut_body *body, struct ut_pool *pool)
{
    if (body->lender != NULL) {
        ut_batch_unref(body->lender);
        ut_pool_free(pool, body);
        return;
    }
    if (body->watch != NULL)
        body->watch->released(body->watch);
    if (body->keep != NULL)
        body->keep->released(body->keep);
    if (body->budget != NULL)
        ut_budget_return(body->budget, body->charge);
    ut_segment_unref(body->segment);
    struct ut_arena arena = body->arena;
    ut_arena_done(&arena);
}

struct ut_batch *ut_batch_new(struct ut_pool *pool, struct ut_segment *segment)
{
    struct ut_batch *batch = ut_pool_alloc(pool, sizeof(*batch));
    if (batch == NULL)
        return NULL;
    struct ut_body *body = new_body(pool, segment);
    if (body == NULL) {
        ut_pool_free(pool, batch);
        return NULL;
    }
    *batch = (struct ut_batch){
        .pool = pool,
        .first = body,
        .last = &body->next,
        .refs = 1,
    };
    return batch;
}

void ut_batch_measure(struct ut_batch *batch)
{
    struct ut_on_the_way *on_the_way = batch->on_the_way;
    ut_batch_set_on_the_way(batch, NULL);
    batch->spans = 0;
    batch->bytes = 0;
    batch->newest_end_ns = 0;
    for (const struct ut_body *body = batch->first; body != NULL; body = body->next) {
        batch->spans += body->span_count - body->left_out;
        batch->bytes += body->end - body->start;
        if (body->newest_end_ns > batch->newest_end_ns)
            batch->newest_end_ns = body->newest_end_ns;
    }
    ut_batch_set_on_the_way(batch, on_the_way);
}

void ut_batch_set_on_the_way(struct ut_batch *batch, struct ut_on_the_way *on_the_way)
{
    struct ut_on_the_way *before = batch->on_the_way;
    if (before != NULL) {
        before->batches--;
        before->spans -= batch->spans;
        before->bytes -= batch->bytes;
    }
    if (on_the_way != NULL) {
        on_the_way->batches++;
        on_the_way->spans += batch->spans;
        on_the_way->bytes += batch->bytes;
    }
    batch->on_the_way = on_the_way;
}

void ut_batch_append(struct ut_batch *batch, struct ut_batch *other)
{
    UT_CHECK(other->refs == 1 && batch->refs == 1);
    struct ut_on_the_way *on_the_way = batch->on_the_way;
    ut_batch_set_on_the_way(batch, NULL);
    ut_batch_set_on_the_way(other, NULL);
    *batch->last = other->first;
    batch->last = other->last;
    batch->spans += other->spans;
    batch->bytes += other->bytes;
    if (other->received_ns < batch->received_ns)
        batch->received_ns = other->received_ns;
    if (other->newest_end_ns > batch->newest_end_ns)
        batch->newest_end_ns = other->newest_end_ns;
    ut_batch_set_on_the_way(batch, on_the_way);
    ut_pool_free(other->pool, other);
}

struct ut_batch *ut_batch_ref(struct ut_batch *batch)
{
    batch->refs++;
    return batch;
}

void ut_batch_unref(struct ut_batch *batch)
{
    if (batch == NULL)
        return;
    UT_CHECK(batch->refs > 0);
    if (--batch->refs > 0)
        return;
    ut_batch_set_on_the_way(batch, NULL);
    for (struct ut_body *body = batch->first; body != NULL;) {
        struct ut_body *next = body->next;
        free_body(body, batch->pool);
        body = next;
    }
    ut_pool_free(batch->pool, batch);
}

/* A view of `body` at the end of `view`; -ENOMEM. */
static int add_view(struct ut_batch *view, const struct ut_body *body, struct ut_batch *lender)
{
    struct ut_body *copy = ut_pool_alloc(view->pool, sizeof(*copy));
    if (copy == NULL)
        return -ENOMEM;
    *copy = *body;
    copy->next = NULL;
    copy->lender = ut_batch_ref(lender);
    *view->last = copy;
    view->last = &copy->next;
    return 0;
}

struct ut_batch *ut_batch_view(struct ut_batch *batch)
{
    if (batch->refs == 1)
        return batch;
    struct ut_batch *view = ut_pool_alloc(batch->pool, sizeof(*view));
    if (view == NULL)
        return NULL;
    *view = *batch;
    view->next = NULL;
    view->first = NULL;
    view->last = &view->first;
    view->on_the_way = NULL;
    view->refs = 1;
    for (const struct ut_body *body = batch->first; body != NULL; body = body->next) {
        if (add_view(view, body, batch) != 0) {
            ut_batch_unref(view);
            return NULL;
        }
    }
    ut_batch_unref(batch); /* the views hold it now */
    return view;
}

int ut_body_set_edit(struct ut_body *body, uint32_t span, const struct ut_edit *edit)
{
    if (body->span_edits == NULL) {
        size_t bytes = body->span_count * sizeof(const struct ut_edit *);
        const struct ut_edit **table = ut_arena_alloc(&body->arena, bytes);
        if (table == NULL)
            return -ENOMEM;
        memset(table, 0, bytes);
        body->span_edits = table;
    }
    body->span_edits[span] = edit;
    return 0;
}
