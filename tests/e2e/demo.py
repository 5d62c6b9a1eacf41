# SPDX-License-Identifier: Apache-2.0
"""The demo, as deploy/try runs it: its own check must find everything right, and nothing of it may
be left, not even where it was killed half-way and run again."""
import os
import pathlib
import signal
import subprocess
import sys
import time

from harness.check import REPOSITORY
from harness.program import program

DEMO = [sys.executable, "-B", REPOSITORY / "deploy/demo/demo.py", "--undertrace", program()]
REMAINS = REPOSITORY / "tests/support/remains"


def remains():
    """What of a demo is there; others may be at work on this machine."""
    lines = subprocess.run([REMAINS], capture_output=True, text=True, check=True).stdout.split("\n")
    return [line for line in lines if "utd" in line or "undertrace-demo" in line]


def main():
    before = remains()
    killed = subprocess.Popen(DEMO, stdout=subprocess.DEVNULL, cwd=pathlib.Path("/"))
    time.sleep(6)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()

    start = time.monotonic()
    run = subprocess.run(DEMO, capture_output=True, text=True, check=False, timeout=90)
    seconds = time.monotonic() - start
    print(run.stdout[-6000:], run.stderr[-3000:])
    print(f"{seconds:.1f} s")
    if run.returncode != 0:
        return 1
    if seconds > 30:
        print("the demo takes 30 s at most")
        return 1
    if remains() != before:
        print("left behind:", remains())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
