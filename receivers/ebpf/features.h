/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the running kernel has, by what its BTF names, for the loader alone: the same questions as
 * in bpf/flavors.bpf.h, which answers them for the programs.
 */
#ifndef UT_EBPF_FEATURES_H
#define UT_EBPF_FEATURES_H

#include <stdbool.h>
#include <stdint.h>

struct ut_ebpf_features {
    uint32_t charged_flags; /* of an allocation that belongs to the task's cgroup */
    bool typed_arguments;   /* programs of tracepoints know the types of theirs (5.9) */
    bool socket_storage;    /* programs of tracepoints reach it (5.11) */
    bool socket_cookies;    /* they are told the cookies of sockets (5.12) */
    bool droppers;          /* they are told whose segment is dropped (6.11) */
    bool sends;             /* they are told of sends before the bytes are taken (6.16) */
    bool victims;           /* they are told whose process was killed for want of memory (6.9) */
};

/* Takes about 10 ms. Where there is no BTF, and so nothing can be loaded, everything is there. */
void ut_ebpf_features_read(struct ut_ebpf_features *ret);

/* What is left where the kernel refuses all programs whose arguments have types. */
void ut_ebpf_features_untyped(struct ut_ebpf_features *features);

#endif
