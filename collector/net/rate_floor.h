/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sender must be faster than a floor: `rate` bytes a second, with `grace_ns` in hand at the
 * beginning and never more than that. So one that falls silent for the grace is too slow, and so is
 * one that stays below the rate for long. Pure; looked at now and then, when it is due at the
 * latest.
 */
#ifndef UT_NET_RATE_FLOOR_H
#define UT_NET_RATE_FLOOR_H

#include <stdint.h>

struct ut_rate_floor_limits {
    uint64_t rate; /* bytes a second; 0: no floor */
    uint64_t grace_ns;
};

struct ut_rate_floor {
    uint64_t due_ns;    /* monotonic */
    uint64_t looked_ns; /* 0: never */
    uint64_t bytes;     /* that had come then */
};

/* When the sender is too slow, unless more bytes come until then; UINT64_MAX: never. It sends since
 * `since_ns`, which is not after `now_ns`; `bytes` have come on the connection in all. */
uint64_t ut_rate_floor_due(struct ut_rate_floor *floor, const struct ut_rate_floor_limits *limits,
                           uint64_t since_ns, uint64_t bytes, uint64_t now_ns);

#endif
