/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands in a disk hold, byte by byte; all numbers little-endian. Pure.
 *
 * A *value* holds the records that one group commit brought in together, one after the other, each
 * padded to 8 bytes. A record is one accepted request: a header, then the checked OTLP body. Beside
 * each value stands its *index*: for each of its records who still has to send it, and its sizes.
 * What the processors found out about a record is its *outcome* (outcome.h), framed like a record.
 *
 *     record   magic u32 │ kind u32 │ sequence u64 │ size u32 │ spans u32 │ received u64 │
 *              workload u64 │ cursors u64 │ zero u64 │ check u64 │ size bytes
 *     index    magic u32 │ count u32 │ key u64 │ count × (pending u64 │ spans u32 │ size u32) │
 *              check u64
 *     name     magic u32 │ number u32 │ check u64
 *
 * `check` is XXH3 over everything of the record (index, name) but itself, and for names and indexes
 * over their key in the store as well. The first record's sequence is the value's key; the others
 * follow it.
 */
#ifndef UT_FLOW_DISK_RECORD_H
#define UT_FLOW_DISK_RECORD_H

#include "base/check.h"
#include "base/slice.h"

#define UT_RECORD_HEADER ((size_t)64)
/* Its index still fits beside others on a page of the store. */
#define UT_VALUE_RECORDS_MAX 112
#define UT_INDEX_BYTES_MAX (16 + 16 * (size_t)UT_VALUE_RECORDS_MAX + 8)
#define UT_NAME_BYTES ((size_t)16)

enum ut_record_kind { UT_RECORD_BODY, UT_RECORD_OUTCOME };

struct ut_record {
    uint64_t sequence;
    uint32_t spans;
    uint64_t received_ns; /* UNIX time */
    uint64_t workload;    /* the sender's; 0: not known */
    uint64_t cursors;     /* a bit each: who has to send it */
    ut_slice body;        /* at most UINT32_MAX bytes; decoded: within the value */
};

struct ut_index_entry {
    uint64_t pending; /* cursors that have not finished it */
    uint32_t spans;
    uint32_t size; /* of the body */
};

struct ut_index {
    uint64_t key;
    uint32_t count; /* 1 … UT_VALUE_RECORDS_MAX */
    struct ut_index_entry *entries;
};

/* Bytes that a record with such a body takes in a value. */
static inline size_t ut_record_size(size_t body)
{
    return UT_RECORD_HEADER + ((body + 7) & ~(size_t)7);
}

/* Writes the record, ut_record_size bytes, at `out`. */
void ut_record_encode(uint8_t *out, enum ut_record_kind kind, const struct ut_record *record);
/* Reads the record at the beginning of `bytes`. -EBADMSG where it is not, to the last bit, the one
 * that was written with this kind and sequence. */
int ut_record_decode(ut_slice bytes, enum ut_record_kind kind, uint64_t sequence,
                     struct ut_record *ret) UT_MUST_USE;

static inline size_t ut_index_size(uint32_t count)
{
    return 16 + 16 * (size_t)count + 8;
}
/* Writes ut_index_size(count) bytes. */
void ut_index_encode(uint8_t *out, const struct ut_index *index);
/* `ret->entries` has room for UT_VALUE_RECORDS_MAX. -EBADMSG where it is not the index of `key`. */
int ut_index_decode(ut_slice bytes, uint64_t key, struct ut_index *ret) UT_MUST_USE;
/* What the records themselves say, for an index that is damaged or lost: as far as they are intact.
 * -EBADMSG where not even the first is. Room as above. */
int ut_index_rebuild(ut_slice value, uint64_t key, struct ut_index *ret) UT_MUST_USE;

/* The number of a cursor, stored under its name. */
void ut_name_encode(uint8_t out[UT_NAME_BYTES], ut_slice name, uint32_t number);
int ut_name_decode(ut_slice bytes, ut_slice name, uint32_t *ret) UT_MUST_USE;

#endif
