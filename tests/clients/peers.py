# SPDX-License-Identifier: Apache-2.0
"""The other programs of a test: undertrace, a collector that is not ours, and the client. All are
in the network namespace that `run` has made for this test, so ports are the usual ones."""
import contextlib
import os
import pathlib
import re
import socket
import subprocess
import urllib.request

from harness.check import Failed, equal, expect, until

BACKEND = "127.0.0.1:14317"
GRPC, HTTP = "localhost:4317", "localhost:4318"

CONFIG = """\
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: {grpc}
{grpc_more}      http:
        endpoint: {http}
{http_more}{processors}exporters:
  otlp_grpc:
    endpoint: http://{backend}
    retry_on_failure:
      initial_interval: 100ms
      max_interval: 200ms
{queue}service:
  pipelines:
    traces:
      receivers: [otlp]
{use}      exporters: [otlp_grpc]
undertrace:
  admin: unix://{folder}/admin.sock
"""

BATCH = {"processors": "processors:\n  batch:\n    timeout: 50ms\n",
         "use": "      processors: [batch]\n"}
SMALL_QUEUE = {"queue": "    sending_queue:\n      num_consumers: 1\n      queue_size: 1\n"}
SMALL_BODIES = {"grpc_more": "        max_recv_msg_size_mib: 1\n",
                "http_more": "        max_request_body_size: 1MiB\n"}

OTELCOL = """\
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: {backend}
        max_recv_msg_size_mib: 64
exporters:
  file:
    path: {folder}/spans
    format: proto
service:
  telemetry:
    metrics:
      level: none
  pipelines:
    traces:
      receivers: [otlp]
      exporters: [file]
"""


def listens(address):
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
        return True
    except OSError:
        return False


class Program:
    """A process with a log, which is stopped at the end whatever happens."""

    def __init__(self, folder, name, *command, env=None):
        self.name, self.log = name, pathlib.Path(folder) / f"{name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, env=env)

    def said(self):
        return self.log.read_text(errors="replace")

    def check_running(self):
        status = self.process.poll()
        expect(status is None, f"{self.name} ended with {status}:\n{self.said()[-3000:]}")
        return True

    def wait(self, seconds):
        """The exit status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} has not ended within {seconds} s:\n"
                         f"{self.said()[-3000:]}") from None

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Undertrace(Program):
    def __init__(self, folder, *settings):
        words = {name: "" for name in ("grpc_more", "http_more", "queue", "processors", "use")}
        for setting in settings:
            words.update(setting)
        config = pathlib.Path(folder) / "undertrace.yaml"
        config.write_text(CONFIG.format(grpc=GRPC, http=HTTP, backend=BACKEND, folder=folder,
                                        **words))
        super().__init__(folder, "undertrace", os.environ["UT_PROGRAM"], "run", "--config", config)
        until(lambda: self.check_running() and listens(GRPC) and listens(HTTP), 20,
              "undertrace is ready")

    def metrics(self):
        """name{labels} → value."""
        with urllib.request.urlopen("http://127.0.0.1:8888/metrics", timeout=5) as answer:
            text = answer.read().decode()
        return {name: int(float(value)) for name, value in
                re.findall(r"^([a-zA-Z_:][^ ]*) (\S+)$", text, re.M)}

    def total(self, name):
        """The sum over all labels."""
        return sum(value for key, value in self.metrics().items() if key.split("{")[0] == name)

    def spans(self, word):
        """Spans of that outcome at the receiver, over both transports."""
        names = {"accepted": "otelcol_receiver_accepted_spans",
                 "refused": "otelcol_receiver_refused_spans"}
        return self.total(names.get(word, f"undertrace_receiver_{word}_spans"))

    def requests(self):
        """Answers given so far: code → how many, those that never were left out."""
        codes = {}
        for key, value in self.metrics().items():
            found = re.match(r'undertrace_receiver_requests_total\{.*code="(\w+)"', key)
            if found and value:
                codes[found.group(1)] = codes.get(found.group(1), 0) + value
        return codes

    def stop(self):
        """Ends it as an operator would; it has to end well and account for every span."""
        self.process.terminate()
        equal(self.wait(20), 0, "exit status of undertrace")
        expect("unaccounted=0" in self.said(), "the last line accounts for every span")


class Otelcol(Program):
    """The OpenTelemetry Collector, which writes what it gets to a file."""

    def __init__(self, folder, program):
        self.path = pathlib.Path(folder) / "spans"
        config = pathlib.Path(folder) / "otelcol.yaml"
        config.write_text(OTELCOL.format(backend=BACKEND, folder=folder))
        super().__init__(folder, "otelcol", program, "--config", config)
        until(lambda: self.check_running() and listens(BACKEND), 30, "otelcol is ready")

    @property
    def bodies(self):
        """What it has written: requests, each behind its length, the last perhaps in part."""
        data, at, found = self.path.read_bytes() if self.path.exists() else b"", 0, []
        while at + 4 <= len(data):
            size = int.from_bytes(data[at:at + 4], "big")
            if at + 4 + size > len(data):
                break
            found.append(data[at + 4:at + 4 + size])
            at += 4 + size
        return found

    def stop(self):
        self.process.terminate()
        equal(self.wait(20), 0, "exit status of otelcol")


@contextlib.contextmanager
def stopping(sink):
    """A ByteSink (tests/e2e/harness/wire.py), stopped at the end."""
    try:
        yield sink
    finally:
        if sink.server is not None:
            sink.stop()
