# SPDX-License-Identifier: Apache-2.0
"""The same spans through the exporters for OTLP into a real OpenTelemetry Collector: plain,
compressed, over mutual TLS and with a bearer token; what its file exporter writes is what was sent,
in every field. Who has no certificate or another token gets nothing in, and it is said why. Called
with the number of traces."""
import json
import re
import sys

import backends
from harness import otelcol, wire
from harness.check import case, equal, expect, until
from harness.http_sink import Authority
from harness.program import Undertrace

LISTEN = "127.0.0.1:15317"
# Name of the way in → its port for gRPC, the one for HTTP is the next; the lines of its settings.
WAYS = {
    "plain": (14317, ""),
    "mutual": (14327, "tls: {cert_file: FOLDER/backend.crt, key_file: FOLDER/backend.key, "
                      "client_ca_file: FOLDER/authority.crt}"),
    "token": (14337, "tls: {cert_file: FOLDER/backend.crt, key_file: FOLDER/backend.key}, "
                     "auth: {authenticator: bearertokenauth}"),
}
TLS = "ca_file: FOLDER/authority.crt, server_name_override: backend.test"
CLIENT = TLS + ", cert_file: FOLDER/client.crt, key_file: FOLDER/client.key"
# Exporter → way in, settings, and what the log says of it where nothing must arrive.
EXPORTERS = {
    "otlp/plain": ("plain", "compression: none", None),
    "otlp_grpc/gzip": ("plain", "compression: gzip", None),
    "otlp_grpc/zstd": ("plain", "compression: zstd", None),
    "otlp_grpc/mutual": ("mutual", f"compression: gzip, tls: {{{CLIENT}}}", None),
    "otlp_grpc/token": ("token", f"tls: {{{TLS}}}, auth: {{authenticator: bearertokenauth}}", None),
    "otlp_grpc/stranger": ("token", f"tls: {{{TLS}}}, headers: {{authorization: Bearer no}}",
                           "event=export_refused .*UNAUTHENTICATED"),
    "otlp_grpc/anonymous": ("mutual", f"tls: {{{TLS}}}", "wants a client certificate"),
    "otlphttp/plain": ("plain", "compression: none", None),
    "otlp_http/gzip": ("plain", "compression: gzip", None),
    "otlp_http/zstd": ("plain", "compression: zstd", None),
    "otlp_http/json": ("plain", "encoding: json, compression: gzip", None),
    "otlp_http/mutual": ("mutual", f"compression: zstd, tls: {{{CLIENT}}}", None),
    "otlp_http/token": ("token", f"tls: {{{TLS}}}, auth: {{authenticator: bearertokenauth}}", None),
    "otlp_http/stranger": ("token", f"tls: {{{TLS}}}, headers: {{authorization: Bearer no}}",
                           "event=export_refused .*401"),
    "otlp_http/anonymous": ("mutual", f"tls: {{{TLS}}}", "wants a client certificate"),
}
CONFIG = """\
extensions:
  bearertokenauth: {{token: a-token}}
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: {listen}}}
processors:
  batch: {{timeout: 50ms}}
exporters:
  ID: {{endpoint: "URL", SETTINGS}}
service:
  extensions: [bearertokenauth]
  pipelines:
    traces: {{receivers: [otlp], processors: [batch], exporters: [ID]}}
undertrace:
  admin: unix://{folder}/admin.sock
  shutdown_timeout: 1s
"""
COLLECTOR = """\
extensions:
  bearertokenauth: {token: a-token}
receivers:
RECEIVERSexporters:
  file: {path: FOLDER/spans, format: proto}
service:
  extensions: [bearertokenauth]
  telemetry: {metrics: {level: none}}
  pipelines:
    traces: {receivers: [NAMES], exporters: [file]}
"""
RECEIVER = """\
  otlp/NAME:
    protocols:
      grpc: {endpoint: "127.0.0.1:%d", SETTINGS}
      http: {endpoint: "127.0.0.1:%d", SETTINGS}
"""


def collector(lab, folder):
    receivers = "".join(RECEIVER.replace("NAME", name).replace("SETTINGS", settings)
                        % (port, port + 1) for name, (port, settings) in WAYS.items())
    config = COLLECTOR.replace("RECEIVERS", receivers) \
        .replace("NAMES", ", ".join(f"otlp/{name}" for name in WAYS)).replace("FOLDER", str(folder))
    addresses = [f"127.0.0.1:{port + more}" for port, _ in WAYS.values() for more in (0, 1)]
    return otelcol.Otelcol(lab, folder, config, addresses)


def request(which, number):
    """What is sent to Jaeger as well, and what only OTLP can carry."""
    out = backends.request(number)
    of_resource = out.resource_spans[0]
    of_scope = of_resource.scope_spans[0]
    of_resource.schema_url = of_scope.schema_url = "https://opentelemetry.io/schemas/1.26.0"
    of_resource.resource.dropped_attributes_count = 3
    of_scope.scope.attributes.add(key="of the scope").value.int_value = 7
    of_scope.scope.dropped_attributes_count = 1
    for index, span in enumerate(of_scope.spans):
        span.trace_id = trace_id(which, number)
        span.trace_state, span.flags = "vendor=a,other=b", 0x101
        span.status.SetInParent()  # which the Collector writes in any case
        span.attributes.add(key="bytes").value.bytes_value = bytes(range(256))
        span.attributes.add(key="empty").value.string_value = ""
        span.attributes.add(key="none").value.SetInParent()
        inner = span.attributes.add(key="map").value.kvlist_value.values.add(key="in")
        inner.value.array_value.values.add(double_value=-1e300)
        inner.value.array_value.values.add(bool_value=False)
        span.dropped_attributes_count = index
        span.dropped_events_count, span.dropped_links_count = 2, 4
        span.events[0].dropped_attributes_count = 5
        link = span.links[0]
        link.trace_state, link.flags, link.dropped_attributes_count = "l=1", 1, 6
        link.attributes.add(key="of the link").value.bool_value = True
    return out


def trace_id(which, number):
    return (which + 1).to_bytes(8, "big") + (number + 1).to_bytes(8, "big")


def spans_of(requests, which):
    """(trace id, span id) → the span with its Resource and scope, of one exporter's traces."""
    found = {}
    for one in requests:
        for of_resource in one.resource_spans:
            for of_scope in of_resource.scope_spans:
                for span in of_scope.spans:
                    if int.from_bytes(span.trace_id[:8], "big") != which + 1:
                        continue
                    key = span.trace_id, span.span_id
                    expect(key not in found, f"span {key} is there twice")
                    found[key] = (span, of_resource.resource, of_resource.schema_url,
                                  of_scope.scope, of_scope.schema_url)
    return found


def send(lab, folder, name, sent):
    """Starts undertrace with the one exporter and sends it all."""
    way, settings, _ = EXPORTERS[name]
    over_http = name.startswith(("otlp_http", "otlphttp"))
    url = f"{'http' if way == 'plain' else 'https'}://127.0.0.1:{WAYS[way][0] + over_http}"
    own = folder / name.replace("/", "-")
    own.mkdir()
    settings = settings.replace("FOLDER", str(folder)).replace("{", "{{").replace("}", "}}")
    config = CONFIG.replace("ID", name).replace("URL", url).replace("SETTINGS", settings)
    undertrace = Undertrace(lab, own, LISTEN, "", config=config).start()
    sender = wire.Sender(LISTEN)
    for one in sent:
        code, _ = sender.send(one.SerializeToString())
        equal(code.name, "OK", "answer")
    return undertrace


def check_arrival(lab, folder, name, traces):
    which = list(EXPORTERS).index(name)
    sent = [request(which, number) for number in range(traces)]
    undertrace = send(lab, folder, name, sent)
    wanted = spans_of(sent, which)

    def arrived():
        return spans_of(otelcol.requests(folder / "spans"), which)

    until(lambda: undertrace.metric("otelcol_exporter_sent_spans") == len(wanted), 30,
          f"all spans are sent by {name}")
    until(lambda: len(arrived()) >= len(wanted), 20, f"all spans of {name} are written")
    found = arrived()
    equal(len(found), len(wanted), f"{name}: spans")
    for key, parts in wanted.items():
        for part, other in zip(found[key], parts):
            equal(part, other, f"{name}: span {key}")
    undertrace.stop()


def check_refusal(lab, folder, name):
    """Nothing arrives, and whoever looks at the log knows why."""
    which, word = list(EXPORTERS).index(name), EXPORTERS[name][2]
    undertrace = send(lab, folder, name, [request(which, 0)])
    until(lambda: re.search(word, undertrace.log.read_text()), 20,
          f"{name}: {word!r} is in the log")
    equal(undertrace.metric("otelcol_exporter_sent_spans"), 0, f"spans sent by {name}")
    undertrace.stop()
    equal(spans_of(otelcol.requests(folder / "spans"), which), {}, f"spans of {name}")


@case
def test(lab, folder):
    traces = int(sys.argv[1])
    authority = Authority(folder, "authority")
    authority.sign("backend", "backend.test")
    authority.sign("client")
    backend = collector(lab, folder).start()
    for name, (_, _, word) in EXPORTERS.items():
        if word is None:
            check_arrival(lab, folder, name, traces)
        else:
            check_refusal(lab, folder, name)
    backend.stop()
    print(json.dumps({"exporters": len(EXPORTERS), "spans of each": traces * backends.SPANS}))
