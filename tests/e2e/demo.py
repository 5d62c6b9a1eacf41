# SPDX-License-Identifier: Apache-2.0
"""deploy/try, as a person runs it: the demo's own check finds everything right, the lines that tell
of lost packets are on the screen, `--jaeger` gets the same traces, and nothing is left, not even
where the demo was killed half-way and run again. Without the rights for eBPF, without root or with
arguments that it does not know the last line says so."""
import contextlib
import os
import re
import signal
import subprocess
import sys
import time

from harness import program
from harness.check import REPOSITORY, Again, Skipped, case, equal, expect, until

sys.path.insert(0, str(REPOSITORY / "deploy" / "demo"))

import netlab  # noqa: E402
import sink  # noqa: E402
import unrun  # noqa: E402

TRY = REPOSITORY / "deploy/try"
REMAINS = REPOSITORY / "tests/support/remains"
COLLECTOR = "10.77.0.1:14317"
TRACES = 1 + 60 + 10  # before the loss, with it, and after
# One for a lost request, which its sender sends again, and one for a lost answer.
EVIDENCE = re.compile(r" +POST /ledger [\d.]+ m?s ← "
                      r"(payment 10\.77\.0\.12|ledger 10\.77\.0\.13):\d+ retransmitted \d+ B, "
                      r"waited ≥ \d+ ms \(timeout\), (exact|connection)$")
WITHOUT = "setpriv --bounding-set=-all --inh-caps=-all --no-new-privs"
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


class Watch:
    """The kernel's events under the demo's undertrace that no program was run for: harness/check.py
    asks a failed run for them."""

    def __init__(self):
        cgroup = netlab.cgroup2_mount() / "undertrace-demo" / "undertrace"
        until(listens, 60, f"undertrace listens on {COLLECTOR}")
        self.unrun = unrun.Unrun(int((cgroup / "cgroup.procs").read_text()))
        self.seen = 0
        program.UNRUN.append(self)

    def unrun_events(self):
        with contextlib.suppress(OSError):  # the process has ended
            self.seen = self.unrun.count()
        return self.seen

    def forget_unrun(self):
        self.unrun.close()


def listens():
    with contextlib.suppress(OSError):
        program.connect(COLLECTOR).close()
        return True
    return False


def jiffies():
    """Of all processors: user, nice, system, idle, iowait, irq, softirq, steal (proc(5))."""
    with open("/proc/stat", encoding="ascii") as stat:
        return [int(word) for word in stat.readline().split()[1:9]]


class Run:
    """What a run printed, as (seconds since the demo's begin, line)…, how it ended, and for what
    part of the time the machine's processors had nothing to do."""

    def __init__(self, words, log, watched=False, stdin=subprocess.DEVNULL):
        self.lines, watch, begin, before = [], None, time.monotonic(), jiffies()
        with log.open("w") as copy, subprocess.Popen(
                words, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                cwd="/") as process:
            for line in process.stdout:
                copy.write(line)
                if ": demo" in line:
                    begin = time.monotonic()
                    watch = Watch() if watched else None
                elif "demo: check of" in line and watch:
                    watch.unrun_events()
                self.lines.append((time.monotonic() - begin, line.rstrip("\n")))
        self.status = process.returncode
        passed = [now - then for now, then in zip(jiffies(), before)]
        self.idle = passed[3] / max(sum(passed), 1)

    def matching(self, pattern):
        """(seconds, match) of all lines that have it."""
        found = ((seconds, re.search(pattern, line)) for seconds, line in self.lines)
        return [(seconds, match) for seconds, match in found if match]

    def ends(self, status, line):
        equal(self.status, status, "exit status")
        expect(re.fullmatch(line, self.lines[-1][1]), f"the last line: {self.lines[-1][1]!r}")


def remains():
    """What of a demo is there; others may be at work on this machine."""
    lines = subprocess.run([REMAINS], capture_output=True, text=True, check=True).stdout.split("\n")
    return [line for line in lines if "utd" in line or "undertrace-demo" in line]


def kill_half_way():
    with subprocess.Popen([REPOSITORY / "deploy/demo/run"], stdout=subprocess.DEVNULL,
                          cwd="/") as killed:
        until(listens, 60, f"undertrace listens on {COLLECTOR}")
        time.sleep(3)  # the services come up or are at work
        os.kill(killed.pid, signal.SIGKILL)


def check_shown(run):
    """The evidence comes while the demo runs, of both directions."""
    shown = run.matching(EVIDENCE)
    equal({match[1].split()[0] for _, match in shown}, {"payment", "ledger"},
          "who sent again, by the lines of the trees")
    checked = run.matching("demo: check of")[0][0]
    first, last = shown[0][0], run.lines[-1][0]
    print(f"first evidence after {first:.1f} s, check {checked:.1f} s, end {last:.1f} s; "
          f"the processors stood still for {run.idle:.0%} of the time")
    expect(first < checked, "evidence is shown before the orders are through")
    equal(run.matching("FAILED"), [], "faults")
    # Of a machine that was busy with other things the times say nothing; it may have been for a
    # moment only.
    if run.idle > 0.5 and (first > 10 or last > 30):
        raise Again("evidence comes within 10 s, and the end within 30 s")


def whole(folder):
    jaeger = sink.Sink()
    run = Run([TRY, "--jaeger", jaeger.address], folder / "try.log", watched=True)
    jaeger.stop()
    run.ends(0, r"deploy/try: all of it worked, in \d+\.\d s")
    check_shown(run)
    spans = jaeger.spans()
    equal(len({span.trace_id for span in spans if span.service == "payment"}), TRACES,
          "traces that the other backend got")
    expect(any(span.segments for span in spans), "evidence in the other backend")


def without_rights(folder):
    """The first order that loses something is the fourth."""
    weak = folder / "weak"
    weak.write_text(f'#!/bin/sh\nexec {WITHOUT} "{program.program()}" "$@"\n')
    weak.chmod(0o755)
    run = Run([TRY, "--undertrace", weak, "--orders", "4"], folder / "blind.log")
    run.ends(0, "deploy/try: traces went through, without evidence from the kernel .*")
    equal(len(run.matching("^demo: no evidence from the kernel here: .*CAP_BPF")), 1,
          "lines that name what is missing")
    equal(run.matching("←|FAILED"), [], "evidence or faults")


def refused(folder):
    with TRY.open() as script:  # nobody may not even read it where it lies
        run = Run([*NOBODY, "bash", "-s"], folder / "nobody.log", stdin=script)
    run.ends(1, "deploy/try: needs root, .*")
    equal(len(run.lines), 1, "lines for who is not root")
    run = Run([TRY, "--orders", "0"], folder / "refused.log")
    run.ends(1, "deploy/try: failed; .*")


@case
def test(lab, folder):
    if program.program().resolve() != REPOSITORY / "build/release/undertrace":
        raise Skipped("deploy/try builds in build/release, and another build is to be tested")
    before = remains()
    refused(folder)
    kill_half_way()
    whole(folder)
    without_rights(folder)
    equal([thing for thing in remains() if thing not in before], [], "left behind")
