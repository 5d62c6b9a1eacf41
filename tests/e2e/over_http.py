# SPDX-License-Identifier: Apache-2.0
"""OTLP over HTTP with `http` as the only protocol: the SDK's exporter of protobuf and a curl with
JSON get their spans through, and the kernel names the sender of either."""
import json
import re
import subprocess
import sys
import time

from harness import program, wire
from harness.check import case, equal, expect, until
from harness.program import Undertrace
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

COLLECTOR = "10.78.0.1:4318"
TRACES = f"http://{COLLECTOR}/v1/traces"
CONFIG = program.CONFIG.replace("      grpc:\n", "      http:\n")
SPANS = 20

SDK = """
import sys
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
provider = TracerProvider(resource=Resource.create({"service.name": "sdk"}))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=sys.argv[1])))
for index in range(int(sys.argv[2])):
    provider.get_tracer("http").start_span(f"sdk {index}").end()
assert provider.force_flush(20000)
provider.shutdown()
"""


def json_body():
    """A request in OTLP's JSON: ids in hex, times as texts, enums as numbers."""
    end = time.time_ns()
    span = {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174",
            "name": "curl äöü ✂", "kind": 3, "startTimeUnixNano": str(end - 1000),
            "endTimeUnixNano": str(end),
            "attributes": [{"key": "number", "value": {"intValue": "-7"}}]}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "curl"}}]}
    return json.dumps({"resourceSpans": [{"resource": resource,
                                          "scopeSpans": [{"spans": [span]}]}]})


def run(lab, node, *words):
    """What a program in the node's cgroup says, which has to end well."""
    process = node.start([*words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = process.communicate(timeout=40)[0]
    equal(process.returncode, 0, f"exit status of {words[0]}, which said {said!r}")
    lab.stop(process)
    return said


def refused(undertrace):
    """(the setting that stops it, the cgroup of the sender) of each line about a signal that is
    not taken."""
    return re.findall(r'event=signal_refused .*set (OTEL_\w+=none) .*workload=(\S+) peer=10\.78\.',
                      undertrace.log.read_text())


def seen(received):
    """service.name → (attributes of the Resource, spans), of all that has arrived."""
    services = {}
    for body in received.bodies:
        request = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
        for of_resource in request.resource_spans:
            attributes = {one.key: one.value.string_value
                          for one in of_resource.resource.attributes}
            _, spans = services.setdefault(attributes["service.name"], (attributes, []))
            spans.extend(span for scope in of_resource.scope_spans for span in scope.spans)
    return services


@case
def test(lab, folder):
    bridge = lab.bridge("10.78.0.1/24")
    nodes = {name: lab.node(name) for name in ("sdk", "curl")}
    for number, node in enumerate(nodes.values(), 10):
        lab.attach(node, bridge, f"10.78.0.{number}/24")
    received = wire.ByteSink().start()
    undertrace = Undertrace(lab, folder, COLLECTOR, received.address, config=CONFIG).start()

    run(lab, nodes["sdk"], sys.executable, "-B", "-c", SDK, TRACES, SPANS)
    said = run(lab, nodes["curl"], "curl", "--silent", "--show-error", "--max-time", "20",
               "--header", "Content-Type: application/json", "--data-binary", json_body(),
               "--write-out", "\n%{http_code} %{content_type}", TRACES)
    equal(said, "{}\n200 application/json", "the answer in JSON")
    # Other signals are refused to each sender, and each sender is named once.
    for node, signal in [(node, signal) for node in nodes.values()
                         for signal in ("metrics", "logs", "metrics")]:
        said = run(lab, node, "curl", "--silent", "--show-error", "--max-time", "20", "--data", "x",
                   "--header", "Content-Type: application/x-protobuf", "--output", "/dev/null",
                   "--write-out", "%{http_code}", TRACES.replace("traces", signal))
        equal(said, "404", f"the answer to {signal}")
    until(lambda: len(received.spans()) >= SPANS + 1, 10, "all spans arrive")

    services = seen(received)
    equal(sorted(span.name for span in services["sdk"][1]),
          sorted(f"sdk {index}" for index in range(SPANS)), "the spans of the SDK")
    span, = services["curl"][1]
    equal((span.name, span.trace_id.hex(), span.kind, span.attributes[0].value.int_value),
          ("curl äöü ✂", "5b8efff798038103d269b633813fc60c", 3, -7), "the span of curl")
    lines = refused(undertrace)
    equal(len(lines), len(set(lines)), "lines about signals, each once")
    for name, node in nodes.items():
        path = str(node.cgroup)[len(str(lab.root.parent)):]
        told = {setting for setting, workload in lines if workload.endswith(path)}
        expect(told == {"OTEL_METRICS_EXPORTER=none", "OTEL_LOGS_EXPORTER=none"}
               or undertrace.blind(), f"{name} is told {told}, of {lines}")
        verified = services[name][0].get("undertrace.cgroup.path", "")
        expect(verified.endswith(path) or undertrace.blind(),
               f"{name}: the Resource names the cgroup {verified!r}, not {path!r}")
    accepted = sum(value for name, value in undertrace.metrics().items()
                   if name.startswith("otelcol_receiver_accepted_spans")
                   and 'transport="http"' in name)
    equal(accepted, SPANS + 1, "spans accepted over HTTP")
    print(json.dumps({"spans": SPANS + 1, "bodies": len(received.bodies)}))
    undertrace.stop()
    received.stop()
