# SPDX-License-Identifier: Apache-2.0
"""reload.py TIMES [durable]: the configuration is reloaded again and again under a load of spans on
one old connection and on new ones. No request fails, no span is lost, nothing is left open. With
`durable` what an exporter that goes has not sent waits on the disk until one of its name is there.
"""
import pathlib
import re
import sys
import threading
import time

from harness import wire
from harness.bed import COLLECTOR
from harness.check import Failed, case, equal, expect, until
from harness.program import CONFIG, Undertrace
from restart import one_span

SINK = "127.0.0.1:14318"


class Load(threading.Thread):
    """Sends one-span requests until it is stopped; on a connection of each one, or all on one."""

    def __init__(self, first, keeps):
        super().__init__(daemon=True)
        self.number, self.keeps = first, keeps
        self.sent, self.failures, self.running = [], [], True
        self.start()

    def run(self):
        sender = wire.Sender(COLLECTOR)
        while self.running:
            self.number += 1
            body = one_span(self.number)
            code, _ = sender.send(body)
            if code.name != "OK":
                self.failures.append(code.name)
            self.sent.append(wire.spans_of(body)[0][2:18])
            time.sleep(0.002)
            if not self.keeps:
                sender.channel.close()
                sender = wire.Sender(COLLECTOR)

    def stop(self):
        self.running = False
        self.join(20)


DISK = """\
      ack: durable
      storage: {{type: disk, directory: {folder}/hold, max_bytes: 64MiB}}
undertrace:
"""


def config(folder, turn):
    """A different one each time: another exporter, now and then another name for the receiver,
    other times, more or fewer limits."""
    name = ("otlp_grpc", "otlp_grpc/second")[turn % 2]
    text = CONFIG.replace("otlp_grpc:", name + ":").replace("[otlp_grpc]", f"[{name}]")
    receiver = ("otlp", "otlp/second")[turn // 3 % 2]
    text = text.replace("  otlp:", f"  {receiver}:").replace("[otlp,", f"[{receiver},")
    text = text.replace("settle: 1s", f"settle: {20 + turn % 3 * 40}ms")
    if "durable" in sys.argv:
        text = text.replace("undertrace:\n", DISK)
    return text.format(listen=COLLECTOR, backend=SINK, folder=folder, more="", ebpf="")


def held(process):
    """(descriptors, KiB resident that are no file's: a disk hold is mapped)"""
    proc = pathlib.Path(f"/proc/{process.pid}")
    resident = re.search(r"^RssAnon:\s*(\d+)", (proc / "status").read_text(), re.M).group(1)
    return len(list((proc / "fd").iterdir())), int(resident)


def reload(undertrace, turn):
    undertrace.config.write_text(config(undertrace.folder, turn))
    done = undertrace.command("reload", "--admin", undertrace.admin)
    if done.returncode != 0:
        raise Failed(f"reload {turn}: {done.stderr}{undertrace.log.read_text()[-2000:]}")


def check(lab, folder, received, times):
    undertrace = Undertrace(lab, folder, COLLECTOR, received.address)
    undertrace.config.write_text(config(folder, 0))
    undertrace.start()
    loads = [Load(1 << 40, True), Load(2 << 40, False)]
    warm = max(10, times // 10)
    for turn in range(1, warm + 1):
        reload(undertrace, turn)
    time.sleep(1)
    before = held(undertrace.process)
    for turn in range(warm + 1, warm + times + 1):
        reload(undertrace, turn)
    for load in loads:
        load.stop()
        equal(load.failures, [], "requests that failed")
    sent = {span for load in loads for span in load.sent}
    expect(len(sent) > times, f"only {len(sent)} spans sent")

    def missing():
        return sent - {span[2:18] for span in received.spans()}

    for turn in range(4):  # what waits for an exporter of that name is sent once there is one
        reload(undertrace, turn)
        deadline = time.monotonic() + 4
        while missing() and time.monotonic() < deadline:
            time.sleep(0.05)
    until(lambda: not missing(), 15, "everything acknowledged arrives")
    equal(len(received.spans()), len(sent), "spans at the sink")
    until(lambda: held(undertrace.process)[0] <= before[0], 10,
          f"no more descriptors than the {before[0]} of before")
    after = held(undertrace.process)
    expect(after[1] < before[1] + 2048, f"resident memory grew from {before[1]} to {after[1]} KiB")
    print(f"{times} reloads, {len(sent)} spans, {before} → {after} (descriptors, KiB)")
    undertrace.stop()


@case
def test(lab, folder):
    lab.bridge("10.78.0.1/24")
    received = wire.ByteSink(SINK).start()
    try:
        check(lab, folder, received, int(sys.argv[1]))
    finally:
        received.stop()
