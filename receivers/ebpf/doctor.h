/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of the kernel side works here, and why the rest does not: for `undertrace doctor`, the
 * status page, the log and the metrics.
 */
#ifndef UT_EBPF_DOCTOR_H
#define UT_EBPF_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>

enum {
    UT_EBPF_PROGRAMS = 28,
    UT_EBPF_REASON = 256, /* bytes of a reason, with the terminator */
};

struct ut_receiver;

struct ut_ebpf_program {
    const char *name;    /* as in the object and in `bpftool prog`: "tcp_retransmit_skb" */
    const char *since;   /* the release of Linux that it needs: "5.17" */
    const char *without; /* what is missing without it, one line; constant text */
    bool works;          /* loaded and attached, or, after ut_ebpf_doctor, able to be */
    bool unwanted;       /* switched off, or of no use on this kernel; not tried */
    /* Why not, and what would help; where it works, what it cannot tell on this kernel, or "". */
    char reason[UT_EBPF_REASON];
    /* After ut_ebpf_doctor: the setting that would ask for it (constant), where none does; whether
     * it needs CAP_NET_ADMIN. */
    const char *option;
    bool net_admin;
};

/* Loads each program and attaches it, except to interfaces, also those that `config` (a receiver's,
 * NULL: the defaults) does not ask for, and takes all away again; takes some 100 ms and needs no
 * receiver. One running at the same time is not disturbed. */
void ut_ebpf_doctor(const void *config, struct ut_ebpf_program ret[UT_EBPF_PROGRAMS]);

/* The states of a started receiver of type ebpf, UT_EBPF_PROGRAMS of them; valid until it is freed.
 */
const struct ut_ebpf_program *ut_ebpf_programs_of(const struct ut_receiver *receiver);

#endif
