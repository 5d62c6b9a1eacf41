# SPDX-License-Identifier: Apache-2.0
"""A backend that is known by a name: of several addresses, of both families, `dns:` sends to all of
them alike, and to the others when one goes; when the name moves it is asked for again, by every
exporter. Nothing is lost meanwhile. What the name says stands in a hosts file of the test's own."""
import json
import re

from harness import wire
from harness.check import case, equal, expect, until
from harness.http_sink import HttpSink
from harness.program import Undertrace

LISTEN, ALL, FIRST, HTTP = "127.0.0.1:15317", 14318, 14319, 14316
CONFIG = """\
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: {listen}}}
exporters:
  otlp_grpc/all: {{endpoint: "dns:///backend.test:14318", tls: {{insecure: true}}, RETRY}}
  otlp_grpc/first: {{endpoint: "http://backend.test:14319", RETRY}}
  otlp_http: {{endpoint: "http://backend.test:14316", RETRY}}
service:
  pipelines:
    traces: {{receivers: [otlp], exporters: [otlp_grpc/all, otlp_grpc/first, otlp_http]}}
undertrace:
  admin: unix://{folder}/admin.sock
""".replace("RETRY", "retry_on_failure: {{initial_interval: 100ms, max_interval: 500ms}}")
BEFORE = ["127.0.0.1", "127.0.0.2", "::1"]
AFTER = "127.0.0.3"
REQUESTS = 60


def say(hosts, addresses):
    """The file stays the same one: it is mounted."""
    hosts.write_text("".join(f"{address} backend.test\n" for address in addresses))


def sink(address, port):
    host = f"[{address}]" if ":" in address else address
    return wire.ByteSink(f"{host}:{port}").start()


class Flow:
    def __init__(self):
        self.sender, self.sent = wire.Sender(LISTEN), []

    def send(self, count):
        for _ in range(count):
            body = wire.numbered_request(len(self.sent), 1)
            equal(self.sender.send(body)[0].name, "OK", "answer")
            self.sent.append(wire.spans_of(body)[0])

    def check_arrival(self, what, bodies):
        """Each span is at one of the backends; `bodies` are all that they have. What was under way
        when one stopped may be at two."""
        def spans():
            return sorted({span for body in bodies() for span in wire.spans_of(body)})
        until(lambda: len(spans()) >= len(self.sent), 20, f"all spans arrive {what}")
        expect(spans() == sorted(self.sent), f"other spans {what}")


def connected(undertrace, exporter):
    """The addresses that it has connected to; the first may have been replaced meanwhile."""
    return set(re.findall(rf"event=export_connected exporter={exporter} address=(\S+)",
                          undertrace.log.read_text()))


@case
def test(lab, folder):
    hosts = folder / "hosts"
    say(hosts, BEFORE)
    several = [sink(address, ALL) for address in BEFORE]
    first, plain = sink(BEFORE[0], FIRST), HttpSink(HTTP)
    undertrace = Undertrace(
        lab, folder, LISTEN, "", config=CONFIG,
        before=("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"',
                hosts)).start()
    flow = Flow()
    until(lambda: len(connected(undertrace, "otlp_grpc/all")) == 3, 10,
          "there is a connection to each address")
    flow.send(REQUESTS)
    flow.check_arrival("by dns:", lambda: [body for one in several for body in one.bodies])
    shares = [len(one.bodies) for one in several]
    expect(min(shares) >= REQUESTS // 6, f"one address gets much less than another: {shares}")

    several[1].stop()
    flow.send(REQUESTS)
    flow.check_arrival("where one address is gone",
                       lambda: [body for one in several for body in one.bodies])

    say(hosts, [AFTER])
    for one in (several[0], several[2], first):
        one.stop()
    plain.stop()
    moved, first_moved, plain_moved = (sink(AFTER, ALL), sink(AFTER, FIRST),
                                       HttpSink(HTTP, host=AFTER))
    flow.send(REQUESTS)
    several.append(moved)
    flow.check_arrival("by dns: when the name has moved",
                       lambda: [body for one in several for body in one.bodies])
    flow.check_arrival("by gRPC when the name has moved",
                       lambda: first.bodies + first_moved.bodies)
    flow.check_arrival("by HTTP when the name has moved", lambda: [
        body for one in (plain, plain_moved) for _, _, body in one.requests])
    for one in (moved.bodies, first_moved.bodies, plain_moved.requests):
        expect(one, "what was sent last came to the new address")
    print(json.dumps({"spans": len(flow.sent), "shares": shares}))
    undertrace.stop()
    for one in (moved, first_moved, plain_moved):
        one.stop()
