# SPDX-License-Identifier: Apache-2.0
"""Spans without evidence arrive bit-identical, unknown fields and all, whoever sent them; the
Resource of a sender that the kernel names gains its verified identity and keeps its own bytes."""
import json
import pathlib
import subprocess
import sys
import time

from harness import wire
from harness.bed import COLLECTOR
from harness.check import case, equal, expect, until
from harness.program import Undertrace
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

UNKNOWN = wire.put(4000, b"a field of a later version") + wire.put(4001, b"")
HERE = pathlib.Path(__file__).resolve().parent


def body(seed, spans):
    """A request with every kind of value, and with fields that nobody knows in each message."""
    out = b""
    for index in range(spans):
        span = trace_service_pb2.ExportTraceServiceRequest().resource_spans.add() \
            .scope_spans.add().spans.add()
        span.trace_id = bytes([seed]) * 15 + bytes([index + 1])
        span.span_id = bytes([seed]) * 7 + bytes([index + 1])
        span.name = f"span {seed} {index} äöü ✂"
        span.kind = index % 6
        span.start_time_unix_nano = time.time_ns() - 1_000_000
        span.end_time_unix_nano = span.start_time_unix_nano + 1000
        span.trace_state = "a=b"
        span.attributes.add(key="text").value.string_value = "x" * (index * 37 % 300)
        span.attributes.add(key="number").value.int_value = -index
        span.attributes.add(key="list").value.array_value.values.add().double_value = 0.5
        span.events.add(name="event", time_unix_nano=span.start_time_unix_nano)
        span.links.add(trace_id=b"t" * 16, span_id=b"s" * 8)
        out += wire.put(2, span.SerializeToString() + UNKNOWN)
    resource = wire.put(1, b"\n\x0cservice.name\x12\x07\n\x05bytes") + UNKNOWN
    scope = wire.put(1, b"a scope") + UNKNOWN
    of_scope = wire.put(1, scope) + out + UNKNOWN
    return wire.put(1, wire.put(1, resource) + wire.put(2, of_scope) + UNKNOWN)


SEND = """
import sys; from harness import wire
code, _ = wire.Sender(sys.argv[1]).send(open(sys.argv[2], "rb").read())
print(code.name)
"""


def send_from_cgroup(lab, folder, node, raw):
    (folder / "body").write_bytes(raw)
    process = node.start([sys.executable, "-B", "-c", SEND, COLLECTOR, folder / "body"],
                         stdout=subprocess.PIPE, text=True)
    equal(process.communicate(timeout=20)[0].strip(), "OK", "answer to the known sender")
    lab.stop(process)


@case
def test(lab, folder):
    bridge = lab.bridge("10.78.0.1/24")
    node = lab.node("sender")
    lab.attach(node, bridge, "10.78.0.10/24")
    received = wire.ByteSink().start()
    undertrace = Undertrace(lab, folder, COLLECTOR, received.address).start()

    raw = [body(seed, spans) for seed, spans in ((1, 1), (2, 100), (3, 7))]
    code, _ = wire.Sender(COLLECTOR).send(raw[0])
    equal(code.name, "OK", "answer to a sender in the root cgroup")
    for one in raw[1:]:
        send_from_cgroup(lab, folder, node, one)
    sent = sorted(span for one in raw for span in wire.spans_of(one))
    until(lambda: len(received.spans()) >= len(sent), 10, "all spans arrive")
    equal(sorted(received.spans()), sent, "the bytes of all spans")

    own = wire.resources_of(raw[0])[0]
    seen = [resource for one in received.bodies for resource in wire.resources_of(one)]
    for resource in seen:
        # Fields may be added behind; what was there stands as it stood.
        expect(resource.startswith(own), f"a Resource keeps its bytes: {resource!r}")
    expect(own in seen, "the Resource of an unknown sender is untouched")
    path = str(node.cgroup)[len(str(lab.root.parent)):].encode()
    expect(any(path in resource for resource in seen) or undertrace.blind(),
           f"no Resource names the verified cgroup {path!r}")
    print(json.dumps({"spans": len(sent), "bodies": len(received.bodies)}))
    undertrace.stop()
    received.stop()
