/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `auth:` of a protocol: what whoever sends must have. Any one of the ways that it names is enough;
 * on a unix socket the users come first, whatever else is asked for (access.h). It proves a right
 * to send, not a workload: that is the kernel's to say.
 */
#ifndef UT_OTLP_RECEIVER_AUTH_H
#define UT_OTLP_RECEIVER_AUTH_H

#include "component.h"
#include "net/auth_settings.h"
#include "net/tls.h"

struct ut_otlp_bearer_settings {
    char *token_file;
    char *scheme, *header;
};

struct ut_otlp_auth_settings {
    struct ut_strings allowed_uids, allowed_gids; /* of a unix socket's peers */
    struct ut_strings any; /* "bearer", "client_cert"; empty: what is configured */
    struct ut_otlp_bearer_settings bearer;
    bool has_bearer;
    struct {
        struct ut_strings names; /* of the certificate's subject or alternative names */
    } client_cert;
    bool has_client_cert;
    char *authenticator; /* id of an extension; takes the place of `bearer` */
};

extern const struct ut_field ut_otlp_auth_fields[];

/* Whether a client may come without a certificate, as it can show something else. */
bool ut_otlp_auth_is_optional(const struct ut_otlp_auth_settings *settings);
/* Reports what cannot be; `path` is that of `auth`, `is_unix` of its listener. */
void ut_otlp_auth_check(struct ut_config_report *report, const char *path,
                        const struct ut_otlp_auth_settings *settings, bool is_unix);

/* Of a port. */
struct ut_otlp_auth {
    struct ut_auth_setup setup;
    struct ut_auth auth;
    struct ut_auth_source source;
    const struct ut_strings *names; /* of certificates; NULL: none is enough */
    bool by_field;                  /* credentials are */
    bool wanted;                    /* either of them */
    bool started;
};

/* Finds out what is wanted. 0, or -ENOENT: there is no such extension. */
int ut_otlp_auth_init(struct ut_otlp_auth *auth, const struct ut_otlp_auth_settings *settings,
                      const struct ut_build *build) UT_MUST_USE;
/* Reads the credentials where some are wanted; `labels` are of the metrics. 0, or a negative errno
 * with the reason in `error`. */
int ut_otlp_auth_start(struct ut_otlp_auth *auth, const struct ut_build *build, const char *labels,
                       char error[UT_ERROR_TEXT]) UT_MUST_USE;
/* What the names in the client's certificate are worth, where `names` are wanted; NULL: none. */
enum ut_auth_certificate ut_otlp_auth_certificate(const struct ut_strings *names,
                                                  const struct ut_tls *tls);
/* Whether both ask for the same, credentials in files aside. */
bool ut_otlp_auth_is_same(const struct ut_otlp_auth *a, const struct ut_otlp_auth *b);
/* The credentials of `from`, whose place it takes, are good for a while yet. */
void ut_otlp_auth_inherit(struct ut_otlp_auth *auth, const struct ut_otlp_auth *from);
/* Looks at the file of credentials now. */
void ut_otlp_auth_reread(struct ut_otlp_auth *auth);
void ut_otlp_auth_stop(struct ut_otlp_auth *auth); /* also where it was not started */

#endif
