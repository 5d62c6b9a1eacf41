# SPDX-License-Identifier: Apache-2.0
"""What an exporter shows its backend: a token that is replaced in its file while spans flow, over
gRPC and HTTP, into an undertrace that lets in nobody else; and a user with a password."""
import json
import os
import time

from harness import wire
from harness.check import case, equal, expect, until
from harness.http_sink import HttpSink
from harness.program import Undertrace

FIRST, SECOND, SINK, PLAIN = "127.0.0.1:15317", "127.0.0.1:15318", "127.0.0.1:14318", 14443
BACKEND = """\
extensions:
  bearertokenauth:
    filename: {folder}/../tokens
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: {listen}, auth: {{authenticator: bearertokenauth}}}}
      http: {{endpoint: "127.0.0.1:15319", auth: {{authenticator: bearertokenauth}}}}
exporters:
  otlp_grpc: {{endpoint: "http://{backend}"}}
service:
  extensions: [bearertokenauth]
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [otlp_grpc]}}
undertrace: {{admin: unix://{folder}/admin.sock}}
"""
SENDER = """\
extensions:
  bearertokenauth/ours:
    filename: {folder}/../token
  basicauth:
    client_auth: {{username: Aladdin, password: open sesame}}
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: {listen}}}
exporters:
  otlp_grpc: {{endpoint: "http://{backend}", auth: {{authenticator: bearertokenauth/ours}}}}
  otlp_http: {{endpoint: "http://127.0.0.1:15319", auth: {{authenticator: bearertokenauth/ours}}}}
  otlp_http/basic: {{endpoint: "http://127.0.0.1:14443", auth: {{authenticator: basicauth}}}}
service:
  extensions: [bearertokenauth/ours, basicauth]
  pipelines:
    traces: {{receivers: [otlp], exporters: [otlp_grpc, otlp_http, otlp_http/basic]}}
undertrace: {{admin: unix://{folder}/admin.sock}}
"""
SPANS = 5


def write(path, text):
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


@case
def test(lab, folder):
    for name in ("first", "second"):
        (folder / name).mkdir()
    write(folder / "tokens", "one\n")
    write(folder / "token", "one\n")
    received, plain = wire.ByteSink(SINK).start(), HttpSink(PLAIN)
    second = Undertrace(lab, folder / "second", SECOND, SINK, config=BACKEND).start()
    first = Undertrace(lab, folder / "first", FIRST, SECOND, config=SENDER).start()
    sender = wire.Sender(FIRST)

    def send(number):
        code, _ = sender.send(wire.numbered_request(number, SPANS))
        equal(code.name, "OK", "answer")

    send(0)
    until(lambda: len(received.spans()) == 2 * SPANS, 10, "both get in with the first token")
    # The backend knows the new token first; the old one is good for a while yet.
    write(folder / "tokens", "two\n")
    until(lambda: "credentials_replaced" in second.log.read_text(), 10, "the backend has both")
    write(folder / "token", "two\n")
    for number in range(1, 30):
        send(number)
        time.sleep(0.1)
    until(lambda: first.log.read_text().count("export_credentials_replaced") == 2, 10,
          "both exporters have the second token")
    send(30)
    until(lambda: len(received.spans()) == 2 * 31 * SPANS, 10, "not one span is refused")
    metrics = first.metrics()
    for exporter in ("otlp_grpc", "otlp_http", "otlp_http/basic"):
        equal(metrics[f'otelcol_exporter_sent_spans{{exporter="{exporter}"}}'], 31 * SPANS,
              f"spans sent by {exporter}")
    shown = {headers.get("Authorization", headers.get("authorization"))
             for _, headers, _ in plain.requests}
    equal(shown, {"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}, "what basicauth shows")
    expect("refused" not in first.log.read_text(), first.log.read_text()[-2000:])
    print(json.dumps({"spans": len(received.spans())}))
    first.stop()
    second.stop()
    plain.stop()
    received.stop()
