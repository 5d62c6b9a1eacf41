/* SPDX-License-Identifier: Apache-2.0 */
/* What of YAML is read, what is refused and where, and that a hostile file costs little. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config/yaml.h"

static struct ut_config_node *read_size(const char *text, size_t size,
                                        struct ut_config_memory *memory,
                                        struct ut_config_messages *messages)
{
    ut_config_messages_init(messages, "c.yaml");
    return ut_yaml_read(ut_slice_of(text, size), memory, messages);
}

static void expect_refused(const char *text, size_t size, int line, int column, const char *why)
{
    struct ut_config_memory memory = {NULL};
    struct ut_config_messages messages;
    struct ut_config_node *root = read_size(text, size, &memory, &messages);
    cr_expect_null(root);
    cr_assert_eq(messages.count, 1, "%zu messages for %s", messages.count, text);
    cr_expect_str_eq(messages.items[0].text, why);
    cr_expect_eq(messages.items[0].at.line, line, "line %d", messages.items[0].at.line);
    cr_expect_eq(messages.items[0].at.column, column, "column %d", messages.items[0].at.column);
    ut_config_messages_done(&messages);
    ut_config_memory_done(&memory);
}

#define REFUSED(text, line, column, why) expect_refused(text, sizeof(text) - 1, line, column, why)

Test(yaml, positions_of_keys_and_values_are_kept)
{
    static const char text[] = "a:\n  b: 'x y'\n  c: [1, {d: }]\n";
    struct ut_config_memory memory = {NULL};
    struct ut_config_messages messages;
    struct ut_config_node *root = read_size(text, sizeof(text) - 1, &memory, &messages);
    cr_assert_not_null(root);
    const struct ut_config_node *a = ut_config_node_get(root, "a");
    const struct ut_config_node *b = ut_config_node_get(a, "b");
    const struct ut_config_node *c = ut_config_node_get(a, "c");
    cr_expect_eq(a->key_at.line, 1);
    cr_expect_eq(b->key_at.line, 2);
    cr_expect_eq(b->key_at.column, 3);
    cr_expect_eq(b->at.column, 6);
    cr_expect_str_eq(b->text, "x y");
    cr_expect_not(b->plain);
    cr_assert_eq(c->count, 2);
    cr_expect_eq(c->first->at.column, 7);
    const struct ut_config_node *d = ut_config_node_get(c->first->next, "d");
    cr_expect(ut_config_node_is_null(d));
    ut_config_messages_done(&messages);
    ut_config_memory_done(&memory);
}

Test(yaml, what_is_not_read_is_refused_where_it_stands)
{
    REFUSED("", 0, 0, "the file is empty");
    REFUSED("# only a comment\n", 0, 0, "the file is empty");
    REFUSED("a: 1\na: 2\n", 2, 1, "the key a stands twice, first in line 1: remove one of them");
    REFUSED("a: &x 1\n", 1, 7,
            "anchors and aliases (&name, *name) are not supported: write the value out");
    REFUSED("a: *x\n", 1, 5,
            "anchors and aliases (&name, *name) are not supported: write the value out");
    REFUSED("a: !!str 1\n", 1, 10, "tags (!name) are not supported: leave the tag out");
    REFUSED("? [a]\n: b\n", 1, 3, "a key must be a plain text");
    REFUSED("a: 1\n%YAML 1.2\n", 2, 1, "directives (%NAME) are not supported: leave the line out");
    REFUSED("\xef\xbb\xbf%YAML 1.2\n", 1, 1,
            "directives (%NAME) are not supported: leave the line out");
    REFUSED("a: 1\r\nb: 2\r%YAML 1.2\r", 3, 1,
            "directives (%NAME) are not supported: leave the line out");
    REFUSED("a: 1\n---\nb: 2\n", 2, 1, "a second document begins here; only one is read");
    REFUSED("a: \"x\\0y\"\n", 1, 5, "a text must not contain a NUL character");
}

Test(yaml, syntax_errors_name_the_place)
{
    REFUSED("a: [1, 2\nb: 3\n", 3, 1,
            "not readable as YAML: flow sequence without a closing bracket");
    REFUSED("a:\n\tb: 1\n", 2, 1,
            "not readable as YAML: tab character may not be used as indentation");
}

Test(yaml, size_depth_and_width_are_bounded)
{
    size_t size = UT_YAML_SIZE_MAX + 1;
    char *text = malloc(size);
    memset(text, 'x', size);
    expect_refused(text, size, 0, 0, "larger than 1 MiB; that is no configuration");
    memset(text, '[', 100000);
    expect_refused(text, 100000, 1, 33, "nested too deeply");
    text[0] = '[';
    for (size_t i = 1; i < 10000; i += 2)
        memcpy(text + i, "1,", 2);
    expect_refused(text, 10000, 1, 2002, "too many entries in one list or mapping");
    free(text);
}

static double seconds_for(const char *text, size_t size)
{
    struct timespec a, b;
    struct ut_config_memory memory = {NULL};
    struct ut_config_messages messages;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    cr_expect_null(read_size(text, size, &memory, &messages));
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    ut_config_messages_done(&messages);
    ut_config_memory_done(&memory);
    return (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
}

Test(yaml, a_hostile_file_costs_little, .timeout = 60)
{
    static const char *const pieces[] = {"[",   "{",  "- ", "? ",  "a: ", "&a ",
                                         "!a ", "'x", "\"", "|\n", "%"};
    size_t size = UT_YAML_SIZE_MAX;
    char *text = malloc(size);
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        size_t piece = strlen(pieces[i]);
        for (size_t at = 0; at < size; at++)
            text[at] = pieces[i][at % piece];
        double seconds = seconds_for(text, size);
        cr_expect_lt(seconds, 10.0, "1 MiB of \"%s\" took %.2f s", pieces[i], seconds);
    }
    free(text);
}
