/* SPDX-License-Identifier: Apache-2.0 */
/* How programs get to where they run: to their tracepoints, or to the root of the cgroups. */
#ifndef UT_EBPF_ATTACH_H
#define UT_EBPF_ATTACH_H

#include <bpf/libbpf.h>

#include "doctor.h"

/* To the sockets of every cgroup; other programs there go on. NULL and errno, and in `reason` why
 * if errno does not tell. */
struct bpf_link *ut_ebpf_attach_to_root(struct bpf_program *program, char reason[UT_EBPF_REASON]);

/* Before it is loaded: has the verifier know the types of a raw tracepoint's arguments (tp_btf). 0
 * or a negative errno: the kernel's BTF does not name them. */
int ut_ebpf_make_typed(struct bpf_program *program);

/* To where its section says. NULL and errno. */
struct bpf_link *ut_ebpf_attach(struct bpf_program *program);

#endif
