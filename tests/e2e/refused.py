# SPDX-License-Identifier: Apache-2.0
"""As a user who may watch the kernel but not open containerd's socket: log, metrics and `doctor`
say that it is refused, and what helps. Spans do not wait: they have what the cgroup path tells and
no more. Once the socket may be opened the names come, without a restart."""
import os
import re
import shutil
import subprocess

from harness import program, spans, wire
from harness.check import case, equal, expect, until
from harness.containers import CONFIG, Containerd, send_from
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

LISTEN, SINK = "127.0.0.1:4318", "127.0.0.1:14318"
NOBODY = 65534
UID, CONTAINER, POD = "12345678-1111-2222-3333-444444444444", "d" * 64, "web"


def give_to_nobody(folder):
    """The program may be where only root can go; the capabilities are those that doctor advises."""
    copy = folder / "undertrace"
    shutil.copy(program.program(), copy)
    subprocess.run(["setcap", "cap_bpf,cap_perfmon+ep", copy], check=True)
    folder.chmod(0o755)
    os.chown(folder, NOBODY, NOBODY)
    os.environ["UT_PROGRAM"] = str(copy)


def arrived(sink, name):
    def find():
        with sink.lock:
            bodies = list(sink.bodies)
        return next((span for one in bodies
                     for span in spans.from_request(ExportTraceServiceRequest.FromString(one))
                     if span.name == name), None)
    return until(find, 20, f"span {name} arrives")


def expect_refused(undertrace, socket):
    log, metrics = undertrace.log.read_text(), undertrace.metrics()
    equal(metrics["undertrace_containerd_connected"], 0, "whether containerd can be asked")
    said = re.findall(r"level=(\w+) event=containerd_unavailable (.*)", log)
    equal(len(said), 1, f"what the log says of it:\n{log}")
    equal(said[0][0], "warn", "as what")
    doctor = undertrace.command("doctor", "--config", undertrace.config).stdout
    for text in (said[0][1], doctor):
        expect(f"unix://{socket}: permission denied" in text, f"{socket} is refused:\n{text}")
    expect(re.search(r"^  missing  containerd +/\S*containerd.sock: Permission denied\n.*run it as "
                     "root", doctor, re.M), f"doctor tells what helps:\n{doctor}")


@case
def test(lab, folder):
    give_to_nobody(folder)
    sink, containerd = wire.ByteSink(SINK).start(), Containerd(lab, folder).start()
    undertrace = program.Undertrace(
        lab, folder, LISTEN, SINK, config=CONFIG,
        before=("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"))
    try:
        undertrace.needs_kernel_events().start()
        cgroup = lab.cgroup("kubepods", f"pod{UID}", CONTAINER)
        containerd.record(CONTAINER, POD, "registry.local/shop")
        known = {"container.id": CONTAINER, "k8s.pod.uid": UID, "k8s.pod.name": None}
        for name in ("first", "second"):
            send_from(cgroup, name, LISTEN)
            resource = arrived(sink, name).resource
            equal({key: resource.get(key) for key in known}, known, f"identity of {name}")
        expect_refused(undertrace, containerd.socket)
        os.chmod(containerd.socket, 0o666)
        until(lambda: undertrace.metric("undertrace_containerd_connected") == 1, 60, "connected")
        until(lambda: undertrace.metrics()[
            'undertrace_containerd_answers_total{answer="found"}'] >= 1, 20, "it has answered")
        send_from(cgroup, "named", LISTEN)
        equal(arrived(sink, "named").resource.get("k8s.pod.name"), POD, "the name of the pod")
        undertrace.stop()
        containerd.stop()
    finally:
        sink.stop()
