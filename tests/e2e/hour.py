# SPDX-License-Identifier: Apache-2.0
"""An hour's worth of segments sent again and of stalls in as little time as they take: what
evidence adds to spans, and the log beside it, stays within its budget, while the totals are the
kernel's.

    hour.py REQUESTS    60,000 are an hour's worth: 17 lost segments a second; of fewer the budget
                        is that part of 18 MB, 1 MiB at least
"""
import json
import re
import subprocess
import sys
import time

from harness import spans, wire
from harness.check import REPOSITORY, case, equal, expect, until
from harness.program import CONFIG, Undertrace
from harness.traffic import HERE
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import netlab  # of tests/support, as harness.check knows
import pressure

REQUESTS = int(sys.argv[1])
BUDGET = max(18_000_000 * REQUESTS // 60_000, 1 << 20)
COLLECTOR, SERVER = "10.78.0.1:4317", "10.78.0.20:8000"
CLIENTS = {"web": "10.78.0.10", "shop": "10.78.0.11"}
THREADS, FIRST_PORT, SEED = 32, 41000, 7
LIMIT, FILE = 32 * pressure.MIB, 128 * pressure.MIB
TOLD = 0.97  # of what the kernel counts, the least that it tells a program
RETRANSMITS = "undertrace_workload_tcp_retransmits_total"
# Of PSI's figure, where others are busy; memory.py looks closer.
LEAST, MOST = 0.5, 1.5


def lose(nodes):
    """Three of ten segments with data, in both directions."""
    often = "meta length > 100 numgen random mod 10 < 3"
    nodes["server"].drop("requests", f"tcp dport 8000 {often}")
    for name in CLIENTS:
        nodes[name].drop("answers", f"tcp sport 8000 {often}")


def talk(node, folder, *words):
    with (folder / f"{node.name}.log").open("w") as log:
        return node.start([sys.executable, "-B", HERE / "talk.py", *map(str, words)], stdout=log,
                          stderr=log)


def sent_again(nodes):
    """How many segments the kernel sent again, in all namespaces."""
    return sum(node.retransmitted() for node in nodes.values())


def play_losses(nodes, folder, undertrace):
    talk(nodes["server"], folder, "serve", "server", COLLECTOR, SERVER)
    until(lambda: netlab.command(*nodes["server"].enter(
        "ss", "-ltnH", "sport = :8000")).strip(), 30, "the server listens")
    lose(nodes)
    callers = [talk(nodes[name], folder, "call", name, COLLECTOR, folder / f"{name}.told", SEED,
                    max(REQUESTS // len(CLIENTS), THREADS), THREADS, 0, FIRST_PORT, SERVER)
               for name in CLIENTS]
    while any(caller.poll() is None for caller in callers):
        time.sleep(1)
        undertrace.unrun_events()  # what it reads from has room for some minutes
    equal([caller.returncode for caller in callers], [0, 0], "the callers' ends")


def play_stalls(lab, node, folder):
    """ns that PSI says one task stalled; 0: it does not say."""
    path = lab.cgroup("pressed")
    limited = pressure.Limited(netlab.cgroup2_mount(), path)
    try:
        limited.limit(LIMIT)
        pressure.write_file(folder / "large", FILE)
        with (folder / "pressed.log").open("w") as log:
            process = node.start([sys.executable, "-B", REPOSITORY / "tests" / "support" /
                                  "pressure.py"], cgroup=path, stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=log, text=True)
        said = []
        before = pressure.pressure(path)
        for command in (f"join {limited.folder}", "pin", f"read {folder}/large {8 * FILE}"):
            process.stdin.write(command + "\n")
            process.stdin.flush()
            while not said or json.loads(said[-1])["what"] != "done":
                said.append(process.stdout.readline())
                expect(said[-1], "the pressed one answers")
            said.clear()
        after = pressure.pressure(path)
        lab.stop(process)
        return 0 if before is None else after - before
    finally:
        limited.remove()


def of_lab(undertrace, family, lab):
    """The sum of a family over the workloads of this lab: others on the machine have theirs."""
    return sum(value for key, value in undertrace.metrics().items()
               if re.match(rf'{family}{{workload="/{lab.root.name}/', key))


def varint_size(number):
    return max(1, -(-number.bit_length() // 7))


def field_size(message):
    return 1 + varint_size(message.ByteSize()) + message.ByteSize()


def evidence_bytes(sink):
    """What evidence takes of the spans that arrived."""
    total = 0
    with sink.lock:
        bodies = list(sink.bodies)
    for body in bodies:
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for span in (span for scope in of_resource.scope_spans for span in scope.spans):
                total += sum(field_size(pair) for pair in span.attributes
                             if pair.key.startswith(spans.PREFIX))
                total += sum(field_size(event) for event in span.events
                             if event.name.startswith(("tcp.", "memory.")))
    return total


def check_bytes(undertrace, sink):
    told = undertrace.metric("undertrace_evidence_added_bytes")
    log = undertrace.log.stat().st_size
    held_back = undertrace.metric("undertrace_evidence_withheld_events")
    print(f"{told:.0f} bytes of evidence, {log} of log, of {BUDGET}; {held_back:.0f} events held "
          "back")
    until(lambda: evidence_bytes(sink) == told, 20, "the spans gained what is told of them")
    expect(told + log <= BUDGET, f"{told} + {log} bytes are above {BUDGET}")
    expect(told > BUDGET / 20 and held_back > 0, "it was enough to meet the budget")


def check_retransmits(undertrace, lab, nodes):
    """What the kernel counts, and no more; of some events, of several segments each, it tells no
    program (support/unrun.py), and of a bare FIN that is sent again nobody waits: such records are
    counted for the machine."""
    at_least = sent_again(nodes)
    bare = undertrace.metrics().get(
        'undertrace_kernel_records_total{type="retransmit_without_data"}', 0)
    unrun = undertrace.unrun_events()
    wanted = TOLD * (at_least - bare)
    until(lambda: of_lab(undertrace, RETRANSMITS, lab) >= wanted, 5,
          f"{wanted} segments sent again, of {at_least} that the kernel counted; {unrun} unrun")
    counted = of_lab(undertrace, RETRANSMITS, lab)
    print(f"{counted:.0f} segments sent again, the kernel says {at_least}; {bare:.0f} bare, "
          f"{unrun} events untold")
    expect(counted <= sent_again(nodes), "no more than there were")


def check_stalls(undertrace, lab, stalled):
    told = of_lab(undertrace, "undertrace_workload_memory_stall_seconds_total", lab)
    print(f"{told * 1e3:.0f} ms of stalls, PSI {stalled / 1e6:.0f} ms")
    if stalled > 0:
        expect(LEAST <= told * 1e9 / stalled <= MOST, "stalls")


@case
def test(lab, folder):
    sink = wire.ByteSink().start()
    try:
        bridge = lab.bridge("10.78.0.1/24")
        nodes = {name: lab.node(name) for name in ("server", *CLIENTS)}
        for name, node in nodes.items():
            lab.attach(node, bridge, f"{CLIENTS.get(name, SERVER.split(':')[0])}/24")
        undertrace = Undertrace(lab, folder, COLLECTOR, sink.address,
                                config=CONFIG + f"  max_bytes_per_hour: {BUDGET}\n")
        undertrace.needs_kernel_events().start()
        play_losses(nodes, folder, undertrace)
        stalled = 0
        if pressure.memory_mount() is not None:
            stalled = play_stalls(lab, nodes["web"], folder)
        until(lambda: undertrace.metric("undertrace_exporter_held_spans") == 0, 20, "all is sent")
        check_retransmits(undertrace, lab, nodes)
        check_stalls(undertrace, lab, stalled)
        check_bytes(undertrace, sink)
        undertrace.stop()
    finally:
        sink.stop()
