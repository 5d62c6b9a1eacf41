/* SPDX-License-Identifier: Apache-2.0 */
/* Memory runs out under a queue that retries, joins and splits; in virtual time. */
#include <fcntl.h>

#include "flow/pipeline.h"
#include "memory_faults.h"
#include "queue_lab.h"

static int verdict;

static void on_answer(struct ut_push *push, const struct ut_answer *answer)
{
    (void)push;
    MEMORY_EXPECT(verdict == -1, "answered twice");
    verdict = (int)answer->verdict;
}

/* Whether the spans were taken. */
static bool offer(struct ut_pipeline *pipeline, uint32_t spans)
{
    memory_spares(true);
    struct ut_push push = {.batch = fake_batch(&worker, spans), .done = on_answer};
    memory_spares(false);
    verdict = -1;
    ut_pipeline_target(pipeline)->push(ut_pipeline_target(pipeline), &push);
    MEMORY_EXPECT(verdict == UT_ACCEPTED || verdict == UT_BUSY, "%d", verdict);
    return verdict == UT_ACCEPTED;
}

static void play_queue(void)
{
    uint64_t accepted = 0;
    prepare();
    settings.sending_queue.num_consumers = 3;
    settings.sending_queue.batch.present = true;
    settings.sending_queue.batch.min_size = 6;
    settings.sending_queue.batch.max_size = 10;
    settings.sending_queue.batch.flush_timeout_ns = 200 * UT_NS_PER_MS;
    memory_begins();
    queue = ut_queue_new(&(struct ut_queue_config){.id = "fake",
                                                   .worker = &worker,
                                                   .exporter = &fake.base,
                                                   .settings = &settings,
                                                   .random_seed = 1});
    struct ut_pipeline *pipeline =
        queue == NULL ? NULL
                      : ut_pipeline_new(&(struct ut_pipeline_config){
                            .id = "traces", .worker = &worker, .queues = &queue, .queue_count = 1});
    memory_runs();
    for (uint32_t i = 0; pipeline != NULL && i < 30; i++) {
        uint32_t spans = 1 + i % 7 * 2;
        accepted += offer(pipeline, spans) ? spans : 0;
        fake.answer = i % 5 == 4 ? sent : retry;
        fake.largest = i % 2 == 0 ? 4 : 0;
        virtual_worker_advance(&worker, 100);
        (void)balanced_books(queue);
    }
    memory_is_back();
    fake.answer = sent;
    virtual_worker_advance(&worker, 3600000);
    if (pipeline != NULL)
        MEMORY_EXPECT(fake.spans == accepted);
    ut_pipeline_free(pipeline);
    ut_queue_free(queue);
    MEMORY_EXPECT(worker.budget.used == 0);
    virtual_worker_done(&worker);
    memory_passed();
}

Test(memory, a_queue_sends_what_it_took)
{
    memory_sweep("queue", play_queue);
}

/* Batches come that nobody made a place for, as where processors split them. */
static void play_unprepared(void)
{
    static char text[32 << 10];
    int ends[2];
    memory_spares(true);
    prepare();
    open_queue();
    MEMORY_EXPECT(pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0);
    worker.log = ut_log_new(ends[1], UT_LOG_INFO);
    MEMORY_EXPECT(worker.log != NULL);
    fake.answer = retry;
    memory_spares(false);
    memory_begins();
    memory_runs();
    for (uint32_t i = 0; i < 6; i++) {
        memory_spares(true);
        struct ut_batch *batch = fake_batch(&worker, 3);
        memory_spares(false);
        ut_queue_put(queue, batch);
    }
    memory_is_back();
    fake.answer = sent;
    virtual_worker_advance(&worker, 3600000);
    uint64_t lost = balanced_books(queue).dropped[UT_DROP_MEMORY];
    MEMORY_EXPECT(fake.spans + lost == 18);
    MEMORY_EXPECT(read(ends[0], text, sizeof(text) - 1) > 0);
    bool said = strstr(text, " event=export_no_memory exporter=fake spans=3 ") != NULL;
    MEMORY_EXPECT(said == (lost > 0), "%s", text);
    struct ut_log *log = worker.log;
    ut_queue_free(queue);
    virtual_worker_done(&worker);
    ut_log_free(log);
    memory_passed();
}

Test(memory, spans_that_a_queue_has_no_memory_for_are_told_of)
{
    memory_sweep("unprepared", play_unprepared);
}
