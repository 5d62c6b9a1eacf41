/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log's rate limit: each name (an event, or an event and its cause) has a burst of lines and
 * then one line in a while. Pure: takes `now`. The table is bounded; where it is full the name that
 * was quiet longest gives its place away, and with it the count of its lines left out.
 */
#ifndef UT_BASE_LOG_LIMIT_H
#define UT_BASE_LOG_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#define UT_LOG_LIMIT_EVENTS 128
#define UT_LOG_LIMIT_NAME 64 /* bytes of a name that are told apart, with the terminator */
#define UT_LOG_LIMIT_BURST 5
#define UT_LOG_LIMIT_REFILL_NS UINT64_C(10000000000)

struct ut_log_limit {
    struct ut_log_limit_event {
        char name[UT_LOG_LIMIT_NAME];
        uint64_t last_ns;   /* last asked for */
        uint64_t refill_ns; /* when the last token came */
        uint64_t left_out;  /* lines since the last one that went out */
        uint32_t tokens;
    } events[UT_LOG_LIMIT_EVENTS];
    uint32_t count;
};

/* Whether a line of `name` may go out at `now_ns` (monotonic). If so, `ret_left_out` is how many
 * were left out since the last one. */
bool ut_log_limit_take(struct ut_log_limit *limit, const char *name, uint64_t now_ns,
                       uint64_t *ret_left_out);

#endif
