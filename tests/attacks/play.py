#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plays every attack of table.py against the program, from many connections each, while an honest
client on connections of its own is answered all along.

    play.py PROGRAM [--connections N] [--only TEXT] [--memory]

The attacks that end by time are played at the same time. Each connection ends as the table says
and moves its counter by one, and the honest client loses no answer and no connection. --memory also
bounds the resident memory (not for a sanitized program): 1 MiB for each connection that is open,
and, from 10,000 connections on, no growth in the last four tenths of them. In the end the
program must stop with 0, which it does not if it leaks.
"""
import argparse
import asyncio
import contextlib
import pathlib
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import frames
from honest import Honest
from table import ATTACKS

AT_ONCE = 100          # connections
AT_ONCE_SLOW = 200     # of each, and so within what one address may have
PATIENCE = 60          # seconds until a connection that should have been cut is a failure
GROWTH_KIB = 8192      # of the resident memory: what the pool may keep (collector/loop/worker.c)
MANY = 10_000          # connections of each, from which on growth is looked for
PARTS = (1, 1, 4, 4)   # tenths; each part begins with all at once, and the heap learns that twice

CONFIG = """
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: '127.0.0.1:{grpc}', handshake_timeout: 2s, {limits},
              max_recv_msg_size_mib: 1}}
      http: {{endpoint: '127.0.0.1:{http}', read_header_timeout: 2s, {limits},
              max_request_body_size: 256KiB}}
  otlp/tls:
    protocols:
      grpc: {{endpoint: '127.0.0.1:{tls}', handshake_timeout: 2s, {limits},
              tls: {{cert_file: '{folder}/cert.pem', key_file: '{folder}/key.pem'}}}}
exporters:
  file: {{path: /dev/null}}
service:
  telemetry: {{metrics: {{address: '127.0.0.1:{metrics}'}}}}
  pipelines:
    traces: {{receivers: [otlp, otlp/tls], exporters: [file]}}
undertrace: {{admin: ''}}
"""
LIMITS = "read_timeout: 20s, write_timeout: 2s, receive_grace: 2s"


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def certify(folder):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=x", "-days", "2",
                    "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
                   check=True, capture_output=True)


class Program:
    """The program with its log; `with` stops it, and wants it to leave with 0."""

    def __init__(self, path, folder):
        self.folder = pathlib.Path(folder)
        self.ports = dict(zip(("grpc", "http", "tls", "metrics"), free_ports(4)))
        config = self.folder / "attacked.yaml"
        config.write_text(CONFIG.format(**self.ports, limits=LIMITS, folder=folder))
        certify(self.folder)
        self.log = self.folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([path, "--config", config], stdout=log, stderr=log)

    def __enter__(self):
        for _ in range(300):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.ports['metrics']}/readyz").close()
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        sys.exit(f"the program does not start:\n{self.log.read_text()}")

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        if code != 0:
            sys.exit(f"the program left with {code}:\n{self.log.read_text()[-20000:]}")

    def limits(self):
        """Every limit's count, the transports in one."""
        url = f"http://127.0.0.1:{self.ports['metrics']}/metrics"
        counts = {}
        for line in urllib.request.urlopen(url, timeout=10).read().decode().splitlines():
            if line.startswith("undertrace_receiver_limit_hits_total{"):
                name = line.split('limit="')[1].split('"')[0]
                counts[name] = counts.get(name, 0) + int(float(line.rsplit(" ", 1)[1]))
        return counts

    def resident_kib(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
        return 0


class Peer(asyncio.Protocol):
    """One connection of an attack; `ended` is done when the program has cut it."""

    def __init__(self, attack):
        self.attack = attack
        self.data = b""
        self.ended = asyncio.get_running_loop().create_future()
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport
        if not self.attack.reads:
            # Not before the loop has begun to read, which it does after this.
            asyncio.get_running_loop().call_soon(transport.pause_reading)
        transport.write(self.attack.send)

    def data_received(self, data):
        self.data += data[:65536 - len(self.data)]

    def eof_received(self):
        return False

    def connection_lost(self, _):
        if not self.ended.done():
            self.ended.set_result(None)

    async def drip(self):
        while not self.ended.done():
            await asyncio.sleep(0.2)
            self.transport.write(self.attack.drip)


def fault_of(attack, data):
    """What is wrong with the program's last words, or None."""
    if isinstance(attack.answer, set):
        code = frames.goaway_code(data)
        return None if code in attack.answer else f"GOAWAY with {code}"
    if not attack.reads or attack.port == "tls":  # cut, though something had come
        return None
    if attack.answer is None:
        return f"an answer: {data[:200]}" if data.startswith(b"HTTP/") else None
    statuses = re.findall(rb"HTTP/1\.1 (\d{3}) [A-Z]", data)
    # The reset that follows unread bytes may overtake the answer, but never another request's.
    fine = statuses in ([], [str(attack.answer).encode()])
    return None if fine else f"answers {statuses}"


async def reach(attack, port):
    """A connected socket; of a peer that does not read, with as little room as there can be."""
    sock = socket.socket()
    sock.setblocking(False)
    if not attack.reads:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return sock


async def play_one(attack, port):
    loop = asyncio.get_running_loop()
    sock = await reach(attack, port)
    transport, peer = await loop.create_connection(lambda: Peer(attack), sock=sock)
    dripping = asyncio.create_task(peer.drip()) if attack.drip else None
    try:
        if not attack.reads:  # nobody reads: only the socket's state tells
            await wait_hung_up(transport, peer)
        await asyncio.wait_for(peer.ended, PATIENCE)
    except asyncio.TimeoutError:
        return "it was not cut"
    finally:
        if dripping:
            dripping.cancel()
        transport.abort()
    return fault_of(attack, peer.data)


async def wait_hung_up(transport, peer):
    """Until the program's end is closed, without taking a byte from the socket."""
    tcp_established = 1
    for _ in range(PATIENCE * 10):
        sock = transport.get_extra_info("socket")
        if peer.ended.done() or sock.fileno() < 0:
            return
        if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != tcp_established:
            transport.resume_reading()
            return
        await asyncio.sleep(0.1)


class Memory:
    """What the program holds, from its kernel: at the peak, and at that of the parts before."""

    def __init__(self, program):
        self.program, self.base_kib = program, program.resident_kib()
        self.peak_kib, self.first_kib = 0, 0  # 0: too few have been there

    def look(self):
        self.peak_kib = max(self.peak_kib, self.program.resident_kib())

    async def watch(self):
        while True:
            self.look()
            await asyncio.sleep(0.2)

    def faults(self, at_once):
        self.look()
        if self.peak_kib - self.base_kib > at_once * 1024:
            yield f"{self.peak_kib - self.base_kib} KiB for {at_once} connections"
        if self.first_kib and self.peak_kib - self.first_kib > GROWTH_KIB:
            yield f"grew from {self.first_kib} KiB to {self.peak_kib} KiB"


async def play_in_turn(attack, port, turns):
    """One connection after the other, for as long as there are turns; what went wrong."""
    faults = []
    for _ in turns:
        try:
            fault = await play_one(attack, port)
        except OSError as error:
            fault = repr(error)
        if fault is not None:
            faults.append(f"{attack.name}: {fault}")
    return faults


async def play_steadily(attacks, ports, count, at_once, memory):
    """`count` connections of each attack, `at_once` of each at a time: who ends by time leaves the
    processor to the others."""
    watching = asyncio.create_task(memory.watch())
    shared = [(attack, iter(range(count))) for attack in attacks]
    faults = await asyncio.gather(*(play_in_turn(attack, ports[attack.port], turns)
                                    for attack, turns in shared for _ in range(at_once)))
    watching.cancel()
    return [fault for of_one in faults for fault in of_one]


def play(program, attacks, connections, with_memory):
    """Plays attacks, each from so many connections; returns what was wrong."""
    before, memory = program.limits(), Memory(program)
    at_once = min(connections, AT_ONCE_SLOW if attacks[0].slow else AT_ONCE)
    faults = []
    for part, tenths in enumerate(PARTS):
        if part == len(PARTS) - 1 and connections >= MANY:
            memory.first_kib = memory.peak_kib
        count = connections * tenths // 10 + (connections % 10 if part == 0 else 0)
        faults += asyncio.run(play_steadily(attacks, program.ports, count, at_once, memory))
    found = sorted(set(faults))[:5]
    if faults:
        found.append(f"{len(faults)} of {connections * len(attacks)} connections went wrong")
    moved = {key: count - before[key] for key, count in program.limits().items()
             if count != before[key]}
    expected = {}
    for attack in attacks:
        if attack.limit:
            expected[attack.limit] = expected.get(attack.limit, 0) + connections
    if moved != expected:
        found.append(f"counters moved: {moved}, not {expected}")
    return found + (list(memory.faults(at_once * len(attacks))) if with_memory else [])


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--only", default="")
    parser.add_argument("--memory", action="store_true")
    return parser.parse_args()


def main():
    asked = arguments()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    chosen = [attack for attack in ATTACKS if asked.only in attack.name]
    groups = [[attack] for attack in chosen if not attack.slow]
    slow = [attack for attack in chosen if attack.slow]
    failed = 0
    with tempfile.TemporaryDirectory() as folder, Program(asked.program, folder) as program:
        for group in groups + ([slow] if slow else []):
            start = time.monotonic()
            with Honest(program.ports) as honest:
                found = play(program, group, asked.connections, asked.memory)
            found += honest.faults
            failed += bool(found)
            names = ", ".join(f"{attack.port} {attack.name}" for attack in group)
            print(f"{'FAILED' if found else 'ok':6} {names}: {asked.connections} connections each, "
                  f"{time.monotonic() - start:.1f} s, {honest.answers} honest answers",
                  *found, sep="\n         ", flush=True)
    print(f"{len(chosen)} attacks, {failed} failed")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
