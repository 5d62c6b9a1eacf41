/* SPDX-License-Identifier: Apache-2.0 */
/* Client certificates as a way to prove a right to send, alone and beside tokens. */
#include "tls_harness.h"

static struct tls_harness harness;
static char tokens[96];
static const char *body;

static struct ut_otlp_http_settings *http(void)
{
    return &harness.base.settings.protocols.http;
}

static void set_up(void)
{
    static char *names[] = {(char *)(uintptr_t) "agent", (char *)(uintptr_t) "spiffe://lab/Agent"};
    tls_harness_defaults(&harness);
    body = "{}";
    (void)snprintf(tokens, sizeof(tokens), "%s/tokens", harness.folder);
    test_write_text("sesame\n", tokens);
    http()->tls.ca_file = harness.ca;
    http()->access.has_auth = http()->access.auth.has_client_cert = true;
    http()->access.auth.client_cert.names = (struct ut_strings){names, 2};
}

static void tear_down(void)
{
    unlink(tokens);
    tls_harness_done(&harness);
}

TestSuite(auth_certificates, .init = set_up, .fini = tear_down);

/* The status of a request; 0: there was no answer. `wish` NULL: without a certificate. */
static int post(const struct test_wish *wish, const char *fields)
{
    char request[512];
    struct test_identity identity = {0};
    SSL_CTX *before = harness.clients;
    harness.clients = SSL_CTX_new(TLS_client_method());
    SSL_CTX_load_verify_file(harness.clients, harness.ca);
    if (wish != NULL) {
        identity = test_identity_make(wish);
        SSL_CTX_use_certificate(harness.clients, identity.certificate);
        SSL_CTX_use_PrivateKey(harness.clients, identity.key);
    }
    struct tls_client *client = tls_connect(&harness, harness.http_port, NULL);
    (void)snprintf(request, sizeof(request),
                   "POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                   "Content-Length: %zu\r\n%s\r\n%s",
                   strlen(body), fields, body);
    tls_send(&harness, client, request, strlen(request));
    uint64_t start_ns = ut_clock_monotonic_ns();
    while (!client->ended && memmem(client->in, client->in_size, "\r\n\r\n", 4) == NULL &&
           !harness_late(start_ns, 20))
        tls_turn(&harness, client);
    int status = client->in_size > 9 ? (int)http_number(client->in + 9) : 0;
    tls_disconnect(client);
    test_identity_free(&identity);
    SSL_CTX_free(harness.clients);
    harness.clients = before;
    return status;
}

static double counted(const char *name, const char *label)
{
    char line[160];
    (void)snprintf(line, sizeof(line), "%s{receiver=\"otlp\",transport=\"http\",%s", name, label);
    return harness_metric(&harness.base, line);
}

static bool is_forwarder(const struct test_wish *wish)
{
    struct test_wish signed_wish = *wish;
    signed_wish.issuer = &harness.authority;
    cr_expect_eq(post(&signed_wish, ""), 200);
    return harness.base.target.sender.is_forwarder;
}

Test(auth_certificates, names_of_the_certificate_make_a_forwarder)
{
    static char *names[] = {(char *)(uintptr_t) "collector"};
    const struct ut_config_identity identity = {.forwarders.cert_names = {names, 1}};
    harness.base.identity = &identity;
    http()->access.auth.has_client_cert = false;
    body = "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"traceId\":"
           "\"00000000000000000000000000000001\",\"spanId\":\"0000000000000001\"}]}]}]}";
    tls_harness_start(&harness);
    cr_expect(is_forwarder(&(struct test_wish){"other", "DNS:Collector", NULL, 0}));
    cr_expect(!is_forwarder(&(struct test_wish){"agent", "DNS:other", NULL, 0}));
    cr_expect(is_forwarder(&(struct test_wish){"collector", "DNS:other", NULL, 0}));
}

#define TOKEN "Authorization: Bearer sesame\r\n"

Test(auth_certificates, names_of_the_certificate_decide)
{
    const struct {
        struct test_wish wish;
        int status;
    } rows[] = {
        {{"agent", "DNS:other", NULL, 0}, 200},
        {{"other", "DNS:AGENT", NULL, 0}, 200},
        {{"other", "URI:spiffe://lab/Agent", NULL, 0}, 200},
        {{"other", "URI:spiffe://lab/agent", NULL, 0}, 403},
        {{"Agent", "DNS:other", NULL, 0}, 403},
        {{"agent2", "DNS:xagent,DNS:agen", NULL, 0}, 403},
    };
    tls_harness_start(&harness);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct test_wish wish = rows[i].wish;
        wish.issuer = &harness.authority;
        int status = post(&wish, "");
        cr_expect_eq(status, rows[i].status, "row %zu: %d", i, status);
        status = post(&wish, TOKEN);
        cr_expect_eq(status, rows[i].status, "row %zu: nobody asked for a token", i);
    }
    cr_expect_eq(post(NULL, TOKEN), 0, "a certificate is required");
    cr_expect_eq(counted("undertrace_receiver_auth_requests_total", "by=\"client_cert\""), 6);
    cr_expect_eq(counted("undertrace_receiver_auth_refused_total", "reason=\"certificate_name\""),
                 6);
}

Test(auth_certificates, either_a_certificate_or_a_token_is_enough)
{
    http()->access.auth.has_bearer = true;
    http()->access.auth.bearer.token_file = tokens;
    tls_harness_start(&harness);
    const struct test_wish agent = {"agent", "DNS:agent", &harness.authority, 0},
                           other = {"other", "DNS:other", &harness.authority, 0};
    cr_expect_eq(post(&agent, ""), 200);
    cr_expect_eq(post(&agent, "Authorization: Bearer wrong\r\n"), 200, "one of them is enough");
    cr_expect_eq(post(&other, ""), 403);
    cr_expect_eq(post(&other, TOKEN), 200);
    cr_expect_eq(post(&other, "Authorization: Bearer wrong\r\n"), 401);
    cr_expect_eq(post(NULL, TOKEN), 200);
    cr_expect_eq(post(NULL, ""), 401);
    cr_expect_eq(counted("undertrace_receiver_auth_requests_total", "by=\"client_cert\""), 2);
    cr_expect_eq(counted("undertrace_receiver_auth_requests_total", "by=\"bearer\""), 2);

    struct test_identity stranger = test_identity_make(&(struct test_wish){.name = "stranger"});
    const struct test_wish forged = {"agent", "DNS:agent", &stranger, 0};
    cr_expect_eq(post(&forged, TOKEN), 0, "what is shown is verified all the same");
    test_identity_free(&stranger);
}
