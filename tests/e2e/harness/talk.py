# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 by hand, so that it is known which bytes of a connection belong to which request, with
spans as an SDK sends them.

    talk.py serve NAME COLLECTOR ADDRESS:PORT
    talk.py call NAME COLLECTOR OUT SEED REQUESTS THREADS BOTH_ENDS FIRST_PORT ADDRESS:PORT…

A caller's threads keep a connection each, to one of the servers, close it now and then, and open
the next from the same port. OUT gets a JSON line for each request: its span, its trace, the local
end of its connection, how many connections that end has had before, and the ranges of the
request's and the answer's bytes in it. BOTH_ENDS 1: its spans name both ends of the socket, 0: the
remote one alone, as most instrumentations do.
"""
import errno
import json
import random
import secrets
import signal
import socket
import sys
import threading
import time

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
FLUSH_SECONDS = 0.1
CALLS_A_CONNECTION = 24
INTERNAL, SERVER, CLIENT = (trace_pb2.Span.SPAN_KIND_INTERNAL, trace_pb2.Span.SPAN_KIND_SERVER,
                            trace_pb2.Span.SPAN_KIND_CLIENT)
KNOWN_AFTER_SECONDS = 1.5


def as_is(data):
    return data


def plainly(socket_name):
    address, port = socket_name[:2]
    return address, port


class Spans:
    """Sends spans in small batches from a thread of its own."""

    def __init__(self, name, collector):
        self.name, self.lock, self.waiting, self.ended = name, threading.Lock(), [], False
        self.export = grpc.insecure_channel(collector).unary_unary(
            METHOD, trace_service_pb2.ExportTraceServiceRequest.SerializeToString, as_is)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def add(self, kind, trace_id, span_id, parent_id, times, ends):
        span = trace_pb2.Span(trace_id=trace_id, span_id=span_id, parent_span_id=parent_id,
                              name="GET", kind=kind, start_time_unix_nano=times[0],
                              end_time_unix_nano=times[1])
        for key, value in ends.items():
            attribute = span.attributes.add(key=key)
            if isinstance(value, int):
                attribute.value.int_value = value
            else:
                attribute.value.string_value = value
        with self.lock:
            self.waiting.append(span)

    def run(self):
        while not self.ended or self.waiting:
            time.sleep(FLUSH_SECONDS)
            with self.lock:
                taken, self.waiting = self.waiting, []
            if taken:
                request = trace_service_pb2.ExportTraceServiceRequest()
                of_resource = request.resource_spans.add()
                service = of_resource.resource.attributes.add(key="service.name")
                service.value.string_value = self.name
                of_resource.scope_spans.add().spans.extend(taken)
                self.export(request, timeout=30, wait_for_ready=True)

    def end(self):
        self.ended = True
        self.thread.join()


class Counted:
    """What is read of a file, and how many bytes that were."""

    def __init__(self, file):
        self.file, self.count = file, 0

    def readline(self):
        return self.counted(self.file.readline())

    def read(self, *size):
        return self.counted(self.file.read(*size))

    def counted(self, data):
        self.count += len(data)
        return data

    def close(self):
        self.file.close()


def read_head(stream):
    """(first line, headers) or None at the end of the connection."""
    first = stream.readline()
    if not first:
        return None
    headers = {}
    for line in iter(stream.readline, b"\r\n"):
        key, _, value = line.partition(b":")
        headers[key.strip().lower()] = value.strip()
    return first, headers


def read_body(stream, headers):
    if headers.get(b"transfer-encoding") == b"chunked":
        while size := int(stream.readline(), 16):
            stream.read(size + 2)
        stream.readline()
        return
    stream.read(int(headers.get(b"content-length", 0)))


def read_answer(stream, method):
    """The whole of it, after those that only announce it."""
    first, headers = read_head(stream)
    while first.split()[1] == b"103":
        first, headers = read_head(stream)
    if method != "HEAD":
        read_body(stream, headers)


def make_known(spans):
    """Only the connections of workloads that are known to send spans are looked into."""
    now = time.time_ns()
    spans.add(INTERNAL, secrets.token_bytes(16), secrets.token_bytes(8), b"", (now, now), {})
    time.sleep(KNOWN_AFTER_SECONDS)


# ---- the server ----------------------------------------------------------------------------------

def answer_to(method, size):
    """Of one shape or another; bodies are full of what looks like another answer."""
    body = (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc" * (size // 40 + 1))[:size]
    shape = random.random()
    early = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" if shape < 0.1 else b""
    if method != b"HEAD" and 0.1 < shape < 0.4:
        half = size // 2
        return (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
                b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:]))
                + b"0\r\n\r\n")
    if method != b"HEAD" and shape > 0.95:
        return b"HTTP/1.1 204 No Content\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    return early + head + (b"" if method == b"HEAD" else body)


def answer(connection, spans):
    peer = plainly(connection.getpeername())
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream = connection.makefile("rb")
    while (head := read_head(stream)) is not None:
        first, headers = head
        start = time.time_ns()
        read_body(stream, headers)
        _, trace_id, parent_id, _ = headers[b"traceparent"].decode().split("-")
        connection.sendall(answer_to(first.split()[0], int(first.split()[1].rpartition(b"=")[2])))
        spans.add(SERVER, bytes.fromhex(trace_id), secrets.token_bytes(8), bytes.fromhex(parent_id),
                  (start, time.time_ns()),
                  {"network.peer.address": peer[0], "network.peer.port": peer[1]})
        if headers.get(b"connection") == b"close":
            break
    stream.close()
    connection.close()


def serve(name, collector, endpoint):
    spans = Spans(name, collector)
    address, port = endpoint.split(":")
    make_known(spans)
    listener = socket.create_server((address, int(port)), backlog=128)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=quietly, args=(answer, connection, spans), daemon=True).start()
    finally:
        spans.end()


def quietly(function, *arguments):
    try:
        function(*arguments)
    except OSError:
        pass  # the other end is gone


# ---- the client ----------------------------------------------------------------------------------

class Request:
    def __init__(self, choose, last):
        self.trace_id, self.span_id = secrets.token_bytes(16), secrets.token_bytes(8)
        self.method = choose.choice(("GET", "GET", "GET", "GET", "HEAD"))
        lines = [f"{self.method} /?n={choose.choice((20, 200, 2000, 6000))} HTTP/1.1", "Host: test",
                 f"Traceparent: 00-{self.trace_id.hex()}-{self.span_id.hex()}-01"]
        # Before the header that is looked for, and after it, more than a packet has room for.
        if choose.random() < 0.15:
            lines.insert(choose.choice((2, 3)), "Cookie: " + "c" * choose.choice((1500, 5000)))
        body = b""
        shape = choose.random()
        if shape < 0.25:
            body = b"GET / HTTP/1.1\r\ntraceparent: 00-%s-%s-01\r\n\r\n" % (b"a" * 32, b"b" * 16)
            body = body * choose.choice((1, 10, 40))
            lines += [f"Content-Length: {len(body)}"]
        elif shape < 0.4:
            lines += ["Transfer-Encoding: chunked"]
            body = b"".join(b"%x\r\n%s\r\n" % (size, b"d" * size)
                            for size in choose.choices((1, 100, 900), k=4)) + b"0\r\n\r\n"
        if last:
            lines += ["Connection: close"]
        self.bytes = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
        self.range = None


class Caller(threading.Thread):
    """One connection after the other, all from one port."""

    def __init__(self, spans, out, choose, requests, both_ends, port, target):
        super().__init__()
        self.spans, self.out, self.choose, self.requests = spans, out, choose, requests
        self.both_ends, self.port = both_ends, port
        address, target_port = target.split(":")
        self.target = address, int(target_port)
        self.connection = self.stream = None
        self.instance, self.offset, self.left, self.began = -1, 0, 0, 0

    def try_to_connect(self):
        self.began = time.time_ns()
        self.connection = socket.socket()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection.bind(("", self.port))
        try:
            self.connection.connect(self.target)
            return True
        except OSError as error:
            self.connection.close()
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            return False

    def connect(self):
        # The last connection of the port may still wait for the answer to its FIN.
        while not self.try_to_connect():
            time.sleep(0.05)
        self.stream = Counted(self.connection.makefile("rb"))
        self.instance, self.offset = self.instance + 1, 0
        self.left = self.choose.randint(1, CALLS_A_CONNECTION)

    def close(self):
        self.stream.close()
        self.connection.close()
        self.connection = None

    def run(self):
        while self.requests > 0:
            if self.connection is None:
                self.connect()
            # One after the other mostly, some on each other's heels without waiting.
            together = min(self.requests, self.left, self.choose.choice((1, 1, 1, 1, 1, 3)))
            self.left -= together
            self.requests -= together
            last = self.left == 0 or self.requests == 0
            self.talk([Request(self.choose, last and i == together - 1) for i in range(together)])
            if last:
                self.stream.read()
                self.close()

    def talk(self, requests):
        local, peer = plainly(self.connection.getsockname()), self.connection.getpeername()
        starts = []
        for request in requests:
            # The first waits for its connection too.
            starts.append(time.time_ns() if self.offset > 0 else self.began)
            self.connection.sendall(request.bytes)
            request.range = self.offset, self.offset + len(request.bytes)
            self.offset = request.range[1]
        for request, start in zip(requests, starts):
            begin = self.stream.count
            read_answer(self.stream, request.method)
            self.tell(request, (start, time.time_ns()), (local, plainly(peer)),
                      (begin, self.stream.count))

    def tell(self, request, times, ends, answered):
        local, peer = ends
        ends = {"network.peer.address": peer[0], "network.peer.port": peer[1]}
        if self.both_ends:
            ends |= {"network.local.address": local[0], "network.local.port": local[1]}
        self.spans.add(CLIENT, request.trace_id, request.span_id, b"", times, ends)
        print(json.dumps({"trace": request.trace_id.hex(), "span": request.span_id.hex(),
                          "local": local, "instance": self.instance, "range": request.range,
                          "answer": answered}),
              file=self.out, flush=True)


def call(name, collector, out, seed, requests, threads, both_ends, first_port, *targets):
    spans, threads = Spans(name, collector), int(threads)
    make_known(spans)
    with open(out, "w", encoding="ascii") as told:
        callers = [Caller(spans, told, random.Random(f"{seed} {number}"), int(requests) // threads,
                          both_ends == "1", int(first_port) + number,
                          targets[number % len(targets)])
                   for number in range(threads)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    spans.end()


if __name__ == "__main__":
    {"serve": serve, "call": call}[sys.argv[1]](*sys.argv[2:])
