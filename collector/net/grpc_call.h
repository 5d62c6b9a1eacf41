/* SPDX-License-Identifier: Apache-2.0 */
/* The gRPC kind of an HTTP/2 call: its checks, the framing of its message, its answers. For
 * h2_calls.c. */
#ifndef UT_NET_GRPC_CALL_H
#define UT_NET_GRPC_CALL_H

#include "net/h2_calls.h"

extern const struct ut_call_ops ut_grpc_call_ops;

/* Checks the header and refuses the call, or lets it arrive. */
void ut_grpc_call_judge(struct ut_h2_call *call);
void ut_grpc_call_data(struct ut_h2_call *call, ut_slice bytes);
void ut_grpc_call_end(struct ut_h2_call *call);

#endif
