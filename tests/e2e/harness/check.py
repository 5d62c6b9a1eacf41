# SPDX-License-Identifier: Apache-2.0
"""What a test is made of: a context with a lab, checks that say what they saw, and skips.

    @case
    def test(bench): …

`case` runs the function at once when its file is the program: exit 0, 1, or 77 with the reason.
"""
import os
import pathlib
import sys
import tempfile
import time
import traceback

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY / "tests" / "support"))

import netlab  # noqa: E402

from . import capture  # noqa: E402

ATTEMPTS = 4


class Failed(Exception):
    """A check did not hold; the text says what was expected and what was there."""


class Again(Failed):
    """A check did not hold, but what it rests on did not either: a new run may tell. The last of
    ATTEMPTS is a failure."""


class Skipped(Exception):
    """This machine lacks what the test needs; the text says what."""


def expect(condition, text):
    if not condition:
        raise Failed(text)


def equal(seen, wanted, what):
    expect(seen == wanted, f"{what}: {seen!r}, expected {wanted!r}")


def until(condition, seconds, what):
    """Waits for something to become true; its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        expect(time.monotonic() < deadline, f"not within {seconds} s: {what}")
        time.sleep(0.05)


def case(test):
    """Runs a test whose file is the program."""
    if sys.modules[test.__module__].__name__ != "__main__":
        return test
    for left in reversed(range(ATTEMPTS)):
        status = attempt(test, left)
        if status is not None:
            break
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of a gRPC server that still waits must not keep a finished test.
    os._exit(status)


def run(test, lab, folder):
    """A failure of a run in which the kernel did not run our programs for an event says nothing of
    them (support/unrun.py): such a run is done again."""
    from . import program  # pylint: disable=import-outside-toplevel,cyclic-import
    try:
        test(lab, folder)
    except Skipped:
        raise
    except Exception as error:
        events = program.unrun_events()
        if events > 0:
            raise Again(f"{error}; the kernel ran no program for {events} events") from error
        raise
    finally:
        program.forget_unrun()


def print_capture(path):
    """The program may still be writing it, so its last record may be a part."""
    if path.exists():
        print("---- what the kernel told last")
        print("\n".join(list(capture.told(path))[-200:]))


def attempt(test, left):
    """The exit status of a run; None: another one is needed, and `left` are."""
    status = 0
    with tempfile.TemporaryDirectory(prefix="ute2e-") as folder:
        try:
            with netlab.Lab("ute2e", "ute") as lab:
                run(test, lab, pathlib.Path(folder))
        except Skipped as reason:
            print(f"SKIP: {reason}")
            status = 77
        except Exception as error:  # whatever it was, the logs below belong to it
            if isinstance(error, Again) and left > 0:
                print(f"AGAIN: {error}")
                return None
            traceback.print_exc()
            status = 1
            for log in sorted(pathlib.Path(folder).glob("*.log")):
                print(f"---- {log.name}\n{log.read_text(errors='replace')[-6000:]}")
            print_capture(pathlib.Path(folder) / "kernel.capture")
    return status
