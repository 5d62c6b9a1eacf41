#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What happens to connections besides retransmits: resets, shut windows, full queues, and
retransmits that the kernel takes back. Each is held against the peers' words and the kernel's own
counters."""
import time

from harness import KernelTest, Lab, Peer, UNTYPED, cgroup_id, main, netlab

PORT = 8400
SENT, RECEIVED = 1, 2
RECEIVE_BUFFER = 1


def counters(node):
    """TcpExt of a node's kernel."""
    names, values = [line.split() for line in netlab.command(
        *node.enter("cat", "/proc/net/netstat")).splitlines() if line.startswith("TcpExt:")]
    return {name: int(value) for name, value in zip(names[1:], values[1:])}


class Happenings(KernelTest):
    def setUp(self):
        super().setUp()
        self.server = self.serve(self.lab.right, "::", PORT)
        self.another, self.client = self.client(self.lab.left), self.client(self.lab.left)

    def connect(self, address=Lab.V4[1], port=PORT):
        """Both ends, as their sockets tell."""
        before = len(self.server.find(what="accepted"))
        ours = self.client.connect(address, port)
        theirs = self.server.wait(before + 1, what="accepted")[before]
        return ours, {**theirs, "local": ours["remote"], "remote": ours["local"]}

    def check_end(self, record, end, node, role):
        self.assertEqual((record["local"], record["remote"]), (end["local"], end["remote"]))
        self.assertEqual((record["cgroup"], record["role"]), (cgroup_id(node.cgroup), role))

    def test_resets_are_told_at_both_ends(self):
        for address in Lab.V4[1], Lab.V6[1]:
            with self.subTest(address=address):
                ours, theirs = self.connect(address)
                self.client.do("ask 100 1000", "asked")
                time.sleep(0.1)
                self.client.close()  # with an answer that nobody read
                sent, = self.watch.wait(type="reset", cookie=ours["cookie"])
                received, = self.watch.wait(type="reset", cookie=theirs["cookie"])
                self.assertEqual((sent["detail"], received["detail"]), (SENT, RECEIVED))
                self.check_end(received, theirs, self.lab.right, "accept")
                if UNTYPED:  # the socket is closed before the reset is sent, and forgotten
                    self.check_end(sent, ours, self.lab.left, "unknown")
                    self.assertNotIn("isn", sent)
                else:
                    self.check_end(sent, ours, self.lab.left, "connect")
                    self.assertEqual(sent["isn"], received["isn"][::-1])
                self.assertGreater(sent["min_rtt_us"], 0)
                self.assertLessEqual(sent["min_rtt_us"], sent["srtt_us"])

    def test_path_is_told_as_the_socket_has_it(self):
        ours, _ = self.connect()
        self.client.request(200000, 200000)
        self.client.do("ask 100 1000", "asked")
        time.sleep(0.3)  # the answer has come, and with it the last ACK
        told = self.client.do("info", "info")
        self.client.close()
        record, = self.watch.wait(type="reset", cookie=ours["cookie"])
        for name in ("srtt_us", "min_rtt_us", "delivery_rate"):
            self.assertGreater(told[name], 0)
            self.assertEqual(record[name], min(told[name], 2**32 - 1), name)

    def test_refused_connect_received_its_reset(self):
        self.client.do(f"connect {Lab.V4[1]} {PORT + 1}", "failed")
        record, = self.watch.wait(type="reset", remote=[Lab.V4[1], PORT + 1])
        self.assertEqual((record["detail"], record["role"]), (RECEIVED, "connect"))
        self.assertEqual(record["cgroup"], cgroup_id(self.lab.left.cgroup))

    def test_shut_window_is_told_with_its_time(self):
        _, theirs = self.connect()
        began = time.monotonic()
        self.client.do("ask 100 20000000", "asked")
        time.sleep(0.6)
        self.client.do("take 20000000", "taken")
        most_ns = (time.monotonic() - began) * 1e9
        records = self.watch.wait(type="zero_window", cookie=theirs["cookie"])
        longest = max(records, key=lambda record: record["ns"])
        self.check_end(longest, theirs, self.lab.right, "accept")
        self.assertGreater(longest["ns"], 0.3e9)
        self.assertLess(sum(record["ns"] for record in records), most_ns)
        self.assertGreater(longest["bytes"], 0)

    def test_window_that_never_opens_is_told_at_the_end(self):
        _, theirs = self.connect()
        self.client.do("ask 100 20000000", "asked")
        time.sleep(0.5)
        self.client.close()
        record, = self.watch.wait(type="zero_window", cookie=theirs["cookie"])
        self.assertGreater(record["ns"], 0.2e9)

    def test_window_with_nothing_to_send_is_no_stall(self):
        ours, theirs = self.connect()
        self.client.request(100, 100)
        self.client.request(200000, 200000)
        self.assertEqual(self.watch.find(type="zero_window", cookie=ours["cookie"]), [])
        self.assertEqual(self.watch.find(type="zero_window", cookie=theirs["cookie"]), [])

    def test_segments_without_room_are_told(self):
        ours, _ = self.connect()
        before = counters(self.lab.left)
        self.client.do("small 1", "small")
        self.client.do("ask 100 60000", "asked")
        time.sleep(0.3)
        self.client.do("take 60000", "taken", seconds=60)
        after = counters(self.lab.left)
        dropped = after["TCPRcvQDrop"] - before["TCPRcvQDrop"]
        self.assertGreater(dropped, 0)
        for record in self.watch.wait(dropped, type="receive_drop", detail=RECEIVE_BUFFER):
            self.check_end(record, ours, self.lab.left, "connect")
            self.assertGreater(record["bytes"], 0)
            self.assertEqual(record["cookie"], ours["cookie"])

    def test_listener_without_room_is_told(self):
        """Of a client whose handshake was finished when the queue was full."""
        self.lab.right.sysctl("net.ipv4.tcp_syncookies", "0")
        deaf = Peer(self.lab.right, "deaf", "::", str(PORT + 2), "1")
        self.addCleanup(deaf.end)
        deaf.wait(what="listening")
        before = counters(self.lab.right)["ListenOverflows"]
        rule = self.lab.right.drop("acks", f"tcp dport {PORT + 2} tcp flags & (syn|ack) == ack")
        late = self.client.connect(Lab.V4[1], PORT + 2)
        rule.remove()
        for _ in range(2):
            self.another.do(f"hoard {Lab.V4[1]} {PORT + 2} 1", "hoarded")
        self.client.do("ask 100 100", "asked")
        record, *_ = self.watch.wait(type="listen_overflow", remote=late["local"])
        self.assertGreater(counters(self.lab.right)["ListenOverflows"], before)
        self.assertEqual((record["local"], record["role"]), (late["remote"], "accept"))
        self.assertEqual(record["cgroup"], cgroup_id(self.lab.right.cgroup))
        opened, = self.watch.find(type="connection", change="opened", cookie=late["cookie"])
        self.assertEqual(record["isn"], opened["isn"][::-1])

    def test_retransmit_that_was_needless_is_taken_back(self):
        self.lab.left.sysctl("net.ipv4.tcp_early_retrans", "0")
        self.lab.left.ip("route", "change", "10.78.0.0/24", "dev", "eth0", "rto_min", "1s")
        ours, _ = self.connect()
        self.client.request(200, 200)
        before = counters(self.lab.left)
        rule = self.lab.left.drop("answers", f"tcp sport {PORT}")
        self.client.do("ask 900 0", "asked")
        time.sleep(0.1)  # less than the timeout by far, more than the other end waits with its ACK
        rule.remove()
        undone, = self.watch.wait(type="undo", cookie=ours["cookie"])
        after = counters(self.lab.left)
        self.assertEqual(after["TCPLossUndo"] - before["TCPLossUndo"], 1)
        sent_again, = self.retransmits(ours, cause="timeout")
        since_ns = undone["unix_ns"] - undone["ns"]
        self.assertLessEqual(since_ns, sent_again["unix_ns"])
        self.assertLess(sent_again["unix_ns"], undone["unix_ns"])

    def test_retransmit_that_was_needed_stands(self):
        self.lab.left.sysctl("net.ipv4.tcp_early_retrans", "0")
        ours, _ = self.connect()
        self.client.request(200, 200)
        rule = self.lab.right.drop("request", f"tcp dport {PORT} meta length > 500")
        self.client.do("ask 900 300", "asked")
        time.sleep(0.1)
        rule.remove()
        self.client.do("take 300", "taken")
        self.watch.wait(type="retransmit", cookie=ours["cookie"], cause="timeout")
        self.client.request(200, 200)
        self.client.close()
        self.watch.wait(type="connection", change="closed", cookie=ours["cookie"])
        self.assertEqual(self.watch.find(type="undo", cookie=ours["cookie"]), [])


if __name__ == "__main__":
    main()
