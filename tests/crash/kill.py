#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is acknowledged arrives, however often the program is killed.

Clients write down which spans were acknowledged, a sink which ones arrive. Between them the
program is killed with SIGKILL, at random moments and (in a build that has them) at named places,
and started again. At the end every acknowledged span has arrived.

usage: kill.py PROGRAM [--ack durable|queued|delivered] [--kills N] [--seed N] [--points]

    durable     nothing is missing; what arrives twice was sent since the last committed finish
    delivered   nothing is missing, without a disk
    queued      what is missing was in memory: less than the memory limit; after SIGTERM nothing is

Needs neither root nor packages. Exit code 1 where a span is missing.
"""
import argparse
import collections
import http.client
import http.server
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

MARK = b"\x0a\x10UTKL"  # a trace id: field 1 of a span, 16 bytes
POINTS = ("before_commit", "after_commit", "before_answer", "finished", "left_to_disk", "read_back",
          "before_rename", "after_rename")
CLIENTS = 6
LIMIT_MIB = 48


def field(number, payload):
    size, head = len(payload), bytes([number << 3 | 2])
    while size >= 0x80:
        head += bytes([size & 0x7f | 0x80])
        size >>= 7
    return head + bytes([size]) + payload


def request_of(numbers, padding):
    spans = b""
    for number in numbers:
        span = MARK + struct.pack(">IQ", 0, number) + field(2, struct.pack(">Q", number + 1))
        span += field(5, b"kill" + b"x" * padding)
        span += b"\x39" + struct.pack("<Q", 1) + b"\x41" + struct.pack("<Q", 2)
        spans += field(2, span)
    return field(1, field(2, spans))


def numbers_in(body):
    pattern = re.compile(re.escape(MARK) + b"(.{12})", re.DOTALL)
    return [struct.unpack(">Q", match.group(1)[4:])[0] for match in pattern.finditer(body)]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):  # pylint: disable=invalid-name
        sink = self.server.sink
        body = self.rfile.read(int(self.headers["Content-Length"]))
        refused = sink.rng.random() < sink.refuses
        if not refused:
            with sink.lock:
                sink.seen.update(numbers_in(body))
        self.send_response(503 if refused else 200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port, sink):
        super().__init__(("127.0.0.1", port), Handler)
        self.sink, self.connections = sink, []

    def get_request(self):
        accepted = super().get_request()
        self.connections.append(accepted[0])
        return accepted

    def handle_error(self, *_):
        """A connection whose other end was killed."""


class Sink:
    """Counts how often each span arrives. Now and then it says 503, and sometimes for a whole life
    of the program, so that a backlog grows. Closed, nobody listens on its port."""

    def __init__(self, rng):
        self.seen, self.lock, self.rng = collections.Counter(), threading.Lock(), rng
        self.refuses, self.port, self.server = 0.1, 0, None
        self.open()

    def open(self):
        self.server = Server(self.port, self)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        for connection in self.server.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended before


class Clients:
    def __init__(self, port, rng):
        self.port, self.lock = port, threading.Lock()
        self.acknowledged = {}  # span → bytes that it takes
        self.next, self.running, self.refused = 1, True, 0
        self.threads = [threading.Thread(target=self.run, args=(random.Random(rng.random()),),
                                         daemon=True) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def take(self, count):
        with self.lock:
            first = self.next
            self.next += count
        return list(range(first, first + count))

    def send(self, connection, rng):
        numbers = self.take(rng.choice((1, 1, 3, 20, 100)))
        body = request_of(numbers, rng.choice((0, 40, 400)))
        connection.request("POST", "/v1/traces", body,
                           {"Content-Type": "application/x-protobuf"})
        response = connection.getresponse()
        response.read()
        with self.lock:
            if response.status == 200:
                self.acknowledged.update(dict.fromkeys(numbers, len(body) // len(numbers)))
            else:
                self.refused += 1
        if response.status != 200:
            time.sleep(0.02)

    def run(self, rng):
        connection = None
        while self.running:
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
                self.send(connection, rng)
            except (OSError, http.client.HTTPException):
                connection = None
                time.sleep(0.01)

    def stop(self):
        self.running = False
        for thread in self.threads:
            thread.join(20)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Program:
    def __init__(self, path, folder, ack, sink_port):
        self.path, self.folder, self.port = path, folder, free_port()
        storage = "" if ack != "durable" else f"""
      storage:
        type: disk
        directory: {folder}/hold
        max_bytes: 64MiB"""
        self.config = os.path.join(folder, "config.yaml")
        with open(self.config, "w", encoding="ascii") as out:
            out.write(f"""
receivers:
  otlp:
    protocols:
      http:
        endpoint: 127.0.0.1:{self.port}
processors:
  batch:
    timeout: 20ms
exporters:
  otlp_http:
    endpoint: http://127.0.0.1:{sink_port}
    timeout: 5s
    sending_queue:
      num_consumers: 4
    retry_on_failure:
      initial_interval: 50ms
      max_interval: 200ms
service:
  telemetry:
    metrics:
      level: none
  pipelines:
    traces:
      receivers: [otlp]
      processors: [batch]
      exporters: [otlp_http]
      ack: {ack}{storage}
undertrace:
  memory:
    limit_mib: {LIMIT_MIB}
  admin: ""
  shutdown_timeout: 20s
""")
        self.log = open(os.path.join(folder, "log"), "ab")  # pylint: disable=consider-using-with
        self.process = None

    def start(self, crash=None):
        environment = dict(os.environ)
        if crash:
            environment["UNDERTRACE_CRASH"] = crash
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen([self.path, "run", "--config", self.config],
                                        stderr=self.log, env=environment)

    def wait(self, seconds):
        """Whether it ended within that time."""
        try:
            self.process.wait(seconds)
            return True
        except subprocess.TimeoutExpired:
            return False

    def end(self, number):
        if self.process.poll() is None:
            self.process.send_signal(number)
        if not self.wait(60):
            self.process.kill()
            self.process.wait()
            fail(self.folder, "it did not end within 60 s")

    def expect_killed(self):
        if self.process.returncode != -signal.SIGKILL:
            fail(self.folder, f"it ended by itself: {self.process.returncode}")


def fail(folder, text):
    with open(os.path.join(folder, "log"), encoding="utf-8", errors="replace") as log:
        sys.stderr.write(log.read()[-6000:])
    print(f"FAILED: {text}")
    sys.stdout.flush()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def kill_once(program, rng, points, forget_hold):
    point = rng.choice(POINTS) if points and rng.random() < 0.6 else None
    if point and point.endswith("_rename"):
        if not forget_hold():  # they are passed where the file is made
            point = None
    program.start(f"{point}:{rng.randint(1, 1 if point.endswith('_rename') else 40)}"
                  if point else None)
    if not program.wait(rng.uniform(0.05, 0.7)):
        program.end(signal.SIGKILL)
    program.expect_killed()
    return point


def arrive(program, clients, sink, seconds):
    """Waits until all that was acknowledged is there; what is missing then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and program.process.poll() is None:
        with sink.lock:
            missing = clients.acknowledged.keys() - sink.seen.keys()
        if not missing:
            break
        time.sleep(0.1)
    with sink.lock:
        return clients.acknowledged.keys() - sink.seen.keys()


def check_queued(folder, clients, missing, kills, before):
    """What a kill may cost is what memory may hold; an orderly stop costs nothing."""
    late = [number for number in missing if number not in before]
    lost = sum(clients.acknowledged[number] for number in missing)
    if late:
        fail(folder, f"an orderly stop lost {len(late)} spans")
    if lost > kills * LIMIT_MIB << 20:
        fail(folder, f"{lost} bytes are missing after {kills} kills of {LIMIT_MIB} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--ack", choices=("durable", "queued", "delivered"), default="durable")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--points", action="store_true", help="the build has named crash points")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    folder = tempfile.mkdtemp(prefix="undertrace-kill-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    sink = Sink(random.Random(rng.random()))
    program = Program(options.program, folder, options.ack, sink.port)
    clients = Clients(program.port, rng)
    held = collections.Counter()

    def forget_hold():
        # Only while nothing is promised: at the very beginning.
        if clients.acknowledged:
            return False
        shutil.rmtree(os.path.join(folder, "hold"), ignore_errors=True)
        return True

    for _ in range(options.kills):
        sink.refuses = rng.choice((0, 0.1, 0.1, 0.5, 1))
        held[kill_once(program, rng, options.points, forget_hold) or "anywhere"] += 1
    sink.refuses = 0
    time.sleep(0.5)  # what the last one killed has answered is noted by now
    with clients.lock:
        before = set(clients.acknowledged)
    program.start()
    time.sleep(1)
    clients.stop()
    if options.ack != "queued":
        arrive(program, clients, sink, 60)
    before_stop = len(clients.acknowledged)
    program.end(signal.SIGTERM)
    missing = clients.acknowledged.keys() - sink.seen.keys()
    if program.process.returncode != 0:
        fail(folder, f"an orderly stop gave {program.process.returncode}")
    with sink.lock:
        twice = sum(count - 1 for count in sink.seen.values())
    print(f"{options.ack}: {options.kills} kills {dict(held)}, {before_stop} spans acknowledged, "
          f"{len(missing)} missing, {twice} arrived again, {clients.refused} requests refused")
    if options.ack == "queued":
        check_queued(folder, clients, missing, options.kills, before)
    elif missing:
        fail(folder, f"{len(missing)} acknowledged spans are missing: {sorted(missing)[:10]} …")
    if before_stop < options.kills:
        fail(folder, "hardly anything was acknowledged: nothing was tested")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
