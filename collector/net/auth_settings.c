/* SPDX-License-Identifier: Apache-2.0 */
#include "net/auth_settings.h"

#define BEARER_AT(member) offsetof(struct ut_bearer_extension, member)

static const struct ut_field bearer_fields[] = {
    {.key = "scheme", .type = UT_FIELD_STRING, .offset = BEARER_AT(scheme), .fallback = "Bearer"},
    {.key = "header",
     .type = UT_FIELD_STRING,
     .offset = BEARER_AT(header),
     .fallback = "Authorization"},
    {.key = "token", .type = UT_FIELD_STRING, .offset = BEARER_AT(token)},
    {.key = "tokens", .type = UT_FIELD_STRINGS, .offset = BEARER_AT(tokens)},
    {.key = "filename", .type = UT_FIELD_STRING, .offset = BEARER_AT(filename)},
    UT_FIELD_END,
};

#define HTPASSWD_AT(member) offsetof(__typeof__(((struct ut_basic_extension *)0)->htpasswd), member)

static const struct ut_field htpasswd_fields[] = {
    {.key = "file", .type = UT_FIELD_STRING, .offset = HTPASSWD_AT(file)},
    {.key = "inline", .type = UT_FIELD_STRING, .offset = HTPASSWD_AT(text)},
    UT_FIELD_END,
};

#define CLIENT_AT(member)                                                                          \
    offsetof(__typeof__(((struct ut_basic_extension *)0)->client_auth), member)

static const struct ut_field client_auth_fields[] = {
    {.key = "username", .type = UT_FIELD_STRING, .offset = CLIENT_AT(username)},
    {.key = "password", .type = UT_FIELD_STRING, .offset = CLIENT_AT(password)},
    UT_FIELD_END,
};

static const struct ut_field basic_fields[] = {
    {.key = "client_auth",
     .type = UT_FIELD_MAP,
     .offset = offsetof(struct ut_basic_extension, client_auth),
     .fields = client_auth_fields,
     .present = UT_FIELD_NO_PRESENT},
    {.key = "htpasswd",
     .type = UT_FIELD_MAP,
     .offset = offsetof(struct ut_basic_extension, htpasswd),
     .fields = htpasswd_fields,
     .present = UT_FIELD_NO_PRESENT},
    UT_FIELD_END,
};

static bool is_set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

void ut_auth_check_words(struct ut_config_report *report, const char *path, const char *scheme,
                         const char *header)
{
    struct ut_auth auth;
    if (ut_auth_init(&auth, UT_AUTH_BEARER, scheme, header) != 0)
        report->error(report, path,
                      "scheme and header are words without blanks, shorter than %d bytes",
                      UT_AUTH_WORD_MAX);
    ut_auth_done(&auth);
}

/* Texts of the configuration are read now, so that an error has its place. */
static void check_texts(struct ut_config_report *report, const char *path,
                        const struct ut_auth_setup *setup)
{
    struct ut_auth auth;
    struct ut_auth_list list = {.count = 0};
    const char *error = NULL;
    if (ut_auth_init(&auth, setup->kind, NULL, NULL) == 0) {
        for (size_t i = 0; i < setup->text_count && error == NULL; i++)
            error = ut_auth_list_add(&list, &auth, ut_slice_str(setup->texts[i]));
        if (error != NULL)
            report->error(report, path, "%s", error);
        else if (list.count == 0 && setup->file == NULL)
            report->error(report, path, "there are no credentials in it");
    }
    ut_auth_done(&auth);
}

static void check_bearer(const void *config, struct ut_config_report *report)
{
    const struct ut_bearer_extension *bearer = config;
    struct ut_auth_setup setup;
    ut_auth_check_words(report, "", bearer->scheme, bearer->header);
    if (!is_set(bearer->filename) && !is_set(bearer->token) && bearer->tokens.count == 0)
        report->error(report, "", "expected one of token, tokens and filename");
    else if (bearer->tokens.count >= UT_AUTH_TEXTS_MAX)
        report->error(report, "tokens", "more than %d tokens", UT_AUTH_TEXTS_MAX - 1);
    else if (ut_auth_setup_of(&setup, "bearertokenauth", config))
        check_texts(report, is_set(bearer->token) ? "token" : "tokens", &setup);
}

static void check_basic(const void *config, struct ut_config_report *report)
{
    const struct ut_basic_extension *basic = config;
    struct ut_auth_setup setup;
    size_t secret = 1;
    bool listens = is_set(basic->htpasswd.file) || is_set(basic->htpasswd.text);
    bool sends = basic->client_auth.username != NULL || basic->client_auth.password != NULL;
    if (!listens && !sends)
        report->error(report, "htpasswd",
                      "expected file, inline or both (of an exporter: client_auth)");
    if (sends && (!is_set(basic->client_auth.username) || !is_set(basic->client_auth.password)))
        report->error(report, "client_auth", "expected username and password");
    else if (sends)
        secret += strlen(basic->client_auth.username) + strlen(basic->client_auth.password);
    if (secret > UT_AUTH_SECRET_MAX)
        report->error(report, "client_auth", "more than %d bytes", UT_AUTH_SECRET_MAX);
    if (!listens)
        return;
    if (ut_auth_setup_of(&setup, "basicauth", config))
        check_texts(report, "htpasswd.inline", &setup);
}

const struct ut_config_type ut_auth_extensions[UT_AUTH_EXTENSIONS] = {
    {
        .name = "bearertokenauth",
        .fields = bearer_fields,
        .config_size = sizeof(struct ut_bearer_extension),
        .check = check_bearer,
    },
    {
        .name = "basicauth",
        .fields = basic_fields,
        .config_size = sizeof(struct ut_basic_extension),
        .check = check_basic,
    },
};

/* ---- what a listener asks ------------------------------------------------------------------- */

static void set_up_bearer(struct ut_auth_setup *ret, const struct ut_bearer_extension *bearer)
{
    ret->kind = UT_AUTH_BEARER;
    ret->scheme = bearer->scheme;
    ret->header = bearer->header;
    if (is_set(bearer->filename)) {
        ret->file = bearer->filename;
        return;
    }
    if (is_set(bearer->token))
        ret->texts[ret->text_count++] = bearer->token;
    for (size_t i = 0; i < bearer->tokens.count && ret->text_count < UT_AUTH_TEXTS_MAX; i++)
        ret->texts[ret->text_count++] = bearer->tokens.items[i];
}

static void set_up_basic(struct ut_auth_setup *ret, const struct ut_basic_extension *basic)
{
    ret->kind = UT_AUTH_BASIC;
    ret->file = is_set(basic->htpasswd.file) ? basic->htpasswd.file : NULL;
    if (is_set(basic->htpasswd.text))
        ret->texts[ret->text_count++] = basic->htpasswd.text;
}

bool ut_auth_setup_of(struct ut_auth_setup *ret, const char *type, const void *config)
{
    *ret = (struct ut_auth_setup){.text_count = 0};
    if (strcmp(type, "bearertokenauth") == 0)
        set_up_bearer(ret, config);
    else if (strcmp(type, "basicauth") == 0)
        set_up_basic(ret, config);
    else
        return false;
    return true;
}

const struct ut_field ut_client_auth_fields[] = {
    {.key = "authenticator",
     .type = UT_FIELD_STRING,
     .offset = offsetof(struct ut_client_auth_settings, authenticator)},
    UT_FIELD_END,
};

/* ---- what an exporter shows ----------------------------------------------------------------- */

static bool show_bearer(struct ut_client_auth *ret, const struct ut_bearer_extension *bearer)
{
    ret->kind = UT_AUTH_BEARER;
    ret->scheme = bearer->scheme;
    ret->header = bearer->header;
    if (is_set(bearer->filename))
        ret->file = bearer->filename;
    else
        ret->token = is_set(bearer->token) ? bearer->token : bearer->tokens.items[0];
    return true;
}

static bool show_basic(struct ut_client_auth *ret, const struct ut_basic_extension *basic)
{
    ret->kind = UT_AUTH_BASIC;
    ret->header = "Authorization";
    ret->user = basic->client_auth.username;
    ret->password = basic->client_auth.password;
    return is_set(ret->user);
}

bool ut_client_auth_of(struct ut_client_auth *ret, const char *type, const void *config)
{
    *ret = (struct ut_client_auth){.token = NULL};
    if (strcmp(type, "bearertokenauth") == 0)
        return show_bearer(ret, config);
    return strcmp(type, "basicauth") == 0 && show_basic(ret, config);
}
