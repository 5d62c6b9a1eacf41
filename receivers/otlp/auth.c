/* SPDX-License-Identifier: Apache-2.0 */
#include "auth.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

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
    for (size_t i = 0; i < settings->any.count; i++) {
        if (strcmp(settings->any.items[i], "bearer") != 0)
            report->error(report, path, "\"%s\" is no way to authenticate; there is: bearer",
                          settings->any.items[i]);
    }
    bool named = has_word(&settings->any, "bearer");
    if (named && !settings->has_bearer)
        report->error(report, path, "names bearer, and there is no `bearer: {token_file: …}`");
    if (settings->has_bearer && settings->any.count > 0 && !named)
        report->error(report, path, "leaves bearer out, which is configured: name or remove it");
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
    bool users = is_unix && settings->allowed_uids.count + settings->allowed_gids.count > 0;
    if (!settings->has_bearer && !is_set(settings->authenticator) && !users)
        report->error(report, path, "asks for nothing: `bearer: {token_file: …}`%s",
                      is_unix ? " or allowed_uids" : "");
}

/* ---- the port ------------------------------------------------------------------------------- */

static const struct ut_extension *find_extension(const struct ut_build *build, const char *id)
{
    for (size_t i = 0; i < build->extension_count; i++) {
        if (strcmp(build->extensions[i].id, id) == 0)
            return &build->extensions[i];
    }
    return NULL;
}

int ut_otlp_auth_init(struct ut_otlp_auth *auth, const struct ut_otlp_auth_settings *settings,
                      const struct ut_build *build)
{
    *auth = (struct ut_otlp_auth){.wanted = settings->has_bearer};
    if (is_set(settings->authenticator)) {
        const struct ut_extension *extension = find_extension(build, settings->authenticator);
        auth->wanted = true;
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
    auth->source = (struct ut_auth_source){
        .auth = &auth->auth,
        .worker = build->worker,
        .id = build->id,
        .texts = setup->texts,
        .text_count = setup->text_count,
        .file = setup->file,
    };
    result = ut_auth_source_start(&auth->source, labels, error, UT_ERROR_TEXT);
    if (result != 0) {
        ut_auth_done(&auth->auth);
        return result;
    }
    ut_auth_count(&auth->auth, build->worker->metrics, labels);
    auth->started = true;
    return 0;
}

void ut_otlp_auth_reread(struct ut_otlp_auth *auth)
{
    if (auth->started)
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
