# SPDX-License-Identifier: Apache-2.0
"""Spans that are told apart by a number in their trace id, for tests that write down which were
acknowledged and which arrived; and the page of preload.c. Needs the standard library only."""
import mmap
import re
import socket
import struct

MARK = b"\x0a\x10UTKL"  # a trace id: field 1 of a span, 16 bytes
IN_BYTES = re.compile(re.escape(MARK[2:]) + b"\0{4}(.{8})", re.DOTALL)
IN_HEX = re.compile(rb'"traceId":"' + MARK[2:].hex().encode() + b"0{8}([0-9a-f]{16})")


WRITE, SYNC, ALLOCATION, RESOLUTION = range(4)  # as in tests/faults/preload.c
HALF = 1 << 16  # … and half of a write is done before it fails
FIELDS = struct.Struct("=5I")  # after, times, error, calls, failed
EVER = (1 << 32) - 1


class Faults:
    """What the preloaded library does, for all programs that are started with `environment`."""

    def __init__(self, file, library, folder):
        file.write_bytes(bytes(4 * FIELDS.size))
        self.environment = {"LD_PRELOAD": str(library), "UT_FAULTS": str(file),
                            "UT_FAULTS_FOLDER": str(folder),
                            "ASAN_OPTIONS": "verify_asan_link_order=0:allocator_may_return_null=1"}
        with file.open("r+b") as opened:
            self.page = mmap.mmap(opened.fileno(), 0)

    def get(self, kind):
        return FIELDS.unpack_from(self.page, kind * FIELDS.size)

    def calls(self, kind):
        return self.get(kind)[3]

    def failed(self, kind):
        return self.get(kind)[4]

    def clear(self, kind):
        """How many calls of the kind have failed until now; no other will."""
        at = kind * FIELDS.size
        self.page[at + 4:at + 8] = bytes(4)
        return self.failed(kind)

    def set(self, kind, error, after=0, times=1):
        self.clear(kind)
        at = kind * FIELDS.size
        FIELDS.pack_into(self.page, at, after, 0, error, 0, 0)
        self.page[at + 4:at + 8] = struct.pack("=I", times)

    def count(self, kind):
        """Calls of the kind are counted from now on; none fails."""
        self.set(kind, 0, after=EVER)


def field(number, payload):
    size, head = len(payload), bytes([number << 3 | 2])
    while size >= 0x80:
        head += bytes([size & 0x7f | 0x80])
        size >>= 7
    return head + bytes([size]) + payload


def request_of(numbers, padding=0):
    """An ExportTraceServiceRequest with one span for each number, which is not 0."""
    spans = b""
    for number in numbers:
        span = MARK + struct.pack(">IQ", 0, number) + field(2, struct.pack(">Q", number))
        span += field(5, b"numbered" + b"x" * padding)
        span += b"\x39" + struct.pack("<Q", 1) + b"\x41" + struct.pack("<Q", 2)
        spans += field(2, span)
    return field(1, field(2, spans))


def numbers_in(data):
    """Of every span in it: protobuf of any schema with 16 bytes of trace id, or JSON with hex."""
    return [struct.unpack(">Q", found)[0] for found in IN_BYTES.findall(data)] + \
        [int(found, 16) for found in IN_HEX.findall(data)]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
