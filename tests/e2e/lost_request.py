# SPDX-License-Identifier: Apache-2.0
"""The whole chain, in Jaeger: a request from a container of a pod loses a segment on its way, and
the trace that a search by tags finds says on the client's span which bytes the kernel sent again,
what stood in the socket's queue then, and in which pod and container, under which runtime.

    lost_request.py cgroup | tc     how packets are read
"""
import os
import sys

from harness.bed import COLLECTOR, Bed, address
from harness.check import case, equal, expect, until
from harness.containers import Containerd, in_network, remove_v1_cgroups
from harness.program import CONFIG
from harness.traffic import Client, Server

ATTACH = sys.argv[1]
# runc knows containers of the whole machine by their names, those of a run that was killed too.
NAME, POD, UID = os.urandom(32).hex(), "order-7", "77777777-1111-2222-3333-444444444444"
CGROUP = f"kubepods/burstable/pod{UID}/{NAME}"
IDENTITY = "  identity: {{containerd: unix://{folder}/containerd/containerd.sock}}\n"


def settings(*nodes):
    paths = ", ".join(f"/run/netns/{node.namespace}" for node in nodes)
    more = f", namespaces: [{paths}]" if ATTACH == "tc" else ""
    return f"    trace_context: {{enabled: true, attach: {ATTACH}{more}}}\n"


def check_resource(span, version):
    wanted = {"container.id": NAME, "k8s.pod.uid": UID, "k8s.pod.name": POD,
              "k8s.namespace.name": "shops", "container.runtime.name": "containerd",
              "container.runtime.version": version}
    equal({key: span.resource.get(key) for key in wanted}, wanted, f"who sent {span}")
    path = span.resource.get("undertrace.cgroup.path", "")
    expect(path.endswith("/" + CGROUP), f"cgroup path of {span}: {path}")


def play(bed, client, nodes, version):
    server = Server(nodes["server"], "server", address(20), 8000, COLLECTOR, bed.folder)
    # Names do not make spans wait; and whose spans have come is whose packets are read.
    until(lambda: "k8s.pod.name" in bed.pair(client.call(server.url()))[0].resource, 30,
          "the container is known")
    rule = nodes["server"].drop("first", "tcp dport 8000 meta length > 100 "
                                "numgen inc mod 1000 == 0")
    call = client.call(server.url(), connection="lossy")
    equal(rule.dropped(), 1, "segments dropped")
    span, other = bed.pair(call)
    expect(span.evidence.get("tcp.match") == "exact", f"{span}: {span.evidence}")
    equal(span.evidence.get("tcp.side"), "local", "whose end sent again")
    expect(span.segments() > 0, f"segments sent again: {span.evidence}")
    equal((other.evidence.get("tcp.match"), other.evidence.get("tcp.side")), ("exact", "peer"),
          "the server's span")
    event = span.kernel_events()[0].attributes
    for key in ("seq", "bytes", "sk_wmem_alloc"):
        expect(event.get(f"undertrace.tcp.{key}", 0) > 0, f"{key} on {span}: {event}")
    check_resource(span, version)
    found = bed.jaeger.search("client", **{
        "undertrace.tcp.match": "exact", "undertrace.tcp.side": "local", "k8s.pod.uid": UID,
        "container.runtime.version": version})
    expect(span.trace_id in found, f"it is among the traces found by their tags: {found}")
    if ATTACH == "tc":
        doctor = bed.undertrace.command("doctor", "--admin", bed.undertrace.admin).stdout
        expect("interfaces 2" in doctor, f"the client's loopback and link are read:\n{doctor}")


@case
def test(lab, folder):
    containerd = Containerd(lab, folder).start()
    # They are there before undertrace is, their links come later.
    nodes = {name: lab.node(name) for name in ("client", "server")}
    # A tail-loss probe would be another retransmission.
    nodes["client"].sysctl("net.ipv4.tcp_early_retrans", 0)
    bed = Bed(lab, folder, ebpf=settings(nodes["client"]), config=CONFIG + IDENTITY)
    for name, number in (("client", 10), ("server", 20)):
        lab.attach(nodes[name], bed.bridge, f"{address(number)}/24")
    client = Client(nodes["client"], "client", COLLECTOR, folder,
                    before=containerd.runner(NAME, CGROUP, POD, *in_network(nodes["client"])))
    try:
        play(bed, client, nodes, containerd.known_version)
        bed.undertrace.stop()
    finally:
        client.process.stdin.close()
        client.process.wait(60)
        remove_v1_cgroups(lab.root.name)
