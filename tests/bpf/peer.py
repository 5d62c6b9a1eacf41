#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One end of TCP connections, told what to do by lines on its standard input.

  peer.py serve ADDRESS PORT     answers requests on every connection it accepts
  peer.py deaf ADDRESS PORT COUNT
                                 listens and accepts nothing: a queue of COUNT
  peer.py client                 commands: connect ADDRESS PORT [SECONDS] | request BYTES ANSWER |
                                 ask BYTES ANSWER | take BYTES | small BUFFER | info |
                                 flood ADDRESS PORT COUNT | hoard ADDRESS PORT COUNT | close

`ask` sends a request, by a thread of its own, and reads nothing of its answer, `take` reads;
`small` makes the connected socket's receive buffer smaller than what it has offered to take; `info`
tells TCP_INFO.

A request is its size and the size of the answer (4 bytes each, in the first 8) and filling. What
happens is told as lines of JSON with what the kernel says of the socket: its cookie, the cookie of
its network namespace, both addresses.
"""
import json
import socket
import struct
import sys
import threading
import time

SO_COOKIE, SO_NETNS_COOKIE = 57, 71


def tell(what, **more):
    # In one write: several threads have something to tell.
    sys.stdout.write(json.dumps({"what": what, **more}) + "\n")
    sys.stdout.flush()


def describe(sock):
    def cookie(option):
        return struct.unpack("=Q", sock.getsockopt(socket.SOL_SOCKET, option, 8))[0]
    return {"cookie": cookie(SO_COOKIE), "netns": cookie(SO_NETNS_COOKIE),
            "local": sock.getsockname()[:2], "remote": sock.getpeername()[:2]}


def read_exactly(sock, count):
    while count:
        data = sock.recv(min(count, 1 << 16))
        if not data:
            raise EOFError
        count -= len(data)


def answer(sock):
    try:
        tell("accepted", **describe(sock))
        while True:
            head = sock.recv(8, socket.MSG_WAITALL)
            if len(head) < 8:
                break
            size, answer_size = struct.unpack("!II", head)
            read_exactly(sock, size - 8)
            sock.sendall(b"a" * answer_size)
    except (OSError, EOFError):
        pass
    sock.close()
    tell("ended")


def listen(address, port, queue):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind((address, port))
    listener.listen(queue)
    tell("listening")
    return listener


def serve(address, port):
    listener = listen(address, port, 1024)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=answer, args=(sock,), daemon=True).start()


class Client:
    def __init__(self):
        self.sock = None
        self.hoarded = []

    def connect(self, address, port, seconds="20"):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(float(seconds))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.sock.connect((address, int(port)))
        except OSError as error:
            self.close()
            tell("failed", error=str(error))
            return
        tell("connected", **describe(self.sock))

    def request(self, size, answer_size):
        began = time.monotonic()
        self.send(size, answer_size)
        read_exactly(self.sock, int(answer_size))
        tell("answered", ms=(time.monotonic() - began) * 1000)

    def send(self, size, answer_size):
        head = struct.pack("!II", int(size), int(answer_size))
        self.sock.sendall(head + b"q" * (int(size) - 8))

    def ask(self, size, answer_size):
        def run():
            began = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            self.send(size, answer_size)
            tell("asked", sent=[began, time.clock_gettime_ns(time.CLOCK_BOOTTIME)],
                 thread=threading.get_native_id())
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()

    def take(self, size):
        read_exactly(self.sock, int(size))
        tell("taken")

    def small(self, size):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, int(size))
        tell("small")

    def info(self):
        info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 168)
        srtt_us, = struct.unpack_from("=I", info, 68)
        min_rtt_us, = struct.unpack_from("=I", info, 148)
        rate, = struct.unpack_from("=Q", info, 160)
        tell("info", srtt_us=srtt_us, min_rtt_us=min_rtt_us, delivery_rate=rate)

    def close(self):
        self.sock.close()
        tell("closed")

    def flood(self, address, port, count):
        for _ in range(int(count)):
            with socket.create_connection((address, int(port)), 20):
                pass
        tell("flooded")

    def hoard(self, address, port, count):
        self.hoarded = [socket.create_connection((address, int(port)), 20)
                        for _ in range(int(count))]
        tell("hoarded")


def main():
    if sys.argv[1] == "serve":
        serve(sys.argv[2], int(sys.argv[3]))
    if sys.argv[1] == "deaf":
        listener = listen(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
        sys.stdin.read()
        listener.close()
        return
    client = Client()
    tell("ready")
    for line in sys.stdin:
        name, *arguments = line.split()
        getattr(client, name)(*arguments)


main()
