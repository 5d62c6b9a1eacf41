/* SPDX-License-Identifier: Apache-2.0 */
#include "net/credentials.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "virtual_worker.h"

static struct ut_worker worker;
static struct ut_credentials credentials;
static char path[64], error[UT_CREDENTIALS_ERROR];
static int changes;

static void on_changed(struct ut_credentials *of)
{
    (void)of;
    changes++;
}

static void set_up(void)
{
    virtual_worker_init(&worker);
    credentials = (struct ut_credentials){.changed = on_changed};
    changes = 0;
    (void)snprintf(path, sizeof(path), "/tmp/undertrace-token-XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
}

static void tear_down(void)
{
    ut_credentials_stop(&credentials);
    (void)unlink(path);
    virtual_worker_done(&worker);
}

TestSuite(credentials, .init = set_up, .fini = tear_down);

/* A file of its own takes the place of the one before, as rotations do. */
static void write_file(const char *text)
{
    char other[80];
    (void)snprintf(other, sizeof(other), "%s.new", path);
    FILE *file = fopen(other, "w");
    cr_assert_not_null(file);
    (void)fputs(text, file);
    (void)fclose(file);
    cr_assert_eq(rename(other, path), 0);
}

static int start(const char *type, const void *config)
{
    const struct ut_client_extension extension = {.id = type, .type = type, .config = config};
    return ut_credentials_start(&credentials, &worker, "otlp_grpc", &extension, error);
}

#define TEXT(literal) ((char *)(uintptr_t)(literal))

static struct ut_bearer_extension bearer(void)
{
    return (struct ut_bearer_extension){.scheme = TEXT("Bearer"), .header = TEXT("X-Auth")};
}

Test(credentials, token_stands_behind_its_scheme)
{
    struct ut_bearer_extension config = bearer();
    config.token = TEXT("abc");
    cr_assert_eq(start("bearertokenauth", &config), 0);
    cr_expect_str_eq(credentials.name, "x-auth");
    cr_expect_str_eq(credentials.value, "Bearer abc");
    cr_expect_not(ut_timer_is_set(&credentials.look));
}

Test(credentials, empty_scheme_leaves_the_token_alone)
{
    struct ut_bearer_extension config = bearer();
    struct ut_strings tokens = {(char *[]){TEXT("first"), TEXT("second")}, 2};
    config.scheme = TEXT("");
    config.tokens = tokens;
    cr_assert_eq(start("bearertokenauth", &config), 0);
    cr_expect_str_eq(credentials.value, "first");
}

Test(credentials, user_and_password_are_base64)
{
    struct ut_basic_extension config = {.client_auth = {TEXT("Aladdin"), TEXT("open sesame")}};
    cr_assert_eq(start("basicauth", &config), 0);
    cr_expect_str_eq(credentials.name, "authorization");
    cr_expect_str_eq(credentials.value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
}

Test(credentials, extension_for_listeners_has_nothing_to_show)
{
    struct ut_basic_extension config = {.htpasswd = {.text = TEXT("user:x")}};
    cr_assert_lt(start("basicauth", &config), 0);
    cr_expect(strstr(error, "client_auth is missing") != NULL, "%s", error);
}

Test(credentials, file_that_changes_is_read_once_it_stays_the_same)
{
    struct ut_bearer_extension config = bearer();
    config.filename = path;
    write_file("one\nnot this\n");
    cr_assert_eq(start("bearertokenauth", &config), 0);
    cr_expect_str_eq(credentials.value, "Bearer one");
    const char *before = credentials.value;
    write_file("two\r\n");
    virtual_worker_advance(&worker, 1000);
    cr_expect_eq(changes, 0);
    virtual_worker_advance(&worker, 1000);
    cr_expect_eq(changes, 1);
    cr_expect_str_eq(credentials.value, "Bearer two");
    cr_expect_str_eq(before, "Bearer one", "requests on their way may still read it");
    virtual_worker_advance(&worker, 10000);
    cr_expect_eq(changes, 1);
}

Test(credentials, file_is_believed_when_somebody_says_so)
{
    struct ut_bearer_extension config = bearer();
    config.filename = path;
    write_file("one");
    cr_assert_eq(start("bearertokenauth", &config), 0);
    write_file("three");
    ut_credentials_reread(&credentials);
    cr_expect_str_eq(credentials.value, "Bearer three");
}

Test(credentials, bad_file_leaves_the_former_token)
{
    struct ut_bearer_extension config = bearer();
    config.filename = path;
    write_file("one");
    cr_assert_eq(start("bearertokenauth", &config), 0);
    write_file("");
    virtual_worker_advance(&worker, 3000);
    write_file("two words");
    virtual_worker_advance(&worker, 3000);
    (void)unlink(path);
    virtual_worker_advance(&worker, 3000);
    cr_expect_str_eq(credentials.value, "Bearer one");
    cr_expect_eq(changes, 0);
    write_file("four");
    virtual_worker_advance(&worker, 3000);
    cr_expect_str_eq(credentials.value, "Bearer four");
}

Test(credentials, file_must_be_there_at_the_start)
{
    struct ut_bearer_extension config = bearer();
    config.filename = path;
    (void)unlink(path);
    cr_assert_lt(start("bearertokenauth", &config), 0);
    cr_expect(strstr(error, path) != NULL, "%s", error);
    char *longer = calloc(1, 4000);
    memset(longer, 'x', 3999);
    write_file(longer);
    cr_assert_lt(start("bearertokenauth", &config), 0);
    cr_expect(strstr(error, "too long") != NULL, "%s", error);
    free(longer);
}
