/* SPDX-License-Identifier: Apache-2.0 */
#include "otlp/span_reader.h"

#include <criterion/criterion.h>

#include "otlp_batch.h"

static struct ut_pool pool;
static struct otlp_bytes request;
static struct ut_batch *batch;

static void set_up(void)
{
    ut_pool_init(&pool, (size_t)1 << 20);
    request = (struct otlp_bytes){0};
    batch = NULL;
}

static void tear_down(void)
{
    ut_batch_unref(batch);
    otlp_free(&request);
    ut_pool_done(&pool);
}

TestSuite(span_reader, .init = set_up, .fini = tear_down);

/* The ends of the only span, which has these attributes (up to the first without key). */
static struct ut_span_ends ends_of(unsigned kind, const struct otlp_attribute *attributes)
{
    ut_batch_unref(batch);
    request.size = 0;
    struct otlp_span span = {.trace_id = 1, .span_id = 1, .kind = kind, .attributes = attributes};
    otlp_resource_spans(&request, NULL, &span, 1);
    batch = otlp_batch(&pool, &request);
    struct ut_span_ends ends;
    ut_span_read_ends(batch->first, &batch->first->spans[0], &ends);
    return ends;
}

static struct ut_span_ends ends_of_one(unsigned kind, const char *key, const char *value)
{
    return ends_of(kind, (struct otlp_attribute[]){{key, value, 0}, {0}});
}

static void expect_end(const struct ut_named_end *end, const char *address, unsigned port)
{
    char text[UT_ADDRESS_TEXT];
    cr_expect_eq(end->endpoint.port, port, "port %u, not %u", end->endpoint.port, port);
    cr_expect_eq(end->has_address, address != NULL);
    if (address != NULL)
        cr_expect_str_eq(ut_address_text(text, &end->endpoint.address), address);
}

enum { SERVER = UT_SPAN_KIND_SERVER, CLIENT = UT_SPAN_KIND_CLIENT };

/* The walk notes where such attributes stand; far behind, and behind one of unusual shape, too. */
Test(span_reader, ends_are_found_wherever_they_stand)
{
    for (size_t size = 0; size <= 70000; size = size == 0 ? 50 : size * 4) {
        char *text = calloc(1, size + 1);
        cr_assert_not_null(text);
        memset(text, 'x', size);
        struct ut_span_ends ends =
            ends_of(CLIENT, (struct otlp_attribute[]){{"first", text, 0},
                                                      {"network.peer.address", "10.0.0.7", 0},
                                                      {"between", text, 0},
                                                      {"network.peer.port", NULL, 5432},
                                                      {"last", text, 0},
                                                      {0}});
        expect_end(&ends.remote, "10.0.0.7", 5432);
        free(text);
    }
}

Test(span_reader, socket_level_keys_of_both_conventions)
{
    static const char *const addresses[] = {"network.peer.address", "net.sock.peer.addr",
                                            "net.peer.ip"};
    static const char *const ports[] = {"network.peer.port", "net.sock.peer.port", "net.peer.port"};
    for (int i = 0; i < 3; i++) {
        struct ut_span_ends ends = ends_of(
            CLIENT,
            (struct otlp_attribute[]){{addresses[i], "10.0.0.7", 0}, {ports[i], NULL, 5432}, {0}});
        expect_end(&ends.remote, "10.0.0.7", 5432);
        expect_end(&ends.local, NULL, 0);
        expect_end(&ends.logical, NULL, 0);
    }
    static const char *const local[] = {"network.local.address", "net.sock.host.addr",
                                        "net.host.ip"};
    for (int i = 0; i < 3; i++) {
        struct ut_span_ends ends = ends_of_one(SERVER, local[i], "fe80::1%eth0");
        expect_end(&ends.local, "fe80::1", 0);
        expect_end(&ends.remote, NULL, 0);
    }
}

Test(span_reader, logical_keys_name_the_server_for_those_who_ask)
{
    struct otlp_attribute attributes[] = {
        {"server.address", "10.0.0.9", 0}, {"server.port", NULL, 80}, {0}};
    static const unsigned asking[] = {CLIENT, UT_SPAN_KIND_PRODUCER, UT_SPAN_KIND_CONSUMER};
    for (int i = 0; i < 3; i++) {
        struct ut_span_ends ends = ends_of(asking[i], attributes);
        expect_end(&ends.logical, "10.0.0.9", 80);
        expect_end(&ends.remote, NULL, 0);
    }
    struct ut_span_ends ends = ends_of(SERVER, attributes);
    expect_end(&ends.logical, NULL, 0);
    ends = ends_of(UT_SPAN_KIND_INTERNAL, attributes);
    expect_end(&ends.logical, NULL, 0);
}

Test(span_reader, logical_keys_name_the_client_for_servers)
{
    struct otlp_attribute attributes[] = {
        {"client.address", "10.0.0.9", 0}, {"client.port", NULL, 4000}, {0}};
    struct ut_span_ends ends = ends_of(SERVER, attributes);
    expect_end(&ends.logical, "10.0.0.9", 4000);
    ends = ends_of(CLIENT, attributes);
    expect_end(&ends.logical, NULL, 0);
}

Test(span_reader, urls)
{
    static const struct {
        const char *url, *address;
        unsigned port;
        bool name;
    } rows[] = {
        {"http://10.77.0.12:8003/pay?x=1", "10.77.0.12", 8003, false},
        {"http://10.77.0.12/pay", "10.77.0.12", 80, false},
        {"https://10.77.0.12", "10.77.0.12", 443, false},
        {"HTTPS://10.77.0.12/", "10.77.0.12", 443, false},
        {"wss://10.77.0.12?x", "10.77.0.12", 443, false},
        {"http://[2001:db8::1]:8080/", "2001:db8::1", 8080, false},
        {"http://[2001:db8::1]/", "2001:db8::1", 80, false},
        {"http://[::ffff:10.0.0.1]:1", "10.0.0.1", 1, false},
        {"http://[fe80::1%25eth0]:81/", "fe80::1", 81, false},
        {"http://user:pa:ss@10.0.0.1:81/a@b", "10.0.0.1", 81, false},
        {"http://10.0.0.1:/", "10.0.0.1", 80, false},
        {"http://10.0.0.1:0/", "10.0.0.1", 0, false},
        {"http://10.0.0.1:65536/", "10.0.0.1", 0, false},
        {"http://10.0.0.1:80x/", "10.0.0.1", 0, false},
        {"ftp://10.0.0.1/", "10.0.0.1", 0, false},
        {"http://ledger:8003/pay", NULL, 8003, true},
        {"http://localhost/", NULL, 80, true},
        {"http://10.0.0.1.nip.io/", NULL, 80, true},
        {"/pay?to=http://10.0.0.1/", "10.0.0.1", 0, false},
        {"http://", NULL, 0, false},
        {"http:///x", NULL, 0, false},
        {"://", NULL, 0, false},
        {"10.0.0.1:80", NULL, 0, false},
        {"", NULL, 0, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (int old = 0; old < 2; old++) {
            struct ut_span_ends ends =
                ends_of_one(CLIENT, old ? "http.url" : "url.full", rows[i].url);
            expect_end(&ends.logical, rows[i].address, rows[i].port);
            cr_expect_eq(ends.logical.has_name, rows[i].name, "%s", rows[i].url);
        }
    }
}

Test(span_reader, what_is_not_numeric_is_a_name)
{
    static const char *const names[] = {"ledger",      "localhost", "/run/ledger.sock",
                                        "10.0.0.1:80", "10.0.0",    "unix:/x"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct ut_span_ends ends = ends_of_one(CLIENT, "network.peer.address", names[i]);
        cr_expect(ends.remote.has_name, "%s", names[i]);
        cr_expect_not(ends.remote.has_address, "%s", names[i]);
    }
    struct ut_span_ends ends = ends_of_one(CLIENT, "network.peer.address", "");
    cr_expect_not(ends.remote.has_name);
}

Test(span_reader, ports_are_numbers_or_digits)
{
    static const struct {
        const char *text;
        int64_t number;
        unsigned port;
    } rows[] = {{"5432", 0, 5432},
                {NULL, 65535, 65535},
                {NULL, 65536, 0},
                {NULL, -1, 0},
                {"65536", 0, 0},
                {"70000", 0, 0},
                {"", 0, 0},
                {"-1", 0, 0},
                {"http", 0, 0},
                {"0000005432", 0, 5432},
                {"99999999999999999999", 0, 0}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ut_span_ends ends = ends_of(
            CLIENT,
            (struct otlp_attribute[]){{"network.peer.port", rows[i].text, rows[i].number}, {0}});
        cr_expect_eq(ends.remote.endpoint.port, rows[i].port, "row %zu", i);
    }
}

Test(span_reader, of_several_the_last_one_counts_but_a_name_replaces_no_address)
{
    struct otlp_attribute attributes[] = {
        {"network.peer.address", "10.0.0.1", 0}, {"network.peer.address", "10.0.0.2", 0},
        {"network.peer.address", "ledger", 0},   {"network.peer.port", NULL, 1},
        {"network.peer.port", NULL, 2},          {0}};
    struct ut_span_ends ends = ends_of(CLIENT, attributes);
    expect_end(&ends.remote, "10.0.0.2", 2);
    cr_expect_not(ends.remote.has_name);
    struct otlp_attribute reversed[] = {
        {"network.peer.address", "ledger", 0}, {"net.sock.peer.addr", "10.0.0.2", 0}, {0}};
    ends = ends_of(CLIENT, reversed);
    expect_end(&ends.remote, "10.0.0.2", 0);
    cr_expect_not(ends.remote.has_name);
}

Test(span_reader, v4_mapped_is_v4)
{
    struct ut_span_ends ends = ends_of_one(CLIENT, "network.peer.address", "::ffff:10.0.0.1");
    expect_end(&ends.remote, "10.0.0.1", 0);
}

Test(span_reader, values_of_other_types_are_no_address)
{
    struct otlp_attribute number[] = {{"network.peer.address", NULL, 5}, {0}};
    struct ut_span_ends ends = ends_of(CLIENT, number);
    expect_end(&ends.remote, NULL, 0);
    cr_expect_not(ends.remote.has_name);
}

/* ---- ranges -------------------------------------------------------------------------------------
 */

Test(span_reader, forged_ranges_are_whole_fields)
{
    struct otlp_bytes more = {0}, first = {0}, event = {0};
    struct otlp_attribute marks[] = {{"undertrace.match", "exact", 0}, {0}};
    otlp_text_attribute(&first, 9, "undertrace.tcp.match", "exact");
    otlp_event(&event, "tcp.reset", 1, marks);
    otlp_text_attribute(&more, 9, "kept", "x");
    otlp_raw(&more, first.data, first.size);
    otlp_event(&more, "tcp.reset", 1, NULL);
    otlp_raw(&more, event.data, event.size);
    struct otlp_span span = {
        .trace_id = 1, .span_id = 1, .more = more.data, .more_size = more.size};
    otlp_resource_spans(&request, NULL, &span, 1);
    batch = otlp_batch(&pool, &request);
    struct ut_body *body = batch->first;
    struct ut_range *ranges;
    cr_assert_eq(ut_span_forged_ranges(body, &body->spans[0], &ranges), 2);
    ut_slice got = ut_body_slice(body, ranges[0].offset, ranges[0].size);
    cr_expect(ut_slice_equal(got, ut_slice_of(first.data, first.size)));
    got = ut_body_slice(body, ranges[1].offset, ranges[1].size);
    cr_expect(ut_slice_equal(got, ut_slice_of(event.data, event.size)));
    otlp_free(&more);
    otlp_free(&first);
    otlp_free(&event);
}

Test(span_reader, resource_ranges_by_key_and_prefix_in_all_resource_messages)
{
    size_t resource_spans = otlp_begin(&request, 1);
    for (int i = 0; i < 2; i++) {
        size_t resource = otlp_begin(&request, 1);
        otlp_text_attribute(&request, 1, "service.name", "x");
        otlp_text_attribute(&request, 1, "container.id", "claimed");
        otlp_text_attribute(&request, 1, "undertrace.cgroup.path", "/forged");
        otlp_text_attribute(&request, 1, "container.idx", "another");
        otlp_end(&request, resource);
        size_t scope_spans = otlp_begin(&request, 2);
        otlp_span(&request, &(struct otlp_span){.trace_id = 1, .span_id = 1});
        otlp_end(&request, scope_spans);
    }
    otlp_end(&request, resource_spans);
    batch = otlp_batch(&pool, &request);
    struct ut_body *body = batch->first;
    struct ut_range *ranges;
    ut_slice keys[] = {UT_SLICE("container.id"), UT_SLICE("k8s.pod.uid")};
    int count = ut_resource_ranges(body, &body->resources[0], keys, 2, &ranges);
    cr_assert_eq(count, 4);
    for (int i = 1; i < count; i++)
        cr_expect_geq(ranges[i].offset, ranges[i - 1].offset + ranges[i - 1].size);
    cr_assert_eq(ut_resource_ranges(body, &body->resources[0], NULL, 0, &ranges), 2);
}
