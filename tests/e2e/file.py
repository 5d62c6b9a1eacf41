# SPDX-License-Identifier: Apache-2.0
"""What the file exporter writes is what was sent, for the official proto package's reader of JSON
and of length-delimited protobuf; with the verified identity of the sender where it is known."""
import base64
import gzip
import json
import struct
import subprocess
import sys
import time

from google.protobuf import json_format

from harness import wire
from harness.bed import COLLECTOR
from harness.check import case, equal, expect, until
from harness.program import Undertrace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

CONFIG = """\
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: {listen}
  ebpf:
processors:
  correlate:
    settle: 0s
exporters:
  file:
    path: {folder}/deep/er/spans.json
    create_directory: true
    rotation:
      max_megabytes: 1
      max_backups: 100
  file/proto:
    path: {folder}/spans.proto
    format: proto
  file/gzip:
    path: {folder}/spans.json.gz
    compression: gzip
  file/zstd:
    path: {folder}/spans.proto.zst
    format: proto
    compression: zstd
  file/output:
    path: "-"
service:
  pipelines:
    traces:
      receivers: [otlp, ebpf]
      processors: [correlate]
      exporters: [file, file/proto, file/gzip, file/zstd, file/output]
undertrace:
  admin: unix://{folder}/admin.sock
"""
REQUESTS, SPANS = 30, 200
IDS = {"traceId", "spanId", "parentSpanId"}


def fill_value(value, index):
    kinds = [lambda: setattr(value, "string_value", "äöü \"quoted\" \\ \n\t\x01 ✂ 𝄞" * (index % 7)),
             lambda: setattr(value, "int_value", (-1) ** index * (2 ** (index % 63))),
             lambda: setattr(value, "double_value", [0.1, -1e300, 5e-324, 1 / 3, 12.0,
                                                     float("inf")][index % 6]),
             lambda: setattr(value, "bool_value", index % 3 == 0),
             lambda: setattr(value, "bytes_value", bytes(range(index % 256))),
             lambda: value.array_value.values.add(string_value="in a list"),
             lambda: value.kvlist_value.values.add(key="in a map").value.SetInParent()]
    kinds[index % len(kinds)]()


def request(seed):
    """Spans with every field that the schema has."""
    out = ExportTraceServiceRequest()
    of_resource = out.resource_spans.add(schema_url="https://example.org/schema")
    of_resource.resource.attributes.add(key="service.name").value.string_value = "file"
    of_resource.resource.dropped_attributes_count = 3
    of_scope = of_resource.scope_spans.add(schema_url="of the scope")
    of_scope.scope.name, of_scope.scope.version = "a scope", "1.2"
    for index in range(SPANS):
        span = of_scope.spans.add()
        span.trace_id, span.span_id = bytes([seed + 1]) * 16, struct.pack(">Q", index + 1)
        span.parent_span_id = struct.pack(">Q", index)[:8 if index else 0]
        span.name, span.kind, span.flags = f"span {seed} {index}", index % 6, 0x101
        span.start_time_unix_nano = time.time_ns() - 1000
        span.end_time_unix_nano = span.start_time_unix_nano + index
        span.trace_state, span.dropped_attributes_count = "a=b", index
        for number in range(index % 9):
            fill_value(span.attributes.add(key=f"key {number}").value, index + number)
        event = span.events.add(name="event", time_unix_nano=span.start_time_unix_nano)
        event.attributes.add(key="k").value.int_value = index
        link = span.links.add(trace_id=b"t" * 16, span_id=b"s" * 8, flags=1, trace_state="x=y")
        link.attributes.add(key="k").value.bool_value = True
        span.status.code, span.status.message = index % 3, "a status" * (index % 2)
    return out


def from_otlp_json(node):
    """Ids from OTLP's hex to the base64 of protobuf's JSON, which is all that differs."""
    if isinstance(node, list):
        return [from_otlp_json(one) for one in node]
    if not isinstance(node, dict):
        return node
    return {key: base64.b64encode(bytes.fromhex(value)).decode() if key in IDS
            else from_otlp_json(value) for key, value in node.items()}


def read_json(files):
    for file in files:
        for line in file.read_text().splitlines():
            yield json_format.ParseDict(from_otlp_json(json.loads(line)),
                                        ExportTraceServiceRequest())


def read_proto(file):
    data, at = file.read_bytes(), 0
    while at < len(data):
        size, = struct.unpack_from(">I", data, at)
        yield ExportTraceServiceRequest.FromString(data[at + 4:at + 4 + size])
        at += 4 + size


def by_name(requests):
    """Span name → (span, its scope and schema, the attributes of its Resource)."""
    found = {}
    for one in requests:
        for of_resource in one.resource_spans:
            attributes = {a.key: a.value.string_value for a in of_resource.resource.attributes}
            for of_scope in of_resource.scope_spans:
                for span in of_scope.spans:
                    found[span.name] = (span, of_scope.scope, of_scope.schema_url,
                                        of_resource.schema_url, attributes)
    return found


SEND = """
import sys; from harness import wire
for path in sys.argv[2:]:
    code, _ = wire.Sender(sys.argv[1]).send(open(path, "rb").read())
    assert code.name == "OK", code
"""


@case
def test(lab, folder):
    bridge = lab.bridge("10.78.0.1/24")
    node = lab.node("sender")
    lab.attach(node, bridge, "10.78.0.10/24")
    undertrace = Undertrace(lab, folder, COLLECTOR, "", config=CONFIG).start()

    sent = [request(seed) for seed in range(REQUESTS)]
    for index, one in enumerate(sent):
        (folder / f"body{index}").write_bytes(one.SerializeToString())
    process = node.start([sys.executable, "-B", "-c", SEND, COLLECTOR,
                          *(folder / f"body{index}" for index in range(REQUESTS))],
                         stdout=subprocess.DEVNULL)
    equal(process.wait(timeout=30), 0, "exit status of the sender")
    lab.stop(process)
    exporters = 5
    until(lambda: undertrace.metric("otelcol_exporter_sent_spans") >= exporters * REQUESTS * SPANS,
          20, "all spans are written")

    files = sorted((folder / "deep" / "er").iterdir())
    expect(len(files) > 1, f"the file is rotated: {files}")
    expect(all(file.stat().st_size <= 1 << 20 for file in files), "no file is above its limit")
    wanted = by_name(sent)
    output = [line for line in undertrace.log.read_text().splitlines() if line.startswith("{")]
    (folder / "output").write_text("\n".join(output))
    (folder / "gzip").write_bytes(gzip.decompress((folder / "spans.json.gz").read_bytes()))
    subprocess.run(["zstd", "--quiet", "--decompress", folder / "spans.proto.zst", "-o",
                    folder / "zstd"], check=True)
    equal((folder / "zstd").read_bytes(), (folder / "spans.proto").read_bytes(), "what zstd says")
    for what, requests in (("json", read_json(files)), ("output", read_json([folder / "output"])),
                           ("gzip", read_json([folder / "gzip"])),
                           ("proto", read_proto(folder / "spans.proto"))):
        found = by_name(requests)
        equal(len(found), len(wanted), f"{what}: spans")
        for name, (*rest, attributes) in wanted.items():
            equal(list(found[name][:-1]), rest, f"{what}: {name}")
            expect(attributes.items() <= found[name][-1].items(), f"{what}: Resource of {name}")
        path = str(node.cgroup)[len(str(lab.root.parent)):]
        verified = next(iter(found.values()))[-1].get("undertrace.cgroup.path", "")
        expect(verified.endswith(path) or undertrace.blind(), f"{what}: verified as {verified!r}")
    print(json.dumps({"spans": len(wanted), "files": len(files)}))
    undertrace.stop()
