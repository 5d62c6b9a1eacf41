# SPDX-License-Identifier: Apache-2.0
"""Exact matches: of many requests on a pool of connections, all at once, each span has the segments
of its own request and of no other, although spans name only a server that all of them share. A
second workload that runs the same code at the same time has none.
"""
import re

from harness.bed import COLLECTOR, Bed, address
from harness.check import case, equal, expect
from harness.traffic import Client, Server

POOL = 8
ROUNDS = 6
SETTINGS = "    trace_context: {enabled: true}\n"


def metric(bed, name):
    return sum(value for key, value in bed.undertrace.metrics().items() if key.startswith(name))


def segments(spans, match):
    """Sent again by the client as its spans and those of the server have them, with that match."""
    return sum(event.attributes["undertrace.tcp.segments"]
               for span in spans for event in span.kernel_events()
               if event.attributes["undertrace.match"] == match)


def check_pair(bed, call):
    """What a call has lost is on both its spans, as its own; whether it has lost anything, the
    kernel's count of them all says."""
    client, server = bed.pair(call)
    for span, side in ((client, "local"), (server, "peer")):
        equal(bool(span.evidence), bool(client.evidence), f"evidence on both, or on none: {span}")
        if not span.evidence:
            continue
        equal(span.evidence.get("tcp.match"), "exact", f"match of {span}")
        equal(span.evidence.get("tcp.side"), side, f"side of {span}")
        expect("shared_by" not in span.evidence, f"nobody shares it: {span}")
        for event in span.kernel_events():
            bytes_, size = (event.attributes[f"undertrace.tcp.{key}"] for key in ("bytes",
                                                                                  "segments"))
            expect(bytes_ > 0 and size == 1, f"{event}")
    return client, server


@case
def test(lab, folder):
    bed = Bed(lab, folder, ebpf=SETTINGS)
    nodes = {name: bed.node(name, number)
             for name, number in (("lossy", 10), ("twin", 11), ("server", 20))}
    # A tail-loss probe of a request would tell of two segments where one was lost.
    for name in ("lossy", "server"):  # and one of an answer, of one where none was
        nodes[name].sysctl("net.ipv4.tcp_early_retrans", 0)
    server = Server(nodes["server"], "server", address(20), 8000, COLLECTOR, folder)
    lossy = Client(nodes["lossy"], "lossy", COLLECTOR, folder)
    twin = Client(nodes["twin"], "twin", COLLECTOR, folder)
    for client in (lossy, twin):
        # Whose spans have come is whose packets are read: connections made from then on.
        bed.pair(client.call(server.url(), connection="first"))
    calls = [{"url": server.url(), "connection": f"pool {index}"} for index in range(POOL)]
    before = nodes["lossy"].retransmitted()
    rule = nodes["server"].drop("requests", f"ip saddr {address(10)} tcp dport 8000 "
                                "meta length > 100 numgen inc mod 3 == 0")
    spans = [], []
    for _ in range(ROUNDS):
        lossy.send(calls)
        twin.send(calls)
        for call in lossy.receive():
            for mine, span in zip(spans, check_pair(bed, call)):
                mine.append(span)
        for call in twin.receive():
            for span in check_pair(bed, call):
                equal(span.evidence, {}, f"a call that lost nothing: {span}")
    rule.remove()
    sent_again = nodes["lossy"].retransmitted() - before
    expect(sent_again >= ROUNDS * POOL // 4, f"segments sent again: {sent_again}")
    for mine in spans:
        equal(segments(mine, "exact"), sent_again, "segments on the spans, of those sent again")
    found = bed.jaeger.search("lossy", **{"undertrace.tcp.match": "exact",
                                          "undertrace.tcp.side": "local"})
    equal(found, {span.trace_id for span in spans[0] if span.evidence}, "traces found by their tag")
    for span in spans[0]:
        expect(all("undertrace.tcp.sk_wmem_alloc" in event.attributes and
                   "undertrace.tcp.seq" in event.attributes for event in span.kernel_events()),
               f"the kernel's figures on {span}")
        expect(span.resource.get("undertrace.cgroup.path", "").endswith("/lossy"),
               f"the cgroup of {span}: {span.resource}")
    for reason in ("gap", "malformed", "unreadable"):
        equal(metric(bed, f'undertrace_trace_context_lost_total{{reason="{reason}"'), 0, reason)
    doctor = bed.undertrace.command("doctor", "--admin", bed.undertrace.admin).stdout
    told = r"trace context +followed \d+, requests \d+(, answers \d+)?\n"
    expect(re.search(told, doctor), doctor)
    expect(re.search(r"spans joined .*exact \d+", doctor), doctor)
    expect(re.search(r"kernel records +[1-9]\d* read, 0 of them malformed; not recorded: \d+ for ",
                     doctor), doctor)
    bed.undertrace.stop()
