# SPDX-License-Identifier: Apache-2.0
"""A real OpenTelemetry Collector with a configuration of the test's own, and the requests that its
file exporter wrote."""
import pathlib
import subprocess

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from .check import REPOSITORY, Failed, Skipped, until
from .program import connect


def program():
    """The binary, built into the cache by tests/clients/build; a test never builds it."""
    said = subprocess.run([REPOSITORY / "tests" / "clients" / "build", "--no-build", "otelcol"],
                          capture_output=True, text=True, check=True).stdout.strip()
    folder = said.removeprefix("otelcol ")
    if folder.startswith("SKIP"):
        raise Skipped(f"otelcol: {folder.removeprefix('SKIP ')}")
    return pathlib.Path(folder) / "otelcol"


def requests(path):
    """Those that a file exporter with `format: proto` wrote: each behind its length, the last
    perhaps in part."""
    data, at = path.read_bytes() if path.exists() else b"", 0
    while at + 4 <= len(data):
        size = int.from_bytes(data[at:at + 4], "big")
        if at + 4 + size > len(data):
            return
        yield ExportTraceServiceRequest.FromString(data[at + 4:at + 4 + size])
        at += 4 + size


class Otelcol:
    """`addresses` are those that its receivers listen on."""

    def __init__(self, lab, folder, config, addresses):
        self.lab, self.folder, self.addresses = lab, pathlib.Path(folder), addresses
        self.program, self.process = program(), None
        (self.folder / "otelcol.yaml").write_text(config)

    def start(self):
        with (self.folder / "otelcol.log").open("a") as log:
            self.process = self.lab.start(
                [self.program, "--config", self.folder / "otelcol.yaml"],
                self.lab.cgroup("otelcol"), stdout=log, stderr=log)
        until(self.answers, 30, "otelcol listens")
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise Failed("otelcol ended: " + (self.folder / "otelcol.log").read_text()[-3000:])
        try:
            for address in self.addresses:
                connect(address).close()
            return True
        except OSError:
            return False

    def stop(self):
        self.lab.stop(self.process)
