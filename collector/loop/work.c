/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/work.h"

static void on_work(uv_work_t *request)
{
    struct ut_work *work = UT_CONTAINER_OF(request, struct ut_work, request);
    work->run(work);
}

static void on_work_done(uv_work_t *request, int status)
{
    struct ut_work *work = UT_CONTAINER_OF(request, struct ut_work, request);
    UT_CHECK(status == 0); /* only a cancelled one has another */
    work->done(work);
}

void ut_work_start(struct ut_worker *worker, struct ut_work *work)
{
    UT_CHECK(uv_queue_work(&worker->uv, &work->request, on_work, on_work_done) == 0);
}
