/* SPDX-License-Identifier: Apache-2.0 */
/* A client's end against a server's end, both ours, in memory; and against what is no such server.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "tls_lab.h"

enum { BYTES = 300000 };

/* One of the two ends and what it has got. */
struct end {
    struct ut_tls tls;
    int opened, error;
    uint8_t *got;
    size_t got_size;
    const uint8_t *out;
    size_t out_size;
};

static struct lab lab;
static struct ut_tls_settings settings; /* of the client */
static struct ut_tls_context *context;
static struct end client, server;

static void renew_client(void)
{
    struct ut_tls_error error;
    ut_tls_context_unref(context);
    cr_assert_eq(ut_tls_context_new(&context, &settings, UT_TLS_CLIENT, &error), 0, "%s: %s",
                 error.key, error.text);
}

static void set_up(void)
{
    lab_open(&lab);
    settings = (struct ut_tls_settings){.ca_file = lab.ca, .max_version = UT_TLS_1_3};
    context = NULL;
    renew_client();
}

static void tear_down(void)
{
    ut_tls_context_unref(context);
    lab_close(&lab);
}

TestSuite(tls_client, .init = set_up, .fini = tear_down);

static struct end *end_of(struct ut_tls *tls)
{
    return UT_CONTAINER_OF(tls, struct end, tls);
}

static void on_open(struct ut_tls *tls)
{
    end_of(tls)->opened++;
}

static int on_bytes(struct ut_tls *tls, ut_slice bytes)
{
    struct end *end = end_of(tls);
    end->got = realloc(end->got, end->got_size + bytes.size);
    cr_assert_not_null(end->got);
    memcpy(end->got + end->got_size, bytes.data, bytes.size);
    end->got_size += bytes.size;
    return 0;
}

static int on_pending(struct ut_tls *tls, struct iovec *runs, size_t room)
{
    cr_assert_gt(room, 0);
    runs[0] = (struct iovec){(void *)(uintptr_t)end_of(tls)->out, end_of(tls)->out_size};
    return end_of(tls)->out_size > 0;
}

static void on_consumed(struct ut_tls *tls, size_t bytes)
{
    end_of(tls)->out += bytes;
    end_of(tls)->out_size -= bytes;
}

static const struct ut_tls_ops ops = {
    .on_open = on_open,
    .on_bytes = on_bytes,
    .pending = on_pending,
    .consumed = on_consumed,
};

static bool carry(struct end *from, struct end *to)
{
    struct iovec runs[2];
    uint8_t bytes[9000];
    if (ut_tls_pending(&from->tls, runs, 2) <= 0)
        return false;
    size_t size = runs[0].iov_len < sizeof(bytes) ? runs[0].iov_len : sizeof(bytes);
    memcpy(bytes, runs[0].iov_base, size);
    ut_tls_consumed(&from->tls, size);
    int error = ut_tls_receive(&to->tls, ut_slice_of(bytes, size));
    to->error = to->error != 0 ? to->error : error;
    return true;
}

static void move(void)
{
    while (carry(&client, &server) | carry(&server, &client))
        ;
}

static void open_ends(const char *host)
{
    client = server = (struct end){0};
    ut_tls_init(&server.tls, lab.context, lab.channel, &ops);
    cr_assert_eq(ut_tls_init_client(&client.tls, context, lab.channel, &ops, host), 0);
    move();
}

static void close_ends(void)
{
    ut_tls_done(&client.tls);
    ut_tls_done(&server.tls);
    free(client.got);
    free(server.got);
}

/* Whether client and server agree; if so, whether the session was resumed, in *ret_resumed. */
static bool agree(const char *host, bool *ret_resumed)
{
    open_ends(host);
    bool open = client.opened == 1 && server.opened == 1 && client.error == 0 && server.error == 0;
    if (open && ret_resumed != NULL)
        *ret_resumed = ut_tls_is_resumed(&client.tls);
    close_ends();
    return open;
}

static void expect_trouble(const char *host, const char *part)
{
    char text[300];
    open_ends(host);
    cr_expect(client.error == -EPROTO || server.error == -EPROTO);
    (void)ut_tls_client_trouble(&client.tls, text, sizeof(text));
    cr_expect_not_null(strstr(text, part), "%s\n%s", part, text);
    close_ends();
}

Test(tls_client, bytes_go_both_ways_over_http2)
{
    uint8_t *bytes = calloc(1, BYTES);
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)(i * 13);
    open_ends("localhost");
    cr_assert_eq(client.opened, 1);
    cr_expect_eq(ut_tls_protocol(&client.tls), UT_TLS_ALPN_H2);
    cr_expect_eq(ut_tls_protocol(&server.tls), UT_TLS_ALPN_H2);
    client.out = server.out = bytes;
    client.out_size = BYTES;
    server.out_size = BYTES - 1;
    move();
    cr_assert_eq(server.got_size, BYTES);
    cr_assert_eq(client.got_size, BYTES - 1);
    cr_expect_eq(memcmp(server.got, bytes, BYTES), 0);
    cr_expect_eq(memcmp(client.got, bytes, BYTES - 1), 0);
    ut_tls_close(&client.tls);
    move();
    cr_expect_eq(server.tls.state, UT_TLS_CLOSED);
    close_ends();
    free(bytes);
}

Test(tls_client, sessions_are_resumed_as_long_as_the_files_stay)
{
    bool resumed = true;
    cr_assert(agree("localhost", &resumed));
    cr_expect_not(resumed);
    for (int i = 0; i < 3; i++) {
        cr_assert(agree("localhost", &resumed));
        cr_expect(resumed, "each time");
    }
    renew_client();
    cr_assert(agree("localhost", &resumed));
    cr_expect_not(resumed);
    settings.max_version = UT_TLS_1_2;
    renew_client();
    cr_assert(agree("localhost", &resumed));
    cr_assert(agree("localhost", &resumed));
    cr_expect(resumed, "TLS 1.2 too");
}

Test(tls_client, a_certificate_must_name_the_host)
{
    cr_expect(agree("localhost", NULL));
    cr_expect(agree("127.0.0.1", NULL));
    expect_trouble("127.0.0.2", "is for DNS:localhost, IP Address:127.0.0.1, not for 127.0.0.2");
    expect_trouble("backend", "set tls.server_name_override");
    expect_trouble("server", "not for server"); /* its CN, which is no name */
}

static void certify(const char *alternatives, long valid_s, const struct test_identity *issuer)
{
    struct test_identity fresh = test_identity_make(&(struct test_wish){
        .name = "server", .alternatives = alternatives, .issuer = issuer, .valid_s = valid_s});
    test_write_certificate(&fresh, lab.cert);
    test_write_key(&fresh, lab.key);
    test_identity_free(&fresh);
    lab_renew(&lab);
}

Test(tls_client, a_certificate_that_does_not_hold_is_explained)
{
    certify("DNS:localhost", -3600, &lab.authority);
    expect_trouble("localhost", "has expired (the backend's is valid until 20");
    certify("DNS:localhost", 0, NULL);
    expect_trouble("localhost", "of a CA that is not trusted here (self-signed certificate): set "
                                "tls.ca_file");
    settings.insecure_skip_verify = true;
    renew_client();
    cr_expect(agree("whatever", NULL), "as it is told");
}

Test(tls_client, without_a_ca_of_its_own_it_trusts_what_the_host_trusts)
{
    settings.ca_file = NULL;
    renew_client();
    expect_trouble("localhost", "of a CA that is not trusted here");
    settings.ca_file = lab.ca;
    settings.include_system_ca_certs_pool = true;
    renew_client();
    cr_expect(agree("localhost", NULL));
}

Test(tls_client, a_server_that_wants_a_certificate_is_explained)
{
    lab.settings.ca_file = lab.ca;
    lab_renew(&lab);
    expect_trouble("localhost", "maybe it wants a client certificate, set tls.cert_file");
    settings.cert_file = lab.cert;
    settings.key_file = lab.key;
    renew_client();
    cr_expect(agree("localhost", NULL));
}

Test(tls_client, versions_and_suites_must_meet)
{
    lab.settings.min_version = UT_TLS_1_3;
    lab_renew(&lab);
    settings.max_version = UT_TLS_1_2;
    renew_client();
    expect_trouble("localhost", "min_version and max_version");
}

/* What a client gets from somebody who is no such server. */
static void expect_answer(const char *answer, size_t size, const char *part)
{
    char text[300];
    client = (struct end){0};
    cr_assert_eq(ut_tls_init_client(&client.tls, context, lab.channel, &ops, "localhost"), 0);
    cr_expect_eq(ut_tls_receive(&client.tls, ut_slice_of((const uint8_t *)answer, size)), -EPROTO);
    (void)ut_tls_client_trouble(&client.tls, text, sizeof(text));
    cr_expect_not_null(strstr(text, part), "%s\n%s", part, text);
    cr_expect_eq(client.opened, 0);
    ut_tls_done(&client.tls);
}

Test(tls_client, a_backend_without_tls_is_explained)
{
    static const char http1[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    static const char http2[] = "\0\0\0\4\0\0\0\0\0\0\0\x22\7\0\0\0\0\0";
    expect_answer(http1, sizeof(http1) - 1, "does not speak TLS on this port");
    expect_answer(http2, sizeof(http2) - 1, "does not speak TLS on this port");
}

static int agree_on_nothing(SSL *ssl, const unsigned char **out, unsigned char *out_size,
                            const unsigned char *in, unsigned in_size, void *arg)
{
    (void)ssl, (void)out, (void)out_size, (void)in, (void)in_size, (void)arg;
    return SSL_TLSEXT_ERR_NOACK;
}

Test(tls_client, a_server_that_does_not_agree_on_http2_is_refused)
{
    SSL_CTX_set_alpn_select_cb(lab.context->ssl, agree_on_nothing, NULL);
    expect_trouble("localhost", "does not agree on HTTP/2 (ALPN h2)");
}

Test(tls_client, a_connection_that_is_lost_in_the_handshake_is_explained)
{
    char text[300];
    client = (struct end){0};
    cr_assert_eq(ut_tls_init_client(&client.tls, context, lab.channel, &ops, "localhost"), 0);
    (void)ut_tls_client_trouble(&client.tls, text, sizeof(text));
    cr_expect_not_null(strstr(text, "in the middle of the TLS handshake"), "%s", text);
    ut_tls_done(&client.tls);
}
