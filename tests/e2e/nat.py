# SPDX-License-Identifier: Apache-2.0
"""Through DNAT and SNAT, as a Kubernetes service address: the client sees the service's address,
the server a translated source, and the evidence still lands on both spans of the connection.

    nat.py 4|6
"""
import sys

from harness.bed import COLLECTOR, Bed
from harness.check import case, equal
from harness.traffic import Client, Server

FAMILY = int(sys.argv[1])
SERVICE, LEFT, RIGHT, PROTOCOL, BITS = {
    4: ("10.96.0.10", "10.79.1.{}", "10.79.2.{}", "ip", 24),
    6: ("fd96::10", "fd79:1::{}", "fd79:2::{}", "ip6", 64),
}[FAMILY]
CALLS = 8


def translate(router):
    """The service address becomes the server's, the client's the router's with another port."""
    server = RIGHT.format(2) if FAMILY == 4 else f"[{RIGHT.format(2)}]"
    source = RIGHT.format(1) if FAMILY == 4 else f"[{RIGHT.format(1)}]"
    router.nft(f"""
        table {PROTOCOL} ute2e_nat {{
            chain in {{
                type nat hook prerouting priority -100;
                {PROTOCOL} daddr {SERVICE} tcp dport 80 dnat to {server}:9000
            }}
            chain out {{
                type nat hook postrouting priority 100;
                {PROTOCOL} daddr {RIGHT.format(2)} tcp dport 9000 snat to {source}:50000-50999
            }}
        }}""")
    router.sysctl("net.ipv4.ip_forward", 1)
    router.sysctl("net.ipv6.conf.all.forwarding", 1)


@case
def test(lab, folder):
    bed = Bed(lab, folder)
    # Spans go over the bridge, the calls over a router that translates both ends.
    client_node, server_node = bed.node("client", 10), bed.node("server", 20)
    router = lab.node("router")
    lab.link(client_node, router, "left", [f"{LEFT.format(2)}/{BITS}"],
             [f"{LEFT.format(1)}/{BITS}"])
    lab.link(router, server_node, "right", [f"{RIGHT.format(1)}/{BITS}"],
             [f"{RIGHT.format(2)}/{BITS}"])
    client_node.ip("route", "add", SERVICE, "via", LEFT.format(1))
    translate(router)
    for node in (client_node, server_node):
        node.acknowledge_at_once()

    server = Server(server_node, "server", RIGHT.format(2), 9000, COLLECTOR, folder)
    client = Client(client_node, "client", COLLECTOR, folder)
    url = server.url(address=SERVICE, port=80)
    client.call(url)
    rules = {"request": server_node.drop("requests", "tcp dport 9000 meta length > 100 "
                                         "numgen inc mod 3 == 0")}
    lost = 0
    for what in ("request", "answer"):
        if what == "answer":
            rules["request"].remove()
            rules["answer"] = client_node.drop("answers", "tcp sport 80 meta length > 100 "
                                               "numgen inc mod 3 == 0")
        loser, calls = client_node if what == "request" else server_node, []
        for _ in range(CALLS):
            before = loser.retransmitted()
            calls.append((client.call(url), loser.retransmitted() - before))
        for call, counted in calls:
            lost += counted > 0
            for span in bed.pair(call):
                side = "local" if (what == "request") == (span.kind == "CLIENT") else "peer"
                events = [event for event in span.kernel_events()
                          if event.attributes["undertrace.side"] == side]
                equal(len(events), counted, f"{what}: events of side {side} on {span}")
                if counted:
                    equal(span.evidence["tcp.match"], "connection", f"{what}: match of {span}")
    equal(lost, CALLS, "calls that lost a segment")
    bed.undertrace.stop()
