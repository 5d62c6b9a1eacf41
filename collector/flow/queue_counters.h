/* SPDX-License-Identifier: Apache-2.0 */
/* The counters of one queue, under the names that the Collector's dashboards know. */
#ifndef UT_FLOW_QUEUE_COUNTERS_H
#define UT_FLOW_QUEUE_COUNTERS_H

#include "flow/queue.h"

#define UT_QUEUE_LABEL_BYTES 320

struct ut_queue_counters {
    uint64_t *unjoined;
    uint64_t *sent, *send_failed, *enqueue_failed;
    uint64_t *retries[UT_SETBACKS];
    uint64_t *dropped[UT_DROP_REASONS];
};

/* `exporter="<id>"` with the id escaped (and cut where it is absurdly long); returns `out`. */
const char *ut_queue_label(char out[UT_QUEUE_LABEL_BYTES], const char *id);
void ut_queue_counters_init(struct ut_queue_counters *counters, struct ut_metrics *metrics,
                            const char *id);

#endif
