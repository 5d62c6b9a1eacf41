/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ack: delivered`: a push is answered when every exporter is done with all its spans, or at its
 * deadline. A delivery watches the bodies of one push through processors and queues.
 *
 *   all spans sent, or some refused for good      → ACCEPTED (losses are counted per exporter)
 *   all refused for good, by every exporter       → REJECTED, with the backend's status and words
 *   some given up that might be sent again        → BUSY
 *   deadline                                      → BUSY; what is not in flight is withdrawn
 *   the sender has gone                           → ACCEPTED, unheard; nothing is withdrawn
 *
 * Spans that a processor leaves out are finished with that.
 *
 * Invariants: 1. the push is answered once; 2. the delivery lives until the push is answered and
 * the last of its bodies is gone; 3. after the answer no span changes anything.
 */
#ifndef UT_FLOW_DELIVERY_H
#define UT_FLOW_DELIVERY_H

#include "component.h"
#include "flow/queue.h"

/* The deliveries of one pipeline. */
struct ut_deliveries {
    struct ut_worker *worker;
    struct ut_queue *const *queues; /* borrowed, of the pipeline */
    size_t queue_count;
    uint64_t timeout_ns; /* 0: pushes are not waited for */
    uint64_t open;       /* not freed */
};

/* Watches the bodies of the push's batch from now on. -ENOMEM: nothing has changed. */
int ut_delivery_begin(struct ut_deliveries *deliveries, struct ut_push *push) UT_MUST_USE;
/* The batch comes to the queues: its spans, in as many exporters as there are queues, are what is
 * waited for. */
void ut_delivery_expect(struct ut_deliveries *deliveries, const struct ut_batch *batch);
/* The sender of the push (begun, not answered) has gone; answers it. */
void ut_delivery_abandon(struct ut_push *push);

#endif
