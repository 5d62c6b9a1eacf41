#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The life of connections at both ends, through address translation too, and what was open before;
cgroups that come and go; what happens without the rights."""
import json
import pathlib
import signal
import subprocess
import sys
import time

from harness import ONLY_TYPED, UNLIMITED, WATCH, KernelTest, Lab, Watch, cgroup_id, main

OFF = ("trace_", "page_alloc", "cookie_")  # names of programs that begin so
PORT = 8110


class Connections(KernelTest):
    def both_ends(self, client, server, address, port=PORT):
        """Connects; the descriptions of both ends, which the peers got from their kernels."""
        connection = client.connect(address, port)
        client.request(200, 200)
        return connection, server.wait(what="accepted")[-1]

    def records(self, end, **wanted):
        return self.watch.find(type="connection", cookie=end["cookie"], **wanted)

    def changes(self, end):
        return [record["change"] for record in self.records(end)]

    def test_both_ends_are_told_from_connect_to_close(self):
        for listen, address in (("0.0.0.0", Lab.V4[1]), ("::", Lab.V4[1]), ("::", Lab.V6[1])):
            with self.subTest(listen=listen, address=address):
                server = self.serve(self.lab.right, listen, PORT)
                client = self.client(self.lab.left)
                left, right = self.both_ends(client, server, address)
                client.close()
                self.watch.wait(type="connection", change="closed", cookie=left["cookie"])
                self.watch.wait(type="connection", change="closed", cookie=right["cookie"])
                self.assertEqual(self.changes(left), ["connecting", "opened", "closed"])
                self.assertEqual(self.changes(right), ["opened", "closed"])
                self.check_end(left, "connect", self.lab.left.cgroup)
                self.check_end(right, "accept", self.lab.right.cgroup)
                opened = [self.records(end, change="opened")[0] for end in (left, right)]
                self.assertEqual(opened[0]["isn"], opened[1]["isn"][::-1])
                self.assertLess(abs(opened[0]["unix_ns"] - time.time_ns()), 10e9)
                server.end()

    def check_end(self, end, role, cgroup):
        for side in ("local", "remote"):
            end[side][0] = end[side][0].replace("::ffff:", "")
        for record in self.records(end):
            self.assertEqual(record["role"], role)
            self.assertEqual(record["cgroup"], cgroup_id(cgroup))
            self.assertEqual(record["netns"], end["netns"])
            self.assertEqual(record["remote"], end["remote"])
            # connect() finds its port after it has told that it begins.
            if record["change"] != "connecting":
                self.assertEqual(record["local"], end["local"])
                self.assertIn("isn", record)

    def test_cgroups_below_one_another_are_told_apart(self):
        server = self.serve(self.lab.right, "::", PORT)
        for name in ("one", "two"):
            cgroup = self.lab.cgroup("pod", name)
            client = self.client(self.lab.left, cgroup=cgroup)
            connection = client.connect(Lab.V4[1], PORT)
            record, = self.watch.wait(type="connection", change="opened",
                                      cookie=connection["cookie"])
            self.assertEqual(record["cgroup"], cgroup_id(cgroup))

    def test_ends_match_through_translation_of_both_addresses(self):
        """left → 10.96.0.10:80, which the middle turns into right:PORT and hides left behind
        itself with another port."""
        middle, far = self.lab.node("middle"), self.lab.node("far")
        near = self.lab.node("near")
        self.lab.link(near, middle, "eth1", ["10.79.0.1/24"], ["10.79.0.254/24"])
        self.lab.link(middle, far, "eth2", ["10.80.0.254/24"], ["10.80.0.2/24"])
        near.ip("route", "add", "default", "via", "10.79.0.254")
        middle.sysctl("net.ipv4.ip_forward", 1)
        middle.nft(f"""
            table ip utbpf_nat {{
                chain pre {{
                    type nat hook prerouting priority -100;
                    ip daddr 10.96.0.10 tcp dport 80 dnat to 10.80.0.2:{PORT}
                }}
                chain post {{
                    type nat hook postrouting priority 100;
                    meta l4proto tcp masquerade to :20001-20009
                }}
            }}""")
        server = self.serve(far, "::", PORT)
        left, right = self.both_ends(self.client(near), server, "10.96.0.10", 80)
        ends = [self.watch.wait(type="connection", change="opened", cookie=end["cookie"])[0]
                for end in (left, right)]
        self.assertEqual(ends[0]["remote"], ["10.96.0.10", 80])
        self.assertEqual(ends[1]["remote"][0], "10.80.0.254")
        self.assertNotEqual(ends[0]["local"][1], ends[1]["remote"][1])
        self.assertEqual(ends[0]["isn"], ends[1]["isn"][::-1])
        self.assertNotEqual(ends[0]["netns"], ends[1]["netns"])

    def test_ends_match_where_the_first_segment_carried_data(self):
        """TCP Fast Open: data goes with the SYN, so both ends are ahead when they are told."""
        for node in (self.lab.left, self.lab.right):
            node.sysctl("net.ipv4.tcp_fastopen", 0x603)  # no cookies needed
        program = ("import socket, sys\n"
                   "s = socket.socket()\n"
                   "s.sendto(bytes([0, 0, 0, 208, 0, 0, 0, 8]) + b'q' * 200, 0x20000000,"
                   " (sys.argv[1], int(sys.argv[2])))\n"
                   "assert s.recv(8, socket.MSG_WAITALL) == b'a' * 8\n")
        listener = ("import socket, sys\n"
                    "l = socket.socket()\n"
                    "l.setsockopt(6, 23, 16)\n"  # TCP_FASTOPEN
                    "l.bind(('0.0.0.0', int(sys.argv[1])))\n"
                    "l.listen()\n"
                    "print('{\"what\": \"listening\"}', flush=True)\n"
                    "s, _ = l.accept()\n"
                    "assert s.recv(208, socket.MSG_WAITALL)\n"
                    "s.sendall(b'a' * 8)\n"
                    "s.recv(1)\n")
        server = self.lab.right.start([sys.executable, "-c", listener, PORT + 1],
                                      stdout=subprocess.PIPE, text=True)
        self.addCleanup(server.stdout.close)
        self.assertIn("listening", server.stdout.readline())
        client = self.lab.left.start([sys.executable, "-c", program, Lab.V4[1], PORT + 1])
        self.assertEqual(client.wait(10), 0)
        self.assertEqual(server.wait(10), 0)
        mine, = self.watch.wait(type="connection", change="opened", role="connect",
                                remote=[Lab.V4[1], PORT + 1])
        theirs, = self.watch.wait(type="connection", change="opened", role="accept",
                                  local=[Lab.V4[1], PORT + 1])
        self.assertEqual(mine["isn"], theirs["isn"][::-1])
        self.assertGreater(int(self.lab.right_fastopens()), 0)

    def test_refused_connect_fails(self):
        client = self.client(self.lab.left)
        client.do(f"connect {Lab.V4[1]} 1", "failed")
        failed, = self.watch.wait(type="connection", change="failed", remote=[Lab.V4[1], 1])
        self.assertEqual(self.changes(failed), ["connecting", "failed"])
        self.assertEqual(failed["role"], "connect")
        self.assertNotEqual(failed["local"][1], 0)
        self.assertEqual(failed["cgroup"], cgroup_id(self.lab.left.cgroup))

    def test_connect_that_is_never_answered_fails_after_its_retransmits(self):
        rule = self.lab.right.drop("never", f"tcp dport {PORT}")
        client = self.client(self.lab.left)
        client.do(f"connect {Lab.V4[1]} {PORT} 1.5", "failed")
        rule.remove()
        failed, = self.watch.wait(type="connection", change="failed", remote=[Lab.V4[1], PORT])
        syn = self.watch.find(type="retransmit", cookie=failed["cookie"], cause="syn")
        self.assertGreaterEqual(len(syn), 1)
        self.assertEqual(self.changes(failed), ["connecting", "failed"])

    def test_listening_sockets_are_no_connections(self):
        server = self.serve(self.lab.right, "0.0.0.0", PORT + 2)
        server.end()
        client = self.client(self.lab.left)
        client.do(f"connect {Lab.V4[1]} 1", "failed")
        self.watch.wait(type="connection", change="failed")
        self.assertEqual([record for record in self.watch.find(type="connection")
                          if record["local"][1] == PORT + 2], [])


class Snapshot(KernelTest):
    settings = None

    def test_what_was_open_before_is_told_once_with_role_and_sequence_numbers(self):
        first = self.watch_with(UNLIMITED)
        server = self.serve(self.lab.right, "::", PORT)
        clients = [self.client(self.lab.left) for _ in range(3)]
        ends = []
        for client, address in zip(clients, (Lab.V4[1], Lab.V6[1], Lab.V4[1])):
            ends.append(client.connect(address, PORT))
            client.request(5000, 70000)
        ends += server.wait(3, what="accepted")
        opened = {end["cookie"]: first.wait(type="connection", change="opened",
                                            cookie=end["cookie"])[0] for end in ends}
        first.end()

        watch = self.watch_with(UNLIMITED)
        for end in ends:
            told = watch.find(type="connection", cookie=end["cookie"])
            self.assertEqual([record["change"] for record in told], ["snapshot"])
            for key in ("local", "remote", "role", "cgroup", "netns", "isn", "state"):
                self.assertEqual(told[0][key], opened[end["cookie"]][key], key)
        # What comes later knows what the snapshot learned.
        for client in clients:
            client.close()
        for end in ends:
            closed, = watch.wait(type="connection", change="closed", cookie=end["cookie"])
            self.assertEqual(closed["role"], opened[end["cookie"]]["role"])
            self.assertEqual(closed["isn"], opened[end["cookie"]]["isn"])
        self.assertGreaterEqual(watch.end()["undertrace_ebpf_snapshot_connections_total"], 6)

    def test_many_open_connections_are_all_told(self):
        server = self.serve(self.lab.right, "::", PORT)
        client = self.client(self.lab.left)
        count = 900
        client.do(f"hoard {Lab.V4[1]} {PORT} {count}", "hoarded", seconds=60)
        server.wait(count, what="accepted", seconds=30)
        watch = self.watch_with(UNLIMITED)
        told = [record for record in watch.find(type="connection", change="snapshot")
                if PORT in (record["local"][1], record["remote"][1])]
        self.assertEqual(len(told), 2 * count)
        self.assertEqual(len({record["cookie"] for record in told}), 2 * count)


class Cgroups(KernelTest):
    def test_new_and_removed_cgroups_are_told_with_their_path(self):
        path = self.lab.root / "pod0" / "scope-1.scope"
        path.mkdir(parents=True)
        number = cgroup_id(path)
        created, = self.watch.wait(type="cgroup", change="created", cgroup=number)
        path.rmdir()
        removed, = self.watch.wait(type="cgroup", change="removed", cgroup=number)
        self.assertEqual(created["path"], "/utbpf/pod0/scope-1.scope")
        self.assertEqual(removed["path"], created["path"])

    def test_path_too_long_for_a_record_is_not_told(self):
        path = self.lab.root
        for _ in range(5):
            path = path / ("x" * 120)
        path.mkdir(parents=True)
        created, = self.watch.wait(type="cgroup", change="created", cgroup=cgroup_id(path))
        self.assertEqual(created["path"], "")

    def test_other_hierarchies_are_not_told(self):
        mounts = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
        other = [line.split()[4] for line in mounts if " - cgroup " in line]
        if not other:
            self.skipTest("no v1 hierarchy is mounted here")
        folder = f"{other[0]}/utbpf-v1"
        subprocess.run(["mkdir", folder], check=True)
        subprocess.run(["rmdir", folder], check=True)
        (self.lab.root / "marker").mkdir()
        self.watch.wait(type="cgroup", path="/utbpf/marker")
        self.assertEqual([line for line in self.watch.find(type="cgroup")
                          if "utbpf-v1" in line["path"]], [])


def missing(metrics):
    """The programs that are not attached, but for those of a setting or of another kernel."""
    attached = {name.split("'")[1]: value for name, value in metrics.items()
                if "program_attached" in name and not name.split("'")[1].startswith(OFF)}
    assert attached, metrics
    return {name for name, value in attached.items() if value != 1} - ONLY_TYPED


class Rights(KernelTest):
    settings = None

    def without(self, *capabilities):
        names = ",".join(f"-{name}" for name in capabilities)
        return ["setpriv", f"--bounding-set={names}", f"--inh-caps={names}"]

    def test_without_capabilities_it_runs_and_names_what_is_missing(self):
        watch = self.watch_with(UNLIMITED, prefix=self.without("bpf", "perfmon", "sys_admin"))
        self.assertEqual(watch.find(type="attached"), [])
        lines = [line for line in watch.log().splitlines() if "level=warn" in line]
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("CAP_BPF and CAP_PERFMON missing", lines[0])
        metrics = watch.end()
        self.assertEqual({value for name, value in metrics.items() if "program_attached" in name},
                         {0})

    def test_capabilities_for_tracepoints_are_enough(self):
        watch = self.watch_with(UNLIMITED, prefix=self.without("sys_admin", "net_admin",
                                                               "sys_ptrace", "dac_override"))
        self.assertEqual(len(watch.find(type="attached")), 1)
        metrics = watch.end()
        self.assertEqual(missing(metrics), set())

    def test_program_that_the_kernel_refuses_costs_only_itself(self):
        for name, refused in (("inet_sock_set_state", "inet_sock_set_s"),
                              ("snapshot", "snapshot"), ("cgroup_mkdir", "cgroup_mkdir")):
            with self.subTest(name=name):
                watch = self.watch_with(UNLIMITED, prefix=["env", f"WATCH_REFUSE={refused}"])
                (self.lab.root / f"without-{name}").mkdir()
                (self.lab.root / f"without-{name}").rmdir()
                watch.wait(type="cgroup", change="removed")
                client = self.client(self.lab.left)
                client.do(f"connect {Lab.V4[1]} 1", "failed")
                time.sleep(0.1)
                self.assertEqual(len(watch.find(type="connection", change="failed",
                                                remote=[Lab.V4[1], 1])),
                                 0 if name == "inet_sock_set_state" else 1)
                warned = watch.missing()
                self.assertEqual(set(warned), {name})
                self.assertIn("Invalid argument", warned[name])
                metrics = watch.end()
                self.assertEqual(missing(metrics), {name})

    def doctor(self, *prefix):
        output = subprocess.run([*prefix, WATCH, "--doctor"], capture_output=True, text=True,
                                check=True)
        return [json.loads(line) for line in output.stdout.splitlines()]

    def test_programs_of_a_kernel_that_knows_no_types_are_raw(self):
        programs = self.doctor("env", "WATCH_WITHOUT_TYPES=1")
        raw = [program["name"] for program in programs
               if program["works"] and program["reason"].startswith("as a raw tracepoint")]
        self.assertEqual(len(raw), 16, raw)
        self.assertEqual([program["name"] for program in programs if not program["works"]],
                         ["sent_stamps", "send_begins", "send_ends", "trace_sockets",
                          "trace_retransmit", "trace_reader"])

    def test_doctor_tells_each_program_with_and_without_rights(self):
        for prefix, works in (([], True), (self.without("perfmon", "sys_admin"), False)):
            with self.subTest(works=works):
                programs = self.doctor(*prefix, "env", "-u", "WATCH_WITHOUT_TYPES")
                self.assertGreaterEqual(len({program["name"] for program in programs}), 19)
                for program in programs:
                    self.assertEqual(program["works"], works, program)
                    self.assertEqual(program["reason"],
                                     "" if works else "not permitted: CAP_PERFMON missing")
                    self.assertTrue(program["without"])

    def test_drain_on_demand_brings_what_the_timer_has_not_read_yet(self):
        watch = self.watch_with(UNLIMITED.replace("20ms", "1s"))
        time.sleep(0.05)
        began = time.monotonic()
        (self.lab.root / "demand").mkdir()
        watch.signal(signal.SIGUSR1)
        watch.wait(type="cgroup", path="/utbpf/demand")
        self.assertLess(time.monotonic() - began, 0.5)


if __name__ == "__main__":
    main()
