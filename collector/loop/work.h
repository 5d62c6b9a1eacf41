/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that may block (a disk), done on a thread of libuv's pool while the loop goes on. `run` may
 * touch only what nobody else touches meanwhile: no pool, budget, timer or metric of the worker.
 */
#ifndef UT_LOOP_WORK_H
#define UT_LOOP_WORK_H

#include "loop/worker.h"

struct ut_work {
    uv_work_t request;
    void (*run)(struct ut_work *work); /* on another thread */
    void (*done)(
        struct ut_work *work); /* on the worker's thread, once per start, never inside it */
};

/* `run` and `done` are set. The work must not be started again before `done` is called; there it
 * may be. It cannot be cancelled. */
void ut_work_start(struct ut_worker *worker, struct ut_work *work);

#endif
