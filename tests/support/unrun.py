# SPDX-License-Identifier: Apache-2.0
"""How often the kernel did not run our programs though their tracepoints fired.

Some kernels run no tracing program in interrupts that come while certain tasks are current: seen
with retransmits and with connections that were accepted, which ftrace told and for which every
eBPF program on the tracepoint, of any process, was skipped, with `recursion_misses` at 0. No record
can come of such an event, and no counter of ours can know it. A test that compares with the
kernel's counters asks here whether that happened, and measures again if it did. Where ftrace or the
run counts are not to be had the answer is no, so a mismatch is a failure.

A program that ran and lost its record, or that counts a recursion, is ours: neither is told here.
"""
import contextlib
import os
import pathlib
import re
import subprocess
import tempfile

# Of connections too: where the opening of one end was not told, nothing can be joined there.
TRACEPOINTS = {"tcp_retransmit_skb": "tcp", "tcp_retransmit_synack": "tcp",
               "inet_sock_set_state": "sock"}
STATS = pathlib.Path("/proc/sys/kernel/bpf_stats_enabled")
BUFFER_KB = "8192"  # of each CPU; an event takes about 100 bytes


class Unrun:
    """Watches from now on over the programs that process `pid` has attached."""

    def __init__(self, pid):
        self.pid = pid
        self.instance = self.stats_before = self.runs_before = None
        self.unrun = 0
        self.mount = pathlib.Path(tempfile.mkdtemp(prefix="ut-tracefs-"))
        try:
            self.begin()
        except (OSError, subprocess.CalledProcessError):
            self.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def begin(self):
        subprocess.run(["mount", "-t", "tracefs", "tracefs", self.mount], check=True,
                       capture_output=True)
        self.stats_before = STATS.read_text()
        STATS.write_text("1")
        instance = self.mount / "instances" / f"ut-{os.getpid()}-{self.pid}"
        instance.mkdir()
        self.instance = instance
        (instance / "buffer_size_kb").write_text(BUFFER_KB)
        self.watch()

    def watch(self):
        # Runs first here and last in `count`: what comes in between hides an event that was not
        # run, and never makes one up.
        self.runs_before = self.runs()
        self.enable("1")

    def enable(self, value):
        for name, group in TRACEPOINTS.items():
            (self.instance / "events" / group / name / "enable").write_text(value)

    def runs(self):
        """Tracepoint → runs of the process's program on it, with the recursions."""
        programs, attached = {}, {}
        for path in pathlib.Path(f"/proc/{self.pid}/fdinfo").iterdir():
            try:
                text = path.read_text()
            except FileNotFoundError:
                continue  # closed meanwhile: a socket
            told = dict(re.findall(r"^(\w+):\s*(\S+)", text, re.M))
            if "run_cnt" in told:
                skipped = told.get("recursion_misses", 0)  # since 5.12
                programs[told["prog_id"]] = int(told["run_cnt"]) + int(skipped)
            elif "tp_name" in told:
                attached[told["tp_name"]] = told["prog_id"]
        try:
            return {name: programs[attached[name]] for name in TRACEPOINTS}
        except KeyError as missing:
            raise OSError(f"nothing of process {self.pid} is attached: {missing}") from missing

    def count(self):
        """Events so far that ftrace told and the program was not run for. The process must live."""
        if self.instance is None:
            return 0
        self.enable("0")
        runs = self.runs()
        trace = (self.instance / "trace").read_text()
        (self.instance / "trace").write_text("")
        self.unrun += sum(max(0, len(re.findall(rf": {name}: ", trace))
                              - (runs[name] - self.runs_before[name])) for name in TRACEPOINTS)
        self.watch()
        return self.unrun

    def close(self):
        if self.instance is not None:
            self.enable("0")
            self.instance.rmdir()
            self.instance = None
        if self.stats_before is not None:
            STATS.write_text(self.stats_before)
            self.stats_before = None
        subprocess.run(["umount", self.mount], check=False, capture_output=True)
        with contextlib.suppress(OSError):
            self.mount.rmdir()
