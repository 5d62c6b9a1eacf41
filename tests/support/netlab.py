# SPDX-License-Identifier: Apache-2.0
"""Network namespaces, cgroups, links and chosen packet drops, and their removal.

Used by deploy/demo and tests/e2e; standard library only, root needed. A Lab owns all that it makes
under one prefix, of names and of its cgroup. `close` removes it, whatever state it is in; a new Lab
first removes what an earlier one of the same prefix, killed half-way, left behind, and waits while
another process has one of that prefix. Processes die with the thread that started them (start them
from the main thread).

Namespaces are entered with `nsenter --net`: `ip netns exec` would mount a fresh /sys, and cgroup
paths vanish in there.
"""
import fcntl
import glob
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import zlib


class LabError(Exception):
    """Something of the lab cannot be made on this machine; the text says what."""


def command(*argv, stdin=None, check=True):
    """Runs a short command; its standard output, or LabError with what it complained about."""
    result = subprocess.run([str(word) for word in argv], input=stdin, capture_output=True,
                            text=True, check=False, timeout=30)
    if check and result.returncode != 0:
        raise LabError(f"{' '.join(map(str, argv))}: {result.stderr.strip()}")
    return result.stdout


def cgroup2_mount():
    """Where cgroup v2 is mounted: at the top on most systems, below it on hybrid ones."""
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        before, after = line.split(" - ", 1)
        if after.split(" ", 1)[0] == "cgroup2":
            return pathlib.Path(before.split(" ")[4])
    raise LabError("no cgroup v2 is mounted")


def retransmitted_segments(pid):
    """TcpRetransSegs of the network namespace of a process: the kernel's own count."""
    lines = [line.split() for line in pathlib.Path(f"/proc/{pid}/net/snmp").read_text().splitlines()
             if line.startswith("Tcp:")]
    return int(dict(zip(*lines))["RetransSegs"])


class Rule:
    """A packet-filter rule that drops chosen segments as they come in at a node, and counts them.

    On input, because a drop on output makes the sender's write fail and nothing is retransmitted.
    """

    def __init__(self, node, name, match, table):
        self.node, self.chain, self.table = node, name, table
        node.nft(f"""
            table inet {table} {{
                chain {name} {{
                    type filter hook input priority 0;
                    {match} counter drop
                }}
            }}""")

    def dropped(self):
        listing = json.loads(self.node.nft_json("list", "chain", "inet", self.table, self.chain))
        return sum(expression["counter"]["packets"]
                   for item in listing["nftables"] if "rule" in item
                   for expression in item["rule"]["expr"] if "counter" in expression)

    def remove(self):
        self.node.nft(f"delete chain inet {self.table} {self.chain}")


class Node:
    """One network namespace with the cgroup that its processes run in."""

    def __init__(self, lab, name, cgroup):
        self.lab, self.name = lab, name
        self.namespace = f"{lab.prefix}-{name}"
        self.cgroup = cgroup
        command("ip", "netns", "add", self.namespace)
        self.ip("link", "set", "lo", "up")

    def enter(self, *argv):
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *map(str, argv)]

    def ip(self, *argv):
        return command(*self.enter("ip", *argv))

    def nft(self, text):
        command(*self.enter("nft", "-f", "-"), stdin=text)

    def nft_json(self, *argv):
        return command(*self.enter("nft", "-j", *argv))

    def sysctl(self, name, value):
        """Sets a kernel parameter of this namespace."""
        path = "/proc/sys/" + name.replace(".", "/")
        command(*self.enter("sh", "-c", 'echo "$1" >"$2"', "sh", value, path))

    def acknowledge_at_once(self):
        """On the routes that there are by now. An acknowledgement that waits for the next segment
        is lost with it, and then the other end sends again what had arrived long before."""
        for family in ("-4", "-6"):
            for route in self.ip(family, "route", "show").splitlines():
                words = [word for word in route.split() if word not in ("linkdown", "dead")]
                if "quickack" not in words:
                    self.ip(family, "route", "replace", *words, "quickack", "1")

    def drop(self, name, match):
        """Drops what `match` says (an nftables expression) as it comes in here."""
        return Rule(self, name, match, self.lab.prefix.replace("-", "_"))

    def start(self, argv, cgroup=None, **options):
        """Starts a process in this namespace and its cgroup, or another one of the lab's."""
        return self.lab.start(self.enter(*argv), cgroup or self.cgroup, **options)

    def retransmitted(self):
        """TcpRetransSegs of this namespace."""
        text = command(*self.enter("cat", "/proc/net/snmp"))
        lines = [line.split() for line in text.splitlines() if line.startswith("Tcp:")]
        return int(dict(zip(*lines))["RetransSegs"])


class Lab:
    """All that one demo or test makes. `prefix` begins the names of namespaces, `short` those of
    links (which the kernel cuts at 15 bytes)."""

    def __init__(self, prefix, short, cgroup=None):
        if os.geteuid() != 0:
            raise LabError("namespaces and cgroups need root")
        self.prefix, self.short = prefix, short
        self.root = cgroup2_mount() / (cgroup or prefix)
        self.processes = []
        self.lock = only_one(prefix)
        self.sweep()
        self.root.mkdir()

    # ---- cgroups and processes ----

    def cgroup(self, *names):
        """The cgroup /PREFIX/NAME/…, made if it is not there."""
        path = self.root.joinpath(*names)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def start(self, argv, cgroup, **options):
        """Starts a process in a cgroup; it dies with us."""
        into = 'echo 0 >"$1/cgroup.procs" && shift && exec setpriv --pdeathsig KILL "$@"'
        process = subprocess.Popen(
            ["/bin/sh", "-c", into, "sh", str(cgroup), *map(str, argv)],
            **{"stdin": subprocess.DEVNULL, **options})
        self.processes.append(process)
        return process

    def stop(self, process, seconds=10):
        """Asks a process to end and waits; kills it when it does not. Its exit status."""
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process in self.processes:
            self.processes.remove(process)
        return process.returncode

    # ---- namespaces and links ----

    def node(self, name, cgroup=None):
        return Node(self, name, cgroup or self.cgroup(name))

    def bridge(self, *addresses):
        """A bridge in our own namespace with addresses like 10.77.0.1/24; its name."""
        name = f"{self.short}-br"
        command("ip", "link", "add", name, "type", "bridge", "forward_delay", "0")
        command("ip", "link", "set", name, "up")
        for address in addresses:
            add_address(command, name, address)
        return name

    def attach(self, node, bridge, *addresses):
        """Links a node to a bridge of our own namespace, with these addresses on its side."""
        outer = f"{self.short}-{node.name}"[:15]
        command("ip", "link", "add", outer, "type", "veth",
                "peer", "name", "eth0", "netns", node.namespace)
        command("ip", "link", "set", outer, "master", bridge, "up")
        node.ip("link", "set", "eth0", "up")
        for address in addresses:
            add_address(lambda *argv: node.ip(*argv[1:]), "eth0", address)

    def link(self, left, right, name, left_addresses, right_addresses):
        """A direct link called `name` at both ends between two nodes."""
        left.ip("link", "add", name, "type", "veth",
                "peer", "name", name, "netns", right.namespace)
        for node, addresses in ((left, left_addresses), (right, right_addresses)):
            node.ip("link", "set", name, "up")
            for address in addresses:
                add_address(lambda *argv, at=node: at.ip(*argv[1:]), name, address)

    # ---- removal ----

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + 5
        for process in self.processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []
        self.sweep()
        self.lock.close()

    def sweep(self):
        """Removes all that carries our prefix, ours or of an earlier run. Never raises for what is
        gone already."""
        if self.root.is_dir():
            empty_cgroup(self.root)
        for path in glob.glob(f"/run/netns/{self.prefix}-*"):
            command("ip", "netns", "delete", os.path.basename(path), check=False)
        for line in command("ip", "-o", "link", "show").splitlines():
            name = line.split(": ")[1].split("@")[0]
            if name.startswith(f"{self.short}-"):
                command("ip", "link", "delete", name, check=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def only_one(prefix, seconds=600):
    """A lock among all processes of the machine that needs no file of its own and goes with its
    holder: a byte of a file of the cgroup hierarchy, which is one for all namespaces."""
    lock = (cgroup2_mount() / "cgroup.subtree_control").open("r+")
    began = time.monotonic()
    waiting = False
    while True:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, zlib.crc32(prefix.encode()))
        except OSError as error:
            if time.monotonic() > began + seconds:
                raise LabError(f"another {prefix} is running") from error
            if not waiting:  # told at once: whoever has less patience sees what it was that hung
                print(f"another {prefix} is running: waiting", file=sys.stderr, flush=True)
            waiting = True
            time.sleep(0.2)
            continue
        if waiting:
            print(f"… for {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        return lock


def add_address(run, link, address):
    # Without nodad an IPv6 address is unusable for a second.
    extra = ["nodad"] if ":" in address else []
    run("ip", "address", "add", address, "dev", link, *extra)


def empty_cgroup(root):
    """Kills what runs in a cgroup and below, and removes it."""
    for _ in range(100):
        folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
        for folder in folders:
            for pid in (folder / "cgroup.procs").read_text().split():
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
        try:
            for folder in sorted(folders, key=lambda path: -len(path.parts)):
                folder.rmdir()
            return
        except OSError:
            # The killed take a moment to leave.
            time.sleep(0.02)
    raise LabError(f"{root} does not become empty")
