/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints that do not answer, ask for a pause, or are several; over days of virtual time. */
#include "queue_lab.h"

#include <fcntl.h>
#include <unistd.h>

static const struct ut_outcome unavailable = {
    .result = UT_RETRY, .cause = UT_SETBACK_UNAVAILABLE, .text = "UNAVAILABLE: going down"};

TestSuite(endpoints, .init = prepare, .fini = finish);

Test(endpoints, one_that_is_down_is_probed_with_one_item_not_with_the_queue)
{
    open_queue();
    fake.keeps = true;
    for (int i = 0; i < 50; i++)
        put(1);
    cr_assert_eq(fake.held_count, 10);
    while (fake.held_count > 0)
        fake_answer(&fake, unavailable);
    /* While it was closed, an answer let the next one out: 10 and 4 more before the fifth failure.
     */
    cr_assert_eq(fake.send_count, 14);
    virtual_worker_advance(&worker, 4999);
    cr_assert_eq(fake.send_count, 14);
    virtual_worker_advance(&worker, 1);
    cr_assert_eq(fake.send_count, 15, "the probe");
    cr_assert_eq(metric("undertrace_exporter_endpoints_down{exporter=\"fake\"}"), 1);
    virtual_worker_advance(&worker, 60000);
    cr_assert_eq(fake.send_count, 15);
    fake_answer(&fake, sent);
    cr_assert_eq(fake.held_count, 10, "all consumers work again at once");
    while (fake.held_count > 0)
        fake_answer(&fake, sent);
    cr_assert_eq(balanced_books(queue).sent, 50);
    cr_assert_eq(metric("undertrace_exporter_retries{exporter=\"fake\",cause=\"unavailable\"}"),
                 14);
}

Test(endpoints, backend_down_for_10_days)
{
    settings.retry_on_failure.randomization_factor = 0.5;
    settings.retry_on_failure.multiplier = 1.5;
    settings.sending_queue.queue_size = 1000;
    open_queue();
    fake.dead = 1;
    for (int i = 0; i < 1000; i++)
        put(3);
    virtual_worker_advance(&worker, UINT64_C(10) * 86400 * 1000);
    struct ut_queue_books books = balanced_books(queue);
    cr_assert_eq(books.held, 3000);
    cr_assert_eq(dropped_in_all(&books), 0);
    /* A probe every 30 s on average, and the first few. */
    cr_assert_gt(fake.send_count, 28000);
    cr_assert_lt(fake.send_count, 30000);
    struct ut_queue_figures figures;
    ut_queue_figures(queue, &figures);
    cr_assert_eq(figures.endpoints_down, 1);
    cr_assert_geq(figures.failing_ns, UINT64_C(10) * 86400 * UT_NS_PER_S - UT_NS_PER_S);
    cr_assert_geq(figures.oldest_ns, UINT64_C(10) * 86400 * UT_NS_PER_S);
    cr_assert_str_eq(figures.words, "connection refused");
    fake.dead = 0;
    virtual_worker_advance(&worker, 45000);
    cr_assert_eq(balanced_books(queue).sent, 3000);
    cr_assert_eq(fake.spans, 3000);
}

Test(endpoints, an_exponential_wait_of_many_is_over_when_the_probe_succeeds)
{
    settings.sending_queue.num_consumers = 100;
    open_queue();
    fake.keeps = true;
    for (int i = 0; i < 60; i++)
        put(1);
    fake.dead = 1;
    while (fake.held_count > 0)
        fake_answer(&fake, unavailable);
    fake.keeps = false;
    fake.dead = 0;
    virtual_worker_advance(&worker, 5000);
    cr_assert_eq(balanced_books(queue).sent, 60);
}

Test(endpoints, a_pause_holds_up_the_endpoint_that_asked_for_it_and_no_other)
{
    fake.endpoints = 2;
    open_queue();
    fake.keeps = true;
    put(1);
    put(1);
    cr_assert_eq(fake.sends[0].endpoint, 0);
    cr_assert_eq(fake.sends[1].endpoint, 1);
    fake_answer(&fake, (struct ut_outcome){.result = UT_RETRY, .after_ms = 9000});
    for (int i = 0; i < 5; i++)
        put(1);
    for (size_t i = 2; i < fake.send_count; i++)
        cr_assert_eq(fake.sends[i].endpoint, 1, "send %zu", i);
    cr_assert_eq(fake.send_count, 8, "also the item that was turned away");
    while (fake.held_count > 0)
        fake_answer(&fake, sent);
    virtual_worker_advance(&worker, 9000);
    put(1);
    put(1);
    cr_assert_neq(fake.sends[8].endpoint, fake.sends[9].endpoint);
    while (fake.held_count > 0)
        fake_answer(&fake, sent);
}

Test(endpoints, what_one_refuses_goes_to_the_other_at_once)
{
    fake.endpoints = 3;
    fake.dead = 1 | 4;
    open_queue();
    for (int i = 0; i < 50; i++)
        put(1);
    virtual_worker_advance(&worker, 5000);
    cr_assert_geq(balanced_books(queue).sent, 50);
    /* Two of them are dead: five failures each, and a probe now and then. */
    size_t in_vain = fake.send_count - 50;
    cr_assert_leq(in_vain, 14);
}

Test(endpoints, all_dead_is_like_one_dead)
{
    fake.endpoints = 4;
    fake.dead = 15;
    open_queue();
    for (int i = 0; i < 50; i++)
        put(1);
    virtual_worker_advance(&worker, UINT64_C(86400) * 1000);
    cr_assert_eq(balanced_books(queue).held, 50);
    cr_assert_lt(fake.send_count, 4 * 86400 / 30 + 100);
    fake.dead = 7;
    virtual_worker_advance(&worker, 30000);
    cr_assert_eq(balanced_books(queue).sent, 50);
}

Test(endpoints, an_elapsed_time_ends_also_for_those_that_are_not_tried)
{
    settings.retry_on_failure.max_elapsed_time_ns = 100 * UT_NS_PER_S;
    settings.sending_queue.num_consumers = 64;
    open_queue();
    fake.keeps = true;
    for (int i = 0; i < 20; i++)
        put(2);
    while (fake.held_count > 0)
        fake_answer(&fake, unavailable);
    fake.keeps = false;
    fake.dead = 1;
    virtual_worker_advance(&worker, 101000);
    cr_assert_eq(balanced_books(queue).dropped[UT_DROP_RETRY_ENDED], 40);
}

static void start_log(int pipe_ends[2])
{
    cr_assert_eq(pipe2(pipe_ends, O_NONBLOCK), 0);
    worker.log = ut_log_new(pipe_ends[1], UT_LOG_INFO);
}

Test(endpoints, what_is_tried_in_vain_is_told_of_every_ten_minutes)
{
    int pipe_ends[2];
    char text[64 << 10];
    unsigned told = 0;
    open_queue();
    start_log(pipe_ends);
    fake.poison = fake_batch(&worker, 5);
    cr_assert(ut_queue_admits(queue, fake.poison));
    ut_queue_put(queue, (struct ut_batch *)(uintptr_t)fake.poison);
    for (int minute = 0; minute < 60; minute++) {
        put(1);
        virtual_worker_advance(&worker, 60000);
    }
    ssize_t size = read(pipe_ends[0], text, sizeof(text) - 1);
    cr_assert_gt(size, 0);
    text[size] = '\0';
    for (const char *line = text; (line = strstr(line, "event=export_stuck")) != NULL; line++)
        told++;
    /* The log itself lets five lines of an event through, and then one in 10 s of real time. */
    cr_assert_eq(told, 5, "%s", text);
    cr_assert_not_null(strstr(text, "exporter=fake spans=5 tried_for_s=600 text=\"not this one\""),
                       "%s", text);
    cr_assert_not_null(strstr(text, "tried_for_s=3000"), "%s", text);
    fake.poison = NULL;
    virtual_worker_advance(&worker, 60000);
    cr_assert_eq(balanced_books(queue).sent, 65);
    virtual_worker_advance(&worker, 1200000);
    cr_assert_eq(worker.timers.count, 0, "nothing to tell, nothing to wake up for");
    ut_log_free(worker.log);
    worker.log = NULL;
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}
