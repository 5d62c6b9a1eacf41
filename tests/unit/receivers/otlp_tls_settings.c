/* SPDX-License-Identifier: Apache-2.0 */
/* `tls:` of the otlp receiver's listeners as it comes out of a configuration file. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "certificates.h"
#include "config_types.h"
#include "otlp_receiver/receiver.h"

static char folder[64];

static void set_up(void)
{
    char path[128];
    struct test_identity server =
        test_identity_make(&(struct test_wish){.name = "server", .alternatives = "DNS:a"});
    struct test_identity other =
        test_identity_make(&(struct test_wish){.name = "other", .alternatives = "DNS:a"});
    (void)snprintf(folder, sizeof(folder), "/tmp/undertrace-tls-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/c", folder);
    test_write_certificate(&server, path);
    (void)snprintf(path, sizeof(path), "%s/k", folder);
    test_write_key(&server, path);
    (void)snprintf(path, sizeof(path), "%s/other", folder);
    test_write_key(&other, path);
    test_identity_free(&server);
    test_identity_free(&other);
}

static void tear_down(void)
{
    static const char *const names[] = {"c", "k", "other"};
    for (int i = 0; i < 3; i++) {
        char path[128];
        (void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

TestSuite(otlp_tls_settings, .init = set_up, .fini = tear_down);

static const char *no_env(const char *name)
{
    (void)name;
    return NULL;
}

/* Reads a configuration whose port of gRPC has `tls`, in which "@" stands for the folder. `said`
 * gets the messages; the caller frees it. */
static struct ut_config *read_tls(const char *tls, char **said)
{
    static struct ut_config_type receivers[2];
    static struct ut_config_types types;
    receivers[0] = (struct ut_config_type){
        .name = "otlp",
        .fields = ut_receiver_otlp.fields,
        .config_size = ut_receiver_otlp.config_size,
        .check = ut_receiver_otlp.check,
        .listens = ut_receiver_otlp.endpoints,
    };
    types = (struct ut_config_types){
        .receivers = receivers, .processors = test_processors, .exporters = test_exporters};
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    cr_assert_not_null(out);
    fputs("receivers:\n  otlp:\n    protocols:\n      grpc:\n        tls: ", out);
    for (; *tls != '\0'; tls++) {
        if (*tls == '@')
            fputs(folder, out);
        else
            fputc(*tls, out);
    }
    fputs("\nexporters:\n  debug:\nservice:\n  pipelines:\n"
          "    traces: {receivers: [otlp], exporters: [debug]}\n",
          out);
    fclose(out);
    struct ut_config_messages messages;
    ut_config_messages_init(&messages, "c.yaml");
    struct ut_config_source source = {.text = ut_slice_str(text), .env = no_env};
    struct ut_config *config = ut_config_read(&source, &types, &messages);
    out = open_memstream(said, &size);
    cr_assert_not_null(out);
    ut_config_messages_print(&messages, out);
    fclose(out);
    ut_config_messages_done(&messages);
    free(text);
    return config;
}

static void expect_error(const char *tls, const char *place, const char *part)
{
    char *said;
    struct ut_config *config = read_tls(tls, &said);
    cr_expect_null(config, "%s", tls);
    cr_expect_not_null(strstr(said, part), "%s said:\n%s", tls, said);
    cr_expect_not_null(strstr(said, place), "%s said:\n%s", tls, said);
    ut_config_free(config);
    free(said);
}

Test(otlp_tls_settings, every_key_is_read_and_has_the_collectors_default)
{
    char *said;
    struct ut_config *config = read_tls("{cert_file: '@/c', key_file: '@/k'}", &said);
    cr_assert_not_null(config, "%s", said);
    const struct ut_otlp_receiver_settings *settings = config->receivers.items[0].config;
    const struct ut_tls_settings *tls = &settings->protocols.grpc.tls;
    cr_expect(settings->protocols.grpc.has_tls && !settings->protocols.http.has_tls);
    cr_expect_eq(tls->min_version, UT_TLS_1_2);
    cr_expect_eq(tls->max_version, UT_TLS_1_3);
    cr_expect_null(tls->ca_file);
    cr_expect_eq(tls->cipher_suites.count, 0);
    cr_expect_eq(tls->reload_interval_ns, 60 * UT_NS_PER_S);
    ut_config_free(config);
    free(said);
    config = read_tls("{cert_file: '@/c', key_file: '@/k', client_ca_file: '@/c', "
                      "min_version: 1.3, max_version: '1.3', reload_interval: 0, "
                      "cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]}",
                      &said);
    cr_assert_not_null(config, "%s", said);
    settings = config->receivers.items[0].config;
    tls = &settings->protocols.grpc.tls;
    cr_expect_eq(tls->min_version, UT_TLS_1_3);
    cr_expect_not_null(tls->ca_file);
    cr_expect_eq(tls->cipher_suites.count, 1);
    cr_expect_eq(tls->reload_interval_ns, 0);
    ut_config_free(config);
    free(said);
}

Test(otlp_tls_settings, what_cannot_work_is_an_error_at_its_place)
{
    expect_error("", "c.yaml:5:", "cert_file is missing");
    expect_error("{cert_file: '@/c'}", "c.yaml:5:9", "key_file is missing");
    expect_error("{key_file: '@/k'}", "c.yaml:5:9", "cert_file is missing");
    expect_error("{cert_file: '@/c', cert_pem: x, key_file: '@/k'}", "c.yaml:5:", "cert_pem");
    expect_error("{cert_file: '@/c', key_file: '@/k', min_version: '1.1'}", "c.yaml:5:", "1.2");
    expect_error("{cert_file: '@/c', key_file: '@/k', min_version: 1.3, max_version: 1.2}",
                 "c.yaml:5:", "above max_version");
    expect_error("{cert_file: '@/c', key_file: '@/k', cipher_suites: [AES128]}",
                 "c.yaml:5:", "\"AES128\" is no cipher suite known here");
    expect_error("{cert_file: '@/c', key_file: '@/k', "
                 "cipher_suites: [TLS_RSA_WITH_AES_128_GCM_SHA256]}",
                 "c.yaml:5:", "no forward secrecy");
    expect_error("{cert_file: '@/nothing', key_file: '@/k'}", "tls.cert_file",
                 "cannot be read: No such file");
    expect_error("{cert_file: '@/c', key_file: '@/other'}", "tls.key_file",
                 "is not the key of the certificate");
    expect_error("{cert_file: '@/c', key_file: '@/k', client_ca_file: '@/k'}", "tls.client_ca_file",
                 "no certificate in PEM form");
    expect_error("{cert_file: '@/c', key_file: '@/k', certfile: x}", "c.yaml:5:", "cert_file");
    expect_error("{cert_pem: 'x', key_pem: 'y'}", "tls.cert_pem", "no certificate in PEM form");
}
