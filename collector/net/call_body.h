/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a call as call.c sees it; its other functions are in call.h. */
#ifndef UT_NET_CALL_BODY_H
#define UT_NET_CALL_BODY_H

#include "net/call.h"

/* The body is complete: it becomes a segment, however small. false: the call was answered. */
bool ut_call_finish_body(struct ut_call *call) UT_MUST_USE;
/* Lets go of the body and of what inflates it. */
void ut_call_drop_body(struct ut_call *call);

#endif
