/* SPDX-License-Identifier: Apache-2.0 */
/* The server on a real loop: a client thread of blocking sockets talks to it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "web/http_server.h"

struct fixture {
    struct ut_worker worker;
    struct ut_http_server *server;
    uv_async_t quit;
    uint16_t port;
    char folder[64], path[96];
    void (*talk)(struct fixture *fixture);
};

static void serve_ok(void *arg, struct ut_http_response *response)
{
    (void)arg;
    response->body = strdup("ok\n");
    response->size = 3;
}

static const struct ut_http_route routes[] = {{"/ok", serve_ok, false}, {NULL, NULL, false}};

static void on_quit(uv_async_t *quit)
{
    struct fixture *fixture = quit->data;
    ut_http_server_close(fixture->server);
    uv_close((uv_handle_t *)quit, NULL);
    ut_worker_stop(&fixture->worker);
}

static void *run_client(void *arg)
{
    struct fixture *fixture = arg;
    fixture->talk(fixture);
    uv_async_send(&fixture->quit);
    return NULL;
}

static void init(struct fixture *fixture)
{
    *fixture = (struct fixture){.port = 0};
    snprintf(fixture->folder, sizeof(fixture->folder), "/tmp/ut-web-XXXXXX");
    cr_assert_not_null(mkdtemp(fixture->folder));
    snprintf(fixture->path, sizeof(fixture->path), "%s/run/admin.sock", fixture->folder);
    cr_assert_eq(ut_worker_init(&fixture->worker, 1 << 20, NULL, NULL), 0);
    fixture->server = ut_http_server_new(&fixture->worker, routes, NULL);
    cr_assert_not_null(fixture->server);
}

static void done(struct fixture *fixture)
{
    char inner[96];
    ut_worker_done(&fixture->worker);
    snprintf(inner, sizeof(inner), "%s/run", fixture->folder);
    rmdir(inner);
    cr_expect_eq(rmdir(fixture->folder), 0, "the socket's file is still there");
}

static void run(struct fixture *fixture, void (*talk)(struct fixture *))
{
    pthread_t thread;
    fixture->talk = talk;
    cr_assert_eq(uv_async_init(&fixture->worker.uv, &fixture->quit, on_quit), 0);
    fixture->quit.data = fixture;
    cr_assert_eq(pthread_create(&thread, NULL, run_client, fixture), 0);
    ut_worker_run(&fixture->worker);
    pthread_join(thread, NULL);
    done(fixture);
}

static void listen_tcp(struct fixture *fixture)
{
    char error[256] = "";
    cr_assert_eq(ut_http_server_listen(fixture->server, "localhost:0", error, sizeof(error)), 0,
                 "%s", error);
    fixture->port = ut_http_server_port(fixture->server);
    cr_assert_neq(fixture->port, 0);
}

static int connect_tcp(const struct fixture *fixture)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(fixture->port)};
    struct timeval patience = {.tv_sec = 5};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_geq(fd, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static int connect_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    memcpy(address.sun_path, path, strlen(path));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

static bool ask(int fd)
{
    static const char request[] = "GET /ok HTTP/1.1\r\nHost: a\r\n\r\n";
    char answer[512];
    size_t size = 0;
    if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) < 0)
        return false;
    while (size < sizeof(answer) - 1) {
        ssize_t got = recv(fd, answer + size, sizeof(answer) - 1 - size, 0);
        if (got <= 0)
            return false;
        size += (size_t)got;
        answer[size] = '\0';
        if (size >= 3 && strcmp(answer + size - 3, "ok\n") == 0)
            return strncmp(answer, "HTTP/1.1 200 ", 13) == 0;
    }
    return false;
}

static void talk_twice(struct fixture *fixture)
{
    int fd = connect_tcp(fixture);
    cr_expect(ask(fd));
    cr_expect(ask(fd), "the connection is kept");
    close(fd);
}

Test(http_server, answers_on_tcp_and_keeps_the_connection, .timeout = 60)
{
    struct fixture fixture;
    init(&fixture);
    listen_tcp(&fixture);
    run(&fixture, talk_twice);
}

static void talk_in_crowds(struct fixture *fixture)
{
    int fds[UT_HTTP_CONNECTIONS_MAX * 3];
    for (int i = 0; i < UT_HTTP_CONNECTIONS_MAX * 3; i++) {
        fds[i] = connect_tcp(fixture);
        cr_expect(ask(fds[i]), "connection %d is served although %d others are idle", i, i);
    }
    cr_expect_not(ask(fds[0]), "the one that was idle longest has made room");
    for (int i = 0; i < UT_HTTP_CONNECTIONS_MAX * 3; i++)
        close(fds[i]);
}

Test(http_server, a_crowd_of_idle_connections_keeps_nobody_out, .timeout = 60)
{
    struct fixture fixture;
    init(&fixture);
    listen_tcp(&fixture);
    run(&fixture, talk_in_crowds);
}

static void talk_admin(struct fixture *fixture)
{
    struct stat info;
    cr_expect_eq(stat(fixture->path, &info), 0);
    cr_expect_eq(info.st_mode & 0777, 0600);
    int fd = connect_unix(fixture->path);
    cr_assert_geq(fd, 0);
    cr_expect(ask(fd));
    close(fd);
}

Test(http_server, the_admin_socket_is_its_owners_and_is_removed, .timeout = 60)
{
    struct fixture fixture;
    char error[256] = "", endpoint[128];
    init(&fixture);
    (void)snprintf(endpoint, sizeof(endpoint), "unix://%s", fixture.path);
    cr_assert_eq(ut_http_server_listen(fixture.server, endpoint, error, sizeof(error)), 0, "%s",
                 error);
    run(&fixture, talk_admin);
}
