# SPDX-License-Identifier: Apache-2.0
"""Evidence held against the truth: clients that make many requests at once over a switch that loses
chosen segments and writes down every one (harness/switch.py), so that for each event on a span it
is known whether it is that span's, and for each segment sent again whose it was.

    oracle.py REQUESTS [tc]     tc: packets are read at all their interfaces, not by cgroup

Connections are kept, pooled, closed and opened again from the same port; requests follow each other
without waiting, have long heads, bodies full of heads, chunks; two workloads are the same program;
one reaches its server by an address that is translated.
"""
import collections
import dataclasses
import ipaddress
import json
import sys

from harness import spans, wire
from harness.check import Failed, case, equal, expect, until
from harness.program import CONFIG, Undertrace
from harness.traffic import HERE

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

import netlab  # of tests/support, as harness.check knows

REQUESTS = int(sys.argv[1])
COLLECTOR, SERVICE = "10.79.0.1:4317", "10.96.0.10:80"
SERVERS = {"10.79.0.20": 8000, "10.79.0.21": 8001}
CLIENTS_BEGIN = ipaddress.ip_address("10.79.0.10")
LOSS, SEED = 0.3, 7
FIN, SYN, ACK = 1, 2, 16
FIRST_PORT = 41000
FAR = 1 << 24  # no connection carries as much, so a sequence beyond is another one's
# name → threads, whether spans name both ends, the servers as it names them
EVERY = [f"{address}:{port}" for address, port in SERVERS.items()]
CLIENTS = {"named": (8, True, EVERY), "pool": (8, False, EVERY), "twin": (8, False, EVERY),
           "alone": (2, False, EVERY), "translated": (8, True, [SERVICE])}
ATTACH = "cgroup"
if sys.argv[2:] == ["tc"]:
    NODES = [*CLIENTS, *(f"server-{port}" for port in SERVERS.values())]
    ATTACH = f"tc, namespaces: [{', '.join(f'/run/netns/ute2e-{name}' for name in NODES)}]"
EXACT = CONFIG.replace("  ebpf:\n",
                       f"  ebpf:\n    trace_context: {{{{enabled: true, attach: {ATTACH}}}}}\n")


# ---- what the switch saw -------------------------------------------------------------------------

@dataclasses.dataclass
class Direction:
    """One end's bytes of one connection, by offset from its initial sequence number."""
    isn: int
    end: int = 0
    again: list = dataclasses.field(default_factory=list)  # ranges that were sent again

    def offset(self, sequence):
        """Of the first byte: 0; None if it is another connection's."""
        offset = (sequence - self.isn - 1) & 0xFFFFFFFF
        return offset if offset < FAR else -1 if offset == 0xFFFFFFFF else None

    def see(self, sequence, size):
        offset = self.offset(sequence)
        if offset is None:
            return
        if offset < self.end:
            self.again.append((offset, min(offset + size, self.end)))
        self.end = max(self.end, offset + size)


class Truth:
    """`connections[client's end]` are the connections that it had, one after the other; each is a
    pair of directions, the client's and the server's."""

    def __init__(self, path):
        self.connections = collections.defaultdict(list)
        self.lost = 0
        for line in path.read_text().splitlines():
            _, source, port, destination, other, *numbers = line.split()
            sequence, size, flags, lost = map(int, numbers)
            self.lost += lost
            ends = (source, int(port)), (destination, int(other))
            from_client = ends[0][0] not in SERVERS
            known = self.connections[ends[0] if from_client else ends[1]]
            if flags & SYN:
                self.open(known, from_client, sequence)
            elif size > 0 and known and known[-1][0 if from_client else 1] is not None:
                known[-1][0 if from_client else 1].see(sequence, size)

    @staticmethod
    def open(known, from_client, sequence):
        if from_client:
            if not known or known[-1][0].isn != sequence:
                known.append([Direction(sequence), None])
        elif known and known[-1][1] is None:
            known[-1][1] = Direction(sequence)


def overlap(one, other):
    return one[0] < other[1] and other[0] < one[1]


# ---- what the spans say --------------------------------------------------------------------------

@dataclasses.dataclass
class Told:
    """One tcp.retransmit event on a span."""
    match: str
    kind: str
    from_client: bool
    client: tuple
    sequence: int
    bytes: int

    @classmethod
    def of(cls, event, kind):
        attributes = event.attributes
        local, peer = ((attributes[f"network.{end}.address"], attributes[f"network.{end}.port"])
                       for end in ("local", "peer"))
        from_client = (kind == "CLIENT") == (attributes["undertrace.side"] == "local")
        return cls(attributes["undertrace.match"], attributes["undertrace.tcp.type"], from_client,
                   local if is_client(local[0]) else peer, attributes["undertrace.tcp.seq"],
                   attributes.get("undertrace.tcp.bytes", 0))


def is_client(address):
    return CLIENTS_BEGIN <= ipaddress.ip_address(address) < CLIENTS_BEGIN + len(CLIENTS)


@dataclasses.dataclass
class Request:
    client: str
    local: tuple
    instance: int
    ranges: tuple  # of its own bytes, and of its answer's
    connection: list = None
    events: dict = dataclasses.field(default_factory=dict)  # span kind → [Told]
    cut: set = dataclasses.field(default_factory=set)  # kinds whose span has no room for all

    def right(self, told):
        """Whether it was this request's connection, and for `exact` its own bytes."""
        if told.client != self.local:
            return False
        direction = self.connection[0 if told.from_client else 1]
        offset = direction.offset(told.sequence)
        if offset is None or told.match != "exact":
            return offset is not None
        return self.is_mine(offset, offset + told.bytes, told.from_client)

    def is_mine(self, begin, end, from_client):
        return overlap((begin, end), self.ranges[0 if from_client else 1])


def requests_of(folder, truth):
    """span id of the client → Request"""
    found = {}
    for name in CLIENTS:
        for line in (folder / f"{name}.told").read_text().splitlines():
            told = json.loads(line)
            local = tuple(told["local"])
            request = Request(name, local, told["instance"],
                              (tuple(told["range"]), tuple(told["answer"])))
            request.connection = truth.connections[local][request.instance]
            found[told["span"]] = request
    return found


def take_spans(sink, requests):
    """How many spans of requests arrived, after giving each request its events."""
    arrived = 0
    with sink.lock:
        bodies = list(sink.bodies)
    for body in bodies:
        for span in spans.from_request(
                trace_service_pb2.ExportTraceServiceRequest.FromString(body)):
            if span.kind == "INTERNAL":
                continue
            request = requests.get(span.span_id if span.kind == "CLIENT" else span.parent_id)
            if request is None:
                raise Failed(f"a span of no request: {span}")
            arrived += 1
            told = [event for event in span.events if event.name == "tcp.retransmit"]
            # The last one of very many is a count and names no connection.
            whole = [event for event in told if "network.local.port" in event.attributes]
            request.events[span.kind] = [Told.of(event, span.kind) for event in whole]
            if len(whole) < len(told):
                request.cut.add(span.kind)
    return arrived


# ---- the table -----------------------------------------------------------------------------------

def precision(requests):
    """match class → [events on spans, those that are right]"""
    counted = collections.defaultdict(lambda: [0, 0])
    for request in requests.values():
        for told in (told for events in request.events.values() for told in events):
            counted[told.match][0] += 1
            counted[told.match][1] += request.right(told)
    return counted


def recall(requests, name, kind, from_client):
    """Of a client's requests whose bytes, or whose answer's, were sent again: how many, and by the
    class of the best event that its span of this kind has for these bytes; "cut": it has none, but
    more than it shows; "none"."""
    counted = collections.Counter()
    for request in requests.values():
        again = request.connection[0 if from_client else 1].again
        if request.client != name or not any(request.is_mine(*one, from_client) for one in again):
            continue
        classes = {told.match for told in request.events[kind] if told.from_client == from_client
                   and request.right(told) and touches(request, told)}
        counted["all"] += 1
        counted[next((match for match in ("exact", "connection", "peer") if match in classes),
                     "cut" if kind in request.cut else "none")] += 1
    return counted


def touches(request, told):
    offset = request.connection[0 if told.from_client else 1].offset(told.sequence)
    return request.is_mine(offset, offset + max(told.bytes, 1), told.from_client)


def print_table(requests):
    columns = ("all", "exact", "connection", "peer", "cut", "none")
    print(f"| sent again | {' | '.join(columns)} |")
    for what, from_client in (("requests", True), ("answers", False)):
        for name in CLIENTS:
            for kind in ("CLIENT", "SERVER"):
                counted = recall(requests, name, kind, from_client)
                print(f"| {what} of {name}, {kind} | "
                      f"{' | '.join(str(counted[key]) for key in columns)} |")
    print("| class | events on spans | right |")
    for match, (events, right) in sorted(precision(requests).items()):
        print(f"| {match} | {events} | {right} |")


def check(requests):
    """Each end's own: the other's needs both ends of the connection, of which the kernel may have
    told no program. Of answers more may be missing: where it skips the program that reads, because
    that runs on the CPU already, a connection is given up."""
    for match, (events, right) in precision(requests).items():
        if match in ("exact", "connection"):
            equal(right, events, f"events of class {match} that are right")
    for kind, least in (("CLIENT", 0.99), ("SERVER", 0.8)):
        found = sum((recall(requests, name, kind, kind == "CLIENT") for name in CLIENTS),
                    collections.Counter())
        expect(found["exact"] >= least * found["all"], f"of all that was sent again: {found}")


# ---- the run -------------------------------------------------------------------------------------

def wire_up(lab, folder):
    """The nodes, with links through the switch; (nodes by name, the switch's process)."""
    addresses = {f"server-{port}": address for address, port in SERVERS.items()}
    addresses |= {name: str(CLIENTS_BEGIN + index) for index, name in enumerate(CLIENTS)}
    nodes = {name: lab.node(name) for name in addresses}
    with (folder / "switch.log").open("w") as log:
        process = lab.start([sys.executable, "-B", HERE / "switch.py", folder / "seen", SEED, LOSS,
                             "-", *(node.namespace for node in nodes.values())],
                            lab.cgroup("switch"), stdout=log, stderr=log)
    until(lambda: "READY" in (folder / "switch.log").read_text(), 20, "the switch is ready")
    netlab.command("ip", "address", "add", "10.79.0.1/24", "dev", "tap0")
    netlab.command("ip", "link", "set", "tap0", "up")
    for name, node in nodes.items():
        node.ip("address", "add", f"{addresses[name]}/24", "dev", "eth0")
        node.ip("link", "set", "eth0", "up")
    return nodes, process


def translate(node):
    address, port = SERVICE.split(":")
    node.ip("route", "add", f"{address}/32", "via", next(iter(SERVERS)))
    node.nft(f"""
        table ip translation {{
            chain out {{
                type nat hook output priority -100;
                ip daddr {address} tcp dport {port} dnat to {EVERY[0]}
            }}
        }}""")


def talk(node, folder, *words):
    with (folder / f"{node.name}.log").open("w") as log:
        return node.start([sys.executable, "-B", HERE / "talk.py", *words], stdout=log, stderr=log)


def hold_against_truth(lab, folder, sink):
    nodes, switch = wire_up(lab, folder)
    undertrace = Undertrace(lab, folder, COLLECTOR, sink.address,
                            config=EXACT + "  max_bytes_per_hour: 0\n")
    undertrace.needs_kernel_events().start()
    for address, port in SERVERS.items():
        node = nodes[f"server-{port}"]
        talk(node, folder, "serve", node.name, COLLECTOR, f"{address}:{port}")
        until(lambda at=node, to=port: netlab.command(
            *at.enter("ss", "-ltnH", f"sport = :{to}")).strip(), 30, f"{node.name} listens")
    translate(nodes["translated"])
    callers = []
    threads = sum(settings[0] for settings in CLIENTS.values())
    for name, (own, both_ends, targets) in CLIENTS.items():
        share = -(-REQUESTS // threads) * own
        callers.append(talk(nodes[name], folder, "call", name, COLLECTOR, folder / f"{name}.told",
                            SEED, share, own, int(both_ends), FIRST_PORT, *targets))
    for caller in callers:
        equal(caller.wait(600), 0, "a caller's end")
    lab.stop(switch)
    truth = Truth(folder / "seen")
    requests = requests_of(folder, truth)
    until(lambda: take_spans(sink, requests) == 2 * len(requests), 30, "all spans arrive")
    print(f"{len(requests)} requests, {truth.lost} segments lost, "
          f"{undertrace.unrun_events()} events for which the kernel ran no program")
    print_table(requests)
    expect(len(requests) >= REQUESTS and truth.lost >= 0.3 * REQUESTS, "enough of both")
    check(requests)
    undertrace.stop()


@case
def test(lab, folder):
    sink = wire.ByteSink().start()
    try:
        hold_against_truth(lab, folder, sink)
    finally:
        sink.stop()
