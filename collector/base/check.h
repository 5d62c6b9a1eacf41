/* SPDX-License-Identifier: Apache-2.0 */
/* UT_CHECK: for our own mistakes only, kept in release builds. Never on bytes that came from a
 * network, a disk, a config file or the kernel. */
#ifndef UT_BASE_CHECK_H
#define UT_BASE_CHECK_H

__attribute__((noreturn, cold)) void ut_check_failed(const char *file, int line, const char *what);

#define UT_CHECK(condition)                                                                        \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0))                                                     \
            ut_check_failed(__FILE__, __LINE__, #condition);                                       \
    } while (0)

/* Ends the program with 1 and a line that says why; nobody's mistake. For what it cannot be
 * without: at start, and where a configuration is read. On the way of the data there is always an
 * answer. */
__attribute__((noreturn, cold)) void ut_memory_failed(const char *file, int line);

#define UT_CHECK_MEMORY(had)                                                                       \
    do {                                                                                           \
        if (__builtin_expect(!(had), 0))                                                           \
            ut_memory_failed(__FILE__, __LINE__);                                                  \
    } while (0)

#define UT_MUST_USE __attribute__((warn_unused_result))
#define UT_PRINTF(format_at, args_at) __attribute__((format(printf, format_at, args_at)))
#define UT_CONTAINER_OF(pointer, type, member)                                                     \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
