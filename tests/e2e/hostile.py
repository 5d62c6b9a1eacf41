# SPDX-License-Identifier: Apache-2.0
"""Workloads that lie and that overdo it, beside one that does not: its evidence and its identity
are its own, whole, and nobody else's.

    hostile.py SECONDS    of each flood
"""
import json
import re
import secrets
import subprocess
import sys
import threading
import time

from harness import spans, wire
from harness.check import case, equal, expect, until
from harness.program import CONFIG, Undertrace
from harness.traffic import HERE
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import netlab  # of tests/support, as harness.check knows

SECONDS = float(sys.argv[1])
COLLECTOR, SERVER = "10.78.0.1:4317", "10.78.0.20:8000"
EXACT = CONFIG.replace("  ebpf:\n", "  ebpf:\n    ring_size: 4MiB\n"
                       "    trace_context: {{enabled: true}}\n")
PODS = {"honest": ("11111111-1111-1111-1111-111111111111", "a" * 64),
        "liar": ("22222222-2222-2222-2222-222222222222", "b" * 64)}
ADDRESSES = {"honest": "10.78.0.10", "liar": "10.78.0.11", "server": "10.78.0.20"}


def pod_path(name):
    uid, container = PODS[name]
    return "kubepods", f"pod{uid}", container


class Peer:
    """harness/hostile_peer.py in a namespace and a container's cgroup of its own."""

    def __init__(self, lab, node, folder, cgroup):
        self.lab, self.node, self.cgroup = lab, node, cgroup
        with (folder / f"{node.name}.log").open("w") as log:
            self.process = node.start([sys.executable, "-B", HERE / "hostile_peer.py", COLLECTOR,
                                       SERVER], cgroup=cgroup, stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=log, text=True)

    def do(self, what, **arguments):
        self.process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        expect(line, f"{self.node.name} does not answer to {what}")
        return json.loads(line)


class Stage:
    def __init__(self, lab, folder, sink):
        self.lab, self.sink = lab, sink
        bridge = lab.bridge("10.78.0.1/24")
        self.nodes = {name: lab.node(name) for name in ADDRESSES}
        for name, node in self.nodes.items():
            lab.attach(node, bridge, f"{ADDRESSES[name]}/24")
            # A tail-loss probe would tell of a segment that was not lost.
            node.sysctl("net.ipv4.tcp_early_retrans", 0)
        self.undertrace = Undertrace(lab, folder, COLLECTOR, sink.address, config=EXACT)
        self.undertrace.needs_kernel_events().start()
        with (folder / "server.log").open("w") as log:
            self.nodes["server"].start([sys.executable, "-B", HERE / "talk.py", "serve", "server",
                                        COLLECTOR, SERVER], stdout=log, stderr=log)
        until(lambda: netlab.command(*self.nodes["server"].enter(
            "ss", "-ltnH", "sport = :8000")).strip(), 30, "the server listens")
        self.honest, self.liar = (Peer(lab, self.nodes[name], folder, lab.cgroup(*pod_path(name)))
                                  for name in PODS)
        for peer in (self.honest, self.liar):
            # Only the connections of workloads that are known to send spans are read.
            self.send(peer)
            peer.do("connect")

    def arrived(self):
        with self.sink.lock:
            bodies = list(self.sink.bodies)
        return [span for one in bodies
                for span in spans.from_request(ExportTraceServiceRequest.FromString(one))]

    def find(self, **wanted):
        """The span that has these properties, once it has arrived."""
        def look():
            return next((span for span in self.arrived() if all(
                getattr(span, key) == value for key, value in wanted.items())), None)
        return until(look, 20, f"a span with {wanted}")

    def send(self, peer, trace=None, span=None, times=None, **more):
        """Sends a span; as it arrives."""
        trace, span = trace or secrets.token_hex(16), span or secrets.token_hex(8)
        now = time.time_ns()
        peer.do("span", trace=trace, span=span, times=times or [now - 1000, now], **more)
        return self.find(trace_id=trace, span_id=span)

    def drop_one(self, name):
        """The next request of this client is lost, once."""
        return self.nodes["server"].drop("once", f"ip saddr {ADDRESSES[name]} tcp dport 8000 "
                                         "meta length > 100 numgen inc mod 1000000 == 0")

    def lossy_request(self, peer, trace, span):
        rule = self.drop_one(peer.node.name)
        times = peer.do("request", trace=trace, span=span)["times"]
        equal(rule.dropped(), 1, "requests dropped")
        rule.remove()
        return times

    def check_honest(self, what):
        """Its lost request is on its span, as surely as ever, with its identity."""
        trace, span = secrets.token_hex(16), secrets.token_hex(8)
        times = self.lossy_request(self.honest, trace, span)
        mine = self.send(self.honest, trace, span, times, attributes=PEER)
        equal((mine.evidence.get("tcp.match"), mine.segments()), ("exact", 1),
              f"{what}: evidence on {mine}")
        equal((mine.resource.get("k8s.pod.uid"), mine.resource.get("container.id")),
              PODS["honest"], f"{what}: identity of {mine}")
        return mine

    def metric(self, name, labels=""):
        return sum(value for key, value in self.undertrace.metrics().items()
                   if key.startswith(name) and labels in key)


PEER = {"network.peer.address": ADDRESSES["server"], "network.peer.port": 8000}


def play_others_ids(stage):
    """A request that carries the ids of another workload's span, and is sent again."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    times = stage.honest.do("request", trace=trace, span=span)["times"]
    others = stage.lossy_request(stage.liar, trace, span)
    both = [times[0], others[1]]
    for peer, ids in ((stage.honest, (trace, span)), (stage.liar, (None, None))):
        seen = stage.send(peer, *ids, both, attributes=PEER)
        equal(seen.evidence, {}, f"evidence on {seen} of {peer.node.name}")
    for name, match in (("honest", None), ("liar", "exact")):
        served = until(lambda at=ADDRESSES[name]: next(
            (one for one in stage.arrived() if one.parent_id == span and
             one.attributes["network.peer.address"] == at), None), 20, "the server's span")
        equal(served.evidence.get("tcp.match"), match, f"the server's span for the {name} one")
    expect(stage.metric("undertrace_trace_context_untrusted_total") >= 1, "it is counted")


def play_forged(stage):
    seen = stage.send(
        stage.liar, resource={"undertrace.cgroup.path": "/elsewhere"},
        attributes=PEER | {"undertrace.tcp.match": "exact", "undertrace.memory.oom_kills": 3},
        events={"tcp.retransmit": {"undertrace.match": "exact"}, "mine": {"key": "value"}})
    equal(seen.attributes, PEER, "what is left of forged attributes")
    equal([event.name for event in seen.events], ["mine"], "what is left of forged events")
    expect(seen.resource["undertrace.cgroup.path"].endswith("/".join(pod_path("liar"))),
           f"the path is the kernel's: {seen.resource}")
    expect(stage.metric("undertrace_forged_removed_total") >= 2, "they are counted")


def play_claims(stage):
    """In the Resource, and by a cgroup of its own that is called like another's container."""
    uid, container = PODS["honest"]
    seen = stage.send(stage.liar, resource={"k8s.pod.uid": uid, "container.id": container})
    expect("undertrace.cgroup.path" not in seen.resource, f"nothing is verified: {seen.resource}")
    equal(stage.metric("undertrace_claims_contradicted_total"), 1, "claims that contradict")
    doctor = stage.undertrace.command("doctor", "--admin", stage.undertrace.admin).stdout
    expect("1 resources claim another container or pod" in doctor, doctor)
    nested = stage.liar.cgroup.joinpath(*pod_path("honest"))
    nested.mkdir(parents=True)
    stage.liar.do("join", cgroup=str(nested))
    seen = stage.send(stage.liar)
    expect("k8s.pod.uid" not in seen.resource and "container.id" not in seen.resource,
           f"a nested cgroup that is called like another's: {seen.resource}")
    expect(stage.metric("undertrace_cgroups_impostors_total") >= 1, "it is counted")
    stage.liar.do("join", cgroup=str(stage.liar.cgroup))
    stage.check_honest("after false claims")


def during(action, stage, what):
    """The honest one's evidence while another thread lets the liar overdo it."""
    done = []
    thread = threading.Thread(target=lambda: done.append(action()))
    thread.start()
    seen = []
    while thread.is_alive() or not seen:
        seen.append(stage.check_honest(what))
        time.sleep(0.5)
    thread.join()
    return done[0]["count"], seen


def check_certain(stage, seen, gaps, what):
    """What is held back of the liar is not missing on the honest one's spans. Of whatever else on
    this machine records may be missing, of which nobody knows whose they are."""
    expect(stage.metric("undertrace_kernel_gaps_total", "everyone") > gaps or
           not any(span.evidence.get("partial") for span in seen),
           f"{what} cast no doubt on others: {[str(span) for span in seen]}")


def play_cgroups(stage):
    """1,000 cgroups a second, below its own and as a runtime makes them."""
    before = stage.metric("undertrace_cgroups")
    gaps = stage.metric("undertrace_kernel_gaps_total", "everyone")
    for folder in (stage.liar.cgroup, stage.lab.cgroup("runtime")):
        count, seen = during(lambda at=folder: stage.liar.do("cgroups", below=str(at),
                                                             seconds=SECONDS),
                             stage, "while cgroups come and go")
        print(f"{count} cgroups in {SECONDS} s, {len(seen)} requests beside them")
        check_certain(stage, seen, gaps, "cgroups")
    limited = stage.metric("undertrace_ebpf_rate_limited_total", "cgroup")
    print(f"{limited:.0f} records held back")
    until(lambda: stage.metric("undertrace_cgroups") <= before + 50, 20,
          "those that are gone are known to be")
    equal(stage.metric("undertrace_workloads_overflow_total"), 0, "without room")


def play_connections(stage):
    """More connections than its limit: they fill no ring, and only its own are in doubt."""
    gaps = stage.metric("undertrace_kernel_gaps_total", "everyone")
    count, seen = during(lambda: stage.liar.do("knock", seconds=SECONDS), stage,
                         "while connections come and go")
    limited = stage.metric("undertrace_ebpf_rate_limited_total", "connection")
    in_doubt = sum(bool(span.evidence.get("partial")) for span in seen)
    print(f"{count} connections, {limited:.0f} records held back, {len(seen)} requests beside "
          f"them, {in_doubt} of these in doubt")
    equal(stage.metric("undertrace_ebpf_lost_total"), 0, "records without room")
    check_certain(stage, seen, gaps, "connections")
    expect(limited == 0 or stage.metric("undertrace_kernel_gaps_total", "workload") > 0,
           "it is told whose were held back")


def check_doctor(stage):
    """What was held back, distrusted and owned by nobody stands there as in the metrics."""
    before = stage.undertrace.metrics()
    doctor = stage.undertrace.command("doctor", "--admin", stage.undertrace.admin).stdout
    for name, pattern in (("ebpf_rate_limited", r", (\d+) over a rate limit"),
                          ("trace_context_untrusted", r"trace context .*\buntrusted (\d+)"),
                          ("join_contradicted", r"not joined +(\d+) pairs"),
                          ("unowned_events", r"events of nobody +(\d+),")):
        least = sum(value for key, value in before.items()
                    if key.split("{")[0] == f"undertrace_{name}_total")
        told = re.search(pattern, doctor)
        expect(int(told[1]) >= least if told else least == 0, f"{name}, {least}:\n{doctor}")
        expect(least > 0 or name in ("unowned_events", "join_contradicted"), f"{name} is counted")
    for line in ("no room in tables", "spans in doubt"):
        expect(re.search(rf" {line} +\S", doctor), doctor)


@case
def test(lab, folder):
    sink = wire.ByteSink().start()
    try:
        stage = Stage(lab, folder, sink)
        stage.check_honest("at first")
        play_others_ids(stage)
        play_forged(stage)
        play_claims(stage)
        play_cgroups(stage)
        play_connections(stage)
        check_doctor(stage)
        stage.undertrace.stop()
    finally:
        sink.stop()
