/* SPDX-License-Identifier: Apache-2.0 */
/* Streams over socket pairs; the test is the peer. */
#include "net/stream.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

struct probe {
    struct ut_stream stream;
    char received[256];
    size_t received_size;
    const char *out;
    size_t out_size, pending_calls;
    int answer;                /* of on_bytes */
    bool pauses, closes_early; /* … in it */
    int end_error, ends, closes;
};

static struct ut_worker worker;
static struct probe probe;
static int peer;

static int on_bytes(struct ut_stream *stream, ut_slice bytes)
{
    cr_assert_leq(probe.received_size + bytes.size, sizeof(probe.received));
    memcpy(probe.received + probe.received_size, bytes.data, bytes.size);
    probe.received_size += bytes.size;
    if (probe.pauses)
        ut_stream_pause(stream, true);
    if (probe.closes_early)
        ut_stream_close(stream, 0);
    return probe.answer;
}

static int on_pending(struct ut_stream *stream, struct iovec *runs, size_t room)
{
    (void)stream, (void)room;
    probe.pending_calls++;
    runs[0] = (struct iovec){(void *)(uintptr_t)probe.out, probe.out_size};
    return probe.out_size > 0;
}

static void on_consumed(struct ut_stream *stream, size_t bytes)
{
    (void)stream;
    probe.out += bytes;
    probe.out_size -= bytes;
}

static void on_end(struct ut_stream *stream, int error)
{
    (void)stream;
    probe.ends++;
    probe.end_error = error;
}

static void on_closed(struct ut_stream *stream)
{
    (void)stream;
    probe.closes++;
}

static const struct ut_stream_ops ops = {on_bytes, on_pending, on_consumed, on_end, on_closed};

static void set_up(void)
{
    int pair[2];
    cr_assert_eq(ut_worker_init(&worker, (size_t)1 << 20, NULL, NULL), 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    peer = pair[1];
    cr_assert_eq(ut_stream_open(&probe.stream, &worker, pair[0], &ops), 0);
}

static void turns(int count)
{
    for (int i = 0; i < count; i++)
        (void)uv_run(&worker.uv, UV_RUN_NOWAIT);
}

static void tear_down(void)
{
    ut_stream_close(&probe.stream, 0);
    turns(3);
    cr_expect_eq(probe.ends, 1);
    cr_expect_eq(probe.closes, 1);
    close(peer);
    ut_worker_done(&worker);
}

TestSuite(stream, .init = set_up, .fini = tear_down);

static size_t drain_peer(void)
{
    static char bytes[1 << 16];
    size_t total = 0;
    ssize_t got;
    while ((got = read(peer, bytes, sizeof(bytes))) > 0)
        total += (size_t)got;
    return total;
}

Test(stream, gives_what_comes)
{
    cr_assert_eq(write(peer, "hello", 5), 5);
    turns(2);
    cr_expect_eq(probe.received_size, 5);
    cr_expect_eq(memcmp(probe.received, "hello", 5), 0);
}

Test(stream, full_buffer_is_read_once_more_in_a_turn_and_then_others_have_theirs)
{
    worker.read_buffer_size = 4;
    cr_assert_eq(write(peer, "0123456789ab", 12), 12);
    turns(1);
    cr_expect_eq(probe.received_size, 8);
    turns(1);
    cr_expect_eq(probe.received_size, 12);
}

Test(stream, full_buffer_is_not_read_once_more_by_a_stream_that_wants_nothing)
{
    worker.read_buffer_size = 4;
    probe.pauses = true;
    cr_assert_eq(write(peer, "0123456789ab", 12), 12);
    turns(1);
    cr_expect_eq(probe.received_size, 4);
    probe.pauses = false;
    probe.closes_early = true;
    ut_stream_pause(&probe.stream, false);
    turns(2);
    cr_expect_eq(probe.received_size, 8);
}

Test(stream, writes_at_the_end_of_the_turn_and_waits_for_a_full_socket)
{
    static char big[4 << 20];
    probe.out = big;
    probe.out_size = sizeof(big);
    ut_stream_flush_later(&probe.stream);
    cr_expect_eq(probe.out_size, sizeof(big), "not before the turn's end");
    turns(5);
    cr_expect_lt(probe.out_size, sizeof(big));
    cr_expect_gt(probe.out_size, 0);
    cr_expect(probe.stream.write_blocked);
    size_t calls = probe.pending_calls;
    turns(50);
    cr_expect_leq(probe.pending_calls, calls + 2, "a full socket is not asked again and again");
    size_t total = 0;
    for (int i = 0; i < 1000 && total < sizeof(big); i++) {
        total += drain_peer();
        turns(1);
    }
    cr_expect_eq(total, sizeof(big));
    cr_expect_eq(probe.stream.bytes_out, sizeof(big));
}

Test(stream, pause_stops_reading)
{
    ut_stream_pause(&probe.stream, true);
    cr_assert_eq(write(peer, "hello", 5), 5);
    turns(5);
    cr_expect_eq(probe.received_size, 0);
    ut_stream_pause(&probe.stream, false);
    turns(5);
    cr_expect_eq(probe.received_size, 5);
}

Test(stream, peer_that_closed_is_an_orderly_end)
{
    shutdown(peer, SHUT_WR);
    turns(5);
    cr_expect_eq(probe.ends, 1);
    cr_expect_eq(probe.end_error, 0);
    cr_expect_eq(probe.closes, 1);
}

Test(stream, half_closed_peer_still_gets_what_is_pending)
{
    cr_assert_eq(write(peer, "ask", 3), 3);
    shutdown(peer, SHUT_WR);
    probe.out = "answer";
    probe.out_size = 6;
    turns(10);
    char text[16];
    cr_expect_eq(read(peer, text, sizeof(text)), 6);
    cr_expect_eq(probe.ends, 1);
}

Test(stream, protocol_error_ends_it_after_the_last_words)
{
    probe.answer = -EPROTO;
    probe.out = "sorry";
    probe.out_size = 5;
    cr_assert_eq(write(peer, "x", 1), 1);
    turns(5);
    char text[16];
    cr_expect_eq(read(peer, text, sizeof(text)), 5);
    cr_expect_eq(probe.end_error, -EPROTO);
    cr_expect_eq(probe.ends, 1);
}

Test(stream, end_when_flushed_does_not_wait_for_ever)
{
    static char big[8 << 20];
    probe.out = big;
    probe.out_size = sizeof(big);
    ut_stream_end_when_flushed(&probe.stream);
    turns(5);
    cr_expect_eq(probe.ends, 0, "the peer may still read");
    uint64_t start_ns = ut_clock_monotonic_ns();
    while (probe.ends == 0 && ut_clock_monotonic_ns() - start_ns < 5 * UT_NS_PER_S) {
        usleep(10000);
        turns(1);
    }
    cr_expect_eq(probe.end_error, -ETIMEDOUT);
}

Test(stream, close_ends_once)
{
    ut_stream_close(&probe.stream, -EIO);
    ut_stream_close(&probe.stream, 0);
    ut_stream_flush_later(&probe.stream);
    cr_expect_eq(probe.ends, 1);
    cr_expect_eq(probe.end_error, -EIO);
    cr_expect_eq(probe.closes, 0, "the handle is still the loop's");
}
