# SPDX-License-Identifier: Apache-2.0
"""The clients: how each is started, and what its SDK can hold."""
import dataclasses
import os
import pathlib
import subprocess
import sys
import urllib.parse

from harness.check import Skipped
import peers
from plan import Can

HERE = pathlib.Path(__file__).resolve().parent
RESOURCE = {"service.name": "clients ✓", "test.text": "Grüße, a=b %41 日本語 🚀"}
QUOTED = urllib.parse.quote(RESOURCE["test.text"])


@dataclasses.dataclass(frozen=True)
class Client:
    name: str
    build: str       # of tests/clients/build; empty where nothing is to be built
    command: tuple   # {} stands for the folder that was built
    protocol: str    # of OTEL_EXPORTER_OTLP_PROTOCOL
    can: Can
    resource: dict = dataclasses.field(default_factory=lambda: RESOURCE)  # as it has to arrive
    # Where an SDK does not do as the specification says.
    never_retries: bool = False     # what is refused for now is lost
    retries_too_large: bool = False  # although the refusal has no RetryInfo
    mute: bool = False              # says nothing of a partial success
    has_signals: bool = True        # metrics and logs besides spans
    tls_words: str = ""             # is said although it needs no certificate of its own

    def endpoint(self, scheme="http"):
        return f"{scheme}://{peers.GRPC if self.protocol == 'grpc' else peers.HTTP}"

    def words(self):
        if not self.build:
            return list(self.command)
        folder = built(self.build)
        return [word.format(folder) for word in self.command]

    def environment(self, **more):
        """Default settings, but for the endpoint, the protocol, and the signals that undertrace
        does not take; and warnings are to be said where they are not by default."""
        return {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "LC_ALL": "C.UTF-8",
                "UNDERTRACE_RUN": os.environ.get("UNDERTRACE_RUN", ""),
                "PYTHONDONTWRITEBYTECODE": "1",
                "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint(),
                "OTEL_EXPORTER_OTLP_PROTOCOL": self.protocol,
                "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none",
                "OTEL_SERVICE_NAME": RESOURCE["service.name"],
                "OTEL_RESOURCE_ATTRIBUTES": f"test.text={QUOTED}",
                "OTEL_LOG_LEVEL": "warn", "GRPC_GO_LOG_SEVERITY_LEVEL": "warning"} | more


def built(name):
    """The folder of what tests/clients/build has made."""
    said = subprocess.run([HERE / "build", "--no-build", name], capture_output=True, text=True,
                          check=True).stdout.strip()
    _, folder = said.split(" ", 1)
    if folder.startswith("SKIP"):
        raise Skipped(f"{name}: {folder.removeprefix('SKIP ')}")
    return folder


CURL_CAN = Can(bytes=True, nested=True, empty=True)
PYTHON_CAN = dataclasses.replace(CURL_CAN, link_states=False)
GO_CAN = Can(bytes=True, nested=True, link_states=False)
JAVA_CAN = Can(bytes=True, nested=True, scope_attributes=False)
NODE_CAN = Can(numbers=False, scope_attributes=False)
# The SDK for Rust takes what stands in the environment as it is.
RAW = {**RESOURCE, "test.text": QUOTED}

PYTHON = (sys.executable, "-B", str(HERE / "python" / "client.py"))
CURL = (sys.executable, "-B", str(HERE / "curl" / "client.py"))
NODE = ("node", "{}/client.js")
# Processes of two namespaces may have one number, by which a JVM names its performance file.
JAVA = ("java", "-XX:-UsePerfData", "-cp", "{0}:{0}/lib/*", "Client")
NODE_TLS = ("Client key and certificate must both be provided, but one was missing - attempting to "
            "create credentials from just the root certificate\n")
GO = RUST = ("{}/client",)
TELEMETRYGEN = ("{}/telemetrygen", "traces")

CLIENTS = {client.name: client for client in (
    Client("python_grpc", "", PYTHON, "grpc", PYTHON_CAN, retries_too_large=True, mute=True),
    Client("python_http", "", PYTHON, "http/protobuf", PYTHON_CAN, mute=True),
    Client("node_grpc", "node", NODE, "grpc", NODE_CAN, never_retries=True, tls_words=NODE_TLS),
    Client("node_http", "node", NODE, "http/protobuf", NODE_CAN),
    Client("node_json", "node", NODE, "http/json", NODE_CAN),
    Client("go_grpc", "go", GO, "grpc", GO_CAN),
    Client("go_http", "go", GO, "http/protobuf", GO_CAN),
    Client("java_grpc", "java", JAVA, "grpc", JAVA_CAN, retries_too_large=True, mute=True),
    Client("java_http", "java", JAVA, "http/protobuf", JAVA_CAN, mute=True),
    Client("rust_grpc", "rust", RUST, "grpc", Can(), RAW),
    Client("rust_http", "rust", RUST, "http/protobuf", Can(), RAW),
    Client("telemetrygen_grpc", "go", TELEMETRYGEN, "grpc", Can(), has_signals=False),
    Client("telemetrygen_http", "go", TELEMETRYGEN, "http/protobuf", Can(), has_signals=False),
    Client("curl_http", "", CURL, "http/protobuf", CURL_CAN, has_signals=False),
    Client("curl_json", "", CURL, "http/json", CURL_CAN, has_signals=False),
)}
