/* SPDX-License-Identifier: Apache-2.0 */
/* A bench peer's HTTP/1.1: the client's end, one request at a time. */
#ifndef UT_BENCH_HTTP1_H
#define UT_BENCH_HTTP1_H

#include "peer.h"

struct http1; /* what has come of an answer */

struct http1 *bench_http1_new(void);
/* A request leaves; on_response tells of its answer. */
void bench_http1_begin(struct peer *peer, void *user);
/* false: what came is no answer, or none is due. */
bool bench_http1_receive(struct peer *peer, const uint8_t *bytes, size_t size);

#endif
