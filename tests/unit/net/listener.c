/* SPDX-License-Identifier: Apache-2.0 */
#include "net/listener.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

static struct ut_worker worker;
static struct ut_listener listener;
static int accepted, closed, no_delay;
static struct ut_endpoint last_peer;

static void on_accept(struct ut_listener *l, int fd, const struct ut_endpoint *peer)
{
    (void)l;
    accepted++;
    last_peer = *peer;
    socklen_t size = sizeof(no_delay);
    getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, &size);
    close(fd);
}

static void on_closed(struct ut_listener *l)
{
    (void)l;
    closed++;
}

static const struct ut_listener_ops ops = {on_accept, on_closed};

static void set_up(void)
{
    cr_assert_eq(ut_worker_init(&worker, 1 << 20, NULL, NULL), 0);
}

static void tear_down(void)
{
    ut_worker_done(&worker);
}

TestSuite(listener, .init = set_up, .fini = tear_down);

static void open_on(const char *endpoint)
{
    char error[256] = "";
    cr_assert_eq(ut_listener_open(&listener, &worker, endpoint, &ops, error, sizeof(error)), 0,
                 "%s", error);
    cr_assert_neq(listener.port, 0);
}

static void close_it(void)
{
    int before = closed;
    ut_listener_close(&listener);
    ut_listener_close(&listener);
    for (int i = 0; i < 3; i++)
        (void)uv_run(&worker.uv, UV_RUN_NOWAIT);
    cr_expect_eq(closed, before + 1);
}

/* The local port of a connection that was made, 0 where none can be. */
static uint16_t reach(bool v6)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(listener.port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(listener.port)};
    in4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    in6.sin6_addr = in6addr_loopback;
    int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
    int result = v6 ? connect(fd, (struct sockaddr *)&in6, sizeof(in6))
                    : connect(fd, (struct sockaddr *)&in4, sizeof(in4));
    struct sockaddr_in6 name = {0};
    socklen_t size = sizeof(name);
    getsockname(fd, (struct sockaddr *)&name, &size);
    int before = accepted;
    for (int i = 0; i < 100 && result == 0 && accepted == before; i++)
        (void)uv_run(&worker.uv, UV_RUN_NOWAIT);
    close(fd);
    return result == 0 ? ntohs(name.sin6_port) : 0; /* at the same place in both families */
}

Test(listener, localhost_is_both_families_on_one_port)
{
    open_on("localhost:0");
    cr_expect_eq(listener.count, 2);
    uint16_t port = reach(false);
    cr_expect_neq(port, 0);
    cr_expect_eq(last_peer.port, port);
    cr_expect(ut_address_is_v4(&last_peer.address));
    cr_expect_neq(no_delay, 0);
    port = reach(true);
    cr_expect_neq(port, 0);
    cr_expect_eq(last_peer.port, port);
    cr_expect_not(ut_address_is_v4(&last_peer.address));
    close_it();
    cr_expect_eq(reach(false), 0);
}

Test(listener, no_host_and_the_v6_any_address_are_both_families)
{
    static const char *const endpoints[] = {":0", "[::]:0"};
    for (int i = 0; i < 2; i++) {
        open_on(endpoints[i]);
        cr_expect_neq(reach(true), 0);
        cr_expect_neq(reach(false), 0);
        cr_expect(ut_address_is_v4(&last_peer.address), "v4-mapped is IPv4");
        close_it();
    }
}

Test(listener, numeric_addresses_are_of_one_family)
{
    open_on("0.0.0.0:0");
    cr_expect_neq(reach(false), 0);
    cr_expect_eq(reach(true), 0);
    close_it();
    open_on("[::1]:0");
    cr_expect_neq(reach(true), 0);
    cr_expect_eq(reach(false), 0);
    close_it();
}

Test(listener, taken_port_is_an_error_that_names_the_endpoint)
{
    open_on("127.0.0.1:0");
    struct ut_listener second;
    char endpoint[32], error[256];
    snprintf(endpoint, sizeof(endpoint), "localhost:%u", listener.port);
    cr_expect_eq(ut_listener_open(&second, &worker, endpoint, &ops, error, sizeof(error)),
                 -EADDRINUSE);
    cr_expect_not_null(strstr(error, endpoint), "%s", error);
    cr_expect_eq(ut_listener_open(&second, &worker, "nonsense", &ops, error, sizeof(error)),
                 -EINVAL);
    close_it();
}

Test(listener, unix_socket_is_at_its_path_until_it_is_closed)
{
    char folder[] = "/tmp/ut-listen-XXXXXX", endpoint[64], error[256] = "";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(endpoint, sizeof(endpoint), "unix://%s/a.sock", folder);
    memcpy(address.sun_path, endpoint + 7, strlen(endpoint + 7));
    cr_assert_eq(ut_listener_open(&listener, &worker, endpoint, &ops, error, sizeof(error)), 0,
                 "%s", error);
    cr_expect_eq(listener.port, 0);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0), before = accepted;
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    for (int i = 0; i < 100 && accepted == before; i++)
        (void)uv_run(&worker.uv, UV_RUN_NOWAIT);
    cr_expect_eq(accepted, before + 1);
    cr_expect_eq(last_peer.port, 0);
    close(fd);
    struct ut_listener second;
    cr_expect_eq(ut_listener_open(&second, &worker, endpoint, &ops, error, sizeof(error)),
                 -EADDRINUSE);
    cr_expect_eq(ut_listener_open(&second, &worker, "unix:relative", &ops, error, sizeof(error)),
                 -EINVAL);
    close_it();
    cr_expect_eq(rmdir(folder), 0, "its file went with it");
}
