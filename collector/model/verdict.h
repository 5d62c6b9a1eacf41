/* SPDX-License-Identifier: Apache-2.0 */
/* The two answers of the data path: to a push (upstream) and to a send (downstream). */
#ifndef UT_MODEL_VERDICT_H
#define UT_MODEL_VERDICT_H

#include <stdint.h>

enum ut_verdict {
    UT_ACCEPTED, /* the pipeline owns the batch and what was promised for its `ack` holds */
    UT_BUSY,     /* nothing was taken; the sender may try again after delay_ms */
    UT_REJECTED, /* nothing was taken and trying again is of no use */
};

struct ut_answer {
    enum ut_verdict verdict;
    uint32_t delay_ms; /* for UT_BUSY */
    uint8_t status; /* for UT_REJECTED: the gRPC code that the backend gave; 0: it was not asked */
    const char *text; /* for people; valid during the call; NULL with UT_ACCEPTED */
};

enum ut_result {
    UT_SENT,      /* the backend said OK */
    UT_RETRY,     /* not delivered, may be tried again (after_ms, 0: as the back-off says) */
    UT_TOO_LARGE, /* not delivered; smaller pieces may be taken */
    UT_PERMANENT, /* not delivered and never will be */
};

/* Why something is to be sent again. TRANSPORT, UNAVAILABLE and TIMEOUT speak of the endpoint. */
enum ut_setback {
    UT_SETBACK_BACKEND,     /* another answer that may be retried */
    UT_SETBACK_TRANSPORT,   /* no connection, or it broke */
    UT_SETBACK_UNAVAILABLE, /* the backend, or what stands before it, says so */
    UT_SETBACK_TIMEOUT,     /* no answer in time */
    UT_SETBACK_THROTTLED, /* the backend asks for a pause: where after_ms is not 0, whatever else */
    UT_SETBACK_LOCAL,     /* it never left: out of memory, stopping */
    UT_SETBACKS,
};

struct ut_outcome {
    enum ut_result result;
    enum ut_setback cause;   /* with UT_RETRY */
    uint8_t status;          /* the gRPC code of the answer; 0: OK, or there is none */
    uint32_t after_ms;       /* with UT_RETRY: what the backend asked for; 0: nothing */
    uint64_t rejected_spans; /* with UT_SENT: the backend's partial_success */
    const char *text;        /* the backend's words or ours; valid during the call; may be NULL */
};

#endif
