/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel programs as the status pages see them; the same in a build without eBPF, which has
 * none. */
#ifndef UT_APP_KERNEL_H
#define UT_APP_KERNEL_H

#include <stdbool.h>
#include <stddef.h>

#define UT_KERNEL_PROGRAMS_MAX 32

struct ut_receiver;

struct ut_kernel_program {
    /* Constant: its name, the release of Linux that it needs, what is missing without it. */
    const char *name, *since, *without;
    bool works;
    bool unwanted;    /* switched off, or of no use on this kernel */
    char reason[256]; /* why not; where it works, what it cannot tell on this kernel, or "" */
    /* After a probe: the setting that would ask for it (constant), where none does; whether it
     * needs CAP_NET_ADMIN. */
    const char *option;
    bool net_admin;
};

/* NULL, or why this build has no kernel programs at all (constant). */
const char *ut_kernel_not_built(void);
/* Loads each program and takes it away again. `config` is that of the receiver that watches the
 * kernel, NULL: its defaults. Returns how many there are. */
size_t ut_kernel_probe(const void *config, struct ut_kernel_program out[UT_KERNEL_PROGRAMS_MAX]);
/* The states of a started receiver that watches the kernel. */
size_t ut_kernel_programs_of(const struct ut_receiver *receiver,
                             struct ut_kernel_program out[UT_KERNEL_PROGRAMS_MAX]);

#endif
