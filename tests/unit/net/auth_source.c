/* SPDX-License-Identifier: Apache-2.0 */
/* Files of credentials that change, in virtual time. */
#include "net/auth_source.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "virtual_worker.h"

static struct ut_worker worker;
static struct ut_auth auth;
static struct ut_auth_source source;
static char folder[64], path[96], other[96], error[256];

static void set_up(void)
{
    (void)snprintf(folder, sizeof(folder), "/tmp/ut-auth-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/tokens", folder);
    (void)snprintf(other, sizeof(other), "%s/new", folder);
    virtual_worker_init(&worker);
    cr_assert_eq(ut_auth_init(&auth, UT_AUTH_BEARER, NULL, NULL), 0);
    source = (struct ut_auth_source){.auth = &auth, .worker = &worker, .id = "otlp", .file = path};
}

static void tear_down(void)
{
    ut_auth_source_stop(&source);
    ut_auth_done(&auth);
    virtual_worker_done(&worker);
    (void)unlink(path);
    (void)unlink(other);
    (void)rmdir(folder);
}

TestSuite(auth_source, .init = set_up, .fini = tear_down);

static void write_file(const char *where, const char *text)
{
    FILE *file = fopen(where, "we");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
}

/* As an operator should: the new file takes the place of the old one at once. */
static void replace_file(const char *text)
{
    write_file(other, text);
    cr_assert_eq(rename(other, path), 0);
}

static int begin(void)
{
    return ut_auth_source_start(&source, "receiver=\"otlp\"", error, sizeof(error));
}

static bool is_granted(const char *token)
{
    char value[64];
    (void)snprintf(value, sizeof(value), "Bearer %s", token);
    return ut_auth_judge(&auth, ut_slice_str(value)) == UT_AUTH_GRANTED;
}

Test(auth_source, file_that_cannot_be_used_at_the_start_is_an_error)
{
    cr_expect_eq(begin(), -ENOENT);
    cr_expect_not_null(strstr(error, "No such file"), "%s", error);
    write_file(path, "");
    cr_expect_eq(begin(), -EINVAL);
    cr_expect_not_null(strstr(error, "holds no credentials"), "%s", error);
    write_file(path, "\n \n");
    cr_expect_eq(begin(), -EINVAL);
    write_file(path, "two words\n");
    cr_expect_eq(begin(), -EINVAL);
    cr_expect_not_null(strstr(error, path), "%s", error);
    source.file = folder;
    cr_expect_eq(begin(), -EINVAL);
    cr_expect_not_null(strstr(error, "not a file"), "%s", error);
    source.file = "/dev/zero";
    cr_expect_eq(begin(), -EINVAL);
    source.file = path;
    cr_assert_eq(truncate(path, UT_AUTH_FILE_MAX), 0);
    cr_expect_eq(begin(), -EFBIG);
    cr_expect_eq(worker.timers.count, 0, "nothing is started");
}

Test(auth_source, unreadable_file_is_an_error)
{
    if (geteuid() == 0)
        cr_skip_test("root reads every file");
    write_file(path, "one\n");
    cr_assert_eq(chmod(path, 0), 0);
    cr_expect_eq(begin(), -EACCES);
}

Test(auth_source, rotation_is_seen_and_the_former_token_good_for_a_minute)
{
    write_file(path, "one\n");
    cr_assert_eq(begin(), 0, "%s", error);
    cr_expect(is_granted("one"));
    replace_file("two\n");
    virtual_worker_advance(&worker, 1000);
    cr_expect_not(is_granted("two"), "it may be being written yet");
    virtual_worker_advance(&worker, 1000);
    cr_expect(is_granted("two"));
    cr_expect(is_granted("one"));
    virtual_worker_advance(&worker, 59999);
    cr_expect(is_granted("one"));
    virtual_worker_advance(&worker, 1);
    cr_expect_not(is_granted("one"), "to the millisecond");
    cr_expect(is_granted("two"));
    cr_expect_eq(*source.reloads, 1);
    virtual_worker_advance(&worker, 3600 * 1000);
    cr_expect_eq(*source.reloads, 1, "an unchanged file is not read again");
    cr_expect_eq(*source.failures, 0);
}

Test(auth_source, file_caught_while_it_is_written_never_counts)
{
    write_file(path, "one\n");
    cr_assert_eq(begin(), 0, "%s", error);
    static const char *const parts[] = {"", "t", "tw", "two-long", "two-long-to"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        write_file(path, parts[i]);
        virtual_worker_advance(&worker, 1000);
        cr_expect(is_granted("one"));
        cr_expect_not(i > 0 && is_granted(parts[i]), "%s", parts[i]);
    }
    write_file(path, "two-long-token\n");
    virtual_worker_advance(&worker, 2000);
    cr_expect(is_granted("two-long-token"));
    for (size_t i = 1; i < sizeof(parts) / sizeof(parts[0]); i++)
        cr_expect_not(is_granted(parts[i]), "%s", parts[i]);
    cr_expect_eq(*source.failures, 0);
}

Test(auth_source, bad_new_file_leaves_the_old_tokens_in_force_and_is_said_once)
{
    write_file(path, "one\n");
    cr_assert_eq(begin(), 0, "%s", error);
    replace_file("");
    virtual_worker_advance(&worker, 600 * 1000);
    cr_expect(is_granted("one"), "there is no end to it");
    cr_expect_eq(*source.failures, 1);
    (void)unlink(path);
    virtual_worker_advance(&worker, 600 * 1000);
    cr_expect(is_granted("one"));
    cr_expect_eq(*source.failures, 2, "one for each state it is found in");
    cr_assert_eq(mkdir(path, 0700), 0);
    virtual_worker_advance(&worker, 600 * 1000);
    cr_expect_eq(*source.failures, 3);
    (void)rmdir(path);
    write_file(path, "two\n");
    virtual_worker_advance(&worker, 3000);
    cr_expect(is_granted("two"));
    cr_expect_eq(*source.reloads, 1);
    virtual_worker_advance(&worker, 61000);
    cr_expect_not(is_granted("one"));
}

Test(auth_source, somebody_who_says_it_has_changed_is_believed_at_once)
{
    write_file(path, "one\n");
    cr_assert_eq(begin(), 0, "%s", error);
    replace_file("two\n");
    ut_auth_source_reread(&source);
    cr_expect(is_granted("two"));
    cr_expect(is_granted("one"));
    virtual_worker_advance(&worker, 60000);
    cr_expect_not(is_granted("one"));
    replace_file("");
    ut_auth_source_reread(&source);
    cr_expect(is_granted("two"));
    cr_expect_eq(*source.failures, 1);
}

Test(auth_source, texts_of_the_configuration_need_no_timer)
{
    static const char *const texts[] = {"one", "two"};
    source.file = NULL;
    source.texts = texts;
    source.text_count = 2;
    cr_assert_eq(begin(), 0, "%s", error);
    cr_expect(is_granted("one"));
    cr_expect(is_granted("two"));
    cr_expect_eq(worker.timers.count, 0);
    ut_auth_source_reread(&source);
    cr_expect_eq(*source.reloads, 0);
}

Test(auth_source, file_and_texts_both_count)
{
    static const char *const texts[] = {"one"};
    source.texts = texts;
    source.text_count = 1;
    write_file(path, "two\n");
    cr_assert_eq(begin(), 0, "%s", error);
    replace_file("three\n");
    virtual_worker_advance(&worker, 62000);
    cr_expect(is_granted("one"));
    cr_expect_not(is_granted("two"));
    cr_expect(is_granted("three"));
}
