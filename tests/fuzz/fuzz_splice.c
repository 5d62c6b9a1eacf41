/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that the walk accepts, with edits chosen by the first bytes of the input, spliced as a
 * whole and in parts. Each part must be what the reference makes of it and must walk again, to the
 * same spans plus the edits.
 *
 * Input: 8 bytes of seed, then the request; from the second half on a second body, if the seed
 * says so.
 */
#include "splice_reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RANGES_MAX = 8 };

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Some fields of a message, and an attribute to add; NULL: no change. */
static struct ut_edit *make_edit(struct ut_body *body, ut_slice message, unsigned attribute_field,
                                 uint64_t *random)
{
    uint64_t choice = next_random(random);
    if (choice % 4 == 0)
        return NULL;
    struct ut_edit *edit = ut_arena_alloc(&body->arena, sizeof(*edit));
    struct ut_range *removed = ut_arena_alloc(&body->arena, RANGES_MAX * sizeof(*removed));
    UT_CHECK(edit != NULL && removed != NULL);
    *edit = (struct ut_edit){.removed = removed};
    struct ut_wire_field field;
    for (const uint8_t *p = message.data, *end = p + message.size;
         choice % 4 >= 2 && p < end && edit->removed_count < RANGES_MAX;) {
        p = ut_wire_field(p, &field);
        /* Ids stay, so that the span does. */
        if (field.number <= 2 || next_random(random) % 2 == 0)
            continue;
        removed[edit->removed_count++] = (struct ut_range){
            (uint32_t)(field.begin - body->segment->data), (uint32_t)(field.end - field.begin)};
    }
    if (choice % 4 != 2) {
        struct otlp_bytes added = {0};
        static const char text[1000];
        size_t attribute = otlp_begin(&added, attribute_field);
        otlp_text(&added, 1, "added");
        otlp_data(&added, 100, text, choice / 4 % 32 == 0 ? sizeof(text) : choice % 50);
        otlp_end(&added, attribute);
        uint8_t *copy = ut_arena_alloc(&body->arena, added.size);
        UT_CHECK(copy != NULL);
        memcpy(copy, added.data, added.size);
        edit->added = ut_slice_of(copy, added.size);
        otlp_free(&added);
    }
    return edit;
}

static void edit_body(struct ut_body *body, uint64_t *random)
{
    const uint8_t *segment = body->segment->data;
    for (uint32_t i = 0; i < body->span_count; i++) {
        const struct ut_span *span = &body->spans[i];
        ut_slice message = ut_slice_of(segment + span->offset, span->size);
        bool left_out = (span->flags & UT_SPAN_LEFT_OUT) != 0;
        struct ut_edit *edit = left_out ? NULL : make_edit(body, message, 9, random);
        UT_CHECK(edit == NULL || ut_body_set_edit(body, i, edit) == 0);
    }
    for (uint32_t i = 0; i < body->resource_count; i++) {
        struct ut_resource *resource = &body->resources[i];
        ut_slice message = ut_slice_of(segment + resource->resource_content,
                                       resource->resource_end - resource->resource_content);
        if (next_random(random) % 2 == 0)
            resource->edit = make_edit(body, message, 1, random);
    }
}

static void check_range(const struct ut_batch *batch, uint32_t first, uint32_t count,
                        uint32_t *spans)
{
    struct otlp_bytes flat = {0};
    const char *wrong = splice_check(&flat, batch, first, count);
    if (wrong != NULL)
        fprintf(stderr, "%s\n", wrong);
    UT_CHECK(wrong == NULL);
    struct ut_pool pool;
    int error;
    ut_pool_init(&pool, 0);
    struct ut_batch *again = otlp_batch_of(&pool, flat.data, flat.size, NULL, &error);
    UT_CHECK(again != NULL);
    *spans += again->spans;
    UT_CHECK(again->first->left_out == 0);
    ut_batch_unref(again);
    ut_pool_done(&pool);
    otlp_free(&flat);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 8)
        return 0;
    uint64_t random;
    memcpy(&random, data, 8);
    random |= 1;
    data += 8, size -= 8;
    struct ut_pool pool;
    ut_pool_init(&pool, 0);
    size_t half = next_random(&random) % 4 == 0 ? size / 2 : size;
    struct ut_batch *batch = otlp_batch_of(&pool, data, half, NULL, NULL);
    struct ut_batch *other = NULL;
    if (half < size)
        other = otlp_batch_of(&pool, data + half, size - half, NULL, NULL);
    if (batch != NULL && other != NULL)
        ut_batch_append(batch, other);
    else if (batch == NULL)
        batch = other;
    else
        ut_batch_unref(other);
    if (batch != NULL) {
        if (next_random(&random) % 8 != 0) {
            for (struct ut_body *body = batch->first; body != NULL; body = body->next)
                edit_body(body, &random);
        }
        uint32_t whole = 0, parts = 0, at = 0;
        check_range(batch, 0, batch->spans, &whole);
        do {
            uint32_t count = (uint32_t)(1 + next_random(&random) % 5);
            check_range(batch, at, count, &parts);
            at += count;
        } while (at < batch->spans);
        UT_CHECK(whole == parts && whole == batch->spans);
    }
    ut_batch_unref(batch);
    ut_pool_done(&pool);
    return 0;
}
