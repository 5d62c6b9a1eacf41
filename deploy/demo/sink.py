# SPDX-License-Identifier: Apache-2.0
"""A small OTLP backend in the demo's own process: it keeps what undertrace sends, for the check."""
import concurrent.futures
import dataclasses
import threading

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2


@dataclasses.dataclass(frozen=True)
class SeenSpan:
    """What the check asks of a span that came in."""
    trace_id: str
    service: str
    kind: str  # as in the protocol, without its prefix: CLIENT, SERVER, …
    name: str
    attributes: dict

    @property
    def segments(self):
        """Segments that the kernel sent again under this span, probes among them."""
        return (self.attributes.get("undertrace.tcp.retransmits", 0)
                + self.attributes.get("undertrace.tcp.probes", 0))

    @property
    def exact(self):
        """The same, if all of them are matched by the ids that their bytes carried."""
        return self.segments if self.attributes.get("undertrace.tcp.match") == "exact" else 0


def plain(pairs):
    """key → value of a list of KeyValue; what is not a plain value is left as its message."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value")
            for pair in pairs}


class Sink(trace_service_pb2_grpc.TraceServiceServicer):
    """Listens on a port of its choice on 127.0.0.1 until `stop`."""

    def __init__(self):
        self._lock = threading.Lock()
        self._spans = []
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def Export(self, request, context):  # the name is the protocol's
        seen = []
        for of_resource in request.resource_spans:
            service = plain(of_resource.resource.attributes).get("service.name", "")
            for of_scope in of_resource.scope_spans:
                for span in of_scope.spans:
                    kind = trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_")
                    seen.append(SeenSpan(span.trace_id.hex(), service, kind, span.name,
                                         plain(span.attributes)))
        with self._lock:
            self._spans += seen
        return trace_service_pb2.ExportTraceServiceResponse()

    def spans(self):
        with self._lock:
            return list(self._spans)

    def stop(self):
        self._server.stop(grace=0)
