/* SPDX-License-Identifier: Apache-2.0 */
/* A workload that talks to many ports at once: each span finds the events of its own. */
#include "join_rows.h"

enum { PORTS = 60, FIRST_PORT = 9000, SHARES_ITS_BUCKET = 256 };

TestSuite(join_ports, .init = begin, .fini = end);

static struct lab_pair to_port(uint16_t port)
{
    struct lab_pair pair = lab_pair_of(&lab, PAYMENT, CLIENT_ADDRESS, (uint16_t)(port + 20000),
                                       LEDGER, SERVER_ADDRESS, port);
    lab_open(&lab, &pair, -1000);
    return pair;
}

/* One event of each port, each a millisecond after the one before, two of them of two more ports
 * that the index does not tell apart. */
static void lose_on_all_ports(void)
{
    for (int i = 0; i < PORTS; i++) {
        struct lab_pair pair = to_port((uint16_t)(FIRST_PORT + i));
        lab_timeout(&lab, &pair.client, 205 + i);
    }
    struct lab_pair pair = to_port(FIRST_PORT + SHARES_ITS_BUCKET);
    lab_timeout(&lab, &pair.client, 300);
    lab_timeout(&lab, &pair.client, 310);
}

#define TO(number)                                                                                 \
    (const struct otlp_attribute[])                                                                \
    {                                                                                              \
        {"network.peer.address", SERVER_ADDRESS, 0}, {"network.peer.port", NULL, number},          \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

Test(join_ports, each_span_gets_the_events_of_the_port_that_it_names)
{
    lose_on_all_ports();
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 400, TO(FIRST_PORT)),
             lab_span(KIND_CLIENT, 2, 0, 400, TO(FIRST_PORT + PORTS - 1)),
             lab_span(KIND_CLIENT, 3, 0, 400, TO(FIRST_PORT + SHARES_ITS_BUCKET)));
    expect(0, "connection", "local", 1);
    expect(1, "connection", "local", 1);
    expect(2, "connection", "local", 2);
    cr_expect_eq(lab_event_int(&lab, 0, 0, UT_ATTR_PEER_PORT), FIRST_PORT);
    cr_expect_eq(lab_event_int(&lab, 1, 0, UT_ATTR_PEER_PORT), FIRST_PORT + PORTS - 1);
    cr_expect_eq(lab_figures(&lab).contradicted, 0);
}

Test(join_ports, only_those_in_the_spans_time)
{
    lab.now_ms = 3000;
    lose_on_all_ports();
    struct lab_pair again = to_port(FIRST_PORT + PORTS);
    lab_timeout(&lab, &again.client, 205);
    lab_timeout(&lab, &again.client, 1000);
    lab_timeout(&lab, &again.client, 1900);
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 700, 1100, TO(FIRST_PORT + PORTS)),
             lab_span(KIND_CLIENT, 2, 0, 212, TO(FIRST_PORT + PORTS)));
    expect(0, "connection", "local", 1);
    expect(1, "connection", "local", 1);
}

Test(join_ports, span_to_a_port_without_events_is_contradicted_once_and_told)
{
    lose_on_all_ports();
    LAB_JOIN(&lab, payment, lab_span(KIND_CLIENT, 1, 0, 400, TO(80)),
             lab_span(KIND_CLIENT, 2, 0, 400, TO(81)));
    cr_expect(lab_gained_nothing(&lab, 0) && lab_gained_nothing(&lab, 1));
    cr_expect_eq(lab_figures(&lab).contradicted, 2);
    cr_expect_eq(lab_figures(&lab).unmatched.spans, 2);
}

Test(join_ports, root_that_names_no_socket_counts_the_events_of_all_ports)
{
    lose_on_all_ports();
    struct otlp_span root = lab_span(KIND_INTERNAL, 1, 0, 400, NULL), inner = root;
    root.parent_id = 0;
    inner.span_id = 2;
    LAB_JOIN(&lab, payment, root, inner);
    expect(0, "workload", "local", PORTS + 2);
    cr_expect(lab_gained_nothing(&lab, 1));
}

/* The other side: what tells connections apart at an accepted end is the client's port. */
Test(join_ports, server_spans_find_the_connection_of_the_port_that_they_name)
{
    lose_on_all_ports();
    static const struct otlp_attribute from[] = {{"network.peer.address", CLIENT_ADDRESS, 0},
                                                 {"network.peer.port", NULL, FIRST_PORT + 20007},
                                                 {0}};
    LAB_JOIN(&lab, ledger, lab_span(KIND_SERVER, 1, 213, 220, from));
    expect(0, "connection", "peer", 1);
}
