# SPDX-License-Identifier: Apache-2.0
"""What undertrace recorded against what the kernel counted: the segments of its records without an
error are exactly TcpRetransSegs of each namespace, for handshakes, small and large answers. A run
in which the kernel did not run the programs for an event (support/unrun.py) says nothing and is
done again."""
import time

from harness import capture
from harness.bed import COLLECTOR, Bed, address
from harness.check import case, equal, expect
from harness.traffic import Client, Server

CALLS = 40
CONNECTIONS = 4
BIG = 300_000


def lose_and_count(client_node, server_node, folder):
    """Traffic of all kinds with losses; the segments that each end's kernel has sent again."""
    server = Server(server_node, "server", address(20), 8000, COLLECTOR, folder)
    client = Client(client_node, "client", COLLECTOR, folder)
    client.calls([{"url": server.url(), "connection": str(index)} for index in range(CONNECTIONS)])
    # Handshakes, bulk and single segments: a tenth of all that comes in from the server is lost,
    # and a fifteenth of what the client sends.
    rules = [client_node.drop("answers", "tcp sport 8000 numgen inc mod 10 == 4"),
             server_node.drop("requests", "tcp dport 8000 numgen inc mod 15 == 7")]
    shakes = server_node.drop("handshakes", "tcp dport 8000 tcp flags & (syn | ack) == syn "
                              "numgen inc mod 8 == 3")
    answers = client_node.drop("shaken", "tcp sport 8000 tcp flags & (syn | ack) == (syn | ack) "
                               "numgen inc mod 8 == 2")
    for number in range(CALLS):
        answer = BIG if number % 4 == 0 else 200
        client.calls([{"url": server.url(answer), "connection": f"{number // 10}-{index}"}
                      for index in range(CONNECTIONS)])
    for rule in (shakes, answers):
        expect(rule.dropped() > 0, "no handshake was hit")
    for rule in rules:
        expect(rule.dropped() > 20, f"dropped {rule.dropped()}, too few to mean anything")
        rule.remove()

    time.sleep(0.5)  # for acknowledgements on their way
    return {address(number): node.retransmitted()
            for number, node in ((10, client_node), (20, server_node))}


@case
def test(lab, folder):
    bed = Bed(lab, folder)
    client_node, server_node = bed.node("client", 10), bed.node("server", 20)
    counted = lose_and_count(client_node, server_node, folder)
    bed.undertrace.stop()

    records = capture.retransmits(folder / "kernel.capture")
    sent = [record for record in records if record.sent]
    for end, segments in counted.items():
        equal(sum(record.segments for record in sent if record.local[0] == end), segments,
              f"segments in the records of {end} against its TcpRetransSegs")
    equal({record.cgroup_id for record in sent if record.local[0] in counted},
          {node.cgroup.stat().st_ino for node in (client_node, server_node)},
          "cgroups of the records")
    causes = {record.cause for record in sent}
    expect(causes >= {"fast", "syn", "syn_ack"}, f"the causes were {causes}")
    print(f"counted {counted}, in {len(sent)} records, {len(records) - len(sent)} more not sent; "
          f"causes {causes}")
