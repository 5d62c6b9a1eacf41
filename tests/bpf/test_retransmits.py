#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every retransmit of the kernel, with its cause, its socket and its owner."""
import time

from harness import KernelTest, Lab, cgroup_id, main

PORT = 8100
DATA = "meta length > 100"


class Causes(KernelTest):
    """Each cause is made to happen alone; what the record says is compared with what the peer and
    the kernel's own counter say."""

    def setUp(self):
        super().setUp()
        self.server = self.serve(self.lab.right, "::", PORT)
        self.client = self.client(self.lab.left)

    def check_socket(self, record, connection, cgroup, role):
        self.assertEqual(record["local"], connection["local"])
        self.assertEqual(record["remote"], connection["remote"])
        self.assertEqual(record["netns"], connection["netns"])
        self.assertEqual(record["cgroup"], cgroup_id(cgroup))
        self.assertEqual(record["role"], role)

    def probe(self, address):
        """One request whose data segment is dropped once."""
        connection = self.client.connect(address, PORT)
        self.client.request(200, 200)
        rule = self.lab.right.drop("request", f"tcp dport {PORT} {DATA} numgen inc mod 1000 == 0")
        before = self.lab.left.retransmitted()
        time.sleep(0.3)
        self.client.request(900, 200)
        dropped = rule.dropped()
        rule.remove()
        self.assertEqual(dropped, 1)
        self.watch.wait(type="retransmit", cookie=connection["cookie"])
        records = self.retransmits(connection)
        self.assertEqual(self.lab.left.retransmitted() - before, 1)
        self.assertEqual(len(records), 1)
        record = records[0]
        self.check_socket(record, connection, self.lab.left.cgroup, "connect")
        self.assertEqual((record["bytes"], record["segments"], record["err"]), (900, 1, 0))
        self.assertEqual((record["end_seq"] - record["seq"]) % 2**32, 900)
        self.assertEqual(record["state"], 1)
        self.assertGreater(record["srtt_us"], 0)
        self.assertGreater(record["cwnd"], 0)
        self.assertGreaterEqual(record["rto_us"], 200000)
        self.assertLess(record["rto_us"], 300000)
        self.assertIn("wmem", record)
        # The answer before came 0.3 s before this request, which waited for a timer.
        self.assertGreaterEqual(record["since_received_us"], 450000)
        self.assertLess(record["since_received_us"], 1500000)
        # To the microsecond: in the time of that timer, which a busy host may run late.
        self.assertTrue(record["sent_exact"])
        self.assertGreaterEqual(record["since_sent_us"], record["rto_us"] - 4000)
        self.assertLess(record["since_sent_us"], record["rto_us"] * 5 // 4 + 20000)
        # What was sent before on this connection: the SYN and the first request.
        self.assertEqual((record["seq"] - record["isn"][0]) % 2**32, 1 + 200)
        return record

    def test_tail_loss_probe_over_ipv4_to_a_dual_stack_listener(self):
        self.assertEqual(self.probe(Lab.V4[1])["cause"], "tail_loss_probe")

    def test_tail_loss_probe_over_ipv6(self):
        self.assertEqual(self.probe(Lab.V6[1])["cause"], "tail_loss_probe")

    def test_timeout_where_there_are_no_probes(self):
        self.lab.left.sysctl("net.ipv4.tcp_early_retrans", 0)
        self.assertEqual(self.probe(Lab.V4[1])["cause"], "timeout")

    def test_answer_is_the_servers_retransmit_with_its_owner(self):
        for number, address in enumerate((Lab.V4[1], Lab.V6[1]), start=1):
            with self.subTest(address=address):
                self.client.connect(address, PORT)
                self.client.request(200, 200)
                # The client's line may be read before the server's.
                accepted = self.server.wait(number, what="accepted")[-1]
                rule = self.lab.left.drop("answer", f"tcp sport {PORT} {DATA} "
                                                    "numgen inc mod 1000 == 0")
                before = self.lab.right.retransmitted()
                self.client.request(200, 700)
                rule.remove()
                self.watch.wait(type="retransmit", cookie=accepted["cookie"])
                record, = self.retransmits(accepted)
                # The program sees ::ffff:10.78.0.1 where the listener speaks both.
                for end in ("local", "remote"):
                    accepted[end][0] = accepted[end][0].replace("::ffff:", "")
                self.check_socket(record, accepted, self.lab.right.cgroup, "accept")
                self.assertEqual(record["bytes"], 700)
                # The request, since when one timer has run.
                self.assertGreaterEqual(record["since_received_us"], 150000)
                self.assertLess(record["since_received_us"], 1000000)
                self.assertEqual(self.lab.right.retransmitted() - before, 1)

    def test_fast_retransmit_within_a_long_answer(self):
        connection = self.client.connect(Lab.V4[1], PORT)
        rule = self.lab.right.drop("bulk", f"tcp dport {PORT} {DATA} numgen inc mod 40 == 20")
        before = self.lab.left.retransmitted()
        self.client.request(4 << 20, 10)
        rule.remove()
        self.watch.wait(type="retransmit", cookie=connection["cookie"], cause="fast")
        self.settle(connection, self.lab.left, before)
        # Acknowledgements come in all the time, and its workload sends no spans: its sends were
        # not noted down.
        for record in self.retransmits(connection):
            if record["cause"] == "fast":
                self.assertFalse(record.get("sent_exact", False))
                self.assertLess(record.get("since_sent_us", 0), 1000000)

    def settle(self, connection, node, before):
        """Waits until the records add up to the kernel's own counter."""
        sent = sum(record["segments"] for record in self.watch.wait(
            1, type="retransmit", netns=connection["netns"]) if record["err"] == 0)
        for _ in range(50):
            if sent == node.retransmitted() - before:
                break
            self.watch.changed.acquire()
            self.watch.changed.wait(0.1)
            self.watch.changed.release()
            sent = sum(record["segments"] for record in self.watch.find(
                type="retransmit", netns=connection["netns"]) if record["err"] == 0)
        self.assertEqual(sent, node.retransmitted() - before)

    def test_segments_add_up_to_the_kernels_counter_under_random_loss(self):
        before = self.lab.left.retransmitted(), self.lab.right.retransmitted()
        for node in (self.lab.left, self.lab.right):
            node.ip("link", "set", "eth0", "gso_max_segs", "4")
        rules = [node.drop("noise", f"tcp {side} {PORT} numgen random mod 100 < 4")
                 for node, side in ((self.lab.right, "dport"), (self.lab.left, "sport"))]
        connections = []
        for address in (Lab.V4[1], Lab.V6[1]) * 2:
            connections.append(self.client.connect(address, PORT))
            self.client.request(1 << 20, 1 << 20)
            self.client.close()
        for rule in rules:
            rule.remove()
        self.settle(connections[0], self.lab.left, before[0])
        self.settle(self.server.find(what="accepted")[0], self.lab.right, before[1])
        for connection, node in ((connections[0], self.lab.left),
                                 (self.server.find(what="accepted")[0], self.lab.right)):
            records = self.watch.find(type="retransmit", netns=connection["netns"])
            self.assertGreater(len(records), 20)
            self.assertEqual({record["cgroup"] for record in records}, {cgroup_id(node.cgroup)})

    def test_syn(self):
        rule = self.lab.right.drop("syn", f"tcp dport {PORT} tcp flags syn / syn,ack "
                                          "numgen inc mod 1000 == 0")
        connection = self.client.connect(Lab.V4[1], PORT)
        rule.remove()
        self.watch.wait(type="retransmit", cause="syn")
        record, = self.retransmits(connection)
        self.check_socket(record, connection, self.lab.left.cgroup, "connect")
        self.assertEqual((record["cause"], record["bytes"], record["segments"]), ("syn", 0, 1))
        self.assertNotIn("srtt_us", record)
        self.assertNotIn("since_received_us", record)
        self.assertAlmostEqual(record["rto_us"], 1000000, delta=50000)

    def test_syn_ack_of_both_families(self):
        for address in (Lab.V4[1], Lab.V6[1]):
            with self.subTest(address=address):
                # The client's own timer would send the SYN again at the same moment.
                rule = self.lab.left.drop("synack", f"tcp sport {PORT} tcp flags syn,ack / syn,ack "
                                                    "numgen inc mod 1000 == 0")
                before = self.lab.right.retransmitted()
                connection = self.client.connect(address, PORT)
                dropped = rule.dropped()
                rule.remove()
                self.assertEqual(dropped, 1)
                # A SYN that came again at the same moment was answered too.
                wanted = {"type": "retransmit", "cause": "syn_ack", "remote": connection["local"]}
                self.watch.wait(self.lab.right.retransmitted() - before, **wanted)
                records = self.watch.find(**wanted)
                self.assertEqual(len(records), self.lab.right.retransmitted() - before)
                record = records[0]
                self.assertEqual(record["local"], connection["remote"])
                self.assertEqual(record["cgroup"], cgroup_id(self.lab.right.cgroup))
                self.assertEqual((record["role"], record["err"], record["segments"],
                                  record["bytes"]), ("accept", 0, 1, 0))
                self.assertAlmostEqual(record["rto_us"], 1000000, delta=50000)
                opened, = self.watch.wait(type="connection", change="opened",
                                          cookie=connection["cookie"])
                self.assertEqual(record["isn"], opened["isn"][::-1])

    def test_what_was_not_sent_is_marked(self):
        """A drop on output fails locally: the attempt is a record, but no retransmit was sent."""
        connection = self.client.connect(Lab.V4[1], PORT)
        self.client.request(200, 200)
        # The segment goes out and is lost; what is sent again fails here.
        rule = self.lab.right.drop("lost", f"tcp dport {PORT} {DATA}")
        self.lab.left.nft(f"""
            table inet utbpf_out {{
                chain out {{
                    type filter hook output priority 0;
                    tcp dport {PORT} {DATA} numgen inc mod 1000 != 0 drop
                }}
            }}""")
        self.client.process.stdin.write("request 900 200\n")
        self.client.process.stdin.flush()
        records = self.watch.wait(2, type="retransmit", cookie=connection["cookie"])
        self.lab.left.nft("delete table inet utbpf_out")
        rule.remove()
        self.client.wait(2, what="answered")
        # The segment that went out when the rules were gone comes last.
        self.assertEqual([record["err"] < 0 for record in records], [True, True])


if __name__ == "__main__":
    main()
