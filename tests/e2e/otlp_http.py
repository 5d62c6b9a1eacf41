# SPDX-License-Identifier: Apache-2.0
"""The otlp_http exporter and what stands between it and a backend: TLS with an authority of one's
own and a client certificate, and every way in which that must fail; nothing gets lost meanwhile."""
import json
import re
import ssl
import struct
import time

from harness import wire
from harness.check import case, equal, expect, until
from harness.http_sink import Authority, HttpSink
from harness.program import Undertrace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

LISTEN, TLS, PLAIN = "127.0.0.1:14317", 14443, 14318
# The harness fills in what stands in braces, config() the words in capitals.
HEAD = """\
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: {listen}
exporters:
"""
EXPORTER = """\
  NAME:
    endpoint: ENDPOINT
    headers:
      x-name: NAME
    retry_on_failure:
      initial_interval: 30s
      max_interval: 30s
"""
TAIL = """\
service:
  pipelines:
    traces:
      receivers: [otlp]
      exporters: [NAMES]
undertrace:
  admin: unix://{folder}/admin.sock
  shutdown_timeout: 1s
"""
CA, NAME = "ca_file: {folder}/ours.crt", "server_name_override: backend.test"
CLIENT = ["cert_file: {folder}/client.crt", "key_file: {folder}/client.key"]
EXPORTERS = {
    # name: (port, lines of tls, what the error says (a pattern) or None)
    "otlp_http/tls": (TLS, [CA, NAME, *CLIENT], None),
    "otlp_http/skip": (TLS, [*CLIENT, "insecure_skip_verify: true"], None),
    "otlphttp/name": (TLS, [CA, *CLIENT], "127.0.0.1.*set tls.server_name_override"),
    "otlp_http/system": (TLS, [NAME, *CLIENT], "self-signed certificate in certificate chain.*tls.ca_file"),
    "otlp_http/anonymous": (TLS, [CA, NAME], "client certificate|certificate required"),
    "otlp_http/old": (TLS, [CA, NAME, *CLIENT, "max_version: '1.2'"], "protocol version"),
    "otlp_http/json": (PLAIN, None, None),
}
REQUESTS, SPANS = 20, 50


def config():
    text = HEAD
    for name, (port, tls, _) in EXPORTERS.items():
        scheme = "https" if port == TLS else "http"
        text += EXPORTER.replace("NAME", name) \
            .replace("ENDPOINT", f"{scheme}://127.0.0.1:{port}")
        text += "    tls:\n" + "".join(f"      {line}\n" for line in tls) if tls \
            else "    encoding: json\n"
    return text + TAIL.replace("NAMES", ", ".join(EXPORTERS))


def request(seed):
    out = ExportTraceServiceRequest()
    of_resource = out.resource_spans.add()
    of_resource.resource.attributes.add(key="service.name").value.string_value = "http"
    spans = of_resource.scope_spans.add().spans
    for index in range(SPANS):
        span = spans.add(name=f"{seed} {index}", trace_id=bytes([seed + 1]) * 16,
                         span_id=struct.pack(">Q", index + 1))
        span.end_time_unix_nano = span.start_time_unix_nano = time.time_ns()
    return out


def said(undertrace):
    """Exporter → the first error that the log has of it."""
    lines = re.findall(r'event=export_retry .*?exporter=(\S+) .*?text="(.*)"',
                       undertrace.log.read_text())
    return dict(reversed(lines))


@case
def test(lab, folder):
    ours = Authority(folder, "ours")
    ours.sign("server", "backend.test")
    ours.sign("client")
    context = ours.server("server")
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    secure, plain = HttpSink(TLS, context), HttpSink(PLAIN)
    undertrace = Undertrace(lab, folder, LISTEN, "", config=config()).start()
    sender = wire.Sender(LISTEN)
    sent = [request(seed) for seed in range(REQUESTS)]
    failing = {name for name, (_, _, error) in EXPORTERS.items() if error is not None}
    for number, one in enumerate(sent):
        code, _ = sender.send(one.SerializeToString())
        equal(code.name, "OK", "answer")
        # The log limits each kind of line: one failure of each exporter comes first.
        if number == 0:
            until(lambda: said(undertrace).keys() == failing, 10, "each failure is told")

    def arrived(name):
        return [body for path, headers, body in list(secure.requests)
                if headers.get("x-name") == name and path == "/v1/traces"]

    wanted = sorted(f"{seed} {index}" for seed in range(REQUESTS) for index in range(SPANS))
    for name, (port, _, error) in EXPORTERS.items():
        if port != TLS or error is not None:
            continue
        until(lambda which=name: len(arrived(which)) >= REQUESTS, 10, f"all requests by {name}")
        spans = [span.name for body in arrived(name) for of_resource in
                 ExportTraceServiceRequest.FromString(body).resource_spans
                 for span in of_resource.scope_spans[0].spans]
        equal(sorted(spans), wanted, f"spans by {name}")
    until(lambda: len(plain.requests) >= REQUESTS, 10, "all requests as JSON")
    spans = [span["name"] for _, _, body in plain.requests for of_resource in
             json.loads(body)["resourceSpans"] for span in of_resource["scopeSpans"][0]["spans"]]
    equal(sorted(spans), wanted, "spans as JSON")

    for name, text in said(undertrace).items():
        equal(arrived(name), [], f"requests by {name}")
        expect(re.search(EXPORTERS[name][2], text),
               f"{name}: {EXPORTERS[name][2]!r} is not in {text!r}")
    # What has arrived is counted when its answer is here.
    for name, (_, _, error) in EXPORTERS.items():
        sent = f'otelcol_exporter_sent_spans{{exporter="{name}"}}'
        count = 0 if error else REQUESTS * SPANS
        until(lambda sent=sent, count=count: undertrace.metrics()[sent] == count, 5,
              f"{name} has sent {count} spans")
    print(json.dumps({"exporters": len(EXPORTERS), "spans": len(wanted)}))
    undertrace.stop()
    secure.stop()
    plain.stop()
