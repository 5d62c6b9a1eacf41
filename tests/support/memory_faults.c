/* SPDX-License-Identifier: Apache-2.0 */
#include "memory_faults.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hold_bodies.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#endif

enum { PASSED = 42, STEP = 9, SECONDS = 60 };

/* Shared with the process that plays the scene. */
struct sweep {
    _Atomic uint32_t after, times; /* calls number `after` to after + times - 1 fail */
    _Atomic uint32_t calls, failed;
    _Atomic bool on, runs;
};

static struct sweep nothing, *sweep = &nothing;
static _Thread_local bool spared;

/* ---- what the linker puts in the place of libc's --------------------------------------------- */

char *__real_strdup(const char *text);
void *__real_reallocarray(void *block, size_t count, size_t size);
FILE *__real_open_memstream(char **text, size_t *size);
void *__real_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void *__wrap_reallocarray(void *block, size_t count, size_t size);
char *__wrap_strdup(const char *text);
int __wrap_asprintf(char **ret, const char *format, ...);
FILE *__wrap_open_memstream(char **text, size_t *size);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);

static bool fails(void)
{
    if (!sweep->on || spared)
        return false;
    uint32_t number = atomic_fetch_add(&sweep->calls, 1);
    if (number < sweep->after || number - sweep->after >= sweep->times)
        return false;
    atomic_fetch_add(&sweep->failed, 1);
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size)
{
    return fails() ? NULL : __real_realloc(block, size);
}

void *__wrap_reallocarray(void *block, size_t count, size_t size)
{
    return fails() ? NULL : __real_reallocarray(block, count, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

int __wrap_asprintf(char **ret, const char *format, ...)
{
    if (fails())
        return -1;
    va_list args;
    va_start(args, format);
    int size = vasprintf(ret, format, args);
    va_end(args);
    return size;
}

FILE *__wrap_open_memstream(char **text, size_t *size)
{
    return fails() ? NULL : __real_open_memstream(text, size);
}

void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    return fails() ? MAP_FAILED : __real_mmap(at, size, protection, flags, fd, offset);
}

/* ---- in the process that plays --------------------------------------------------------------- */

void memory_begins(void)
{
    sweep->on = true;
}

void memory_runs(void)
{
    sweep->runs = true;
}

void memory_is_back(void)
{
    sweep->on = false;
}

void memory_spares(bool us)
{
    spared = us;
}

void memory_passed(void)
{
    bool leaks = false;
#if defined(__SANITIZE_ADDRESS__)
    leaks = __lsan_do_recoverable_leak_check() != 0;
#endif
    _exit(leaks ? 1 : PASSED);
}

/* ---- the sweep ------------------------------------------------------------------------------- */

/* Plays the scene once. What it says is in `words`. */
static int play(void (*scene)(void), FILE *words)
{
    sweep->calls = sweep->failed = 0;
    sweep->on = sweep->runs = false;
    rewind(words);
    cr_assert_eq(ftruncate(fileno(words), 0), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        (void)dup2(fileno(words), STDERR_FILENO);
        (void)signal(SIGALRM, SIG_DFL);
        (void)alarm(SECONDS);
        scene();
        _exit(1);
    }
    int status = 0;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return status;
}

/* Whether it ended as one may that cannot begin: with 1, and a line that says why. */
static bool said_why(int status, const char *text)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == 1 && !sweep->runs &&
           strstr(text, "event=out_of_memory") != NULL && strstr(text, "Sanitizer") == NULL;
}

static void sweep_over(const char *name, void (*scene)(void), uint32_t times, FILE *words)
{
    uint32_t step = (uint32_t)harness_setting("UT_MEMORY_STEP", STEP);
    uint32_t failed = 0, ended = 0;
    sweep->times = times;
    for (sweep->after = 0;; sweep->after += step) {
        char text[16384];
        int status = play(scene, words);
        rewind(words);
        text[fread(text, 1, sizeof(text) - 1, words)] = '\0';
        bool passed = WIFEXITED(status) && WEXITSTATUS(status) == PASSED;
        bool why = said_why(status, text);
        cr_assert(passed || why, "%s: without allocation %u%s: status %x: %s", name, sweep->after,
                  times > 1 ? " and all behind it" : "", (unsigned)status, text);
        if (sweep->failed == 0)
            break;
        failed++;
        ended += why;
    }
    cr_expect_gt(failed, 0);
    printf("%s: %u times there was no memory%s, %u ended with the line that says so\n", name,
           failed, times > 1 ? ", and none behind it" : "", ended);
}

void memory_sweep(const char *name, void (*scene)(void))
{
    FILE *words = tmpfile();
    cr_assert_not_null(words);
    sweep = __real_mmap(NULL, sizeof(*sweep), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                        -1, 0);
    cr_assert(sweep != MAP_FAILED);
    sweep_over(name, scene, 1, words);
    sweep_over(name, scene, UINT32_MAX, words);
    (void)fclose(words);
    (void)fflush(stdout);
}
