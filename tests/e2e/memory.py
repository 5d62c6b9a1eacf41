# SPDX-License-Identifier: Apache-2.0
"""A container that is driven against its memory limit and beyond it. The span that stalled tells
for how long, as the kernel's own count (PSI) has it; spans before and after, and those of others,
tell nothing; a limit of the parent is not called its own, and what an outsider takes away is no
stall. Then a child is killed, and the span that was open tells which. One that has no limit tells
what it came to hold; called with `exact`, only that, and what it allocated."""
import json
import select
import subprocess
import sys
import time

from harness import spans, wire
from harness.bed import COLLECTOR
from harness.check import REPOSITORY, Failed, Skipped, case, equal, expect, until
from harness.program import CONFIG, Undertrace
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

import netlab  # of tests/support, as harness.check knows
import pressure

LIMIT = 32 * pressure.MIB
FILE = 128 * pressure.MIB
HELD = 48 * pressure.MIB
# Of PSI's figure, which also counts waiting for pages that come back after a reclaim: more of it
# where the machine is busy.
LEAST, MOST = 0.75, 1.05


class Pressed:
    """A process in a cgroup whose memory is limited, by the cgroup itself or one above it."""

    def __init__(self, node, name, path, limited, folder):
        self.name, self.log = name, folder / f"{name}.log"
        with self.log.open("a") as log:
            self.process = node.start(
                [sys.executable, "-B", REPOSITORY / "tests" / "e2e" / "harness" / "pressed.py",
                 name, COLLECTOR, path], cgroup=path, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=log, text=True)
        self.read()
        self.do("-", "join", limited.folder)
        self.do("-", "pin")

    def read(self):
        ready, _, _ = select.select([self.process.stdout], [], [], 60)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            raise Failed(f"{self.name} does not answer: {self.log.read_text()[-3000:]}")
        return json.loads(line)

    def send(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def do(self, *words):
        self.send(*words)
        return self.read()


class Arrived:
    """The spans that reached the backend."""

    def __init__(self):
        self.sink = wire.ByteSink().start()

    def find(self, answer):
        with self.sink.lock:
            bodies = list(self.sink.bodies)
        for body in bodies:
            request = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
            for span in spans.from_request(request):
                if span.span_id == answer["span_id"]:
                    return span
        return None

    def span(self, answer):
        return until(lambda: self.find(answer), 20, f"a span {answer} arrives")


def place(lab, limits, *names):
    path = lab.cgroup(*names)
    limits.append(pressure.Limited(netlab.cgroup2_mount(), path))
    return path, limits[-1]


def expect_stall(span, scope, answer, wall=False):
    equal(span.evidence.get("memory.stall_scope"), scope, f"whose limit it was: {span}")
    stalled, psi = span.evidence["memory.stall_ns"], answer["psi_ns"]
    events = [event for event in span.events if event.name == "memory.stall"]
    equal([event.attributes["undertrace.memory.stall_ns"] for event in events], [stalled],
          "its event")
    print(f"{scope}: stalled {stalled / 1e6:.1f} ms, PSI {(psi or 0) / 1e6:.1f} ms")
    expect(stalled > 2_000_000, f"{span} stalled for long")
    if psi:
        expect(LEAST <= stalled / psi <= MOST, f"{stalled} ns, PSI says {psi}")
    if psi and wall:
        told = span.evidence["memory.stall_wall_ns"]
        expect(abs(told - psi) <= psi // 10, f"{told} ns by the wall clock, PSI says {psi}")


def expect_calm(span, what):
    """No stall and no kill; what the workload holds may change at any time."""
    told = {name for name in span.evidence if not name.startswith("memory.held_")}
    equal(told, set(), f"evidence {what}")


def stall(node, arrived, limits, folder):
    """At its own limit, beside a neighbour that has none."""
    path, limited = place(node.lab, limits, "limited")
    beside, unlimited = place(node.lab, limits, "beside")
    task = Pressed(node, "limited", path, limited, folder)
    neighbour = Pressed(node, "beside", beside, unlimited, folder)
    limited.limit(limited.usage() + LIMIT)
    neighbour.send("beside", "sleep", 5)
    before = task.do("before", "sleep", 0.3)
    expect_calm(arrived.span(before), "before it")
    time.sleep(0.4)  # PSI is read from its first spans on
    stalled = task.do("stalled", "read", folder / "large", 12 * FILE)
    # At its limit whatever it does next, as sending that span, may stall: it gets room.
    pressure.drop_cached(folder / "large")
    task.do("-", "sleep", 0.3)
    after = task.do("after", "sleep", 0.3)
    expect_stall(arrived.span(stalled), "own", stalled, wall=True)
    expect_calm(arrived.span(after), "after it")
    expect_calm(arrived.span(neighbour.read()), "of the neighbour")
    return task


def be_killed(task, arrived):
    answer = task.do("killed", "grow", 4 * LIMIT)
    equal(answer["signal"], 9, "the child's end")
    span = arrived.span(answer)
    equal(span.evidence.get("memory.oom_kills"), 1, f"kills on {span}")
    kill, = [event for event in span.events if event.name == "memory.oom_kill"]
    equal(kill.attributes["undertrace.memory.victim_pid"], answer["victim"], "the victim")
    expect(kill.attributes["undertrace.memory.victim_bytes"] > LIMIT // 2, f"its size: {kill}")
    equal(kill.attributes["undertrace.match"], "workload", "its class")


def shrink(node, arrived, limits, folder):
    """Somebody else, who is not in the cgroup, makes it smaller while a span is open."""
    path, limited = place(node.lab, limits, "shrunk")
    task = Pressed(node, "shrunk", path, limited, folder)
    task.do("-", "read", folder / "large", FILE)
    task.send("shrunk", "sleep", 1)
    time.sleep(0.3)
    held = limited.usage()
    limited.limit(held - LIMIT)
    expect(limited.usage() < held - LIMIT // 2, f"it has become smaller than {held}")
    span = arrived.span(task.read())
    expect("memory.stall_ns" not in span.evidence, f"{span} has not stalled: {span.evidence}")


def expect_in_metrics(undertrace, path, held):
    """It is read ten times a second, and what is held rests."""
    name = "undertrace_workload_memory_held_bytes"

    def told():
        return next((value for key, value in undertrace.metrics().items()
                     if key.startswith(name) and key.endswith(f'{path.name}"}}')), 0)
    until(lambda: abs(told() - held) < HELD // 20, 10, f"{name} says {held}")


def hold(node, arrived, limits, folder, undertrace, exact=False):
    """Without any limit: what the workload holds, and by how much that changed."""
    path, unlimited = place(node.lab, limits, "holder")
    task = Pressed(node, "holder", path, unlimited, folder)
    equal(arrived.span(task.do("first", "sleep", 0.1)).evidence, {}, "evidence of its first span")
    time.sleep(0.4)  # it is read from its first spans on
    for name, command, change in (("holds", ("hold", HELD), HELD), ("rests", ("sleep", 0.5), 0),
                                  ("releases", ("release",), -HELD)):
        span = arrived.span(task.do(name, *command))
        print(f"{name}: {span.evidence}")
        if change == 0:
            equal(span.evidence, {}, f"evidence of {name}")
            continue
        told = span.evidence["memory.held_change_bytes"]
        expect(abs(told - change) < HELD // 20, f"{name}: {told} bytes, of {change}")
        held = unlimited.usage()
        expect(abs(span.evidence["memory.held_bytes"] - held) < HELD // 20,
               f"{span}; now it holds {held}")
        expect("memory.stall_ns" not in span.evidence, f"{span} has not stalled")
        expect_in_metrics(undertrace, path, held)
        allocated = span.evidence.get("memory.allocated_bytes")
        if not exact:
            equal(allocated, None, "what was allocated, which nobody counts")
        elif name == "holds":
            expect(abs(allocated - HELD) <= HELD // 50, f"{allocated} bytes allocated, of {HELD}")
            equal(span.evidence.get("shared_by"), 1, "spans that were open meanwhile")
        else:
            expect((allocated or 0) < HELD // 50, f"{allocated} bytes allocated by a release")


def stall_below(node, arrived, limits, folder):
    """At the limit of the cgroup above."""
    _, above = place(node.lab, limits, "pod")
    path, limited = place(node.lab, limits, "pod", "container")
    task = Pressed(node, "below", path, limited, folder)
    above.limit(above.usage() + LIMIT)
    stalled = task.do("below", "read", folder / "large", 12 * FILE)
    expect_stall(arrived.span(stalled), "ancestor", stalled)


@case
def test(lab, folder):
    if pressure.memory_mount() is None:
        raise Skipped("no memory controller is mounted")
    limits = []
    lab.bridge("10.78.0.1/24")
    arrived = Arrived()
    exact = sys.argv[1:] == ["exact"]
    config = CONFIG.replace("  ebpf:\n", "  ebpf:\n    memory: exact\n") if exact else CONFIG
    undertrace = Undertrace(lab, folder, COLLECTOR, arrived.sink.address, config=config)
    undertrace.needs_kernel_events().start()
    node = lab.node("node")
    lab.attach(node, f"{lab.short}-br", "10.78.0.10/24")
    pressure.write_file(folder / "large", FILE)
    try:
        if exact:
            hold(node, arrived, limits, folder, undertrace, exact=True)
        else:
            be_killed(stall(node, arrived, limits, folder), arrived)
            stall_below(node, arrived, limits, folder)
            shrink(node, arrived, limits, folder)
            hold(node, arrived, limits, folder, undertrace)
    finally:
        for process in list(lab.processes):
            if process is not undertrace.process:
                lab.stop(process)
        arrived.sink.stop()
        time.sleep(0.1)
        for limited in reversed(limits):
            limited.remove()
    metrics = undertrace.metrics()
    undertrace.stop()
    if exact:
        counted = metrics['undertrace_memory_allocated_bytes_total{owner="workload"}']
        expect(counted >= HELD, f"{counted} bytes counted")
        return
    expect(metrics['undertrace_oom_kills_total{victim="workload"}'] >= 1, f"{metrics}")
    for scope in ("own", "ancestor"):
        seconds = metrics[f'undertrace_memory_stall_seconds_total{{scope="{scope}"}}']
        expect(seconds > 0.002, f"{scope}: {seconds} s in the metrics")
    expect("event=oom_kill" in undertrace.log.read_text(), "the kill is in the log")
