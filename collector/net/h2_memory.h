/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nghttp2's memory from the worker's pool: in steady state a session asks malloc for nothing. What
 * it holds as long as it lives (a frame's buffer, the tables of HPACK) is not rounded up: there are
 * many idle connections.
 */
#ifndef UT_NET_H2_MEMORY_H
#define UT_NET_H2_MEMORY_H

#include <nghttp2/nghttp2.h>

#include "base/pool.h"

/* Valid while the pool lives; nghttp2 copies the struct. */
nghttp2_mem ut_h2_memory(struct ut_pool *pool);

#endif
