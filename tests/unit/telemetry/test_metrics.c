/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "telemetry/health.h"
#include "telemetry/metrics.h"

static void expect_text(struct ut_metrics *metrics, const char *expected)
{
    size_t size;
    char *text = ut_metrics_text(metrics, &size);
    cr_assert_not_null(text);
    cr_expect_str_eq(text, expected);
    cr_expect_eq(size, strlen(expected));
    free(text);
}

static double read_double(void *arg)
{
    return *(double *)arg;
}

Test(metrics, a_family_has_one_head_and_its_samples_in_order)
{
    struct ut_metrics *metrics = ut_metrics_new();
    uint64_t *b = ut_metrics_counter(metrics, "spans_total", "x=\"b\"", "Spans.");
    *ut_metrics_counter(metrics, "other", "", "Other.") = 7;
    uint64_t *a = ut_metrics_counter(metrics, "spans_total", "x=\"a\"", "Spans.");
    *a = 1;
    *b = UINT64_MAX;
    expect_text(metrics, "# HELP spans_total Spans.\n# TYPE spans_total counter\n"
                         "spans_total{x=\"b\"} 18446744073709551615\nspans_total{x=\"a\"} 1\n"
                         "# HELP other Other.\n# TYPE other counter\nother 7\n");
    ut_metrics_free(metrics);
}

Test(metrics, the_same_name_and_labels_are_the_same_cell)
{
    struct ut_metrics *metrics = ut_metrics_new();
    uint64_t *cell = ut_metrics_counter(metrics, "a", "x=\"1\"", "A.");
    for (int i = 0; i < 100; i++) {
        char labels[16];
        snprintf(labels, sizeof(labels), "x=\"%d\"", i);
        (void)ut_metrics_counter(metrics, "a", labels, "A.");
    }
    cr_expect_eq(ut_metrics_counter(metrics, "a", "x=\"1\"", "A."), cell);
    ut_metrics_free(metrics);
}

static void write_two(void *arg, struct ut_metrics_out *out)
{
    char value[32];
    if (*(int *)arg == 0)
        return;
    ut_metrics_tell(out, "x=\"1\"", 2);
    char label[48];
    snprintf(label, sizeof(label), "x=\"%s\"",
             ut_metrics_escape(value, sizeof(value), "a\"b\\c\nd"));
    ut_metrics_tell(out, label, 2.5);
}

Test(metrics, samples_of_a_family_may_come_and_go)
{
    struct ut_metrics *metrics = ut_metrics_new();
    int shown = 0, newer = 1;
    ut_metrics_family(metrics, "f", "F.", write_two, &shown);
    expect_text(metrics, "");
    shown = 1;
    const char *expected = "# HELP f F.\n# TYPE f counter\nf{x=\"1\"} 2\n"
                           "f{x=\"a\\\"b\\\\c\\nd\"} 2.5\n";
    expect_text(metrics, expected);
    ut_metrics_family(metrics, "f", "F.", write_two, &newer);
    expect_text(metrics, expected);
    ut_metrics_remove(metrics, &newer);
    shown = 0;
    expect_text(metrics, "");
    ut_metrics_remove(metrics, &shown);
    expect_text(metrics, "");
    ut_metrics_free(metrics);
}

Test(metrics, a_label_that_is_too_long_is_cut_before_an_escape)
{
    char out[6];
    cr_expect_str_eq(ut_metrics_escape(out, sizeof(out), "abc\"\""), "abc\\\"");
    cr_expect_str_eq(ut_metrics_escape(out, sizeof(out), "abcd\"\""), "abcd");
}

Test(metrics, gauges_are_read_when_somebody_looks)
{
    struct ut_metrics *metrics = ut_metrics_new();
    double value = 1;
    ut_metrics_gauge(metrics, "g", "", "G.", read_double, &value);
    value = 2.5;
    expect_text(metrics, "# HELP g G.\n# TYPE g gauge\ng 2.5\n");
    ut_metrics_remove(metrics, &value);
    expect_text(metrics, "");
    ut_metrics_free(metrics);
}

Test(metrics, odd_numbers_are_written_as_prometheus_reads_them)
{
    struct ut_metrics *metrics = ut_metrics_new();
    double values[] = {NAN, INFINITY, -INFINITY, 9007199254740991.0, -3, 1e300};
    for (int i = 0; i < 6; i++) {
        char labels[16];
        snprintf(labels, sizeof(labels), "i=\"%d\"", i);
        ut_metrics_gauge(metrics, "g", labels, "G.", read_double, &values[i]);
    }
    expect_text(metrics, "# HELP g G.\n# TYPE g gauge\ng{i=\"0\"} NaN\ng{i=\"1\"} +Inf\n"
                         "g{i=\"2\"} -Inf\ng{i=\"3\"} 9007199254740991\ng{i=\"4\"} -3\n"
                         "g{i=\"5\"} 1e+300\n");
    ut_metrics_free(metrics);
}

Test(metrics, help_texts_are_escaped)
{
    struct ut_metrics *metrics = ut_metrics_new();
    (void)ut_metrics_counter(metrics, "a", "", "one\\two\nthree");
    expect_text(metrics, "# HELP a one\\\\two\\nthree\n# TYPE a counter\na 0\n");
    ut_metrics_free(metrics);
}

Test(metrics, the_texts_given_are_copied)
{
    struct ut_metrics *metrics = ut_metrics_new();
    char name[] = "abc", labels[] = "x=\"1\"", help[] = "Help.";
    (void)ut_metrics_counter(metrics, name, labels, help);
    name[0] = labels[0] = help[0] = '#';
    expect_text(metrics, "# HELP abc Help.\n# TYPE abc counter\nabc{x=\"1\"} 0\n");
    ut_metrics_free(metrics);
}

Test(metrics, of_two_gauges_with_the_same_labels_the_newest_is_read_until_it_goes)
{
    struct ut_metrics *metrics = ut_metrics_new();
    double old = 1, new = 2;
    ut_metrics_gauge(metrics, "g", "", "G.", read_double, &old);
    ut_metrics_gauge(metrics, "g", "", "G.", read_double, &new);
    expect_text(metrics, "# HELP g G.\n# TYPE g gauge\ng 2\n");
    ut_metrics_remove(metrics, &new);
    expect_text(metrics, "# HELP g G.\n# TYPE g gauge\ng 1\n");
    ut_metrics_gauge(metrics, "g", "", "G.", read_double, &new);
    ut_metrics_remove(metrics, &old);
    expect_text(metrics, "# HELP g G.\n# TYPE g gauge\ng 2\n");
    ut_metrics_remove(metrics, &new);
    expect_text(metrics, "");
    ut_metrics_free(metrics);
}

Test(metrics, a_level_goes_up_and_down)
{
    struct ut_metrics *metrics = ut_metrics_new();
    uint64_t *level = ut_metrics_level(metrics, "g", "", "G.");
    *level += 3;
    --*ut_metrics_level(metrics, "g", "", "G.");
    expect_text(metrics, "# HELP g G.\n# TYPE g gauge\ng 2\n");
    ut_metrics_free(metrics);
}

Test(metrics, sums_go_over_all_samples_of_a_name)
{
    struct ut_metrics *metrics = ut_metrics_new();
    double value = 5;
    *ut_metrics_counter(metrics, "a", "x=\"1\"", "A.") = 2;
    *ut_metrics_counter(metrics, "a", "x=\"2\"", "A.") = 3;
    ut_metrics_counter_read(metrics, "a", "x=\"3\"", "A.", read_double, &value);
    cr_expect_float_eq(ut_metrics_sum(metrics, "a"), 10, 1e-9);
    cr_expect_float_eq(ut_metrics_sum(metrics, "b"), 0, 1e-9);
    ut_metrics_free(metrics);
}

Test(health, only_ready_is_ready)
{
    struct ut_health health = {UT_HEALTH_STARTING};
    cr_expect_not(ut_health_is_ready(&health));
    cr_expect_str_eq(ut_health_text(&health), "starting");
    health.state = UT_HEALTH_READY;
    cr_expect(ut_health_is_ready(&health));
    cr_expect_str_eq(ut_health_text(&health), "ready");
    health.state = UT_HEALTH_STOPPING;
    cr_expect_not(ut_health_is_ready(&health));
    cr_expect_str_eq(ut_health_text(&health), "stopping");
}
