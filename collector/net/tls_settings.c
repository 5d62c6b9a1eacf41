/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_settings.h"

#include <stdio.h>

#include "net/tls_ciphers.h"
#include "net/tls_context.h"

enum { PATH_BYTES = 128 };

static const char *const version_words[] = {[UT_TLS_1_2] = "1.2", [UT_TLS_1_3] = "1.3", NULL};

#define AT(member) offsetof(struct ut_tls_settings, member)

const struct ut_field ut_tls_server_fields[] = {
    {.key = "cert_file", .type = UT_FIELD_STRING, .offset = AT(cert_file)},
    {.key = "cert_pem", .type = UT_FIELD_STRING, .offset = AT(cert_pem)},
    {.key = "key_file", .type = UT_FIELD_STRING, .offset = AT(key_file)},
    {.key = "key_pem", .type = UT_FIELD_STRING, .offset = AT(key_pem)},
    {.key = "client_ca_file", .type = UT_FIELD_STRING, .offset = AT(client_ca_file)},
    {.key = "min_version",
     .type = UT_FIELD_ENUM,
     .offset = AT(min_version),
     .fallback = "1.2",
     .words = version_words},
    {.key = "max_version",
     .type = UT_FIELD_ENUM,
     .offset = AT(max_version),
     .fallback = "1.3",
     .words = version_words},
    {.key = "cipher_suites", .type = UT_FIELD_STRINGS, .offset = AT(cipher_suites)},
    {.key = "reload_interval",
     .type = UT_FIELD_DURATION,
     .offset = AT(reload_interval_ns),
     .fallback = "1m",
     .most = 604800},
    UT_FIELD_END,
};

struct check {
    const char *path;
    struct ut_config_report *report;
    bool wrong;
};

static void say(struct check *check, const char *key, const char *text)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%s%s%s", check->path, key[0] != '\0' ? "." : "", key);
    check->report->error(check->report, path, "%s", text);
    check->wrong = true;
}

static void check_source(struct check *check, const char *file, const char *pem, const char *key)
{
    char text[128];
    bool cert = key[0] == 'c';
    if (file == NULL && pem == NULL) {
        (void)snprintf(text, sizeof(text), "%s is missing: the file of the %s", key,
                       cert ? "certificate" : "certificate's private key");
        say(check, "", text);
    } else if (file != NULL && pem != NULL) {
        (void)snprintf(text, sizeof(text), "%s and %s cannot both be given", key,
                       cert ? "cert_pem" : "key_pem");
        say(check, key, text);
    }
}

static void check_ciphers(struct check *check, const struct ut_tls_settings *settings)
{
    char text[UT_TLS_ERROR_TEXT];
    for (size_t i = 0; i < settings->cipher_suites.count; i++) {
        if (!ut_tls_cipher_check(settings->cipher_suites.items[i], text, sizeof(text)))
            say(check, "cipher_suites", text);
    }
}

void ut_tls_server_check(const struct ut_tls_settings *settings, const char *path,
                         struct ut_config_report *report)
{
    struct check check = {path, report, false};
    check_source(&check, settings->cert_file, settings->cert_pem, "cert_file");
    check_source(&check, settings->key_file, settings->key_pem, "key_file");
    if (settings->min_version > settings->max_version)
        say(&check, "min_version", "is above max_version: no client could connect");
    check_ciphers(&check, settings);
    if (check.wrong)
        return;
    struct ut_tls_error error;
    struct ut_tls_context *context;
    if (ut_tls_context_new(&context, settings, &error) == 0)
        ut_tls_context_unref(context);
    else
        say(&check, error.key, error.text);
}
