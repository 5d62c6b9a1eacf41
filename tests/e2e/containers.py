# SPDX-License-Identifier: Apache-2.0
"""Containers of a real containerd and runc, with Kubernetes' cgroups and labels, started and killed
while they send spans: each span has the pod, the container and the version of its own. Then, as
many times as asked for, a container's worth of cgroup and record is made, sends a span and goes,
and its id is used again by another: no stale name, no leak.

    containers.py COUNT
"""
import os
import sys

from harness import program, spans, wire
from harness.check import case, equal, expect, until
from harness.containers import (CONFIG, Containerd, remove_v1_cgroups, send_from,
                                span_body)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

COUNT = int(sys.argv[1])
LISTEN, SINK = "127.0.0.1:4318", "127.0.0.1:14318"
# Spans that end just now, as applications' do: they are joined when they have settled.
SCRIPT = """\
while :; do
    now=$(($(date +%s) + 1))000000000
    echo '{body}' | sed "s/@now/$now/g" >/tmp/{name}
    wget -q -O /tmp/{name}.answer --header 'Content-Type: application/json' \\
        --post-file /tmp/{name} http://{listen}/v1/traces
    sleep 0.2
done"""
POD = "{:08x}-1111-2222-3333-444444444444"
IDS = 25
IMAGE = "registry.local:5000/team/shop"


def script(name):
    return SCRIPT.format(body=span_body(name, "@now"), name=name, listen=LISTEN)


def received(sink):
    with sink.lock:
        bodies = list(sink.bodies)
    return [span for one in bodies
            for span in spans.from_request(ExportTraceServiceRequest.FromString(one))]


def identity(container, version, pod=None, uid=None, name=None, image=None):
    wanted = {"container.id": container, "k8s.pod.uid": uid, "k8s.pod.name": pod,
              "k8s.namespace.name": "shops" if pod else None,
              "k8s.container.name": f"main-{pod}" if pod else None,
              "container.name": name or (f"main-{pod}" if pod else None),
              "container.image.name": image, "container.runtime.name": "containerd",
              "container.runtime.version": version, "containerd.runtime.version": version}
    return {key: value for key, value in wanted.items() if value is not None}


def check(sink, wanted):
    """Every span, from the first on, has what is wanted by its name, and no more."""
    for span in received(sink):
        seen = {key: value for key, value in span.resource.items()
                if key not in ("service.name", "undertrace.cgroup.path")}
        equal(seen, wanted[span.name], f"identity of span {span.name!r}")


def more(sink, name, count=3):
    had = sum(span.name == name for span in received(sink))
    until(lambda: sum(span.name == name for span in received(sink)) >= had + count, 20,
          f"spans of {name}")


def play_real(containerd, sink, undertrace):
    """Containers that run: their identity, the death of one and its id in other hands, and a time
    without containerd."""
    version, ids, uids = containerd.known_version, [f"{n:064x}" for n in (10, 11, 12)], {}
    wanted = {}
    shapes = {"api": "kubepods/burstable/pod{uid}/{id}", "db": "kubepods/pod{uid}/{id}",
              "batch": "kubepods-besteffort-pod{slice}.slice/cri-containerd-{id}.scope"}
    for number, (pod, shape) in enumerate(shapes.items()):
        uids[pod] = POD.format(number)
        cgroup = shape.format(uid=uids[pod], slice=uids[pod].replace("-", "_"), id=ids[number])
        wanted[pod] = identity(ids[number], version, pod, uids[pod])
        containerd.run(ids[number], cgroup, script(pod), pod)
    for pod in shapes:
        more(sink, pod)
    containerd.kill(ids[0])
    wanted["heir"] = identity(ids[0], version, "heir", uids["api"])
    containerd.run(ids[0], f"kubepods/burstable/pod{uids['api']}/{ids[0]}", script("heir"), "heir")
    more(sink, "heir")
    check(sink, wanted)

    containerd.stop()
    until(lambda: undertrace.metric("undertrace_containerd_connected") == 0, 10, "it is gone")
    doctor = undertrace.command("doctor", "--admin", undertrace.admin).stdout
    expect(str(containerd.socket) in doctor, f"doctor says that it is not there:\n{doctor}")
    more(sink, "db")
    containerd.start()
    until(lambda: undertrace.metric("undertrace_containerd_connected") == 1, 20, "it is back")
    # A namespace that was not there when they were listed.
    wanted["late"] = identity("f" * 64, version)
    containerd.run("f" * 64, f"k8s.io/{'f' * 64}", script("late"), namespace="other")
    more(sink, "late")
    check(sink, wanted)
    doctor = undertrace.command("doctor", "--admin", undertrace.admin).stdout
    expect(f"version {version}" in doctor, f"doctor knows the version:\n{doctor}")
    for name in ids:
        containerd.kill(name)
    containerd.kill("f" * 64, namespace="other")


def descriptors(undertrace):
    return len(os.listdir(f"/proc/{undertrace.process.pid}/fd"))


def make(containerd, lab, number, first):
    """A container's worth of cgroup and record, and its span; its cgroup, id and identity."""
    name, pod, uid = f"{first + number % IDS:064x}", f"pod-{first + number}", POD.format(first)
    cgroup = lab.cgroup("kubepods", f"pod{uid}", name)
    containerd.record(name, pod, f"{IMAGE}:{number}")
    send_from(cgroup, pod, LISTEN)
    return cgroup, name, {pod: identity(name, containerd.known_version, pod, uid, image=IMAGE)}


def remove(containerd, cgroup, name):
    cgroup.rmdir()
    containerd.forget(name)


def named(wanted, arrived):
    """How many spans have all names; what they have is right, never another's."""
    for span in arrived:
        for key, value in wanted[span.name].items():
            expect(span.resource.get(key) in (None, value),
                   f"{key} of {span.name}: {span.resource}")
    return sum("k8s.pod.name" in span.resource for span in arrived)


def play_many(containerd, sink, lab):
    """A few ids, each used again and again by another pod at the same path. Spans do not wait for
    their names, and on a busy machine an answer may come too late for one."""
    wanted = {}
    for start in range(0, COUNT, IDS):
        made = [make(containerd, lab, number, 1000)
                for number in range(start, min(start + IDS, COUNT))]
        for _, _, known in made:
            wanted.update(known)
        until(lambda: len(received(sink)) == len(wanted), 20, "all spans arrive")
        for cgroup, name, _ in made:
            remove(containerd, cgroup, name)
    count = named(wanted, received(sink))
    print(f"{count} of {COUNT} had their names in time")
    expect(count >= 0.95 * COUNT, f"{count} of {COUNT} spans have names")


def play_short(containerd, sink, lab):
    """The same, gone before anyone can have asked: right names or none, never another's."""
    wanted, had = {}, len(received(sink))
    for number in range(COUNT):
        cgroup, name, known = make(containerd, lab, number, 1000000)
        wanted.update(known)
        remove(containerd, cgroup, name)
    until(lambda: len(received(sink)) == had + COUNT, 20, "all spans arrive")
    named(wanted, received(sink)[had:])


def check_leaks(undertrace, before):
    metrics = undertrace.metrics()
    equal(metrics["undertrace_containerd_refused_total"], 0, "questions without room")
    equal(metrics["undertrace_workloads_overflow_total"], 0, "workloads without room")
    until(lambda: descriptors(undertrace) <= before, 10, "no descriptor is left open")


@case
def test(lab, folder):
    sink = wire.ByteSink(SINK).start()
    containerd = Containerd(lab, folder).start()
    undertrace = program.Undertrace(lab, folder, LISTEN, SINK, config=CONFIG)
    try:
        undertrace.needs_kernel_events().start()
        until(lambda: undertrace.metric("undertrace_containerd_connected") == 1, 10, "connected")
        play_real(containerd, sink, undertrace)
        undertrace.stop()
        undertrace.start()
        sink.bodies.clear()
        before = descriptors(undertrace)
        play_many(containerd, sink, lab)
        play_short(containerd, sink, lab)
        check_leaks(undertrace, before)
        undertrace.stop()
        containerd.stop()
    finally:
        sink.stop()
        remove_v1_cgroups(lab.root.name)
