/* SPDX-License-Identifier: Apache-2.0 */
/* How much of the kernel's memory the tables of the programs take. */
#ifndef UT_EBPF_MAPS_H
#define UT_EBPF_MAPS_H

#include <stdint.h>

struct ut_bpf; /* the skeleton */

/* Of a loaded object, in bytes, as the kernel tells each table's (fdinfo, `memlock`); 0: it does
 * not. What belongs to single sockets is not in it: that comes and goes with them. */
uint64_t ut_ebpf_maps_bytes(const struct ut_bpf *skeleton);

#endif
