#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The backend is away for a while, and nothing that is acknowledged is lost.

usage: outage.py PROGRAM [--seconds N]

Once for each `ack`, all at the same time: clients send before, while and after nobody listens on
the backend's port. What is acknowledged meanwhile waits in memory or on the disk (`delivered`:
nothing is); what is refused is refused retryably; the log says when the backend went and when it
came back; soon after that everything acknowledged has arrived.

Needs neither root nor packages. Exit code 1 where a span is missing.
"""
import argparse
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time

import kill

SOON = 20


class Clients(kill.Clients):
    """They take their time."""

    def send(self, connection, rng):
        super().send(connection, rng)
        time.sleep(0.05)

    def count(self):
        with self.lock:
            return len(self.acknowledged), self.refused


class Wrong(Exception):
    """A check did not hold."""


def expect(condition, text):
    if not condition:
        raise Wrong(text)


class Case:
    def __init__(self, path, ack):
        self.ack = ack
        self.folder = tempfile.mkdtemp(prefix=f"undertrace-outage-{ack}-",
                                       dir=os.environ.get("TMPDIR", os.getcwd()))
        self.sink = kill.Sink(random.Random(1))
        self.sink.refuses = 0
        self.program = kill.Program(path, self.folder, ack, self.sink.port)
        self.clients, self.said, self.error = None, "", None

    def log(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as log:
            return log.read()

    def run(self, seconds):
        self.program.start()
        try:
            self.go_through(seconds)
        except Exception as error:  # whatever it was, the log belongs to it
            self.error = f"{self.ack}: {error!r}\n{self.log()[-6000:]}"
        finally:
            self.program.process.kill()
            self.program.process.wait()
            shutil.rmtree(self.folder)

    def go_through(self, seconds):
        self.clients = Clients(self.program.port, random.Random(1))
        time.sleep(2)
        self.sink.close()
        time.sleep(1)  # what was on its way is answered
        before, _ = self.clients.count()
        expect(before > 0, "nothing is acknowledged while the backend is there")
        time.sleep(seconds - 1)
        during, refused = self.clients.count()
        self.sink.open()
        self.check_outage(during - before, refused)
        time.sleep(2)
        self.clients.stop()
        missing = kill.arrive(self.program, self.clients, self.sink, SOON)
        expect(not missing, f"{len(missing)} acknowledged spans are missing {SOON} s later")
        after, _ = self.clients.count()
        expect(after > during, "nothing is acknowledged after the outage")
        self.program.process.send_signal(signal.SIGTERM)
        expect(self.program.wait(60), "it did not end within 60 s")
        self.check_end()
        self.said = (f"{self.ack}: {before} spans acknowledged before {seconds} s without a "
                     f"backend, {during - before} meanwhile ({refused} requests refused), "
                     f"{after - during} after")

    def check_outage(self, acknowledged, refused):
        expect("event=endpoint_down " in self.log(), "the log does not say who is away")
        if self.ack == "delivered":
            expect(acknowledged == 0, f"{acknowledged} spans are said to be delivered")
            expect(refused > 0, "no client is told to come again")
        else:
            expect(acknowledged > 0, "nothing is acknowledged meanwhile")

    def check_end(self):
        log = self.log()
        expect("event=endpoint_up " in log, "the log does not say who is back")
        expect(self.program.process.returncode == 0, "an orderly stop failed")
        expect(re.search(r"event=stopped .* unaccounted=0$", log, re.M), "spans unaccounted")
        expect("dropped_" not in log.rsplit("event=stopped", 1)[1] or self.ack == "delivered",
               "spans were dropped")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--seconds", type=int, default=15)
    options = parser.parse_args()
    cases = [Case(options.program, ack) for ack in ("queued", "durable", "delivered")]
    threads = [threading.Thread(target=one.run, args=(options.seconds,)) for one in cases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in cases:
        print(one.error or one.said)
    sys.exit(any(one.error for one in cases))


if __name__ == "__main__":
    main()
