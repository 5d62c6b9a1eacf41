/* SPDX-License-Identifier: Apache-2.0 */
/* Colours: on a terminal, unless its user wants none. */
#include <stdlib.h>
#include <termios.h>

#include "debug_lab.h"

static struct lab lab;

static void set_up(void)
{
    (void)unsetenv("NO_COLOR");
    (void)setenv("TERM", "xterm", 1);
}

TestSuite(debug_terminal, .init = set_up);

/* A pseudo-terminal that passes everything on as it is. */
static void open_terminal(int fds[2])
{
    struct termios raw;
    fds[0] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fds[0] < 0)
        cr_skip_test("no pseudo-terminal can be had here: %s", strerror(errno));
    cr_assert_eq(grantpt(fds[0]), 0);
    cr_assert_eq(unlockpt(fds[0]), 0);
    fds[1] = open(ptsname(fds[0]), O_RDWR | O_NOCTTY | O_CLOEXEC);
    cr_assert_geq(fds[1], 0);
    cr_assert_eq(tcgetattr(fds[1], &raw), 0);
    cfmakeraw(&raw);
    cr_assert_eq(tcsetattr(fds[1], TCSANOW, &raw), 0);
}

static const char *print_evidence(void)
{
    static const struct lab_evidence evidence = {
        .match = "connection",
        .side = "local",
        .type = "timeout",
        .local = "10.77.0.11",
        .local_port = 40112,
        .peer = "10.77.0.12",
        .peer_port = 8003,
        .seq = 777,
        .bytes = 800,
        .waited_ns = 204 * 1000000,
        .time_ns = T0 + 218 * MS,
    };
    const struct otlp_span spans[] = {{1, 10, 0, "GET /", 3, T0, T0 + 300 * MS, 0, NULL, NULL, 0}};
    struct otlp_bytes request = {0};
    lab_resource(&request, "shop", spans, 1);
    struct ut_batch *batch = lab_batch(&lab, &request);
    lab_enrich(batch, 0, &evidence, 1);
    lab_send(&lab, batch);
    virtual_worker_advance(&lab.worker, 2000);
    const char *text = lab_read(&lab);
    cr_assert_not_null(strstr(text, "retransmitted 800 B"), "%s", text);
    return text;
}

Test(debug_terminal, evidence_is_red)
{
    int fds[2];
    open_terminal(fds);
    lab_open_on(&lab, DEBUG_NORMAL, fds);
    const char *text = print_evidence(), *red = strstr(text, "\033[31m");
    cr_assert_not_null(red, "%s", text);
    const char *line = strstr(red, "retransmitted 800 B"), *end = strstr(red, "\033[0m");
    cr_expect(line != NULL && end != NULL && line < end, "%s", text);
    cr_expect_eq(count_of(text, "\033[31m"), 1, "and nothing else: %s", text);
    lab_close(&lab);
}

Test(debug_terminal, who_wants_no_colours_gets_none)
{
    static const char *const wishes[][2] = {{"NO_COLOR", "1"}, {"TERM", "dumb"}};
    for (int i = 0; i < 2; i++) {
        int fds[2];
        open_terminal(fds);
        set_up();
        (void)setenv(wishes[i][0], wishes[i][1], 1);
        lab_open_on(&lab, DEBUG_NORMAL, fds);
        const char *text = print_evidence();
        cr_expect_null(strchr(text, '\033'), "%s: %s", wishes[i][0], text);
        lab_close(&lab);
    }
}

Test(debug_terminal, what_is_no_terminal_gets_no_colours)
{
    lab_open(&lab, DEBUG_NORMAL);
    const char *text = print_evidence();
    cr_expect_null(strchr(text, '\033'), "%s", text);
    lab_close(&lab);
}
