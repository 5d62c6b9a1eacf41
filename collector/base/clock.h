/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks of the program, in nanoseconds. Pure code takes `now` as an argument instead. */
#ifndef UT_BASE_CLOCK_H
#define UT_BASE_CLOCK_H

#include <stdint.h>

#define UT_NS_PER_MS UINT64_C(1000000)
#define UT_NS_PER_S UINT64_C(1000000000)

uint64_t ut_clock_monotonic_ns(void); /* CLOCK_MONOTONIC: timers and deadlines */
uint64_t ut_clock_unix_ns(void);      /* CLOCK_REALTIME: what spans carry */
uint64_t ut_clock_boot_ns(void);      /* CLOCK_BOOTTIME: what kernel records carry */
/* UNIX time less boot time, now: adds up to UNIX time with a record's boot time. */
int64_t ut_clock_unix_offset_ns(void);

#endif
