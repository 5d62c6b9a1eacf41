/* SPDX-License-Identifier: Apache-2.0 */
/* The stage of the join's cases: `payment` calls `ledger`; `twin` runs the same code. */
#ifndef UT_TEST_EVIDENCE_JOIN_ROWS_H
#define UT_TEST_EVIDENCE_JOIN_ROWS_H

#include <criterion/criterion.h>

#include "lab.h"

enum { PAYMENT = 11, LEDGER = 12, TWIN = 13 };

static struct lab lab;
static uint64_t payment, ledger;

static inline void begin(void)
{
    lab_start(&lab);
    lab_cgroup(&lab, PAYMENT, "/undertrace-demo/payment");
    lab_cgroup(&lab, LEDGER, "/undertrace-demo/ledger");
    lab_cgroup(&lab, TWIN, "/undertrace-demo/twin");
    payment = lab_sender(&lab, PAYMENT);
    ledger = lab_sender(&lab, LEDGER);
}

static inline void end(void)
{
    lab_stop(&lab);
}

#define CLIENT_ADDRESS "10.77.0.11"
#define SERVER_ADDRESS "10.77.0.12"

static inline struct lab_pair one_connection(uint16_t client_port)
{
    struct lab_pair pair =
        lab_pair_of(&lab, PAYMENT, CLIENT_ADDRESS, client_port, LEDGER, SERVER_ADDRESS, 8003);
    lab_open(&lab, &pair, -1000);
    return pair;
}

static const struct otlp_attribute to_ledger[] = {
    {"network.peer.address", SERVER_ADDRESS, 0}, {"network.peer.port", NULL, 8003}, {0}};
static const struct otlp_attribute from_40000[] = {
    {"network.peer.address", CLIENT_ADDRESS, 0}, {"network.peer.port", NULL, 40000}, {0}};

static inline void expect(uint32_t span, const char *match, const char *side, int64_t retransmits)
{
    cr_expect_str_eq(lab_text(&lab, span, UT_ATTR_TCP_MATCH), match, "span %u: %s", span,
                     lab_text(&lab, span, UT_ATTR_TCP_MATCH));
    cr_expect_str_eq(lab_text(&lab, span, UT_ATTR_TCP_SIDE), side, "span %u: %s", span,
                     lab_text(&lab, span, UT_ATTR_TCP_SIDE));
    cr_expect_eq(lab_int(&lab, span, UT_ATTR_TCP_RETRANSMITS), retransmits);
}

/* A host name is unknown: only its port says something. */
static const struct otlp_attribute by_name[] = {
    {"server.address", "ledger.internal", 0}, {"server.port", NULL, 8003}, {0}};

#endif
