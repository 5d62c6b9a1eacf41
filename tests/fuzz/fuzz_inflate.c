/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a compressed body, once whole and once in pieces, into bodies that move as they
 * grow: what is whole is so both times, with the same bytes. The first bytes say the coding, the
 * size of the pieces and how much more room is given than asked for. */
#include <stdlib.h>
#include <string.h>

#include "net/inflate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); /* libFuzzer calls it */

enum { PREFIX = 3, INPUT_MAX = 16384, BODY_MAX = 1 << 20 };

struct outcome {
    enum { WHOLE, CUT, CORRUPT, LARGE } end;
    struct ut_inflate_body body;
};

/* An exact block, so that what reaches beyond is found. */
static void grow(struct ut_inflate_body *body, size_t extra)
{
    size_t room = body->size + body->want + extra;
    uint8_t *bigger = malloc(room);
    UT_CHECK(bigger != NULL);
    if (body->size > 0)
        memcpy(bigger, body->data, body->size);
    free(body->data);
    body->data = bigger;
    body->room = room;
}

static enum ut_inflate_result feed(struct ut_inflate *inflate, const uint8_t *data, size_t size,
                                   struct ut_inflate_body *body, size_t extra)
{
    uint8_t *copy = malloc(size);
    UT_CHECK(copy != NULL);
    memcpy(copy, data, size);
    ut_slice input = ut_slice_of(copy, size);
    enum ut_inflate_result result;
    while ((result = ut_inflate_step(inflate, &input, body)) == UT_INFLATE_ROOM) {
        UT_CHECK(body->want > body->room - body->size);
        if (body->size > BODY_MAX)
            break;
        grow(body, extra);
    }
    UT_CHECK(result != UT_INFLATE_MORE || input.size == 0);
    free(copy);
    return result;
}

static void play(struct outcome *outcome, struct ut_inflates *inflates, enum ut_coding coding,
                 ut_slice bytes, size_t piece, size_t extra)
{
    struct ut_inflate *inflate = ut_inflate_take(inflates, coding);
    enum ut_inflate_result result = UT_INFLATE_MORE;
    UT_CHECK(inflate != NULL);
    *outcome = (struct outcome){0};
    for (size_t at = 0; at < bytes.size && result == UT_INFLATE_MORE; at += piece) {
        size_t n = bytes.size - at < piece ? bytes.size - at : piece;
        result = feed(inflate, bytes.data + at, n, &outcome->body, extra);
    }
    if (result == UT_INFLATE_ROOM)
        outcome->end = LARGE;
    else if (result == UT_INFLATE_CORRUPT)
        outcome->end = CORRUPT;
    else
        outcome->end = ut_inflate_is_whole(inflate) ? WHOLE : CUT;
    ut_inflate_give(inflates, inflate);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ut_pool pool;
    struct ut_inflates inflates;
    struct outcome whole, cut;
    if (size < PREFIX + 1 || size > INPUT_MAX)
        return 0;
    enum ut_coding coding = (enum ut_coding)(1 + data[0] % (UT_CODINGS - 1));
    ut_slice bytes = ut_slice_of(data + PREFIX, size - PREFIX);
    ut_pool_init(&pool, 1 << 20);
    ut_inflates_init(&inflates, &pool);
    play(&whole, &inflates, coding, bytes, size, 64 << 10);
    play(&cut, &inflates, coding, bytes, (size_t)data[1] + 1, (size_t)data[2] * data[2]);
    if (whole.end != LARGE && cut.end != LARGE) {
        UT_CHECK(whole.end == cut.end);
        UT_CHECK(whole.end == CORRUPT || whole.body.size == cut.body.size);
        UT_CHECK(whole.end == CORRUPT || whole.body.size == 0 ||
                 memcmp(whole.body.data, cut.body.data, whole.body.size) == 0);
    }
    free(whole.body.data);
    free(cut.body.data);
    ut_inflates_done(&inflates);
    ut_pool_done(&pool);
    return 0;
}
