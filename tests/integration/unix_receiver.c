/* SPDX-License-Identifier: Apache-2.0 */
/* The otlp receiver on a unix socket: both protocols, who sent, who may connect, the file. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "http_harness.h"
#include "otlp_builder.h"

#define MIB ((size_t)1 << 20)

static struct harness harness;
static char folder[64], path[96], endpoint[128];

static void set_up(void)
{
    (void)snprintf(folder, sizeof(folder), "/tmp/ut-otlp-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/otlp.sock", folder);
    (void)snprintf(endpoint, sizeof(endpoint), "unix://%s", path);
    http_harness_defaults(&harness);
    harness.settings.protocols.has_http = false; /* the port of gRPC takes it */
    harness.settings.protocols.grpc.endpoint = endpoint;
}

static void tear_down(void)
{
    harness_done(&harness);
    cr_expect_eq(rmdir(folder), 0, "the socket's file went with the receiver");
}

TestSuite(unix_receiver, .init = set_up, .fini = tear_down);

static int reach(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_geq(fd, 0);
    memcpy(address.sun_path, path, strlen(path));
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0, "%s",
                 strerror(errno));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static struct http_client *connect_http(void)
{
    struct http_client *client = calloc(1, sizeof(*client));
    cr_assert_not_null(client);
    client->fd = reach();
    return client;
}

static struct otlp_bytes one_span(void)
{
    struct otlp_bytes request = {0};
    const struct otlp_span span = {
        .trace_id = 1, .span_id = 1, .name = "one", .start_ns = 1000, .end_ns = 2000};
    otlp_resource_spans(&request, NULL, &span, 1);
    return request;
}

static double peers(const char *how)
{
    char line[160];
    (void)snprintf(line, sizeof(line),
                   "undertrace_receiver_unix_peers_total{receiver=\"otlp\",transport=\"grpc\","
                   "cgroup=\"%s\"",
                   how);
    return harness_metric(&harness, line);
}

static double refused(void)
{
    return harness_metric(&harness, "undertrace_receiver_auth_refused_total{receiver=\"otlp\","
                                    "transport=\"grpc\",reason=\"user\"");
}

Test(unix_receiver, both_protocols_are_served_and_the_sender_is_named)
{
    struct stat info;
    harness_start(&harness, 64 * MIB);
    cr_assert_eq(stat(path, &info), 0);
    cr_expect_eq(info.st_mode & 0777, 0660);
    struct otlp_bytes request = one_span();

    struct harness_client *grpc = calloc(1, sizeof(*grpc));
    grpc_peer_init(&grpc->peer);
    grpc->fd = reach();
    const struct grpc_reply *reply = grpc_peer_export(&grpc->peer, request.data, request.size);
    harness_await(&harness, grpc, reply);
    cr_expect_eq(reply->grpc_status, 0, "%s", reply->message);
    harness_disconnect(grpc);

    struct http_client *http = connect_http();
    http_post(&harness, http, request.data, request.size);
    cr_expect_eq(http_await(&harness, http, false).status, 200);
    http_disconnect(http);
    otlp_free(&request);

    cr_expect_eq(harness.target.spans, 2);
    const struct ut_sender *sender = &harness.target.sender;
    cr_expect(sender->is_unix);
    cr_expect_neq(sender->socket_cookie, 0);
    if (peers("outside") == 0) {
        cr_expect_neq(sender->cgroup_id, 0);
        cr_expect_eq(peers("pidfd") + peers("proc"), 2);
    }
    cr_expect_eq(refused(), 0);
}

Test(unix_receiver, sender_that_has_ended_is_served_and_unknown)
{
    harness_start(&harness, 64 * MIB);
    struct otlp_bytes request = one_span();
    pid_t pid = fork();
    if (pid == 0) {
        char head[256];
        int size = snprintf(head, sizeof(head),
                            "POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Type: "
                            "application/x-protobuf\r\nContent-Length: %zu\r\n\r\n",
                            request.size);
        int fd = reach();
        bool sent = write(fd, head, (size_t)size) == size &&
                    write(fd, request.data, request.size) == (ssize_t)request.size;
        _exit(sent ? 0 : 1);
    }
    int status = -1;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
    otlp_free(&request);
    uint64_t start_ns = ut_clock_monotonic_ns();
    while (harness.target.spans == 0 && !harness_late(start_ns, 10))
        harness_turn(&harness);
    cr_expect_eq(harness.target.spans, 1);
    cr_expect(harness.target.sender.is_unix);
    cr_expect_eq(harness.target.sender.cgroup_id, 0);
    cr_expect_eq(peers("gone"), 1);
}

static void set_list(struct ut_strings *list, const char *text)
{
    static char *items[1];
    items[0] = (char *)(uintptr_t)text;
    *list = (struct ut_strings){items, 1};
}

static bool is_served(void)
{
    struct http_client *client = connect_http();
    http_post(&harness, client, "", 0);
    int status = http_await(&harness, client, false).status;
    http_disconnect(client);
    return status == 200;
}

Test(unix_receiver, user_that_is_not_allowed_is_closed_at_once_and_counted)
{
    set_list(&harness.settings.protocols.grpc.access.auth.allowed_uids, "54321");
    harness_start(&harness, 64 * MIB);
    for (int i = 1; i <= 3; i++) {
        struct http_client *client = connect_http();
        cr_expect(http_is_ended(&harness, client));
        cr_expect_eq(client->in_size, 0, "without a word");
        http_disconnect(client);
        cr_expect_eq(refused(), i);
    }
    cr_expect_eq(harness_metric(&harness, "undertrace_receiver_connections_total{receiver=\"otlp\","
                                          "transport=\"grpc\""),
                 0);
}

Test(unix_receiver, users_are_allowed_by_number_name_group_or_all)
{
    static const char *const uids[] = {"0", "root", "*"};
    if (geteuid() != 0)
        cr_skip_test("the rows are root's");
    for (int i = 0; i < 4; i++) {
        struct ut_otlp_auth_settings *auth = &harness.settings.protocols.grpc.access.auth;
        *auth = (struct ut_otlp_auth_settings){0};
        if (i < 3)
            set_list(&auth->allowed_uids, uids[i]);
        else
            set_list(&auth->allowed_gids, "root");
        harness_start(&harness, 64 * MIB);
        cr_expect(is_served(), "row %d", i);
        if (i == 3)
            return; /* tear_down ends the last one */
        harness_done(&harness);
        harness.stopped = false;
        memset(&harness.target, 0, sizeof(harness.target));
    }
}

Test(unix_receiver, users_are_forwarders_where_the_configuration_says_so)
{
    char uid[16];
    struct ut_config_identity identity = {0};
    struct otlp_bytes request = one_span();
    (void)snprintf(uid, sizeof(uid), "%u", geteuid());
    harness.identity = &identity;
    const char *const users[] = {"54321", uid};
    for (int i = 0; i < 2; i++) {
        set_list(&identity.forwarders.uids, users[i]);
        harness_start(&harness, 64 * MIB);
        struct http_client *client = connect_http();
        http_post(&harness, client, request.data, request.size);
        cr_expect_eq(http_await(&harness, client, false).status, 200);
        http_disconnect(client);
        cr_expect_eq(harness.target.sender.is_forwarder, i == 1);
        if (i == 0)
            harness_done(&harness);
        harness.stopped = false;
    }
    otlp_free(&request);
}

Test(unix_receiver, forwarder_that_is_no_user_of_this_host_is_an_error)
{
    char error[UT_ERROR_TEXT] = "";
    struct ut_config_identity identity = {0};
    harness.identity = &identity;
    set_list(&identity.forwarders.uids, "nobody-is-called-so");
    cr_expect_eq(harness_start_error(&harness, error), -ENOENT);
    cr_expect_not_null(strstr(error, "identity.forwarders.uids"), "%s", error);
    cr_expect_not_null(strstr(error, "\"nobody-is-called-so\""), "%s", error);
    harness.identity = NULL;
    harness_start(&harness, 64 * MIB);
}

Test(unix_receiver, what_cannot_be_opened_is_said_with_its_path)
{
    char error[UT_ERROR_TEXT] = "";
    struct ut_otlp_access_settings *access = &harness.settings.protocols.grpc.access;
    access->socket_owner = (char *)(uintptr_t) "nobody-is-called-so";
    cr_expect_eq(harness_start_error(&harness, error), -ENOENT);
    cr_expect_not_null(strstr(error, "\"nobody-is-called-so\""), "%s", error);
    access->socket_owner = NULL;
    close(open(path, O_CREAT | O_WRONLY, 0600));
    cr_expect_eq(harness_start_error(&harness, error), -ENOTSOCK);
    cr_expect_not_null(strstr(error, path), "%s", error);
    cr_expect_eq(unlink(path), 0, "the file was left alone");
    harness_start(&harness, 64 * MIB);
}

Test(unix_receiver, transport_makes_a_path_of_the_endpoint_as_in_the_collector)
{
    harness.settings.protocols.grpc.endpoint = path;
    harness.settings.protocols.grpc.access.transport = UT_OTLP_NETWORK_UNIX;
    harness.settings.protocols.grpc.access.socket_mode = (char *)(uintptr_t) "0600";
    harness_start(&harness, 64 * MIB);
    struct stat info;
    cr_assert_eq(stat(path, &info), 0);
    cr_expect_eq(info.st_mode & 0777, 0600);
    cr_expect(is_served());
}
