# SPDX-License-Identifier: Apache-2.0
"""A lost request, on its client's span and on its server's, by what the kernels of both counted:
for machines that are too slow for a test in which the time of a call says whether it lost anything
(tests/kernel runs it in an emulator). With `exact` it is found by the ids in the bytes, with `tc`
by those that its network namespace's own interfaces saw."""
import re
import sys

from harness.bed import COLLECTOR, Bed, address
from harness.check import case, equal, expect
from harness.traffic import Client, Server

import netlab  # of tests/support, as harness.check knows

CALLS = 9
MODE = sys.argv[1] if len(sys.argv) > 1 else "connection"
EXACT = MODE in ("exact", "tc")
MATCH = "exact" if EXACT else "connection"
SETTINGS = {"connection": "", "exact": "    trace_context: {enabled: true}\n",
            "tc": "    trace_context: {enabled: true, attach: tc, "
                  "namespaces: [/run/netns/ute2e-client]}\n"}


def sent_again_to(node, port):
    """Segments, as the kernel counts them for each connection to that port; those of the one that
    the spans go over are no call's."""
    listing = netlab.command(*node.enter("ss", "-tinHO", f"dport = :{port}"))
    return sum(map(int, re.findall(r" retrans:\d+/(\d+)", listing)))


def check(span, segments, side):
    equal(span.segments(), segments, f"segments on {span}")
    equal(span.evidence.get("tcp.match"), MATCH, f"match of {span}")
    equal(span.evidence.get("tcp.side"), side, f"side of {span}")


@case
def test(lab, folder):
    node = lab.node("client")  # there before undertrace is, its link comes later
    bed = Bed(lab, folder, ebpf=SETTINGS[MODE])
    lab.attach(node, bed.bridge, f"{address(10)}/24")
    # No probes: on a slow machine they come although nothing was lost.
    node.sysctl("net.ipv4.tcp_early_retrans", 0)
    client = Client(node, "client", COLLECTOR, folder)
    server = Server(bed.node("server", 20), "server", address(20), 8000, COLLECTOR, folder)
    # Whose spans have come is whose packets are read, on connections made from then on. Without
    # ids a connection is told apart only if it is the only one.
    bed.pair(client.call(server.url(), connection="first" if EXACT else "one"))
    rule = server.node.drop("requests", "tcp dport 8000 meta length > 100 numgen inc mod 3 == 0")
    lost = 0
    for _ in range(CALLS):
        before = sent_again_to(node, 8000), server.node.retransmitted()
        spans = bed.pair(client.call(server.url(), connection="one"))
        sent_again = sent_again_to(node, 8000) - before[0]
        if server.node.retransmitted() != before[1]:
            continue  # so slow that the answer was sent again too: tests/e2e/sides.py has that
        lost += sent_again > 0
        for span, side in zip(spans, ("local", "peer")):
            if sent_again:
                check(span, sent_again, side)
            else:
                equal(span.evidence, {}, f"evidence on {span}")
    expect(lost > 0 and rule.dropped() >= lost, f"{lost} calls lost a segment")
    print(f"{lost} of {CALLS} calls lost a segment")
    bed.undertrace.stop()
