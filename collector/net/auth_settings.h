/* SPDX-License-Identifier: Apache-2.0 */
/* The Collector's extensions `bearertokenauth` and `basicauth`: where the credentials are that a
 * sender must have one of, as a listener asks for them; and what an exporter shows its backend. */
#ifndef UT_NET_AUTH_SETTINGS_H
#define UT_NET_AUTH_SETTINGS_H

#include "config/config.h"
#include "net/auth_source.h"

struct ut_bearer_extension {
    char *scheme, *header;
    char *token;
    struct ut_strings tokens;
    char *filename; /* one token a line; takes the place of both */
};

struct ut_basic_extension {
    struct {
        char *file, *text; /* both count */
    } htpasswd;
    struct {
        char *username, *password;
    } client_auth;
};

enum { UT_AUTH_EXTENSIONS = 2 };

extern const struct ut_config_type ut_auth_extensions[UT_AUTH_EXTENSIONS];

/* What a listener needs to know of one of them. */
struct ut_auth_setup {
    enum ut_auth_kind kind;
    const char *scheme, *header;
    const char *texts[UT_AUTH_TEXTS_MAX];
    size_t text_count;
    const char *file;
};

/* Of an extension of type `type`, whose settings are `config`; all is borrowed. false: it is none
 * of those above. */
bool ut_auth_setup_of(struct ut_auth_setup *ret, const char *type, const void *config);

/* `auth:` of an exporter. */
struct ut_client_auth_settings {
    char *authenticator; /* id of an extension; NULL: none */
};

extern const struct ut_field ut_client_auth_fields[];

/* The extension that it names; cleared: none. */
struct ut_client_extension {
    const char *id, *type;
    const void *config;
};

/* What an exporter needs to know of one of them. */
struct ut_client_auth {
    enum ut_auth_kind kind;
    const char *scheme, *header;
    const char *token, *file; /* of a token: one of them */
    const char *user, *password;
};

/* As above; false also where it is made for listeners only. */
bool ut_client_auth_of(struct ut_client_auth *ret, const char *type, const void *config);

/* Reports a scheme or the name of a field that cannot be. */
void ut_auth_check_words(struct ut_config_report *report, const char *path, const char *scheme,
                         const char *header);

#endif
