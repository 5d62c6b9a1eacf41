/* SPDX-License-Identifier: Apache-2.0 */
#include "net/auth.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>

/* Its EVP functions take memory for each digest, its older ones none: there is one for each request
 * here. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/crypto.h>
#include <openssl/sha.h>

enum { LABELS_BYTES = 256 };

bool ut_auth_equal(const uint8_t *a, const uint8_t *b, size_t size)
{
    return CRYPTO_memcmp(a, b, size) == 0;
}

static void compute_sha256(uint8_t out[SHA256_DIGEST_LENGTH], ut_slice text)
{
    SHA256_CTX context;
    SHA256_Init(&context);
    SHA256_Update(&context, text.data, text.size);
    SHA256_Final(out, &context);
    OPENSSL_cleanse(&context, sizeof(context));
}

/* Zeros behind it. */
static void compute_sha1(uint8_t out[SHA256_DIGEST_LENGTH], ut_slice text)
{
    SHA_CTX context;
    memset(out, 0, SHA256_DIGEST_LENGTH);
    SHA1_Init(&context);
    SHA1_Update(&context, text.data, text.size);
    SHA1_Final(out, &context);
    OPENSSL_cleanse(&context, sizeof(context));
}

/* ---- life ----------------------------------------------------------------------------------- */

/* RFC 9110 5.6.2 */
static bool is_token(const char *text)
{
    for (; *text != '\0'; text++) {
        if (!isalnum((unsigned char)*text) && strchr("!#$%&'*+-.^_`|~", *text) == NULL)
            return false;
    }
    return true;
}

int ut_auth_init(struct ut_auth *auth, enum ut_auth_kind kind, const char *scheme,
                 const char *header)
{
    *auth = (struct ut_auth){.kind = kind, .by_field = true};
    if (scheme == NULL)
        scheme = kind == UT_AUTH_BEARER ? "Bearer" : "Basic";
    if (header == NULL)
        header = "authorization";
    if (strlen(scheme) >= UT_AUTH_WORD_MAX || strlen(header) >= UT_AUTH_WORD_MAX ||
        !is_token(scheme) || !is_token(header) || header[0] == '\0')
        return -EINVAL;
    memcpy(auth->scheme, scheme, strlen(scheme) + 1);
    for (size_t i = 0; header[i] != '\0'; i++)
        auth->header[i] = (char)tolower((unsigned char)header[i]);
    (void)snprintf(auth->challenge, sizeof(auth->challenge), "%s realm=\"undertrace\"",
                   scheme[0] != '\0' ? scheme : "Bearer");
    return 0;
}

void ut_auth_done(struct ut_auth *auth)
{
    OPENSSL_cleanse(auth->entries, sizeof(auth->entries));
    auth->count = 0;
}

static uint64_t *count_granted(struct ut_metrics *metrics, const char *labels, const char *by)
{
    char extended[LABELS_BYTES];
    (void)snprintf(extended, sizeof(extended), "%s,by=\"%s\"", labels, by);
    return ut_metrics_counter(metrics, "undertrace_receiver_auth_requests_total", extended,
                              "Requests whose sender has proved a right to send");
}

void ut_auth_count(struct ut_auth *auth, struct ut_metrics *metrics, const char *labels)
{
    static const char *const reasons[UT_AUTH_VERDICTS] = {
        [UT_AUTH_MISSING] = "missing",     [UT_AUTH_SEVERAL] = "several",
        [UT_AUTH_SCHEME] = "scheme",       [UT_AUTH_MALFORMED] = "malformed",
        [UT_AUTH_UNKNOWN] = "credentials", [UT_AUTH_NAME] = "certificate_name",
    };
    char extended[LABELS_BYTES];
    for (int i = 0; i < UT_AUTH_VERDICTS; i++) {
        if (i == UT_AUTH_GRANTED)
            continue;
        (void)snprintf(extended, sizeof(extended), "%s,reason=\"%s\"", labels, reasons[i]);
        auth->verdicts[i] = ut_metrics_counter(
            metrics, "undertrace_receiver_auth_refused_total", extended,
            "Requests, and connections of users, that were refused for want of a right");
    }
    auth->verdicts[UT_AUTH_GRANTED] =
        count_granted(metrics, labels, auth->kind == UT_AUTH_BEARER ? "bearer" : "basic");
    auth->certified = count_granted(metrics, labels, "client_cert");
}

/* ---- reading credentials -------------------------------------------------------------------- */

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static ut_slice trim(ut_slice text)
{
    while (text.size > 0 && is_blank(text.data[0]))
        text = ut_slice_of(text.data + 1, text.size - 1);
    while (text.size > 0 && is_blank(text.data[text.size - 1]))
        text.size--;
    return text;
}

static ut_slice cut(ut_slice *text, char end)
{
    const uint8_t *at = text->size > 0 ? memchr(text->data, end, text->size) : NULL;
    size_t size = at != NULL ? (size_t)(at - text->data) : text->size;
    ut_slice part = ut_slice_of(text->data, size);
    size_t used = at != NULL ? size + 1 : size;
    *text = ut_slice_of(text->data + used, text->size - used);
    return part;
}

static int base64_digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Padding may be left out. The size, or SIZE_MAX where it is no base64 or longer than `room`. */
static size_t decode_base64(uint8_t *out, size_t room, ut_slice text)
{
    size_t size = 0;
    uint32_t bits = 0;
    for (int i = 0; i < 2 && text.size > 0 && text.data[text.size - 1] == '='; i++)
        text.size--;
    if (text.size % 4 == 1)
        return SIZE_MAX;
    for (size_t i = 0; i < text.size; i++) {
        int digit = base64_digit(text.data[i]);
        if (digit < 0)
            return SIZE_MAX;
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4 == 0)
            continue;
        if (size == room)
            return SIZE_MAX;
        out[size++] = (uint8_t)(bits >> (6 - i % 4 * 2));
    }
    return size;
}

static const char *read_token(struct ut_auth_entry *ret, ut_slice line)
{
    for (size_t i = 0; i < line.size; i++) {
        if (line.data[i] <= ' ' || line.data[i] >= 0x7f)
            return "a token holds a character that no header field can carry";
    }
    compute_sha256(ret->secret, line);
    return NULL;
}

/* Hashes that take long on purpose would stand in the way of everybody else's requests. */
static const char *read_password(struct ut_auth_entry *ret, ut_slice password)
{
    static const char *const slow[] = {"$2", "$apr1$", "$1$", "$5$", "$6$", "$y$", "{SSHA}"};
    if (password.size == 0)
        return "a user has no password";
    for (size_t i = 0; i < sizeof(slow) / sizeof(slow[0]); i++) {
        if (ut_slice_starts(password, ut_slice_str(slow[i])))
            return "bcrypt, MD5 and crypt passwords are not checked here; write {SHA} ones "
                   "(htpasswd -s), plain ones, or use bearertokenauth";
    }
    if (ut_slice_starts(password, UT_SLICE("{SHA}"))) {
        ut_slice hash = ut_slice_of(password.data + 5, password.size - 5);
        ret->is_sha1 = true;
        return decode_base64(ret->secret, SHA_DIGEST_LENGTH, hash) == SHA_DIGEST_LENGTH
                   ? NULL
                   : "the hash behind {SHA} is not one";
    }
    compute_sha256(ret->secret, password);
    return NULL;
}

static const char *read_user(struct ut_auth_entry *ret, ut_slice line)
{
    ut_slice user = cut(&line, ':');
    if (user.size == 0 || user.data + user.size == line.data)
        return "expected user:password";
    compute_sha256(ret->user, user);
    return read_password(ret, line);
}

const char *ut_auth_list_add(struct ut_auth_list *list, const struct ut_auth *auth, ut_slice text)
{
    const char *error = NULL;
    while (text.size > 0 && error == NULL) {
        ut_slice line = trim(cut(&text, '\n'));
        bool is_user = auth->kind == UT_AUTH_BASIC;
        if (line.size == 0 || (is_user && line.data[0] == '#'))
            continue;
        if (line.size > UT_AUTH_SECRET_MAX)
            return "a line is longer than 2048 bytes";
        if (list->count == sizeof(list->entries) / sizeof(list->entries[0]))
            return "more than 128 credentials";
        struct ut_auth_entry *entry = &list->entries[list->count++];
        *entry = (struct ut_auth_entry){0};
        error = (is_user ? read_user : read_token)(entry, line);
    }
    return error;
}

/* ---- rotation ------------------------------------------------------------------------------- */

static bool is_same(const struct ut_auth_entry *a, const struct ut_auth_entry *b)
{
    return a->is_sha1 == b->is_sha1 && ut_auth_equal(a->user, b->user, sizeof(a->user)) &&
           ut_auth_equal(a->secret, b->secret, sizeof(a->secret));
}

static bool holds(const struct ut_auth_list *list, const struct ut_auth_entry *entry)
{
    for (size_t i = 0; i < list->count; i++) {
        if (is_same(&list->entries[i], entry))
            return true;
    }
    return false;
}

/* Takes the one that expires first out, where there is no room for `more`. */
static void make_room(struct ut_auth *auth, size_t more)
{
    while (auth->count + more > UT_AUTH_MAX) {
        size_t first = 0;
        for (size_t i = 1; i < auth->count; i++) {
            if (auth->entries[i].expires_ns < auth->entries[first].expires_ns)
                first = i;
        }
        auth->entries[first] = auth->entries[--auth->count];
    }
}

void ut_auth_replace(struct ut_auth *auth, const struct ut_auth_list *list, uint64_t now_ns)
{
    size_t kept = 0;
    for (size_t i = 0; i < auth->count; i++) {
        struct ut_auth_entry entry = auth->entries[i];
        if (holds(list, &entry))
            continue;
        if (entry.expires_ns == 0)
            entry.expires_ns = now_ns + UT_AUTH_GRACE_NS;
        auth->entries[kept++] = entry;
    }
    auth->count = kept;
    make_room(auth, list->count);
    memcpy(auth->entries + auth->count, list->entries, list->count * sizeof(list->entries[0]));
    auth->count += list->count;
}

void ut_auth_inherit(struct ut_auth *auth, const struct ut_auth *from, uint64_t now_ns)
{
    struct ut_auth_list list = {0};
    if (auth->kind != from->kind)
        return;
    for (size_t i = 0; i < auth->count && list.count < UT_AUTH_MAX / 2; i++) {
        if (auth->entries[i].expires_ns == 0)
            list.entries[list.count++] = auth->entries[i];
    }
    memcpy(auth->entries, from->entries, sizeof(auth->entries));
    auth->count = from->count;
    ut_auth_replace(auth, &list, now_ns);
    OPENSSL_cleanse(&list, sizeof(list));
}

uint64_t ut_auth_expire(struct ut_auth *auth, uint64_t now_ns)
{
    uint64_t next_ns = UINT64_MAX;
    for (size_t i = 0; i < auth->count;) {
        uint64_t expires_ns = auth->entries[i].expires_ns;
        if (expires_ns != 0 && expires_ns <= now_ns) {
            auth->entries[i] = auth->entries[--auth->count];
            continue;
        }
        if (expires_ns != 0 && expires_ns < next_ns)
            next_ns = expires_ns;
        i++;
    }
    OPENSSL_cleanse(auth->entries + auth->count,
                    (UT_AUTH_MAX - auth->count) * sizeof(auth->entries[0]));
    return next_ns;
}

/* ---- the judgement -------------------------------------------------------------------------- */

/* What was brought, in both digests that a password may be kept in. */
struct brought {
    uint8_t user[SHA256_DIGEST_LENGTH], sha256[SHA256_DIGEST_LENGTH], sha1[SHA256_DIGEST_LENGTH];
};

static enum ut_auth_verdict look_up(const struct ut_auth *auth, const struct brought *brought)
{
    unsigned found = 0;
    for (size_t i = 0; i < auth->count; i++) {
        const struct ut_auth_entry *entry = &auth->entries[i];
        const uint8_t *secret = entry->is_sha1 ? brought->sha1 : brought->sha256;
        unsigned user = ut_auth_equal(entry->user, brought->user, sizeof(entry->user));
        unsigned same = ut_auth_equal(entry->secret, secret, sizeof(entry->secret));
        found |= user & same;
    }
    return found != 0 ? UT_AUTH_GRANTED : UT_AUTH_UNKNOWN;
}

static enum ut_auth_verdict judge_bearer(const struct ut_auth *auth, ut_slice token)
{
    struct brought brought = {0};
    if (token.size == 0 || token.size > UT_AUTH_SECRET_MAX)
        return UT_AUTH_MALFORMED;
    compute_sha256(brought.sha256, token);
    return look_up(auth, &brought);
}

static enum ut_auth_verdict judge_basic(const struct ut_auth *auth, ut_slice text)
{
    uint8_t plain[UT_AUTH_SECRET_MAX];
    struct brought brought;
    size_t size = decode_base64(plain, sizeof(plain), text);
    bool malformed = size == SIZE_MAX || memchr(plain, ':', size) == NULL;
    if (!malformed) {
        ut_slice password = ut_slice_of(plain, size), user = cut(&password, ':');
        compute_sha256(brought.user, user);
        compute_sha256(brought.sha256, password);
        compute_sha1(brought.sha1, password);
    }
    OPENSSL_cleanse(plain, sizeof(plain));
    return malformed ? UT_AUTH_MALFORMED : look_up(auth, &brought);
}

enum ut_auth_verdict ut_auth_judge(const struct ut_auth *auth, ut_slice value)
{
    size_t size = strlen(auth->scheme);
    value = trim(value);
    if (value.size == 0) /* also where it was too long to be kept */
        return UT_AUTH_MALFORMED;
    if (size > 0) {
        if (value.size < size || strncasecmp((const char *)value.data, auth->scheme, size) != 0 ||
            (value.size > size && !is_blank(value.data[size])))
            return UT_AUTH_SCHEME;
        value = trim(ut_slice_of(value.data + size, value.size - size));
    }
    return auth->kind == UT_AUTH_BEARER ? judge_bearer(auth, value) : judge_basic(auth, value);
}

enum ut_auth_verdict ut_auth_admit(const struct ut_auth *auth, enum ut_auth_verdict field,
                                   enum ut_auth_certificate certificate)
{
    enum ut_auth_verdict verdict = auth->by_field ? field : UT_AUTH_MISSING;
    bool certified = auth->by_certificate && certificate == UT_AUTH_CERTIFICATE_ALLOWED;
    if (auth->by_certificate && certificate == UT_AUTH_CERTIFICATE_OTHER &&
        verdict == UT_AUTH_MISSING)
        verdict = UT_AUTH_NAME;
    uint64_t *cell = certified ? auth->certified : auth->verdicts[verdict];
    if (cell != NULL)
        ++*cell;
    return certified ? UT_AUTH_GRANTED : verdict;
}
