/* SPDX-License-Identifier: Apache-2.0 */
/* The two steps of a queue's stop, and what else lets waiting entries go early. */
#include "flow/queue_parts.h"

void ut_queue_wake_waiting(struct ut_queue *queue)
{
    while (queue->waiting.first != NULL) {
        struct ut_entry *entry = queue->waiting.first;
        ut_queue_unlist(entry);
        ut_entry_append(&queue->due, entry);
    }
}

static void drop_list(struct ut_entry_list *list)
{
    while (list->first != NULL) {
        struct ut_entry *entry = list->first;
        ut_queue_unlist(entry);
        ut_queue_drop_rest(entry, UT_DROP_SHUTDOWN);
    }
}

void ut_queue_drain(struct ut_queue *queue, void (*drained)(void *arg), void *arg)
{
    queue->draining = true;
    queue->drained = drained;
    queue->drained_arg = arg;
    ut_queue_backlog_hand_over(queue);
    for (size_t i = 0; i < UT_ENDPOINTS_MAX; i++)
        ut_circuit_hurry(&queue->circuits[i]);
    ut_queue_wake_waiting(queue);
    ut_queue_pump(queue);
}

void ut_queue_abandon(struct ut_queue *queue)
{
    queue->draining = true;
    queue->abandoned = true;
    drop_list(&queue->due);
    drop_list(&queue->waiting);
    drop_list(&queue->fresh);
    ut_timer_cancel(&queue->worker->timers, &queue->sweep);
    ut_timer_cancel(&queue->worker->timers, &queue->stuck);
    ut_queue_pump(queue);
}
