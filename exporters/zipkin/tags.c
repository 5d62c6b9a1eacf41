/* SPDX-License-Identifier: Apache-2.0 */
#include "zipkin_exporter/tags.h"

#include <xxhash.h>

#include "base/clock.h"
#include "otlp/json_output.h"

enum { ROOM_FIRST = 64, TAGS_MAX = 1 << 24 };

void ut_zipkin_tags_init(struct ut_zipkin_tags *tags, struct ut_pool *pool)
{
    *tags = (struct ut_zipkin_tags){.pool = pool,
                                    .seed = ut_clock_unix_ns() ^ (uint64_t)(uintptr_t)tags << 20};
}

void ut_zipkin_tags_done(struct ut_zipkin_tags *tags)
{
    ut_pool_free(tags->pool, tags->items);
    ut_pool_free(tags->pool, tags->slots);
}

void ut_zipkin_tags_clear(struct ut_zipkin_tags *tags)
{
    tags->count = 0;
}

static bool grow(struct ut_zipkin_tags *tags)
{
    size_t room = tags->room == 0 ? ROOM_FIRST : tags->room * 2;
    struct ut_zipkin_tag *items =
        room <= TAGS_MAX ? ut_pool_alloc(tags->pool, room * sizeof(*items)) : NULL;
    if (items == NULL) {
        tags->failed = true;
        return false;
    }
    if (tags->count > 0)
        memcpy(items, tags->items, tags->count * sizeof(*items));
    ut_pool_free(tags->pool, tags->items);
    tags->items = items;
    tags->room = room;
    return true;
}

static void add(struct ut_zipkin_tags *tags, struct ut_zipkin_tag tag)
{
    if (tags->count < tags->room || grow(tags))
        tags->items[tags->count++] = tag;
}

void ut_zipkin_tags_add(struct ut_zipkin_tags *tags, ut_slice key, ut_slice text)
{
    add(tags, (struct ut_zipkin_tag){key, text, false});
}

void ut_zipkin_tags_add_any(struct ut_zipkin_tags *tags, ut_slice key, ut_slice any)
{
    add(tags, (struct ut_zipkin_tag){key, any, true});
}

/* ---- each key once --------------------------------------------------------------------------- */

/* At least twice as many slots as items, all of them free. */
static bool clear_slots(struct ut_zipkin_tags *tags)
{
    size_t want = ROOM_FIRST;
    while (want < 2 * tags->count)
        want *= 2;
    if (tags->slot_count < want) {
        ut_pool_free(tags->pool, tags->slots);
        tags->slots = ut_pool_alloc(tags->pool, want * sizeof(*tags->slots));
        tags->slot_count = tags->slots != NULL ? want : 0;
        if (tags->slots == NULL)
            return false;
    }
    memset(tags->slots, 0, tags->slot_count * sizeof(*tags->slots));
    return true;
}

/* Whether no item with the key of this one was seen before. */
static bool is_new(struct ut_zipkin_tags *tags, size_t index)
{
    ut_slice key = tags->items[index].key;
    uint64_t hash = XXH3_64bits_withSeed(key.data, key.size, tags->seed);
    for (size_t at = hash & (tags->slot_count - 1);; at = (at + 1) & (tags->slot_count - 1)) {
        uint32_t *slot = &tags->slots[at];
        if (*slot == 0) {
            *slot = (uint32_t)index + 1;
            return true;
        }
        if (ut_slice_equal(tags->items[*slot - 1].key, key))
            return false;
    }
}

static void write_tag(struct ut_zipkin_tags *tags, struct ut_blocks *out,
                      const struct ut_zipkin_tag *tag)
{
    struct ut_visit_text text;
    ut_json_output_text(out, tag->key);
    ut_blocks_byte(out, ':');
    if (!tag->is_any) {
        ut_json_output_text(out, tag->value);
    } else if (ut_visit_value_text(tag->value, tags->pool, &text)) {
        ut_json_output_text(out, text.text);
        ut_visit_text_done(&text, tags->pool);
    } else {
        ut_blocks_fail(out);
    }
}

void ut_zipkin_tags_write(struct ut_zipkin_tags *tags, struct ut_blocks *out)
{
    const char *before = ",\"tags\":{";
    if (tags->count == 0 && !tags->failed)
        return;
    if (tags->failed || !clear_slots(tags)) {
        ut_blocks_fail(out);
        return;
    }
    for (size_t i = tags->count; i-- > 0;) {
        if (!is_new(tags, i))
            continue;
        ut_blocks_put(out, ut_slice_str(before));
        before = ",";
        write_tag(tags, out, &tags->items[i]);
    }
    ut_blocks_byte(out, '}');
}
