# SPDX-License-Identifier: Apache-2.0
"""Losses before a connection exists: a lost SYN is the client's alone; a lost SYN-ACK is on the
client's span, which waited, and on the first span that the server has on that connection."""
from harness.bed import COLLECTOR, Bed, address
from harness.check import case, equal, expect
from harness.traffic import Client, Server

EVERY_FIRST = "numgen inc mod 2 == 0"


def types(span):
    return [event.attributes["undertrace.tcp.type"] for event in span.kernel_events()]


def second_call_is_clean(bed, client, server):
    """It did not wait for the handshake of its connection."""
    for span in bed.pair(client.call(server.url(), connection=server.name)):
        equal(span.evidence, {}, f"evidence on the second call: {span}")


def lose_syn(bed, client, server):
    rule = server.node.drop("syn", f"tcp dport {server.port} tcp flags & (syn | ack) == syn "
                            f"{EVERY_FIRST}")
    of_client, of_server = bed.pair(client.call(server.url(), connection=server.name))
    equal(types(of_client), ["syn"], f"events on {of_client}")
    equal(of_client.evidence["tcp.side"], "local", f"side of {of_client}")
    equal(of_client.evidence["tcp.match"], "connection", f"match of {of_client}")
    connect_ns = of_client.evidence["tcp.connect_ns"]
    expect(1e9 <= connect_ns <= of_client.end_ns - of_client.start_ns, f"connect of {of_client}")
    equal(of_server.evidence, {}, f"evidence on {of_server}")
    second_call_is_clean(bed, client, server)
    equal(rule.dropped(), 1, "SYNs dropped")
    rule.remove()


def lose_syn_ack(bed, client, server):
    rule = client.node.drop("synack", f"tcp sport {server.port} tcp flags & (syn | ack) == "
                            f"(syn | ack) {EVERY_FIRST}")
    before = server.node.retransmitted()
    of_client, of_server = bed.pair(client.call(server.url(), connection=server.name))
    # The client's own SYN timer may have been first: then the server answers its second SYN, and
    # has sent nothing again by itself.
    if server.node.retransmitted() > before:
        for span, side in ((of_client, "peer"), (of_server, "local")):
            equal(types(span)[:1], ["syn_ack"], f"first event on {span}")
            equal(span.kernel_events()[0].attributes["undertrace.side"], side, f"side on {span}")
    else:
        equal(types(of_client), ["syn"], f"what explains the wait on {of_client}")
    second_call_is_clean(bed, client, server)
    expect(rule.dropped() >= 1, "SYN-ACKs dropped")
    rule.remove()


def workload_is_counted(bed, client):
    """In the metrics, by the path of the cgroup that sent its SYN again."""
    counted = [(key, value) for key, value in bed.undertrace.metrics().items()
               if key.startswith("undertrace_workload_tcp_retransmits_total{")
               and key.endswith(f'{client.node.cgroup.name}",cause="syn"}}')]
    expect(len(counted) == 1 and counted[0][1] >= 1, f"SYNs of the client's workload: {counted}")


@case
def test(lab, folder):
    bed = Bed(lab, folder)
    client = Client(bed.node("client", 10), "client", COLLECTOR, folder)
    node = bed.node("server", 20)
    # A server each: a client's span names only the remote end, and with one connection to it that
    # is enough to be sure.
    lose_syn(bed, client, Server(node, "syn", address(20), 8000, COLLECTOR, folder))
    lose_syn_ack(bed, client, Server(node, "syn_ack", address(20), 8001, COLLECTOR, folder))
    workload_is_counted(bed, client)
    bed.undertrace.stop()
