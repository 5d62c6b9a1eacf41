/* SPDX-License-Identifier: Apache-2.0 */
/* What `doctor` makes of what a running program says of its kernel side: the answers are the
 * test's, behind a socket of its own. */
#include <sys/un.h>

#include "program_harness.h"

static struct program program;
static char admin[128];

static void setup(void)
{
    program_init(&program);
    program_path(&program, "admin.sock", admin);
}

static void teardown(void)
{
    program_remove(&program, "admin.sock");
    program_done(&program);
}

TestSuite(program_doctor, .init = setup, .fini = teardown, .timeout = 90);

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    memcpy(address.sun_path, path, strlen(path));
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0, "%s", strerror(errno));
    cr_assert_eq(listen(fd, 1), 0);
    return fd;
}

/* What doctor prints where the running program answers with `json`. */
static const char *diagnose(const char *json)
{
    char request[512], head[160];
    int listener = listen_at(admin);
    program_start(&program, "doctor", "--admin", admin, NULL);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_expect_gt(recv(fd, request, sizeof(request), 0), 0);
    int size = snprintf(head, sizeof(head),
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
                        "%zu\r\nConnection: close\r\n\r\n",
                        strlen(json));
    cr_assert_eq(send(fd, head, (size_t)size, MSG_NOSIGNAL), size);
    cr_assert_eq(send(fd, json, strlen(json), MSG_NOSIGNAL), (ssize_t)strlen(json));
    close(fd);
    cr_expect_leq(program_wait(&program), 1);
    close(listener);
    return program.out;
}

static void expect_in(const char *text, const char *piece)
{
    cr_expect_not_null(strstr(text, piece), "no \"%s\" in:\n%s", piece, text);
}

Test(program_doctor, events_without_a_record_are_told_by_cause)
{
    const char *said =
        diagnose("{\"kernel\": {\"programs\": [], \"records\": 100, \"bad_records\": 3,"
                 " \"no_room\": 4, \"rate_limited\": 5, \"skipped_runs\": 6}}");
    expect_in(said, " kernel records         100 read, 3 of them malformed; not recorded: 4 for "
                    "want of room, 5 over a rate limit, 6 in runs that were skipped\n");
    expect_in(said, " no room in tables      none yet\n");
    expect_in(said, " spans in doubt         none yet\n");
    cr_expect_null(strstr(said, "not joined"), "nothing was contradicted");
    cr_expect_null(strstr(said, "ends not found"));
}

Test(program_doctor, each_loss_has_its_line)
{
    const char *said =
        diagnose("{\"kernel\": {\"programs\": [], \"added_bytes\": 70, \"withheld_events\": 8,"
                 " \"withheld_counts\": 9, \"unowned_events\": 10,"
                 " \"no_room_in_tables\": {\"connections\": 11, \"events\": 12},"
                 " \"spans_in_doubt\": {\"unsettled\": 13, \"late\": 14}},"
                 " \"trace_context\": {\"lost\": 15, \"untrusted\": 16}}");
    expect_in(said, " evidence               70 bytes on spans; over max_bytes_per_hour: 8 events, "
                    "9 spans without counts\n");
    expect_in(said, " events of nobody       10, of sockets and tasks that are in no workload\n");
    expect_in(said, " no room in tables      connections 11, events 12\n");
    expect_in(said, " spans in doubt         unsettled 13, late 14\n");
    expect_in(said, " trace context          lost 15, untrusted 16\n");
}

Test(program_doctor, an_end_that_no_connection_leads_to_is_named_with_its_workload)
{
    const char *said =
        diagnose("{\"kernel\": {\"programs\": [], \"contradicted\": 7, \"unmatched\": {"
                 "\"spans\": 2, \"workload\": \"/kubepods/a\", \"named\": \"10.96.0.10:80\","
                 " \"socket\": \"10.9.0.2:9000\"}}, \"joins\": {\"peer\": 1}}");
    expect_in(said, " spans joined           peer 1\n");
    expect_in(said, " not joined             7 pairs of a span and an event, of another connection "
                    "than the span names\n");
    expect_in(said, "  note     ends not found         2 spans name an end that no connection of "
                    "their workload leads to; the latest, of /kubepods/a: 10.96.0.10:80, where its "
                    "socket leads to 10.9.0.2:9000. ");
}
