/* SPDX-License-Identifier: Apache-2.0 */
#include "usage.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <bpf_skeletons/undertrace.skel.h>
#include <errno.h>

enum { KERNEL_ENOTSUPP = 524 }; /* the kernel's own, of which no header here knows */

static uint32_t slots_of(const struct ut_bpf *skeleton)
{
    return sizeof(skeleton->bss->usage_bytes) / sizeof(skeleton->bss->usage_bytes[0]);
}

/* 0 if the program did what it was asked for; -ENODATA if it could not. */
static int run(struct ut_bpf *skeleton)
{
    LIBBPF_OPTS(bpf_test_run_opts, options);
    int error = bpf_prog_test_run_opts(bpf_program__fd(skeleton->progs.memory_usage), &options);
    if (error != 0)
        return error == -KERNEL_ENOTSUPP ? -EOPNOTSUPP : error;
    return options.retval == 1 ? 0 : -ENODATA;
}

int ut_ebpf_usage_point(struct ut_bpf *skeleton, uint32_t slot, int directory)
{
    if (slot >= slots_of(skeleton))
        return -ENOSPC;
    skeleton->bss->usage_slot = slot;
    skeleton->data->usage_directory = directory;
    int error = run(skeleton);
    skeleton->data->usage_directory = -1;
    return error;
}

int ut_ebpf_usage_read(struct ut_bpf *skeleton, uint32_t count, const uint64_t **ret)
{
    if (count > slots_of(skeleton))
        return -ENOSPC;
    skeleton->bss->usage_count = count;
    int error = run(skeleton);
    if (error == 0)
        *ret = (const uint64_t *)skeleton->bss->usage_bytes;
    return error;
}
