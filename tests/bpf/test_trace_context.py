#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Which request a retransmitted segment belongs to, read from the wire: right, or absent."""
import json
import os
import pathlib
import subprocess
import sys
import time

import uring
from harness import HERE, UNLIMITED, WATCH, KernelTest, Lab, Lines, cgroup_id, main

PORT = 8200
SETTINGS = UNLIMITED + "trace_context: {enabled: true}\n"
FAKE = (b"GET /fake HTTP/1.1\r\nhost: x\r\ntraceparent: 00-" + b"f" * 32 + b"-" + b"f" * 16 +
        b"-01\r\n\r\n")


class Stream:
    """Bytes to send, and which of them belong to which ids. `lost`: the reason, if the following of
    the socket has to end in it; `how`: the call that sends it."""

    made = 0

    def __init__(self, name, lost=None, how="send"):
        self.name, self.lost, self.how = name, lost, how
        self.data, self.cuts, self.owned = b"", [], []

    def request(self, head=b"", body=b"", method=b"GET", trace=None, owns_body=True, named=True):
        """One request with an own traceparent (another text for `trace`), which has to be found
        unless not `named`."""
        Stream.made += 1
        ids = f"{Stream.made:032x}", f"{Stream.made + (1 << 40):016x}"
        if trace is None:
            trace = b"traceparent: 00-%s-%s-01\r\n" % (ids[0].encode(), ids[1].encode())
        begin = len(self.data)
        self.data += method + b" /path HTTP/1.1\r\nHost: ledger\r\n" + trace + head + b"\r\n"
        end = len(self.data)
        self.data += body
        if named:
            owned = len(body) if owns_body is True else owns_body
            self.owned.append((begin, end, end + owned, *ids))
        return self

    def post(self, body, head=b"", **more):
        return self.request(b"Content-Length: %d\r\n" % len(body) + head, body, b"POST", **more)

    def raw(self, data):
        self.data += data
        return self

    def pieces(self):
        places = [0, *self.cuts, len(self.data)]
        return [self.data[a:b].hex() for a, b in zip(places, places[1:]) if a < b]

    def ids(self, begin, end):
        """What a retransmit of these bytes may tell: all, or all but the last, if its head goes on
        behind them and had perhaps not been sent to its end then."""
        found = [(a < end < head_end, [trace, span, min(b, end) - max(a, begin)])
                 for a, head_end, b, trace, span in self.owned if a < end and b > begin]
        answers = [[ids for _, ids in found]]
        if found and found[-1][0]:
            answers.append(answers[0][:-1])
        return [(ids[:8], max(0, len(ids) - 8)) for ids in answers]


def chunks(*parts, trailer=b"", extension=b""):
    return b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts) + \
        b"0\r\n" + trailer + b"\r\n"


CHUNKED = b"Transfer-Encoding: chunked\r\n"


def readable():
    yield (Stream("keep-alive and pipelining")
           .request().request(named=False, trace=b"").request().post(b"x" * 3000).request())
    stream = Stream("nine small requests in a segment")
    for _ in range(16):
        stream.request()
    yield stream
    yield Stream("bodies full of heads").post(FAKE * 30).post(FAKE * 900).request().post(FAKE)
    stream = Stream("cut at every byte").request(b"Accept: */*\r\n").post(b"abc").request()
    stream.cuts = list(range(1, len(stream.data)))
    yield stream
    for step in (7, 64, 127, 128, 129, 255):
        stream = Stream(f"cut every {step} bytes")
        for _ in range(3):
            stream.request(b"Cookie: " + b"c" * 400 + b"\r\n").post(FAKE)
        stream.cuts = list(range(step, len(stream.data), step))
        yield stream
    long_lines = b"".join(b"X-%d: %s\r\n" % (i, FAKE[:-4].replace(b"\r\n", b" ") * 25)
                          for i in range(26))
    assert 60000 < len(long_lines) < 65000
    yield Stream("a head of 64 KiB").request(long_lines).request()
    short_lines = b"".join(b"X%d: y\r\n" % i for i in range(3000))
    yield Stream("a head of 3,000 lines").request(short_lines).request()
    yield Stream("a long target").request(method=b"GET /" + b"t" * 3000).request()
    yield (Stream("chunked")
           .request(CHUNKED, chunks(FAKE, b"x" * 5000, FAKE * 20), b"POST")
           .request(CHUNKED, chunks(FAKE, extension=b";a=b"), b"PUT").request()
           .request(CHUNKED, chunks(b"y", trailer=FAKE.split(b"\r\n", 1)[1][:-2]), b"POST")
           .request(b"tRANSFER-eNCODING:chunked  \r\n", chunks(), b"POST").request())
    yield Stream("200 chunks").request(CHUNKED, chunks(*[FAKE[:20]] * 200), b"POST").request()
    stream = Stream("chunks cut at every byte").request(
        CHUNKED, chunks(FAKE[:40], b"x", extension=b";a=b", trailer=b"X: y\r\n"), b"POST").request()
    stream.cuts = list(range(1, len(stream.data)))
    yield stream
    yield (Stream("traceparents that are none")
           .request(trace=b"traceparent: 00-" + b"A" * 32 + b"-" + b"b" * 16 + b"-01\r\n",
                    named=False)
           .request(trace=b"traceparent: 00-" + b"0" * 32 + b"-" + b"b" * 16 + b"-01\r\n",
                    named=False)
           .request(trace=b"traceparent: 00-" + b"a" * 32 + b"-" + b"0" * 16 + b"-01\r\n",
                    named=False)
           .request(trace=b"traceparent: ff-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01\r\n",
                    named=False)
           .request(trace=b"traceparent: 00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01-x\r\n",
                    named=False)
           .request(trace=b"traceparent: 00-abc\r\n", named=False)
           .request(trace=b"traceparent:\r\n", named=False)
           .request(trace=b"x-traceparent: 00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01\r\n",
                    named=False)
           .request(b"traceparent: 00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01\r\n", named=False)
           .request())
    yield (Stream("names in any case, spaces around values")
           .raw(b"\r\n\r\n")
           .request(b"cOnTeNt-LeNgTh:    6   \r\n", b"GET / ", b"POST").request(method=b"M-SEARCH"))
    yield (Stream("an offer of h2c that is not taken")
           .post(FAKE, b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n").request())
    for how in ("sendfile", "zerocopy", "splice", "options", *["uring"] * uring.is_allowed()):
        yield Stream(how, how=how).post(FAKE * 50).request().post(FAKE)


def lost():
    def ends(name, reason, *more, **options):
        """Its first request is found, with its body or without, and nothing behind it."""
        stream = Stream(name, reason).request().request(*more, **options)
        return stream.raw(FAKE * 3)

    yield ends("length and chunked", "ambiguous_length", CHUNKED + b"Content-Length: 5\r\n",
               chunks(FAKE), owns_body=0)
    yield ends("two lengths", "ambiguous_length", b"Content-Length: 3\r\nContent-Length: 3\r\n",
               b"abc", owns_body=0)
    yield ends("a list of lengths", "ambiguous_length", b"Content-Length: 3, 3\r\n", b"abc",
               owns_body=0)
    yield ends("a length with a sign", "ambiguous_length", b"Content-Length: +3\r\n", b"abc",
               owns_body=0)
    yield ends("a length beyond all numbers", "ambiguous_length",
               b"Content-Length: 99999999999999999999\r\n", owns_body=0)
    yield ends("a length of 5 GB", "too_long", b"Content-Length: 5000000000\r\n",
               owns_body=0)
    yield ends("another coding", "ambiguous_length", b"Transfer-Encoding: gzip, chunked\r\n",
               owns_body=0)
    yield ends("two codings", "ambiguous_length", CHUNKED * 2, owns_body=0)
    yield ends("expect", "expect", b"Expect: 100-continue\r\nContent-Length: 5\r\n", b"hello",
               owns_body=0)
    yield ends("expect without its body", "expect",
               b"Expect: 100-continue\r\nContent-Length: 5\r\n", owns_body=0)
    yield ends("upgrade", "upgrade", b"Connection: upgrade\r\nUpgrade: websocket\r\n",
               owns_body=0)
    yield ends("connect", "upgrade", method=b"CONNECT", owns_body=0)
    yield ends("a bare LF", "malformed", b"X: y\n", named=False)
    yield ends("a bare CR", "malformed", b"X: y\rz\r\n", named=False)
    yield ends("a folded line", "malformed", b"X: y\r\n z\r\n", named=False)
    yield ends("a NUL", "malformed", b"X: \0\r\n", named=False)
    yield ends("a space before the colon", "malformed", b"Content-Length : 5\r\n", b"hello",
               named=False)
    yield ends("a bad chunk", "malformed", CHUNKED, b"0x5\r\nhello\r\n0\r\n\r\n", b"POST",
               owns_body=0)
    yield ends("a chunk that is longer than it says", "malformed", CHUNKED,
               b"3\r\nhello\r\n0\r\n\r\n", b"POST", owns_body=6)
    yield ends("a head of more than 64 KiB", "too_long", b"X: " + b"y" * 70000 + b"\r\n",
               named=False)
    yield Stream("HTTP/1.0", "not_http").raw(FAKE.replace(b"/1.1", b"/1.0") * 3)
    yield Stream("HTTP/2", "not_http").raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + FAKE * 3)
    yield Stream("TLS", "not_http").raw(b"\x16\x03\x01" + FAKE * 3)
    yield Stream("Redis", "not_http").raw(b"*1\r\n$4\r\nPING\r\n" + FAKE * 3)
    yield Stream("an answer", "not_http").raw(b"HTTP/1.1 200 OK\r\n\r\n" + FAKE * 3)
    yield Stream("lower case", "not_http").raw(b"get / HTTP/1.1\r\n\r\n" + FAKE * 3)
    yield Stream("MPTCP", "multipath", "mptcp").request(named=False)


class Sender(Lines):
    """The process that sends streams, in `left`."""

    def __init__(self, lab, streams, address):
        path = lab.scratch / f"streams-{time.monotonic_ns()}"
        path.write_text(json.dumps([{"name": stream.name, "how": stream.how,
                                     "pieces": stream.pieces()} for stream in streams]),
                        encoding="ascii")
        self.lab, self.streams = lab, streams
        self.process = lab.left.start(
            [sys.executable, HERE / "streams.py", address, str(PORT), path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        super().__init__(self.process.stdout)
        self.wait(what="ready")
        for index, stream in enumerate(streams):
            stream.cookie = self.find(what="opened", index=index)[0]["cookie"]

    def begin(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def send(self):
        self.begin()
        self.wait(len(self.streams), 90, what="streamed")

    def end(self):
        self.lab.stop(self.process)
        self.thread.join(10)
        self.process.stdin.close()
        self.process.stdout.close()


class TraceContext(KernelTest):
    settings = None

    def watch_sender(self, settings=SETTINGS, follow=True):
        if follow:
            os.environ["WATCH_FOLLOW"] = str(cgroup_id(self.lab.left.cgroup))
            self.addCleanup(os.environ.pop, "WATCH_FOLLOW", None)
        return self.watch_with(settings)

    def sender(self, streams, address=Lab.V4[1]):
        sender = Sender(self.lab, streams, address)
        self.addCleanup(sender.end)
        return sender

    def send_with_losses(self, sender):
        """Every third segment with data is dropped on its way. What is sent again often enough
        gets through; where the kernel has timers that can be told, they run fast."""
        if os.path.exists("/proc/sys/net/ipv4/tcp_rto_min_us"):
            self.lab.left.sysctl("net.ipv4.tcp_rto_min_us", 5000)
        rule = self.lab.right.drop("data", f"tcp dport {PORT} meta length > 60 "
                                           "numgen inc mod 3 == 0")
        sender.send()
        rule.remove()
        time.sleep(0.2)

    def check(self, stream):
        """Each retransmit of the stream tells what it has to, and nothing else. Returns how many
        told something."""
        told = self.watch.find(type="trace_ids", cookie=stream.cookie)
        for record in self.watch.find(type="retransmit", cookie=stream.cookie, err=0):
            begin = (record["seq"] - record["isn"][0] - 1) % 2**32
            answers = stream.ids(begin, begin + record["bytes"])
            after = [line for line in told if line["unix_ns"] >= record["unix_ns"]
                     and (line["seq"], line["bytes"]) == (record["seq"], record["bytes"])]
            mine = (after[0]["ids"], after[0]["more"]) if after else ([], 0)
            self.assertIn(mine, answers, f"{stream.name}: bytes {begin} +{record['bytes']}")
        return len(told)

    def check_all(self, streams, address):
        self.watch_sender()
        self.serve(self.lab.right, "::", PORT)
        sender = self.sender(streams, address)
        self.send_with_losses(sender)
        told = sum(self.check(stream) for stream in streams)
        return told, self.watch.end()

    def test_readable_requests_are_found_over_ipv4(self):
        streams = list(readable())
        told, metrics = self.check_all(streams, Lab.V4[1])
        self.assertGreater(told, 2 * len(streams))
        self.assertEqual(self.losses(metrics), {})
        self.assertEqual(metrics["undertrace_trace_context_displaced_total"], 0)
        self.assertEqual(metrics["undertrace_trace_context_sockets_total"], len(streams))

    def test_readable_requests_are_found_over_ipv6(self):
        streams = list(readable())
        told, metrics = self.check_all(streams, Lab.V6[1])
        self.assertGreater(told, len(streams))
        self.assertEqual(self.losses(metrics), {})

    @staticmethod
    def losses(metrics):
        name = "undertrace_trace_context_lost_total{reason='"
        return {key[len(name):-2]: value for key, value in metrics.items()
                if key.startswith(name) and value}

    def test_what_is_not_surely_framed_gives_no_more_ids(self):
        streams = list(lost())
        _, metrics = self.check_all(streams, Lab.V4[1])
        expected = {}
        for stream in streams:
            expected[stream.lost] = expected.get(stream.lost, 0) + 1
        self.assertEqual(self.losses(metrics), expected)

    def nothing_is_told(self, streams):
        self.assertGreater(len(self.watch.find(type="retransmit", err=0)), 0)
        self.assertEqual(self.watch.find(type="trace_ids"), [])

    def test_of_too_many_requests_in_flight_the_latest_are_known(self):
        self.watch_sender()
        self.serve(self.lab.right, "::", PORT)
        stream = Stream("sixty at once")
        for _ in range(60):
            stream.request()
        self.send_with_losses(self.sender([stream]))
        owned = {(trace, span): end - begin for begin, _, end, trace, span in stream.owned}
        told = [ids for line in self.watch.find(type="trace_ids") for ids in line["ids"]]
        for trace, span, size in told:
            self.assertLessEqual(size, owned[trace, span])
        metrics = self.watch.end()
        self.assertEqual(metrics["undertrace_trace_context_displaced_total"], 60 - 16)
        self.assertEqual(self.losses(metrics), {})

    def test_packet_of_more_pieces_than_are_looked_at_ends_it(self):
        for node in (self.lab.left, self.lab.right):
            node.ip("link", "set", "eth0", "mtu", "65535")
        self.watch_sender()
        self.serve(self.lab.right, "::", PORT)
        stream = Stream("5,000 chunks in a packet").request().request(
            CHUNKED, chunks(*[b"x"] * 5000), b"POST", owns_body=0)
        self.sender([stream]).send()
        self.assertEqual(self.losses(self.watch.end()), {"too_long": 1})

    def test_socket_that_was_restored_within_its_bytes_is_not_followed(self):
        """Its first byte is not the connection's, so what looks like a request may be a body."""
        self.lab.left.sysctl("net.ipv4.tcp_window_scaling", 0)
        self.watch_sender()
        self.serve(self.lab.right, "::", PORT)
        stream = Stream("restored", how="restored").raw(FAKE * 3)
        self.send_with_losses(self.sender([stream]))
        self.nothing_is_told([stream])
        for record in self.retransmits({"cookie": stream.cookie}):
            self.assertNotIn("isn", record)
        metrics = self.watch.end()
        self.assertEqual(metrics["undertrace_trace_context_requests_total{span='named'}"], 0)
        self.assertEqual(metrics["undertrace_trace_context_sockets_total"], 1)  # the one before it

    def test_root_of_a_cgroup_namespace_is_no_root(self):
        mounts = pathlib.Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
        mount = next(line.split()[4] for line in mounts if " - cgroup2 " in line)
        shell = f'umount -l {mount} && mount -t cgroup2 cgroup2 {mount} && exec "$0" --doctor'
        doctor = self.lab.start(
            ["unshare", "--cgroup", "--mount", "sh", "-c", shell, WATCH], self.lab.left.cgroup,
            stdout=subprocess.PIPE, text=True)
        programs = {line["name"]: line for line in map(json.loads, doctor.stdout)}
        doctor.stdout.close()
        self.lab.stop(doctor)
        self.assertFalse(programs["trace_egress"]["works"])
        self.assertIn("our own cgroup namespace", programs["trace_egress"]["reason"])
        self.assertTrue(programs["trace_retransmit"]["works"])

    def test_sockets_older_than_the_program_tell_nothing(self):
        self.serve(self.lab.right, "::", PORT)
        streams = [Stream("old").post(FAKE * 5).request() for _ in range(4)]
        sender = self.sender(streams)
        self.watch_sender()
        self.send_with_losses(sender)
        self.nothing_is_told(streams)

    def test_workloads_that_send_no_spans_are_not_read(self):
        self.watch_sender(follow=False)
        self.serve(self.lab.right, "::", PORT)
        streams = [Stream("other").post(FAKE * 5).request() for _ in range(4)]
        sender = self.sender(streams)
        self.send_with_losses(sender)
        self.nothing_is_told(streams)
        self.assertEqual(self.watch.end()["undertrace_trace_context_sockets_total"], 0)

    def test_no_more_sockets_than_allowed(self):
        self.watch_sender(UNLIMITED + "trace_context: {enabled: true, max_sockets: 2}\n")
        self.serve(self.lab.right, "::", PORT)
        streams = [Stream("many").request() for _ in range(5)]
        for _ in range(2):  # what is closed makes room
            sender = Sender(self.lab, streams, Lab.V4[1])
            sender.send()
            sender.end()
            time.sleep(0.5)
        metrics = self.watch.end()
        self.assertEqual(metrics["undertrace_trace_context_sockets_total"], 4)
        self.assertEqual(self.losses(metrics), {"max_sockets": 6})


if __name__ == "__main__":
    main()
