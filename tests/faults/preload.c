/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into the program by tests/faults: makes calls of libc fail as the file that UT_FAULTS
 * names says, which the test maps and changes while the program runs. Writes and syncs fail only on
 * files below UT_FAULTS_FOLDER, questions only for the name backend.test, allocations wherever they
 * come from.
 *
 * The file is one struct fault for each kind, in the order of `enum kind`. The calls number `after`
 * to `after + times - 1` of a kind since `calls` was last set to 0 fail with `error`; with HALF in
 * it, half of a write is done and the next one fails.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { HALF = 1 << 16 };
enum kind { WRITE, SYNC, ALLOCATION, RESOLUTION, KINDS };

struct fault {
    _Atomic uint32_t after, times, error, calls, failed;
};

static struct fault none[KINDS], *faults = none;
static const char *folder = "";

/* Before main: nobody else calls yet. */
__attribute__((constructor)) static void open_file(void)
{
    const char *path = getenv("UT_FAULTS"), *below = getenv("UT_FAULTS_FOLDER");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        _exit(1);
    void *map = mmap(NULL, sizeof(none), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        _exit(1);
    folder = below != NULL ? below : "";
    faults = map;
    close(fd);
}

/* 0: the call goes on as ever. */
static int fault_of(enum kind kind)
{
    struct fault *fault = &faults[kind];
    if (fault->times == 0)
        return 0;
    uint32_t number = atomic_fetch_add(&fault->calls, 1);
    if (number < fault->after || number - fault->after >= fault->times)
        return 0;
    atomic_fetch_add(&fault->failed, 1);
    return (int)fault->error;
}

#define REAL(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

/* ---- the disk -------------------------------------------------------------------------------- */

static bool is_watched(int fd)
{
    char link[64], path[PATH_MAX];
    if (faults[WRITE].times == 0 && faults[SYNC].times == 0)
        return false;
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof(path) - 1);
    if (size < 0)
        return false;
    path[size] = '\0';
    return strncmp(path, folder, strlen(folder)) == 0;
}

static bool fails(enum kind kind, int fd)
{
    int error = is_watched(fd) ? fault_of(kind) : 0;
    if (error != 0)
        errno = error & ~HALF;
    return error != 0;
}

ssize_t write(int fd, const void *data, size_t size)
{
    return fails(WRITE, fd) ? -1 : REAL(write)(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return fails(WRITE, fd) ? -1 : REAL(pwrite)(fd, data, size, offset);
}

ssize_t writev(int fd, const struct iovec *runs, int count)
{
    int error = is_watched(fd) ? fault_of(WRITE) : 0;
    if ((error & HALF) != 0) {
        /* Where the disk is full it takes what still fits, and nothing when asked again. */
        atomic_fetch_add(&faults[WRITE].times, 1);
        faults[WRITE].error = (uint32_t)(error & ~HALF);
        return REAL(write)(fd, runs[0].iov_base, (runs[0].iov_len + 1) / 2);
    }
    if (error != 0)
        errno = error;
    return error != 0 ? -1 : REAL(writev)(fd, runs, count);
}

ssize_t pwritev(int fd, const struct iovec *runs, int count, off_t offset)
{
    return fails(WRITE, fd) ? -1 : REAL(pwritev)(fd, runs, count, offset);
}

int fdatasync(int fd)
{
    return fails(SYNC, fd) ? -1 : REAL(fdatasync)(fd);
}

int fsync(int fd)
{
    return fails(SYNC, fd) ? -1 : REAL(fsync)(fd);
}

/* ---- names ----------------------------------------------------------------------------------- */

/* The name that is not made to fail is at home here: a test needs no name server. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    bool ours = node != NULL && strcmp(node, "backend.test") == 0;
    int error = ours ? fault_of(RESOLUTION) : 0;
    if (error != 0)
        return -error;
    return REAL(getaddrinfo)(ours ? "127.0.0.1" : node, service, hints, found);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* What dlsym asks for, or gives back, while it looks for malloc stays where it is. */
static char early[16384];
static _Atomic size_t early_used;
/* dlsym is declared a leaf, which calls nothing here. */
static _Thread_local volatile bool looking;

static void *early_alloc(size_t size)
{
    size_t at = atomic_fetch_add(&early_used, (size + 31) & ~(size_t)15);
    return at + size + 16 <= sizeof(early) ? early + ((at + 15) & ~(size_t)15) : NULL;
}

static bool is_early(const void *block)
{
    return (const char *)block >= early && (const char *)block < early + sizeof(early);
}

static void *look(const char *name)
{
    looking = true;
    void *found = dlsym(RTLD_NEXT, name);
    looking = false;
    return found;
}

static bool fails_to_allocate(void)
{
    if (fault_of(ALLOCATION) == 0)
        return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    static void *(*_Atomic real)(size_t);
    if (looking)
        return early_alloc(size);
    if (real == NULL)
        real = (void *(*)(size_t))(uintptr_t)look("malloc");
    return fails_to_allocate() ? NULL : real(size);
}

void *calloc(size_t count, size_t size)
{
    static void *(*_Atomic real)(size_t, size_t);
    if (looking)
        return early_alloc(count * size);
    if (real == NULL)
        real = (void *(*)(size_t, size_t))(uintptr_t)look("calloc");
    return fails_to_allocate() ? NULL : real(count, size);
}

void *realloc(void *block, size_t size)
{
    static void *(*_Atomic real)(void *, size_t);
    if (real == NULL)
        real = (void *(*)(void *, size_t))(uintptr_t)look("realloc");
    return fails_to_allocate() ? NULL : real(block, size);
}

void free(void *block)
{
    static void (*_Atomic real)(void *);
    if (looking || is_early(block))
        return;
    if (real == NULL)
        real = (void (*)(void *))(uintptr_t)look("free");
    real(block);
}

/* Large blocks are mapped (collector/base/pool.c). */
void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    bool memory = (flags & MAP_ANONYMOUS) != 0 && protection == (PROT_READ | PROT_WRITE);
    if (faults != none && memory && fails_to_allocate())
        return MAP_FAILED;
    /* A sanitizer maps before anything can be looked up. */
    return (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}
