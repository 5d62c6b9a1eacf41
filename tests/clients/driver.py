# SPDX-License-Identifier: Apache-2.0
"""Started by `run`, which has made the network namespace. Exit 0, 1, or 77 for a skip."""
import argparse
import contextlib
import json
import pathlib
import re
import sys
import tempfile
import time
import traceback

import certificates
import clients
import compare
import peers
import plan
import telemetrygen
from harness import wire
from harness.check import Skipped, equal, expect, until

SENT = 'otelcol_exporter_sent_spans{exporter="otlp_grpc"}'
# Maps in maps: a request of more than 100 levels of messages does not parse. What is in the
# attribute itself stays below, for Python's protobuf would not write it.
DEPTH = 32


class Bed:
    """One client, undertrace with some settings, and a backend, in a folder of its own."""

    def __init__(self, stack, client, folder, *settings, otelcol=False, tls=None):
        self.client, self.folder, self.stack = client, pathlib.Path(folder), stack
        self.environment, self.tls = {}, tls
        if tls:
            certificates.make(self.folder)
            settings += (certificates.settings(folder, tls == "mutual"),)
            self.environment = {**certificates.environment(folder, tls == "mutual"),
                                "OTEL_EXPORTER_OTLP_ENDPOINT": client.endpoint("https")}
        self.plan, self.record = self.folder / "plan", self.folder / "record"
        self.backend = stack.enter_context(
            peers.Otelcol(folder, clients.built("otelcol") + "/otelcol") if otelcol
            else peers.stopping(wire.ByteSink(peers.BACKEND)))
        self.undertrace = stack.enter_context(peers.Undertrace(folder, *settings))

    def start(self, words, gzip=False, **more):
        more.update(self.environment)
        if gzip:
            more["OTEL_EXPORTER_OTLP_COMPRESSION"] = "gzip"
        return self.stack.enter_context(peers.Program(
            self.folder, self.client.name, *self.client.words(), *words,
            env=self.client.environment(**more)))

    def start_plan(self, spans, gzip=False):
        """Starts the client with these spans to send; its process."""
        plan.write(self.plan, spans)
        return self.start((self.plan, self.record), gzip)

    def sent(self, spans):
        """The spans of the plan as they have to arrive."""
        with self.record.open() as record:
            return compare.sent(spans, [json.loads(line) for line in record], self.client.can)

    def arrived(self, count):
        """(spans, Resources) at the backend once there are so many, and nothing is on its way."""
        until(lambda: self.undertrace.metrics().get(SENT, 0) >= count, 20,
              f"{count} spans leave undertrace")
        self.undertrace.stop()
        if isinstance(self.backend, peers.Otelcol):
            self.backend.stop()
        return compare.arrived(self.backend.bodies)

    def check_arrival(self, wanted):
        """These spans and no others arrive, each once; with the client's Resource."""
        arrived, resources = self.arrived(len(wanted))
        wrong = compare.spans(wanted, arrived)
        expect(not wrong, f"{len(wrong)} spans are not as sent:\n" + "\n".join(wrong[:20]))
        for resource in resources:
            equal(resource, resources[0], "the Resource of all spans")
        for name, text in self.client.resource.items():
            equal(resources[0].get(name), {"string": text}, f"{name} in the Resource")

    def check_requests(self, **wanted):
        """How often each answer was given; `ok` stands for success, which counts as once or more.
        A client that sends again what it should not is seen here."""
        requests = self.undertrace.requests()
        success = requests.pop("OK" if self.client.protocol == "grpc" else "200", 0)
        expect(success > 0, f"no request was answered with success, but {requests}")
        equal(requests, wanted, "requests that were answered otherwise, by status")

    def check_compression(self, gzip):
        compressed = self.undertrace.total("undertrace_receiver_compressed_bytes_total")
        equal(compressed > 0, gzip, "whether requests were compressed")

    def status(self, grpc, http):
        """The status that stands for one thing, by the client's protocol."""
        return grpc if self.client.protocol == "grpc" else http


def finish(process, seconds=120):
    """What the client has said."""
    status, said = process.wait(seconds), process.said()
    equal(status, 0, f"exit status of {process.name}, which said {said[-3000:]!r}")
    return said


def now():
    return time.time_ns() - 10 * 10**9


# ---- what is right arrives ----------------------------------------------------------------------

def deliver(bed, count, gzip):
    """Every span arrives once and equal, without a word in the client's log or a request twice."""
    maker, start = plan.Maker(bed.client.can, bed.client.name), now()
    spans = [maker.span(index, start) for index in range(count)]
    words = bed.client.tls_words if bed.tls == "server" else ""
    equal(finish(bed.start_plan(spans, gzip)), words, "the client's log")
    bed.check_requests()
    bed.check_compression(gzip)
    equal(bed.undertrace.spans("received"), count, "spans received")
    bed.check_arrival(bed.sent(spans))


def deliver_generated(bed, count, gzip):
    """The same for a client that makes its spans itself."""
    # It makes them as fast as it can, and a queue of the usual length overflows.
    tls_words = certificates.words(bed.folder, bed.tls == "mutual") if bed.tls else []
    said = finish(bed.start(telemetrygen.words(bed.client, count, tls_words), gzip,
                            OTEL_BSP_MAX_QUEUE_SIZE=str(count)))
    equal(telemetrygen.complaints(said), [], "the client's log")
    bed.check_requests()
    bed.check_compression(gzip)
    equal(bed.undertrace.spans("received"), count, "spans received")
    telemetrygen.check(count, *bed.arrived(count))


# ---- what is refused ----------------------------------------------------------------------------

def too_large(bed):
    """Requests above the limit are refused once and for good; those before and after are not."""
    start, large = now(), {"large": {"string": "x" * (3 << 19)}}
    spans = [plan.simple(0, start, flush=True),
             plan.simple(1, start, flush=True, attributes=large),
             plan.simple(2, start, flush=True, attributes=large), plan.simple(3, start)]
    said = finish(bed.start_plan(spans))
    expect(said, "the client says nothing of spans that it has lost")
    status, times = bed.status("RESOURCE_EXHAUSTED", "413"), 2
    if bed.client.retries_too_large:
        times = bed.undertrace.requests().get(status, 0)
        expect(times > 2, "it no longer sends again what was refused for good")
    bed.check_requests(**{status: times})
    sent = bed.sent(spans)
    bed.check_arrival([sent[0], sent[3]])


def bad_spans(bed):
    """Spans without an id are left out, the others of their request are taken, and none is sent
    again."""
    start = now()
    spans = [plan.simple(index, start, bad=index % 10 == 0) for index in range(100)]
    said = finish(bed.start_plan(spans))
    expect(bed.client.mute == ("10 spans were left out" not in said),
           f"of spans that were left out the client says {said!r}")
    bed.check_requests()
    equal(bed.undertrace.spans("received"), 100, "spans received")
    equal(bed.undertrace.spans("rejected"), 10, "spans rejected")
    bed.check_arrival([one for one in bed.sent(spans) if int(one["span_id"], 16)])


def bad_request(bed):
    """A request that does not parse is refused once and for good."""
    if not bed.client.can.nested:
        print("  not played: this client cannot make a request that does not parse")
        return
    start, deep = now(), {"string": "down here"}
    for _ in range(DEPTH):
        deep = {"map": {"in": deep}}
    spans = [plan.simple(0, start, flush=True),
             plan.simple(1, start, flush=True, attributes={"deep": deep}), plan.simple(2, start)]
    said = finish(bed.start_plan(spans))
    expect(said, "the client says nothing of spans that it has lost")
    bed.check_requests(**{bed.status("INVALID_ARGUMENT", "400"): 1})
    sent = bed.sent(spans)
    bed.check_arrival([sent[0], sent[2]])


def full(bed):
    """While there is no room the client sends again, and loses nothing."""
    start, busy = now(), bed.status("UNAVAILABLE", "503")
    spans = [plan.simple(index, start) for index in range(1500)]
    process = bed.start_plan(spans)
    until(lambda: bed.undertrace.requests().get(busy, 0) > 0, 30, "a request is refused")
    bed.backend.start()
    said = finish(process)
    requests = bed.undertrace.requests()
    bed.check_requests(**{busy: requests.get(busy)})
    accepted = bed.undertrace.spans("accepted")
    if bed.client.never_retries:
        equal(bed.undertrace.spans("received"), len(spans), "spans received")
        expect("the sending queue is full" in said, "the client says why it has lost spans")
        equal(len(bed.arrived(accepted)[0]), accepted, "spans that arrive")
        return
    equal(accepted, len(spans), "spans accepted")
    bed.check_arrival(bed.sent(spans))


def signals(bed):
    """Metrics and logs are refused, each request once and for good, and spans arrive all the same.
    Our log says once for each what stops it."""
    if not bed.client.has_signals:
        print("  not played: this client sends spans alone")
        return
    bed.environment.update(OTEL_METRICS_EXPORTER="otlp", OTEL_LOGS_EXPORTER="otlp")
    start, flushes = now(), 3
    spans = [plan.simple(index, start, flush=index % 10 == 0) for index in range(10 * flushes)]
    said = finish(bed.start_plan(spans))
    expect("retrying" not in said.lower(), f"the client tries again: {said[-3000:]!r}")
    status = bed.status("UNIMPLEMENTED", "404")
    times = bed.undertrace.requests().get(status, 0)
    # Some send their metrics once more as they end.
    expect(2 * flushes <= times <= 2 * flushes + 1, f"{times} requests were refused")
    bed.check_requests(**{status: times})
    bed.check_arrival(bed.sent(spans))
    told = re.findall(r"event=signal_refused .*set (\w+=none) in the sender", bed.undertrace.said())
    equal(sorted(told), ["OTEL_LOGS_EXPORTER=none", "OTEL_METRICS_EXPORTER=none"], "our log")


REFUSALS = {"too_large": (too_large, peers.SMALL_BODIES, peers.BATCH), "bad_spans": (bad_spans,),
            "bad_request": (bad_request,), "full": (full, peers.SMALL_QUEUE),
            "signals": (signals, peers.BATCH)}


# ---- the program --------------------------------------------------------------------------------

def run_refusal(client, name, folder):
    test, *settings = REFUSALS[name]
    with contextlib.ExitStack() as stack:
        bed = Bed(stack, client, folder, *settings)
        if test is not full:
            bed.backend.start()
        test(bed)


def run(client, words, folder):
    with contextlib.ExitStack() as stack:
        bed = Bed(stack, client, folder, peers.BATCH, otelcol=words.otelcol, tls=words.tls)
        if not words.otelcol:
            bed.backend.start()
        test = deliver_generated if client.command == clients.TELEMETRYGEN else deliver
        test(bed, words.spans, words.gzip)


def attempt(test, *words):
    """Runs a test in a folder of its own; the exit status."""
    with tempfile.TemporaryDirectory(prefix="undertrace-clients-") as folder:
        try:
            test(*words, folder)
        except Skipped as reason:
            print(f"SKIP: {reason}")
            return 77
        except Exception:  # whatever it was, the logs below belong to it
            traceback.print_exc()
            for log in sorted(pathlib.Path(folder).glob("*.log")):
                print(f"---- {log.name}\n{log.read_text(errors='replace')[-4000:]}")
            return 1
    return 0


def main():
    words = argparse.ArgumentParser(prog="tests/clients/run")
    words.add_argument("client", choices=clients.CLIENTS)
    words.add_argument("--spans", type=int, default=2000, help="how many; 2000")
    words.add_argument("--gzip", action="store_true", help="the client compresses")
    words.add_argument("--tls", choices=("server", "mutual"), help="whose certificate is asked for")
    words.add_argument("--otelcol", action="store_true", help="an OpenTelemetry Collector receives")
    words.add_argument("--refusals", nargs="*", choices=REFUSALS, metavar="NAME",
                       help=f"what is refused instead: {', '.join(REFUSALS)}; all where none is "
                            "named")
    words = words.parse_args()
    client = clients.CLIENTS[words.client]
    if words.refusals is None:
        return attempt(run, client, words)
    statuses = []
    for name in words.refusals or REFUSALS:
        print(f"{client.name}: {name}", flush=True)
        statuses.append(attempt(run_refusal, client, name))
    return next(filter(None, statuses), 0)


if __name__ == "__main__":
    sys.exit(main())
