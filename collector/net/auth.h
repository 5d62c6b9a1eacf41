/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request's Authorization field has to be: a bearer token (RFC 6750) or a user's password
 * (RFC 7617). Pure: no file, no clock.
 *
 * Credentials are kept as digests and compared as such, each time with all of them and without an
 * early end, so that the time it takes tells neither a length nor a beginning. When they are
 * replaced, those that went stay good for UT_AUTH_GRACE_NS: clients learn of a rotation later than
 * we do.
 */
#ifndef UT_NET_AUTH_H
#define UT_NET_AUTH_H

#include <stdbool.h>

#include "base/check.h"
#include "base/slice.h"
#include "telemetry/metrics.h"

#define UT_AUTH_GRACE_NS UINT64_C(60000000000)

enum {
    UT_AUTH_MAX = 256,         /* credentials, with those that are good for a while yet */
    UT_AUTH_SECRET_MAX = 2048, /* bytes of a token, or of user and password */
    UT_AUTH_WORD_MAX = 48,     /* of a scheme or the name of a field, with the terminator */
};

enum ut_auth_kind { UT_AUTH_BEARER, UT_AUTH_BASIC };

enum ut_auth_verdict {
    UT_AUTH_MISSING, /* no such field */
    UT_AUTH_GRANTED,
    UT_AUTH_SEVERAL,   /* of these fields */
    UT_AUTH_SCHEME,    /* another one than is wanted */
    UT_AUTH_MALFORMED, /* nothing behind the scheme, too long, or no base64 */
    UT_AUTH_UNKNOWN,   /* nobody's credentials */
    UT_AUTH_NAME,      /* no credentials, and a certificate for nobody who is allowed */
    UT_AUTH_VERDICTS,
};

/* What a connection's verified client certificate says (TLS), by the names that are allowed. */
enum ut_auth_certificate {
    UT_AUTH_CERTIFICATE_NONE,
    UT_AUTH_CERTIFICATE_ALLOWED,
    UT_AUTH_CERTIFICATE_OTHER,
};

struct ut_auth_entry {
    uint8_t user[32];    /* SHA-256; of a token zero */
    uint8_t secret[32];  /* SHA-256, or SHA-1 and zeros */
    bool is_sha1;        /* as htpasswd's {SHA} has it */
    uint64_t expires_ns; /* monotonic; 0: in force */
};

/* Credentials as they are read, of UT_AUTH_MAX / 2 at most. */
struct ut_auth_list {
    struct ut_auth_entry entries[UT_AUTH_MAX / 2];
    size_t count;
};

struct ut_auth {
    bool by_certificate; /* an allowed certificate is enough */
    bool by_field;       /* so are the right credentials, as follows */
    enum ut_auth_kind kind;
    char scheme[UT_AUTH_WORD_MAX];        /* "": the field holds the token alone */
    char header[UT_AUTH_WORD_MAX];        /* lower case */
    char challenge[2 * UT_AUTH_WORD_MAX]; /* WWW-Authenticate of a refusal (RFC 9110 11.6.1) */
    struct ut_auth_entry entries[UT_AUTH_MAX];
    size_t count;
    uint64_t *verdicts[UT_AUTH_VERDICTS]; /* cells of counters, NULL: nobody counts */
    uint64_t *certified;                  /* granted by certificate; likewise */
};

/* What the field is to hold; no certificate will do unless by_certificate is set then. NULL:
 * "Bearer" or "Basic", and "authorization". 0, -EINVAL where one of them is too long or no token of
 * HTTP (of a scheme: empty is fine). */
int ut_auth_init(struct ut_auth *auth, enum ut_auth_kind kind, const char *scheme,
                 const char *header) UT_MUST_USE;
void ut_auth_done(struct ut_auth *auth);
/* Registers the counters; `labels` go before the reason. */
void ut_auth_count(struct ut_auth *auth, struct ut_metrics *metrics, const char *labels);

/* Adds what a text holds: one token a line, or one user:password a line as htpasswd writes them
 * (plain or {SHA}). Blanks around a line and empty lines do not count; before a user neither do
 * lines that begin with '#'. NULL, or what is wrong, a constant text. */
const char *ut_auth_list_add(struct ut_auth_list *list, const struct ut_auth *auth, ut_slice text);
/* From now on these are the credentials. What goes is good until now_ns + UT_AUTH_GRACE_NS, a
 * credential that went earlier until it was to go anyway. */
void ut_auth_replace(struct ut_auth *auth, const struct ut_auth_list *list, uint64_t now_ns);
/* `auth`, which was just filled, takes the place of `from`: what was good there goes as with
 * ut_auth_replace. Nothing happens where they are of different kinds. */
void ut_auth_inherit(struct ut_auth *auth, const struct ut_auth *from, uint64_t now_ns);
/* Forgets what has expired; when to come again, UINT64_MAX: not until the next replacement. */
uint64_t ut_auth_expire(struct ut_auth *auth, uint64_t now_ns);

/* Judges the value of the field. */
enum ut_auth_verdict ut_auth_judge(const struct ut_auth *auth, ut_slice value);

/* Over a request whose field was judged (UT_AUTH_MISSING: there was none), on a connection with
 * that certificate. Counted. */
enum ut_auth_verdict ut_auth_admit(const struct ut_auth *auth, enum ut_auth_verdict field,
                                   enum ut_auth_certificate certificate);

/* Whether both have the same `size` bytes; takes the same time wherever they differ. */
bool ut_auth_equal(const uint8_t *a, const uint8_t *b, size_t size);

#endif
