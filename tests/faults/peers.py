# SPDX-License-Identifier: Apache-2.0
"""Clients and backends that reset, vanish, answer garbage or nothing, cannot be found, or show an
expired certificate."""
import os
import pathlib
import random
import socket
import subprocess

import grpc

from backends import RESET, GrpcCounter, HttpCounter, Way
from harness.check import equal, expect, until
from harness.http_sink import Authority
from harness.wire import METHOD, as_is
from lab import QUICK, Program
from numbered import RESOLUTION, request_of

KINDS = {
    "otlp_grpc": (GrpcCounter, "http://{host}:{port}"),
    "otlp_http": (HttpCounter, "http://{host}:{port}"),
    "zipkin": (HttpCounter, "http://{host}:{port}/api/v2/spans"),
    "jaeger_grpc": (GrpcCounter, "http://{host}:{port}"),
}
REQUEST = 2048  # bytes, about
PLAIN = f"compression: none\n    {QUICK}"


def exporter(kind, port, more=QUICK, host="127.0.0.1", scheme="http"):
    endpoint = KINDS[kind][1].format(host=host, port=port).replace("http:", f"{scheme}:")
    return f"  {kind}:\n    endpoint: {endpoint}\n    {more}\n"


def kinds(whole):
    return KINDS if whole else ("otlp_grpc", "otlp_http")


def steps(most, whole):
    """Each number of bytes; of the small share each 199th, and both ends."""
    return range(1, most + 1) if whole else sorted({1, 2, most, *range(3, most, 199)})


def place_for(folder, name):
    place = folder / name
    place.mkdir()
    return place


# ---- resets ------------------------------------------------------------------------------------

def capture(port, grpc_port):
    """The bytes of a whole request over HTTP and over gRPC, as a client of each sends it."""
    with Way(port) as way:
        body = request_of([1], REQUEST - 300)
        with socket.create_connection(("127.0.0.1", way.port)) as client:
            client.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\n"
                           b"Content-Type: application/x-protobuf\r\n"
                           b"Content-Length: %d\r\n\r\n" % len(body) + body)
            expect(b"200 OK" in client.recv(4096), "the request by hand is good")
        over_http = way.passed
    with Way(grpc_port) as way:
        with grpc.insecure_channel(f"127.0.0.1:{way.port}") as channel:
            channel.unary_unary(METHOD, as_is, as_is)(request_of([2], REQUEST - 300), timeout=10)
        return over_http, way.passed


def receiver_resets(folder, whole):
    """A client resets its connection after each number of bytes of a request. Others are served,
    and nothing of it stays."""
    with HttpCounter() as sink:
        program = Program(folder, exporter("otlp_http", sink.port), arrived=sink.numbers).start()
        requests = capture(program.http, program.grpc)
        program.expect_quiet()
        before = program.connections()
        for port, data in zip((program.http, program.grpc), requests):
            expect(len(data) >= REQUEST - 300, f"{len(data)} bytes of a request")
            for size in steps(len(data), whole):
                client = socket.create_connection(("127.0.0.1", port))
                client.sendall(data[:size])
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                client.close()
                if size % 64 == 0:
                    equal(program.send(), 200, "another client's answer")
        program.hang_up()
        program.expect_quiet()
        until(lambda: program.connections() <= before, 20, "its connections are gone")
        program.stop()


def exporter_resets(folder, whole):
    """The way to a backend is cut after each number of bytes of a request, and of its answer: it is
    sent again, and arrives."""
    for kind in kinds(whole):
        with KINDS[kind][0]() as sink, Way(sink.port) as way:
            program = Program(place_for(folder, kind), exporter(kind, way.port),
                              arrived=sink.numbers).start()
            program.send_well(1, REQUEST - 300)
            program.expect_arrived()
            request = len(way.passed)
            for side, most in (("up", request + 200), ("down", 120)):
                before, wanted = way.cuts, len(steps(most, whole)) // 2
                for size in steps(most, whole):
                    cut_once(program, way, {side: size})
                # What is cut on its way back has arrived before.
                until(lambda: way.cuts - before >= wanted, 20, f"{kind}: {wanted} cuts {side}")
            program.expect_said(r"event=export_retry .*text=")
            program.stop()


def cut_once(program, way, limits):
    """Cuts the connection that is made next; the one there is has to go first."""
    way.cut(**limits)
    way.sever()
    equal(program.send(1, REQUEST - 300), 200, "the answer of a queue with room")
    program.expect_arrived()


# ---- names -------------------------------------------------------------------------------------

NAME_ERRORS = {3: "EAI_AGAIN", 2: "EAI_NONAME", 4: "EAI_FAIL", 10: "EAI_MEMORY"}


def no_name(folder, whole):
    """The backend's name cannot be resolved; then it can."""
    for kind in kinds(whole):
        for error, word in NAME_ERRORS.items() if whole else [(3, "EAI_AGAIN")]:
            with KINDS[kind][0]() as sink:
                program = Program(place_for(folder, f"{kind}-{word}"), exporter(
                    kind, sink.port, PLAIN, "backend.test"),
                    arrived=sink.numbers)
                program.faults.set(RESOLUTION, error, times=1 << 31)
                program.start()
                for _ in range(3):
                    equal(program.send(), 200, "the answer of a queue with room")
                program.expect_said(rf"event=\w+ exporter={kind} .*(backend\.test|resolve)")
                until(lambda at=program.faults: at.failed(RESOLUTION) > 0, 20, "it is asked for")
                program.faults.clear(RESOLUTION)
                program.stop()


# ---- certificates ------------------------------------------------------------------------------

def certify(folder):
    """An authority, a certificate of it that is good and one that has expired."""
    authority = Authority(folder, "authority")
    authority.sign("good", "localhost")
    authority.openssl(
        "x509", "-req", "-in", folder / "good.csr", "-CA", authority.cert("authority"), "-CAkey",
        authority.key("authority"), "-CAcreateserial", "-days", "-1", "-extfile",
        folder / "good.ext", "-out", folder / "expired.crt")
    (folder / "expired.key").write_bytes(authority.key("good").read_bytes())
    return authority


def backend_with(kind, authority, name, port=0):
    if KINDS[kind][0] is HttpCounter:
        context = authority.server(name)
        context.verify_mode = 0
        return HttpCounter(port, context)
    return GrpcCounter(port, grpc.ssl_server_credentials(
        [(authority.key(name).read_bytes(), authority.cert(name).read_bytes())]))


def expired_certificate(folder, whole):
    """The backend's certificate has expired: nothing is sent to it, and the log says why; once it
    has a new one everything arrives."""
    authority = certify(folder)
    for kind in kinds(whole):
        with backend_with(kind, authority, "expired") as expired:
            tls = f"tls: {{ca_file: {authority.cert('authority')}}}\n    {QUICK}"
            program = Program(place_for(folder, kind), exporter(
                kind, expired.port, tls, "localhost", "https")).start()
            for _ in range(3):
                equal(program.send(), 200, "the answer of a queue with room")
            program.expect_said(r"certificate .*has expired.*renew it")
            equal(expired.numbers(), set(), "spans to a backend that cannot show who it is")
        with backend_with(kind, authority, "good", expired.port) as sink:
            program.arrived = sink.numbers
            program.stop()


# ---- backends that lie or keep silent ----------------------------------------------------------

def garbage(rng):
    """Something that is no answer, or hardly one."""
    noise = rng.randbytes(rng.choice((1, 9, 40, 400, 70000)))
    frame = len(noise).to_bytes(3, "big") + bytes((rng.randrange(256), rng.randrange(256)))
    settings = b"\0\0\0\4\0\0\0\0\0"
    return rng.choice((
        noise, settings + noise, settings + frame + rng.randbytes(4) + noise,
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(noise) + noise,
        b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999999999999\r\n\r\n" + noise,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n" + noise,
        b"HTTP/1.1 %d x\r\nContent-Length: 5\r\n\r\n" % rng.randrange(100, 600) + noise,
        b"HTTP/1.1 503 x\r\nRetry-After: 0\r\nContent-Encoding: gzip\r\nContent-Length: 40\r\n\r\n"
        + noise, b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20000, b"SSH-2.0-OpenSSH_9.2\r\n"))


def backend_garbage(folder, whole):
    """Whatever a backend answers on one connection, the program lives, says what it saw, and sends
    on the next. Spans that were answered with a success, or refused for good, are the backend's."""
    for kind in kinds(whole):
        rng = random.Random(5)
        with KINDS[kind][0]() as sink, Way(sink.port) as way:
            program = Program(place_for(folder, kind), exporter(
                kind, way.port, f"timeout: 2s\n    {QUICK}")).start()
            for _ in range(300 if whole else 20):
                way.garble(garbage(rng))
                way.sever()
                equal(program.send(), 200, "the answer of a queue with room")
                until(lambda: program.expect_alive() or way.is_told(), 30, "garbage is asked for")
                last = program.take()
                equal(program.send(numbers=last), 200, "the answer of a queue with room")
                until(lambda: last[0] in sink.numbers(), 60, "the span behind it arrives")
            program.expect_said(rf"event=\w+ exporter={kind} .*text=")
            program.expect_quiet()
            program.end()


def half_open(folder, whole):
    """A backend accepts and never answers: `timeout` ends it, and the next one gets it all."""
    for kind in kinds(whole):
        with KINDS[kind][0]() as sink, Way(sink.port) as way:
            program = Program(place_for(folder, kind), exporter(
                kind, way.port, f"timeout: 500ms\n    {QUICK}"), arrived=sink.numbers).start()
            way.silent = True
            for _ in range(5):
                equal(program.send(), 200, "the answer of a queue with room")
            program.expect_said(rf"exporter={kind} .*(time|deadline|answer)")
            way.silent = False
            program.stop()


def vanished(folder, whole):
    """A backend is there and then its packets are dropped, as of a host without power; it comes
    back and gets everything."""
    for kind in kinds(whole):
        with KINDS[kind][0]() as sink:
            program = Program(place_for(folder, kind), exporter(
                kind, sink.port, f"timeout: 500ms\n    {QUICK}"), arrived=sink.numbers).start()
            program.send_well()
            program.expect_arrived()
            filter_table(f"add rule ip faults input tcp dport {sink.port} drop")
            try:
                for _ in range(5):
                    equal(program.send(), 200, "the answer of a queue with room")
                program.expect_said(rf"exporter={kind} .*(time|deadline|answer)")
            finally:
                filter_table("flush chain ip faults input")
            program.stop()


def filter_table(rule):
    subprocess.run(["nft", "-f", "-"], check=True, text=True, input=(
        "add table ip faults\n"
        "add chain ip faults input { type filter hook input priority 0; }\n" + rule + "\n"))


# ---- descriptors -------------------------------------------------------------------------------

def limit_descriptors(program, most):
    subprocess.run(["prlimit", f"--pid={program.process.pid}", f"--nofile={most}:"], check=True)


def cpu_seconds(program):
    fields = pathlib.Path(f"/proc/{program.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def no_descriptors(folder, whole):
    """The process may open nothing more: who is connected is served, who is not waits without the
    program spinning, exporters try again, and all is well when there is room."""
    with HttpCounter() as http, GrpcCounter() as grpc_sink:
        program = Program(folder, exporter("otlp_http", http.port) +
                          exporter("otlp_grpc", grpc_sink.port),
                          arrived=lambda: http.numbers() & grpc_sink.numbers()).start()
        for _ in range(10 if whole else 1):
            program.send_well()
            program.expect_arrived()
            limit_descriptors(program, 3)
            equal(program.send(), 200, "the answer on a connection that there is")
            waiting = socket.create_connection(("127.0.0.1", program.http))
            begin = cpu_seconds(program)
            program.expect_said(r"EMFILE|too many open files|Too many open files")
            for _ in range(5):
                equal(program.send(), 200, "the answer on a connection that there is")
            until(lambda: cpu_seconds(program) < begin + 2, 1, "it does not spin")
            limit_descriptors(program, 1000)
            waiting.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            waiting.settimeout(30)
            expect(waiting.recv(10).startswith(b"HTTP/1.1"), "who had to wait is served")
            waiting.close()
        program.stop()


def few_descriptors_at_start(folder, whole):
    """From the start on there are few: it runs, or ends with a line that says why."""
    with HttpCounter() as sink:
        for most in range(3, 40 if whole else 24, 1 if whole else 4):
            program = Program(place_for(folder, str(most)), exporter("otlp_http", sink.port),
                              HOLD.format(folder=folder / str(most)))
            program.before = ["prlimit", f"--nofile={most}:"]
            program.launch()
            until(lambda: program.process.poll() is not None or program.is_ready(), 30,
                  f"it is ready, or ends, with {most} descriptors")
            if program.process.poll() is None:
                program.end()
            else:
                expect(program.process.returncode > 0, f"{most} descriptors: it ended with "
                       f"{program.process.returncode}:\n{program.words()[-3000:]}")
                program.expect_said(r"event=\w+ .*text=|error")
                program.expect_clean()


HOLD = """\
      ack: durable
      storage: {{type: disk, directory: {folder}/data, max_bytes: 16MiB}}"""
CASES = (receiver_resets, exporter_resets, no_name, expired_certificate, backend_garbage, half_open,
         vanished, no_descriptors, few_descriptors_at_start)
