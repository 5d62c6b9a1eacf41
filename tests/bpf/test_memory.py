#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Processes that run into memory limits of real cgroups, and what the kernel programs tell."""
import errno
import os
import signal
import subprocess
import sys
import time

from harness import HERE, KernelTest, Lines, UNLIMITED, cgroup_id, main

import netlab
import pressure

LIMIT = 32 * pressure.MIB
FILE = 128 * pressure.MIB
TOUCHED = 64 * pressure.MIB
ATTEMPTS = 6
WINDOW = 0.25  # more than that of stalls, so that two of them are two
GONE = (1 << 64) - 1


class Task(Lines):
    """A process of pressure.py in a cgroup, both sides of it."""

    def __init__(self, lab, cgroup, limited):
        self.lab = lab
        self.process = lab.start([sys.executable, HERE.parent / "support" / "pressure.py"], cgroup,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        super().__init__(self.process.stdout)
        self.wait(what="ready")
        self.do(f"join {limited.folder}")

    def do(self, command):
        before = len(self.find(what="done"))
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.wait(before + 1, 60, what="done")[before]

    def end(self):
        self.lab.stop(self.process)
        self.thread.join(10)
        self.process.stdin.close()
        self.process.stdout.close()


class Memory(KernelTest):
    settings = None

    def setUp(self):
        super().setUp()
        if pressure.memory_mount() is None:
            self.skipTest("no memory controller is mounted")
        self.watch_with(UNLIMITED)
        self.file = self.lab.scratch / "large"
        pressure.write_file(self.file, FILE)

    def place(self, *names):
        path = self.lab.cgroup(*names)
        limited = pressure.Limited(netlab.cgroup2_mount(), path)
        self.addCleanup(limited.remove)
        return path, limited

    def task(self, path, limited):
        task = Task(self.lab, path, limited)
        self.addCleanup(task.end)
        return task

    def stalls(self, path, began=0, ended=1 << 63):
        """Those of the cgroup whose window meets the time between, after all have been told."""
        time.sleep(WINDOW)
        self.wait_until_read()
        return [line for line in self.watch.find(type="stall", cgroup=cgroup_id(path))
                if line["unix_ns"] + line["window"][1] > began
                and line["unix_ns"] + line["window"][0] < ended]

    def test_stalls_at_the_own_limit_sum_up_to_what_psi_says(self):
        path, limited = self.place("one")
        limited.limit(LIMIT)
        task = self.task(path, limited)
        task.do("pin")
        task.do(f"read {self.file} {LIMIT // 4}")  # fits
        self.assertEqual(self.stalls(path), [])
        self.expect_as_psi("a file", path, task, 4 * FILE, 0, 0.05)

    def test_anonymous_stalls_sum_up_to_what_psi_says(self):
        path, limited = self.place("anonymous")
        task = self.task(path, limited)
        task.do("pin")
        limited.limit(limited.usage() + LIMIT)
        self.expect_as_psi("anonymous", path, task, LIMIT * 3 // 4, LIMIT * 3 // 4, 0.15)

    def expect_as_psi(self, what, path, task, size, touched, tolerance):
        """What is told of one task that stalls, beside PSI's figure, which also has the time that
        the programs themselves take once they have taken theirs: 0.2 µs a reclaim."""
        pressure.make_hole(self.file, size)
        before = pressure.pressure(path)
        work = task.do(f"walk {self.file} {touched}")
        after = pressure.pressure(path)
        stalls = self.stalls(path, work["began"], work["ended"])
        self.assertEqual({stall["level"] for stall in stalls}, {0})
        told = sum(stall["ns"] for stall in stalls)
        self.assertGreater(told, 1_000_000)
        for stall in stalls:
            self.assertLessEqual(stall["ns"], stall["window"][1] - stall["window"][0])
            self.assertGreaterEqual(stall["unix_ns"] + stall["window"][0],
                                    work["began"] - 2_000_000)
            self.assertLessEqual(stall["unix_ns"] + stall["window"][1], work["ended"] + 2_000_000)
        if before is not None and after > before:
            ratio = told / (after - before)
            print(f"{what}: {told / 1e6:.1f} ms, {ratio:.3f} of PSI")
            self.assertAlmostEqual(ratio, 1, delta=tolerance)

    def test_limit_of_a_parent_is_told_as_such(self):
        _, above = self.place("two")
        path, limited = self.place("two", "below")
        above.limit(LIMIT)
        task = self.task(path, limited)
        task.do(f"read {self.file} {4 * FILE}")
        self.assertEqual({stall["level"] for stall in self.stalls(path)}, {1})

    def test_cgroup_that_somebody_else_makes_smaller_has_not_stalled(self):
        path, limited = self.place("three")
        limited.limit(8 * LIMIT)
        task = self.task(path, limited)
        task.do(f"read {self.file} {2 * FILE}")
        held = limited.usage()
        self.assertGreater(held, FILE // 2)
        outsider = subprocess.run(
            [sys.executable, "-c", f"open({str(limited.folder)!r} + '/' + {limit_name(limited)!r}, "
                                   f"'w').write('{held - 2 * LIMIT}')"], check=True)
        self.assertEqual(outsider.returncode, 0)
        self.assertLess(limited.usage(), held - LIMIT)
        self.assertEqual(self.stalls(path), [])

    def test_oom_kill_is_told_once_with_the_victims_cgroup(self):
        path, limited = self.place("four")
        limited.limit(LIMIT)
        task = self.task(path, limited)
        answer = task.do(f"grow {4 * LIMIT}")
        self.assertEqual(answer["signal"], 9)
        kill, = self.watch.wait(type="oom_kill", cgroup=cgroup_id(path))
        self.assertEqual(kill["pid"], answer["victim"])
        self.assertAlmostEqual(kill["bytes"] / LIMIT, 1, delta=0.5)
        self.assertGreaterEqual(kill["unix_ns"], answer["began"] - 2_000_000)
        self.assertLessEqual(kill["unix_ns"], answer["ended"] + 2_000_000)
        time.sleep(0.2)
        self.assertEqual(len(self.watch.find(type="oom_kill", cgroup=cgroup_id(path))), 1)
        metrics = self.watch.end()
        self.assertEqual(metrics["undertrace_ebpf_lost_total{type='stall'}"], 0)

    def test_nothing_is_counted_at_allocation_unless_asked_for(self):
        path, limited = self.place("uncounted")
        self.task(path, limited).do(f"touch {TOUCHED} small")
        time.sleep(0.3)
        self.assertEqual(self.watch.find(type="allocated"), [])

    def allocated(self, path, work):
        """In the windows that meet the work, once the last of them has been told."""
        time.sleep(WINDOW)
        self.wait_until_read()
        told = self.watch.find(type="allocated", cgroup=cgroup_id(path))
        return sum(line["bytes"] for line in told
                   if line["unix_ns"] < work["ended"]
                   and line["unix_ns"] + line["window_ns"] > work["began"])

    def test_exact_counts_what_was_touched(self):
        self.watch.end()
        self.watch = self.watch_with(UNLIMITED + "memory: exact\n")
        path, limited = self.place("exact")
        task = self.task(path, limited)
        with open(self.file, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        time.sleep(0.4)  # what it took to start is in no window of what follows
        for command, touched in ((f"touch {TOUCHED} small", TOUCHED),
                                 (f"touch {TOUCHED} huge", TOUCHED),
                                 (f"copy {TOUCHED}", 2 * TOUCHED),
                                 (f"read {self.file} {FILE}", FILE),
                                 (f"read {self.file} {FILE}", 0)):
            for _ in range(ATTEMPTS):  # what was cached may have had to go for others
                told = self.allocated(path, task.do(command))
                print(f"{command}: {told / pressure.MIB:.2f} MiB, of {touched / pressure.MIB:.0f}")
                if touched > 0 or told <= TOUCHED * 0.02:
                    break
            self.assertLessEqual(abs(told - touched), max(touched, TOUCHED) * 0.02)
        metrics = self.watch.end()
        self.assertEqual(metrics["undertrace_ebpf_lost_total{type='allocated'}"], 0)

    def test_windows_of_exact_follow_each_other_without_a_gap(self):
        self.watch.end()
        self.watch = self.watch_with(UNLIMITED + "memory: exact\n")
        time.sleep(1.2)
        windows = self.watch.find(type="allocated", cgroup=0)
        self.assertGreater(len(windows), 5)
        for before, after in zip(windows, windows[1:]):
            end = before["unix_ns"] + before["window_ns"]
            self.assertLess(abs(after["unix_ns"] - end), 1_000_000)

    def usage(self, slot):
        before = len(self.watch.find(type="usage", slot=slot))
        self.watch.signal(signal.SIGUSR1)
        return self.watch.wait(before + 1, type="usage", slot=slot)[before]["bytes"]

    def expect_usage_of_file(self, slot, limited):
        """Where CPUs give back what they had charged ahead, the two readings may differ."""
        for _ in range(100):
            before = limited.usage()
            told = self.usage(slot)
            if told == before == limited.usage():
                return told
        self.fail(f"slot {slot} has {told} bytes, the file {before}")

    def expect_gone(self, slot):
        """The kernel takes a cgroup down behind our back."""
        for _ in range(200):
            if self.usage(slot) == GONE:
                return
            time.sleep(0.05)
        self.fail(f"slot {slot} still has {self.usage(slot)} bytes")

    def test_usage_is_that_of_the_file_and_ends_with_the_cgroup(self):
        self.watch.end()
        places = [self.place("held"), self.place("beside")]
        names = [*(limited.folder for _, limited in places), self.lab.scratch]
        os.environ["WATCH_USAGE"] = " ".join(map(str, names))
        self.addCleanup(os.environ.pop, "WATCH_USAGE", None)
        self.watch = self.watch_with(UNLIMITED)
        watched = self.watch.wait(3, type="usage_watched")
        self.assertEqual([line["error"] for line in watched], [0, 0, errno.ENODATA])
        task, beside = (self.task(*place) for place in places)
        task.do(f"hold {TOUCHED}")
        self.assertGreater(self.expect_usage_of_file(0, places[0][1]), TOUCHED)
        self.assertLess(self.expect_usage_of_file(1, places[1][1]), TOUCHED)
        self.assertEqual(self.usage(2), GONE)
        task.end()
        self.expect_usage_of_file(0, places[0][1])
        places[0][1].folder.rmdir()
        self.expect_gone(0)
        self.expect_usage_of_file(1, places[1][1])
        beside.end()

    def test_nothing_is_told_when_it_is_off(self):
        self.watch.end()
        watch = self.watch_with(UNLIMITED + "memory: off\n")
        path, limited = self.place("five")
        limited.limit(LIMIT)
        task = self.task(path, limited)
        task.do(f"read {self.file} {2 * FILE}")
        task.do(f"grow {4 * LIMIT}")
        (self.lab.root / "after").mkdir()
        watch.wait(type="cgroup", path="/utbpf/after")
        self.assertEqual(watch.find(type="stall") + watch.find(type="oom_kill"), [])
        self.assertEqual(watch.missing(), {})


def limit_name(limited):
    return "memory.limit_in_bytes" if limited.v1 else "memory.max"


if __name__ == "__main__":
    main()
