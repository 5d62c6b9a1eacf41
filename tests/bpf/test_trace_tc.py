#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The ids of retransmitted requests as the egress hook of interfaces finds them: the same as by
cgroup, wherever the packets go; and what is left at the interfaces by whom."""
import os
import re
import signal
import time

import test_trace_context as by_cgroup
from harness import UNLIMITED, Lab, cgroup_id, main, netlab

PORT = by_cgroup.PORT
STREAMS = ("keep-alive and pipelining", "bodies full of heads", "cut every 127 bytes", "chunked",
           "a head of 64 KiB", "sendfile", "options")
LOST = ("two lengths", "upgrade", "a folded line", "TLS")
MARK = "0x75746330"


def chosen(streams, names):
    found = [stream for stream in streams if stream.name in names]
    assert len(found) == len(names)
    return found


class TraceTc(by_cgroup.TraceContext):
    """By what the left node's packets go through."""

    def watch_tc(self, interfaces="[]", tcx=True):
        self.environment("WATCH_FOLLOW", str(cgroup_id(self.lab.left.cgroup)))
        if not tcx:
            self.environment("WATCH_WITHOUT_TCX", "1")
        return self.watch_with(
            UNLIMITED + "trace_context: {enabled: true, attach: tc, "
            f"interfaces: {interfaces}, namespaces: [/run/netns/{self.lab.left.namespace}]}}\n")

    def environment(self, name, value):
        os.environ[name] = value
        self.addCleanup(os.environ.pop, name, None)

    def play(self, streams, address=Lab.V4[1], **server):
        self.serve(self.lab.right, "::", PORT, **server)
        self.send_with_losses(self.sender(streams, address))

    def check_all_found(self, streams):
        self.assertGreater(sum(self.check(stream) for stream in streams), 0)
        metrics = self.watch.end()
        self.assertEqual(self.losses(metrics), {})
        self.assertEqual(metrics["undertrace_trace_context_sockets_total"], len(streams))
        return metrics

    # Of the tests by cgroup those that say something of this way, with streams of their own.
    test_readable_requests_are_found_over_ipv4 = None
    test_of_too_many_requests_in_flight_the_latest_are_known = None
    test_packet_of_more_pieces_than_are_looked_at_ends_it = None
    test_root_of_a_cgroup_namespace_is_no_root = None
    test_sockets_older_than_the_program_tell_nothing = None
    test_workloads_that_send_no_spans_are_not_read = None
    test_no_more_sockets_than_allowed = None

    def test_readable_requests_are_found_by_links(self):
        self.watch_tc()
        streams = chosen(by_cgroup.readable(), STREAMS)
        self.play(streams)
        metrics = self.check_all_found(streams)
        self.assertEqual(metrics["undertrace_trace_context_interfaces{by='filter'}"], 0)
        self.assertEqual(metrics["undertrace_trace_context_interfaces{by='tcx'}"], 2)

    def test_readable_requests_are_found_over_ipv6(self):
        self.watch_tc(tcx=False)
        streams = chosen(by_cgroup.readable(), STREAMS)
        self.play(streams, Lab.V6[1])
        metrics = self.check_all_found(streams)
        self.assertEqual(metrics["undertrace_trace_context_interfaces{by='tcx'}"], 0)
        self.assertEqual(metrics["undertrace_trace_context_interfaces{by='filter'}"], 2)

    def test_what_is_not_surely_framed_gives_no_more_ids(self):
        self.watch_tc()
        streams = chosen(by_cgroup.lost(), LOST)
        self.play(streams)
        self.assertEqual(self.losses(self.watch.end()),
                         {"ambiguous_length": 1, "upgrade": 1, "malformed": 1, "not_http": 1})

    def test_requests_over_loopback_are_found(self):
        self.watch_tc()
        self.lab.right = self.lab.left  # who serves, and loses
        streams = chosen(by_cgroup.readable(), STREAMS[:3])
        self.play(streams, "127.0.0.1", cgroup=self.lab.cgroup("other"))  # that is not followed
        self.check_all_found(streams)

    def test_packets_that_come_by_twice_are_read_once(self):
        self.lab.left.ip("link", "add", "outer", "type", "bridge", "forward_delay", "0")
        self.lab.left.ip("link", "set", "outer", "up")
        self.lab.left.ip("link", "set", "eth0", "master", "outer")
        self.lab.left.ip("address", "flush", "dev", "eth0")
        self.lab.left.ip("address", "add", f"{Lab.V4[0]}/24", "dev", "outer")
        self.watch_tc()
        streams = chosen(by_cgroup.readable(), STREAMS[:2])
        self.play(streams)
        self.check_all_found(streams)

    def new_link(self, name, net):
        """Another way from left to right, at 10.NET.0.1 and .2."""
        self.lab.link(self.lab.left, self.lab.right, name, [f"10.{net}.0.1/24"],
                      [f"10.{net}.0.2/24"])
        return f"10.{net}.0.2"

    def play_later(self, **options):
        """An interface that goes and comes again: its packets are read."""
        self.watch_tc(**options)
        self.new_link("later", 79)
        self.lab.left.ip("link", "delete", "later")
        address = self.new_link("later", 79)
        self.wait_until(lambda: self.watch.log().count("interface=later") == 2)
        streams = chosen(by_cgroup.readable(), STREAMS[:1])
        self.play(streams, address)
        metrics = self.check_all_found(streams)
        attached = "undertrace_trace_context_interfaces{by='%s'}"
        # The loopback, eth0 and the later one.
        self.assertEqual(metrics[attached % "tcx"] + metrics[attached % "filter"], 3)

    def test_interfaces_that_come_are_followed_by_links(self):
        self.play_later()

    def test_interfaces_that_come_are_followed_by_filters(self):
        self.play_later(tcx=False)

    def test_only_the_interfaces_asked_for_are_read(self):
        self.watch_tc("[lo, eth?]")
        other = self.new_link("other", 80)
        streams = chosen(by_cgroup.readable(), STREAMS[:1])
        self.play(streams, other)
        self.nothing_is_told(streams)
        metrics = self.watch.end()
        self.assertEqual(metrics["undertrace_trace_context_interfaces{by='tcx'}"], 2)

    def test_a_name_that_fits_no_more_is_let_go_and_one_that_fits_is_taken(self):
        self.watch_tc("[here]", tcx=False)
        self.new_link("there", 81)
        self.assertEqual(self.filters("there"), [])
        self.lab.left.ip("link", "set", "there", "name", "here")
        self.wait_until(lambda: self.filters("here") == [MARK])
        self.lab.left.ip("link", "set", "here", "name", "there")
        self.wait_until(lambda: self.filters("there") == [])

    # ---- what is left behind ----

    @staticmethod
    def kill(watch):
        watch.signal(signal.SIGKILL)
        watch.process.wait()
        watch.thread.join(10)
        watch.process.stdout.close()
        watch.errors.close()

    def wait_until(self, condition, seconds=20):
        deadline = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def tc(self, *words):
        return netlab.command(*self.lab.left.enter("tc", *words))

    def filters(self, interface="eth0", pattern=r"handle (0x757463\w+)", hook="egress"):
        return re.findall(pattern, self.tc("filter", "show", "dev", interface, hook))

    def test_what_a_killed_process_left_is_replaced_and_what_is_others_stays(self):
        self.tc("qdisc", "add", "dev", "eth0", "clsact")
        self.tc("filter", "add", "dev", "eth0", "egress", "pref", "1", "bpf", "bytecode",
                "1,6 0 0 0", "classid", "1:1")  # which says: none of mine
        others = self.tc("filter", "show", "dev", "eth0", "egress")
        first = self.watch_tc(tcx=False)
        self.assertEqual(self.filters(), [MARK])
        program = self.filters(pattern=r"trace_tc.* id (\d+)")
        self.kill(first)
        self.assertEqual(self.filters(), [MARK])

        second = self.watch_tc(tcx=False)
        self.assertEqual(self.filters(), [MARK])
        self.assertNotEqual(self.filters(pattern=r"trace_tc.* id (\d+)"), program)
        third = self.watch_tc(tcx=False)
        self.assertEqual(sorted(self.filters()), [MARK, "0x75746331"])
        second.end()
        self.assertEqual(self.filters(), ["0x75746331"])
        third.end()
        self.assertEqual(self.tc("filter", "show", "dev", "eth0", "egress"), others)
        self.assertIn("clsact", self.tc("qdisc", "show", "dev", "eth0"))

    def test_what_a_killed_process_left_is_taken_out_by_one_that_needs_no_filters(self):
        self.kill(self.watch_tc(tcx=False))
        self.assertEqual(self.filters(), [MARK])
        del os.environ["WATCH_WITHOUT_TCX"]
        self.watch_tc()
        self.assertEqual(self.filters(), [])

    def test_a_filter_that_others_took_out_comes_back(self):
        self.watch_tc(tcx=False)
        self.tc("qdisc", "delete", "dev", "eth0", "clsact")
        self.wait_until(lambda: self.filters() == [MARK])

    def test_an_interface_whose_place_others_hold_is_refused_and_the_others_are_watched(self):
        self.tc("qdisc", "add", "dev", "eth0", "ingress")
        qdiscs = self.tc("qdisc", "show", "dev", "eth0")
        self.watch_tc(tcx=False)
        self.play(chosen(by_cgroup.readable(), STREAMS[:1]))
        self.assertEqual(self.filters(hook="ingress"), [])
        self.assertIn("interface=eth0 ", self.watch.log())
        metrics = self.watch.end()
        self.assertGreaterEqual(metrics["undertrace_trace_context_interfaces_refused_total"], 1)
        self.assertEqual(metrics["undertrace_trace_context_interfaces{by='filter'}"], 1)
        self.assertEqual(metrics["undertrace_trace_context_requests_total{span='named'}"], 0)
        self.assertEqual(self.tc("qdisc", "show", "dev", "eth0"), qdiscs)

    def test_a_namespace_that_cannot_be_entered_is_told_and_the_others_are_watched(self):
        self.environment("WATCH_FOLLOW", str(cgroup_id(self.lab.left.cgroup)))
        own = f"/run/netns/{self.lab.left.namespace}"
        self.watch_with(UNLIMITED + "trace_context: {enabled: true, attach: tc, "
                        f"namespaces: [/run/netns/none-such, {own}, {own}]}}\n")
        self.assertIn("/run/netns/none-such", self.watch.log())
        streams = chosen(by_cgroup.readable(), STREAMS[:1])
        self.play(streams)
        metrics = self.check_all_found(streams)
        self.assertEqual(metrics["undertrace_trace_context_interfaces{by='tcx'}"], 2)
        self.assertEqual(metrics["undertrace_ebpf_program_attached{program='trace_tc'}"], 0)


if __name__ == "__main__":
    main()
