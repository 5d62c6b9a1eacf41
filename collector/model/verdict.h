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
    const char *text;  /* for people; valid during the call; NULL with UT_ACCEPTED */
};

enum ut_result {
    UT_SENT,      /* the backend said OK */
    UT_RETRY,     /* not delivered, may be tried again (after_ms, 0: as the back-off says) */
    UT_TOO_LARGE, /* not delivered; smaller pieces may be taken */
    UT_PERMANENT, /* not delivered and never will be */
};

struct ut_outcome {
    enum ut_result result;
    uint32_t after_ms;       /* with UT_RETRY: what the backend asked for; 0: nothing */
    uint64_t rejected_spans; /* with UT_SENT: the backend's partial_success */
    const char *text;        /* the backend's words or ours; valid during the call; may be NULL */
};

#endif
