/* SPDX-License-Identifier: Apache-2.0 */
#include "net/auth.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define S UINT64_C(1000000000)

static struct ut_auth auth;

static void start(enum ut_auth_kind kind, const char *scheme, const char *header)
{
    cr_assert_eq(ut_auth_init(&auth, kind, scheme, header), 0);
}

static void end(void)
{
    ut_auth_done(&auth);
}

TestSuite(auth, .fini = end);

static void put(const char *text, uint64_t now_ns)
{
    static struct ut_auth_list list;
    list.count = 0;
    const char *error = ut_auth_list_add(&list, &auth, ut_slice_str(text));
    cr_assert_null(error, "%s: %s", text, error);
    ut_auth_replace(&auth, &list, now_ns);
}

static enum ut_auth_verdict judge(const char *value)
{
    return ut_auth_judge(&auth, ut_slice_str(value));
}

Test(auth, bearer_is_one_of_the_tokens_behind_the_scheme_and_nothing_else)
{
    static char longest[UT_AUTH_SECRET_MAX + 16], longer[UT_AUTH_SECRET_MAX + 16];
    start(UT_AUTH_BEARER, NULL, NULL);
    memset(longest, 'x', sizeof(longest));
    memcpy(longest, "Bearer ", 7);
    longest[7 + UT_AUTH_SECRET_MAX] = '\0';
    memcpy(longer, longest, sizeof(longer));
    longer[7 + UT_AUTH_SECRET_MAX] = 'x';
    longer[8 + UT_AUTH_SECRET_MAX] = '\0';
    put("first\n\n  second\r\n\tthird", 0);
    const struct {
        const char *value;
        enum ut_auth_verdict verdict;
    } rows[] = {
        {"Bearer first", UT_AUTH_GRANTED},
        {"bearer second", UT_AUTH_GRANTED},
        {"BEARER   third ", UT_AUTH_GRANTED},
        {" Bearer\tfirst", UT_AUTH_GRANTED},
        {"Bearer firs", UT_AUTH_UNKNOWN},
        {"Bearer first1", UT_AUTH_UNKNOWN},
        {"Bearer First", UT_AUTH_UNKNOWN},
        {"Bearer first second", UT_AUTH_UNKNOWN},
        {"Bearer \"first\"", UT_AUTH_UNKNOWN},
        {"Bearer", UT_AUTH_MALFORMED},
        {"Bearer ", UT_AUTH_MALFORMED},
        {"", UT_AUTH_MALFORMED},
        {"first", UT_AUTH_SCHEME},
        {"Basic first", UT_AUTH_SCHEME},
        {"Bearerfirst", UT_AUTH_SCHEME},
        {longest, UT_AUTH_UNKNOWN},
        {longer, UT_AUTH_MALFORMED},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_eq(judge(rows[i].value), rows[i].verdict, "%.40s: %d", rows[i].value,
                     judge(rows[i].value));
}

Test(auth, scheme_and_field_are_as_they_are_configured)
{
    start(UT_AUTH_BEARER, "Token", "X-Api-Key");
    put("first", 0);
    cr_expect_str_eq(auth.header, "x-api-key");
    cr_expect_eq(judge("token first"), UT_AUTH_GRANTED);
    cr_expect_eq(judge("Bearer first"), UT_AUTH_SCHEME);
    end();
    start(UT_AUTH_BEARER, "", "X-Api-Key");
    put("first", 0);
    cr_expect_eq(judge("first"), UT_AUTH_GRANTED);
    cr_expect_eq(judge("Bearer first"), UT_AUTH_UNKNOWN);
    cr_expect_eq(judge(""), UT_AUTH_MALFORMED);
    end();
    static const char *const bad[][2] = {
        {"Two words", NULL}, {NULL, ""}, {NULL, "X:Y"}, {"Bearer\n", NULL}};
    for (int i = 0; i < 4; i++) {
        cr_expect_eq(ut_auth_init(&auth, UT_AUTH_BEARER, bad[i][0], bad[i][1]), -EINVAL);
        end();
    }
    char longest[UT_AUTH_WORD_MAX + 1];
    memset(longest, 'x', UT_AUTH_WORD_MAX);
    longest[UT_AUTH_WORD_MAX] = '\0';
    cr_expect_eq(ut_auth_init(&auth, UT_AUTH_BEARER, longest, NULL), -EINVAL);
    end();
    longest[UT_AUTH_WORD_MAX - 1] = '\0';
    start(UT_AUTH_BEARER, longest, longest);
    cr_expect_not_null(strstr(auth.challenge, "realm=\"undertrace\""));
}

Test(auth, basic_is_a_user_with_the_right_password)
{
    start(UT_AUTH_BASIC, NULL, NULL);
    /* The second is of "password", as htpasswd -s writes it. */
    put("# users\nalice:secret:with colon\nbob:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n", 0);
    const struct {
        const char *value;
        enum ut_auth_verdict verdict;
    } rows[] = {
        {"Basic YWxpY2U6c2VjcmV0OndpdGggY29sb24=", UT_AUTH_GRANTED}, /* alice:secret:with colon */
        {"basic YWxpY2U6c2VjcmV0OndpdGggY29sb24", UT_AUTH_GRANTED},  /* without padding */
        {"Basic Ym9iOnBhc3N3b3Jk", UT_AUTH_GRANTED},                 /* bob:password */
        {"Basic YWxpY2U6cGFzc3dvcmQ=", UT_AUTH_UNKNOWN},             /* alice:password */
        {"Basic Ym9iOnNlY3JldDp3aXRoIGNvbG9u", UT_AUTH_UNKNOWN},     /* bob:secret:with colon */
        {"Basic YWxpY2U6", UT_AUTH_UNKNOWN},                         /* alice: */
        {"Basic OnBhc3N3b3Jk", UT_AUTH_UNKNOWN},                     /* :password */
        {"Basic Og==", UT_AUTH_UNKNOWN},                             /* : */
        /* bob:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=: the hash itself is no password */
        {"Basic Ym9iOntTSEF9VzZwaDVNbTVQejhHZ2lVTGJQZ3pHMzdtajlnPQ==", UT_AUTH_UNKNOWN},
        {"Basic YWxpY2U", UT_AUTH_MALFORMED}, /* alice */
        {"Basic YWxpY2U6*", UT_AUTH_MALFORMED},
        {"Basic YWxpY", UT_AUTH_MALFORMED},
        {"Basic =", UT_AUTH_MALFORMED},
        {"Basic", UT_AUTH_MALFORMED},
        {"Bearer Ym9iOnBhc3N3b3Jk", UT_AUTH_SCHEME},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_eq(judge(rows[i].value), rows[i].verdict, "%s: %d", rows[i].value,
                     judge(rows[i].value));
    static char huge[16 << 10];
    memset(huge, 'A', sizeof(huge) - 1);
    memcpy(huge, "Basic ", 6);
    cr_expect_eq(judge(huge), UT_AUTH_MALFORMED);
}

Test(auth, credentials_that_cannot_be_are_said)
{
    static char many[8192], longest[UT_AUTH_SECRET_MAX + 2];
    const struct {
        enum ut_auth_kind kind;
        const char *text, *error;
    } rows[] = {
        {UT_AUTH_BEARER, "two words", "no header field"},
        {UT_AUTH_BEARER, "umlaut\xc3\xa4", "no header field"},
        {UT_AUTH_BEARER, many, "more than 128"},
        {UT_AUTH_BEARER, longest, "longer than 2048"},
        {UT_AUTH_BASIC, "alice", "user:password"},
        {UT_AUTH_BASIC, ":password", "user:password"},
        {UT_AUTH_BASIC, "alice:", "no password"},
        {UT_AUTH_BASIC, "alice:$2y$05$abcdefghijklmnopqrstuu", "bcrypt"},
        {UT_AUTH_BASIC, "alice:$apr1$x$y", "htpasswd -s"},
        {UT_AUTH_BASIC, "alice:{SSHA}x", "bcrypt"},
        {UT_AUTH_BASIC, "alice:{SHA}short", "not one"},
    };
    for (int i = 0; i < 129; i++)
        (void)snprintf(many + strlen(many), sizeof(many) - strlen(many), "token%d\n", i);
    memset(longest, 'x', sizeof(longest) - 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        static struct ut_auth_list list;
        list.count = 0;
        start(rows[i].kind, NULL, NULL);
        const char *error = ut_auth_list_add(&list, &auth, ut_slice_str(rows[i].text));
        cr_assert_not_null(error, "row %zu", i);
        cr_expect_not_null(strstr(error, rows[i].error), "row %zu: %s", i, error);
        end();
    }
}

Test(auth, former_credentials_are_good_for_a_minute)
{
    start(UT_AUTH_BEARER, NULL, NULL);
    put("one\ntwo", 0);
    put("two\nthree", 100 * S);
    cr_expect_eq(judge("Bearer one"), UT_AUTH_GRANTED);
    cr_expect_eq(judge("Bearer two"), UT_AUTH_GRANTED);
    cr_expect_eq(judge("Bearer three"), UT_AUTH_GRANTED);
    cr_expect_eq(ut_auth_expire(&auth, 100 * S), 160 * S);
    put("four", 130 * S);
    cr_expect_eq(ut_auth_expire(&auth, 130 * S), 160 * S, "the first keeps its end");
    cr_expect_eq(judge("Bearer one"), UT_AUTH_GRANTED);
    cr_expect_eq(ut_auth_expire(&auth, 160 * S), 190 * S);
    cr_expect_eq(judge("Bearer one"), UT_AUTH_UNKNOWN);
    cr_expect_eq(judge("Bearer two"), UT_AUTH_GRANTED);
    put("two", 180 * S);
    cr_expect_eq(ut_auth_expire(&auth, 190 * S), 240 * S);
    cr_expect_eq(judge("Bearer two"), UT_AUTH_GRANTED, "it came back");
    cr_expect_eq(judge("Bearer three"), UT_AUTH_UNKNOWN);
    cr_expect_eq(judge("Bearer four"), UT_AUTH_GRANTED);
    cr_expect_eq(ut_auth_expire(&auth, 240 * S), UINT64_MAX);
    cr_expect_eq(judge("Bearer four"), UT_AUTH_UNKNOWN);
    cr_expect_eq(auth.count, 1);
}

Test(auth, former_credentials_are_good_for_a_minute_after_a_successor_took_over)
{
    static struct ut_auth former;
    start(UT_AUTH_BEARER, NULL, NULL);
    put("one\ntwo", 0);
    put("two\nthree", 100 * S);
    former = auth;
    start(UT_AUTH_BEARER, NULL, NULL);
    put("three\nfour", 130 * S);
    ut_auth_inherit(&auth, &former, 130 * S);
    const char *const good[] = {"Bearer one", "Bearer two", "Bearer three", "Bearer four"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        cr_expect_eq(judge(good[i]), UT_AUTH_GRANTED, "%s", good[i]);
    cr_expect_eq(auth.count, 4);
    cr_expect_eq(ut_auth_expire(&auth, 130 * S), 160 * S, "what went earlier keeps its end");
    cr_expect_eq(ut_auth_expire(&auth, 160 * S), 190 * S);
    cr_expect_eq(judge("Bearer one"), UT_AUTH_UNKNOWN);
    cr_expect_eq(judge("Bearer two"), UT_AUTH_GRANTED);
    cr_expect_eq(ut_auth_expire(&auth, 190 * S), UINT64_MAX);
    cr_expect_eq(judge("Bearer two"), UT_AUTH_UNKNOWN);
    cr_expect_eq(judge("Bearer three"), UT_AUTH_GRANTED);
    cr_expect_eq(judge("Bearer four"), UT_AUTH_GRANTED);
}

Test(auth, tokens_are_no_passwords_of_a_successor)
{
    static struct ut_auth former;
    start(UT_AUTH_BEARER, NULL, NULL);
    put("one", 0);
    former = auth;
    start(UT_AUTH_BASIC, NULL, NULL);
    put("alice:secret", 0);
    ut_auth_inherit(&auth, &former, 0);
    cr_expect_eq(auth.count, 1);
}

Test(auth, rotations_without_end_keep_the_newest)
{
    start(UT_AUTH_BEARER, NULL, NULL);
    char token[64];
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(token, sizeof(token), "token%d", i);
        put(token, (uint64_t)(i + 1) * S / 1000);
        cr_assert_leq(auth.count, UT_AUTH_MAX);
    }
    cr_expect_eq(judge("Bearer token999"), UT_AUTH_GRANTED);
    cr_expect_eq(judge("Bearer token800"), UT_AUTH_GRANTED);
    cr_expect_eq(judge("Bearer token0"), UT_AUTH_UNKNOWN, "the oldest made room");
}

Test(auth, bytes_are_compared_over_their_whole_length)
{
    uint8_t a[64] = {0}, b[64] = {0};
    start(UT_AUTH_BEARER, NULL, NULL);
    cr_expect(ut_auth_equal(a, b, sizeof(a)));
    for (size_t i = 0; i < sizeof(a); i++) {
        b[i] = 1;
        cr_expect_not(ut_auth_equal(a, b, sizeof(a)), "byte %zu", i);
        cr_expect(ut_auth_equal(a, b, i), "below byte %zu", i);
        b[i] = 0;
    }
}
