# SPDX-License-Identifier: Apache-2.0
"""Losses before a connection exists: a lost SYN is the client's alone; a lost SYN-ACK is on the
client's span, which waited, and on the first span that the server has on that connection."""
from harness.bed import COLLECTOR, Bed, address
from harness.check import case, equal, expect
from harness.traffic import Client, Server

CONNECTIONS = 2
EVERY_FIRST = "numgen inc mod 2 == 0"


def types(span):
    return [event.attributes["undertrace.tcp.type"] for event in span.kernel_events()]


def lose_syn(bed, client, server):
    rule = server.node.drop("syn", f"tcp dport 8000 tcp flags & (syn | ack) == syn {EVERY_FIRST}")
    for index in range(CONNECTIONS):
        call = client.call(server.url(), connection=f"syn {index}")
        of_client, of_server = bed.pair(call)
        equal(types(of_client), ["syn"], f"events on {of_client}")
        equal(of_client.evidence["tcp.side"], "local", f"side of {of_client}")
        equal(of_client.evidence["tcp.match"], "connection" if index == 0 else "peer",
              f"match of {of_client}")
        equal(of_server.evidence, {}, f"evidence on {of_server}")
        # The second call of that connection did not wait for its handshake.
        for span in bed.pair(client.call(server.url(), connection=f"syn {index}")):
            equal(span.evidence, {}, f"evidence on the second call: {span}")
    equal(rule.dropped(), CONNECTIONS, "SYNs dropped")
    rule.remove()


def lose_syn_ack(bed, client, server):
    rule = client.node.drop("synack", "tcp sport 8000 tcp flags & (syn | ack) == (syn | ack) "
                            f"{EVERY_FIRST}")
    for index in range(CONNECTIONS):
        before = server.node.retransmitted()
        call = client.call(server.url(), connection=f"syn-ack {index}")
        counted = server.node.retransmitted() - before
        of_client, of_server = bed.pair(call)
        # The client's own SYN timer may have been first: then the server answers its second SYN,
        # and has sent nothing again by itself.
        for span, side in ((of_client, "peer"), (of_server, "local")):
            if counted:
                equal(types(span)[0], "syn_ack", f"first event on {span}")
                equal(span.kernel_events()[0].attributes["undertrace.side"], side, f"of {span}")
        expect(counted or types(of_client) == ["syn"], f"nothing explains the wait: {of_client}")
        for span in bed.pair(client.call(server.url(), connection=f"syn-ack {index}")):
            equal(span.evidence, {}, f"evidence on the second call: {span}")
    expect(rule.dropped() >= CONNECTIONS, "SYN-ACKs dropped")
    rule.remove()


@case
def test(lab, folder):
    bed = Bed(lab, folder)
    server = Server(bed.node("server", 20), "server", address(20), 8000, COLLECTOR, folder)
    client = Client(bed.node("client", 10), "client", COLLECTOR, folder)
    lose_syn(bed, client, server)
    lose_syn_ack(bed, client, server)
    bed.undertrace.stop()
