# SPDX-License-Identifier: Apache-2.0
"""OTLP as bytes: a sink that records what comes in unparsed, a sender of raw bodies, and just
enough of the protobuf wire format to compare spans byte by byte."""
import concurrent.futures
import struct
import threading
import time

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def as_is(data):
    return data


def numbered_request(number, spans):
    """The body of a request with so many spans, which no other number has."""
    out = ExportTraceServiceRequest()
    of_scope = out.resource_spans.add().scope_spans.add().spans
    for index in range(spans):
        span = of_scope.add(name=f"span {number} {index}",
                            trace_id=struct.pack(">QQ", 1, number + 1),
                            span_id=struct.pack(">Q", index + 1))
        span.start_time_unix_nano = span.end_time_unix_nano = time.time_ns()
    return out.SerializeToString()


class ByteSink(grpc.GenericRpcHandler):
    """Answers every Export with success and keeps its bytes. Can be stopped and started again on
    the same port; what it answered it has."""

    def __init__(self, address="127.0.0.1:14318", credentials=None):
        self.address, self.credentials, self.bodies = address, credentials, []
        self.lock, self.server = threading.Lock(), None

    def service(self, details):
        if details.method != METHOD:
            return None
        return grpc.unary_unary_rpc_method_handler(self.keep, as_is, as_is)

    def keep(self, body, _context):
        with self.lock:
            self.bodies.append(body)
        return b""

    def start(self):
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), handlers=[self],
                                  options=[("grpc.so_reuseport", 0),
                                           ("grpc.max_receive_message_length", -1)])
        port = (self.server.add_secure_port(self.address, self.credentials) if self.credentials
                else self.server.add_insecure_port(self.address))
        if port == 0:
            raise OSError(f"cannot listen on {self.address}")
        self.server.start()
        return self

    def stop(self):
        self.server.stop(grace=0).wait()

    def spans(self):
        """The bytes of every span so far."""
        with self.lock:
            return [span for body in self.bodies for span in spans_of(body)]


class Sender:
    """Sends raw bodies; the answer's status code and its details."""

    def __init__(self, address):
        self.channel = grpc.insecure_channel(address)
        self.export = self.channel.unary_unary(METHOD, as_is, as_is)

    def send(self, body, timeout=10):
        """(status code, trailing metadata) of one request."""
        try:
            _, call = self.export.with_call(body, timeout=timeout)
            return call.code(), call.trailing_metadata()
        except grpc.RpcError as error:
            return error.code(), error.trailing_metadata()


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    """(number, bytes of the value) of each length-delimited field of a message, in order."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 2:
            size, at = varint(data, at)
            yield key >> 3, data[at:at + size]
            at += size
        elif key & 7 == 0:
            _, at = varint(data, at)
        else:
            at += {1: 8, 5: 4}[key & 7]


def parts(data, number):
    return [value for field, value in fields(data) if field == number]


def spans_of(request):
    """The bytes of each Span in an ExportTraceServiceRequest."""
    return [span for of_resource in parts(request, 1) for of_scope in parts(of_resource, 2)
            for span in parts(of_scope, 2)]


def resources_of(request):
    return [resource for of_resource in parts(request, 1) for resource in parts(of_resource, 1)]


def put(number, payload):
    """A length-delimited field."""
    def number_bytes(value):
        out = bytearray()
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        return bytes(out + bytes([value]))

    return number_bytes(number << 3 | 2) + number_bytes(len(payload)) + payload
