# SPDX-License-Identifier: Apache-2.0
"""Backends that write down which spans came, and what may stand before them: a way that is cut
after so many bytes."""
import concurrent.futures
import contextlib
import http.server
import select
import socket
import struct
import threading
import time

import grpc

from numbered import numbers_in

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


class Counter:
    """What has arrived."""

    def __init__(self):
        self.lock, self.seen = threading.Lock(), set()

    def add(self, body):
        with self.lock:
            self.seen.update(numbers_in(body))

    def numbers(self):
        with self.lock:
            return set(self.seen)


class HttpCounter(Counter, http.server.ThreadingHTTPServer):
    """Over HTTP; it answers with `status` and `answer`."""
    daemon_threads = True

    def __init__(self, port=0, tls=None):
        Counter.__init__(self)
        http.server.ThreadingHTTPServer.__init__(self, ("127.0.0.1", port), Handler)
        self.port, self.status, self.answer = self.server_address[1], 200, b""
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    def handle_error(self, *_):
        """A connection that ended in the middle, as these tests want it."""

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):  # pylint: disable=invalid-name
        size = int(self.headers["Content-Length"])
        body = self.rfile.read(size)
        if len(body) < size:
            self.close_connection = True
            return
        status = self.server.status
        if status == 200:
            self.server.add(body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, *_words):
        pass


class GrpcCounter(Counter, grpc.GenericRpcHandler):
    """Over gRPC: any method, for each has an empty message as its best answer."""

    def __init__(self, port=0, credentials=None):
        Counter.__init__(self)
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), handlers=[self])
        address = f"127.0.0.1:{port}"
        self.port = (self.server.add_secure_port(address, credentials) if credentials
                     else self.server.add_insecure_port(address))

    def service(self, details):
        del details
        return grpc.unary_unary_rpc_method_handler(self.keep)

    def keep(self, body, _context):
        self.add(body)
        return b""

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        self.server.stop(grace=0).wait()


class Way:
    """Passes connections on to `port`. One is cut with a reset on both sides, after exactly `up`
    bytes of its client or `down` bytes of its server, where those are set; `cuts` counts it, and
    the next ones are whole again until it is told anew. What passes up is kept in `passed`. While
    it is told to `garble` the next connection is answered with that and closed. While
    it is `silent` it takes connections, and what comes on them, and never answers on these."""

    def __init__(self, port):
        self.target, self.lock = port, threading.Lock()
        self.limits, self.cuts, self.passed, self.open = None, 0, b"", True
        self.silent, self.carried, self.garbage = False, set(), None
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.open = False
        socket.create_connection(("127.0.0.1", self.port)).close()
        self.listener.close()

    def cut(self, up=None, down=None):
        with self.lock:
            self.limits = (up, down)

    def garble(self, data):
        with self.lock:
            self.garbage = data

    def is_told(self):
        """Nothing that it was told is still to be done."""
        return self.garbage is None and self.limits is None

    def sever(self):
        """Ends the connections that there are; others may come meanwhile."""
        with self.lock:
            ending = set(self.carried)
            for client in ending:
                with contextlib.suppress(OSError):  # it has ended just now
                    client.shutdown(socket.SHUT_RDWR)
        while ending & self.carried:
            time.sleep(0.001)

    def accept(self):
        while self.open:
            client, _ = self.listener.accept()
            with self.lock:
                limits, self.limits = self.limits or (None, None), None
                garbage, self.garbage = self.garbage, None
                self.carried.add(client)  # from now on it can be severed
            threading.Thread(target=self.carry, args=(client, limits, garbage),
                             daemon=True).start()

    def carry(self, client, limits, garbage):
        server = None
        try:
            if garbage is not None:
                answer_with(client, garbage)
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            if self.pass_on(client, server, limits):
                with self.lock:
                    self.cuts += 1
                for end in (client, server):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        except OSError:
            pass
        finally:
            with self.lock:
                self.carried.discard(client)
            client.close()
            if server is not None:
                server.close()

    def pass_on(self, client, server, limits):
        """Until an end closes, or a limit is reached: then True."""
        ends, carried, mute = {client: (server, 0), server: (client, 1)}, [0, 0], False
        while True:
            for source in select.select(ends, [], [])[0]:
                other, way = ends[source]
                room = 1 << 16 if limits[way] is None else limits[way] - carried[way]
                data = source.recv(room)
                if not data:
                    return False
                mute = mute or self.silent
                if mute:
                    continue
                other.sendall(data)
                carried[way] += len(data)
                if way == 0:
                    self.passed += data
                if carried[way] == limits[way]:
                    return True


def answer_with(client, garbage):
    """When something has come; and until the other end closes, so that it reads all of it."""
    client.settimeout(5)
    client.recv(1 << 16)
    client.sendall(garbage)
    client.shutdown(socket.SHUT_WR)
    while client.recv(1 << 16):
        pass
