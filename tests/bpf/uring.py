# SPDX-License-Identifier: Apache-2.0
"""Sends and receives through io_uring, one request at a time: the kernel does it in a thread of its
own. As few words of the interface as that needs (linux/io_uring.h)."""
import ctypes
import mmap
import os
import struct

SETUP, ENTER = 425, 426  # the same on all architectures
GETEVENTS, ASYNC = 1, 16
SEND, RECV = 26, 27
SQ_RING, CQ_RING, SQES = 0, 0x8000000, 0x10000000
PARAMS, OFFSETS = 120, 40  # bytes: of the whole, and before each ring's offsets
LIBC = ctypes.CDLL(None, use_errno=True)


def call(*arguments):
    result = LIBC.syscall(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), "io_uring")
    return result


class Ring:
    def __init__(self):
        params = ctypes.create_string_buffer(PARAMS)
        self.fd = call(SETUP, 1, params)
        entries = struct.unpack_from("=II", params)
        self.sent = struct.unpack_from("=7I", params, OFFSETS)
        self.done = struct.unpack_from("=6I", params, 2 * OFFSETS)
        self.submissions = mmap.mmap(self.fd, self.sent[6] + 4 * entries[0], offset=SQ_RING)
        self.completions = mmap.mmap(self.fd, self.done[5] + 16 * entries[1], offset=CQ_RING)
        self.requests = mmap.mmap(self.fd, 64 * entries[0], offset=SQES)

    def close(self):
        for ring in (self.submissions, self.completions, self.requests):
            ring.close()
        os.close(self.fd)

    def perform(self, operation, sock, buffer, size):
        """The request's result, or the error that it ended in."""
        struct.pack_into("=BBHiQQIIQ24x", self.requests, 0, operation, ASYNC, 0, sock.fileno(), 0,
                         ctypes.addressof(buffer), size, 0, 0)
        struct.pack_into("=I", self.submissions, self.sent[6], 0)
        tail, = struct.unpack_from("=I", self.submissions, self.sent[1])
        struct.pack_into("=I", self.submissions, self.sent[1], (tail + 1) % 2**32)
        call(ENTER, self.fd, 1, 1, GETEVENTS, None, 0)
        head, = struct.unpack_from("=I", self.completions, self.done[0])
        mask, = struct.unpack_from("=I", self.completions, self.done[2])
        _, result = struct.unpack_from("=Qi", self.completions, self.done[5] + 16 * (head & mask))
        struct.pack_into("=I", self.completions, self.done[0], (head + 1) % 2**32)
        if result < 0:
            raise OSError(-result, "io_uring")
        return result


def is_allowed():
    try:
        Ring().close()
    except OSError:
        return False
    return True


def send(sock, data):
    ring = Ring()
    while data:
        buffer = ctypes.create_string_buffer(data, len(data))
        data = data[ring.perform(SEND, sock, buffer, len(data)):]
    ring.close()


def take(sock, size):
    ring = Ring()
    buffer = ctypes.create_string_buffer(1 << 16)
    while size:
        size -= ring.perform(RECV, sock, buffer, min(size, 1 << 16))
    ring.close()
