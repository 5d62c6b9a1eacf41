/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into the program by tests/e2e/malloc.py: counts calls of malloc, calloc and realloc in
 * the first 8 bytes of the file that UT_MALLOC_COUNT names. Frees are not counted.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);

static _Atomic uint64_t unseen;
static _Atomic uint64_t *calls = &unseen;

__attribute__((constructor)) static void open_file(void)
{
    const char *path = getenv("UT_MALLOC_COUNT");
    int fd = path != NULL ? open(path, O_RDWR | O_CREAT, 0600) : -1;
    if (fd < 0 || ftruncate(fd, sizeof(*calls)) != 0)
        _exit(1);
    void *map = mmap(NULL, sizeof(*calls), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        _exit(1);
    calls = map;
    close(fd);
}

void *malloc(size_t size)
{
    atomic_fetch_add(calls, 1);
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    atomic_fetch_add(calls, 1);
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    atomic_fetch_add(calls, 1);
    return __libc_realloc(block, size);
}
