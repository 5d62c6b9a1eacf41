/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crash_point.h"

#ifdef UT_CRASH_POINTS
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void ut_crash_point(const char *name)
{
    static atomic_ulong times;
    const char *wanted = getenv("UNDERTRACE_CRASH");
    size_t size = strlen(name);
    if (wanted == NULL || strncmp(wanted, name, size) != 0 || wanted[size] != ':')
        return;
    if (atomic_fetch_add(&times, 1) + 1 == strtoull(wanted + size + 1, NULL, 10))
        (void)kill(getpid(), SIGKILL);
}
#endif
