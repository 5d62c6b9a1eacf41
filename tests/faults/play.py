# SPDX-License-Identifier: Apache-2.0
"""Plays faults against the program, in the network of its own that tests/e2e/run_test makes.

    play.py LIBRARY NAME… [--whole]

NAME is of a case, or of a group of them; --whole plays each in all its length. LIBRARY is that
of preload.c, UT_PROGRAM names the program.
"""
import os
import pathlib
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

import disk  # noqa: E402
import lab  # noqa: E402
import peers  # noqa: E402

GROUPS = {"disk": disk, "peers": peers}


def play(case, whole):
    begin = time.monotonic()
    place = os.environ.get("TMPDIR", "/var/tmp")  # a disk, for `ack: durable` wants one
    with tempfile.TemporaryDirectory(prefix="undertrace-faults-", dir=place) as folder:
        case(pathlib.Path(folder), whole)
    print(f"{case.__name__}: {time.monotonic() - begin:.1f} s", flush=True)


def main():
    lab.Program.library, *names = [word for word in sys.argv[1:] if not word.startswith("-")]
    cases = {case.__name__: [case] for group in GROUPS.values() for case in group.CASES}
    cases.update({name: group.CASES for name, group in GROUPS.items()})
    if "--whole" in sys.argv:  # it takes as long as all others
        cases["peers"] = [case for case in peers.CASES if case is not peers.exporter_resets]
    for name in names:
        for case in cases[name]:
            play(case, "--whole" in sys.argv)


if __name__ == "__main__":
    status = 1
    try:
        main()
        status = 0
    except BaseException:  # pylint: disable=broad-except
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # threads of servers that still wait must not keep it
