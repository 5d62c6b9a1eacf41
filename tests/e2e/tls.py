# SPDX-License-Identifier: Apache-2.0
"""TLS and mutual TLS with the Python SDK (gRPC, HTTP) and curl, and out again to a gRPC server that
wants a certificate: each span arrives once, no client has a word of warning, while certificate and
key are replaced again and again, and SIGHUP comes in the middle of it. Who has no certificate, or
does not speak TLS, is told so."""
import json
import pathlib
import signal
import ssl
import subprocess
import sys

import grpc
from harness import wire
from harness.check import case, equal, expect, until
from harness.program import Undertrace
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

GRPC, HTTP = "127.0.0.1:14417", "127.0.0.1:14418"
CHANGES, SPANS = 20, 200

CONFIG = """\
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: {listen}
        tls:
          cert_file: {folder}/server.pem
          key_file: {folder}/server.key
          client_ca_file: {folder}/ca.pem
          reload_interval: 1h
      http:
        endpoint: 127.0.0.1:14418
        tls:
          cert_file: {folder}/server.pem
          key_file: {folder}/server.key
exporters:
  otlp_grpc:
    endpoint: {backend}
    tls:
      ca_file: {folder}/ca.pem
      cert_file: {folder}/client.pem
      key_file: {folder}/client.key
service:
  pipelines:
    traces: {{receivers: [otlp], exporters: [otlp_grpc]}}
undertrace:
  admin: unix://{folder}/admin.sock
"""

SDK = """
import pathlib, sys, time
import grpc
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
kind, folder, count = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
if kind == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    credentials = grpc.ssl_channel_credentials(*(
        (folder / name).read_bytes() for name in ("ca.pem", "client.key", "client.pem")))
    make = lambda: OTLPSpanExporter(endpoint="https://" + sys.argv[4], credentials=credentials)
else:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    make = lambda: OTLPSpanExporter(endpoint=f"https://{sys.argv[4]}/v1/traces",
                                    certificate_file=str(folder / "ca.pem"))
# A new provider, and so a new connection, for each ten spans; one goes on all the time.
lasting = TracerProvider()
lasting.add_span_processor(BatchSpanProcessor(make()))
for start in range(0, count, 10):
    fresh = TracerProvider()
    fresh.add_span_processor(BatchSpanProcessor(make()))
    for index in range(start, start + 10):
        provider = fresh if index % 2 else lasting
        provider.get_tracer("tls").start_span(f"{kind} {index}").end()
    assert lasting.force_flush(20000) and fresh.force_flush(20000)
    fresh.shutdown()
lasting.shutdown()
"""


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def make_certificate(folder, name, extension, issuer=None):
    """NAME.pem and NAME.key, of the authority where `issuer` names it."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    signed = ["-CA", folder / f"{issuer}.pem", "-CAkey", folder / f"{issuer}.key"] if issuer else []
    openssl("req", "-x509", *key, "-days", 2, "-subj", f"/CN={name}", "-addext", extension,
            *signed, "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem")


def change_certificate(folder, undertrace):
    """The certificate first, the key later, and somebody says so too early."""
    make_certificate(folder, "next", "subjectAltName=DNS:localhost,IP:127.0.0.1", "ca")
    (folder / "next.pem").replace(folder / "server.pem")
    undertrace.process.send_signal(signal.SIGHUP)
    (folder / "next.key").replace(folder / "server.key")
    undertrace.process.send_signal(signal.SIGHUP)


def in_force():
    return ssl.get_server_certificate(tuple(HTTP.split(":"))).strip()


def curl(folder, *words):
    """(exit status, what it said) of a POST of an empty request to the port of HTTP."""
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "20", "--cacert", folder / "ca.pem",
         "--header", "Content-Type: application/json", "--data", "{}",
         "--write-out", "%{http_code} %{http_version}", *words],
        capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def names_of(received):
    names = []
    for body in list(received.bodies):
        request = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
        names.extend(span.name for of_resource in request.resource_spans
                     for scope in of_resource.scope_spans for span in scope.spans)
    return sorted(names)


def check_curl(folder):
    for version in ("1.2", "1.3"):
        for form, answered in (("--http1.1", "1.1"), ("--http2", "2")):
            equal(curl(folder, form, f"--tlsv{version}", "--tls-max", version,
                       f"https://{HTTP}/v1/traces"),
                  (0, "{}200 " + answered), f"curl {form} over TLS {version}")
    status, said = curl(folder, f"http://{HTTP}/v1/traces")
    expect(status == 0 and "400" in said and "https://" in said,
           f"curl without TLS is told to use it: {said!r}")
    status, said = curl(folder, "--http1.1", f"https://{GRPC}/v1/traces")
    expect(status != 0 and "certificate required" in said,
           f"curl without a certificate is told so: {said!r}")
    equal(curl(folder, "--http1.1", "--cert", folder / "client.pem", "--key",
               folder / "client.key", f"https://{GRPC}/v1/traces"),
          (0, "{}200 1.1"), "curl with a certificate")


def check_grpc_without_tls():
    with grpc.insecure_channel(GRPC) as channel:
        call = channel.unary_unary(wire.METHOD, wire.as_is, wire.as_is)
        try:
            call(b"", timeout=5)
            expect(False, "a client without TLS was served")
        except grpc.RpcError as error:
            equal(error.code(), grpc.StatusCode.UNAVAILABLE, "status without TLS")
            expect("http1.x" in error.details(), f"it has read our answer: {error.details()!r}")


@case
def test(lab, folder):
    folder = pathlib.Path(folder)
    make_certificate(folder, "ca", "basicConstraints=critical,CA:TRUE")
    make_certificate(folder, "server", "subjectAltName=DNS:localhost,IP:127.0.0.1", "ca")
    make_certificate(folder, "client", "subjectAltName=DNS:client", "ca")
    make_certificate(folder, "sink", "subjectAltName=DNS:localhost", "ca")
    received = wire.ByteSink("localhost:14319", grpc.ssl_server_credentials(
        [((folder / "sink.key").read_bytes(), (folder / "sink.pem").read_bytes())],
        (folder / "ca.pem").read_bytes(), require_client_auth=True)).start()
    undertrace = Undertrace(lab, folder, GRPC, received.address, config=CONFIG).start()
    check_curl(folder)
    check_grpc_without_tls()

    clients = {kind: lab.start([sys.executable, "-B", "-c", SDK, kind, folder, SPANS, address],
                               lab.cgroup(kind), stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
               for kind, address in (("grpc", GRPC), ("http", HTTP))}
    changes = 0
    while any(client.poll() is None for client in clients.values()) or changes < CHANGES:
        change_certificate(folder, undertrace)
        new = (folder / "server.pem").read_text().strip()
        until(lambda new=new: in_force() == new, 5, "the new certificate is in force")
        changes += 1
    for kind, client in clients.items():
        said = client.communicate(timeout=40)[0]
        equal((client.returncode, said), (0, ""), f"exit status and words of the SDK over {kind}")
        lab.stop(client)
    until(lambda: len(received.spans()) >= 2 * SPANS, 10, "all spans arrive")
    equal(names_of(received), sorted(f"{kind} {index}" for kind in clients
                                     for index in range(SPANS)), "the spans, each once")
    log = undertrace.log.read_text()
    expect("reason=plain_http" in log and "reason=no_certificate" in log, "the log says who failed")
    expect("tls_reload_failed" not in log, "no change was reported as bad")
    handshakes = undertrace.metric("undertrace_receiver_tls_handshakes")
    expect(undertrace.metric("undertrace_exporter_tls_handshakes") >= 1, "TLS to the sink as well")
    print(json.dumps({"changes": changes, "handshakes": handshakes}))
    undertrace.stop()
    received.stop()
