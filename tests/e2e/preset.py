# SPDX-License-Identifier: Apache-2.0
"""Without a configuration: spans come in on 4317 and 4318 and are printed, or go where the
environment variables of the OpenTelemetry specification say. Each of these does what it is for, and
those that have no effect are named in the log."""
import contextlib
import json
import re
import time
import urllib.request

import grpc
from harness import wire
from harness.check import case, equal, expect, until
from harness.http_sink import Authority, HttpSink
from harness.program import connect, program
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

GRPC, HTTP = "127.0.0.1:4317", "http://127.0.0.1:4318/v1/traces"
PORT = 14318
# The admin socket is at its usual place, which may be taken on this machine.
PRIVATE = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run && exec "$@"', "sh")


class Preset:
    """The program with these OTEL_EXPORTER_OTLP_… and nothing else."""

    def __init__(self, lab, folder, name, **variables):
        self.lab, self.log = lab, folder / f"{name}.log"
        words = [f"OTEL_EXPORTER_OTLP_{key}={value}" for key, value in variables.items()]
        with self.log.open("w") as log:
            self.process = lab.start([*PRIVATE, "env", *words, program()], lab.cgroup("collector"),
                                     stdout=log, stderr=log)
        for address in (GRPC, "127.0.0.1:4318"):
            until(lambda at=address: self.listens(at), 20, f"{name} listens on {address}")

    def listens(self, address):
        expect(self.process.poll() is None, f"undertrace ended: {self.log.read_text()}")
        with contextlib.suppress(OSError):
            connect(address).close()
            return True
        return False

    def notices(self):
        """Those variables that the log says have no effect."""
        return set(re.findall(r"OTEL_EXPORTER_OTLP_(\w+): has no effect", self.log.read_text()))

    def stop(self):
        equal(self.lab.stop(self.process, 15), 0, "exit status")
        expect("unaccounted=0" in self.log.read_text(), "the last line accounts for every span")


def request(number):
    out = ExportTraceServiceRequest()
    of_resource = out.resource_spans.add()
    of_resource.resource.attributes.add(key="service.name").value.string_value = f"sender-{number}"
    span = of_resource.scope_spans.add().spans.add(
        name=f"span-{number}", trace_id=bytes([number]) * 16, span_id=bytes([number]) * 8)
    span.start_time_unix_nano = span.end_time_unix_nano = time.time_ns()
    return out


def send(number):
    code, _ = wire.Sender(GRPC).send(request(number).SerializeToString())
    equal(code.name, "OK", "answer")


def send_over_http(number):
    posted = urllib.request.Request(HTTP, request(number).SerializeToString(),
                                    {"Content-Type": "application/x-protobuf"})
    with urllib.request.urlopen(posted, timeout=10) as answer:
        equal(answer.status, 200, "answer")


class CallSink(wire.ByteSink):
    """Keeps of each call its metadata and how long its client would have waited."""

    def __init__(self, credentials=None):
        super().__init__(f"127.0.0.1:{PORT}", credentials)
        self.calls = []

    def keep(self, body, context):
        self.calls.append((dict(context.invocation_metadata()), context.time_remaining()))
        return super().keep(body, context)


def printed(lab, folder):
    """What is about an endpoint is not silently ignored where there is none."""
    preset = Preset(lab, folder, "printed", HEADERS="a=b", TRACES_TIMEOUT="1000", PROTOCOL="grpc")
    send(1)
    send_over_http(2)
    for number in (1, 2):
        until(lambda which=number: re.search(rf"sender-{which} +span-{which}\n",
                                             preset.log.read_text()),
              10, f"the trace of sender {number} is printed")
    equal(preset.notices(), {"HEADERS", "TRACES_TIMEOUT", "PROTOCOL"}, "variables without effect")
    preset.stop()


def over_grpc(lab, folder):
    """An address without a scheme is plain only where that is said; `%` is decoded; a variable of
    traces goes before the general one."""
    backend = CallSink().start()
    preset = Preset(lab, folder, "grpc", ENDPOINT=f"127.0.0.1:{PORT}", INSECURE="true",
                    HEADERS="x-token=a%20b%2Cc%3D, x-more = 1 ", TIMEOUT="9000",
                    TRACES_TIMEOUT="2500")
    send(3)
    until(lambda: backend.calls, 10, "the request arrives")
    metadata, remaining = backend.calls[0]
    equal((metadata.get("x-token"), metadata.get("x-more")), ("a b,c=", "1"), "headers")
    expect(remaining <= 2.5, f"the exporter would wait for {remaining} s, and 2.5 were asked for")
    equal(len(backend.spans()), 1, "spans")
    equal(preset.notices(), set(), "variables without effect")
    preset.stop()
    backend.stop()


def over_mutual_tls(lab, folder, authority):
    backend = CallSink(grpc.ssl_server_credentials(
        [(authority.key("localhost").read_bytes(), authority.cert("localhost").read_bytes())],
        authority.cert("ours").read_bytes(), require_client_auth=True)).start()
    preset = Preset(lab, folder, "tls", ENDPOINT=f"https://localhost:{PORT}",
                    CERTIFICATE=authority.cert("ours"), CLIENT_KEY=authority.key("client"),
                    CLIENT_CERTIFICATE=authority.cert("client"))
    send(4)
    until(lambda: backend.calls, 10, "the request arrives over mutual TLS")
    preset.stop()
    backend.stop()


def over_http(lab, folder, authority):
    """The general endpoint is a base, to which the path of traces is added."""
    backend = HttpSink(PORT, authority.server("localhost"))
    preset = Preset(lab, folder, "http", PROTOCOL="http/protobuf", COMPRESSION="gzip",
                    ENDPOINT=f"https://localhost:{PORT}/base", HEADERS="x-token=%C3%A4",
                    CERTIFICATE=authority.cert("ours"), CLIENT_KEY=authority.key("client"),
                    CLIENT_CERTIFICATE=authority.cert("client"), INSECURE="true")
    send_over_http(5)
    until(lambda: backend.requests, 10, "the request arrives over HTTP")
    path, headers, body = backend.requests[0]
    equal((path, headers.get("Content-Type"), headers.get("Content-Encoding")),
          ("/base/v1/traces", "application/x-protobuf", "gzip"), "request")
    equal(headers.get("x-token").encode("latin-1"), "ä".encode(), "header")
    span = ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans[0]
    equal(span.name, "span-5", "span")
    equal(preset.notices(), {"INSECURE"}, "variables without effect")
    preset.stop()
    backend.stop()


def over_json(lab, folder):
    """The endpoint of traces is the whole URL."""
    backend = HttpSink(PORT)
    preset = Preset(lab, folder, "json", TRACES_PROTOCOL="http/json", ENDPOINT="http://127.0.0.1:1",
                    TRACES_ENDPOINT=f"http://127.0.0.1:{PORT}/own/path")
    send(6)
    until(lambda: backend.requests, 10, "the request arrives as JSON")
    path, headers, body = backend.requests[0]
    equal((path, headers.get("Content-Type")), ("/own/path", "application/json"), "request")
    span = json.loads(body)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    equal(span["name"], "span-6", "span")
    preset.stop()
    backend.stop()


@case
def test(lab, folder):
    authority = Authority(folder, "ours")
    authority.sign("localhost")
    authority.sign("client")
    printed(lab, folder)
    over_grpc(lab, folder)
    over_mutual_tls(lab, folder, authority)
    over_http(lab, folder, authority)
    over_json(lab, folder)
