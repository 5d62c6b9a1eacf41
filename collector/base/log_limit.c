/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log_limit.h"

#include <string.h>

/* The event's row; a new name takes a free row or that of the name that was quiet longest. */
static struct ut_log_limit_event *find_event(struct ut_log_limit *limit, const char *name,
                                             uint64_t now_ns)
{
    struct ut_log_limit_event *quietest = &limit->events[0];
    for (uint32_t i = 0; i < limit->count; i++) {
        struct ut_log_limit_event *event = &limit->events[i];
        if (strncmp(event->name, name, UT_LOG_LIMIT_NAME - 1) == 0)
            return event;
        if (event->last_ns < quietest->last_ns)
            quietest = event;
    }
    struct ut_log_limit_event *event =
        limit->count < UT_LOG_LIMIT_EVENTS ? &limit->events[limit->count++] : quietest;
    *event = (struct ut_log_limit_event){.refill_ns = now_ns, .tokens = UT_LOG_LIMIT_BURST};
    size_t size = strnlen(name, UT_LOG_LIMIT_NAME - 1);
    memcpy(event->name, name, size);
    return event;
}

bool ut_log_limit_take(struct ut_log_limit *limit, const char *name, uint64_t now_ns,
                       uint64_t *ret_left_out)
{
    struct ut_log_limit_event *event = find_event(limit, name, now_ns);
    uint64_t elapsed = now_ns - event->refill_ns;
    uint64_t fresh = elapsed / UT_LOG_LIMIT_REFILL_NS;
    event->last_ns = now_ns;
    if (event->tokens + fresh >= UT_LOG_LIMIT_BURST) {
        /* A full bucket starts its next refill when the first token leaves it. */
        event->tokens = UT_LOG_LIMIT_BURST;
        event->refill_ns = now_ns;
    } else {
        event->tokens += (uint32_t)fresh;
        event->refill_ns += fresh * UT_LOG_LIMIT_REFILL_NS;
    }
    if (event->tokens == 0) {
        event->left_out++;
        return false;
    }
    event->tokens--;
    *ret_left_out = event->left_out;
    event->left_out = 0;
    return true;
}
