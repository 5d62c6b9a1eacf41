/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory runs out: allocations of the program's own code fail in turn. The linker puts these in the
 * place of malloc and its kin in all that is linked into the test (MEMORY_FAULTS in
 * tests/integration/CMakeLists.txt); the test's own sources are exempt by memory_own.h, and so are
 * shared libraries, in which an allocation that fails is their authors' affair: nghttp2 1.52 and
 * libuv 1.44 end the process by an assertion.
 */
#ifndef UT_TEST_MEMORY_FAULTS_H
#define UT_TEST_MEMORY_FAULTS_H

#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

/*
 * Plays `scene` again and again, each time in a process of its own: allocation number 0 fails, then
 * number 1, and so on until there is none that could; then the same with all that come behind it.
 * With UT_MEMORY_STEP in the environment each so-manieth only; 1 is each.
 *
 * The scene makes what it needs, calls memory_begins(), and ends with memory_passed(). Between the
 * two it may end with 1 and the line of ut_memory_failed only before memory_runs(). It must not
 * leak.
 */
void memory_sweep(const char *name, void (*scene)(void));

void memory_begins(void);  /* allocations fail from here on */
void memory_runs(void);    /* … and from here on that is no reason to end */
void memory_is_back(void); /* none fails any more */
/* For what the caller's thread makes itself, with the means of the program. */
void memory_spares(bool us);
/* What a scene promises; in a child of the test Criterion's own asserts are not heard. */
#define MEMORY_EXPECT(condition, ...)                                                              \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s:", __FILE__, __LINE__, #condition);                 \
            fprintf(stderr, " " __VA_ARGS__);                                                      \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)
/* Ends the process, which has kept what it promised. */
__attribute__((noreturn)) void memory_passed(void);

#endif
