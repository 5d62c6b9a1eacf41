# SPDX-License-Identifier: Apache-2.0
"""Two undertraces, one behind the other, with real retransmissions: over TCP, over a unix socket
and with a real OpenTelemetry Collector between them. What the first found out about its senders and
their spans comes out of the second byte by byte, and nothing twice; from a first that the second
does not trust it is taken out, and counted.

    forwarded.py [otelcol]    with the Collector between
"""
import sys

from harness import program, spans, wire
from harness.bed import COLLECTOR, address
from harness.check import case, equal, expect, until
from harness.otelcol import Otelcol
from harness.traffic import Client, Server
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

OTELCOL = sys.argv[1:] == ["otelcol"]
CALLS = 12
# How the first reaches the second, and where what came over it is put down.
DIRECT = "127.0.0.1:14318"
WAYS = {"socket": "127.0.0.1:14319", "tcp": "127.0.0.1:14320"}
if OTELCOL:
    WAYS["otelcol"] = "127.0.0.1:14321"
LISTENS = {"tcp": "127.0.0.1:15318", "otelcol": "127.0.0.1:15319"}
BETWEEN = "127.0.0.1:15320"
STRANGER, UNTRUSTED = "127.0.0.1:15321", "127.0.0.1:14322"

RETRY = "{initial_interval: 100ms, max_interval: 200ms}"
IDENTITY = """\
  identity:
    forwarders:
      uids: [root]
      workloads: [/ute2e/collector, /ute2e/otelcol]
"""
OTELCOL_CONFIG = f"""\
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: "{BETWEEN}"}}
exporters:
  otlp:
    endpoint: "{LISTENS['otelcol']}"
    tls: {{insecure: true}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [otlp]}}
"""


def configuration(inputs, outputs, routes, metrics, more=""):
    """`routes`: per pipeline the input and the outputs; `{folder}` is filled in by Undertrace."""
    lines = ["receivers:", "  ebpf:"]
    for name, endpoint in inputs.items():
        lines += [f"  otlp/{name}:", "    protocols:",
                  f'      grpc: {{{{endpoint: "{endpoint}"}}}}']
    lines += ["processors:", "  correlate:", "  batch: {{timeout: 50ms}}", "exporters:"]
    for name, endpoint in outputs.items():
        lines += [f"  otlp_grpc/{name}:", f'    endpoint: "{endpoint}"',
                  f"    retry_on_failure: {{{RETRY}}}"]
    lines += ["service:", "  telemetry:",
              f'    metrics: {{{{address: "{metrics}"}}}}', "  pipelines:"]
    for source, targets in routes:
        lines += [f"    traces/{source}:", f"      receivers: [otlp/{source}, ebpf]",
                  "      processors: [correlate, batch]",
                  f"      exporters: [{', '.join(f'otlp_grpc/{name}' for name in targets)}]"]
    return "\n".join([*lines, "undertrace:", "  admin: unix://{folder}/admin.sock", more])


def resource_of(span):
    return span.resource.get("undertrace.cgroup.path")


class Kept:
    """What arrived at a sink: spans by id, with their Resource, as they look and as bytes."""

    def __init__(self, sink):
        requests = [ExportTraceServiceRequest.FromString(body) for body in sink.bodies]
        self.spans = {span.span_id: span for request in requests
                      for span in spans.from_request(request)}
        self.bytes = sorted(sink.spans())


def start(lab, folder, name, listen, config):
    own = folder / name
    own.mkdir()
    return program.Undertrace(lab, own, listen, "", config=config).start()


def first_of(lab, folder):
    """The first sends to all of them, and to a sink of its own."""
    outputs = {"direct": f"http://{DIRECT}", "socket": f"unix://{folder}/otlp.sock",
               "tcp": f"http://{LISTENS['tcp']}", "stranger": f"http://{STRANGER}"}
    if OTELCOL:
        outputs["otelcol"] = f"http://{BETWEEN}"
    return start(lab, folder, "first", COLLECTOR,
                 configuration({"apps": COLLECTOR}, outputs, [("apps", list(outputs))],
                               "127.0.0.1:8888"))


def second_of(lab, folder):
    inputs = {"socket": f"unix://{folder}/otlp.sock", **LISTENS}
    inputs = {name: inputs[name] for name in WAYS}
    return start(lab, folder, "second", LISTENS["tcp"],
                 configuration(inputs, {name: f"http://{sink}" for name, sink in WAYS.items()},
                               [(name, [name]) for name in WAYS], "127.0.0.1:8889", IDENTITY))


def stranger_of(lab, folder):
    return start(lab, folder, "stranger", STRANGER,
                 configuration({"apps": STRANGER}, {"out": f"http://{UNTRUSTED}"},
                               [("apps", ["out"])], "127.0.0.1:8890"))


def lose_some(lab, folder, bridge):
    """Calls of which some lose their request; how many segments the kernel dropped."""
    nodes = {}
    for name, number in (("lossy", 10), ("shop", 20)):
        nodes[name] = lab.node(name)
        lab.attach(nodes[name], bridge, f"{address(number)}/24")
        nodes[name].sysctl("net.ipv4.tcp_early_retrans", 0)
    shop = Server(nodes["shop"], "shop", address(20), 8000, COLLECTOR, folder)
    lossy = Client(nodes["lossy"], "lossy", COLLECTOR, folder)
    lossy.call(shop.url(), connection="shop")
    rule = nodes["shop"].drop("requests", f"ip saddr {address(10)} tcp dport 8000 "
                              "meta length > 100 numgen inc mod 3 == 0")
    calls = [lossy.call(shop.url(), connection="shop") for _ in range(CALLS)]
    dropped = rule.dropped()
    rule.remove()
    lossy.flush()
    return calls, dropped


def check_first(kept, calls, dropped):
    """There is something to pass on: evidence, and the identity of both senders."""
    ids = {call["span_id"] for call in calls}
    joined = [span for span in kept.spans.values()
              if span.span_id in ids and "tcp.match" in span.evidence]
    # No two segments of one call are dropped; the kernel may send again what was not.
    expect(len(joined) >= dropped > 0, f"{len(joined)} calls with evidence of {dropped} drops")
    for span in kept.spans.values():
        equal(resource_of(span), f"/ute2e/{span.service}", f"verified identity of {span}")


def check_untrusted(kept, metrics):
    for span in kept.spans.values():
        equal(span.evidence, {}, f"evidence that a stranger brought on {span}")
        equal(span.kernel_events(), [], f"events that a stranger brought on {span}")
        expect(resource_of(span) != f"/ute2e/{span.service}", f"identity by a stranger on {span}")
    expect(metrics["undertrace_forged_removed_total"] > 0, "what was taken out is counted")


def metrics_of(port):
    return program.metrics_at(f"http://127.0.0.1:{port}")


def play(lab, folder, sinks):
    bridge = lab.bridge("10.78.0.1/24")
    second, stranger = second_of(lab, folder), stranger_of(lab, folder)
    second.needs_kernel_events()
    if OTELCOL:
        Otelcol(lab, folder, OTELCOL_CONFIG, [BETWEEN]).start()
    first = first_of(lab, folder)
    calls, dropped = lose_some(lab, folder, bridge)
    count = 2 * (CALLS + 1)
    for name, sink in sinks.items():
        until(lambda at=sink: len(at.spans()) >= count, 30, f"all spans arrive by {name}")
    kept = {name: Kept(sink) for name, sink in sinks.items()}
    check_first(kept["direct"], calls, dropped)
    for name in WAYS:
        equal(kept[name].spans, kept["direct"].spans, f"spans and resources by {name}")
        if name != "otelcol":
            equal(kept[name].bytes, kept["direct"].bytes, f"the bytes of the spans by {name}")
    metrics, strangers = metrics_of(8889), metrics_of(8890)
    check_untrusted(kept["stranger"], strangers)
    doctor = stranger.command("doctor", "--admin", stranger.admin).stdout
    removed = f" {strangers['undertrace_forged_removed_total']:.0f} spans and resources came with"
    expect(removed in doctor, f"doctor says {removed!r}:\n{doctor}")
    equal(metrics['undertrace_sender_spans_total{sender="forwarded"}'], count * len(WAYS),
          "spans whose sender the first had found")
    equal(metrics["undertrace_forged_removed_total"], 0, "keys taken out by the second")
    equal(strangers['undertrace_sender_spans_total{sender="forwarded"}'], 0,
          "spans that a stranger's word identified")
    for one in (first, second, stranger):
        one.stop()


@case
def test(lab, folder):
    sinks = {name: wire.ByteSink(at).start() for name, at in
             {"direct": DIRECT, "stranger": UNTRUSTED, **WAYS}.items()}
    try:
        play(lab, folder, sinks)
    finally:
        for sink in sinks.values():
            sink.stop()
