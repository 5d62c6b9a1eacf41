#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whose answer a retransmitted segment belongs to, read from the wire: right, or absent."""
import json
import os
import subprocess
import sys
import time

import test_trace_context as requests_test
import uring
from harness import HERE, KernelTest, Lab, Lines, cgroup_id, main
from test_trace_context import CHUNKED, FAKE, PORT, SETTINGS, Stream, chunks

LOSSY_SECONDS = 3
FAKE_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"


class Exchange(Stream):
    """What a client asks and a server answers: `data` are the answers, `owned` whose they are."""

    def __init__(self, name, lost=None, read="recv", write="send"):
        super().__init__(name, lost, write)
        self.asks, self.read = Stream(name), read
        self.waiting, self.steps, self.trunk = [], [], 0

    def ask(self, how=None, read=True, **more):
        before, named = len(self.asks.data), len(self.asks.owned)
        self.asks.request(**more)
        self.waiting += [owned[3:] for owned in self.asks.owned[named:]] or [None]
        if read:
            self.take(len(self.asks.data) - before, how)
        return self

    def post(self, body, **more):
        return self.ask(head=b"Content-Length: %d\r\n" % len(body), body=body, method=b"POST",
                        **more)

    def take(self, size, how=None):
        self.steps.append([how or self.read, size])
        return self

    def answer(self, body=b"", head=None, status=b"200 OK", version=b"1.1", owns_body=True,
               interim=b"", final=True):
        """Answers what has waited longest; `interim`: what comes before it."""
        ids = self.waiting.pop(0) if final else self.waiting[0]
        if head is None:
            head = b"Content-Length: %d\r\n" % len(body)
        begin = len(self.data)
        self.say(interim + b"HTTP/%s %s\r\nX: y\r\n" % (version, status) + head + b"\r\n")
        end = len(self.data)
        self.say(body)
        if ids is not None:
            self.owned.append((begin, end, end + len(body) if owns_body else end, *ids))
        return self

    def say(self, data):
        """The server sends this."""
        self.steps.append([self.how, (len(self.data), len(self.data) + len(data))])
        self.data += data
        return self

    def script(self):
        """In steps of bytes; what is sent together is one write, up to where it is cut."""
        script, cuts = [], set(self.cuts)
        for how, argument in self.steps:
            if isinstance(argument, int):
                script.append([how, argument])
                continue
            for at in range(*argument) if cuts else ():
                if script and script[-1][0] == how and at not in cuts:
                    script[-1][1] += self.data[at:at + 1].hex()
                else:
                    script.append([how, self.data[at:at + 1].hex()])
            if not cuts and script and script[-1][0] == how:
                script[-1][1] += self.data[slice(*argument)].hex()
            elif not cuts:
                script.append([how, self.data[slice(*argument)].hex()])
        return script


def readable():
    yield (Exchange("one after the other").ask().answer(b"a" * 100).ask(named=False, trace=b"")
           .answer(b"b" * 100).ask().answer().post(FAKE * 30).answer(b"c" * 5000).ask().answer())
    exchange = Exchange("pipelined").ask().ask(named=False, trace=b"").post(FAKE).ask()
    yield exchange.answer(b"a").answer(b"b" * 2000).answer(b"c").answer(b"d" * 200)
    exchange = Exchange("fifteen at once")
    for _ in range(15):
        exchange.ask()
    for _ in range(15):
        exchange.answer()
    yield exchange
    yield (Exchange("bodies full of heads").ask().answer(FAKE_ANSWER * 3000)
           .ask().answer(chunks(FAKE_ANSWER * 40, FAKE_ANSWER * 100), CHUNKED).ask().answer())
    yield (Exchange("no bodies").ask(method=b"HEAD").answer(head=b"Content-Length: 5000\r\n")
           .ask(method=b"HEAD").answer(head=CHUNKED).ask().answer(head=b"", status=b"204 Nothing")
           .ask().answer(head=b"Content-Length: 700\r\n", status=b"304 Not Modified")
           .ask().answer(b"e" * 50))
    yield (Exchange("others before the final one")
           .ask().answer(b"a", interim=b"HTTP/1.1 102 Processing\r\n\r\n" * 3)
           .ask().answer(b"b", interim=b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
           .ask().ask().answer(b"c", interim=b"HTTP/1.1 100 Continue\r\n\r\n").answer(b"d"))
    yield Exchange("to the end of the connection").ask().answer(b"a").ask().answer(
        FAKE_ANSWER * 500, head=b"")
    yield (Exchange("HTTP/1.0").ask().answer(b"a" * 300, version=b"1.0")
           .ask().answer(b"b" * 3000, head=b"", version=b"1.0"))
    yield Exchange("a status without a reason").ask().answer(b"a", status=b"404").ask().answer()
    for step in (1, 7, 64, 127, 128, 129, 255):
        exchange = Exchange(f"answers cut every {step} bytes")
        for _ in range(3 if step > 7 else 1):
            filling = b"c" * (300 if step > 1 else 30)
            exchange.ask().answer(b"a" * 50, b"X: %s\r\nContent-Length: 50\r\n" % filling)
            exchange.ask().answer(chunks(b"d", FAKE_ANSWER), CHUNKED)
        exchange.cuts = list(range(step, len(exchange.data), step))
        yield exchange
    for step in (1, 7, 64, 127, 128, 129, 255):
        exchange = Exchange(f"requests cut every {step} bytes")
        for _ in range(3 if step > 7 else 1):
            exchange.ask(head=b"Cookie: " + b"c" * (300 if step > 1 else 30) + b"\r\n").post(FAKE)
            exchange.answer(b"a").answer(b"b")
        exchange.asks.cuts = list(range(step, len(exchange.asks.data), step))
        yield exchange
    long_head = (b"X: %s\r\n" % FAKE[:-4].replace(b"\r\n", b" ")) * 500
    yield (Exchange("a head of 60 KB").ask(head=long_head)
           .answer(b"a", b"X: y\r\n" * 10000 + b"Content-Length: 1\r\n").ask().answer())
    yield (Exchange("chunked requests").ask(head=CHUNKED, body=chunks(FAKE, FAKE * 20)).answer(b"a")
           .ask(head=CHUNKED, body=chunks(*[FAKE[:20]] * 32)).answer(b"b").ask().answer(b"c"))
    exchange = Exchange("answers before the bodies of their requests are read").ask(
        head=b"Content-Length: 3000\r\n", body=b"b" * 3000, read=False)
    yield exchange.take(200).answer(b"a" * 100).take(len(exchange.asks.data) - 200).ask().answer()
    yield Exchange("bytes looked at before they are taken").ask("peek", read=True).take(
        len(Exchange("x").ask().asks.data)).answer(b"a").ask().answer(b"b")
    for how in ("sendfile", "zerocopy", "splice", *["uring"] * uring.is_allowed()):
        yield Exchange(how, write=how).ask().answer(b"a" * 20000).ask().answer(b"b")
    if uring.is_allowed():
        yield Exchange("read by uring", read="uring").ask().answer(b"a").post(FAKE).answer(b"b")


def lost():
    def ends(name, reason, **how):
        """Its first answer is found, and that of `how` as far as it says; none behind."""
        return Exchange(name, reason).ask().answer(b"a" * 60).ask().answer(
            **{"owns_body": False, **how}).say(FAKE_ANSWER * 3)

    yield ends("length and chunked", "ambiguous_length", body=chunks(FAKE_ANSWER),
               head=CHUNKED + b"Content-Length: 5\r\n")
    yield ends("two lengths", "ambiguous_length", body=b"abc",
               head=b"Content-Length: 3\r\nContent-Length: 3\r\n")
    yield ends("another coding", "ambiguous_length", head=b"Transfer-Encoding: gzip\r\n")
    yield ends("chunks in HTTP/1.0", "ambiguous_length", body=chunks(FAKE_ANSWER), head=CHUNKED,
               version=b"1.0")
    yield ends("another protocol", "upgrade", status=b"101 Switching Protocols", head=b"")
    yield ends("a bad chunk", "malformed", body=b"0x5\r\nhello\r\n0\r\n\r\n", head=CHUNKED)
    yield ends("a body that may not be", "not_http", body=FAKE, status=b"204 No Content")

    def unread(name, reason, answer):
        return Exchange(name, reason).ask().answer(b"a" * 60).ask().say(answer + FAKE_ANSWER * 3)

    yield unread("a bare LF", "malformed", b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n")
    yield unread("a folded line", "malformed", b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n")
    yield unread("HTTP/2", "not_http", b"HTTP/2 200\r\n\r\n")
    yield unread("no status", "not_http", b"HTTP/1.1 2000 OK\r\n\r\n")
    yield unread("a head of more than 64 KiB", "too_long",
                 b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000 + b"\r\n\r\n")
    exchange = Exchange("TLS", "not_http").take(3)
    exchange.asks.raw(b"\x16\x03\x01")
    yield exchange.say(b"\x16\x03\x01" + FAKE_ANSWER).ask(named=False).say(FAKE_ANSWER * 3)

    yield (Exchange("an answer before any request", "unasked").say(FAKE_ANSWER)
           .ask().say(FAKE_ANSWER))
    yield (Exchange("an answer too many", "unasked").ask().answer(b"a" * 60)
           .say(b"HTTP/1.1 408 Too Late\r\nContent-Length: 0\r\n\r\n" + FAKE_ANSWER))
    for how in ("splice", "discard"):
        yield Exchange(how, "unasked").ask(how).say(FAKE_ANSWER).ask().say(FAKE_ANSWER * 2)
    yield (Exchange("a request that all do not read alike", "malformed").ask().answer(b"a" * 60)
           .ask(head=b"X: y\r\n z\r\n", named=False).say(FAKE_ANSWER * 3))
    exchange = Exchange("urgent data", "malformed").ask(read=False, named=False)
    exchange.asks.how = "urgent"
    yield exchange.take(len(exchange.asks.data) - 1).say(FAKE_ANSWER)
    exchange = Exchange("expect", "expect").ask().answer(b"a" * 60).ask(
        head=b"Expect: 100-continue\r\nContent-Length: 5\r\n", body=b"hello")
    yield exchange.answer(b"b" * 60, interim=b"HTTP/1.1 100 Continue\r\n\r\n").ask(
        named=False).say(FAKE_ANSWER * 3)
    yield (Exchange("connect", "upgrade").ask().answer(b"a" * 60).ask(method=b"CONNECT")
           .answer(head=b"").say(FAKE_ANSWER * 3))
    exchange = Exchange("forty at once", "too_long")
    for i in range(40):
        exchange.ask(named=i < 15)
    for i in range(40):
        exchange.answer()
    yield exchange


class Answering(Lines):
    """The server, in `right`."""

    def __init__(self, lab, exchanges, address):
        path = lab.scratch / f"answers-{time.monotonic_ns()}"
        path.write_text(json.dumps([exchange.script() for exchange in exchanges]),
                        encoding="ascii")
        self.lab = lab
        self.process = lab.right.start(
            [sys.executable, HERE / "answering.py", address, str(PORT), path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        super().__init__(self.process.stdout)
        self.wait(what="listening")

    def end(self):
        self.lab.stop(self.process)
        self.thread.join(10)
        self.process.stdin.close()
        self.process.stdout.close()


class Answers(KernelTest):
    settings = None
    check = requests_test.TraceContext.check
    losses = staticmethod(requests_test.TraceContext.losses)

    def exchange(self, exchanges, address, follow=True):
        """Lets them talk, and for a while loses segments with data, of both directions."""
        os.environ["WATCH_FOLLOW"] = str(cgroup_id(self.lab.right.cgroup)) if follow else ""
        self.addCleanup(os.environ.pop, "WATCH_FOLLOW", None)
        self.watch_with(SETTINGS)
        server = Answering(self.lab, exchanges, address)
        self.addCleanup(server.end)
        sender = requests_test.Sender(self.lab, [exchange.asks for exchange in exchanges], address)
        self.addCleanup(sender.end)
        for line in server.wait(len(exchanges), what="accepted"):
            exchanges[line["index"]].cookie = line["cookie"]
        for node in (self.lab.left, self.lab.right):
            if os.path.exists("/proc/sys/net/ipv4/tcp_rto_min_us"):
                node.sysctl("net.ipv4.tcp_rto_min_us", 5000)
        rules = [node.drop("data", f"tcp {end} {PORT} meta length > 80 numgen random mod {of} == 0")
                 for node, end, of in ((self.lab.left, "sport", 3), (self.lab.right, "dport", 8))]
        sender.begin()
        self.wait_at_most(LOSSY_SECONDS, lambda: len(server.find(what="answered")), exchanges)
        for rule in rules:
            rule.remove()
        server.wait(len(exchanges), 60, what="answered")
        time.sleep(0.2)

    @staticmethod
    def wait_at_most(seconds, count, all_of):
        until = time.monotonic() + seconds
        while count() < len(all_of) and time.monotonic() < until:
            time.sleep(0.05)

    def told(self, exchanges, address):
        self.exchange(exchanges, address)
        return sum(self.check(exchange) for exchange in exchanges), self.watch.end()

    def test_answers_are_found_over_ipv4(self):
        exchanges = [*readable(), *readable()]
        told, metrics = self.told(exchanges, Lab.V4[1])
        self.assertGreater(told, len(exchanges))
        self.assertEqual(self.losses(metrics), {})
        self.assertEqual(metrics["undertrace_trace_context_sockets_total"], len(exchanges))
        self.assertEqual(metrics["undertrace_trace_context_answers_total"],
                         sum(len(exchange.owned) for exchange in exchanges))

    def test_answers_are_found_over_ipv6(self):
        exchanges = list(readable())
        told, metrics = self.told(exchanges, Lab.V6[1])
        self.assertGreater(told, len(exchanges) // 2)
        self.assertEqual(self.losses(metrics), {})

    def test_what_is_not_surely_an_answer_gives_no_more_ids(self):
        exchanges = [*lost(), *lost()]
        _, metrics = self.told(exchanges, Lab.V4[1])
        expected = {}
        for exchange in exchanges:
            expected[exchange.lost] = expected.get(exchange.lost, 0) + 1
        self.assertEqual(self.losses(metrics), expected)

    def test_servers_that_send_no_spans_are_not_read(self):
        exchanges = [Exchange("other").ask().answer(b"a" * 5000) for _ in range(4)]
        self.exchange(exchanges, Lab.V4[1], follow=False)
        self.assertEqual(self.watch.find(type="trace_ids"), [])
        self.assertEqual(self.watch.end()["undertrace_trace_context_sockets_total"], 0)


if __name__ == "__main__":
    programs = subprocess.check_output([sys.argv[1], "--doctor"], text=True).splitlines()
    reader = next(line for line in map(json.loads, programs) if line["name"] == "trace_reader")
    if not reader["works"]:
        print(f"SKIP: {reader['reason']}")
        sys.exit(77)
    main()
