# SPDX-License-Identifier: Apache-2.0
"""Clients and servers with the SDK, each in a namespace and a cgroup of its own."""
import json
import pathlib
import select
import subprocess
import sys

from .check import Failed, until

HERE = pathlib.Path(__file__).resolve().parent


def bracketed(address):
    return f"[{address}]" if ":" in address else address


class Server:
    """`program`: the script, and what goes behind the usual words on its command line."""

    def __init__(self, node, name, address, port, collector, folder, delay_ms=100,
                 program=("server.py",)):
        self.node, self.name, self.address, self.port = node, name, address, port
        self.log = pathlib.Path(folder) / f"{name}.log"
        with self.log.open("a") as log:
            self.process = node.start(
                [sys.executable, "-B", HERE / program[0], name, f"{bracketed(address)}:{port}",
                 collector, delay_ms, *program[1:]], stdout=log, stderr=log)
        until(self.listens, 180, f"{name} listens")

    def listens(self):
        if self.process.poll() is not None:
            raise Failed(f"{self.name} ended: {self.log.read_text()[-2000:]}")
        listing = subprocess.run(self.node.enter("ss", "-ltnH", f"sport = :{self.port}"),
                                 capture_output=True, text=True, check=False).stdout
        return bool(listing.strip())

    def url(self, answer=200, address=None, port=None):
        return (f"http://{bracketed(address or self.address)}:{port or self.port}"
                f"/work?answer={answer}")


class Client:
    """`before` are words that go before the program's own on the command line."""

    def __init__(self, node, name, collector, folder, delay_ms=100, cgroup=None, before=()):
        self.node, self.name = node, name
        self.log = pathlib.Path(folder) / f"{name}.log"
        with self.log.open("a") as log:
            self.process = node.start(
                [*before, sys.executable, "-B", HERE / "client.py", name, collector, delay_ms],
                cgroup=cgroup, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                text=True)

    def send(self, asked):
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()

    def receive(self, seconds=180):
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            raise Failed(f"{self.name} does not answer: {self.log.read_text()[-3000:]}")
        return json.loads(line)

    def calls(self, calls):
        """Makes calls at once (harness/client.py tells their shape) and waits for all."""
        self.send(calls)
        return self.receive()

    def call(self, url, **options):
        return self.calls([{"url": url, **options}])[0]

    def flush(self):
        self.send({"flush": True})
        return self.receive()
