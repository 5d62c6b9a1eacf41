# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 by hand: frames as bytes, and what came back told apart."""
import struct

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, \
    CONTINUATION = range(10)
END_STREAM = ACK = 1
END_HEADERS = 4
PADDED = 8
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
METHOD = b"/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    size = len(payload) if length is None else length
    return struct.pack(">I", size)[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def settings(*pairs):
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", *pair) for pair in pairs))


def opening(*pairs):
    """The preface, our SETTINGS, and the ACK of theirs, which the server has sent by then."""
    return PREFACE + settings(*pairs) + frame(SETTINGS, ACK)


def grow(stream, increment):
    return frame(WINDOW_UPDATE, stream=stream, payload=struct.pack(">I", increment))


def reset(stream, code=8):
    return frame(RST_STREAM, stream=stream, payload=struct.pack(">I", code))


def text(prefix, value):
    """A field of the static table's name with a literal value that stays out of the table."""
    return prefix + bytes((len(value),)) + value


#: A request header block of gRPC: POST, http, path, authority, content-type, te.
GRPC = (b"\x83\x86" + text(b"\x04", METHOD) + text(b"\x01", b"x") +
        text(b"\x0f\x10", b"application/grpc") + b"\x00\x02te\x08trailers")
#: The same of OTLP/HTTP in JSON.
JSON = (b"\x83\x86" + text(b"\x04", b"/v1/traces") + text(b"\x01", b"x") +
        text(b"\x0f\x10", b"application/json"))


def headers(stream, block=GRPC, flags=END_HEADERS):
    return frame(HEADERS, flags, stream, block)


def parse(data):
    """(kind, flags, stream, payload) of each whole frame."""
    at = 0
    while at + 9 <= len(data):
        size = int.from_bytes(data[at:at + 3], "big")
        stream = int.from_bytes(data[at + 5:at + 9], "big") & 0x7fffffff
        if at + 9 + size > len(data):
            return
        yield data[at + 3], data[at + 4], stream, data[at + 9:at + 9 + size]
        at += 9 + size


def goaway_code(data):
    """The error code of the last GOAWAY that came, or None."""
    codes = [int.from_bytes(payload[4:8], "big")
             for kind, _, _, payload in parse(data) if kind == GOAWAY]
    return codes[-1] if codes else None
