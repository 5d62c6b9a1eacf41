/* SPDX-License-Identifier: Apache-2.0 */
/* The log line for senders of other signals than traces. Called for each such request, by otlp.c.
 */
#include <stdio.h>
#include <xxhash.h>

#include "receiver.h"

enum { WORKLOAD_TEXT = 256 };

static bool is_told(const struct ut_otlp_signals *signals, uint64_t sender, unsigned signal)
{
    uint64_t known = signals->count < UT_OTLP_SIGNALS_TOLD ? signals->count : UT_OTLP_SIGNALS_TOLD;
    for (uint64_t i = 0; i < known; i++) {
        if (signals->told[i].signal == signal && signals->told[i].sender == sender)
            return true;
    }
    return false;
}

static void note(struct ut_otlp_signals *signals, uint64_t sender, unsigned signal)
{
    uint64_t at = signals->count++ % UT_OTLP_SIGNALS_TOLD;
    signals->told[at].sender = sender;
    signals->told[at].signal = signal;
}

/* The workload's path, or "" where it is not known; the sender's fingerprint. */
static uint64_t identify(const struct ut_otlp_connection *connection, char out[WORKLOAD_TEXT])
{
    struct ut_sender_names *names = connection->receiver->build.sender_names;
    out[0] = '\0';
    if (names != NULL && names->find(names, &connection->sender, out, WORKLOAD_TEXT))
        return XXH3_64bits(out, strlen(out));
    struct ut_address key = ut_otlp_peer_key(connection);
    return XXH3_64bits(key.bytes, sizeof(key.bytes));
}

void ut_otlp_signal_refused(struct ut_otlp_connection *connection, enum ut_transport transport,
                            enum ut_refusal why, const char *text)
{
    char workload[WORKLOAD_TEXT], shown[WORKLOAD_TEXT + 16], peer[UT_OTLP_PEER_TEXT];
    struct ut_otlp_receiver *receiver = connection->receiver;
    unsigned bit = 1u << why;
    if (connection->told & bit)
        return;
    uint64_t sender = identify(connection, workload);
    /* A line that was too much is written when it asks again. */
    if (!is_told(&receiver->signals, sender, why)) {
        if (!ut_log(receiver->worker->log, UT_LOG_WARN, "signal_refused",
                    "receiver=%s transport=%s reason=\"%s\" workload=%s %s", receiver->id,
                    ut_otlp_transport_name(transport), text,
                    workload[0] != '\0' ? ut_log_quote(shown, sizeof(shown), workload) : "unknown",
                    ut_otlp_peer_text(peer, connection)))
            return;
        note(&receiver->signals, sender, why);
    }
    connection->told |= bit;
}
