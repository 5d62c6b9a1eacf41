/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/log_limit.h"

static const char *quoted(const char *text)
{
    static char out[64];
    return ut_log_quote(out, sizeof(out), text);
}

Test(log_quote, plain_words_stay_as_they_are)
{
    cr_expect_str_eq(quoted("otlp_grpc/2"), "otlp_grpc/2");
    cr_expect_str_eq(quoted("10.0.0.1:4317"), "10.0.0.1:4317");
}

Test(log_quote, what_would_break_a_line_is_quoted_and_escaped)
{
    cr_expect_str_eq(quoted(""), "\"\"");
    cr_expect_str_eq(quoted(NULL), "\"\"");
    cr_expect_str_eq(quoted("a b"), "\"a b\"");
    cr_expect_str_eq(quoted("a=b"), "\"a=b\"");
    cr_expect_str_eq(quoted("say \"x\\y\""), "\"say \\\"x\\\\y\\\"\"");
    cr_expect_str_eq(quoted("one\ntwo\r\t"), "\"one\\ntwo\\r\\t\"");
}

Test(log_quote, a_terminal_never_sees_control_characters)
{
    cr_expect_str_eq(quoted("\x1b[2J"), "\"\\x1b[2J\"");
    cr_expect_str_eq(quoted("\x7f"), "\"\\x7f\"");
    cr_expect_str_eq(quoted("\xc2\x9b"), "\"\\xc2\\x9b\"", "U+009B starts a control sequence");
}

Test(log_quote, utf8_stays_and_other_bytes_are_escaped)
{
    cr_expect_str_eq(quoted("größe €𝄞"), "\"größe €𝄞\"");
    cr_expect_str_eq(quoted("\xff\xc0\xaf"), "\"\\xff\\xc0\\xaf\"");
    cr_expect_str_eq(quoted("\xed\xa0\x80"), "\"\\xed\\xa0\\x80\"", "a surrogate");
    cr_expect_str_eq(quoted("x\xe2\x82"), "\"x\\xe2\\x82\"", "cut in the middle");
}

Test(log_quote, long_texts_are_cut_and_say_so)
{
    for (size_t room = 8; room < 40; room++) {
        char out[48];
        memset(out, '#', sizeof(out));
        ut_log_quote(out, room, "a text with blanks that is longer than the room that it has");
        cr_expect_lt(strlen(out), room);
        cr_expect_eq(out[room], '#', "written beyond the room of %zu", room);
        cr_expect_str_eq(out + strlen(out) - 4, "...\"");
        ut_log_quote(out, room, "one_word_that_is_longer_than_the_room_that_it_has");
        cr_expect_lt(strlen(out), room);
    }
}

/* What the log writes into a pipe, as one text. */
struct capture {
    int fds[2];
    struct ut_log *log;
    char text[32768];
};

static void open_capture(struct capture *capture, enum ut_log_level least)
{
    cr_assert_eq(pipe(capture->fds), 0);
    capture->log = ut_log_new(capture->fds[1], least);
    cr_assert_not_null(capture->log);
}

static const char *close_capture(struct capture *capture)
{
    close(capture->fds[1]);
    ssize_t size = 0, got;
    while ((got = read(capture->fds[0], capture->text + size,
                       sizeof(capture->text) - 1 - (size_t)size)) > 0)
        size += got;
    capture->text[size] = '\0';
    close(capture->fds[0]);
    ut_log_free(capture->log);
    return capture->text;
}

static size_t count_lines(const char *text)
{
    size_t lines = 0;
    for (; (text = strchr(text, '\n')) != NULL; text++)
        lines++;
    return lines;
}

Test(log, a_line_has_time_level_event_and_pairs)
{
    struct capture capture;
    open_capture(&capture, UT_LOG_INFO);
    ut_log(capture.log, UT_LOG_WARN, "queue_full", "exporter=%s spans=%d", "otlp", 3);
    ut_log(capture.log, UT_LOG_INFO, "bare", "%s", "");
    ut_log(NULL, UT_LOG_ERROR, "nobody", "x=1");
    const char *text = close_capture(&capture);
    int year, month, day, hour, minute, second, ms;
    cr_expect_eq(sscanf(text, "time=%4d-%2d-%2dT%2d:%2d:%2d.%3dZ ", &year, &month, &day, &hour,
                        &minute, &second, &ms),
                 7);
    cr_expect_not_null(strstr(text, "Z level=warn event=queue_full exporter=otlp spans=3\n"));
    cr_expect_eq(count_lines(text), 2);
}

Test(log, levels_below_the_least_are_left_out)
{
    struct capture capture;
    open_capture(&capture, UT_LOG_WARN);
    ut_log(capture.log, UT_LOG_DEBUG, "a", "%s", "x");
    ut_log(capture.log, UT_LOG_INFO, "b", "%s", "x");
    ut_log(capture.log, UT_LOG_ERROR, "c", "%s", "x");
    const char *text = close_capture(&capture);
    cr_expect_eq(count_lines(text), 1);
    cr_expect_not_null(strstr(text, "level=error event=c x\n"));
}

Test(log, one_cause_writes_a_burst_and_others_go_on)
{
    struct capture capture;
    open_capture(&capture, UT_LOG_INFO);
    for (int i = 0; i < 1000; i++)
        ut_log(capture.log, UT_LOG_WARN, "flood", "i=%d", i);
    ut_log(capture.log, UT_LOG_WARN, "other", "x=1");
    const char *text = close_capture(&capture);
    cr_expect_eq(count_lines(text), UT_LOG_LIMIT_BURST + 1);
    cr_expect_not_null(strstr(text, "event=other"));
}

Test(log, a_flood_of_one_cause_does_not_hide_another_of_the_same_event)
{
    struct capture capture;
    open_capture(&capture, UT_LOG_INFO);
    int written = 0;
    for (int i = 0; i < 1000; i++)
        written += ut_log_cause(capture.log, UT_LOG_WARN, "limit", "pings", "limit=pings");
    cr_expect_lt(written, 1000, "it has a limit");
    cr_expect(ut_log_cause(capture.log, UT_LOG_WARN, "limit", "connections", "limit=%s", "conns"));
    const char *text = close_capture(&capture);
    cr_expect_eq(count_lines(text), (size_t)written + 1);
    cr_expect_not_null(strstr(text, "level=warn event=limit limit=conns\n"));
}

Test(log, a_line_that_is_too_long_is_cut_and_stays_one_line)
{
    struct capture capture;
    char text[5000];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    open_capture(&capture, UT_LOG_INFO);
    ut_log(capture.log, UT_LOG_INFO, "long", "%s", text);
    const char *said = close_capture(&capture);
    cr_expect_eq(count_lines(said), 1);
    cr_expect_eq(said[strlen(said) - 1], '\n');
    cr_expect_lt(strlen(said), 2100);
}

#define SECONDS(n) ((n)*UINT64_C(1000000000))

Test(log_limit, tokens_come_back_one_in_ten_seconds)
{
    struct ut_log_limit limit = {.count = 0};
    uint64_t left_out = 0, now = SECONDS(100);
    for (int i = 0; i < UT_LOG_LIMIT_BURST; i++)
        cr_expect(ut_log_limit_take(&limit, "a", now, &left_out));
    for (int i = 0; i < 7; i++)
        cr_expect_not(ut_log_limit_take(&limit, "a", now + SECONDS(9), &left_out));
    cr_expect(ut_log_limit_take(&limit, "a", now + SECONDS(10), &left_out));
    cr_expect_eq(left_out, 7, "the next line says how many were left out");
    cr_expect_not(ut_log_limit_take(&limit, "a", now + SECONDS(11), &left_out));
    cr_expect(ut_log_limit_take(&limit, "a", now + SECONDS(20), &left_out));
    cr_expect_eq(left_out, 1);
}

Test(log_limit, a_quiet_cause_gets_its_burst_again)
{
    struct ut_log_limit limit = {.count = 0};
    uint64_t left_out = 0;
    for (int i = 0; i < UT_LOG_LIMIT_BURST + 3; i++)
        (void)ut_log_limit_take(&limit, "a", SECONDS(1), &left_out);
    for (int i = 0; i < UT_LOG_LIMIT_BURST; i++)
        cr_expect(ut_log_limit_take(&limit, "a", SECONDS(1000), &left_out));
    cr_expect_not(ut_log_limit_take(&limit, "a", SECONDS(1000), &left_out));
}

Test(log_limit, the_table_is_bounded_and_forgets_the_quietest)
{
    struct ut_log_limit limit = {.count = 0};
    uint64_t left_out = 0;
    char name[16];
    for (int i = 0; i < 10 * UT_LOG_LIMIT_EVENTS; i++) {
        snprintf(name, sizeof(name), "e%d", i);
        cr_expect(ut_log_limit_take(&limit, name, SECONDS((uint64_t)i), &left_out));
    }
    cr_expect_eq(limit.count, UT_LOG_LIMIT_EVENTS);
}
