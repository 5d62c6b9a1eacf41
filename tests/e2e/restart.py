# SPDX-License-Identifier: Apache-2.0
"""The backend goes away and comes back. What was acknowledged is not lost while the queue has room;
what is refused is refused retryably, with a delay, and the SDK sends it again."""
import threading
import time

from harness import jaeger, wire
from harness.bed import COLLECTOR
from harness.check import case, equal, expect, until
from harness.program import Undertrace
from harness.traffic import Client, Server
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

RETRY_INFO = b"type.googleapis.com/google.rpc.RetryInfo"


def one_span(number):
    request = trace_service_pb2.ExportTraceServiceRequest()
    of_resource = request.resource_spans.add()
    of_resource.resource.attributes.add(key="service.name").value.string_value = "restart"
    now = time.time_ns()
    of_resource.scope_spans.add().spans.add(
        trace_id=number.to_bytes(16, "big"), span_id=number.to_bytes(8, "big"), name="one",
        start_time_unix_nano=now - 1000, end_time_unix_nano=now)
    return request.SerializeToString()


class Flow:
    """Sends one span after the other until stopped, and remembers which were acknowledged."""

    def __init__(self):
        self.acknowledged, self.running = [], True
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        sender = wire.Sender(COLLECTOR)
        number = 0
        while self.running:
            number += 1
            if sender.send(one_span(number))[0].name == "OK":
                self.acknowledged.append(wire.spans_of(one_span(number))[0][2:18])
            time.sleep(0.005)

    def stop(self):
        self.running = False
        self.thread.join(20)


def in_the_middle_of_a_flow(lab, folder):
    """A sink that goes and comes three times under a steady flow."""
    received = wire.ByteSink().start()
    undertrace = Undertrace(lab, folder, COLLECTOR, received.address).start()
    flow = Flow()
    for _ in range(3):
        time.sleep(1)
        received.stop()
        time.sleep(1.5)
        received.start()
    time.sleep(1)
    flow.stop()
    expect(len(flow.acknowledged) > 300, f"only {len(flow.acknowledged)} acknowledged")

    def missing():
        return set(flow.acknowledged) - {span[2:18] for span in received.spans()}

    until(lambda: not missing(), 15, "everything acknowledged arrives")
    undertrace.stop()
    received.stop()


def with_jaeger(lab, folder):
    """Jaeger away, a queue of a few requests: refusals are retryable, and the SDK's spans arrive
    once it is back."""
    backend = jaeger.Jaeger(lab, folder).start()
    small_queue = "    sending_queue:\n      queue_size: 4\n"
    undertrace = Undertrace(lab, folder, COLLECTOR, jaeger.OTLP, more=small_queue).start()
    node = lab.node("client")
    lab.attach(node, "ute-br", "10.78.0.10/24")
    server = Server(node, "server", "127.0.0.1", 8000, COLLECTOR, folder)
    client = Client(node, "client", COLLECTOR, folder)
    before = client.call(server.url())
    backend.wait_for(before["trace_id"], 2)

    backend.stop()
    sender = wire.Sender(COLLECTOR)
    queued, number = [], 1 << 60
    deadline = time.monotonic() + 10
    while True:
        number += 1
        code, trailing = sender.send(one_span(number))
        if code.name != "OK":
            break
        queued.append(number)
        expect(time.monotonic() < deadline, "a full queue refuses")
        time.sleep(0.4)  # else many requests become one batch, and the queue counts batches
    equal(code.name, "UNAVAILABLE", "the refusal")
    details = dict(trailing).get("grpc-status-details-bin", b"")
    expect(RETRY_INFO in details, f"no RetryInfo in the refusal: {details!r}")
    refused = undertrace.metric("otelcol_receiver_refused_spans")
    expect(refused >= 1, "refused spans in the metrics")

    calls = [client.call(server.url()) for _ in range(5)]
    until(lambda: undertrace.metric("otelcol_receiver_refused_spans") > refused, 10,
          "the SDK's spans are refused too")
    backend.start()
    for call in calls:
        backend.wait_for(call["trace_id"], 2, 60)
    for number in queued:
        backend.wait_for(f"{number:032x}", 1, 30)
    undertrace.stop()


@case
def test(lab, folder):
    lab.bridge("10.78.0.1/24")
    in_the_middle_of_a_flow(lab, folder)
    with_jaeger(lab, folder)
