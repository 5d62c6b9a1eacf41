# SPDX-License-Identifier: Apache-2.0
"""A backend at a tenth of the load: what is taken stays within the memory limit, what is refused is
refused retryably with a delay, what is accepted arrives at the backend's pace and within a bounded
time, and once the backend is quick again so is everything. Usage: overload.py SECONDS"""
import os
import sys
import threading
import time

from harness import wire
from harness.bed import COLLECTOR
from harness.check import case, equal, expect, until
from harness.program import CONFIG, Undertrace
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

SPANS = 100           # of a request
BACKEND = 20          # requests a second while it is slow
SENDERS = 8
OFFERED = 10 * BACKEND
QUEUE_SPANS = 4000    # two seconds of the slow backend
LIMIT_MIB = 48
RETRYABLE = {"UNAVAILABLE", "RESOURCE_EXHAUSTED"}
RETRY_INFO = b"type.googleapis.com/google.rpc.RetryInfo"

# The queue alone: neither the kernel nor the batch processor changes how much is on the way.
PLAIN = CONFIG.replace("  ebpf:\n    capture_file: {folder}/kernel.capture\n", "") \
              .replace("[otlp, ebpf]", "[otlp]").replace("[correlate, batch]", "[]") \
              .replace("undertrace:\n", "undertrace:\n  memory:\n    limit_mib: %d\n" % LIMIT_MIB)
QUEUE = ("    sending_queue:\n      sizer: items\n      queue_size: %d\n      num_consumers: 2\n"
         % QUEUE_SPANS)


def request(size):
    """SPANS spans of about `size` bytes; the first one is named after the time it was sent at."""
    message = trace_service_pb2.ExportTraceServiceRequest()
    scope = message.resource_spans.add().scope_spans.add()
    now = time.time_ns()
    for number in range(SPANS):
        span = scope.spans.add(trace_id=os.urandom(16), span_id=os.urandom(8), name="s" * size,
                               start_time_unix_nano=now - 1000, end_time_unix_nano=now)
        if number == 0:
            span.name = f"sent at {time.monotonic():017.6f}"
    return message.SerializeToString()


class SlowSink(wire.ByteSink):
    """Takes BACKEND requests a second while `slow`, one by one; keeps delays, not bodies."""

    def __init__(self):
        super().__init__()
        self.slow, self.taken, self.delays = True, 0, []

    def keep(self, body, _context):
        at = body.find(b"sent at ") + len(b"sent at ")
        with self.lock:
            self.taken += 1
            self.delays.append(time.monotonic() - float(body[at:at + 17]))
            if self.slow:
                time.sleep(1 / BACKEND)
        return b""


class Load:
    """Offers OFFERED requests a second, whatever it is told."""

    def __init__(self):
        self.running, self.lock = True, threading.Lock()
        self.accepted, self.refused, self.codes, self.without_delay = 0, 0, set(), 0
        self.accepted_at = []
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(SENDERS)]
        for thread in self.threads:
            thread.start()

    def run(self):
        sender = wire.Sender(COLLECTOR)
        due = time.monotonic()
        while self.running:
            due += SENDERS / OFFERED
            time.sleep(max(0, due - time.monotonic()))
            code, trailing = sender.send(request(400))
            with self.lock:
                if code.name == "OK":
                    self.accepted += 1
                    self.accepted_at.append(time.monotonic())
                    continue
                self.refused += 1
                self.codes.add(code.name)
                details = dict(trailing or ()).get("grpc-status-details-bin", b"")
                self.without_delay += RETRY_INFO not in details

    def stop(self):
        self.running = False
        for thread in self.threads:
            thread.join(20)

    def accepted_since(self, then):
        with self.lock:
            return sum(at >= then for at in self.accepted_at)


def rss_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def check_overload(load, sink, seconds, before):
    """What held while the backend was slow."""
    rate = (sink.taken - before) / seconds
    expect(load.refused > 4 * load.accepted, f"{load.accepted} accepted, {load.refused} refused")
    expect(load.codes <= RETRYABLE, f"refusals: {load.codes}")
    equal(load.without_delay, 0, "refusals without a delay")
    expect(0.8 * BACKEND < rate < 1.2 * BACKEND, f"{rate:.1f} requests/s delivered")
    worst = max(sink.delays)
    bound = QUEUE_SPANS / SPANS / BACKEND + 2
    expect(worst < bound, f"what was accepted took up to {worst:.1f} s, more than {bound:.1f} s")
    return rate, worst


@case
def test(lab, folder):
    seconds = float(sys.argv[1])
    lab.bridge("10.78.0.1/24")
    sink = SlowSink().start()
    undertrace = Undertrace(lab, folder, COLLECTOR, sink.address, more=QUEUE, config=PLAIN).start()
    load, most = Load(), 0
    time.sleep(3)  # the queue fills
    before, start = sink.taken, time.monotonic()
    while time.monotonic() < start + seconds:
        most = max(most, rss_mib(undertrace.process.pid))
        time.sleep(0.2)
    rate, worst = check_overload(load, sink, time.monotonic() - start, before)
    expect(most < LIMIT_MIB, f"{most:.0f} MiB resident, the limit is {LIMIT_MIB}")

    sink.slow = False
    time.sleep(2)
    refused, then = load.refused, time.monotonic()
    time.sleep(1)
    recovered = load.accepted_since(then)
    expect(recovered > 0.8 * OFFERED, f"{recovered} requests/s accepted 2 s after the recovery")
    equal(load.refused - refused, 0, "requests refused 2 s after the recovery")
    load.stop()
    until(lambda: sink.taken >= load.accepted, 10, "all that was accepted arrives")
    undertrace.stop()
    sink.stop()
    print(f"{seconds:.0f} s, {OFFERED} requests/s offered, {rate:.1f} delivered: {load.accepted} "
          f"accepted in all, {load.refused} refused, at most {worst:.2f} s late, {most:.0f} MiB "
          f"resident; {recovered} accepted in the third second after the recovery")
