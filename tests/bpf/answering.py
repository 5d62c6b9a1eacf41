#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A server that reads and answers by a script: the N-th connection that it accepts by the N-th.

  answering.py ADDRESS PORT FILE    FILE: a list of lists of [what, argument]

`recv`, `uring`, `peek`, `splice` and `discard` take so many bytes in this way, the ways of
streams.py send these (hex). Each connection is told as a line of JSON with its cookie when it is
accepted, and again once its script is over, it is closed for sending and everything sent was
acknowledged.
"""
import fcntl
import json
import os
import socket
import struct
import sys
import threading
import time

import streams
import uring
from streams import SIOCOUTQ, SO_COOKIE, tell


def take(sock, size):
    while size:
        size -= len(sock.recv(min(size, 1 << 16)))


def peek(sock, size):
    while len(sock.recv(size, socket.MSG_PEEK)) < size:
        time.sleep(0.01)


def splice(sock, size):
    out, into = os.pipe()
    while size:
        moved = os.splice(sock.fileno(), into, min(size, 4096))
        os.read(out, moved)
        size -= moved
    os.close(out)
    os.close(into)


def discard(sock, size):
    buffer = bytearray(1)
    while size:
        size -= sock.recv_into(buffer, min(size, 1), socket.MSG_TRUNC)


HOWS = {"recv": take, "uring": uring.take, "peek": peek, "splice": splice, "discard": discard}


def run(index, sock, script):
    for what, argument in script:
        if isinstance(argument, int):
            HOWS[what](sock, argument)
        else:
            streams.HOWS[what](sock, bytes.fromhex(argument))
    sock.shutdown(socket.SHUT_WR)
    while struct.unpack("i", fcntl.ioctl(sock, SIOCOUTQ, b"    "))[0]:
        time.sleep(0.01)
    tell(what="answered", index=index)


def main():
    address, port, path = sys.argv[1:]
    with open(path, encoding="ascii") as file:
        scripts = json.load(file)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, int(port)), family=family, backlog=len(scripts),
                                    dualstack_ipv6=family == socket.AF_INET6)
    tell(what="listening")
    kept = []
    for index, script in enumerate(scripts):
        sock, _ = listener.accept()
        kept.append(sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        cookie, = struct.unpack("=Q", sock.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))
        tell(what="accepted", index=index, cookie=cookie)
        threading.Thread(target=run, args=(index, sock, script)).start()
    sys.stdin.readline()


main()
