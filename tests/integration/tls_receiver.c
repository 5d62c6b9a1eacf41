/* SPDX-License-Identifier: Apache-2.0 */
/* The otlp receiver behind TLS: gRPC and HTTP, ends, and certificates that change meanwhile. */
#include <openssl/err.h>

#include "otlp_builder.h"
#include "tls_harness.h"

static struct tls_harness harness;

static void set_up(void)
{
    tls_harness_defaults(&harness);
}

static void tear_down(void)
{
    tls_harness_done(&harness);
}

TestSuite(tls_receiver, .init = set_up, .fini = tear_down);

static int post_spans(struct tls_client *client, size_t spans, size_t padding)
{
    struct otlp_bytes request = otlp_request_of(spans, padding);
    int status = tls_post(&harness, client, request.data, request.size);
    otlp_free(&request);
    return status;
}

static void export_spans(struct tls_client *client, struct grpc_peer *peer, size_t spans,
                         size_t padding)
{
    struct otlp_bytes request = otlp_request_of(spans, padding);
    const struct grpc_reply *reply = grpc_peer_export(peer, request.data, request.size);
    otlp_free(&request);
    tls_await(&harness, client, peer, reply);
    cr_expect_eq(reply->grpc_status, 0, "status %d: %s", reply->grpc_status, reply->message);
}

static double failures(const char *transport, const char *reason)
{
    char line[160];
    (void)snprintf(line, sizeof(line),
                   "undertrace_receiver_tls_failures_total{receiver=\"otlp\",transport=\"%s\","
                   "reason=\"%s\"}",
                   transport, reason);
    return harness_metric(&harness.base, line);
}

Test(tls_receiver, grpc_and_http_are_served_on_either_port)
{
    tls_harness_start(&harness);
    const uint16_t ports[] = {harness.grpc_port, harness.http_port};
    for (int i = 0; i < 2; i++) {
        static const char *const agreed[] = {"\x02h2", NULL};
        for (int k = 0; k < 2; k++) { /* HTTP/2 by ALPN, and by its first bytes */
            struct grpc_peer peer;
            struct tls_client *client = tls_connect(&harness, ports[i], agreed[k]);
            grpc_peer_init(&peer);
            export_spans(client, &peer, 3, 10);
            export_spans(client, &peer, 20, 200000);
            cr_expect_not(client->ended);
            grpc_peer_done(&peer);
            tls_disconnect(client);
        }
        static const char *const http1[] = {"\x08http/1.1", NULL};
        for (int k = 0; k < 2; k++) {
            struct tls_client *client = tls_connect(&harness, ports[i], http1[k]);
            cr_expect_eq(post_spans(client, 3, 10), 200);
            cr_expect_eq(post_spans(client, 20, 200000), 200);
            cr_expect_not(client->ended);
            tls_disconnect(client);
        }
    }
    cr_expect_eq(harness.base.target.spans, 8 * 23);
}

Test(tls_receiver, requests_that_come_in_one_write_are_answered_in_turn)
{
    static const char get[] = "GET /v1/traces HTTP/1.1\r\nHost: a\r\n\r\n";
    char many[100 * sizeof(get)] = "";
    tls_harness_start(&harness);
    struct tls_client *client = tls_connect(&harness, harness.http_port, NULL);
    for (size_t i = 0; i < 100; i++)
        memcpy(many + i * (sizeof(get) - 1), get, sizeof(get));
    tls_send(&harness, client, many, 100 * (sizeof(get) - 1));
    size_t answers = 0;
    for (int turn = 0; turn < 1000 && answers < 100; turn++) {
        tls_turn(&harness, client);
        answers = 0;
        for (const char *at = client->in;
             (at = memmem(at, client->in_size - (size_t)(at - client->in), "HTTP/1.1 405", 12)) !=
             NULL;
             at++)
            answers++;
    }
    cr_expect_eq(answers, 100);
    tls_disconnect(client);
}

Test(tls_receiver, http_without_tls_is_answered_and_ended)
{
    tls_harness_start(&harness);
    harness.base.port = harness.http_port;
    struct http_client *client = http_connect(&harness.base);
    http_send(&harness.base, client, "POST /v1/traces HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_answer answer = http_await(&harness.base, client, false);
    cr_expect_eq(answer.status, 400);
    cr_expect_not_null(strstr(answer.body, "https://"));
    cr_expect(http_is_ended(&harness.base, client));
    cr_expect_eq(failures("http", "plain_http"), 1);
    http_disconnect(client);
}

Test(tls_receiver, grpc_without_tls_is_answered_as_grpc_clients_understand)
{
    tls_harness_start(&harness);
    harness.base.port = harness.grpc_port;
    struct http_client *client = http_connect(&harness.base);
    http_send(&harness.base, client, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    cr_expect_eq(http_await(&harness.base, client, false).status, 400);
    cr_expect(http_is_ended(&harness.base, client));
    cr_expect_eq(failures("grpc", "plain_http"), 1);
    http_disconnect(client);
}

Test(tls_receiver, a_client_is_refused_with_an_alert_that_it_can_read)
{
    struct ut_otlp_protocols *protocols = &harness.base.settings.protocols;
    protocols->grpc.tls.ca_file = harness.ca;
    tls_harness_start(&harness);
    struct tls_client *client = tls_connect(&harness, harness.grpc_port, "\x02h2");
    for (int i = 0; i < 200 && !client->ended; i++)
        tls_turn(&harness, client);
    cr_expect(client->ended);
    cr_expect_eq(ERR_GET_REASON(ERR_peek_error()), SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED);
    cr_expect_eq(failures("grpc", "no_certificate"), 1);
    tls_disconnect(client);
    struct tls_client *other = tls_connect(&harness, harness.http_port,
                                           "\x03"
                                           "ftp");
    cr_expect(other->ended, "the other port has its own rules");
    cr_expect_eq(failures("http", "alpn"), 1);
    tls_disconnect(other);
}

Test(tls_receiver, a_client_with_a_certificate_is_served)
{
    harness.base.settings.protocols.http.tls.ca_file = harness.ca;
    tls_harness_start(&harness);
    struct test_identity agent = test_identity_make(&(struct test_wish){
        .name = "agent", .alternatives = "DNS:agent", .issuer = &harness.authority});
    SSL_CTX_use_certificate(harness.clients, agent.certificate);
    SSL_CTX_use_PrivateKey(harness.clients, agent.key);
    struct tls_client *client = tls_connect(&harness, harness.http_port, NULL);
    cr_expect_eq(post_spans(client, 1, 1), 200);
    tls_disconnect(client);
    test_identity_free(&agent);
}

Test(tls_receiver, a_handshake_that_is_never_finished_is_cut)
{
    harness.base.settings.protocols.grpc.handshake_timeout_ns = 100 * UT_NS_PER_MS;
    tls_harness_start(&harness);
    harness.base.port = harness.grpc_port;
    int silent = harness_socket(&harness.base, false), half = harness_socket(&harness.base, false);
    cr_assert_eq(write(half, "\x16\x03\x01\x02\x00\x01", 6), 6);
    struct tls_client *mute = tls_connect(&harness, harness.grpc_port, "\x02h2");
    uint64_t start_ns = ut_clock_monotonic_ns();
    const char *line = "undertrace_receiver_limit_hits_total{receiver=\"otlp\",transport=\"grpc\","
                       "limit=\"handshake_timeout\"}";
    while (harness_metric(&harness.base, line) < 3 && !harness_late(start_ns, 10))
        tls_turn(&harness, mute);
    cr_expect_eq(harness_metric(&harness.base, line), 3);
    cr_expect_eq(failures("grpc", "closed"), 0, "that is counted once");
    tls_disconnect(mute);
    close(silent);
    close(half);
}

Test(tls_receiver, a_client_that_leaves_in_the_middle_of_a_handshake_is_counted)
{
    tls_harness_start(&harness);
    harness.base.port = harness.grpc_port;
    int half = harness_socket(&harness.base, false);
    cr_assert_eq(write(half, "\x16\x03\x01\x02\x00\x01", 6), 6);
    for (int i = 0; i < 5; i++)
        harness_turn(&harness.base);
    close(half);
    for (int i = 0; i < 50 && failures("grpc", "closed") < 1; i++)
        harness_turn(&harness.base);
    cr_expect_eq(failures("grpc", "closed"), 1);
}

Test(tls_receiver, the_end_of_a_connection_is_announced)
{
    tls_harness_start(&harness);
    struct tls_client *client = tls_connect(&harness, harness.http_port, "\x08http/1.1");
    static const char last[] = "POST /v1/traces HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                               "Content-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
    tls_send(&harness, client, last, sizeof(last) - 1);
    for (int i = 0; i < 200 && !client->ended; i++)
        tls_turn(&harness, client);
    cr_expect(client->ended && client->orderly, "close_notify, behind the answer");
    cr_expect_eq(memcmp(client->in, "HTTP/1.1 200", 12), 0);
    tls_disconnect(client);
}

/* One connection goes on through all changes, new ones come at every moment of them; nobody is
 * refused, not even while key and certificate do not match. */
Test(tls_receiver, certificates_change_under_traffic_and_nobody_notices)
{
    enum { CHANGES = 25 };
    tls_harness_start(&harness);
    struct tls_client *old = tls_connect(&harness, harness.http_port, "\x08http/1.1");
    X509 *first = X509_dup(SSL_get0_peer_certificate(old->ssl));
    for (int change = 0; change < CHANGES; change++) {
        struct test_identity fresh = test_identity_make(&(struct test_wish){
            .name = "server", .alternatives = "DNS:localhost", .issuer = &harness.authority});
        for (int step = 0; step < 3; step++) {
            if (step == 0)
                test_write_certificate(&fresh, harness.cert);
            else if (step == 1)
                ut_receiver_otlp.reread_files(harness.base.receiver);
            else
                test_write_key(&fresh, harness.key);
            struct tls_client *client = tls_connect(&harness, harness.http_port, NULL);
            cr_assert_not(client->ended);
            cr_expect_eq(post_spans(client, 1, 10), 200);
            cr_expect_eq(post_spans(old, 1, 10), 200);
            tls_disconnect(client);
        }
        ut_receiver_otlp.reread_files(harness.base.receiver);
        struct tls_client *client = tls_connect(&harness, harness.http_port, NULL);
        cr_expect_eq(X509_cmp(SSL_get0_peer_certificate(client->ssl), fresh.certificate), 0,
                     "change %d is in force", change);
        cr_expect_eq(post_spans(client, 1, 10), 200);
        tls_disconnect(client);
        test_identity_free(&fresh);
    }
    cr_expect_eq(X509_cmp(SSL_get0_peer_certificate(old->ssl), first), 0);
    cr_expect_eq(harness.base.target.spans, CHANGES * 7);
    cr_expect_eq(failures("http", "protocol"), 0);
    X509_free(first);
    tls_disconnect(old);
}

Test(tls_receiver, a_certificate_that_is_missing_at_the_start_is_named)
{
    char error[UT_ERROR_TEXT] = "";
    static char nowhere[] = "/nowhere/cert.pem";
    struct ut_tls_settings *tls = &harness.base.settings.protocols.http.tls;
    tls->cert_file = nowhere;
    (void)harness_start_error(&harness.base, error);
    cr_expect_not_null(strstr(error, "cert_file: /nowhere/cert.pem cannot be read"), "%s", error);
    tls->cert_file = harness.cert;
    tls_harness_start(&harness);
}
