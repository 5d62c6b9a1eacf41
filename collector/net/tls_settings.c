/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_settings.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "net/tls_ciphers.h"
#include "net/tls_context.h"

enum { PATH_BYTES = 128 };

static const char *const version_words[] = {[UT_TLS_1_2] = "1.2", [UT_TLS_1_3] = "1.3", NULL};

#define AT(member) offsetof(struct ut_tls_settings, member)
#define TEXT(name, member)                                                                         \
    {                                                                                              \
        .key = (name), .type = UT_FIELD_STRING, .offset = AT(member)                               \
    }
#define FLAG(member)                                                                               \
    {                                                                                              \
        .key = #member, .type = UT_FIELD_BOOL, .offset = AT(member)                                \
    }
#define VERSION(member, otherwise)                                                                 \
    {                                                                                              \
        .key = #member, .type = UT_FIELD_ENUM, .offset = AT(member), .fallback = (otherwise),      \
        .words = version_words                                                                     \
    }
/* What both roles have. */
#define ROWS                                                                                       \
    TEXT("cert_file", cert_file), TEXT("cert_pem", cert_pem), TEXT("key_file", key_file),          \
        TEXT("key_pem", key_pem), VERSION(min_version, "1.2"), VERSION(max_version, "1.3"),        \
        {.key = "cipher_suites", .type = UT_FIELD_STRINGS, .offset = AT(cipher_suites)},           \
    {                                                                                              \
        .key = "reload_interval", .type = UT_FIELD_DURATION, .offset = AT(reload_interval_ns),     \
        .fallback = "1m", .most = 604800                                                           \
    }

const struct ut_field ut_tls_server_fields[] = {
    ROWS,
    TEXT("client_ca_file", ca_file),
    UT_FIELD_END,
};

const struct ut_field ut_tls_client_fields[] = {
    ROWS,
    TEXT("ca_file", ca_file),
    TEXT("ca_pem", ca_pem),
    TEXT("server_name_override", server_name_override),
    FLAG(insecure),
    FLAG(insecure_skip_verify),
    FLAG(include_system_ca_certs_pool),
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

static void check_one(struct check *check, const char *file, const char *pem, const char *name)
{
    char key[32], text[96];
    if (file == NULL || pem == NULL)
        return;
    (void)snprintf(key, sizeof(key), "%s_pem", name);
    (void)snprintf(text, sizeof(text), "%s_file is given as well; one of them is wanted", name);
    say(check, key, text);
}

static void check_certificate(struct check *check, const struct ut_tls_settings *settings,
                              enum ut_tls_role role)
{
    bool cert = settings->cert_file != NULL || settings->cert_pem != NULL;
    bool key = settings->key_file != NULL || settings->key_pem != NULL;
    if (role == UT_TLS_SERVER && !cert)
        say(check, "", "cert_file is missing: the file of the certificate");
    if (role == UT_TLS_SERVER && !key)
        say(check, "", "key_file is missing: the file of the certificate's private key");
    if (role == UT_TLS_CLIENT && cert != key)
        say(check, "", "a client certificate needs both cert_file and key_file");
    check_one(check, settings->cert_file, settings->cert_pem, "cert");
    check_one(check, settings->key_file, settings->key_pem, "key");
    check_one(check, settings->ca_file, settings->ca_pem, "ca");
}

static void check_file(struct check *check, const char *file, const char *key)
{
    char text[UT_TLS_ERROR_TEXT];
    if (file == NULL || access(file, R_OK) == 0)
        return;
    (void)snprintf(text, sizeof(text), "%s cannot be read: %s", file, strerror(errno));
    say(check, key, text);
}

static void check_ciphers(struct check *check, const struct ut_tls_settings *settings)
{
    char text[UT_TLS_ERROR_TEXT];
    for (size_t i = 0; i < settings->cipher_suites.count; i++) {
        if (!ut_tls_cipher_check(settings->cipher_suites.items[i], text, sizeof(text)))
            say(check, "cipher_suites", text);
    }
}

void ut_tls_check(const struct ut_tls_settings *settings, enum ut_tls_role role, const char *path,
                  struct ut_config_report *report)
{
    struct check check = {path, report, false};
    check_certificate(&check, settings, role);
    if (settings->min_version > settings->max_version)
        say(&check, "min_version", "is above max_version: there is no version left");
    check_ciphers(&check, settings);
    check_file(&check, settings->cert_file, "cert_file");
    check_file(&check, settings->key_file, "key_file");
    check_file(&check, settings->ca_file, role == UT_TLS_SERVER ? "client_ca_file" : "ca_file");
    /* Then what is in them, and whether they fit each other. */
    struct ut_tls_error error;
    struct ut_tls_context *context;
    if (check.wrong)
        return;
    if (ut_tls_context_new(&context, settings, role, &error) == 0)
        ut_tls_context_unref(context);
    else
        say(&check, error.key, error.text);
}
