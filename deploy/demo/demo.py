# SPDX-License-Identifier: Apache-2.0
"""Four services, one link that loses packets, and undertrace showing which spans waited for it.

    order ─► inventory
      └────► payment ─✂─► ledger

Each service has its own network namespace and cgroup, as containers do; they meet on a bridge of
ours, where undertrace listens. On payment → ledger every few data segments are dropped as they
come in, of requests and of answers, by a packet-filter rule that counts.
"""
import argparse
import http.client
import json
import pathlib
import re
import signal
import socket
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "support"))

import check  # noqa: E402
import netlab  # noqa: E402
import sink  # noqa: E402

GATEWAY = "10.77.0.1"
COLLECTOR = f"{GATEWAY}:14317"  # not 4317, which a backend on this host may have on every address
ADDRESSES = {"order": "10.77.0.10:8000", "inventory": "10.77.0.11:8001",
             "payment": "10.77.0.12:8002", "ledger": "10.77.0.13:8003"}
CALLS = {"order": ("inventory", "payment"), "inventory": (), "payment": ("ledger",), "ledger": ()}
ORDERS = 60
HEALED_ORDERS = 10
PACE_SECONDS = 0.2  # from the begin of one order to that of the next
# The services' delay, undertrace's settling and batching, and the 2 s that `debug` waits for the
# rest of a trace.
LAST_TREE_SECONDS = 4.0
BLIND = 3  # exit status: all went well, but undertrace could not watch the kernel


def host(name):
    return ADDRESSES[name].split(":")[0]


def port(name):
    return ADDRESSES[name].split(":")[1]


def configuration(check_address, jaeger, folder):
    """Undertrace's: spans in, the kernel's evidence onto them, out to terminal and backends."""
    backends = {"check": check_address, **({"jaeger": jaeger} if jaeger else {})}
    lines = [f"""\
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: {COLLECTOR}
  ebpf:
    trace_context:
      enabled: true
processors:
  correlate:
  batch:
exporters:
  debug:
    verbosity: normal"""]
    for name, address in backends.items():
        lines.append(f"  otlp_grpc/{name}:\n    endpoint: http://{address}")
    exporters = ", ".join(["debug", *(f"otlp_grpc/{name}" for name in backends)])
    lines.append(f"""\
service:
  telemetry:
    metrics:
      level: none
  pipelines:
    traces:
      receivers: [otlp, ebpf]
      processors: [correlate, batch]
      exporters: [{exporters}]
undertrace:
  admin: unix://{folder}/admin.sock
""")
    return "\n".join(lines)


def wait_until_open(address, process, seconds=20):
    """Until somebody listens there; an error if the process ends before."""
    deadline = time.monotonic() + seconds
    where, at = address.rsplit(":", 1)
    while True:
        try:
            socket.create_connection((where, int(at)), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise netlab.LabError(f"nothing listens on {address}") from None
            time.sleep(0.02)


class Shop:
    """The services and the link between payment and ledger."""

    def __init__(self, lab, bridge, log):
        self.nodes, self.processes = {}, {}
        for name in ADDRESSES:
            self.nodes[name] = lab.node(name)
            lab.attach(self.nodes[name], bridge, f"{host(name)}/24")
            # The kernel may probe for a lost tail at the very moment of the timeout; without that
            # the cause that is shown is the plain one.
            self.nodes[name].sysctl("net.ipv4.tcp_early_retrans", 0)
            self.nodes[name].acknowledge_at_once()
        for name, callees in CALLS.items():
            self.processes[name] = self.nodes[name].start(
                [sys.executable, HERE / "service.py", name, ADDRESSES[name], COLLECTOR,
                 *(f"{callee}={ADDRESSES[callee]}" for callee in callees)],
                stdout=log, stderr=log)
        for name, process in self.processes.items():
            wait_until_open(ADDRESSES[name], process)
        self.customer = http.client.HTTPConnection(host("order"), int(port("order")), timeout=30)
        self.rules = []

    def lose_packets(self):
        """From now on every 7th data segment of payment's requests and every 9th of ledger's
        answers is lost. What is longer than 100 bytes carries data."""
        self.rules = [
            self.nodes["ledger"].drop("requests", f"ip saddr {host('payment')} tcp dport "
                                      f"{port('ledger')} meta length > 100 numgen inc mod 7 == 3"),
            self.nodes["payment"].drop("answers", f"ip saddr {host('ledger')} tcp sport "
                                       f"{port('ledger')} meta length > 100 numgen inc mod 9 == 5"),
        ]

    def dropped(self):
        return sum(rule.dropped() for rule in self.rules)

    def heal(self):
        for rule in self.rules:
            rule.remove()
        self.rules = []

    def retransmitted(self):
        """By the kernel's counter, at both ends of the link."""
        return sum(netlab.retransmitted_segments(self.processes[name].pid)
                   for name in ("payment", "ledger"))

    def order(self, number):
        before, start = self.retransmitted(), time.monotonic()
        self.customer.request("POST", f"/order?number={number}")
        answer = json.loads(self.customer.getresponse().read())
        seconds = time.monotonic() - start
        return check.Order(answer["trace_id"], seconds, self.retransmitted() - before)

    def take_orders(self, count):
        orders = []
        begin = time.monotonic()
        for number in range(count):
            orders.append(self.order(number))
            time.sleep(max(0.0, begin + (number + 1) * PACE_SECONDS - time.monotonic()))
        return orders


def start_undertrace(lab, program, folder, check_address, jaeger):
    config = folder / "undertrace.yaml"
    config.write_text(configuration(check_address, jaeger, folder))
    log = folder / "undertrace.log"
    # In a cgroup of its own, so that it goes with the rest even if this program is killed.
    with log.open("w") as output:
        process = lab.start([program, "run", "--config", config], lab.cgroup("undertrace"),
                            stderr=output)
    try:
        wait_until_open(COLLECTOR, process)
    except netlab.LabError as error:
        raise netlab.LabError(f"{error}; undertrace says:\n{log.read_text()}") from None
    return process, log


def missing_rights(log):
    """Why undertrace cannot watch the kernel here, if it cannot."""
    for line in log.read_text().splitlines():
        if "event=ebpf_unavailable" in line:
            reason = re.search(r'reason="([^"]*)"', line)
            return reason.group(1) if reason else line
    return None


def wait_for_spans(received, orders, seconds=LAST_TREE_SECONDS, trees_seconds=2.2):
    """Until every order's spans of the lossy link arrived, and `debug` printed their trees."""
    deadline = time.monotonic() + seconds
    wanted = {(order.trace_id, *end) for order in orders for end in check.LOSSY}
    while time.monotonic() < deadline:
        if wanted <= {(span.trace_id, span.service, span.kind) for span in received.spans()}:
            break
        time.sleep(0.1)
    time.sleep(trees_seconds)


def show(text):
    print(text, flush=True)


def fails(faults):
    """Shows what is not right; whether there was something."""
    faults = list(faults)
    for fault in faults:
        show(f"demo: FAILED: {fault}")
    return bool(faults)


def lossy_part(shop, received, count, blind=False):
    """Orders over the link that loses packets; whether some were lost and all evidence is right."""
    # Packets are read only of programs that have sent spans: on connections they make from then on.
    wait_for_spans(received, [shop.order("first")], trees_seconds=0)
    shop.lose_packets()
    show(f"demo: {count} orders; payment → ledger loses every 7th data segment of the requests "
         "and every 9th of the answers")
    orders = shop.take_orders(count)
    wait_for_spans(received, orders)
    result, dropped = check.compare(orders, received.spans()), shop.dropped()
    show(f"demo: check of the {count} orders")
    for line in check.report(result, dropped):
        show(line)
    return not fails([*check.faults(result, blind), *check.absences(result, dropped, blind)])


def healed_part(shop, received, count, blind=False):
    """The link loses nothing any more; whether that shows at once. An order may still be slow: the
    machine may be busy."""
    shop.heal()
    show(f"demo: the link is healed; {count} more orders")
    orders = shop.take_orders(count)
    wait_for_spans(received, orders)
    result = check.compare(orders, received.spans())
    slowest = max(order.seconds for order in orders)
    show(f"demo: {result.healthy} of {count} orders healthy, slowest {slowest * 1000:.0f} ms; "
         f"{result.healthy_carrying + result.slow_carrying} carry retransmissions")
    again = [f"{result.retransmitted} segments were sent again"] if result.retransmitted else []
    return not fails([*check.faults(result, blind), *again])


def run(arguments, lab, folder):
    """The whole demo; 0 if all it showed is right, BLIND where there was nothing to show."""
    received = sink.Sink()
    try:
        bridge = lab.bridge(f"{GATEWAY}/24")
        process, log = start_undertrace(lab, arguments.undertrace, folder, received.address,
                                        arguments.jaeger)
        blind = missing_rights(log)
        if blind:
            show(f"demo: no evidence from the kernel here: {blind}")
        with (folder / "services.log").open("w") as output:
            shop = Shop(lab, bridge, output)
            right = lossy_part(shop, received, arguments.orders, blind)
            right &= healed_part(shop, received, min(HEALED_ORDERS, arguments.orders), blind)
        if lab.stop(process) != 0:
            show("demo: undertrace did not end well:\n" + log.read_text()[-2000:])
            right = False
    finally:
        received.stop()
    show("demo: try it under an application of your own:\n"
         f"    {arguments.undertrace} &\n"
         "    OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317 YOUR-APPLICATION")
    if not right:
        return 1
    return BLIND if blind else 0


def main():
    parser = argparse.ArgumentParser(description="Undertrace's demo")
    parser.add_argument("--undertrace", required=True, help="the program")
    parser.add_argument("--jaeger", metavar="ADDRESS:PORT",
                        help="send the traces to this Jaeger (OTLP/gRPC) too")
    parser.add_argument("--orders", metavar="N", type=int, default=ORDERS,
                        help="over the link that loses packets (default: %(default)s); the first "
                        "segment is lost in the 4th")
    arguments = parser.parse_args()
    if arguments.orders < 1:
        parser.error("--orders: at least 1")
    # So that `with` cleans up on every way out; what SIGKILL leaves, the next run removes.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        with tempfile.TemporaryDirectory(prefix="utdemo-") as folder, \
                netlab.Lab("utdemo", "utd", "undertrace-demo") as lab:
            return run(arguments, lab, pathlib.Path(folder))
    except netlab.LabError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
