/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the kernel refuse what an older one would: stands before the C library's syscall(), so that
 * libbpf's calls of bpf(2) come by here. Linked into `watch`, and loaded in front of the program
 * that is shipped (LD_PRELOAD) by tests/kernel. By the environment:
 *
 *   WATCH_REFUSE=NAME      the program of this name (its first 15 characters)
 *   WATCH_WITHOUT_TYPES=1  all programs of tracepoints that know the types of their arguments
 *   WATCH_WITHOUT_TCX=1    links of TC, as before 6.6
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TCX_EGRESS = 47 }; /* newer than the headers */

static bool is_refused(long command, const union bpf_attr *attributes)
{
    const char *name = getenv("WATCH_REFUSE");
    if (command == BPF_LINK_CREATE)
        return getenv("WATCH_WITHOUT_TCX") != NULL &&
               attributes->link_create.attach_type == TCX_EGRESS;
    if (command != BPF_PROG_LOAD)
        return false;
    if (name != NULL && strcmp(attributes->prog_name, name) == 0)
        return true;
    return getenv("WATCH_WITHOUT_TYPES") != NULL &&
           attributes->prog_type == BPF_PROG_TYPE_TRACING &&
           attributes->expected_attach_type == BPF_TRACE_RAW_TP;
}

long syscall(long number, ...)
{
    long a[6];
    va_list arguments;
    va_start(arguments, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(arguments, long);
    va_end(arguments);
    if (number == SYS_bpf && is_refused(a[0], (const void *)a[1])) {
        errno = EINVAL;
        return -1;
    }
    long (*next)(long, ...) = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
