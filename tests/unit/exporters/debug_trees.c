/* SPDX-License-Identifier: Apache-2.0 */
/* What the debug exporter prints. */
#include "debug_lab.h"

static struct lab lab;

static void close_lab(void)
{
    lab_close(&lab);
}

TestSuite(debug_trees, .fini = close_lab);

enum { INTERNAL = 1, SERVER, CLIENT };

/* order → payment → ledger. Rows: 0 order, 1 order's client, 2 payment, 3 its client, 4 ledger. */
static struct ut_batch *orders(void)
{
    struct otlp_bytes request = {0};
    const struct otlp_span order[] = {
        {1, 10, 0, "POST /order", SERVER, T0, T0 + 231 * MS, 0, NULL, NULL, 0},
        {1, 11, 10, "POST", CLIENT, T0 + 10 * MS, T0 + 225 * MS, 0, NULL, NULL, 0},
    };
    const struct otlp_span payment[] = {
        {1, 12, 11, "POST /payment", SERVER, T0 + 11 * MS, T0 + 224 * MS, 0, NULL, NULL, 0},
        {1, 13, 12, "POST", CLIENT, T0 + 12 * MS, T0 + 224 * MS, 0, NULL, NULL, 0},
    };
    const struct otlp_span ledger[] = {
        {1, 14, 13, "POST /ledger", SERVER, T0 + 13 * MS, T0 + 14940000, 0, NULL, NULL, 0},
    };
    lab_resource(&request, "order", order, 2);
    lab_resource(&request, "payment", payment, 2);
    lab_resource(&request, "ledger", ledger, 1);
    return lab_batch(&lab, &request);
}

/* The ledger's answer was sent again, as the client's span sees it, and as the server's. */
static const struct lab_evidence seen_by_client = {
    .match = "connection",
    .side = "peer",
    .type = "timeout",
    .local = "10.77.0.11",
    .local_port = 40112,
    .peer = "10.77.0.12",
    .peer_port = 8003,
    .seq = 777,
    .bytes = 800,
    .waited_ns = 204 * 1000000,
    .time_ns = T0 + 218 * MS,
};
static const struct lab_evidence seen_by_server = {
    .match = "connection",
    .side = "local",
    .type = "timeout",
    .local = "10.77.0.12",
    .local_port = 8003,
    .peer = "10.77.0.11",
    .peer_port = 40112,
    .seq = 777,
    .bytes = 800,
    .waited_ns = 204 * 1000000,
    .time_ns = T0 + 218 * MS,
};

static const char *print(struct ut_batch *batch)
{
    lab_send(&lab, batch);
    virtual_worker_advance(&lab.worker, 2000);
    return lab_read(&lab);
}

Test(debug_trees, a_slow_order_ends_on_the_line_that_explains_it)
{
    lab_open(&lab, DEBUG_NORMAL);
    struct ut_batch *batch = orders();
    lab_enrich(batch, 3, &seen_by_client, 1);
    lab_enrich(batch, 4, &seen_by_server, 1);
    cr_assert_str_eq(
        print(batch),
        "trace 00000000000000000000000000000001   231 ms   5 spans   order, payment, ledger\n"
        "  231 ms  order    POST /order\n"
        "  215 ms  order    └─ POST\n"
        "  213 ms  payment     └─ POST /payment\n"
        "  212 ms  payment        └─ POST\n"
        " 1.94 ms  ledger            └─ POST /ledger\n"
        "          POST /ledger 212 ms ← ledger 10.77.0.12:8003 retransmitted 800 B, waited ≥ 204 "
        "ms (timeout), connection\n"
        "\n");
}

Test(debug_trees, what_this_end_sent_again_is_named_with_its_own_service)
{
    lab_open(&lab, DEBUG_NORMAL);
    struct ut_batch *batch = orders();
    struct lab_evidence again[3];
    for (int i = 0; i < 3; i++) {
        again[i] = seen_by_client;
        again[i].side = "local";
        again[i].seq = 100 + i;
        again[i].waited_ns = (204 + i) * 1000000;
    }
    lab_enrich(batch, 3, again, 3);
    const char *text = print(batch);
    cr_assert_not_null(
        strstr(text, " 212 ms ← payment 10.77.0.11:40112 retransmitted 2.34 KiB in 3 segments, "
                     "waited ≥ 206 ms (timeout), connection\n"),
        "%s", text);
    cr_assert_eq(count_of(text, "←"), 1);
}

Test(debug_trees, the_peers_retransmission_comes_first_and_a_probe_beside_it_is_no_news)
{
    lab_open(&lab, DEBUG_NORMAL);
    struct ut_batch *batch = orders();
    struct lab_evidence all[] = {seen_by_client, seen_by_client, seen_by_client};
    all[0].type = "tail_loss_probe";
    all[0].side = "local";
    all[0].seq = 1;
    all[1].side = "local";
    all[1].seq = 2;
    lab_enrich(batch, 3, all, 3);
    const char *text = print(batch);
    cr_assert_eq(count_of(text, "←"), 2, "%s", text);
    cr_assert_lt(strstr(text, "← ledger"), strstr(text, "← payment"));
    cr_assert_null(strstr(text, "probe"));
}

Test(debug_trees, a_probe_alone_is_told_as_a_probe)
{
    lab_open(&lab, DEBUG_NORMAL);
    struct ut_batch *batch = orders();
    struct lab_evidence probe = seen_by_client;
    probe.type = "tail_loss_probe";
    probe.side = "local";
    probe.waited_ns = 0;
    lab_enrich(batch, 3, &probe, 1);
    const char *text = print(batch);
    cr_assert_not_null(
        strstr(text, "← payment 10.77.0.11:40112 sent a tail loss probe of 800 B, connection\n"),
        "%s", text);
}

Test(debug_trees, events_that_found_no_room_are_counted)
{
    lab_open(&lab, DEBUG_NORMAL);
    struct ut_batch *batch = orders();
    struct lab_evidence all[] = {seen_by_client, {.omitted = 25, .time_ns = T0 + 220 * MS}};
    lab_enrich(batch, 3, all, 2);
    const char *text = print(batch);
    cr_assert_eq(count_of(text, "←"), 2, "%s", text);
    cr_assert_not_null(strstr(text, ", connection\n          POST /ledger 212 ms ← and 25 more\n"),
                       "%s", text);
}

Test(debug_trees, a_syn_has_no_bytes_and_an_unknown_server_only_an_address)
{
    lab_open(&lab, DEBUG_NORMAL);
    struct otlp_bytes request = {0};
    const struct otlp_span spans[] = {
        {1, 10, 0, "GET", CLIENT, T0, T0 + 1100 * MS, 2, NULL, NULL, 0}};
    lab_resource(&request, "shop", spans, 1);
    struct ut_batch *batch = lab_batch(&lab, &request);
    struct lab_evidence syn_ack = seen_by_client;
    syn_ack.type = "syn_ack";
    syn_ack.bytes = 0;
    syn_ack.peer = "2001:db8::7";
    syn_ack.waited_ns = 1000 * 1000000;
    lab_enrich(batch, 0, &syn_ack, 1);
    cr_assert_str_eq(
        print(batch),
        "trace 00000000000000000000000000000001   1.10 s   1 span   shop\n"
        "  1.10 s  shop  GET  error\n"
        "          GET 1.10 s ← [2001:db8::7]:8003 retransmitted its SYN-ACK, waited ≥ "
        "1.00 s (syn_ack), connection\n\n");
}

Test(debug_trees, numbers_without_events_are_told_as_numbers)
{
    lab_open(&lab, DEBUG_NORMAL);
    struct otlp_bytes request = {0};
    const struct otlp_attribute counts[] = {{UT_ATTR_TCP_MATCH, "workload", 0},
                                            {UT_ATTR_TCP_RETRANSMITS, NULL, 3},
                                            {UT_ATTR_TCP_RETRANSMIT_BYTES, NULL, 2400},
                                            {UT_ATTR_TCP_TIMEOUTS, NULL, 1},
                                            {UT_ATTR_SHARED_BY, NULL, 4},
                                            {0}};
    const struct otlp_span spans[] = {
        {1, 10, 0, "GET /", SERVER, T0, T0 + 300 * MS, 0, counts, NULL, 0}};
    lab_resource(&request, "shop", spans, 1);
    const char *text = print(lab_batch(&lab, &request));
    cr_assert_not_null(strstr(text, "GET / 300 ms ← its workload retransmitted 2.34 KiB in 3 "
                                    "segments, 1 timeout, workload, shared by 4\n"),
                       "%s", text);
}

Test(debug_trees, what_happened_without_a_retransmit_is_one_line)
{
    lab_open(&lab, DEBUG_NORMAL);
    struct otlp_bytes request = {0};
    const struct otlp_attribute counts[] = {{UT_ATTR_TCP_MATCH, "connection", 0},
                                            {UT_ATTR_TCP_SIDE, "local", 0},
                                            {UT_ATTR_TCP_RESETS, NULL, 2},
                                            {UT_ATTR_TCP_CONNECT_NS, NULL, 150 * MS},
                                            {UT_ATTR_TCP_ZERO_WINDOW_NS, NULL, 120 * MS},
                                            {UT_ATTR_TCP_RECEIVE_DROPS, NULL, 1},
                                            {0}};
    const struct otlp_span spans[] = {
        {1, 10, 0, "GET /", SERVER, T0, T0 + 300 * MS, 0, counts, NULL, 0}};
    lab_resource(&request, "shop", spans, 1);
    const char *text = print(lab_batch(&lab, &request));
    cr_assert_not_null(strstr(text, "GET / 300 ms ← this end 2 resets, took 150 ms to connect, "
                                    "waited 120 ms for a shut window, 1 dropped segment, "
                                    "connection\n"),
                       "%s", text);
}

Test(debug_trees, what_an_edit_removes_is_not_shown)
{
    lab_open(&lab, DEBUG_DETAILED);
    struct otlp_bytes request = {0};
    const struct otlp_attribute attributes[] = {
        {"before", "a", 0}, {UT_ATTR_TCP_MATCH, "forged", 0}, {"behind", "b", 0}, {0}};
    const struct otlp_span spans[] = {
        {1, 10, 0, "GET /", SERVER, T0, T0 + MS, 0, attributes, NULL, 0}};
    lab_resource(&request, "shop", spans, 1);
    struct ut_batch *batch = lab_batch(&lab, &request);
    struct ut_body *body = batch->first;
    const uint8_t *key = memmem(body->segment->data, body->segment->size, UT_ATTR_TCP_MATCH,
                                strlen(UT_ATTR_TCP_MATCH));
    cr_assert_not_null(key);
    /* Attribute = tag, length, then the key's tag and length, then the key. */
    struct ut_range range = {(uint32_t)(key - body->segment->data) - 4, 0};
    range.size = 2U + body->segment->data[range.offset + 1];
    struct ut_edit edit = {.removed = &range, .removed_count = 1};
    cr_assert_eq(ut_body_set_edit(body, 0, &edit), 0);
    const char *text = print(batch);
    cr_assert_null(strstr(text, "forged"), "%s", text);
    cr_assert_null(strstr(text, "←"));
    cr_assert_not_null(strstr(text, "before = a\n"));
    cr_assert_not_null(strstr(text, "behind = b\n"));
}

Test(debug_trees, detailed_shows_attributes_and_events)
{
    lab_open(&lab, DEBUG_DETAILED);
    struct otlp_bytes request = {0}, more = {0};
    const struct otlp_attribute attributes[] = {
        {"http.method", "GET", 0}, {"http.status_code", NULL, 200}, {"n", NULL, -1}, {0}};
    const struct otlp_attribute of_event[] = {{"exception.message", "no\nroute", 0}, {0}};
    otlp_event(&more, "exception", T0 + MS, of_event);
    size_t list = otlp_begin_attribute(&more, 9, "list");
    size_t any = otlp_begin(&more, 2), array = otlp_begin(&more, 5);
    for (int i = 0; i < 2; i++) {
        size_t item = otlp_begin(&more, 1);
        otlp_uint(&more, i == 0 ? 2 : 3, 1);
        otlp_end(&more, item);
    }
    otlp_end(&more, array);
    otlp_end(&more, any);
    otlp_end(&more, list);
    const struct otlp_span spans[] = {
        {1, 10, 0, "GET /", SERVER, T0, T0 + 3 * MS, 0, attributes, more.data, more.size}};
    lab_resource(&request, "shop", spans, 1);
    const char *text = print(lab_batch(&lab, &request));
    otlp_free(&more);
    cr_assert_str_eq(text, "trace 00000000000000000000000000000001   3.00 ms   1 span   shop\n"
                           " 3.00 ms  shop  GET /\n"
                           "                   http.method = GET\n"
                           "                   http.status_code = 200\n"
                           "                   n = -1\n"
                           "                   list = [true, 1]\n"
                           "                   * exception\n"
                           "                     exception.message = no\\nroute\n"
                           "\n");
}

Test(debug_trees, basic_is_a_line_per_batch)
{
    lab_open(&lab, DEBUG_BASIC);
    struct ut_batch *batch = orders();
    lab_enrich(batch, 3, &seen_by_client, 1);
    lab_send(&lab, batch);
    const char *text = lab_read(&lab);
    cr_assert_eq(strncmp(text, "5 spans in 1 request, ", 22), 0, "%s", text);
    cr_assert_not_null(strstr(text, " B, 1 with evidence of the kernel\n"), "%s", text);
    virtual_worker_advance(&lab.worker, 5000);
    cr_assert_str_empty(lab_read(&lab));
}

Test(debug_trees, only_the_spans_of_the_item_are_taken)
{
    lab_open(&lab, DEBUG_NORMAL);
    struct ut_batch *batch = orders();
    batch->first->spans[1].flags |= UT_SPAN_LEFT_OUT;
    batch->first->left_out = 1;
    ut_batch_measure(batch);
    lab_send_part(&lab, batch, 1, 2); /* of the 4 that are not left out: payment and its client */
    ut_batch_unref(batch);
    virtual_worker_advance(&lab.worker, 2000);
    cr_assert_str_eq(
        lab_read(&lab),
        "trace 00000000000000000000000000000001   213 ms   2 spans   payment\n"
        "  213 ms  payment  POST /payment  (its parent 000000000000000b has not come)\n"
        "  212 ms  payment  └─ POST\n\n");
}

/* ---- shapes of trees --------------------------------------------------------------------------
 */

/* Spans with these ids and parents, each 1 ms after the one before. */
static const char *print_shape(const uint64_t (*ids)[2], size_t count)
{
    struct otlp_bytes request = {0};
    struct otlp_span *spans = calloc(count, sizeof(*spans));
    char(*names)[24] = calloc(count, sizeof(*names));
    cr_assert(spans != NULL && names != NULL);
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "<%llu>", (unsigned long long)ids[i][0]);
        spans[i] = (struct otlp_span){
            .trace_id = 1,
            .span_id = ids[i][0],
            .parent_id = ids[i][1],
            .name = names[i],
            .start_ns = T0 + i * MS,
            .end_ns = T0 + (i + 1) * MS,
        };
    }
    lab_resource(&request, "s", spans, count);
    free(spans);
    free(names);
    return print(lab_batch(&lab, &request));
}
#define PRINT_SHAPE(...)                                                                           \
    print_shape((const uint64_t[][2]){__VA_ARGS__},                                                \
                sizeof((const uint64_t[][2]){__VA_ARGS__}) / sizeof(uint64_t[2]))

Test(debug_trees, children_come_by_start_time_under_their_parent)
{
    lab_open(&lab, DEBUG_NORMAL);
    cr_assert_str_eq(PRINT_SHAPE({4, 2}, {3, 1}, {1, 0}, {5, 2}, {2, 1}, {6, 0}),
                     "trace 00000000000000000000000000000001   6.00 ms   6 spans   s\n"
                     " 1.00 ms  s  <1>\n"
                     " 1.00 ms  s  ├─ <3>\n"
                     " 1.00 ms  s  └─ <2>\n"
                     " 1.00 ms  s     ├─ <4>\n"
                     " 1.00 ms  s     └─ <5>\n"
                     " 1.00 ms  s  <6>\n\n");
}

Test(debug_trees, circles_are_cut_once_and_said)
{
    lab_open(&lab, DEBUG_NORMAL);
    cr_assert_str_eq(PRINT_SHAPE({1, 3}, {2, 1}, {3, 2}, {4, 3}, {5, 5}),
                     "trace 00000000000000000000000000000001   5.00 ms   5 spans   s\n"
                     " 1.00 ms  s  <1>  (its parents form a circle)\n"
                     " 1.00 ms  s  └─ <2>\n"
                     " 1.00 ms  s     └─ <3>\n"
                     " 1.00 ms  s        └─ <4>\n"
                     " 1.00 ms  s  <5>  (its parents form a circle)\n\n");
}

Test(debug_trees, a_span_that_came_twice_is_printed_once)
{
    lab_open(&lab, DEBUG_NORMAL);
    struct ut_batch *batch = orders();
    lab_enrich(batch, 3, &seen_by_client, 1);
    lab_send_part(&lab, batch, 0, 5);
    lab_send(&lab, batch);
    virtual_worker_advance(&lab.worker, 2000);
    const char *text = lab_read(&lab);
    cr_assert_eq(count_of(text, "\n"), 8, "%s", text);
    cr_assert_eq(count_of(text, "5 spans"), 1);
}

Test(debug_trees, a_chain_of_ten_thousand_neither_recurses_nor_explodes)
{
    lab_open(&lab, DEBUG_NORMAL);
    static uint64_t ids[10000][2];
    for (uint64_t i = 0; i < 10000; i++) {
        ids[i][0] = i + 1;
        ids[i][1] = i;
    }
    const char *text = print_shape((const uint64_t(*)[2])ids, 10000);
    cr_assert_not_null(strstr(text, "   10000 spans   "));
    cr_assert_not_null(strstr(text, "… and 9000 more spans\n"));
    cr_assert_lt(lab.size, 200000);
}

Test(debug_trees, whatever_parents_say_every_span_is_printed_once)
{
    lab_open(&lab, DEBUG_NORMAL);
    uint64_t random = 7;
    for (int round = 0; round < 200; round++) {
        uint64_t ids[40][2];
        size_t count = 1 + (size_t)round % 40;
        for (size_t i = 0; i < count; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            ids[i][0] = i + 1;
            ids[i][1] = (random >> 33) % (count + 2);
        }
        const char *text = print_shape((const uint64_t(*)[2])ids, count);
        for (size_t i = 0; i < count; i++) {
            char name[24];
            (void)snprintf(name, sizeof(name), "<%zu>", i + 1);
            cr_assert_eq(count_of(text, name), 1, "%s in\n%s", name, text);
        }
    }
}

Test(debug_trees, nothing_foreign_reaches_the_terminal_as_a_command)
{
    lab_open(&lab, DEBUG_NORMAL);
    struct otlp_bytes request = {0};
    const struct otlp_span spans[] = {{1, 10, 0,
                                       "a\033[2J\x07\xc2\x9b z\xe2\x80\xae\xf0\x9f\x99\x82 ü\tx",
                                       INTERNAL, T0, T0 + MS, 0, NULL, NULL, 0}};
    lab_resource(&request, "evil\nservice", spans, 1);
    const char *text = print(lab_batch(&lab, &request));
    cr_assert_not_null(
        strstr(text, "a\\x1b[2J\\x07\\xc2\\x9b z\\xe2\\x80\\xae\xf0\x9f\x99\x82 ü\\tx\n"), "%s",
        text);
    cr_assert_not_null(strstr(text, "evil\\nservice"));
    cr_assert_null(strchr(text, '\033'));
}

/* Requests with a few bytes changed: what the walk still takes, the exporter reads without a check
 * of its own. A sanitizer sees a wrong step. */
Test(debug_trees, whatever_the_walk_lets_through_can_be_shown)
{
    lab_open(&lab, DEBUG_DETAILED);
    struct otlp_bytes request = {0}, more = {0};
    const struct otlp_attribute of_event[] = {
        {"undertrace.tcp.bytes", NULL, 800}, {"k", "v", 0}, {0}};
    otlp_event(&more, "tcp.retransmit", T0, of_event);
    size_t map = otlp_begin_attribute(&more, 9, "map");
    size_t any = otlp_begin(&more, 2), list = otlp_begin(&more, 6);
    otlp_text_attribute(&more, 1, "a", "b");
    otlp_end(&more, list);
    otlp_end(&more, any);
    otlp_end(&more, map);
    const struct otlp_attribute attributes[] = {{"http.method", "GET", 0},
                                                {UT_ATTR_TCP_MATCH, "peer", 0},
                                                {UT_ATTR_SHARED_BY, NULL, 4},
                                                {0}};
    const struct otlp_span spans[] = {
        {1, 10, 11, "GET /", SERVER, T0, T0 + MS, 2, attributes, more.data, more.size},
        {1, 11, 10, "GET", CLIENT, T0, T0 + MS, 0, attributes, more.data, more.size},
    };
    lab_resource(&request, "shop", spans, 2);
    uint8_t *copy = malloc(request.size);
    cr_assert_not_null(copy);
    uint64_t random = 5;
    unsigned shown = 0;
    for (int round = 0; round < 30000; round++) {
        memcpy(copy, request.data, request.size);
        for (int i = 0; i < 1 + round % 3; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            copy[(random >> 33) % request.size] = (uint8_t)(random >> 24);
        }
        struct ut_batch *batch = otlp_batch_of(&lab.worker.pool, copy, request.size, NULL, NULL);
        if (batch == NULL)
            continue;
        if (batch->spans > 0) {
            (void)print(batch);
            cr_assert_gt(lab.size, 0);
            cr_assert_null(strchr(lab.text, '\033'));
            shown++;
        } else {
            ut_batch_unref(batch);
        }
    }
    cr_assert_gt(shown, 3000);
    free(copy);
    otlp_free(&more);
    otlp_free(&request);
}
