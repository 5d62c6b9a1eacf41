# SPDX-License-Identifier: Apache-2.0
"""A real containerd of the test's own, with runc: containers by `ctr`, and records of containers by
its API, in the few bytes of protobuf that they take; and spans from a container's cgroup."""
import json
import os
import pathlib
import shutil
import subprocess
import time

import grpc

from .check import Failed, Skipped, equal, expect, until

CONTAINERD = """\
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "{socket}"
[ttrpc]
  address = "{socket}.ttrpc"
"""
# Of an undertrace that asks that containerd.
CONFIG = """\
receivers:
  otlp:
    protocols:
      http:
        endpoint: {listen}
      grpc:
  ebpf:
processors:
  correlate:
  batch:
    timeout: 50ms
exporters:
  otlp_grpc:
    endpoint: http://{backend}
service:
  pipelines:
    traces:
      receivers: [otlp, ebpf]
      processors: [correlate, batch]
      exporters: [otlp_grpc]
undertrace:
  admin: unix://{folder}/admin.sock
  identity:
    containerd: unix://{folder}/containerd/containerd.sock
"""
APPLETS = ("sh", "sed", "sleep", "wget", "date", "chroot")


def varint(number):
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number, content):
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def labels_of(pod):
    return {} if pod is None else {"io.kubernetes.pod.name": pod,
                                   "io.kubernetes.pod.namespace": "shops",
                                   "io.kubernetes.container.name": f"main-{pod}"}


class Containerd:
    def __init__(self, lab, folder):
        for tool in ("containerd", "ctr", "runc", "busybox"):
            if shutil.which(tool) is None:
                raise Skipped(f"{tool} is not installed (tests/support/packages.sh)")
        self.lab, self.folder = lab, pathlib.Path(folder) / "containerd"
        self.socket = self.folder / "containerd.sock"
        self.rootfs = self.folder / "rootfs"
        self.process = self.channel = self.known_version = None
        for name in ("bin", "tmp", "proc", "sys", "dev", "etc", "host"):
            (self.rootfs / name).mkdir(parents=True)
        shutil.copy(shutil.which("busybox"), self.rootfs / "bin" / "busybox")
        for name in APPLETS:
            (self.rootfs / "bin" / name).symlink_to("busybox")
        (self.folder / "config.toml").write_text(
            CONTAINERD.format(folder=self.folder, socket=self.socket))

    def start(self):
        with (self.folder.parent / "containerd.log").open("a") as log:
            self.process = self.lab.start(
                ["containerd", "--config", self.folder / "config.toml", "--log-level", "warn"],
                self.lab.cgroup("containerd"), stdout=log, stderr=log)
        until(self.answers, 20, "containerd answers")
        words = self.ctr("version").stdout.split("Server:")[1].split()
        self.known_version = words[words.index("Version:") + 1]
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise Failed(f"containerd ended with {self.process.returncode}")
        return self.ctr("version", check=False).returncode == 0

    def stop(self):
        self.lab.stop(self.process)

    def ctr(self, *words, namespace="k8s.io", check=True):
        done = subprocess.run(["ctr", "--address", self.socket, "--namespace", namespace, *words],
                              capture_output=True, text=True, check=False, timeout=30)
        expect(done.returncode == 0 or not check, f"ctr {words}: {done.stderr}")
        return done

    # ---- containers that run ----

    def run(self, name, cgroup, script, pod=None, namespace="k8s.io"):
        """Starts `script` in a container of that id, below the lab's own cgroup."""
        labels = [word for key, value in labels_of(pod).items()
                  for word in ("--label", f"{key}={value}")]
        self.ctr("run", "--detach", "--net-host", "--cgroup", f"/{self.lab.root.name}/{cgroup}",
                 *labels, "--rootfs", self.rootfs, name, "/bin/sh", "-c", script,
                 namespace=namespace)

    def runner(self, name, cgroup, pod, *options):
        """Words before a command that make it run in a container of that id, below the lab's own
        cgroup, on the host's files, with our standard input and output. `options` are more of
        ctr's; a node's network is `in_network`."""
        labels = [word for key, value in labels_of(pod).items()
                  for word in ("--label", f"{key}={value}")]
        return ["ctr", "--address", self.socket, "--namespace", "k8s.io", "run", "--rm",
                *map(str, options), "--cgroup", f"/{self.lab.root.name}/{cgroup}", *labels,
                "--mount", "type=bind,src=/,dst=/host,options=rbind:rw",
                "--rootfs", self.rootfs, name, "/bin/chroot", "/host"]

    def kill(self, name, namespace="k8s.io"):
        self.ctr("task", "kill", "--signal", "KILL", name, namespace=namespace)
        until(lambda: self.ctr("task", "delete", name, namespace=namespace,
                               check=False).returncode == 0, 10, f"{name} ends")
        self.ctr("container", "delete", name, namespace=namespace)

    # ---- records of containers, without one that runs ----

    def call(self, method, body):
        if self.channel is None:
            self.channel = grpc.insecure_channel(f"unix://{self.socket}")
        ask = self.channel.unary_unary(f"/containerd.services.containers.v1.Containers/{method}")
        return ask(body, metadata=[("containerd-namespace", "k8s.io")], timeout=10)

    def record(self, name, pod, image):
        labels = b"".join(field(2, field(1, key) + field(2, value))
                          for key, value in labels_of(pod).items())
        self.call("Create", field(1, field(1, name) + labels + field(3, image)
                                  + field(4, field(1, "io.containerd.runc.v2"))
                                  + field(5, field(1, "spec") + field(2, b"{}"))))

    def forget(self, name):
        self.call("Delete", field(1, name))


def in_network(node):
    return "--with-ns", f"network:/run/netns/{node.namespace}"


def remove_v1_cgroups(name):
    """What runc leaves in the hierarchies of cgroup v1, where there are any."""
    for top in pathlib.Path("/sys/fs/cgroup").glob(f"*/{name}"):
        for path, _, _ in os.walk(top, topdown=False):
            try:
                os.rmdir(path)
            except OSError:
                pass


def span_body(name, time_ns):
    """A request of one span, in JSON."""
    span = {"traceId": os.urandom(16).hex(), "spanId": os.urandom(8).hex(), "name": name,
            "kind": 2, "startTimeUnixNano": time_ns, "endTimeUnixNano": time_ns}
    service = {"key": "service.name", "value": {"stringValue": "shop"}}
    return json.dumps({"resourceSpans": [{"resource": {"attributes": [service]},
                                          "scopeSpans": [{"spans": [span]}]}]})


def send_from(cgroup, name, listen):
    """A process of that cgroup connects, sends one span and ends."""
    done = subprocess.run(
        ["/bin/sh", "-c", 'echo 0 >"$1/cgroup.procs" && shift && exec "$@"', "sh", cgroup, "curl",
         "--silent", "--fail", "--header", "Content-Type: application/json", "--data",
         span_body(name, str(time.time_ns())), f"http://{listen}/v1/traces"],
        capture_output=True, text=True, check=False, timeout=20)
    equal(done.returncode, 0, f"{name}: curl {done.stderr}")
