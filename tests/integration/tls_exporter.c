/* SPDX-License-Identifier: Apache-2.0 */
/* The otlp_grpc exporter over TLS into the otlp receiver, on one loop; and into what is no such
 * backend. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "grpc_exporter.h"
#include "otlp_batch.h"
#include "tls_backend.h"

extern const struct ut_exporter_type ut_exporter_otlp_grpc;

enum { SPANS = 10 };

struct sent {
    struct ut_item item;
    struct ut_batch *batch;
    bool done;
    enum ut_result result;
    char text[512];
};

static struct tls_backend *backend;
static struct ut_grpc_exporter_config config;
static struct ut_exporter *exporter;
static char endpoint[64];
static bool stopped;

static void set_up(void)
{
    backend = tls_backend_new();
    config = (struct ut_grpc_exporter_config){
        .grpc.endpoint = endpoint,
        .grpc.timeout_ns = 10 * UT_NS_PER_S,
        .grpc.max_message_bytes = 16 << 20,
        .grpc.tls = {.ca_file = tls_backend_ca(backend), .max_version = UT_TLS_1_3},
    };
    exporter = NULL;
    stopped = false;
}

static void start_exporter(const char *host, uint16_t port)
{
    char error[UT_ERROR_TEXT] = "";
    (void)snprintf(endpoint, sizeof(endpoint), "%s:%u", host, port);
    const struct ut_build build = {
        .id = "otlp_grpc", .config = &config, .worker = tls_backend_worker(backend)};
    cr_assert_eq(ut_exporter_otlp_grpc.create(&exporter, &build), 0);
    cr_assert_eq(ut_exporter_otlp_grpc.start(exporter, error), 0, "%s", error);
}

static bool is_late(uint64_t start_ns, uint64_t seconds)
{
    return ut_clock_monotonic_ns() - start_ns > seconds * UT_NS_PER_S;
}

static void on_stopped(void *arg)
{
    *(bool *)arg = true;
}

static void tear_down(void)
{
    if (exporter != NULL) {
        uint64_t start_ns = ut_clock_monotonic_ns();
        ut_exporter_otlp_grpc.stop(exporter, on_stopped, &stopped);
        while (!stopped && !is_late(start_ns, 10))
            tls_backend_turn(backend);
        ut_exporter_otlp_grpc.free(exporter);
    }
    tls_backend_free(backend);
}

TestSuite(tls_exporter, .init = set_up, .fini = tear_down);

static void on_done(struct ut_item *item, const struct ut_outcome *outcome)
{
    struct sent *sent = UT_CONTAINER_OF(item, struct sent, item);
    sent->done = true;
    sent->result = outcome->result;
    (void)snprintf(sent->text, sizeof(sent->text), "%s",
                   outcome->text != NULL ? outcome->text : "");
    ut_batch_unref(sent->batch);
}

/* Sends that many spans, with names of that length, and waits for the outcome. */
static struct sent send_spans(size_t spans, size_t padding)
{
    struct sent sent = {.item = {.done = on_done}};
    struct otlp_bytes request = otlp_request_of(spans, padding);
    uint64_t start_ns = ut_clock_monotonic_ns();
    sent.batch = otlp_batch(&tls_backend_worker(backend)->pool, &request);
    sent.item.batch = sent.batch;
    sent.item.span_count = sent.batch->spans;
    ut_exporter_otlp_grpc.send(exporter, &sent.item);
    while (!sent.done && !is_late(start_ns, 20))
        tls_backend_turn(backend);
    cr_assert(sent.done);
    otlp_free(&request);
    return sent;
}

static void expect_sent(size_t spans, size_t padding)
{
    struct sent sent = send_spans(spans, padding);
    cr_expect_eq(sent.result, UT_SENT, "%s", sent.text);
}

/* What a short wait for a connection ends with. */
static void expect_trouble(const char *part)
{
    uint64_t timeout_ns = config.grpc.timeout_ns;
    config.grpc.timeout_ns = 500 * UT_NS_PER_MS;
    struct sent sent = send_spans(SPANS, 1);
    cr_expect_eq(sent.result, UT_RETRY);
    cr_expect_not_null(strstr(sent.text, part), "%s", sent.text);
    config.grpc.timeout_ns = timeout_ns;
}

static double handshakes(const char *resumed)
{
    char line[128];
    (void)snprintf(
        line, sizeof(line),
        "undertrace_exporter_tls_handshakes_total{exporter=\"otlp_grpc\",resumed=\"%s\"}", resumed);
    return tls_backend_metric(backend, line);
}

Test(tls_exporter, spans_arrive_over_tls_which_is_the_default)
{
    start_exporter("localhost", tls_backend_start(backend));
    expect_sent(SPANS, 10);
    expect_sent(100, 50000);
    expect_sent(SPANS, 10);
    cr_expect_eq(tls_backend_spans(backend), 2 * SPANS + 100);
    cr_expect_eq(handshakes("false"), 1);
}

Test(tls_exporter, a_new_connection_resumes_the_session)
{
    tls_backend_requests_max(backend, 1);
    start_exporter("127.0.0.1", tls_backend_start(backend));
    for (int i = 0; i < 5; i++)
        expect_sent(SPANS, 10);
    cr_expect_eq(handshakes("false"), 1, "%g", handshakes("false"));
    cr_expect_geq(handshakes("true"), 4, "%g", handshakes("true"));
    cr_expect_eq(tls_backend_spans(backend), 5 * SPANS);
}

Test(tls_exporter, a_client_certificate_is_shown)
{
    tls_backend_settings(backend)->ca_file = tls_backend_ca(backend);
    config.grpc.tls.cert_file = tls_backend_settings(backend)->cert_file;
    config.grpc.tls.key_file = tls_backend_settings(backend)->key_file;
    start_exporter("localhost", tls_backend_start(backend));
    expect_sent(SPANS, 10);
}

Test(tls_exporter, without_the_client_certificate_that_is_wanted_it_says_so)
{
    tls_backend_settings(backend)->ca_file = tls_backend_ca(backend);
    start_exporter("localhost", tls_backend_start(backend));
    expect_trouble("maybe it wants a client certificate");
}

Test(tls_exporter, another_name_can_be_told)
{
    uint16_t port = tls_backend_start(backend);
    static char name[] = "localhost";
    config.grpc.tls.server_name_override = name;
    start_exporter("127.0.0.1", port);
    expect_sent(SPANS, 10);
}

Test(tls_exporter, a_name_that_the_certificate_lacks_is_explained)
{
    uint16_t port = tls_backend_start(backend);
    static char name[] = "elsewhere";
    config.grpc.tls.server_name_override = name;
    start_exporter("127.0.0.1", port);
    expect_trouble("not for elsewhere");
}

Test(tls_exporter, a_ca_that_is_not_trusted_is_explained_and_trusted_when_its_file_changes)
{
    tls_backend_requests_max(backend, 1);
    start_exporter("localhost", tls_backend_start(backend));
    expect_sent(SPANS, 10);
    tls_backend_change_authority(backend);
    expect_trouble("set tls.ca_file to the certificate of that CA");
    cr_expect_gt(tls_backend_metric(backend, "undertrace_exporter_connect_failures{"), 0);
    tls_backend_publish_authority(backend);
    ut_exporter_otlp_grpc.reread_files(exporter);
    expect_sent(SPANS, 10);
    cr_expect_eq(tls_backend_spans(backend), 2 * SPANS);
}

Test(tls_exporter, a_backend_without_tls_is_explained)
{
    tls_backend_without_tls(backend);
    start_exporter("localhost", tls_backend_start(backend));
    expect_trouble("is this a port with TLS?");
}

Test(tls_exporter, a_backend_that_never_finishes_the_handshake_is_given_up)
{
    (void)tls_backend_start(backend);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int silent = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert(bind(silent, (struct sockaddr *)&address, size) == 0 && listen(silent, 8) == 0 &&
              getsockname(silent, (struct sockaddr *)&address, &size) == 0);
    config.grpc.timeout_ns = 200 * UT_NS_PER_MS;
    start_exporter("127.0.0.1", ntohs(address.sin_port));
    expect_trouble("did not finish the TLS handshake in time");
    close(silent);
}
