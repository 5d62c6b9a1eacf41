/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks containerd, over its socket, what the containers of the workload table are called: names,
 * image, Kubernetes' labels, and its own version. Made and driven by the app; nothing waits for it:
 * a Resource gets what is known when its spans are joined.
 *
 * A container is asked for when its workload appears (so that it has an answer before its first
 * span), again when it sends spans while it has none, and again when containerd says that it has
 * changed. Answers go to the workload that was asked for, by its id, and only while that lives:
 * whatever gets the same container id later is another workload and asks for itself.
 *
 * Bounded: CALLS questions at once, ASKS_PER_SECOND, a queue of as many as there are workloads, one
 * message of UT_CONTAINERD_MESSAGE_MAX bytes.
 *
 * States: waiting (for the next attempt) → connecting → open → waiting; any → stopped. Attempts are
 * 1 s apart, then twice as long each time, up to a minute.
 */
#ifndef UT_EVIDENCE_CONTAINERD_H
#define UT_EVIDENCE_CONTAINERD_H

#include "evidence/evidence.h"
#include "loop/worker.h"

#define UT_CONTAINERD_SOCKET "/run/containerd/containerd.sock"

struct ut_containerd;

struct ut_containerd_figures {
    const char *socket;
    const char *version; /* "": not known */
    const char *trouble; /* why it is not connected, for people; "" where it is */
    bool connected;
    uint64_t found, absent, failed, refused; /* answers; questions that found no room */
    uint32_t waiting;                        /* questions */
};

/* `socket` is a path, copied; `expected`: somebody has named it, so that its absence is worth a
 * warning. `evidence` and `worker` are borrowed. NULL: out of memory. */
struct ut_containerd *ut_containerd_new(struct ut_worker *worker, struct ut_evidence *evidence,
                                        const char *socket, bool expected) UT_MUST_USE;
void ut_containerd_start(struct ut_containerd *containerd);
/* Lets go of everything; stopped(arg) comes later, unless `stopped` is NULL. */
void ut_containerd_stop(struct ut_containerd *containerd, void (*stopped)(void *arg), void *arg);
/* Never started, or stopped. NULL is fine. */
void ut_containerd_free(struct ut_containerd *containerd);
void ut_containerd_figures(const struct ut_containerd *containerd,
                           struct ut_containerd_figures *ret);

#endif
