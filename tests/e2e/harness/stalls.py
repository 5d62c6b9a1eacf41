# SPDX-License-Identifier: Apache-2.0
"""A process that runs into a memory limit within spans, and what its spans have to say of it."""
import json
import select
import subprocess
import sys

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from . import spans, wire
from .check import REPOSITORY, Failed, equal, expect, until

import pressure  # of tests/support, as check knows

LIMIT = 32 * pressure.MIB
WALKED = 256 * pressure.MIB
FITS = LIMIT * 3 // 4
# Of PSI's figure, which also has what the programs themselves take after they took their time: one
# or two percent of these reclaims.
OF_A_FILE, OF_ANONYMOUS = 0.05, 0.15


class Pressed:
    """`start` starts a program in a cgroup, whose v2 directory is `path`; the memory side of that
    is `limited`."""

    def __init__(self, start, name, collector, path, limited, folder):
        self.name, self.log = name, folder / f"{name}.log"
        with self.log.open("a") as log:
            self.process = start(
                [sys.executable, "-B", REPOSITORY / "tests" / "e2e" / "harness" / "pressed.py",
                 name, collector, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=log, text=True)
        self.read()
        self.do("-", "join", limited.folder)

    def read(self):
        ready, _, _ = select.select([self.process.stdout], [], [], 240)  # in an emulator
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
        return until(lambda: self.find(answer), 60, f"a span {answer} arrives")


def walk(task, arrived, folder, name, size, touched=0):
    """A span in which the task stalls, and what is known of it."""
    pressure.make_hole(folder / "hole", size)
    answer = task.do(name, "walk", folder / "hole", touched)
    return arrived.span(answer), answer


def expect_stall(span, answer, scope, tolerance, wall=False):
    equal(span.evidence.get("memory.stall_scope"), scope, f"whose limit it was: {span}")
    stalled, psi = span.evidence["memory.stall_ns"], answer["psi_ns"]
    events = [event for event in span.events if event.name == "memory.stall"]
    equal([event.attributes["undertrace.memory.stall_ns"] for event in events], [stalled],
          "its event")
    expect(stalled > 1_000_000, f"{span} stalled for long")
    if psi:
        print(f"{scope}: stalled {stalled / 1e6:.1f} ms, {stalled / psi:.3f} of PSI")
        expect(abs(stalled / psi - 1) <= tolerance, f"{stalled} ns, PSI says {psi}")
    if psi and wall:
        told = span.evidence["memory.stall_wall_ns"]
        expect(abs(told - psi) <= psi // 10, f"{told} ns by the wall clock, PSI says {psi}")
