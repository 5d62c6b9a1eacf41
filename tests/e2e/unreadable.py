# SPDX-License-Identifier: Apache-2.0
"""TLS between a client and a server: of a segment that is lost in the middle of an answer nobody
can read whose it is, but on both spans stands how long its bytes waited."""
import subprocess

from harness.bed import COLLECTOR, Bed, address
from harness.check import case, equal, expect
from harness.traffic import Client, Server

PORT = 8443
CALLS = 4
PROBE = "tail_loss_probe"


def make_certificate(folder):
    path = folder / "server.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                    "-subj", "/CN=server", "-keyout", path, "-out", folder / "certificate.pem"],
                   check=True, capture_output=True)
    with path.open("a") as out:
        out.write((folder / "certificate.pem").read_text())
    return path


def check(span, side):
    """At least one event, and each but probes tells the time since its bytes were first sent, which
    was within the call."""
    equal(span.evidence.get("tcp.match"), "connection", f"match of {span}")
    events = [event.attributes for event in span.kernel_events()
              if event.attributes["undertrace.side"] == side
              and event.attributes["undertrace.tcp.type"] != PROBE]
    expect(events, f"no retransmit of side {side} on {span}")
    for event in events:
        expect("undertrace.tcp.waited_min_ns" not in event, f"only a bound: {event} on {span}")
        waited_ns = event.get("undertrace.tcp.waited_ns", 0)
        expect(waited_ns > 0, f"no time: {event} on {span}")
        if span.kind == "CLIENT":
            expect(waited_ns <= span.end_ns - span.start_ns, f"not in the call: {event}, {span}")


@case
def test(lab, folder):
    bed = Bed(lab, folder)
    server = Server(bed.node("server", 20), "server", address(20), PORT, COLLECTOR, folder,
                    program=("tls_server.py", make_certificate(folder)))
    client = Client(bed.node("client", 10), "client", COLLECTOR, folder)
    url = server.url(60000).replace("http:", "https:")
    bed.pair(client.call(url))  # whose spans have come is whose sends are noted
    for _ in range(CALLS):
        # The first that comes in large is the certificate, then the answer begins.
        rule = client.node.drop("answers", f"tcp sport {PORT} meta length > 1400 "
                                "numgen inc mod 100000 == 2")
        call = client.call(url)
        equal(rule.dropped(), 1, "segments dropped")
        rule.remove()
        of_client, of_server = bed.pair(call)
        check(of_client, "peer")
        check(of_server, "local")
    bed.undertrace.stop()
