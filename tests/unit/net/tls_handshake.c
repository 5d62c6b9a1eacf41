/* SPDX-License-Identifier: Apache-2.0 */
/* What a TLS handshake agrees on, refuses, and resumes. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "tls_lab.h"

static struct lab lab;

static void set_up(void)
{
    lab_open(&lab);
}

static void tear_down(void)
{
    lab_close(&lab);
}

TestSuite(tls_handshake, .init = set_up, .fini = tear_down);

static void want_1_2(SSL_CTX *client)
{
    SSL_CTX_set_max_proto_version(client, TLS1_2_VERSION);
}

static void expect_failure(void (*tune)(SSL_CTX *), enum ut_tls_failure failure, const char *advice)
{
    struct pair *pair = pair_open(&lab, tune);
    cr_expect_not(pair_shake(pair));
    cr_expect_eq(pair->error, -EPROTO);
    cr_expect_eq(pair->tls.why.failure, failure, "%s: %s",
                 ut_tls_failure_name(pair->tls.why.failure), pair->tls.why.detail);
    cr_expect_not_null(strstr(ut_tls_failure_advice(&pair->tls.why), advice), "%s: %s", advice,
                       ut_tls_failure_advice(&pair->tls.why));
    cr_expect_eq(pair->opened, 0);
    pair_close(pair);
}

/* ---- versions, suites, protocols ------------------------------------------------------------ */

static void want_1_1(SSL_CTX *client)
{
    SSL_CTX_set_security_level(client, 0);
    SSL_CTX_set_min_proto_version(client, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(client, TLS1_1_VERSION);
}

Test(tls_handshake, versions_are_those_of_the_settings)
{
    expect_failure(want_1_1, UT_TLS_FAILURE_VERSION, "min_version");
    lab.settings.min_version = UT_TLS_1_3;
    lab_renew(&lab);
    expect_failure(want_1_2, UT_TLS_FAILURE_VERSION, "min_version");
    lab.settings.min_version = lab.settings.max_version = UT_TLS_1_2;
    lab_renew(&lab);
    struct pair *pair = pair_open(&lab, NULL);
    cr_assert(pair_shake(pair));
    cr_expect_eq(SSL_version(pair->client), TLS1_2_VERSION);
    pair_close(pair);
}

static void want_cbc(SSL_CTX *client)
{
    want_1_2(client);
    SSL_CTX_set_cipher_list(client, "ECDHE-ECDSA-AES128-SHA");
}

static void want_no_forward_secrecy(SSL_CTX *client)
{
    want_1_2(client);
    SSL_CTX_set_cipher_list(client, "AES128-GCM-SHA256");
}

static void expect_suite(void (*tune)(SSL_CTX *), const char *name)
{
    struct pair *pair = pair_open(&lab, tune);
    cr_assert(pair_shake(pair));
    cr_expect_str_eq(SSL_CIPHER_standard_name(SSL_get_current_cipher(pair->client)), name);
    pair_close(pair);
}

Test(tls_handshake, suites_are_those_of_the_settings_by_their_iana_names)
{
    static char cbc[] = "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", strong[] = "TLS_AES_256_GCM_SHA384";
    static char *names[] = {cbc, strong};
    expect_suite(NULL, "TLS_AES_128_GCM_SHA256");
    expect_suite(want_1_2, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
    expect_failure(want_cbc, UT_TLS_FAILURE_CIPHER, "cipher suites");
    expect_failure(want_no_forward_secrecy, UT_TLS_FAILURE_CIPHER, "cipher suites");
    lab.settings.cipher_suites = (struct ut_strings){names, 1};
    lab_renew(&lab);
    expect_suite(want_cbc, cbc);
    expect_suite(NULL, "TLS_AES_128_GCM_SHA256");
    lab.settings.cipher_suites = (struct ut_strings){names, 2};
    lab_renew(&lab);
    expect_suite(NULL, strong);
}

static void offer(SSL_CTX *client, const char *protocols)
{
    cr_assert_eq(SSL_CTX_set_alpn_protos(client, (const unsigned char *)protocols,
                                         (unsigned)strlen(protocols)),
                 0);
}

static void offer_both(SSL_CTX *client)
{
    offer(client, "\x08http/1.1\x02h2");
}

static void offer_http1(SSL_CTX *client)
{
    offer(client, "\x08http/1.0\x08http/1.1");
}

static void offer_http1_0(SSL_CTX *client)
{
    offer(client, "\x08http/1.0");
}

static void offer_other(SSL_CTX *client)
{
    offer(client, "\x03"
                  "ftp");
}

Test(tls_handshake, http2_is_preferred_and_an_unknown_protocol_is_refused)
{
    static const struct {
        void (*tune)(SSL_CTX *);
        enum ut_tls_protocol agreed;
    } rows[] = {
        {NULL, UT_TLS_ALPN_NONE},
        {offer_both, UT_TLS_ALPN_H2},
        {offer_http1, UT_TLS_ALPN_HTTP1},
        {offer_http1_0, UT_TLS_ALPN_HTTP1},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pair *pair = pair_open(&lab, rows[i].tune);
        cr_assert(pair_shake(pair));
        cr_expect_eq(ut_tls_protocol(&pair->tls), rows[i].agreed);
        pair_close(pair);
    }
    expect_failure(offer_other, UT_TLS_FAILURE_ALPN, "h2");
}

static void trust_nobody(SSL_CTX *client)
{
    X509_STORE *store = X509_STORE_new();
    cr_assert_not_null(store);
    SSL_CTX_set_cert_store(client, store);
}

Test(tls_handshake, a_client_that_does_not_trust_us_is_told_what_it_lacks)
{
    expect_failure(trust_nobody, UT_TLS_FAILURE_REFUSED, "give it the CA");
}

/* ---- client certificates -------------------------------------------------------------------- */

static struct test_identity shown; /* by the client */

static void show(SSL_CTX *client)
{
    cr_assert_eq(SSL_CTX_use_certificate(client, shown.certificate), 1);
    cr_assert_eq(SSL_CTX_use_PrivateKey(client, shown.key), 1);
}

static void make_client(const struct test_identity *issuer, const char *alternatives, long valid_s)
{
    shown = test_identity_make(&(struct test_wish){
        .name = "agent äöü",
        .alternatives = alternatives,
        .issuer = issuer,
        .valid_s = valid_s,
    });
}

static void demand_certificates(void)
{
    lab.settings.ca_file = lab.ca;
    lab_renew(&lab);
}

Test(tls_handshake, a_client_without_a_good_certificate_does_not_get_in)
{
    demand_certificates();
    expect_failure(NULL, UT_TLS_FAILURE_NO_CERTIFICATE, "client_ca_file");
    make_client(NULL, "DNS:stranger", 0);
    expect_failure(show, UT_TLS_FAILURE_CERTIFICATE, "CA in client_ca_file");
    test_identity_free(&shown);
    make_client(&lab.authority, "DNS:late", -60);
    expect_failure(show, UT_TLS_FAILURE_CERTIFICATE, "valid now");
    test_identity_free(&shown);
}

struct names {
    char text[256];
    enum ut_tls_name until;
};

static bool collect(void *arg, enum ut_tls_name kind, ut_slice name)
{
    struct names *names = arg;
    size_t had = strlen(names->text);
    (void)snprintf(names->text + had, sizeof(names->text) - had, "%d=%.*s;", kind, (int)name.size,
                   (const char *)name.data);
    return kind == names->until;
}

Test(tls_handshake, the_names_of_a_client_are_known)
{
    struct names all = {.until = UT_TLS_NAME_EMAIL + 1}, some = {.until = UT_TLS_NAME_URI};
    demand_certificates();
    make_client(&lab.authority, "DNS:a.example,IP:10.0.0.1,URI:spiffe://d/ns/x,email:o@example", 0);
    struct pair *pair = pair_open(&lab, show);
    cr_assert(pair_shake(pair));
    cr_expect_not(ut_tls_find_name(&pair->tls, collect, &all));
    cr_expect_str_eq(all.text, "0=agent äöü;1=a.example;2=spiffe://d/ns/x;3=o@example;");
    cr_expect(ut_tls_find_name(&pair->tls, collect, &some));
    cr_expect_str_eq(some.text, "0=agent äöü;1=a.example;2=spiffe://d/ns/x;");
    pair_close(pair);
    test_identity_free(&shown);
}

Test(tls_handshake, without_a_client_certificate_there_are_no_names)
{
    struct names all = {.until = UT_TLS_NAME_EMAIL + 1};
    struct pair *pair = pair_open(&lab, NULL);
    cr_assert(pair_shake(pair));
    cr_expect_not(ut_tls_find_name(&pair->tls, collect, &all));
    cr_expect_str_eq(all.text, "");
    pair_close(pair);
}

/* ---- resumption ----------------------------------------------------------------------------- */

/* A handshake that offers `session` (NULL: none); returns whether it was resumed, and in *ret a
 * session for the next one. */
static bool shake_with(SSL_SESSION *session, void (*tune)(SSL_CTX *), SSL_SESSION **ret)
{
    struct pair *pair = pair_open(&lab, tune);
    char byte;
    if (session != NULL)
        cr_assert_eq(SSL_set_session(pair->client, session), 1);
    cr_assert(pair_shake(pair));
    (void)SSL_read(pair->client, &byte, 1); /* the ticket of TLS 1.3 comes behind the handshake */
    bool resumed = ut_tls_is_resumed(&pair->tls);
    cr_expect_eq(resumed, SSL_session_reused(pair->client) == 1);
    if (ret != NULL)
        *ret = SSL_get1_session(pair->client);
    SSL_set_shutdown(pair->client, SSL_SENT_SHUTDOWN); /* else the client forgets the session */
    pair_close(pair);
    return resumed;
}

/* Whether a session of the first context is resumed after `change`. */
static bool is_resumed_after(void (*change)(void), void (*tune)(SSL_CTX *))
{
    SSL_SESSION *session;
    cr_assert_not(shake_with(NULL, tune, &session));
    if (change != NULL)
        change();
    bool resumed = shake_with(session, tune, NULL);
    SSL_SESSION_free(session);
    return resumed;
}

static void rotate(void)
{
    ut_tls_tickets_rotate(&lab.context->tickets);
}

static void rotate_twice(void)
{
    rotate();
    rotate();
}

static void renew(void)
{
    lab_renew(&lab);
}

Test(tls_handshake, sessions_are_resumed_until_the_ticket_keys_have_gone)
{
    void (*const tunes[])(SSL_CTX *) = {NULL, want_1_2};
    for (int i = 0; i < 2; i++) {
        cr_expect(is_resumed_after(NULL, tunes[i]));
        cr_expect(is_resumed_after(rotate, tunes[i]), "the key before the newest is known");
        cr_expect_not(is_resumed_after(rotate_twice, tunes[i]));
        cr_expect_not(is_resumed_after(renew, tunes[i]), "another context has other keys");
    }
}

Test(tls_handshake, sessions_promise_no_early_data)
{
    SSL_SESSION *session;
    cr_assert_not(shake_with(NULL, NULL, &session));
    cr_expect_eq(SSL_SESSION_get_max_early_data(session), 0);
    cr_expect_leq(SSL_SESSION_get_ticket_lifetime_hint(session), UT_TLS_TICKET_S);
    SSL_SESSION_free(session);
}

static void demand_anothers(void)
{
    struct test_identity other = test_identity_make(&(struct test_wish){.name = "other"});
    test_write_certificate(&other, lab.ca);
    test_identity_free(&other);
    lab_renew(&lab);
}

Test(tls_handshake, a_session_from_before_a_change_of_the_client_ca_does_not_let_in)
{
    SSL_SESSION *session;
    demand_certificates();
    make_client(&lab.authority, "DNS:agent", 0);
    cr_assert_not(shake_with(NULL, show, &session));
    cr_expect(shake_with(session, show, NULL));
    /* The client trusts what it read of the file before: the pair reads it at each opening. */
    struct pair *pair = pair_open(&lab, show);
    ut_tls_done(&pair->tls);
    const struct ut_tls_ops *ops = pair->tls.ops;
    demand_anothers();
    ut_tls_init(&pair->tls, lab.context, lab.channel, ops);
    cr_assert_eq(SSL_set_session(pair->client, session), 1);
    cr_expect_not(pair_shake(pair));
    cr_expect_eq(pair->tls.why.failure, UT_TLS_FAILURE_CERTIFICATE);
    pair_close(pair);
    SSL_SESSION_free(session);
    test_identity_free(&shown);
}

/* To the verification it is an hour ago, so that the certificate is good then and not now. */
Test(tls_handshake, a_session_is_not_resumed_when_its_certificate_has_expired)
{
    demand_certificates();
    X509_VERIFY_PARAM_set_time(SSL_CTX_get0_param(lab.context->ssl), time(NULL) - 3600);
    make_client(&lab.authority, "DNS:agent", -60);
    cr_expect_not(is_resumed_after(NULL, show));
    test_identity_free(&shown);
    make_client(&lab.authority, "DNS:agent", 3600);
    cr_expect(is_resumed_after(NULL, show));
    test_identity_free(&shown);
}
