# SPDX-License-Identifier: Apache-2.0
"""The disk fails under the hold and under the file exporter."""
import errno
import json

from backends import HttpCounter
from harness.check import equal, expect
from lab import Program, name_of
from numbered import HALF, SYNC, WRITE, numbers_in

HOLD = """\
      ack: durable
      storage: {{type: disk, directory: {folder}/data, max_bytes: {most}}}"""
EXPORTER = """\
  otlp_http:
    endpoint: http://127.0.0.1:{port}
    retry_on_failure: {{initial_interval: 20ms, max_interval: 100ms}}
"""
# What to do about it has to be in the log (README.md tells where the hold is).
ADVICE = r'event=hold_(failed|full) directory=\S+/data .*text="[^"]*(disk|max_bytes)[^"]*"'


def start_hold(folder, sink, most="64MiB"):
    return Program(folder, EXPORTER.format(port=sink.port), HOLD.format(folder=folder, most=most),
                   sink.numbers).start()


def meet(program, kind, error, after):
    """One call fails on the way of some requests, each of which makes one at least. Whether there
    was such a call."""
    program.faults.set(kind, error, after)
    for _ in range(after + 2):
        status = program.send(3)
        if program.faults.failed(kind):
            break
    failed = program.faults.clear(kind)
    if failed and status == 200:
        # Not the commit of that request: what else has failed must not have cost it anything.
        program.kill()
        program.start()
    program.send_well()
    return failed > 0


def hold_each_call(folder, whole):
    """Each write and sync of a commit fails once, in turn; then all of them, for a while. Nothing
    of it is acknowledged, what was acknowledged survives SIGKILL, and it goes on by itself."""
    cases = [(kind, error) for kind in (WRITE, SYNC) for error in (errno.ENOSPC, errno.EIO)]
    for kind, error in cases:
        with HttpCounter() as sink:
            place = folder / f"{kind}-{error}"
            place.mkdir()
            program = start_hold(place, sink)
            sink.status = 503
            for after in range(30 if whole else 2):
                expect(meet(program, kind, error, after), f"there is no call {after} of {kind}")
            program.expect_said(ADVICE)
            program.kill()
            program.start()
            sink.status = 200
            program.stop()


def hold_for_long(folder, whole):
    """The disk takes nothing at all for some time: every request is refused retryably."""
    for kind, error in [(WRITE, errno.ENOSPC), (SYNC, errno.EIO), (WRITE, errno.EIO)]:
        with HttpCounter() as sink:
            place = folder / f"{kind}-{error}"
            place.mkdir()
            program = start_hold(place, sink)
            program.send_well(10)
            sink.status = 503
            program.send_well(10)
            program.faults.set(kind, error, times=1 << 31)
            statuses = {program.send(2) for _ in range(200 if whole else 20)}
            equal(statuses, {503}, f"answers while the disk gives {name_of(error)}")
            expect(program.faults.clear(kind) > 0, "no call failed")
            program.expect_said(ADVICE)
            program.send_well(10)
            sink.status = 200
            program.stop()


def hold_without_room(folder, whole):
    """max_bytes are taken while the backend refuses: requests are, too, until it does not."""
    del whole
    with HttpCounter() as sink:
        program = start_hold(folder, sink, "16MiB")
        sink.status = 503
        taken = 0
        while taken < 400 and program.send(20, 4000) == 200:
            taken += 1
        expect(80 < taken < 220, f"{taken} requests of 80 KB into 16 MiB")
        program.expect_said(ADVICE)
        sink.status = 200
        program.send_well()
        program.stop()


def file_each_write(folder, whole):
    """The file exporter's disk is full, or fails, or takes half a record: nothing is lost, and
    every line is whole."""
    data = folder / "data"
    data.mkdir()
    files = [data / "spans.json", data / "spans.proto"]
    program = Program(folder, f"""\
  file:
    path: {files[0]}
    retry_on_failure: {{initial_interval: 20ms, max_interval: 100ms}}
  file/proto:
    path: {files[1]}
    format: proto
    retry_on_failure: {{initial_interval: 20ms, max_interval: 100ms}}
""")

    def arrived():
        return set.intersection(*(set(numbers_in(file.read_bytes())) for file in files))
    program.arrived = arrived
    program.start()
    for error in (errno.ENOSPC, errno.EIO, errno.ENOSPC | HALF, errno.EIO | HALF):
        for after in range(12 if whole else 2):
            program.faults.set(WRITE, error, after, times=1 + after % 5)
            for _ in range(3):
                equal(program.send(5, 100), 200, "the answer of a queue with room")
            program.expect_arrived()
            program.faults.clear(WRITE)
    program.expect_said(r"event=export_retry exporter=file .*cannot write to \S+: ")
    program.stop()
    for line in files[0].read_text().splitlines():
        json.loads(line)
    seen = numbers_in(files[0].read_bytes())
    equal(sorted(seen), sorted(program.acknowledged), "spans in whole lines, each once")


CASES = (hold_each_call, hold_for_long, hold_without_room, file_each_write)
