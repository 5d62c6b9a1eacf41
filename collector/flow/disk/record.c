/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/disk/record.h"

#include <endian.h>
#include <errno.h>
/* For a state on the stack. */
#define XXH_STATIC_LINKING_ONLY
#ifdef UT_XXH_DISPATCH
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

enum {
    MAGIC_RECORD = 0x31525455, /* "UTR1" */
    MAGIC_INDEX = 0x31495455,  /* "UTI1" */
    MAGIC_NAME = 0x314e5455,   /* "UTN1" */
    CHECK_AT = 56,             /* in a record's header */
    PIECE_BYTES = 8 << 10,
};

static void put32(uint8_t *out, uint32_t number)
{
    number = htole32(number);
    memcpy(out, &number, sizeof(number));
}

static void put64(uint8_t *out, uint64_t number)
{
    number = htole64(number);
    memcpy(out, &number, sizeof(number));
}

static uint32_t get32(const uint8_t *in)
{
    uint32_t number;
    memcpy(&number, in, sizeof(number));
    return le32toh(number);
}

static uint64_t get64(const uint8_t *in)
{
    uint64_t number;
    memcpy(&number, in, sizeof(number));
    return le64toh(number);
}

/* The body's hash is the seed of the header's, so that one number speaks for both. */
static uint64_t check_of(const uint8_t *header, uint64_t body)
{
    return XXH3_64bits_withSeed(header, CHECK_AT, body);
}

static uint64_t hash_of(ut_slice body)
{
    return XXH3_64bits(body.size > 0 ? (const void *)body.data : "", body.size);
}

/* Copies and hashes piece by piece, while each piece is in the nearest cache; the hash is that of
 * the whole. */
static uint64_t copy_and_hash(uint8_t *out, ut_slice body)
{
    XXH3_state_t state;
    if (body.size <= PIECE_BYTES) {
        if (body.size > 0)
            memcpy(out, body.data, body.size);
        return hash_of(body);
    }
    XXH3_INITSTATE(&state);
    (void)XXH3_64bits_reset(&state);
    for (size_t at = 0; at < body.size; at += PIECE_BYTES) {
        size_t size = body.size - at < PIECE_BYTES ? body.size - at : PIECE_BYTES;
        memcpy(out + at, body.data + at, size);
        (void)XXH3_64bits_update(&state, body.data + at, size);
    }
    return XXH3_64bits_digest(&state);
}

/* ---- records --------------------------------------------------------------------------------- */

void ut_record_encode(uint8_t *out, enum ut_record_kind kind, const struct ut_record *record)
{
    size_t size = ut_record_size(record->body.size);
    UT_CHECK(record->body.size <= UINT32_MAX);
    put32(out, MAGIC_RECORD);
    put32(out + 4, kind);
    put64(out + 8, record->sequence);
    put32(out + 16, (uint32_t)record->body.size);
    put32(out + 20, record->spans);
    put64(out + 24, record->received_ns);
    put64(out + 32, record->workload);
    put64(out + 40, record->cursors);
    put64(out + 48, 0);
    uint8_t *body = out + UT_RECORD_HEADER;
    uint64_t hash = copy_and_hash(body, record->body);
    memset(body + record->body.size, 0, size - UT_RECORD_HEADER - record->body.size);
    put64(out + CHECK_AT, check_of(out, hash));
}

/* Header fields that can be checked without the body. */
static bool has_frame(ut_slice bytes, enum ut_record_kind kind, uint64_t sequence)
{
    return bytes.size >= UT_RECORD_HEADER && get32(bytes.data) == MAGIC_RECORD &&
           get32(bytes.data + 4) == kind && get64(bytes.data + 8) == sequence &&
           ut_record_size(get32(bytes.data + 16)) <= bytes.size;
}

int ut_record_decode(ut_slice bytes, enum ut_record_kind kind, uint64_t sequence,
                     struct ut_record *ret)
{
    if (!has_frame(bytes, kind, sequence))
        return -EBADMSG;
    ut_slice body = {bytes.data + UT_RECORD_HEADER, get32(bytes.data + 16)};
    if (get64(bytes.data + CHECK_AT) != check_of(bytes.data, hash_of(body)))
        return -EBADMSG;
    *ret = (struct ut_record){
        .sequence = sequence,
        .spans = get32(bytes.data + 20),
        .received_ns = get64(bytes.data + 24),
        .workload = get64(bytes.data + 32),
        .cursors = get64(bytes.data + 40),
        .body = body,
    };
    return 0;
}

/* ---- indexes --------------------------------------------------------------------------------- */

void ut_index_encode(uint8_t *out, const struct ut_index *index)
{
    UT_CHECK(index->count > 0 && index->count <= UT_VALUE_RECORDS_MAX);
    put32(out, MAGIC_INDEX);
    put32(out + 4, index->count);
    put64(out + 8, index->key);
    uint8_t *at = out + 16;
    for (uint32_t i = 0; i < index->count; i++, at += 16) {
        put64(at, index->entries[i].pending);
        put32(at + 8, index->entries[i].spans);
        put32(at + 12, index->entries[i].size);
    }
    put64(at, XXH3_64bits(out, (size_t)(at - out)));
}

int ut_index_decode(ut_slice bytes, uint64_t key, struct ut_index *ret)
{
    if (bytes.size < ut_index_size(1) || get32(bytes.data) != MAGIC_INDEX ||
        get64(bytes.data + 8) != key)
        return -EBADMSG;
    uint32_t count = get32(bytes.data + 4);
    if (count == 0 || count > UT_VALUE_RECORDS_MAX || bytes.size != ut_index_size(count) ||
        get64(bytes.data + bytes.size - 8) != XXH3_64bits(bytes.data, bytes.size - 8))
        return -EBADMSG;
    ret->key = key;
    ret->count = count;
    const uint8_t *at = bytes.data + 16;
    for (uint32_t i = 0; i < count; i++, at += 16)
        ret->entries[i] = (struct ut_index_entry){get64(at), get32(at + 8), get32(at + 12)};
    return 0;
}

int ut_index_rebuild(ut_slice value, uint64_t key, struct ut_index *ret)
{
    ret->key = key;
    ret->count = 0;
    while (ret->count < UT_VALUE_RECORDS_MAX) {
        struct ut_record record;
        if (ut_record_decode(value, UT_RECORD_BODY, key + ret->count, &record) != 0)
            break;
        ret->entries[ret->count++] = (struct ut_index_entry){
            .pending = record.cursors,
            .spans = record.spans,
            .size = (uint32_t)record.body.size,
        };
        size_t size = ut_record_size(record.body.size);
        value = ut_slice_of(value.data + size, value.size - size);
    }
    return ret->count > 0 ? 0 : -EBADMSG;
}

/* ---- names ----------------------------------------------------------------------------------- */

void ut_name_encode(uint8_t out[UT_NAME_BYTES], ut_slice name, uint32_t number)
{
    put32(out, MAGIC_NAME);
    put32(out + 4, number);
    put64(out + 8, XXH3_64bits_withSeed(name.data, name.size, get64(out)));
}

int ut_name_decode(ut_slice bytes, ut_slice name, uint32_t *ret)
{
    if (bytes.size != UT_NAME_BYTES || get32(bytes.data) != MAGIC_NAME ||
        get64(bytes.data + 8) != XXH3_64bits_withSeed(name.data, name.size, get64(bytes.data)))
        return -EBADMSG;
    *ret = get32(bytes.data + 4);
    return 0;
}
