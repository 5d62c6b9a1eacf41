/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ebpf_receiver/report.h"

static int ends[2];
static struct ut_log *log_under_test;
static char names[UT_EBPF_PROGRAMS][16];
static struct ut_ebpf_program states[UT_EBPF_PROGRAMS];

static void start(void)
{
    cr_assert_eq(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    log_under_test = ut_log_new(ends[1], UT_LOG_INFO);
    for (int i = 0; i < UT_EBPF_PROGRAMS; i++) {
        snprintf(names[i], sizeof(names[i]), "program_%d", i);
        states[i] = (struct ut_ebpf_program){.name = names[i], .without = "less", .works = true};
    }
}

static void stop(void)
{
    ut_log_free(log_under_test);
    close(ends[0]);
    close(ends[1]);
}

TestSuite(ebpf_report, .init = start, .fini = stop);

static const char *said(void)
{
    static char text[32 << 10];
    ssize_t size = read(ends[0], text, sizeof(text) - 1);
    text[size > 0 ? size : 0] = '\0';
    return text;
}

static void lose(int index)
{
    states[index].works = false;
    snprintf(states[index].reason, sizeof(states[index].reason), "kernel %d is old", index);
}

/* More than the log takes of one cause at once. */
Test(ebpf_report, every_program_that_is_missing_is_named)
{
    for (int i = 1; i < UT_EBPF_PROGRAMS; i++)
        lose(i);
    ut_ebpf_report_programs(log_under_test, states);
    const char *text = said();
    for (int i = 1; i < UT_EBPF_PROGRAMS; i++) {
        char line[128];
        snprintf(line, sizeof(line),
                 " event=ebpf_program_missing program=program_%d effect=less reason=\"kernel %d is "
                 "old\"\n",
                 i, i);
        cr_expect_not_null(strstr(text, line), "no %sin:\n%s", line, text);
    }
    cr_expect_null(strstr(text, "program=program_0 "));
}

Test(ebpf_report, what_is_switched_off_is_not_missing)
{
    lose(3);
    states[3].unwanted = true;
    ut_ebpf_report_programs(log_under_test, states);
    char line[64];
    snprintf(line, sizeof(line), " event=ebpf_attached programs=%d\n", UT_EBPF_PROGRAMS - 1);
    cr_expect_not_null(strstr(said(), line));
}

Test(ebpf_report, where_nothing_works_one_line_says_why)
{
    for (int i = 0; i < UT_EBPF_PROGRAMS; i++)
        lose(i);
    states[0].unwanted = true;
    ut_ebpf_report_programs(log_under_test, states);
    const char *text = said();
    cr_expect_not_null(strstr(text, " event=ebpf_unavailable effect=\"spans are forwarded without "
                                    "kernel evidence\" reason=\"kernel 1 is old\"\n"),
                       "%s", text);
    cr_expect_null(strstr(text, "ebpf_program_missing"));
}

Test(ebpf_report, missing_records_are_told_by_cause_with_what_helps)
{
    ut_ebpf_report_missing(log_under_test, &(struct ut_ebpf_missing){
                                               .no_room = 1, .rate_limited = 2, .skipped_runs = 3});
    const char *text = said();
    cr_expect_not_null(strstr(text, " event=ebpf_records_missing no_room=1 rate_limited=2 "
                                    "skipped_runs=3 text=\"evidence of this time is marked as "
                                    "partial: everyone's where records found no room "),
                       "%s", text);
}
