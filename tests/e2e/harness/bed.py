# SPDX-License-Identifier: Apache-2.0
"""The network most tests stand on: nodes on one bridge, undertrace at the bridge's own address,
Jaeger behind it on loopback."""
from . import jaeger, program

GATEWAY = {4: "10.78.0.1", 6: "fd78::1"}
COLLECTOR = "10.78.0.1:4317"


def address(number, family=4):
    return f"10.78.0.{number}" if family == 4 else f"fd78::{number}"


class Bed:
    """`bed.node(name, number)` is at address(number) in both families."""

    def __init__(self, lab, folder, listen=COLLECTOR, **options):
        self.lab, self.folder = lab, folder
        self.bridge = lab.bridge("10.78.0.1/24", "fd78::1/64")
        self.jaeger = jaeger.Jaeger(lab, folder).start()
        self.undertrace = program.Undertrace(lab, folder, listen, jaeger.OTLP, **options)
        self.undertrace.needs_kernel_events().start()

    def node(self, name, number, cgroup=None):
        node = self.lab.node(name, cgroup)
        self.lab.attach(node, self.bridge, f"10.78.0.{number}/24", f"fd78::{number}/64")
        node.acknowledge_at_once()
        return node

    def pair(self, call):
        """(client's span, server's span) of a call, once Jaeger has both."""
        spans = self.jaeger.wait_for(call["trace_id"], 2)
        client = next(span for span in spans if span.span_id == call["span_id"])
        server = next(span for span in spans if span.parent_id == call["span_id"])
        return client, server
