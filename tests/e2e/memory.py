# SPDX-License-Identifier: Apache-2.0
"""A container that is driven against its memory limit and beyond it. The span that stalled tells
for how long, as the kernel's own count (PSI) has it; spans before and after, and those of others,
tell nothing; a limit of the parent is not called its own, and what an outsider takes away is no
stall. Then a child is killed, and the span that was open tells which. One that has no limit tells
what it came to hold.

    memory.py            all of that
    memory.py emulated   of how long less exactly, for times there mean little
    memory.py exact      what is held, and what was allocated
"""
import functools
import sys
import time

from harness import stalls
from harness.bed import COLLECTOR
from harness.check import Skipped, case, equal, expect, until
from harness.program import CONFIG, Undertrace
from harness.stalls import FITS, LIMIT, Arrived, Pressed, expect_stall, walk

import netlab  # of tests/support, as harness.check knows
import pressure

FILE = 128 * pressure.MIB
HELD = 48 * pressure.MIB
EXACT, EMULATED = (sys.argv[1:] == [word] for word in ("exact", "emulated"))
OF_A_FILE, OF_ANONYMOUS = (0.5, 0.5) if EMULATED else (stalls.OF_A_FILE, stalls.OF_ANONYMOUS)
WALKED = stalls.WALKED // 4 if EMULATED else stalls.WALKED


def press(node, name, path, limited, folder):
    return Pressed(functools.partial(node.start, cgroup=path), name, COLLECTOR, path, limited,
                   folder)


def place(lab, limits, *names):
    path = lab.cgroup(*names)
    limits.append(pressure.Limited(netlab.cgroup2_mount(), path))
    return path, limits[-1]


def expect_calm(span, what):
    """No stall and no kill; what the workload holds may change at any time."""
    told = {name for name in span.evidence if not name.startswith("memory.held_")}
    equal(told, set(), f"evidence {what}")


def stall(node, arrived, limits, folder):
    """At its own limit, beside a neighbour that has none."""
    path, limited = place(node.lab, limits, "limited")
    beside, unlimited = place(node.lab, limits, "beside")
    task = press(node, "limited", path, limited, folder)
    neighbour = press(node, "beside", beside, unlimited, folder)
    limited.limit(limited.usage() + LIMIT)
    neighbour.send("beside", "sleep", 5)
    before = task.do("before", "sleep", 0.3)
    expect_calm(arrived.span(before), "before it")
    time.sleep(0.4)  # PSI is read from its first spans on
    expect_stall(*walk(task, arrived, folder, "stalled", WALKED), "own", OF_A_FILE, wall=True)
    after = task.do("after", "sleep", 0.3)
    expect_calm(arrived.span(after), "after it")
    expect_stall(*walk(task, arrived, folder, "displaced", FITS, FITS), "own", OF_ANONYMOUS)
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
    task = press(node, "shrunk", path, limited, folder)
    pressure.make_hole(folder / "hole", FILE)
    task.do("-", "read", folder / "hole", FILE)
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


def hold(node, arrived, limits, folder, undertrace):
    """Without any limit: what the workload holds, and by how much that changed."""
    path, unlimited = place(node.lab, limits, "holder")
    task = press(node, "holder", path, unlimited, folder)
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
        if not EXACT:
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
    task = press(node, "below", path, limited, folder)
    above.limit(above.usage() + LIMIT)
    expect_stall(*walk(task, arrived, folder, "below", WALKED), "ancestor", OF_A_FILE)


@case
def test(lab, folder):
    if pressure.memory_mount() is None:
        raise Skipped("no memory controller is mounted")
    limits = []
    lab.bridge("10.78.0.1/24")
    arrived = Arrived()
    config = CONFIG.replace("  ebpf:\n", "  ebpf:\n    memory: exact\n") if EXACT else CONFIG
    undertrace = Undertrace(lab, folder, COLLECTOR, arrived.sink.address, config=config)
    undertrace.needs_kernel_events().start()
    node = lab.node("node")
    lab.attach(node, f"{lab.short}-br", "10.78.0.10/24")
    try:
        if EXACT:
            hold(node, arrived, limits, folder, undertrace)
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
    if EXACT:
        counted = metrics['undertrace_memory_allocated_bytes_total{owner="workload"}']
        expect(counted >= HELD, f"{counted} bytes counted")
        return
    expect(metrics['undertrace_oom_kills_total{victim="workload"}'] >= 1, f"{metrics}")
    for scope in ("own", "ancestor"):
        seconds = metrics[f'undertrace_memory_stall_seconds_total{{scope="{scope}"}}']
        expect(seconds > 0.002, f"{scope}: {seconds} s in the metrics")
    expect("event=oom_kill" in undertrace.log.read_text(), "the kill is in the log")
