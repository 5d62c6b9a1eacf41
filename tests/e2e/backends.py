# SPDX-License-Identifier: Apache-2.0
"""The same spans through each exporter into a real Jaeger: what comes out of its API is what was
sent, as far as the protocol between can carry it. Called with the number of traces."""
import base64
import json
import struct
import sys
import time
import urllib.error

from google.protobuf import json_format

from harness import jaeger, wire
from harness.check import case, equal, until
from harness.program import Undertrace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

LISTEN = "127.0.0.1:15317"
CONFIG = """\
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: {listen}
processors:
  batch:
    timeout: 50ms
exporters:
EXPORTER
service:
  pipelines:
    traces:
      receivers: [otlp]
      processors: [batch]
      exporters: [ID]
undertrace:
  admin: unix://{folder}/admin.sock
"""
HTTP, ZIPKIN = "http://127.0.0.1:14316", "http://127.0.0.1:19411/api/v2/spans"
# What each is configured with; what it is compared by.
EXPORTERS = {
    "otlp_grpc/plain": ("endpoint: http://127.0.0.1:14317", "whole"),
    "otlp_grpc/gzip": ("endpoint: http://127.0.0.1:14317, compression: gzip", "whole"),
    "otlp_grpc/zstd": ("endpoint: http://127.0.0.1:14317, compression: zstd", "whole"),
    "otlp_http/proto": (f'endpoint: "{HTTP}"', "whole"),
    "otlp_http/json": (f'endpoint: "{HTTP}", encoding: json', "whole"),
    "otlp_http/gzip": (f'endpoint: "{HTTP}", compression: gzip', "whole"),
    "otlp_http/zstd": (f'endpoint: "{HTTP}", compression: zstd, encoding: json', "whole"),
    "otlp_http/deflate": (f'endpoint: "{HTTP}", compression: deflate', "whole"),
    "jaeger_grpc/plain": ("endpoint: http://127.0.0.1:14250", "jaeger"),
    "jaeger_grpc/gzip": ("endpoint: http://127.0.0.1:14250, compression: gzip", "jaeger"),
    "zipkin/plain": (f'endpoint: "{ZIPKIN}"', "zipkin"),
    "zipkin/gzip": (f'endpoint: "{ZIPKIN}", compression: gzip', "zipkin"),
}
SPANS = 12
KINDS = range(1, 6)


def request(number):
    """A trace with every kind of span, attribute and status."""
    out = ExportTraceServiceRequest()
    of_resource = out.resource_spans.add()
    of_resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    of_resource.resource.attributes.add(key="host.name").value.string_value = "äöü ✂"
    of_scope = of_resource.scope_spans.add()
    of_scope.scope.name, of_scope.scope.version = "a scope", "1.2"
    start = (time.time_ns() - 10 ** 9) // 1000 * 1000
    for index in range(SPANS):
        span = of_scope.spans.add(name=f"span {index}", kind=KINDS[index % len(KINDS)],
                                  trace_id=struct.pack(">QQ", 7, number + 1),
                                  span_id=struct.pack(">Q", index + 1))
        if index > 0:
            span.parent_span_id = struct.pack(">Q", index)
        span.start_time_unix_nano = start + index * 1000
        span.end_time_unix_nano = start + (index + 5) * 1000
        span.attributes.add(key="text").value.string_value = 'a "b" ✂'
        span.attributes.add(key="int").value.int_value = -index * 10 ** 15
        span.attributes.add(key="yes").value.bool_value = True
        span.attributes.add(key="half").value.double_value = 0.5
        span.attributes.add(key="list").value.array_value.values.add(string_value="one")
        if index % 3 == 1:
            span.status.code, span.status.message = 2, "it broke"
        event = span.events.add(name="event", time_unix_nano=start + index * 1000)
        event.attributes.add(key="k").value.string_value = "v"
        span.links.add(trace_id=struct.pack(">QQ", 9, 9), span_id=struct.pack(">Q", 9))
    return out


def attributes(message):
    """Key → kind of value and value, of a list as OTLP's JSON has it."""
    return {one["key"]: one.get("value", {}) for one in message.get("attributes", [])}


def text(value):
    """A value as a protocol without types has it."""
    (kind, content), = value.items()
    if kind == "boolValue":
        return "true" if content else "false"
    if kind == "arrayValue":
        return json.dumps([one["stringValue"] for one in content["values"]])
    return str(content)


def view(span, resource, scope, how):
    """What of a span must come out."""
    found, status = attributes(span), span.get("status", {})
    # Jaeger tells warnings of its own this way.
    found.pop("@jaeger@warnings", None)
    common = {"name": span["name"], "parent": span.get("parentSpanId", ""),
              "kind": span.get("kind", 0), "start": span["startTimeUnixNano"],
              "end": span["endTimeUnixNano"], "service": attributes(resource)["service.name"],
              "status": status.get("code", 0)}
    if how in ("whole", "jaeger"):
        # Jaeger has no lists.
        if how == "jaeger":
            found = {key: {"stringValue": text(value)} if "arrayValue" in value else value
                     for key, value in found.items()}
        return common | {
            "attributes": found, "message": status.get("message", ""),
            "resource": attributes(resource), "scope": (scope.get("name"), scope.get("version")),
            "events": [(one["name"], one["timeUnixNano"], attributes(one))
                       for one in span.get("events", [])],
            "links": [(one["traceId"], one["spanId"]) for one in span.get("links", [])]}
    wanted = ("text", "int", "yes", "half", "list", "host.name")
    both = attributes(resource) | found
    return common | {"attributes": {key: text(both[key]) for key in wanted},
                     "events": [(one["name"].split('"')[-1 if '"' not in one["name"] else 1],
                                 one["timeUnixNano"]) for one in span.get("events", [])]}


def views(resource_spans, how):
    """Span id → view."""
    return {span["spanId"]: view(span, of_resource["resource"], of_scope.get("scope", {}), how)
            for of_resource in resource_spans for of_scope in of_resource["scopeSpans"]
            for span in of_scope["spans"]}


def as_json(message):
    """The request as Jaeger's API shows it: protobuf's JSON, but ids in hex."""
    out = json_format.MessageToDict(message, use_integers_for_enums=True)
    for of_resource in out["resourceSpans"]:
        for span in of_resource["scopeSpans"][0]["spans"]:
            for one in (span, *span["links"]):
                for key in {"traceId", "spanId", "parentSpanId"} & one.keys():
                    one[key] = base64.b64decode(one[key]).hex()
    return out["resourceSpans"]


def fetched(number):
    try:
        answer = jaeger.fetch(f"/api/v3/traces/{struct.pack('>QQ', 7, number + 1).hex()}")
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return []
        raise
    return answer["result"]["resourceSpans"]


def through(lab, folder, name, traces):
    """Sends the traces through one exporter and compares what Jaeger has then."""
    settings, how = EXPORTERS[name]
    folder = folder / name.replace("/", "-")
    folder.mkdir()
    backend = jaeger.Jaeger(lab, folder).start()
    config = CONFIG.replace("EXPORTER", f"  {name}: {{{{{settings}}}}}").replace("ID", name)
    undertrace = Undertrace(lab, folder, LISTEN, "", config=config).start()
    sender = wire.Sender(LISTEN)
    sent = [request(number) for number in range(traces)]
    for one in sent:
        code, _ = sender.send(one.SerializeToString())
        equal(code.name, "OK", "answer")
    until(lambda: undertrace.metric("otelcol_exporter_sent_spans") == traces * SPANS, 30,
          f"all spans are sent by {name}")
    for number, one in enumerate(sent):
        until(lambda which=number: len(views(fetched(which), how)) >= SPANS, 20,
              f"trace {number} is in Jaeger by {name}")
        found, wanted = views(fetched(number), how), views(as_json(one), how)
        for span_id, span in wanted.items():
            equal(found.get(span_id), span, f"{name}: span {span_id}")
        equal(len(found), len(wanted), f"{name}: spans of a trace")
    undertrace.stop()
    backend.stop()


@case
def test(lab, folder):
    traces = int(sys.argv[1])
    for name in EXPORTERS:
        through(lab, folder, name, traces)
    print(json.dumps({"exporters": len(EXPORTERS), "spans of each": traces * SPANS}))
