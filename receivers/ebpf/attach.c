/* SPDX-License-Identifier: Apache-2.0 */
#include "attach.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cgroup_mount.h"
#include "base/check.h"

enum { CGROUP_ROOT_ID = 1 }; /* of the whole hierarchy; no other cgroup has it */

struct bpf_link *ut_ebpf_attach_to_root(struct bpf_program *program, char reason[UT_EBPF_REASON])
{
    struct ut_cgroup_mount mount;
    struct stat status;
    int error = ut_cgroup_mount_read(&mount);
    if (error != 0) {
        snprintf(reason, UT_EBPF_REASON, "no cgroup v2 hierarchy is mounted");
        errno = -error;
        return NULL;
    }
    int fd = open(mount.point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    struct bpf_link *link = NULL;
    if (fstat(fd, &status) == 0 && status.st_ino != CGROUP_ROOT_ID) {
        snprintf(reason, UT_EBPF_REASON,
                 "the root of the cgroup v2 hierarchy is not to be seen from here, only that of "
                 "our own cgroup namespace: mount the host's /sys/fs/cgroup and use its namespace");
        errno = EXDEV;
    } else {
        link = bpf_program__attach_cgroup(program, fd);
    }
    error = errno;
    close(fd);
    errno = error;
    return link;
}

int ut_ebpf_make_typed(struct bpf_program *program)
{
    const char *tracepoint = strchr(bpf_program__section_name(program), '/');
    UT_CHECK(tracepoint != NULL);
    bpf_program__set_type(program, BPF_PROG_TYPE_TRACING);
    bpf_program__set_expected_attach_type(program, BPF_TRACE_RAW_TP);
    return bpf_program__set_attach_target(program, 0, tracepoint + 1);
}

struct bpf_link *ut_ebpf_attach(struct bpf_program *program)
{
    if (bpf_program__expected_attach_type(program) == BPF_TRACE_RAW_TP)
        return bpf_program__attach_trace(program);
    return bpf_program__attach(program);
}
