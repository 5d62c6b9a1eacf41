# SPDX-License-Identifier: Apache-2.0
"""Spans that come long after their events: an SDK that holds them for its default five seconds
loses no evidence; a span that began before the program watched gets what is known and says that
this is not all."""
import time

from harness.bed import COLLECTOR, Bed, address
from harness.check import case, equal, expect
from harness.traffic import Client, Server

DELAY_MS = 5000
CALLS = 4


@case
def test(lab, folder):
    bed = Bed(lab, folder)
    client_node, server_node = bed.node("client", 10), bed.node("server", 20)
    server = Server(server_node, "server", address(20), 8000, COLLECTOR, folder, DELAY_MS)
    client = Client(client_node, "client", COLLECTOR, folder, DELAY_MS)
    client.call(server.url())
    rule = server_node.drop("requests", "tcp dport 8000 meta length > 100 numgen inc mod 2 == 0")
    start = time.monotonic()
    calls = []
    for _ in range(CALLS):
        before = client_node.retransmitted()
        call = client.call(server.url())
        calls.append((call, client_node.retransmitted() - before))
    for call, counted in calls:
        equal(counted, 1, "segments sent again under a call")
        for span, side in zip(bed.pair(call), ("local", "peer")):
            events = [event for event in span.kernel_events()
                      if event.attributes["undertrace.side"] == side]
            equal(len(events), counted, f"events of side {side} on {span}")
            equal(span.evidence["tcp.match"], "connection", f"match of {span}")
            # What was open when the programs were attached may be known in part only; not this.
            expect("partial" not in span.evidence, f"{span} is complete")
    expect(time.monotonic() - start > DELAY_MS / 1000 * 0.7, "the spans came late")

    call = client.call(server.url(), named=True, connection="old", age=3600)
    of_client, _ = bed.pair(call)
    expect(of_client.segments() >= 1, f"evidence on {of_client}")
    equal(of_client.evidence.get("partial"), True, f"partial of {of_client}")
    bed.undertrace.stop()
