/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/queue_entry.h"

/* ---- lists ---------------------------------------------------------------------------------- */

void ut_entry_append(struct ut_entry_list *list, struct ut_entry *entry)
{
    entry->list = list;
    entry->previous = list->last;
    entry->next = NULL;
    *(list->last != NULL ? &list->last->next : &list->first) = entry;
    list->last = entry;
}

void ut_entry_prepend(struct ut_entry_list *list, struct ut_entry *entry)
{
    entry->list = list;
    entry->previous = NULL;
    entry->next = list->first;
    *(list->first != NULL ? &list->first->previous : &list->last) = entry;
    list->first = entry;
}

void ut_entry_take_out(struct ut_entry *entry)
{
    struct ut_entry_list *list = entry->list;
    *(entry->previous != NULL ? &entry->previous->next : &list->first) = entry->next;
    *(entry->next != NULL ? &entry->next->previous : &list->last) = entry->previous;
    entry->previous = entry->next = NULL;
    entry->list = NULL;
}

/* ---- bodies --------------------------------------------------------------------------------- */

/* A walk over the bodies from the entry's first span on. */
struct walk {
    const struct ut_body *body;
    uint32_t first; /* the body's first span */
};

/* Where the entry's next span is. Spans only ever come off its front, so the place is kept. */
static struct walk walk_from(struct ut_entry *entry)
{
    while (entry->body->next != NULL &&
           entry->body_first + ut_body_spans(entry->body) <= entry->first) {
        entry->body_first += ut_body_spans(entry->body);
        entry->body = entry->body->next;
    }
    return (struct walk){entry->body, entry->body_first};
}

static void step(struct walk *walk)
{
    walk->first += ut_body_spans(walk->body);
    walk->body = walk->body->next;
}

/* How many spans of the body lie in [first, end). */
static uint32_t overlap(const struct walk *walk, uint32_t first, uint32_t end)
{
    uint32_t body_end = walk->first + ut_body_spans(walk->body);
    uint32_t begin = walk->first > first ? walk->first : first;
    end = body_end < end ? body_end : end;
    return end > begin ? end - begin : 0;
}

static bool is_withdrawn(const struct ut_body *body)
{
    return body->watch != NULL && body->watch->withdrawn;
}

uint32_t ut_entry_settle(struct ut_entry *entry)
{
    uint32_t withdrawn = 0, end = entry->first + entry->count;
    if (!entry->watched)
        return 0;
    for (struct walk w = walk_from(entry); w.body != NULL && w.first < end; step(&w)) {
        if (is_withdrawn(w.body))
            withdrawn += overlap(&w, entry->first, end);
    }
    uint32_t found = withdrawn - entry->withdrawn;
    entry->withdrawn = withdrawn;
    return found;
}

void ut_entry_report(struct ut_entry *entry, uint32_t spans, const struct ut_outcome *outcome)
{
    uint32_t end = entry->first + spans;
    if (!entry->watched)
        return;
    for (struct walk w = walk_from(entry); w.body != NULL && w.first < end; step(&w)) {
        uint32_t of_body = overlap(&w, entry->first, end);
        if (of_body > 0 && w.body->watch != NULL && !w.body->watch->withdrawn)
            w.body->watch->finished(w.body->watch, of_body, outcome);
    }
}

void ut_entry_finish_kept(struct ut_entry *entry, uint32_t spans, uint32_t cursor)
{
    uint32_t end = entry->first + spans;
    if (!entry->kept)
        return;
    for (struct walk w = walk_from(entry); w.body != NULL && w.first < end; step(&w)) {
        uint32_t of_body = overlap(&w, entry->first, end);
        if (of_body > 0 && w.body->keep != NULL)
            w.body->keep->finished(w.body->keep, cursor, of_body);
    }
}

void ut_entry_each_body(struct ut_entry *entry,
                        void (*visit)(void *arg, const struct ut_body *body, uint32_t spans),
                        void *arg)
{
    uint32_t end = entry->first + entry->count;
    for (struct walk w = walk_from(entry); w.body != NULL && w.first < end; step(&w)) {
        uint32_t of_body = overlap(&w, entry->first, end);
        if (of_body > 0)
            visit(arg, w.body, of_body);
    }
}

/* ---- pieces --------------------------------------------------------------------------------- */

/* Bytes of the body's next span from `*row` on that is not left out; moves behind it. */
static uint64_t next_bytes(const struct ut_body *body, uint32_t *row)
{
    while ((body->spans[*row].flags & UT_SPAN_LEFT_OUT) != 0)
        ++*row;
    const struct ut_edit *edit = ut_body_edit(body, *row);
    const struct ut_span *span = &body->spans[(*row)++];
    return (uint64_t)span->header + span->size + (edit != NULL ? edit->added.size : 0);
}

/* How many of the body's spans [skip, skip + most) fit into `*bytes`, which they use up. */
static uint32_t count_fitting(const struct ut_body *body, uint32_t skip, uint32_t most,
                              uint64_t *bytes)
{
    uint32_t row = body->left_out == 0 ? skip : 0;
    for (uint32_t i = 0; i < skip && body->left_out != 0; i++)
        (void)next_bytes(body, &row);
    for (uint32_t i = 0; i < most; i++) {
        uint64_t size = next_bytes(body, &row);
        if (size > *bytes) {
            *bytes = 0;
            return i;
        }
        *bytes -= size;
    }
    return most;
}

static void skip_withdrawn(struct ut_entry *entry)
{
    for (struct walk w = walk_from(entry); is_withdrawn(w.body); w = walk_from(entry)) {
        uint32_t spans = overlap(&w, entry->first, entry->first + entry->count);
        entry->first += spans;
        entry->count -= spans;
        entry->withdrawn -= spans;
    }
}

uint32_t ut_entry_choose(struct ut_entry *entry, uint64_t spans_max, uint64_t bytes_max)
{
    if (entry->withdrawn > 0)
        skip_withdrawn(entry);
    uint32_t most = entry->count < entry->piece_max ? entry->count : entry->piece_max;
    if (spans_max != 0 && most > spans_max)
        most = (uint32_t)spans_max;
    if (entry->withdrawn == 0 && bytes_max == 0)
        return most;
    uint32_t chosen = 0, end = entry->first + most;
    uint64_t bytes = bytes_max;
    for (struct walk w = walk_from(entry); w.body != NULL && w.first < end; step(&w)) {
        uint32_t spans = overlap(&w, entry->first, end);
        uint32_t skip = w.first < entry->first ? entry->first - w.first : 0;
        if (is_withdrawn(w.body))
            break;
        uint32_t fitting = bytes_max != 0 ? count_fitting(w.body, skip, spans, &bytes) : spans;
        chosen += fitting;
        if (fitting < spans)
            break;
    }
    return chosen > 0 ? chosen : 1;
}

bool ut_entry_join(struct ut_entry *entry, struct ut_entry *other)
{
    struct ut_batch *mine = ut_batch_view(entry->batch);
    if (mine == NULL)
        return false;
    entry->batch = mine;
    entry->item.batch = mine;
    entry->body = mine->first;
    entry->body_first = 0;
    struct ut_batch *theirs = ut_batch_view(other->batch);
    if (theirs == NULL)
        return false;
    ut_batch_append(mine, theirs);
    other->batch = NULL;
    entry->count += other->count;
    entry->withdrawn += other->withdrawn;
    entry->bytes += other->bytes;
    entry->watched |= other->watched;
    entry->kept |= other->kept;
    return true;
}
