# SPDX-License-Identifier: Apache-2.0
"""Undertrace itself, as a process with a configuration, a log and metrics."""
import os
import pathlib
import re
import socket
import subprocess
import urllib.request

from .check import Failed, Skipped, expect, until

import unrun

METRICS = "http://127.0.0.1:8888"

CONFIG = """\
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: {listen}
  ebpf:
    capture_file: {folder}/kernel.capture
{ebpf}processors:
  correlate:
    settle: 1s  # more than the default, so that a busy machine does not make evidence late
  batch:
    timeout: 50ms
exporters:
  otlp_grpc:
    endpoint: http://{backend}
    retry_on_failure:
      initial_interval: 200ms
      max_interval: 1s
{more}service:
  pipelines:
    traces:
      receivers: [otlp, ebpf]
      processors: [correlate, batch]
      exporters: [otlp_grpc]
undertrace:
  admin: unix://{folder}/admin.sock
"""


def program():
    path = pathlib.Path(os.environ.get("UT_PROGRAM", ""))
    if not path.is_file():
        raise Skipped("UT_PROGRAM does not name the program")
    return path


# The programs that the running test has started.
UNRUN = []


def unrun_events():
    """Over all of them; to be asked while they run."""
    return sum(one.unrun_events() for one in UNRUN)


def forget_unrun():
    for one in UNRUN:
        one.forget_unrun()
    UNRUN.clear()


def connect(address):
    """A socket connected to host:port or unix:///path."""
    if address.startswith("unix://"):
        reached = socket.socket(socket.AF_UNIX)
        try:
            reached.connect(address.removeprefix("unix://"))
        except OSError:
            reached.close()
            raise
        return reached
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host.strip("[]"), int(port)), timeout=1)


def metrics_at(url):
    """name{labels} → value."""
    with urllib.request.urlopen(url + "/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return {name: float(value) for name, value in
            re.findall(r"^([a-zA-Z_:][^ ]*) (\S+)$", text, re.M)}


class Undertrace:
    """`listen` is where it takes spans, `backend` where it sends them. `before` are words that go
    before the program's own on the command line, such as those that take its rights away."""

    def __init__(self, lab, folder, listen, backend, more="", before=(), config=CONFIG,
                 ebpf=""):
        self.lab, self.folder, self.listen, self.before = lab, pathlib.Path(folder), listen, before
        self.log = self.folder / "undertrace.log"
        self.config = self.folder / "undertrace.yaml"
        self.admin = self.folder / "admin.sock"
        self.config.write_text(config.format(listen=listen, backend=backend, folder=folder,
                                             more=more, ebpf=ebpf))
        self.process = self.unrun = None
        self.unrun_seen = 0

    def start(self):
        with self.log.open("a") as log:
            self.process = self.lab.start(
                [*self.before, program(), "run", "--config", self.config],
                self.lab.cgroup("collector"), stdout=log, stderr=log)
        until(self.ready, 150, "undertrace is ready")  # in an emulator
        self.unrun = unrun.Unrun(self.process.pid)
        UNRUN.append(self)
        return self

    def unrun_events(self):
        """Kernel events so far for which the kernel did not run our programs (support/unrun.py)."""
        if self.unrun is not None and self.process.poll() is None:
            self.unrun_seen = self.unrun.count()
        return self.unrun_seen

    def forget_unrun(self):
        if self.unrun is not None:
            self.unrun.close()
            self.unrun = None

    def ready(self):
        if self.process.poll() is not None:
            raise Failed("undertrace ended: " + self.log.read_text()[-3000:])
        try:
            connect(self.listen).close()
            return True
        except OSError:
            return False

    def blind(self):
        """Whether this machine gives no eBPF rights at all."""
        capabilities = re.search(r"^CapEff:\s*(\w+)", pathlib.Path("/proc/self/status").read_text(),
                                 re.M).group(1)
        cap_perfmon, cap_bpf = 38, 39
        return not all(int(capabilities, 16) >> bit & 1 for bit in (cap_perfmon, cap_bpf))

    def needs_kernel_events(self):
        if self.blind():
            raise Skipped("no rights for eBPF on this machine (CAP_BPF, CAP_PERFMON)")
        return self

    def metrics(self):
        return metrics_at(METRICS)

    def metric(self, name):
        """The sum over all labels; 0 where there is none."""
        return sum(value for key, value in self.metrics().items()
                   if key.split("{")[0] in (name, name + "_total"))

    def command(self, *words):
        return subprocess.run([*self.before, program(), *map(str, words)], capture_output=True,
                              text=True, check=False, timeout=20)

    def stop(self):
        """Ends it as an operator would; it has to end well and account for every span."""
        self.unrun_events()
        self.forget_unrun()
        status = self.lab.stop(self.process, 15)
        log = self.log.read_text()[-3000:]
        expect(status == 0, f"undertrace ended with {status}:\n{log}")
        expect("unaccounted=0" in log, f"the last line accounts for every span:\n{log}")
