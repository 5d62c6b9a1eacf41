# SPDX-License-Identifier: Apache-2.0
"""From socket to socket, kernel events on, the program calls malloc zero times per batch once it is
warm. Counted by a library that is preloaded into it. The pool may still reach a new high-water mark
now and then, when more batches than ever before are on the way: a few calls, not one a batch, and
fewer and fewer of them, so a round without any comes."""
import sys

from bytes import body
from harness import wire
from harness.bed import COLLECTOR
from harness.check import case, equal, expect, until
from harness.program import Undertrace

WARM, COUNTED, ROUNDS, SPANS = 3000, 500, 30, 5


def count(path):
    return int.from_bytes(path.read_bytes(), "little")


@case
def test(lab, folder):
    lab.bridge("10.78.0.1/24")
    received = wire.ByteSink().start()
    calls = folder / "malloc-calls"
    preload = ("env", f"LD_PRELOAD={sys.argv[1]}", f"UT_MALLOC_COUNT={calls}")
    undertrace = Undertrace(lab, folder, COLLECTOR, received.address, before=preload).start()
    sender = wire.Sender(COLLECTOR)
    raw = body(1, SPANS)

    def send(requests):
        arrived = len(received.spans())
        for _ in range(requests):
            code, _ = sender.send(raw)
            equal(code.name, "OK", "the answer")
        until(lambda: len(received.spans()) >= arrived + requests * SPANS, 20, "all spans arrive")

    send(WARM)
    expect(count(calls) > 100, f"{count(calls)} calls until now: the library does not count")
    rounds = []
    while len(rounds) < ROUNDS and 0 not in rounds:
        before = count(calls)
        send(COUNTED)
        rounds.append(count(calls) - before)
    print(f"calls of malloc in rounds of {COUNTED} requests: {rounds}")
    equal(min(rounds), 0, f"calls of malloc in the calmest of {rounds}")
    expect(max(rounds) < COUNTED / 10, f"calls of malloc in rounds of {COUNTED}: {rounds}")
    undertrace.stop()
    received.stop()
