/* SPDX-License-Identifier: Apache-2.0 */
#include "net/connector.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"

struct attempt {
    struct ut_worker worker;
    struct ut_connector connector;
    int fd, error, done;
};

static void on_done(struct ut_connector *connector, int fd, int error)
{
    struct attempt *attempt = UT_CONTAINER_OF(connector, struct attempt, connector);
    attempt->fd = fd;
    attempt->error = error;
    attempt->done++;
    ut_worker_stop(&attempt->worker);
}

/* What comes of an attempt; the socket is closed again. */
static int attempt(const char *host, uint16_t port, char where[UT_CONNECTOR_WHERE])
{
    struct attempt *a = calloc(1, sizeof(*a));
    struct ut_metrics *metrics = ut_metrics_new();
    cr_assert_eq(ut_worker_init(&a->worker, 1 << 20, NULL, metrics), 0);
    a->connector.done = on_done;
    ut_connector_start(&a->connector, &a->worker, host, port, 5 * UT_NS_PER_S);
    cr_assert_eq(a->done, 0, "never from inside start");
    while (a->done == 0)
        (void)uv_run(&a->worker.uv, UV_RUN_NOWAIT);
    cr_assert_eq(a->done, 1);
    cr_assert((a->fd >= 0) == (a->error == 0));
    if (a->fd >= 0)
        close(a->fd);
    int error = a->error;
    memcpy(where, a->connector.where, UT_CONNECTOR_WHERE);
    ut_worker_done(&a->worker);
    ut_metrics_free(metrics);
    free(a);
    return error;
}

static int listen_on(const void *address, socklen_t size)
{
    int fd = socket(((const struct sockaddr *)address)->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0 && bind(fd, address, size) == 0 && listen(fd, 8) == 0);
    return fd;
}

TestSuite(connector, .timeout = 60);

Test(connector, unix_socket_at_a_path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    char endpoint[160], where[UT_CONNECTOR_WHERE], wanted[160];
    (void)snprintf(un.sun_path, sizeof(un.sun_path), "/tmp/undertrace-connector-%d", getpid());
    (void)snprintf(endpoint, sizeof(endpoint), "unix://%s", un.sun_path);
    (void)snprintf(wanted, sizeof(wanted), "unix:%s", un.sun_path);
    cr_expect_eq(attempt(endpoint, 0, where), -ENOENT);
    int fd = listen_on(&un, sizeof(un));
    cr_expect_eq(attempt(endpoint, 0, where), 0);
    cr_expect_str_eq(where, wanted);
    close(fd);
    cr_expect_eq(attempt(endpoint, 0, where), -ECONNREFUSED);
    (void)unlink(un.sun_path);
}

Test(connector, abstract_unix_socket)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    char endpoint[64], where[UT_CONNECTOR_WHERE], wanted[64];
    int size = snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, "undertrace-%d", getpid());
    int fd = listen_on(&un, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + size));
    (void)snprintf(endpoint, sizeof(endpoint), "unix:@undertrace-%d", getpid());
    (void)snprintf(wanted, sizeof(wanted), "unix:@undertrace-%d", getpid());
    cr_expect_eq(attempt(endpoint, 0, where), 0);
    cr_expect_str_eq(where, wanted);
    close(fd);
}

static int listen_tcp4(uint16_t *ret_port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(in);
    int fd = listen_on(&in, sizeof(in));
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&in, &size), 0);
    *ret_port = ntohs(in.sin_port);
    return fd;
}

Test(connector, name_with_an_address_that_does_not_answer_and_one_that_does)
{
    char where[UT_CONNECTOR_WHERE], wanted[32];
    uint16_t port;
    /* "localhost" is ::1 as well on most machines, where nobody listens. */
    int fd = listen_tcp4(&port);
    cr_expect_eq(attempt("localhost", port, where), 0);
    (void)snprintf(wanted, sizeof(wanted), "127.0.0.1:%u", port);
    cr_expect_str_eq(where, wanted);
    close(fd);
    cr_expect_eq(attempt("localhost", port, where), -ECONNREFUSED);
}

Test(connector, name_that_there_is_not)
{
    char where[UT_CONNECTOR_WHERE];
    cr_expect_lt(attempt("no-such-host.invalid", 1, where), 0);
    cr_expect_str_empty(where);
}

Test(connector, what_to_look_at_is_told_where_the_code_does_not_say_it)
{
    cr_expect_str_eq(ut_connector_advice(-ECONNREFUSED), ": nobody listens there: is the backend "
                                                         "running, and is the port right?");
    cr_expect_str_eq(ut_connector_advice(UV_EAI_NONAME), ": is the name in the endpoint right?");
    cr_expect_str_eq(ut_connector_advice(UV_EAI_AGAIN), ": no name server answers: look at "
                                                        "/etc/resolv.conf and the network");
    cr_expect_not_null(strstr(ut_connector_advice(-EMFILE), "LimitNOFILE"));
    cr_expect_str_empty(ut_connector_advice(-EPIPE));
    cr_expect_str_empty(ut_connector_advice(0));
}
