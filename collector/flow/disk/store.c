/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and making the file, and what was left in it. Groups: store_group.c, reading:
 * store_read.c. */
#include "flow/disk/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/crash_point.h"
#include "flow/disk/store_lmdb.h"

enum {
    FLAGS = MDB_NOTLS | MDB_NORDAHEAD | MDB_NOSUBDIR,
    TREES = 4,
    LOCK_BYTES = 8192,
    MAP_LARGEST_FACTOR = 16, /* of the quota */
};

#define MAP_LEAST ((size_t)1 << 20)

int ut_store_errno(int error)
{
    switch (error) {
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
        return -ENOSPC;
    case MDB_PANIC:
        return -EIO;
    case MDB_NOTFOUND:
        return -ENOENT;
    default:
        return error > 0 ? -error : error == 0 ? 0 : -EBADMSG;
    }
}

/* ---- opening --------------------------------------------------------------------------------- */

/* LMDB maps its lock file for writing: a hole in it on a full disk would be a bus error. */
static int fill_lock_file(const char *path)
{
    char lock[PATH_MAX + 8];
    (void)snprintf(lock, sizeof(lock), "%s-lock", path);
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    int error = posix_fallocate(fd, 0, LOCK_BYTES);
    (void)close(fd);
    return error;
}

static void on_assertion(MDB_env *env, const char *text)
{
    const struct ut_store *store = mdb_env_get_userctx(env);
    (void)text;
    ut_disk_guard_end(store->config.guard);
}

static int open_env(struct ut_store *store, const char *path)
{
    int error = fill_lock_file(path);
    if (error == 0)
        error = mdb_env_create(&store->env);
    if (error != 0)
        return error;
    (void)mdb_env_set_userctx(store->env, store);
    (void)mdb_env_set_assert(store->env, on_assertion);
    error = mdb_env_set_mapsize(store->env, store->map_size);
    if (error == 0)
        error = mdb_env_set_maxdbs(store->env, TREES);
    if (error == 0)
        error = mdb_env_open(store->env, path, FLAGS | (store->config.sync ? 0 : MDB_NOSYNC), 0600);
    if (error != 0) {
        mdb_env_close(store->env);
        store->env = NULL;
    }
    return error;
}

/* Where the map begins: told by a page of the main tree, which the walk has seen at its place. */
static int find_map(struct ut_store *store, MDB_txn *txn)
{
    MDB_dbi trees;
    MDB_val name = {7, (void *)(uintptr_t) "records"}, value;
    uint64_t number;
    int error = mdb_dbi_open(txn, NULL, 0, &trees);
    if (error == 0)
        error = mdb_get(txn, trees, &name, &value);
    if (error != 0)
        return error;
    const uint8_t *page =
        (const uint8_t *)value.mv_data - (uintptr_t)value.mv_data % store->page_size;
    memcpy(&number, page, sizeof(number));
    store->map = page - number * store->page_size;
    return 0;
}

static int open_trees(struct ut_store *store, MDB_txn *txn, unsigned create)
{
    int error = mdb_dbi_open(txn, "records", create | MDB_INTEGERKEY, &store->records);
    if (error == 0)
        error = mdb_dbi_open(txn, "index", create | MDB_INTEGERKEY, &store->index);
    if (error == 0)
        error = mdb_dbi_open(txn, "outcomes", create | MDB_INTEGERKEY, &store->outcomes);
    if (error == 0)
        error = mdb_dbi_open(txn, "names", create, &store->names);
    return error;
}

/* Opens the environment, its trees and finds its map. */
static int open_whole(struct ut_store *store)
{
    MDB_txn *txn;
    MDB_stat stat;
    int error = open_env(store, store->path);
    if (error != 0)
        return error;
    (void)mdb_env_stat(store->env, &stat);
    store->page_size = stat.ms_psize;
    error = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
    if (error == 0) {
        error = open_trees(store, txn, 0);
        if (error == 0)
            error = find_map(store, txn);
        /* Handles that a transaction opened are kept by its commit only. */
        if (error == 0)
            error = mdb_txn_commit(txn);
        else
            mdb_txn_abort(txn);
    }
    if (error != 0) {
        mdb_env_close(store->env);
        store->env = NULL;
    }
    return error;
}

int ut_store_begin(struct ut_store *store, unsigned flags, MDB_txn **ret)
{
    int error = store->env != NULL ? mdb_txn_begin(store->env, NULL, flags, ret) : MDB_PANIC;
    if (error != MDB_PANIC)
        return error;
    if (store->env != NULL)
        mdb_env_close(store->env);
    store->env = NULL;
    error = open_whole(store);
    return error != 0 ? error : mdb_txn_begin(store->env, NULL, flags, ret);
}

int ut_store_enlarge(struct ut_store *store)
{
    MDB_txn *txn;
    size_t size = store->map_size + store->map_size / 2;
    if (size / MAP_LARGEST_FACTOR > store->config.max_bytes + MAP_LEAST)
        return MDB_MAP_FULL;
    int error = mdb_env_set_mapsize(store->env, size);
    if (error != 0)
        return error;
    store->map_size = size;
    error = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
    if (error != 0)
        return error;
    error = find_map(store, txn);
    mdb_txn_abort(txn);
    return error;
}

bool ut_store_safe_to_free(const struct ut_store *store, MDB_val value)
{
    if (value.mv_size <= ut_store_inline_max(store))
        return true;
    const uint8_t *page = (const uint8_t *)value.mv_data - 16;
    size_t pages = (15 + value.mv_size) / store->page_size + 1;
    uint64_t number;
    uint16_t flags;
    uint32_t count;
    memcpy(&number, page, sizeof(number));
    memcpy(&flags, page + 10, sizeof(flags));
    memcpy(&count, page + 12, sizeof(count));
    return page == store->map + number * store->page_size && flags == 4 && count == pages;
}

/* ---- making ---------------------------------------------------------------------------------- */

int ut_store_write_name(struct ut_store *store, MDB_txn *txn, MDB_val key, uint32_t number)
{
    uint8_t bytes[UT_NAME_BYTES];
    ut_name_encode(bytes, ut_store_slice(key), number);
    MDB_val value = {sizeof(bytes), bytes};
    return mdb_put(txn, store->names, &key, &value, 0);
}

/* What is left of the making of a file: by this process, or by one that was killed at it. */
static void remove_half_made(const struct ut_disk_directory *directory)
{
    char path[PATH_MAX];
    ut_disk_directory_name(directory, "hold.mdb.new", path);
    (void)unlink(path);
    ut_disk_directory_name(directory, "hold.mdb.new-lock", path);
    (void)unlink(path);
}

/* The file is made under another name and gets its own when it is whole and synced. */
static int make_file(struct ut_store *store)
{
    char path[PATH_MAX];
    MDB_txn *txn;
    ut_disk_directory_name(store->config.directory, "hold.mdb.new", path);
    int error = open_env(store, path);
    if (error != 0)
        return error;
    error = mdb_txn_begin(store->env, NULL, 0, &txn);
    if (error == 0) {
        error = open_trees(store, txn, MDB_CREATE);
        if (error == 0)
            error = ut_store_write_name(store, txn, ut_store_version_key(), UT_STORE_VERSION);
        if (error == 0)
            error = mdb_txn_commit(txn);
        else
            mdb_txn_abort(txn);
    }
    if (error == 0)
        error = mdb_env_sync(store->env, 1);
    mdb_env_close(store->env);
    store->env = NULL;
    ut_crash_point("before_rename");
    if (error == 0 && rename(path, store->path) != 0)
        error = errno;
    ut_crash_point("after_rename");
    return error != 0 ? error : -ut_disk_directory_sync(store->config.directory);
}

/* Refuses what another version wrote. A version that is damaged is no reason to give up the spans
 * beside it: ut_store_visit counts it and writes it anew. */
static int check_version(struct ut_store *store, char error[UT_DISK_ERROR_TEXT])
{
    MDB_txn *txn;
    MDB_val key = ut_store_version_key(), value;
    uint32_t version;
    int code = ut_store_begin(store, MDB_RDONLY, &txn);
    if (code != 0)
        return ut_store_errno(code);
    bool other = mdb_get(txn, store->names, &key, &value) == 0 &&
                 ut_name_decode(ut_store_slice(value), ut_store_slice(key), &version) == 0 &&
                 version != UT_STORE_VERSION;
    mdb_txn_abort(txn);
    if (!other)
        return 0;
    (void)snprintf(
        error, UT_DISK_ERROR_TEXT,
        "%.128s is of version %u, this program writes %d: empty it with the program that "
        "wrote it, or take another directory",
        store->path, version, UT_STORE_VERSION);
    return -EPROTONOSUPPORT;
}

int ut_store_open(struct ut_store **ret, const struct ut_store_config *config,
                  char error[UT_DISK_ERROR_TEXT])
{
    struct ut_store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return -ENOMEM;
    store->config = *config;
    ut_disk_directory_name(config->directory, "hold.mdb", store->path);
    store->map_size = config->max_bytes * 2 > MAP_LEAST ? config->max_bytes * 2 : MAP_LEAST;
    ut_disk_guard_watch();
    ut_disk_guard_enter(config->guard);
    remove_half_made(config->directory);
    int code = access(store->path, F_OK) == 0 ? 0 : make_file(store);
    remove_half_made(config->directory);
    if (code == 0)
        code = open_whole(store);
    if (code != 0)
        (void)snprintf(error, UT_DISK_ERROR_TEXT, "%.160s: %.64s", store->path, mdb_strerror(code));
    code = code != 0 ? ut_store_errno(code) : check_version(store, error);
    ut_disk_guard_leave();
    if (code != 0) {
        ut_store_close(store);
        return code;
    }
    *ret = store;
    return 0;
}

void ut_store_close(struct ut_store *store)
{
    if (store == NULL)
        return;
    ut_disk_guard_enter(store->config.guard);
    if (store->env != NULL && !store->config.sync)
        (void)mdb_env_sync(store->env, 1);
    if (store->env != NULL)
        mdb_env_close(store->env);
    ut_disk_guard_leave();
    free(store);
}

uint64_t ut_store_taken(const struct ut_store *store, size_t size)
{
    enum { INDEX = 96 };
    if (size <= ut_store_inline_max(store))
        return size + INDEX;
    return ((15 + size) / store->page_size + 1) * store->page_size + INDEX;
}
