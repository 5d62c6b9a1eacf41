/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The egress hook of one interface, and our program in it: by a tcx link where the kernel has them
 * (e420bed02507, 6.6), which goes with the process however that ends; else by a filter of the
 * interface's clsact qdisc, which stays until somebody takes it out. All of it has to be called in
 * the interface's network namespace.
 *
 * 1. Our program lets others see every packet: it returns TC_ACT_UNSPEC, which in either is "next".
 * 2. A clsact qdisc is made where there is none and never deleted: by then it may be another's, and
 *    an empty one costs nothing.
 * 3. Filters are told apart by their handle, which has our mark. Several processes share an
 *    interface with a handle each; the lock of a handle goes with its process, so that a filter
 *    whose handle can be locked is left over and is replaced, or taken out.
 */
#ifndef UT_EBPF_TC_HOOK_H
#define UT_EBPF_TC_HOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"

struct ut_tc_handle {
    uint32_t number; /* 0: as many as there are, are in use by others */
    int lock;        /* a descriptor, -1: none */
};

/* Locks a handle of the caller's network namespace. */
void ut_tc_handle_init(struct ut_tc_handle *handle);
void ut_tc_handle_done(struct ut_tc_handle *handle);

struct ut_tc_hook {
    int ifindex;
    int link;          /* a descriptor, -1: none */
    uint32_t handle;   /* of the filter; 0: none */
    uint32_t priority; /* likewise */
};

/* Attaches `program` (a descriptor) ahead of the others that are there. 0 or a negative errno:
 * -ENODEV where the interface has gone meanwhile, -EUSERS where a handle is needed and 0, -EBUSY
 * where others have an ingress qdisc, beside which there can be no clsact. */
int ut_tc_attach(struct ut_tc_hook *hook, int ifindex, int program, uint32_t handle) UT_MUST_USE;
void ut_tc_detach(struct ut_tc_hook *hook);
/* Lets go of it without a word to the interface, which is not there any more. */
void ut_tc_forget(struct ut_tc_hook *hook);

/* Whether it is still in place: others may have deleted the qdisc. */
bool ut_tc_holds(const struct ut_tc_hook *hook);

/* Takes out the filters that processes before us have left at this interface: those of our `own`
 * handle, so before we attach one, and of handles that nobody has locked. */
void ut_tc_sweep(int ifindex, uint32_t own);

#endif
