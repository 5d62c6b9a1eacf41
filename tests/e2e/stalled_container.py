# SPDX-License-Identifier: Apache-2.0
"""A container that containerd and runc made, driven against the memory limit that they gave it: its
span carries the stall, for as long as the kernel's own count (PSI) has it, and the names of its pod
and container. Its neighbour, in the same pod and without a limit, has its own name and no stall."""
from harness import program
from harness.check import Skipped, case, equal, until
from harness.containers import CONFIG, Containerd, remove_v1_cgroups
from harness.stalls import OF_A_FILE, WALKED, Arrived, Pressed, expect_stall, walk

import netlab  # of tests/support, as harness.check knows
import pressure

COLLECTOR = "127.0.0.1:4317"
POD = "pod12345678-1111-2222-3333-444444444444"
LIMIT = 128 * pressure.MIB
# More than the default, so that a busy machine does not make evidence late.
SETTLED = CONFIG.replace("  correlate:\n", "  correlate:\n    settle: 1s\n")


def contain(containerd, lab, folder, number, name, *options):
    """A process in a container of that name, and its id."""
    container = f"{number:064x}"
    cgroup = f"kubepods/burstable/{POD}/{container}"
    words = containerd.runner(container, cgroup, name, "--net-host", *options)
    path = lab.root / cgroup
    task = Pressed(lambda argv, **more: lab.start([*words, *argv], lab.cgroup("runner"), **more),
                   name, COLLECTOR, path, pressure.Limited(netlab.cgroup2_mount(), path), folder)
    return task, container


def expect_named(span, container, name):
    known = {"container.id": container, "k8s.pod.uid": POD.removeprefix("pod"),
             "k8s.pod.name": name, "k8s.container.name": f"main-{name}"}
    equal({key: span.resource.get(key) for key in known}, known, f"whose {span} is")


@case
def test(lab, folder):
    if pressure.memory_mount() is None:
        raise Skipped("no memory controller is mounted")
    arrived, containerd = Arrived(), Containerd(lab, folder).start()
    undertrace = program.Undertrace(lab, folder, "127.0.0.1:4318", arrived.sink.address,
                                    config=SETTLED)
    try:
        undertrace.needs_kernel_events().start()
        until(lambda: undertrace.metric("undertrace_containerd_connected") == 1, 10, "connected")
        task, limited = contain(containerd, lab, folder, 1, "tight", "--memory-limit", LIMIT)
        beside, free = contain(containerd, lab, folder, 2, "free")
        span, answer = walk(task, arrived, folder, "stalled", WALKED)
        expect_stall(span, answer, "own", OF_A_FILE)
        expect_named(span, limited, "tight")
        span, _ = walk(beside, arrived, folder, "walked", WALKED)
        equal([key for key in span.evidence if "stall" in key], [], f"stalls of {span}")
        expect_named(span, free, "free")
        for one in (task, beside):
            one.process.stdin.close()
            one.process.wait(60)
        undertrace.stop()
        containerd.stop()
    finally:
        arrived.sink.stop()
        remove_v1_cgroups(lab.root.name)
