#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""When the bytes of a retransmit were first sent, and by which thread: what the records say,
against what the program that sent them saw on its clock, and which thread it was."""
import json
import os
import re
import time

from harness import WATCH, KernelTest, Lab, cgroup_id, main, netlab

PORT = 8140
DATA = f"tcp dport {PORT} meta length > 100"
# A send that a program saw begin and end happened in between; the clocks are read a little apart.
EARLY_NS, LATE_NS = 1000000, 50000000


class Sends(KernelTest):
    """A client whose sends are noted, on both sides of the socket."""
    settings = None
    follow = True

    def setUp(self):
        super().setUp()
        if self.follow:
            os.environ["WATCH_FOLLOW"] = str(cgroup_id(self.lab.left.cgroup))
            self.addCleanup(os.environ.pop, "WATCH_FOLLOW", None)
        self.watch_with("retransmits_per_second: 0\ndrain_interval: 20ms\n")
        self.serve(self.lab.right, "::", PORT)
        self.sender = self.client(self.lab.left)

    def connect(self, warm):
        self.connection = self.sender.connect(Lab.V4[1], PORT)
        self.sender.request(warm, 4)
        self.sent, self.threads, self.at = [], [], 1 + warm

    def ask(self, size):
        """Sends without waiting for an answer, and notes when."""
        answer = self.sender.do(f"ask {size} 4", "asked")
        self.sent.append((self.at, self.at + size, answer["sent"]))
        self.threads.append(answer["thread"])
        self.at += size

    def take(self):
        self.sender.do(f"take {4 * len(self.sent)}", "taken", seconds=60)

    def sent_with(self, offset):
        """When the byte at this offset was sent: no earlier and no later than."""
        for begin, end, times in self.sent:
            if begin <= offset < end:
                return times[0] - EARLY_NS, times[1] + LATE_NS
        raise AssertionError(f"nothing was sent at {offset}: {self.sent}")

    def threads_of(self, begin, end):
        """That sent the bytes at these offsets."""
        return {thread for (first, last, _), thread in zip(self.sent, self.threads)
                if first < end and last > begin}

    def check(self):
        """All that is told of the retransmits is right; those whose send is known, by the offsets
        of their first byte."""
        known = {}
        for record in self.retransmits(self.connection):
            offset = (record["seq"] - record["isn"][0]) % 2**32
            if "thread" in record:
                self.assertEqual(self.threads_of(offset, offset + record["bytes"]),
                                 {record["thread"]}, record)
            known.setdefault(offset, []).append(record.get("sent_exact", False))
            if "since_sent_us" not in record:
                continue
            first_ns = record["boot_ns"] - record["since_sent_us"] * 1000
            low, high = self.sent_with(offset)
            self.assertLessEqual(first_ns, high, record)
            if not record["sent_exact"]:
                continue
            self.assertLessEqual(low, first_ns, record)
            last_ns = first_ns + record["sent_within_us"] * 1000
            low, _ = self.sent_with(offset + record["bytes"] - 1)
            self.assertLessEqual(low, last_ns, record)
        return known

    def again(self):
        """Whether the time was told, of each retransmit of the first bytes, once some were seen."""
        wanted = {"type": "retransmit", "cookie": self.connection["cookie"]}
        self.watch.wait(1, **wanted)
        time.sleep(0.2)  # for the records to be read
        return self.check().get(self.sent[0][0], [])

    def lose_one(self, times=1):
        """The first of three requests is lost so often, the others arrive."""
        self.connect(200)
        rule = self.lab.right.drop("first", f"tcp dport {PORT} meta length 700-800 "
                                            f"numgen inc mod 1000 < {times}")
        for size in (700, 300, 300):
            self.ask(size)
        self.take()
        self.assertEqual(rule.dropped(), times)
        rule.remove()
        return self.again()

    def lose_all(self, sizes, warm=200):
        """Nothing arrives until a timeout has passed."""
        self.connect(warm)
        rule = self.lab.right.drop("whole", DATA)
        for size in sizes:
            self.ask(size)
            time.sleep(0.001)  # sends that follow each other closely are noted as one
        in_flight = re.findall(r" unacked:(\d+)", netlab.command(
            *self.lab.left.enter("ss", "-tinHO", f"dport = :{PORT}")))
        self.watch.wait(1, type="retransmit", cookie=self.connection["cookie"], cause="timeout")
        rule.remove()
        self.take()
        return self.again(), max(map(int, in_flight))

    def lose_after_a_probe(self):
        """The first request is alone, and lost with the probe of it; then another arrives."""
        self.connect(200)
        rule = self.lab.right.drop("first", f"tcp dport {PORT} meta length 700-800 "
                                            "numgen inc mod 1000 < 2")
        self.ask(700)
        self.watch.wait(1, type="retransmit", cookie=self.connection["cookie"])
        self.ask(300)
        self.take()
        rule.remove()
        return self.again()

    def once_in_three(self, scenario, *arguments, least=1):
        """Now and then a kernel runs no program for an event; what is told is right all the same.
        Here of at least so many retransmits all told the time."""
        for _ in range(3):
            again = scenario(*arguments)
            self.sender.close()
            if len(again) >= least and all(again):
                return
        self.fail(f"the times of these: {again}")

    def lose_the_last(self):
        """Of three requests one after the other, so that only a probe can find that it is missing.
        The records of it; none if the kernel put it together with another."""
        self.connect(200)
        rule = self.lab.right.drop("last", f"tcp dport {PORT} meta length 500-600 "
                                           "numgen inc mod 1000 == 0")
        for size in (700, 300, 500):
            self.ask(size)
        self.take()
        dropped = rule.dropped()
        rule.remove()
        if not dropped:
            return []
        self.again()
        return [record for record in self.retransmits(self.connection)
                if (record["seq"] - record["isn"][0]) % 2**32 == self.sent[2][0]]

    def needs(self, name):
        for program in map(json.loads, netlab.command(WATCH, "--doctor").splitlines()):
            if program["name"] == name and not program["works"]:
                self.skipTest(program["reason"])

    def once_in_many(self, scenario):
        """A kernel may run no program for an event, and a busy machine lets a send take its time;
        what is told is right all the same. Here something is told at least once."""
        for _ in range(40):
            told = scenario()
            self.sender.close()
            if told:
                return
        self.fail("nothing was told")


class SendTimes(Sends):
    def test_thread_that_sent_the_bytes_is_told(self):
        self.needs("send_begins")

        def threads():
            self.lose_one()
            return [record for record in self.retransmits(self.connection) if "thread" in record]
        self.once_in_many(threads)

    def test_send_is_known_of_what_only_a_probe_finds_missing(self):
        self.needs("send_begins")
        self.needs("send_ends")
        self.once_in_many(lambda: [record for record in self.lose_the_last()
                                   if record["cause"] == "tail_loss_probe"
                                   and record.get("sent_exact") and "thread" in record])

    def test_every_retransmit_of_the_same_bytes_tells_their_first_send(self):
        self.once_in_three(self.lose_one, 3, least=2)

    def test_what_was_probed_before_is_known_when_it_is_sent_again_later(self):
        self.once_in_three(self.lose_after_a_probe, least=2)

    def test_a_flight_of_which_nothing_arrives_is_told_apart_by_its_sends(self):
        self.once_in_three(lambda: self.lose_all((700, 300, 400))[0])

    def test_connections_one_after_the_other_have_nothing_of_each_other(self):
        for _ in range(3):
            self.once_in_three(self.lose_one)
        metrics = self.watch.end()
        self.assertGreaterEqual(metrics["undertrace_ebpf_send_times_total{noted='whole'}"], 3)

    def test_more_than_there_is_room_for_is_not_told_and_what_is_told_is_right(self):
        self.lab.left.sysctl("net.ipv4.tcp_slow_start_after_idle", 0)
        # The first timeout comes when all has been sent.
        route = self.lab.left.ip("-4", "route", "show").splitlines()[0].split()
        self.lab.left.ip("route", "replace", *route, "rto_min", "2s")
        in_flight = 0

        def overrun():
            nonlocal in_flight
            again, in_flight = self.lose_all([200] * 100, 1 << 20)
            return again
        self.once_in_three(overrun)
        metrics = self.watch.end()
        # On a slow machine the congestion window may have stayed too small for so many.
        if in_flight > 80:
            self.assertGreaterEqual(metrics["undertrace_ebpf_send_times_total{noted='in_part'}"], 1)


class Strangers(Sends):
    """Sockets of workloads that send no spans."""
    follow = False

    def test_of_others_nothing_is_noted(self):
        self.lose_one()
        told = [record for record in self.retransmits(self.connection) if "thread" in record]
        self.assertEqual(told, [])
        metrics = self.watch.end()
        self.assertEqual(metrics["undertrace_ebpf_send_times_total{noted='whole'}"], 0)


if __name__ == "__main__":
    main()
