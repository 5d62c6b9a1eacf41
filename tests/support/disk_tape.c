/* SPDX-License-Identifier: Apache-2.0 */
#include "disk_tape.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* The names that the linker must find are libc's own. */
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset);
ssize_t writev(int fd, const struct iovec *runs, int count);
int fdatasync(int fd);
int fsync(int fd);
int rename(const char *from, const char *to);

static struct {
    pthread_mutex_t lock;
    bool on;
    struct tape_op *ops;
    size_t count, room;
    struct {
        int error;
        unsigned after, times, calls;
    } faults[3];
} tape = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- recording ------------------------------------------------------------------------------- */

static struct tape_op *add(void)
{
    if (tape.count == tape.room) {
        tape.room = tape.room > 0 ? tape.room * 2 : 1024;
        tape.ops = realloc(tape.ops, tape.room * sizeof(*tape.ops));
        if (tape.ops == NULL)
            abort();
    }
    return &tape.ops[tape.count++];
}

static void record_write(uint64_t offset, const void *data, size_t size, bool synced)
{
    (void)pthread_mutex_lock(&tape.lock);
    if (tape.on && size > 0) {
        struct tape_op *op = add();
        *op = (struct tape_op){
            .kind = TAPE_WRITE,
            .synced = synced,
            .offset = offset,
            .size = size,
            .data = malloc(size),
        };
        if (op->data == NULL)
            abort();
        memcpy(op->data, data, size);
    }
    (void)pthread_mutex_unlock(&tape.lock);
}

static void record(struct tape_op op)
{
    (void)pthread_mutex_lock(&tape.lock);
    if (tape.on)
        *add() = op;
    (void)pthread_mutex_unlock(&tape.lock);
}

void tape_start(void)
{
    tape.on = true;
}

void tape_stop(void)
{
    tape.on = false;
}

void tape_mark(int mark, uint64_t number)
{
    record((struct tape_op){.kind = TAPE_MARK, .mark = mark, .number = number});
}

const struct tape_op *tape_ops(size_t *ret_count)
{
    *ret_count = tape.count;
    return tape.ops;
}

void tape_free(void)
{
    for (size_t i = 0; i < tape.count; i++)
        free(tape.ops[i].data);
    free(tape.ops);
    tape.ops = NULL;
    tape.count = tape.room = 0;
}

/* ---- faults ---------------------------------------------------------------------------------- */

void tape_fail(enum tape_call call, int error, unsigned after, unsigned times)
{
    tape.faults[call].error = error;
    tape.faults[call].after = after;
    tape.faults[call].times = times;
    tape.faults[call].calls = 0;
}

unsigned tape_calls(enum tape_call call)
{
    return tape.faults[call].calls;
}

/* -1: the call goes on as ever. */
static int fault_of(enum tape_call call)
{
    unsigned number = tape.faults[call].calls++;
    bool fails = number >= tape.faults[call].after &&
                 number - tape.faults[call].after < tape.faults[call].times;
    return fails ? tape.faults[call].error : -1;
}

/* ---- between LMDB and the kernel ------------------------------------------------------------- */

/* Whether it is a data file, under its own name or the one that it is made under. */
static bool is_watched(int fd)
{
    char link[64], path[PATH_MAX];
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof(path) - 1);
    if (size < 0)
        return false;
    path[size] = '\0';
    const char *name = strrchr(path, '/');
    return name != NULL && (strcmp(name, "/hold.mdb") == 0 || strcmp(name, "/hold.mdb.new") == 0);
}

static bool is_synced(int fd)
{
    return (fcntl(fd, F_GETFL) & O_DSYNC) != 0;
}

#define REAL(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    ssize_t (*real)(int, const void *, size_t, off_t) = REAL(pwrite);
    if (!is_watched(fd))
        return real(fd, data, size, offset);
    bool synced = is_synced(fd);
    int error = fault_of(synced ? TAPE_CALL_META : TAPE_CALL_WRITE);
    if (error > 0) {
        errno = error;
        return -1;
    }
    ssize_t wrote = real(fd, data, error == 0 ? size / 2 : size, offset);
    record_write((uint64_t)offset, data, wrote > 0 ? (size_t)wrote : 0, synced);
    return wrote;
}

ssize_t writev(int fd, const struct iovec *runs, int count)
{
    ssize_t (*real)(int, const struct iovec *, int) = REAL(writev);
    if (!is_watched(fd))
        return real(fd, runs, count);
    int error = fault_of(TAPE_CALL_WRITE);
    if (error > 0) {
        errno = error;
        return -1;
    }
    off_t at = lseek(fd, 0, SEEK_CUR);
    int whole = error == 0 ? 1 : count;
    ssize_t wrote = real(fd, runs, whole);
    for (int i = 0; i < whole && wrote > 0; i++) {
        record_write((uint64_t)at, runs[i].iov_base, runs[i].iov_len, is_synced(fd));
        at += (off_t)runs[i].iov_len;
    }
    return wrote;
}

static int sync_with(int (*real)(int), int fd)
{
    if (!is_watched(fd))
        return real(fd);
    int error = fault_of(TAPE_CALL_SYNC);
    if (error >= 0) {
        errno = error;
        return -1;
    }
    int result = real(fd);
    if (result == 0)
        record((struct tape_op){.kind = TAPE_SYNC});
    return result;
}

int fdatasync(int fd)
{
    return sync_with(REAL(fdatasync), fd);
}

int fsync(int fd)
{
    return sync_with(REAL(fsync), fd);
}

int rename(const char *from, const char *to)
{
    int result = REAL(rename)(from, to);
    const char *name = strrchr(to, '/');
    if (result == 0 && name != NULL && strcmp(name, "/hold.mdb") == 0)
        record((struct tape_op){.kind = TAPE_RENAME});
    return result;
}
