/* SPDX-License-Identifier: Apache-2.0 */
/* Single values, words that are near, endpoints that are the same. */
#include <criterion/criterion.h>

#include "config/endpoint_match.h"
#include "config/nearest.h"
#include "config/scalar.h"

static void expect_duration(const char *text, uint64_t ns)
{
    uint64_t value = 1;
    const char *wrong = ut_scalar_duration(&value, text);
    cr_expect_null(wrong, "%s: %s", text, wrong);
    cr_expect_eq(value, ns, "%s gave %llu", text, (unsigned long long)value);
}

Test(scalar, durations_are_read_as_go_does)
{
    expect_duration("0", 0);
    expect_duration("0s", 0);
    expect_duration("5s", UINT64_C(5000000000));
    expect_duration("300ms", UINT64_C(300000000));
    expect_duration("1m30s", UINT64_C(90000000000));
    expect_duration("1.5h", UINT64_C(5400000000000));
    expect_duration("1h1m1s1ms1us1ns", UINT64_C(3661001001001));
    expect_duration("2µs", 2000);
    expect_duration("2μs", 2000);
    expect_duration("5s", UINT64_C(5000000000));
    expect_duration("0.000000001s", 1);
}

Test(scalar, durations_that_go_refuses_are_refused)
{
    static const char *const bad[] = {"",
                                      "5",
                                      "1.5",
                                      "-1s",
                                      "5 s",
                                      "s",
                                      "1d",
                                      "1S",
                                      "1s2",
                                      "s1ms",
                                      "1..5s",
                                      "1e3s",
                                      "99999999999999999h"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint64_t value = 7;
        cr_expect_not_null(ut_scalar_duration(&value, bad[i]), "%s was read", bad[i]);
        cr_expect_eq(value, 7, "%s changed the value", bad[i]);
    }
}

Test(scalar, sizes_know_both_kinds_of_units)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},         {"17", 17},       {"17B", 17},         {"2kB", 2000},
                {"2KB", 2000},    {"2KiB", 2048},   {"64MiB", 64 << 20}, {"1.5MiB", 3 << 19},
                {"3MB", 3000000}, {"1GiB", 1 << 30}};
    static const char *const bad[] = {"", "x", "-1", "1TB", "1 MiB", "MiB", "1M", "1mib", "1.2.3"};
    uint64_t value;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        cr_expect_null(ut_scalar_bytes(&value, good[i].text), "%s", good[i].text);
        cr_expect_eq(value, good[i].bytes, "%s", good[i].text);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_expect_not_null(ut_scalar_bytes(&value, bad[i]), "%s was read", bad[i]);
}

Test(scalar, whole_numbers_end_at_64_bits)
{
    uint64_t value;
    cr_expect_null(ut_scalar_uint(&value, "18446744073709551615"));
    cr_expect_eq(value, UINT64_MAX);
    cr_expect_not_null(ut_scalar_uint(&value, "18446744073709551616"));
    cr_expect_not_null(ut_scalar_uint(&value, "-1"));
    cr_expect_not_null(ut_scalar_uint(&value, "1.0"));
    cr_expect_not_null(ut_scalar_uint(&value, "0x10"));
    cr_expect_not_null(ut_scalar_uint(&value, " 1"));
}

Test(scalar, fractions_are_finite_numbers)
{
    double value;
    cr_expect_null(ut_scalar_double(&value, "-2.5e1"));
    cr_expect_float_eq(value, -25, 1e-12);
    cr_expect_not_null(ut_scalar_double(&value, "nan"));
    cr_expect_not_null(ut_scalar_double(&value, "inf"));
    cr_expect_not_null(ut_scalar_double(&value, "1e999"));
    cr_expect_not_null(ut_scalar_double(&value, "0x1p3"));
    cr_expect_not_null(ut_scalar_double(&value, "1 "));
}

static const char *nearest_to(const char *word)
{
    struct ut_nearest nearest = {.word = word};
    static const char *const words[] = {"endpoint", "timeout", "tls", "headers",
                                        "max_message_bytes"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        ut_nearest_offer(&nearest, words[i]);
    return nearest.best != NULL ? nearest.best : "";
}

Test(nearest, slips_of_the_finger_find_their_word)
{
    cr_expect_str_eq(nearest_to("endpont"), "endpoint");
    cr_expect_str_eq(nearest_to("endpiont"), "endpoint");
    cr_expect_str_eq(nearest_to("tsl"), "tls");
    cr_expect_str_eq(nearest_to("time_out"), "timeout");
    cr_expect_str_eq(nearest_to("header"), "headers");
    cr_expect_str_eq(nearest_to("max_message"), "max_message_bytes");
}

Test(nearest, other_words_find_none)
{
    cr_expect_str_eq(nearest_to("compression"), "");
    cr_expect_str_eq(nearest_to("xy"), "");
    cr_expect_str_eq(nearest_to(""), "");
    cr_expect_str_eq(
        nearest_to("endpointendpointendpointendpointendpointendpointendpointendpoint!"), "");
}

Test(endpoint_match, one_host_has_many_names)
{
    cr_expect(ut_config_same_endpoint("localhost:4317", "http://127.0.0.1:4317"));
    cr_expect(ut_config_same_endpoint("0.0.0.0:4317", "localhost:4317/"));
    cr_expect(ut_config_same_endpoint("[::]:4317", "[::1]:4317"));
    cr_expect(ut_config_same_endpoint(":4317", "http://127.8.8.8:4317/x"));
    cr_expect(ut_config_same_endpoint("10.0.0.1:1", "[::ffff:10.0.0.1]:1"));
    cr_expect(ut_config_same_endpoint("Host:1", "host:1"));
}

Test(endpoint_match, other_places_are_other_places)
{
    cr_expect_not(ut_config_same_endpoint("localhost:4317", "localhost:4318"));
    cr_expect_not(ut_config_same_endpoint("localhost:4317", "10.0.0.1:4317"));
    cr_expect_not(ut_config_same_endpoint("127.0.0.1:4317", "backend:4317"));
    cr_expect_not(ut_config_same_endpoint("localhost:0", "localhost:0"));
    cr_expect_not(ut_config_same_endpoint("localhost", "localhost"));
    cr_expect_not(ut_config_same_endpoint("", ""));
}
