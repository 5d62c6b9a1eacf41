# SPDX-License-Identifier: Apache-2.0
"""Text that is not UTF-8, in every string that a request can hold: what arrives is what protobuf's
own parser takes, which would refuse the request as it was sent; all else stays as it was."""
import time
import urllib.request

from google.protobuf.message import DecodeError
from harness import wire
from harness.check import case, equal, expect, until
from harness.program import Undertrace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

LISTEN, HTTP, BACKEND = "127.0.0.1:14317", "127.0.0.1:14328", "127.0.0.1:14318"
CONFIG = """\
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: {listen}}}
      http: {{endpoint: "HTTP"}}
exporters:
  otlp_grpc: {{endpoint: "http://{backend}"}}
service:
  pipelines:
    traces: {{receivers: [otlp], exporters: [otlp_grpc]}}
undertrace:
  admin: unix://{folder}/admin.sock
""".replace("HTTP", HTTP)
MARK = "<<>>"  # stands for what a message of Python's cannot hold
# As long as the mark: a stray byte, an overlong form, a surrogate, a sequence that is cut.
BAD = (b"a\xffbc", b"\xc0\xafbc", b"\xed\xa0\x80c", b"ab\xe2\x82", b"a\xf0\x9f\x82",
       b"\x80\x81\x82z")


def set_value(value):
    """Every kind of value that has text in it, and bytes, which may be anything."""
    values = value.array_value.values
    values.add().string_value = MARK
    values.add().bytes_value = MARK.encode()
    inner = values.add().kvlist_value.values.add(key=MARK)
    inner.value.string_value = "sound ä " + MARK


def request():
    out = ExportTraceServiceRequest()
    of_resource = out.resource_spans.add(schema_url=MARK)
    set_value(of_resource.resource.attributes.add(key="of resource " + MARK).value)
    of_scope = of_resource.scope_spans.add(schema_url=MARK)
    of_scope.scope.name, of_scope.scope.version = MARK, MARK
    set_value(of_scope.scope.attributes.add(key=MARK).value)
    span = of_scope.spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, name=MARK + " sound",
                              trace_state=MARK)
    span.start_time_unix_nano = span.end_time_unix_nano = time.time_ns()
    set_value(span.attributes.add(key=MARK).value)
    span.status.code, span.status.message = 2, MARK
    set_value(span.events.add(name=MARK).attributes.add(key=MARK).value)
    set_value(span.links.add(trace_id=b"t" * 16, span_id=b"l" * 8, trace_state=MARK)
              .attributes.add(key=MARK).value)
    of_scope.spans.add(trace_id=b"t" * 16, span_id=b"u" * 8, name="sound")
    return out.SerializeToString()


def is_refused(body):
    try:
        ExportTraceServiceRequest.FromString(body)
        return False
    except DecodeError:
        return True


def send(number, body):
    """By turns over gRPC and HTTP."""
    if number % 2 == 0:
        code, metadata = wire.Sender(LISTEN).send(body)
        equal(code.name, "OK", f"answer {metadata}")
        return
    posted = urllib.request.Request(f"http://{HTTP}/v1/traces", body,
                                    {"Content-Type": "application/x-protobuf"})
    with urllib.request.urlopen(posted, timeout=10) as answer:
        equal((answer.status, answer.read()), (200, b""), "answer: nothing is left out")


def strings(message):
    """All text of a message, and what its values hold in bytes."""
    for field, value in message.ListFields():
        each = value if field.is_repeated else [value]
        for one in each:
            if field.message_type is not None:
                yield from strings(one)
            elif isinstance(one, str) or field.name == "bytes_value":
                yield one


@case
def test(lab, folder):
    backend = wire.ByteSink(BACKEND).start()
    undertrace = Undertrace(lab, folder, LISTEN, BACKEND, config=CONFIG).start()
    sound = list(strings(ExportTraceServiceRequest.FromString(request())))
    for number, bad in enumerate(BAD):
        equal(len(bad), len(MARK), "lengths")
        body = request().replace(MARK.encode(), bad)
        expect(is_refused(body), f"protobuf's parser takes {bad}")
        send(number, body)
        until(lambda count=number + 1: len(backend.bodies) == count, 10, "the request arrives")
        seen = list(strings(ExportTraceServiceRequest.FromString(backend.bodies[number])))
        equal(len(seen), len(sound), "strings")
        for was, now in zip(sound, seen):
            if isinstance(was, bytes):
                equal(now, bad, "bytes")
            elif MARK in was:
                expect("\ufffd" in now and now.startswith(was.split(MARK)[0])
                       and now.endswith(was.split(MARK)[1]), f"{was!r} became {now!r}")
            else:
                equal(now, was, "sound text")
    undertrace.stop()
    backend.stop()
