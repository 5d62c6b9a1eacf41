# SPDX-License-Identifier: Apache-2.0
"""A lost request and a lost answer, each on both spans of its connection with the right side; and
nothing on spans to another peer, nor on those of a second workload that runs the same code at the
same time.

    sides.py 4|6 timeout|probe [unix]    the family; whether the kernel may send tail-loss probes,
                                         which come first where a single segment is lost; whether
                                         spans are sent over a unix socket, by one client from
                                         namespaces of its own into which the socket is mounted
"""
import platform
import re
import sys

from harness.bed import COLLECTOR, Bed, address
from harness.check import case, equal, expect
from harness.traffic import Client, Server

FAMILY, REPAIR = int(sys.argv[1]), sys.argv[2]
OVER_UNIX = sys.argv[3:] == ["unix"]
ROUNDS = 4
TYPES = ("timeout",) if REPAIR == "timeout" else ("tail_loss_probe", "timeout")
PROTOCOL = {4: "ip", 6: "ip6"}[FAMILY]


# As a container has it: processes and mounts of its own, the folder of the socket at /mnt.
CONTAINED = ("unshare", "--pid", "--fork", "--kill-child", "--mount", "sh", "-c",
             'mount --bind "$1" /mnt && shift && exec "$@"', "sh")


def check_lost(client, server, counted, what):
    """Both spans of a connection on which the kernel counted `counted` segments sent again, as
    {"client": …, "server": …}."""
    loser = "client" if what == "request" else "server"
    for span, me in ((client, "client"), (server, "server")):
        evidence = span.evidence
        side = "local" if me == loser else "peer"
        equal(evidence.get("tcp.match"), "connection", f"{what}: match of {span}")
        # Where the answer was lost the client, which waits, may send its request again as well:
        # that is on its own span, and may be on the server's, which had the request already.
        everything = sum(counted.values())
        allowed = (everything,) if me == "client" else (counted[loser], everything)
        expect(span.segments() in allowed, f"{what}: segments on {span}, expected {allowed}")
        equal(evidence.get("tcp.side"), "both" if span.segments() > counted[loser] else side,
              f"{what}: side of {span}")
        events = [event for event in span.kernel_events()
                  if event.attributes["undertrace.side"] == side]
        equal(sum(event.attributes["undertrace.tcp.segments"] for event in events), counted[loser],
              f"{what}: segments in events of side {side} on {span}")
        expect(events[0].attributes["undertrace.tcp.type"] in TYPES, f"{what}: {events[0]}")
        if REPAIR == "probe":
            equal(span.kernel_events()[0].attributes["undertrace.side"], side,
                  f"{what}: side of the first event on {span}")
        else:
            equal(evidence.get("tcp.timeouts"), span.segments(), f"{what}: timeouts on {span}")


def check_clean(bed, call, what):
    for span in bed.pair(call):
        equal(span.evidence, {}, f"{what}: evidence on {span}")
        equal(span.kernel_events(), [], f"{what}: events on {span}")


def rounds(bed, lossy, calm, servers, what):
    """Every second call of `lossy` to the shop loses a segment; all four of a round at once."""
    calls = [{"url": server.url(), "connection": server.name} for server in servers]
    lost, done = 0, []
    for _ in range(2 * ROUNDS):
        before = lossy.node.retransmitted(), servers[0].node.retransmitted()
        lossy.send(calls)
        calm.send(calls)
        answers = lossy.receive(), calm.receive()
        done.append((answers, {"client": lossy.node.retransmitted() - before[0],
                               "server": servers[0].node.retransmitted() - before[1]}))
    for ((to_shop, to_other), calm_calls), counted in done:
        if sum(counted.values()) > 0:
            lost += 1
            check_lost(*bed.pair(to_shop), counted, what)
        else:
            check_clean(bed, to_shop, f"{what}: a call that lost nothing")
        check_clean(bed, to_other, f"{what}: a call to another peer")
        for call in calm_calls:
            check_clean(bed, call, f"{what}: a call of the second workload")
    equal(lost, ROUNDS, f"{what}: calls that lost a segment")


@case
def test(lab, folder):
    collector = f"unix://{folder}/run/otlp.sock" if OVER_UNIX else COLLECTOR
    bed = Bed(lab, folder, listen=collector)
    nodes = {name: bed.node(name, number) for name, number in
             (("lossy", 10), ("calm", 11), ("shop", 20), ("other", 21))}
    for node in nodes.values():
        if REPAIR == "timeout":
            node.sysctl("net.ipv4.tcp_early_retrans", 0)
    shop = Server(nodes["shop"], "shop", address(20, FAMILY), 8000, collector, folder)
    other = Server(nodes["other"], "other", address(21, FAMILY), 8000, collector, folder)
    if OVER_UNIX:
        lossy = Client(nodes["lossy"], "lossy", "unix:///mnt/otlp.sock", folder,
                       before=[*CONTAINED, f"{folder}/run"])
    else:
        lossy = Client(nodes["lossy"], "lossy", collector, folder)
    calm = Client(nodes["calm"], "calm", collector, folder)
    for client in (lossy, calm):
        client.calls([{"url": shop.url(), "connection": "shop"},
                      {"url": other.url(), "connection": "other"}])

    # A retransmit is a segment too: of three, one is lost, one is it again, one goes through.
    nth = "meta length > 100 numgen inc mod 3 == 0"
    rule = nodes["shop"].drop("requests", f"{PROTOCOL} saddr {address(10, FAMILY)} tcp dport 8000 "
                              f"{nth}")
    rounds(bed, lossy, calm, (shop, other), "request")
    equal(rule.dropped(), ROUNDS, "requests dropped")
    rule.remove()

    rule = nodes["lossy"].drop("answers", f"{PROTOCOL} saddr {address(20, FAMILY)} tcp sport 8000 "
                               f"{nth}")
    rounds(bed, lossy, calm, (shop, other), "answer")
    equal(rule.dropped(), ROUNDS, "answers dropped")
    rule.remove()

    for span in bed.pair(lossy.call(shop.url(), connection="shop")):
        expect(span.resource.get("undertrace.cgroup.path", "").endswith(f"/{span.service}"),
               f"the verified cgroup on the Resource of {span}: {span.resource}")
    if OVER_UNIX:
        metrics = bed.undertrace.metrics()
        release = tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2])
        way = "pidfd" if release >= (6, 13) else "proc"
        named = sum(value for name, value in metrics.items()
                    if name.startswith("undertrace_receiver_unix_peers_total")
                    and f'"{way}"' in name)
        expect(named >= 4, f"the cgroup of {named} peers of the socket is known by {way}")
        equal(metrics['undertrace_sender_spans_total{sender="no_peer"}'], 0, "unknown peers")
    doctor = bed.undertrace.command("doctor", "--admin", bed.undertrace.admin)
    equal(doctor.returncode, 0, "exit status of doctor where nothing is missing")

    def told(pattern):
        found = re.search(pattern, doctor.stdout)
        expect(found, f"doctor says {pattern!r}:\n{doctor.stdout}")
        return int(found[1])

    # Both ends of each call that lost something, of request or answer.
    joined = 2 * 2 * ROUNDS
    expect(told(r"spans joined .*\bconnection (\d+)") >= joined, f"joins:\n{doctor.stdout}")
    expect(told(r"spans by sender .*\bknown (\d+)") >= joined, f"senders:\n{doctor.stdout}")
    added = r" evidence +(\d+) bytes on spans; over max_bytes_per_hour: 0 events, 0 spans without"
    expect(told(added) > 0, f"evidence:\n{doctor.stdout}")
    bed.undertrace.stop()
