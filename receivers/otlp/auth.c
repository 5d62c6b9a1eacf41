/* SPDX-License-Identifier: Apache-2.0 */
#include "auth.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define BEARER_AT(member) offsetof(struct ut_otlp_bearer_settings, member)

static const struct ut_field bearer_fields[] = {
    {.key = "token_file", .type = UT_FIELD_STRING, .offset = BEARER_AT(token_file)},
    {.key = "scheme", .type = UT_FIELD_STRING, .offset = BEARER_AT(scheme), .fallback = "Bearer"},
    {.key = "header",
     .type = UT_FIELD_STRING,
     .offset = BEARER_AT(header),
     .fallback = "Authorization"},
    UT_FIELD_END,
};

#define NAMES_AT offsetof(__typeof__(((struct ut_otlp_auth_settings *)0)->client_cert), names)

static const struct ut_field client_cert_fields[] = {
    {.key = "names", .type = UT_FIELD_STRINGS, .offset = NAMES_AT},
    UT_FIELD_END,
};

#define AUTH_AT(member) offsetof(struct ut_otlp_auth_settings, member)

const struct ut_field ut_otlp_auth_fields[] = {
    {.key = "allowed_uids", .type = UT_FIELD_STRINGS, .offset = AUTH_AT(allowed_uids)},
    {.key = "allowed_gids", .type = UT_FIELD_STRINGS, .offset = AUTH_AT(allowed_gids)},
    {.key = "any", .type = UT_FIELD_STRINGS, .offset = AUTH_AT(any)},
    {.key = "bearer",
     .type = UT_FIELD_MAP,
     .offset = AUTH_AT(bearer),
     .fields = bearer_fields,
     .present = AUTH_AT(has_bearer)},
    {.key = "client_cert",
     .type = UT_FIELD_MAP,
     .offset = AUTH_AT(client_cert),
     .fields = client_cert_fields,
     .present = AUTH_AT(has_client_cert)},
    {.key = "authenticator", .type = UT_FIELD_STRING, .offset = AUTH_AT(authenticator)},
    UT_FIELD_END,
};

/* ---- settings ------------------------------------------------------------------------------- */

enum { PATH_TEXT = 160 };

static bool is_set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static bool has_word(const struct ut_strings *list, const char *word)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i], word) == 0)
            return true;
    }
    return false;
}

/* A list of ways that leaves out what is configured, or names what is not, was meant otherwise. */
static void check_any(struct ut_config_report *report, const char *path,
                      const struct ut_otlp_auth_settings *settings)
{
    const struct {
        const char *word, *example;
        bool configured;
    } ways[] = {
        {"bearer", "bearer: {token_file: …}", settings->has_bearer},
        {"client_cert", "client_cert: {names: […]}", settings->has_client_cert},
    };
    for (size_t i = 0; i < settings->any.count; i++) {
        const char *word = settings->any.items[i];
        if (strcmp(word, ways[0].word) != 0 && strcmp(word, ways[1].word) != 0)
            report->error(report, path,
                          "\"%s\" is no way to authenticate; there are: bearer, client_cert", word);
    }
    for (int i = 0; i < 2; i++) {
        bool named = has_word(&settings->any, ways[i].word);
        if (named && !ways[i].configured)
            report->error(report, path, "names %s, and there is no `%s`", ways[i].word,
                          ways[i].example);
        if (ways[i].configured && settings->any.count > 0 && !named)
            report->error(report, path, "leaves %s out, which is configured: name or remove it",
                          ways[i].word);
    }
}

bool ut_otlp_auth_is_optional(const struct ut_otlp_auth_settings *settings)
{
    return settings->has_client_cert && (settings->has_bearer || is_set(settings->authenticator));
}

static void check_bearer(struct ut_config_report *report, const char *path,
                         const struct ut_otlp_auth_settings *settings)
{
    char below[PATH_TEXT];
    (void)snprintf(below, sizeof(below), "%s.bearer", path);
    if (!is_set(settings->bearer.token_file))
        report->error(report, below, "token_file is missing: a file with one token a line");
    ut_auth_check_words(report, below, settings->bearer.scheme, settings->bearer.header);
    if (is_set(settings->authenticator))
        report->error(report, below, "authenticator names an extension already: remove one");
}

void ut_otlp_auth_check(struct ut_config_report *report, const char *path,
                        const struct ut_otlp_auth_settings *settings, bool is_unix)
{
    char below[PATH_TEXT];
    (void)snprintf(below, sizeof(below), "%s.any", path);
    check_any(report, below, settings);
    if (settings->has_bearer)
        check_bearer(report, path, settings);
    if (settings->has_client_cert && settings->client_cert.names.count == 0) {
        (void)snprintf(below, sizeof(below), "%s.client_cert", path);
        report->error(report, below, "names is missing: of the certificates that may send");
    }
    bool users = is_unix && settings->allowed_uids.count + settings->allowed_gids.count > 0;
    if (!settings->has_bearer && !settings->has_client_cert && !is_set(settings->authenticator) &&
        !users)
        report->error(report, path, "asks for nothing: `bearer: {token_file: …}`%s",
                      is_unix ? " or allowed_uids" : " or `client_cert: {names: […]}`");
}

/* ---- the port ------------------------------------------------------------------------------- */

int ut_otlp_auth_init(struct ut_otlp_auth *auth, const struct ut_otlp_auth_settings *settings,
                      const struct ut_build *build)
{
    *auth = (struct ut_otlp_auth){
        .names = settings->has_client_cert ? &settings->client_cert.names : NULL,
        .by_field = settings->has_bearer || is_set(settings->authenticator),
    };
    auth->wanted = auth->by_field || auth->names != NULL;
    if (is_set(settings->authenticator)) {
        const struct ut_extension *extension = ut_build_extension(build, settings->authenticator);
        return extension != NULL &&
                       ut_auth_setup_of(&auth->setup, extension->type, extension->config)
                   ? 0
                   : -ENOENT;
    }
    if (settings->has_bearer)
        auth->setup = (struct ut_auth_setup){
            .kind = UT_AUTH_BEARER,
            .scheme = settings->bearer.scheme,
            .header = settings->bearer.header,
            .file = settings->bearer.token_file,
        };
    return 0;
}

static int start_source(struct ut_otlp_auth *auth, const struct ut_build *build, const char *labels,
                        char error[UT_ERROR_TEXT])
{
    auth->source = (struct ut_auth_source){
        .auth = &auth->auth,
        .worker = build->worker,
        .id = build->id,
        .texts = auth->setup.texts,
        .text_count = auth->setup.text_count,
        .file = auth->setup.file,
    };
    return ut_auth_source_start(&auth->source, labels, error, UT_ERROR_TEXT);
}

int ut_otlp_auth_start(struct ut_otlp_auth *auth, const struct ut_build *build, const char *labels,
                       char error[UT_ERROR_TEXT])
{
    const struct ut_auth_setup *setup = &auth->setup;
    if (!auth->wanted)
        return 0;
    int result = ut_auth_init(&auth->auth, setup->kind, setup->scheme, setup->header);
    if (result != 0) {
        (void)snprintf(error, UT_ERROR_TEXT, "auth: %s", strerror(-result));
        return result;
    }
    auth->auth.by_field = auth->by_field;
    auth->auth.by_certificate = auth->names != NULL;
    result = auth->by_field ? start_source(auth, build, labels, error) : 0;
    if (result != 0) {
        ut_auth_done(&auth->auth);
        return result;
    }
    ut_auth_count(&auth->auth, build->worker->metrics, labels);
    auth->started = true;
    return 0;
}

struct sought {
    const struct ut_strings *names;
    bool shown; /* the client has a certificate */
};

/* DNS knows no case; the others are taken as they are written. */
static bool is_sought(void *arg, enum ut_tls_name kind, ut_slice name)
{
    struct sought *sought = arg;
    sought->shown = true;
    for (size_t i = 0; i < sought->names->count; i++) {
        ut_slice allowed = ut_slice_str(sought->names->items[i]);
        bool same = ut_slice_equal(allowed, name);
        if (kind == UT_TLS_NAME_DNS)
            same = allowed.size == name.size &&
                   strncasecmp((const char *)allowed.data, (const char *)name.data, name.size) == 0;
        if (same)
            return true;
    }
    return false;
}

enum ut_auth_certificate ut_otlp_auth_certificate(const struct ut_strings *names,
                                                  const struct ut_tls *tls)
{
    struct sought sought = {.names = names};
    if (names == NULL)
        return UT_AUTH_CERTIFICATE_NONE;
    if (ut_tls_find_name(tls, is_sought, &sought))
        return UT_AUTH_CERTIFICATE_ALLOWED;
    return sought.shown ? UT_AUTH_CERTIFICATE_OTHER : UT_AUTH_CERTIFICATE_NONE;
}

static bool is_same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool are_same(const char *const *a, size_t a_count, const char *const *b, size_t b_count)
{
    bool same = a_count == b_count;
    for (size_t i = 0; same && i < a_count; i++)
        same = is_same(a[i], b[i]);
    return same;
}

bool ut_otlp_auth_is_same(const struct ut_otlp_auth *a, const struct ut_otlp_auth *b)
{
    static const struct ut_strings none;
    const struct ut_strings *a_names = a->names != NULL ? a->names : &none;
    const struct ut_strings *b_names = b->names != NULL ? b->names : &none;
    const struct ut_auth_setup *a_setup = &a->setup, *b_setup = &b->setup;
    return a->wanted == b->wanted && a->by_field == b->by_field && a_setup->kind == b_setup->kind &&
           is_same(a_setup->scheme, b_setup->scheme) && is_same(a_setup->header, b_setup->header) &&
           is_same(a_setup->file, b_setup->file) &&
           are_same(a_setup->texts, a_setup->text_count, b_setup->texts, b_setup->text_count) &&
           are_same((const char *const *)a_names->items, a_names->count,
                    (const char *const *)b_names->items, b_names->count);
}

void ut_otlp_auth_inherit(struct ut_otlp_auth *auth, const struct ut_otlp_auth *from)
{
    if (auth->started && auth->by_field && from->started && from->by_field)
        ut_auth_source_inherit(&auth->source, &from->source);
}

void ut_otlp_auth_reread(struct ut_otlp_auth *auth)
{
    if (auth->started && auth->by_field)
        ut_auth_source_reread(&auth->source);
}

void ut_otlp_auth_stop(struct ut_otlp_auth *auth)
{
    if (!auth->started)
        return;
    auth->started = false;
    ut_auth_source_stop(&auth->source);
    ut_auth_done(&auth->auth);
}
