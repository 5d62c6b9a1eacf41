/* SPDX-License-Identifier: Apache-2.0 */
/* A listener's certificate follows its files; time is virtual. */
#include "net/tls_end.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "tls_lab.h"

static struct lab lab;
static struct ut_worker worker;
static struct ut_tls_end end;
static uint64_t now_ns;

static void set_up(void)
{
    struct ut_tls_error error;
    lab_open(&lab);
    lab.settings.reload_interval_ns = 60 * UT_NS_PER_S;
    cr_assert_eq(ut_worker_init(&worker, (size_t)1 << 20, NULL, ut_metrics_new()), 0);
    now_ns = ut_worker_now(&worker);
    const struct ut_tls_end_config config = {&worker, UT_TLS_SERVER, &lab.settings, "otlp",
                                             "receiver=\"otlp\""};
    cr_assert_eq(ut_tls_end_init(&end, &config, &error), 0, "%s", error.text);
}

static void tear_down(void)
{
    struct ut_metrics *metrics = worker.metrics;
    ut_tls_end_done(&end);
    ut_worker_done(&worker);
    ut_metrics_free(metrics);
    lab_close(&lab);
}

TestSuite(tls_end, .init = set_up, .fini = tear_down);

/* Timers fire as if that time had passed. */
static void pass(uint64_t seconds)
{
    now_ns += seconds * UT_NS_PER_S;
    ut_timers_run(&worker.timers, now_ns);
}

static void replace(bool cert, bool key)
{
    struct test_identity fresh = test_identity_make(&(struct test_wish){
        .name = "server", .alternatives = "DNS:localhost", .issuer = &lab.authority});
    if (cert)
        test_write_certificate(&fresh, lab.cert);
    if (key)
        test_write_key(&fresh, lab.key);
    test_identity_free(&fresh);
}

Test(tls_end, files_that_stay_the_same_keep_the_context)
{
    const struct ut_tls_context *first = end.context;
    pass(61);
    ut_tls_end_look(&end);
    cr_expect_eq(end.context, first);
    cr_expect_eq(*end.reloaded, 0);
    cr_expect(ut_timer_is_set(&end.look));
}

Test(tls_end, replaced_files_are_taken_at_the_interval_or_when_told)
{
    const struct ut_tls_context *first = end.context;
    replace(true, true);
    pass(59);
    cr_expect_eq(end.context, first, "not before its time");
    pass(2);
    cr_expect_neq(end.context, first);
    cr_expect_eq(*end.reloaded, 1);
    replace(true, true);
    ut_tls_end_look(&end);
    cr_expect_eq(*end.reloaded, 2);
    cr_expect_eq(*end.failed, 0);
}

/* The UNIX time at which it expires. */
static int64_t expiry_of(const struct test_identity *identity)
{
    struct tm end_of;
    cr_assert_eq(ASN1_TIME_to_tm(X509_get0_notAfter(identity->certificate), &end_of), 1);
    return timegm(&end_of);
}

Test(tls_end, metrics_tell_when_the_certificate_in_force_expires)
{
    static const char name[] = "undertrace_receiver_tls_certificate_not_after_timestamp_seconds";
    struct test_identity fresh = test_identity_make(&(struct test_wish){
        .name = "server", .alternatives = "DNS:x", .issuer = &lab.authority, .valid_s = 7200});
    cr_expect_eq((int64_t)ut_metrics_sum(worker.metrics, name), expiry_of(&lab.server));
    test_write_certificate(&fresh, lab.cert);
    test_write_key(&fresh, lab.key);
    ut_tls_end_look(&end);
    cr_expect_eq(*end.reloaded, 1);
    cr_expect_eq((int64_t)ut_metrics_sum(worker.metrics, name), expiry_of(&fresh));
    test_identity_free(&fresh);
}

Test(tls_end, a_key_that_does_not_match_yet_is_tried_again_soon)
{
    const struct ut_tls_context *first = end.context;
    struct test_identity fresh = test_identity_make(&(struct test_wish){
        .name = "server", .alternatives = "DNS:localhost", .issuer = &lab.authority});
    test_write_certificate(&fresh, lab.cert);
    ut_tls_end_look(&end);
    cr_expect_eq(end.context, first);
    cr_expect_eq(*end.failed, 0, "it may be right in a moment");
    test_write_key(&fresh, lab.key);
    pass(1);
    cr_expect_neq(end.context, first);
    cr_expect_eq(*end.reloaded, 1);
    cr_expect_eq(*end.failed, 0);
    test_identity_free(&fresh);
}

Test(tls_end, bad_files_leave_the_old_certificate_and_are_counted_until_they_are_good)
{
    const struct ut_tls_context *first = end.context;
    test_write_text("no certificate", lab.cert);
    ut_tls_end_look(&end);
    for (int i = 0; i < 20 && *end.failed == 0; i++)
        pass(1);
    cr_expect_eq(*end.failed, 1);
    cr_expect_eq(end.context, first);
    pass(61);
    for (int i = 0; i < 20 && *end.failed == 1; i++)
        pass(1);
    cr_expect_eq(*end.failed, 2, "and again at the next look");
    cr_expect_eq(unlink(lab.cert), 0);
    ut_tls_end_look(&end);
    cr_expect_eq(end.context, first);
    replace(true, true);
    pass(61);
    cr_expect_neq(end.context, first);
    cr_expect_eq(*end.reloaded, 1);
}

Test(tls_end, an_open_connection_keeps_what_it_began_with)
{
    ut_tls_context_unref(lab.context);
    lab.context = ut_tls_context_ref(end.context);
    struct pair *pair = pair_open(&lab, NULL);
    cr_assert(pair_shake(pair));
    replace(true, true);
    ut_tls_end_look(&end);
    cr_assert_eq(*end.reloaded, 1);
    cr_assert_eq(SSL_write(pair->client, "x", 1), 1);
    pair_move(pair);
    cr_expect_eq(pair->got_size, 1);
    cr_expect_eq(pair->error, 0);
    pair_close(pair);
}

Test(tls_end, ticket_keys_are_replaced_by_age)
{
    struct ut_tls_ticket_key first = end.context->tickets.keys[0];
    pass(UT_TLS_TICKET_S + 1);
    cr_expect_eq(memcmp(&end.context->tickets.keys[1], &first, sizeof(first)), 0);
    cr_expect_neq(memcmp(&end.context->tickets.keys[0], &first, sizeof(first)), 0);
}

Test(tls_end, tickets_outlive_the_server_if_all_that_they_stand_for_stays)
{
    struct ut_tls_end next;
    struct ut_tls_error error;
    struct ut_tls_settings settings = lab.settings;
    const struct ut_tls_end_config config = {&worker, UT_TLS_SERVER, &settings, "otlp",
                                             "receiver=\"otlp\""};
    const size_t size = sizeof(end.context->tickets.keys);
    for (int i = 0; i < 3; i++) {
        settings.client_optional = i == 1;
        if (i == 2)
            replace(true, true);
        cr_assert_eq(ut_tls_end_init(&next, &config, &error), 0, "%s", error.text);
        ut_tls_end_inherit(&next, &end);
        bool same = memcmp(next.context->tickets.keys, end.context->tickets.keys, size) == 0;
        cr_expect_eq(same, i == 0, "%d", i);
        ut_tls_end_done(&next);
    }
}

static void expect_error(const char *key, const char *part)
{
    struct ut_tls_context *context;
    struct ut_tls_error error;
    cr_assert_lt(ut_tls_context_new(&context, &lab.settings, UT_TLS_SERVER, &error), 0);
    cr_expect_str_eq(error.key, key);
    cr_expect_not_null(strstr(error.text, part), "%s", error.text);
}

Test(tls_end, files_that_cannot_be_used_are_named_with_the_reason)
{
    static char missing[] = "/nowhere/server.pem", folder[] = "/";
    lab.settings.cert_file = missing;
    expect_error("cert_file", "/nowhere/server.pem cannot be read: No such file");
    lab.settings.cert_file = folder;
    expect_error("cert_file", "is no file");
    lab.settings.cert_file = lab.key;
    expect_error("cert_file", "has no certificate");
    lab.settings.cert_file = lab.cert;
    lab.settings.key_file = lab.cert;
    expect_error("key_file", "no private key");
    lab.settings.key_file = lab.key;
    replace(false, true);
    expect_error("key_file", "is not the key of the certificate in");
    test_write_certificate(&lab.server, lab.cert);
    test_write_key(&lab.server, lab.key);
    lab.settings.ca_file = lab.key;
    expect_error("client_ca_file", "has no certificate");
}

Test(tls_end, texts_in_the_configuration_serve_as_files_do)
{
    static char cert[4096], key[4096];
    FILE *file = fopen(lab.cert, "r");
    cr_assert_gt(fread(cert, 1, sizeof(cert) - 1, file), 0);
    fclose(file);
    file = fopen(lab.key, "r");
    cr_assert_gt(fread(key, 1, sizeof(key) - 1, file), 0);
    fclose(file);
    lab.settings.cert_file = lab.settings.key_file = NULL;
    lab.settings.cert_pem = cert;
    lab.settings.key_pem = key;
    lab_renew(&lab);
    struct pair *pair = pair_open(&lab, NULL);
    cr_expect(pair_shake(pair));
    pair_close(pair);
}
