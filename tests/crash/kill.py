#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is acknowledged arrives, however often the program is killed.

Clients write down which spans were acknowledged, a sink which ones arrive. Between them the
program is killed with SIGKILL, at random moments and (in a build that has them) at named places,
and started again. At the end every acknowledged span has arrived.

usage: kill.py PROGRAM [--ack durable|queued|delivered] [--kills N] [--seed N] [--points]

    durable     nothing is missing; what arrives again was sent since the last delete that was
                committed, in an earlier life of the program
    delivered   nothing is missing and nothing arrives again, without a disk
    queued      what is missing of one life is no more than its queue's limit; after SIGTERM
                nothing is, and nothing arrives again

--faults names the library of tests/faults/preload.c, which counts commits: without it what arrives
again is only held against the lives. Needs neither root nor packages. Exit code 1 where something
is missing or comes again that must not.
"""
import argparse
import collections
import http.client
import http.server
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from numbered import SYNC, Faults, free_port, numbers_in, request_of  # noqa: E402

POINTS = ("before_commit", "after_commit", "before_answer", "withdrawn", "finished", "left_to_disk",
          "read_back", "before_rename", "after_rename", "during_check")
CLIENTS = 6
LIMIT_MIB = 48
QUEUE = 256 << 10  # bytes
# Commits that may have begun after the sink's answer was out and before the program has read it:
# the one that was running, and the one that a turn of its loop had in hand.
UNAWARE = 2


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle(self):
        sink = self.server.sink
        with sink.lock:
            self.life = sink.life
            sink.busy += 1
        try:
            super().handle()
        finally:
            with sink.lock:
                sink.busy -= 1

    def do_GET(self):  # pylint: disable=invalid-name
        self.answer(200)

    def do_POST(self):  # pylint: disable=invalid-name
        sink = self.server.sink
        body = self.rfile.read(int(self.headers["Content-Length"]))
        refused = sink.rng.random() < sink.refuses
        arrival = [self.life, None]
        if not refused:
            with sink.lock:
                for number in numbers_in(body):
                    sink.seen.setdefault(number, []).append(arrival)
        self.answer(503 if refused else 200)
        # From here on the program can know of it, whatever this thread is made to wait for.
        arrival[1] = sink.commits()

    def answer(self, status):
        self.send_response(status)
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
    """Writes down each arrival of a span: in which life of the program, and how many commits its
    hold had begun when the answer was out. Now and then it says 503, and sometimes for a whole life
    of the program, so that a backlog grows. Closed, nobody listens on its port."""

    def __init__(self, rng, commits=lambda: 0):
        self.seen, self.lock, self.rng, self.commits = {}, threading.Lock(), rng, commits
        self.refuses, self.life, self.busy = 0.1, 0, 0
        self.port, self.server = 0, None
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

    def settle(self):
        """The program is dead: all that it sent is taken in."""
        last = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        last.request("GET", "/", headers={"Connection": "close"})  # accepted after all others
        last.getresponse().read()
        last.close()
        while True:
            with self.lock:
                if self.busy == 0:
                    return
            time.sleep(0.001)


class Clients:
    def __init__(self, port, rng):
        self.port, self.lock = port, threading.Lock()
        self.acknowledged = {}  # span → (bytes that it takes, life of the program)
        self.next, self.running, self.refused, self.life = 1, True, 0, 0
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
                self.acknowledged.update(
                    dict.fromkeys(numbers, (len(body) // len(numbers), connection.life)))
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
                    connection.connect()
                    # Between two lives there is nobody who takes a connection.
                    connection.life = self.life
                self.send(connection, rng)
            except (OSError, http.client.HTTPException):
                connection = None
                time.sleep(0.01)

    def stop(self):
        self.running = False
        for thread in self.threads:
            thread.join(20)


class Program:
    def __init__(self, path, folder, ack, sink_port, environment=(), queue=16 << 20):
        self.path, self.folder, self.port = path, folder, free_port()
        self.environment = dict(environment)
        self.ack, self.sink_port, self.queue = ack, sink_port, queue
        self.config = os.path.join(folder, "config.yaml")
        self.configure("[batch]")
        self.log = open(os.path.join(folder, "log"), "ab")  # pylint: disable=consider-using-with
        self.process = None

    def configure(self, processors):
        ack, folder = self.ack, self.folder
        storage = "" if ack != "durable" else f"""
      storage:
        type: disk
        directory: {folder}/hold
        max_bytes: 64MiB"""
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
    endpoint: http://127.0.0.1:{self.sink_port}
    timeout: 5s
    sending_queue:
      num_consumers: 4
      sizer: bytes
      queue_size: {self.queue}
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
      processors: {processors}
      exporters: [otlp_http]
      ack: {ack}{storage}
undertrace:
  memory:
    limit_mib: {LIMIT_MIB}
  admin: ""
  shutdown_timeout: 20s
""")

    def start(self, crash=None):
        environment = {**os.environ, **self.environment}
        if crash:
            environment["UNDERTRACE_CRASH"] = crash
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen([self.path, "run", "--config", self.config],
                                        stderr=self.log, env=environment)

    def expect_ready(self):
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        fail(self.folder, "it does not listen within 60 s")

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
    # With the batch a request is on the disk before it is sent, without it perhaps not.
    program.configure(rng.choice(("[batch]", "[]")))
    once = point and point.endswith(("_rename", "_check"))
    program.start(f"{point}:{rng.randint(1, 1 if once else 40)}" if point else None)
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


def check_queued(folder, clients, missing, last_life):
    """What a kill may cost is what the queue may hold; an orderly stop costs nothing. The most that
    one has cost."""
    lost = collections.Counter()
    for number in missing:
        size, life = clients.acknowledged[number]
        lost[life] += size
    if lost[last_life]:
        fail(folder, f"an orderly stop lost {lost[last_life]} bytes")
    life, most = max(lost.items(), key=lambda item: item[1], default=(0, 0))
    if most > QUEUE:
        fail(folder, f"life {life} lost {most} bytes of a queue of {QUEUE}")
    return most


def check_again(folder, ack, sink, commits_at_end):
    """What arrives again does so in another life, and its delete had not been committed: hardly a
    commit had begun in that life after the program could know that it had arrived."""
    again = 0
    for number, arrivals in sink.seen.items():
        again += len(arrivals) - 1
        for (life, commits), (later, _) in zip(arrivals, arrivals[1:]):
            if ack != "durable":
                fail(folder, f"span {number} arrived in life {life} and again in {later}")
            if life == later:
                fail(folder, f"span {number} arrived twice in life {life}")
            # None: the program was dead before the answer was out.
            behind = 0 if commits is None else commits_at_end[life] - commits
            if behind > UNAWARE:
                fail(folder, f"span {number} arrived in life {life} and again in {later}, though "
                     f"{behind} commits were begun after it was answered")
    return again


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--ack", choices=("durable", "queued", "delivered"), default="durable")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--points", action="store_true", help="the build has named crash points")
    parser.add_argument("--faults", help="the library that counts commits")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    folder = tempfile.mkdtemp(prefix="undertrace-kill-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    faults = options.faults and Faults(pathlib.Path(folder, "faults"), options.faults, folder)
    if faults:
        faults.count(SYNC)
    def commits():
        return faults.calls(SYNC) if faults else 0
    sink = Sink(random.Random(rng.random()), commits)
    program = Program(options.program, folder, options.ack, sink.port,
                      faults.environment if faults else {}, QUEUE)
    clients = Clients(program.port, rng)
    held, commits_at_end = collections.Counter(), []

    def forget_hold():
        # Only while nothing is promised: at the very beginning.
        if clients.acknowledged:
            return False
        shutil.rmtree(os.path.join(folder, "hold"), ignore_errors=True)
        return True

    for _ in range(options.kills):
        sink.refuses = rng.choice((0, 0.1, 0.1, 0.5, 1))
        held[kill_once(program, rng, options.points, forget_hold) or "anywhere"] += 1
        sink.settle()
        commits_at_end.append(commits())
        sink.life += 1
        clients.life += 1
    sink.refuses = 0
    program.start()
    program.expect_ready()
    time.sleep(1)
    clients.stop()
    if options.ack != "queued":
        arrive(program, clients, sink, 60)
    before_stop = len(clients.acknowledged)
    program.end(signal.SIGTERM)
    sink.settle()
    missing = clients.acknowledged.keys() - sink.seen.keys()
    if program.process.returncode != 0:
        fail(folder, f"an orderly stop gave {program.process.returncode}")
    commits_at_end.append(commits())
    most = check_queued(folder, clients, missing, sink.life) if options.ack == "queued" else 0
    again = check_again(folder, options.ack, sink, commits_at_end)
    print(f"{options.ack}: {options.kills} kills {dict(held)}, {before_stop} spans acknowledged, "
          f"{len(missing)} missing (at most {most} bytes of a life), {again} arrived again, "
          f"{clients.refused} requests refused, {commits()} commits")
    if missing and options.ack != "queued":
        fail(folder, f"{len(missing)} acknowledged spans are missing: {sorted(missing)[:10]} …")
    if before_stop < options.kills:
        fail(folder, "hardly anything was acknowledged: nothing was tested")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
