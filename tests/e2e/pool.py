# SPDX-License-Identifier: Apache-2.0
"""A pool of connections to one peer, of which one loses segments.

A span that names both ends of its socket gets the evidence of its own connection and no other; one
that names only the remote end cannot be told from its neighbours and says so (`peer`, shared_by).
The server's spans name the client's port, so theirs is always exact.
"""
from harness.bed import COLLECTOR, Bed, address
from harness.check import case, equal, expect
from harness.traffic import Client, Server

POOL = 8
FIRST_PORT = 41000
CALLS = 4


def pool(url, named):
    first = FIRST_PORT + (100 if named else 0)
    return [{"url": url, "connection": f"{named}-{index}", "named": named,
             "source": [address(10), first + index]} for index in range(POOL)]


@case
def test(lab, folder):
    bed = Bed(lab, folder)
    client_node, server_node = bed.node("client", 10), bed.node("server", 20)
    server = Server(server_node, "server", address(20), 8000, COLLECTOR, folder)
    client = Client(client_node, "client", COLLECTOR, folder)
    for named in (True, False):
        calls = pool(server.url(), named)
        client.calls(calls)
        lossy_port = calls[0]["source"][1]
        rule = server_node.drop("requests", f"tcp sport {lossy_port} meta length > 100 "
                                "numgen inc mod 2 == 0")
        done = []
        for _ in range(CALLS):
            before = client_node.retransmitted()
            answers = client.calls(calls)
            done.append((answers, client_node.retransmitted() - before))
        for answers, counted in done:
            expect(counted >= 1, "the client sent nothing again")
            for index, call in enumerate(answers):
                of_client, of_server = bed.pair(call)
                own = counted if index == 0 else 0
                # On a busy machine some are sent again although the first has arrived.
                expect(of_server.segments() in (range(1, own + 1) if own else (0,)),
                       f"connection {index}: {own} sent again, on {of_server}")
                if named:
                    equal(of_client.segments(), own, f"connection {index}: on {of_client}")
                elif of_client.segments():
                    equal(of_client.evidence["tcp.match"], "peer", f"match of {of_client}")
                    # How many of them are in hand at once is the exporters' choice.
                    expect(of_client.evidence["shared_by"] in range(1, POOL + 1),
                           f"shared_by of {of_client}")
                if index == 0:
                    expect(of_client.segments(), f"the call that waited: {of_client}")
                    equal(of_server.evidence["tcp.match"], "connection", f"match of {of_server}")
                    equal(of_client.evidence["tcp.match"], "connection" if named else "peer",
                          f"match of {of_client}")
        rule.remove()
    bed.undertrace.stop()
