# SPDX-License-Identifier: Apache-2.0
"""The attacks: what each connection sends, how it ends, and which counter it moves.

    name      what it is known as
    port      grpc, http, or tls, which is gRPC's with TLS
    send      the bytes, all at once
    limit     of undertrace_receiver_limit_hits_total: moved by one a connection; None: it is
              answered with a status, and `status` tells which
    answer    what the program may have said when it cuts: a set of GOAWAY's error codes (or None,
              where the reset overtook it) for HTTP/2; the status of the one answer for HTTP/1;
              None: not a word
    drip      sent again and again until the cut, 5 times a second
    reads     False: takes nothing from the socket until it is cut
    slow      it ends by time alone: all of these are played at the same time
"""
import dataclasses
import ssl
import struct

from frames import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, GRPC, JSON, PADDED,
                    PING, PREFACE, PRIORITY, PUSH_PROMISE, SETTINGS, frame, grow, headers, opening,
                    reset, settings)

CALM, PROTOCOL, FLOW, SIZE, COMPRESSION = 11, 1, 3, 6, 9


@dataclasses.dataclass
class Attack:
    name: str
    port: str
    send: bytes
    limit: str = None
    answer: object = None
    drip: bytes = b""
    reads: bool = True
    slow: bool = False


def flood(name, unit, limit, times=1500, before=b"", codes=(CALM,), **more):
    """`unit` is bytes, or a function of the stream's id."""
    units = [unit(2 * i + 1) if callable(unit) else unit for i in range(times)]
    return Attack(name, "grpc", opening() + before + b"".join(units), limit, {*codes, None}, **more)


def once(name, send, limit, codes, **more):
    return Attack(name, "grpc", send, limit, {*codes, None}, **more)


POST = b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
NEXT = b"POST /v1/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
FIELD = b"\x00\x05x-abc" + bytes((120,)) + b"v" * 120  # 125 bytes and 32, in no table
RESETS = 120  # of as many streams as may be open, and more than the guard lets pass
BEGUN = b"\0\0\0\x01\0x"                                # of a message of 256 bytes, one


def smuggle(name, head, body=b""):
    return Attack("smuggling: " + name, "http", head + b"\r\n" + body + NEXT, None, 400)


HTTP2 = [
    flood("rapid reset", lambda s: headers(s) + reset(s), "cancels"),
    flood("rapid reset of whole requests",
          lambda s: headers(s) + frame(DATA, END_STREAM, s, b"\0\0\0\0\0") + reset(s), "cancels"),
    flood("made to reset: a stream's window overflows", lambda s: headers(s) + grow(s, 2**31 - 1),
          "resets", RESETS),
    flood("made to reset: no pseudo fields", lambda s: headers(s, b"\x00\x01a\x01b"), "resets",
          RESETS),
    flood("made to reset: an upper-case name",
          lambda s: headers(s, JSON + b"\x00\x02AB\x01b"), "resets", RESETS),
    flood("made to reset: Connection", lambda s: headers(s, JSON + b"\x00\x0aconnection\x01x"),
          "resets", RESETS),
    flood("made to reset: more DATA than Content-Length",
          lambda s: headers(s, JSON + b"\x0f\x0d\x011") + frame(DATA, END_STREAM, s, b"{}"),
          "resets", RESETS),
    flood("made to reset: trailers that do not end the stream",
          lambda s: headers(s) + headers(s, b"\x00\x01a\x01b"), "resets", RESETS),
    flood("stream exhaustion", headers, "protocol", codes=(PROTOCOL,)),
    once("streams before the limit is known",
         PREFACE + settings() + b"".join(headers(2 * i + 1) for i in range(3000)),
         "early_streams", (CALM,)),
    once("CONTINUATION flood", opening() + headers(1, GRPC, 0) +
         frame(CONTINUATION, 0, 1, FIELD) * 200, "continuations", (CALM,)),
    once("CONTINUATION flood of nothing", opening() + headers(1, GRPC, 0) +
         frame(CONTINUATION, 0, 1) * 1000, "continuations", (CALM,)),
    once("HPACK bomb", opening() + headers(1, GRPC + b"\x90" * 65536), "headers", (CALM,)),
    once("HPACK bomb of an own entry", opening() + headers(
        1, GRPC + b"\x40\x01a\x7f\xd1\x1e" + b"v" * 4048 + b"\xbe" * 3000), "headers", (CALM,)),
    once("header list that grows", opening() + headers(1, GRPC + FIELD * 2000), "headers", (CALM,)),
    once("HPACK index that is nowhere", opening() + headers(1, b"\xff\xff\x7f"), "protocol",
         (COMPRESSION, PROTOCOL)),
    once("HPACK table size beyond the limit", opening() + headers(1, b"\x3f\xe1\xff\x03"),
         "protocol", (COMPRESSION, PROTOCOL)),
    flood("SETTINGS flood", settings(), "settings"),
    flood("flood of SETTINGS' ACK", frame(SETTINGS, ACK), "settings"),
    flood("PING flood", frame(PING, payload=b"12345678"), "pings"),
    flood("PING flood, answers unread", frame(PING, payload=b"12345678"), "pings", reads=False),
    flood("flood of PING's ACK", frame(PING, ACK, 0, b"12345678"), "pings"),
    flood("empty DATA", frame(DATA, 0, 1), "empty_frames", before=headers(1)),
    flood("DATA of padding", frame(DATA, PADDED, 1, b"\x03\0\0\0"), "empty_frames",
          before=headers(1)),
    flood("DATA of a stream that is over", frame(DATA, 0, 1, b"xx"), "empty_frames",
          before=headers(1) + reset(1)),
    flood("PRIORITY flood", frame(PRIORITY, 0, 1, struct.pack(">IB", 0, 1)), "other_frames"),
    flood("flood of unknown frames", frame(0xbe, 0, 0, b"x" * 8), "other_frames"),
    flood("GOAWAY flood", frame(GOAWAY, payload=b"\0" * 8), "other_frames"),
    flood("window dribble", grow(0, 1), "windows"),
    flood("window dribble of a stream", grow(1, 1), "windows", before=headers(1)),
    flood("window dribble under an answer", grow(1, 1), "windows", codes=(CALM,), times=2000,
          before=settings((4, 0)) + headers(1, JSON, END_HEADERS | END_STREAM)),
    once("the connection's window overflows", opening() + grow(0, 2**31 - 1), "protocol", (FLOW,)),
    once("an initial window beyond 2^31", opening((4, 2**31)), "protocol", (FLOW,)),
    once("SETTINGS of a thousand entries", opening() + settings(*[(4, 65535)] * 1000), "protocol",
         (CALM, PROTOCOL)),
    once("a frame beyond the limit", opening() + frame(DATA, 0, 1, b"", (1 << 24) - 1), "protocol",
         (SIZE,)),
    once("PUSH_PROMISE from a client", opening() + frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2"),
         "protocol", (PROTOCOL,)),
    once("DATA of a stream that never was", opening() + frame(DATA, 0, 7, b"x"), "protocol",
         (PROTOCOL,)),
    once("an even stream", opening() + headers(2), "protocol", (PROTOCOL,)),
    once("no preface", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + b"\0" * 64, "protocol", (PROTOCOL,)),
    once("zero windows held open", opening((4, 0)) + b"".join(
        headers(2 * i + 1, JSON, END_HEADERS | END_STREAM) for i in range(100)), "write_timeout",
         (), slow=True),
    once("streams held open", opening() + b"".join(
        headers(2 * i + 1) + frame(DATA, 0, 2 * i + 1, BEGUN) for i in range(100)), "receive_rate",
         (), slow=True),
    once("a slow body", opening() + headers(1) + frame(DATA, 0, 1, BEGUN), "receive_rate", (),
         slow=True, drip=frame(DATA, 0, 1, b"x")),
    once("half a header block", opening() + headers(1, GRPC, 0), "header_timeout", (), slow=True),
    once("half a frame of a header block", opening() + headers(1)[:-3], "header_timeout", (),
         slow=True),
    once("SETTINGS never acknowledged", PREFACE + settings(), "handshake_timeout", (), slow=True),
    once("half a preface", PREFACE[:9], "handshake_timeout", (), slow=True),
]

HTTP1 = [
    Attack("not a word", "http", b"", "handshake_timeout", None, slow=True),
    Attack("slow headers", "http", POST, "header_timeout", None, drip=b"X: y\r\n", slow=True),
    Attack("slow headers, byte by byte", "http", POST + b"X: ", "header_timeout", None, drip=b"y",
           slow=True),
    Attack("slow body", "http", POST + b"Content-Length: 100000\r\n\r\n", "receive_rate", None,
           drip=b"x", slow=True),
    Attack("slow chunks", "http", POST + b"Transfer-Encoding: chunked\r\n\r\n", "receive_rate",
           None, drip=b"1\r\nx\r\n", slow=True),
    Attack("answers unread", "http", b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n" * 30000, "write_timeout",
           None, reads=False),
    Attack("endless header", "http", POST + b"X: " + b"y" * 60000, "headers", 400),
    Attack("endless fields", "http", POST + b"X: y\r\n" * 10000, "headers", 400),
    Attack("endless target", "http", b"POST /" + b"y" * 60000, "headers", 400),
    Attack("endless empty lines", "http", b"\r\n" * 20000, "headers", 400),
    Attack("endless chunk size", "http",
           POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 60000, "headers", 400),
    Attack("endless trailers", "http", POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" +
           b"X: y\r\n" * 10000, "headers", 400),
    Attack("a length beyond the limit", "http", POST + b"Content-Length: 99999999999\r\n\r\n",
           "message_size", 413),
    Attack("chunks beyond the limit", "http", POST + b"Transfer-Encoding: chunked\r\n\r\n" +
           b"10000\r\n" + b"x" * 0x10000 + b"\r\n" + b"10000\r\n" + b"x" * 0x10000 + b"\r\n" +
           b"80000\r\n" + b"x" * 0x80000 + b"\r\n" + NEXT, "message_size", 413),
    smuggle("two lengths", POST + b"Content-Length: 0\r\nContent-Length: 40\r\n"),
    smuggle("length and chunked", POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            b"0\r\n\r\n"),
    smuggle("chunked and length", POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            b"0\r\n\r\n"),
    smuggle("chunked twice", POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            b"0\r\n\r\n"),
    smuggle("chunked not last", POST + b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"),
    smuggle("chunked of HTTP/1.0", POST.replace(b"1.1", b"1.0") +
            b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    smuggle("bare LF in the header", POST + b"X: y\nContent-Length: 40\r\n"),
    smuggle("bare CR in the header", POST + b"X: y\rContent-Length: 40\r\n"),
    smuggle("a folded line", POST + b"X: y\r\n Content-Length: 40\r\n"),
    smuggle("a blank before the colon", POST + b"Content-Length : 40\r\n"),
    smuggle("a chunk extension", POST + b"Transfer-Encoding: chunked\r\n", b"0;x=\"\n\"\r\n\r\n"),
    smuggle("a chunk with other bytes behind", POST + b"Transfer-Encoding: chunked\r\n",
            b"1\r\nxZZ0\r\n\r\n"),
    smuggle("a chunk size that ends in LF", POST + b"Transfer-Encoding: chunked\r\n",
            b"2\nxx\r\n0\r\n\r\n"),
    smuggle("two Hosts", POST + b"Host: y\r\n"),
    Attack("another protocol", "http", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" + b"\0" * 500,
           "protocol", None),
]



def client_hello():
    out = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="x")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


HELLO = client_hello()

#: Handshakes that are never finished.
TLS = [
    Attack("TLS: not a word", "tls", b"", "handshake_timeout", slow=True),
    Attack("TLS: half a ClientHello", "tls", HELLO[:100], "handshake_timeout", slow=True),
    Attack("TLS: a ClientHello and no more", "tls", HELLO, "handshake_timeout", slow=True),
    Attack("TLS: a ClientHello and no more, the answer unread", "tls", HELLO, "handshake_timeout",
           reads=False, slow=True),
    Attack("TLS: a ClientHello that drips", "tls", b"\x16\x03\x01\x3f\xff\x01\0\x3f\xfb",
           "handshake_timeout", drip=b"\x03", slow=True),
    Attack("TLS: nothing but changes of the cipher", "tls", HELLO, "handshake_timeout",
           drip=b"\x14\x03\x03\0\x01\x01", slow=True),
]

ATTACKS = HTTP2 + HTTP1 + TLS
