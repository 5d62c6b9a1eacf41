#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sends prepared bytes over connections of its own, all at once.

  streams.py ADDRESS PORT FILE    FILE: a list of {"name", "how", "pieces": [hex, …]}

`how` is the call that sends them: send, sendfile, zerocopy, splice, uring or urgent, with the last
byte out of band; or what the socket is: mptcp, or options, with some in each packet's network
header, or restored, which takes over a connection of another socket (the network's windows must
not be scaled).
Each connection is opened first, told as a line of JSON with its cookie; a line on standard input
lets the bytes go, and each connection is told again once everything on it was acknowledged. Another
line ends it.
"""
import fcntl
import json
import os
import socket
import struct
import sys
import tempfile
import threading
import time

import uring

SO_COOKIE, SO_ZEROCOPY, MSG_ZEROCOPY, SIOCOUTQ = 57, 60, 0x4000000, 0x5411
IPPROTO_MPTCP, IP_OPTIONS, IPV6_HOPOPTS = 262, 4, 54
TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ = 19, 20, 21
UNTIL_THE_END = []


def tell(**line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def connect(address, port, how):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, IPPROTO_MPTCP if how == "mptcp" else 0)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if how == "options" and family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, IP_OPTIONS, b"\x01\x01\x01\x00")
    elif how == "options":
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_HOPOPTS, bytes((0, 0, 1, 4, 0, 0, 0, 0)))
    sock.connect((address, port))
    return restore(sock) if how == "restored" else sock


def restore(old):
    """Another socket in the place of this one, as after a checkpoint; the other end sees nothing
    of it."""
    local, remote = old.getsockname(), old.getpeername()
    old.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    numbers = {}
    for queue in (1, 2):
        old.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, queue)
        numbers[queue] = old.getsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ)
    old.close()
    sock = socket.socket(old.family, socket.SOCK_STREAM)
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(local)
    for queue, number in numbers.items():
        sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, queue)
        sock.setsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ, number)
    sock.connect(remote)
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 0)
    return sock


def send(sock, data):
    sock.sendall(data)


def send_file(sock, data):
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        at = 0
        while at < len(data):
            at += os.sendfile(sock.fileno(), file.fileno(), at, len(data) - at)


def send_zerocopy(sock, data):
    """The kernel reads the bytes when they go out, and again when they are sent again."""
    UNTIL_THE_END.append(data)
    sock.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
    sent = memoryview(data)
    while sent:
        sent = sent[sock.send(sent, MSG_ZEROCOPY):]


def send_spliced(sock, data):
    out, into = os.pipe()
    while data:
        size = os.write(into, data[:4096])
        data = data[size:]
        while size:
            size -= os.splice(out, sock.fileno(), size)
    os.close(out)
    os.close(into)


def send_urgently(sock, data):
    """The last byte does not reach who reads the others."""
    sock.send(data, socket.MSG_OOB)


HOWS = {"send": send, "urgent": send_urgently, "sendfile": send_file, "zerocopy": send_zerocopy,
        "splice": send_spliced, "uring": uring.send, "mptcp": send, "options": send,
        "restored": send}


def drain(sock):
    """What is answered, so that it never has to wait."""
    try:
        while sock.recv(1 << 16):
            pass
    except OSError:
        pass


def run(index, sock, stream):
    for piece in stream["pieces"]:
        HOWS[stream["how"]](sock, bytes.fromhex(piece))
    while struct.unpack("i", fcntl.ioctl(sock, SIOCOUTQ, b"    "))[0]:
        time.sleep(0.01)
    tell(what="streamed", index=index)


def main():
    address, port = sys.argv[1], int(sys.argv[2])
    with open(sys.argv[3], encoding="ascii") as file:
        streams = json.load(file)
    socks = []
    for index, stream in enumerate(streams):
        sock = connect(address, port, stream["how"])
        cookie, = struct.unpack("=Q", sock.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))
        tell(what="opened", index=index, cookie=cookie)
        socks.append(sock)
    tell(what="ready")
    sys.stdin.readline()
    for index, stream in enumerate(streams):
        threading.Thread(target=drain, args=(socks[index],), daemon=True).start()
        threading.Thread(target=run, args=(index, socks[index], stream)).start()
    sys.stdin.readline()


if __name__ == "__main__":
    main()
