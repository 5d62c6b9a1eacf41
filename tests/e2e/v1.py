# SPDX-License-Identifier: Apache-2.0
"""cgroup v1 alone: v2 is mounted nowhere that undertrace sees, and every task is at its root, as on
hosts whose containers have groups of v1 only. The kernel's events name groups of v2, so nobody owns
anything: spans go through as they came, though their task has stalled at the limit of a v1 group
that is called like a container, and a child of it was killed there. What happened is in the metrics
and the log, as nobody's; log and `doctor` say what is missing, once."""
from harness.check import Skipped, case, equal, expect
from harness.program import CONFIG, Undertrace
from harness.stalls import LIMIT, WALKED, Arrived, Pressed, walk

import netlab  # of tests/support, as harness.check knows
import pressure

COLLECTOR = "127.0.0.1:4317"
CONTAINER = ("kubepods", "pod12345678-1111-2222-3333-444444444444", "c" * 64)


class AtTheRoot:
    """The lab's processes, at the root of v2."""

    def __init__(self, lab):
        self.lab, self.root = lab, netlab.cgroup2_mount()

    def start(self, argv, **options):
        return self.lab.start(argv, self.root, **options)

    def hide(self):
        """Words before a command that take it there, and cgroup v2 out of its sight."""
        return ("unshare", "--mount", "sh", "-c",
                'echo 0 >"$0/cgroup.procs" && umount --lazy "$0" && exec "$@"', self.root)


def expect_nothing(span):
    equal((span.evidence, span.events), ({}, []), f"what {span} gains")
    equal([key for key in span.resource if not key.startswith(("telemetry.", "service."))], [],
          f"whose it is said to be: {span.resource}")


def expect_as_nobodys(undertrace):
    log, metrics = undertrace.log.read_text(), undertrace.metrics()
    equal(metrics['undertrace_sender_spans_total{sender="unowned"}'], 2, "spans that nobody sent")
    expect(metrics['undertrace_oom_kills_total{victim="unowned"}'] >= 1, f"its kill: {metrics}")
    expect(metrics['undertrace_memory_stall_seconds_total{scope="unowned"}'] > 0.001,
           f"its stall: {metrics}")
    expect('event=oom_kill cgroup=""' in log, f"the kill, as nobody's:\n{log}")
    equal([log.count(f"event={name} ") for name in ("cgroups_unknown", "cgroup_scan_failed")],
          [1, 0], f"what is missing is said once:\n{log}")
    doctor = undertrace.command("doctor", "--admin", undertrace.admin).stdout
    for said in ("missing  cgroup v2 mount", "groups of v1 alone are not told apart",
                 "ok       memcg_reclaim_begin"):
        expect(said in doctor, f"doctor says {said!r}:\n{doctor}")


@case
def test(lab, folder):
    if pressure.memory_mount() is None or not pressure.memory_mount()[1]:
        raise Skipped("the memory controller is not in a v1 hierarchy")
    place, arrived = AtTheRoot(lab), Arrived()
    undertrace = Undertrace(lab, folder, COLLECTOR, arrived.sink.address, before=place.hide(),
                            config=CONFIG)
    limited = pressure.Limited(place.root, lab.root.joinpath(*CONTAINER))  # v2 has none like it
    try:
        undertrace.needs_kernel_events().start()
        task = Pressed(place.start, "alone", COLLECTOR, place.root, limited, folder)
        limited.limit(limited.usage() + LIMIT)
        expect_nothing(walk(task, arrived, folder, "stalled", WALKED // 4)[0])
        answer = task.do("killed", "grow", 4 * LIMIT)
        equal(answer["signal"], 9, "the child's end")
        expect_nothing(arrived.span(answer))
        expect_as_nobodys(undertrace)
        lab.stop(task.process)
        undertrace.stop()
    finally:
        arrived.sink.stop()
        limited.remove()
