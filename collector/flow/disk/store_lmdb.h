/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the store, shared by the store*.c files. LMDB's error codes end here. */
#ifndef UT_FLOW_DISK_STORE_LMDB_H
#define UT_FLOW_DISK_STORE_LMDB_H

#include <lmdb.h>

#include "flow/disk/store.h"

enum { UT_STORE_VERSION = 1 };

struct ut_store {
    struct ut_store_config config;
    char path[PATH_MAX];
    MDB_env *env; /* NULL after a reopening that failed; tried again at the next use */
    MDB_dbi records, index, outcomes, names;
    size_t map_size;
    size_t page_size;
    const uint8_t *map; /* where LMDB has the file */
};

/* 0 or a negative errno of an LMDB error code. */
int ut_store_errno(int error);

static inline MDB_val ut_store_key(const uint64_t *sequence)
{
    return (MDB_val){sizeof(*sequence), (void *)(uintptr_t)sequence};
}

static inline ut_slice ut_store_slice(MDB_val value)
{
    return ut_slice_of(value.mv_data, value.mv_size);
}

/* The name under which the version stands; no cursor begins with that byte. */
static inline MDB_val ut_store_version_key(void)
{
    static const char name[] = "\001version";
    return (MDB_val){sizeof(name) - 1, (void *)(uintptr_t)name};
}

/* Values above this have pages of their own. */
static inline size_t ut_store_inline_max(const struct ut_store *store)
{
    return (((store->page_size - 16) / 2) & ~(size_t)1) - 2 - 8 - sizeof(uint64_t);
}

/* Whether the pages of a value that stands in the map are what LMDB will take them for when it
 * frees them: it believes their header, which may have been damaged since the walk. */
bool ut_store_safe_to_free(const struct ut_store *store, MDB_val value);

/* A transaction; opens the environment again where LMDB has declared it dead. An LMDB code. */
int ut_store_begin(struct ut_store *store, unsigned flags, MDB_txn **ret) UT_MUST_USE;
/* Makes the map larger; no transaction may be open. An LMDB code. */
int ut_store_enlarge(struct ut_store *store) UT_MUST_USE;

int ut_store_write_name(struct ut_store *store, MDB_txn *txn, MDB_val key,
                        uint32_t number) UT_MUST_USE;

#endif
