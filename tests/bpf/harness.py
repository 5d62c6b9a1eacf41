# SPDX-License-Identifier: Apache-2.0
"""What the tests of the kernel programs share: the watcher, the peers, the namespaces."""
import json
import os
import pathlib
import queue
import subprocess
import sys
import threading
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
import netlab  # noqa: E402
import unrun  # noqa: E402

WATCH = sys.argv[1] if len(sys.argv) > 1 else ""
SKIP = 77
UNTYPED = "WATCH_WITHOUT_TYPES" in os.environ  # programs of tracepoints are raw ones (watch.c)
# Programs that there are no raw ones of.
ONLY_TYPED = {"sent_stamps", "send_begins", "send_ends"} if UNTYPED else set()
REPEATS = 3  # of tests that failed while the kernel did not run the programs
UNLIMITED = "retransmits_per_second: 0\nconnections_per_second: 0\ndrain_interval: 20ms\n"


def cgroup_id(path):
    return os.stat(path).st_ino


class Lines:
    """The JSON lines that a process writes, as they come."""

    def __init__(self, stream):
        self.all = []
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self.read, args=(stream,), daemon=True)
        self.thread.start()

    def read(self, stream):
        for line in stream:
            with self.changed:
                self.all.append(json.loads(line))
                self.changed.notify_all()

    def find(self, **wanted):
        with self.changed:
            return [line for line in self.all if matches(line, wanted)]

    def wait(self, count=1, seconds=30, **wanted):
        """The lines with these values, as soon as there are `count`; fails after `seconds`."""
        with self.changed:
            def enough():
                return len([line for line in self.all if matches(line, wanted)]) >= count
            if not self.changed.wait_for(enough, seconds):
                kind = {key: wanted[key] for key in ("type", "what") if key in wanted}
                alike = [line for line in self.all if matches(line, kind)]
                raise AssertionError(f"no {count} × {wanted} within {seconds} s; the last of "
                                     f"{len(alike)} alike: {alike[-8:]}")
        return self.find(**wanted)


def matches(line, wanted):
    return all(key in line and line[key] == value for key, value in wanted.items())


class Watch(Lines):
    """The receiver under test, in a cgroup that no peer is in."""

    def __init__(self, lab, yaml=UNLIMITED, prefix=()):
        self.lab = lab
        self.errors = open(lab.scratch / f"watch-{time.monotonic_ns()}", "w+b")
        self.process = lab.start([*prefix, WATCH, yaml], lab.cgroup("watch"),
                                 stdout=subprocess.PIPE, stderr=self.errors, text=True)
        super().__init__(self.process.stdout)
        self.wait(type="ready", seconds=20)
        self.unrun, self.unrun_events = unrun.Unrun(self.process.pid), 0

    def signal(self, number):
        self.process.send_signal(number)

    def log(self):
        self.errors.seek(0)
        return self.errors.read().decode()

    def missing(self):
        """The warnings of programs that do not work, but for those that are never raw."""
        lines = {line.split("program=")[1].split()[0]: line for line in self.log().splitlines()
                 if "level=warn event=ebpf_program_missing" in line}
        return {name: line for name, line in lines.items() if name not in ONLY_TYPED}

    def end(self):
        """Stops it; its metrics by name. What a sanitizer found fails the test."""
        if self.process.poll() is None:
            self.unrun_events = self.unrun.count()
        self.unrun.close()
        status = self.lab.stop(self.process)
        self.thread.join(10)
        self.process.stdout.close()
        text = self.log()
        if status != 0 or "ERROR" in text or "runtime error" in text:
            raise AssertionError(f"the watcher left with {status}:\n{text}")
        self.errors.close()
        return {line["name"]: line["value"] for line in self.find(type="metric")}


class Peer(Lines):
    def __init__(self, node, *arguments, cgroup=None):
        self.node = node
        self.process = node.start([sys.executable, HERE / "peer.py", *arguments], cgroup=cgroup,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        super().__init__(self.process.stdout)

    def do(self, command, answer, seconds=20, **wanted):
        """Gives a command; the first new line that says `answer`."""
        before = len(self.find(what=answer, **wanted))
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.wait(before + 1, seconds, what=answer, **wanted)[before]

    def connect(self, address, port):
        return self.do(f"connect {address} {port}", "connected")

    def request(self, size, answer):
        return self.do(f"request {size} {answer}", "answered", seconds=60)

    def close(self):
        return self.do("close", "closed")

    def end(self):
        self.node.lab.stop(self.process)
        self.thread.join(10)
        self.process.stdin.close()
        self.process.stdout.close()


def serve(node, address, port, cgroup=None):
    server = Peer(node, "serve", address, str(port), cgroup=cgroup)
    server.wait(what="listening")
    return server


def client(node, cgroup=None):
    peer = Peer(node, "client", cgroup=cgroup)
    peer.wait(what="ready")
    return peer


class Lab(netlab.Lab):
    """Two nodes, `left` and `right`, on one link that speaks IPv4 and IPv6."""

    V4, V6 = ("10.78.0.1", "10.78.0.2"), ("fd78::1", "fd78::2")

    def __init__(self):
        super().__init__("utbpf", "utb")
        self.scratch = pathlib.Path(subprocess.check_output(
            ["mktemp", "-d", "-t", "utbpf-XXXXXX"], text=True).strip())
        try:
            self.left, self.right = self.node("left"), self.node("right")
            self.link(self.left, self.right, "eth0", ["10.78.0.1/24", "fd78::1/64"],
                      ["10.78.0.2/24", "fd78::2/64"])
            for node in (self.left, self.right):
                node.sysctl("net.ipv4.tcp_congestion_control", "reno")
        except BaseException:
            self.close()
            raise

    def right_fastopens(self):
        """How many connections of `right` came by Fast Open, as its kernel counts."""
        lines = [line.split() for line in netlab.command(
            *self.right.enter("cat", "/proc/net/netstat")).splitlines()
            if line.startswith("TcpExt:")]
        return dict(zip(*lines))["TCPFastOpenPassive"]

    def close(self):
        super().close()
        for path in self.scratch.iterdir():
            path.unlink()
        self.scratch.rmdir()


class KernelTest(unittest.TestCase):
    """A lab and a watcher for each test: what one leaves half-way, sockets that go on sending
    among it, must not reach the next."""

    settings = UNLIMITED
    maxDiff = None
    unrun_events = 0  # once it is over: of how many events the kernel told no program

    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.watch = None
        if self.settings is not None:
            self.watch_with(self.settings)

    def watch_with(self, settings, **options):
        self.watch = Watch(self.lab, settings, **options)
        self.addCleanup(self.end_watch, self.watch)
        return self.watch

    def end_watch(self, watch):
        if watch.process.poll() is None:
            watch.end()
        watch.unrun.close()
        self.unrun_events += watch.unrun_events

    def serve(self, *arguments, **options):
        server = serve(*arguments, **options)
        self.addCleanup(server.end)
        return server

    def client(self, *arguments, **options):
        peer = client(*arguments, **options)
        self.addCleanup(peer.end)
        return peer

    def wait_until_read(self):
        """Until the watcher, however busy the machine, has read what there is by now: the ring, and
        the kernel's tables, which it reads at the same time."""
        for _ in range(2):  # the first is read within a reading, the second in one that began later
            name = f"mark-{time.monotonic_ns()}"
            (self.lab.root / name).mkdir()
            self.watch.wait(seconds=60, type="cgroup", path=f"/{self.lab.root.name}/{name}")

    def retransmits(self, connection, **wanted):
        """Records of the socket that a peer described."""
        return self.watch.find(type="retransmit", cookie=connection["cookie"], **wanted)


def main():
    """unittest without the first argument, which is the watcher; a machine without the means is
    a skip that says why."""
    try:
        output = netlab.command(WATCH, "--doctor")
        reasons = {json.loads(line)["reason"] for line in output.splitlines()}
        # What the verifier refuses is a failure of ours, not of the machine.
        for reason in reasons:
            if reason.startswith(("not permitted", "the kernel has no BTF")):
                raise netlab.LabError(f"kernel programs: {reason}")
        Lab().close()
    except netlab.LabError as error:
        print(f"SKIP: {error}")
        sys.exit(SKIP)
    result = unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2, exit=False).result
    for _ in range(REPEATS):
        again = repeatable(result)
        if not again:
            break
        result = unittest.TextTestRunner(verbosity=2).run(again)
    sys.exit(0 if result.wasSuccessful() else 1)


def repeatable(result):
    """The tests that failed, new, if the kernel kept events from the programs in each of them; a
    failure without that stands, whatever the others were."""
    failed = {}
    for test, _ in result.failures + result.errors:
        test = getattr(test, "test_case", test)  # of a subTest
        failed[test.id()] = test
    if not all(getattr(test, "unrun_events", 0) for test in failed.values()):
        return None
    for name, test in failed.items():
        print(f"AGAIN: {name}: the kernel ran no program for {test.unrun_events} events")
    suite = unittest.TestSuite(type(test)(name.rsplit(".", 1)[1])
                               for name, test in failed.items())
    return suite if failed else None
