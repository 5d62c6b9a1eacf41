# SPDX-License-Identifier: Apache-2.0
"""A client that does nothing wrong, in a process of its own: one connection of HTTP/1.1 and one of
gRPC, a request on each every 10 ms, each answered with success, none of them ever cut."""
import multiprocessing
import socket
import time

import frames

SPAN = (b"\x0a\x10" + b"t" * 16 + b"\x12\x08" + b"s" * 8 + b"\x2a\x01n")
BODY = SPAN
for tag in (b"\x12", b"\x12", b"\x0a"):  # Span, ScopeSpans, ResourceSpans
    BODY = tag + bytes((len(BODY),)) + BODY


class Http:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 30)

    def export(self):
        head = (b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
                b"Content-Length: %d\r\n\r\n" % len(BODY))
        self.socket.sendall(head + BODY)
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            more = self.socket.recv(4096)
            if not more:
                raise ConnectionError("HTTP/1.1: cut")
            answer += more
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise ConnectionError(f"HTTP/1.1: {answer}")


class Grpc:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.sendall(frames.opening())
        self.stream = 1
        self.data = b""

    def export(self):
        message = b"\0" + len(BODY).to_bytes(4, "big") + BODY
        self.socket.sendall(frames.headers(self.stream) +
                            frames.frame(frames.DATA, frames.END_STREAM, self.stream, message))
        while not self.take():
            more = self.socket.recv(4096)
            if not more:
                raise ConnectionError("gRPC: cut")
            self.data += more
        self.stream += 2
        if self.stream % 2000 == 1:  # 5 bytes an answer, of 65,535 in the connection's window
            self.socket.sendall(frames.grow(0, 5 * 1000))

    def take(self):
        """Whether the stream has ended: with the trailers of a success."""
        for kind, flags, stream, payload in frames.parse(self.data):
            self.data = self.data[9 + len(payload):]
            if kind in (frames.GOAWAY, frames.RST_STREAM):
                raise ConnectionError(f"gRPC: frame {kind}")
            if stream == self.stream and flags & frames.END_STREAM:
                # A success is HEADERS, DATA, HEADERS; its trailers are one field, a byte or more.
                if kind != frames.HEADERS or len(payload) > 20:
                    raise ConnectionError(f"gRPC: {payload}")
                return True
        return False


def run(ports, stop, pipe):
    answers, faults, worst = 0, [], 0.0
    try:
        clients = [Http(ports["http"]), Grpc(ports["grpc"])]
        while not stop.is_set() or answers < 20:
            start = time.monotonic()
            for client in clients:
                client.export()
                answers += 1
            worst = max(worst, time.monotonic() - start)
            time.sleep(0.01)
    except (OSError, ConnectionError) as error:
        faults.append(f"the honest client: {error!r} after {answers} answers")
    pipe.send((answers, faults, worst))


class Honest:
    def __init__(self, ports):
        self.stop = multiprocessing.Event()
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=run, args=(ports, self.stop, theirs))
        self.answers, self.faults, self.worst = 0, [], 0.0

    def __enter__(self):
        self.process.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        if self.pipe.poll(90):
            self.answers, self.faults, self.worst = self.pipe.recv()
        else:
            self.faults.append("the honest client has no answer")
            self.process.kill()
        self.process.join()
