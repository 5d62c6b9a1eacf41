/* SPDX-License-Identifier: Apache-2.0 */
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void ut_check_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "level=fatal event=check_failed file=%s line=%d check=\"%s\"\n", file, line,
            what);
    abort();
}

void ut_memory_failed(const char *file, int line)
{
    fprintf(stderr,
            "level=fatal event=out_of_memory file=%s line=%d text=\"the system gives no memory for "
            "what cannot be done without; give it more, or let it run less\"\n",
            file, line);
    _exit(1);
}
