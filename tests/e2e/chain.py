# SPDX-License-Identifier: Apache-2.0
"""One undertrace behind another, over a unix socket: every span arrives, byte for byte."""
import json

from harness import wire
from harness.check import case, equal, expect, until
from harness.program import Undertrace

FIRST, SECOND, SINK = "127.0.0.1:15317", "127.0.0.1:15318", "127.0.0.1:14318"
CONFIG = """\
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: {listen}
MOREexporters:
  otlp_grpc:
    endpoint: "{backend}"
    retry_on_failure: {{initial_interval: 100ms, max_interval: 200ms}}
service:
  telemetry:
    metrics: {{level: LEVEL}}
  pipelines:
    traces:
      receivers: [RECEIVERS]
      exporters: [otlp_grpc]
undertrace:
  admin: unix://{folder}/admin.sock
"""
SECOND_RECEIVER = """\
  otlp/socket:
    protocols:
      grpc:
        endpoint: SOCKET
"""
REQUESTS, SPANS = 30, 100


def config(level, receivers, more=""):
    return CONFIG.replace("LEVEL", level).replace("RECEIVERS", receivers).replace("MORE", more)


@case
def test(lab, folder):
    received = wire.ByteSink(SINK).start()
    for name in ("first", "second"):
        (folder / name).mkdir()
    for socket in (f"unix://{folder}/otlp.sock", "unix:@undertrace-chain"):
        received.bodies.clear()
        second = Undertrace(
            lab, folder / "second", SECOND, f"http://{SINK}",
            config=config("none", "otlp/socket, otlp",
                          SECOND_RECEIVER.replace("SOCKET", f'"{socket}"')))
        first = Undertrace(lab, folder / "first", FIRST, socket, config=config("basic", "otlp"))
        first.start()
        bodies = [wire.numbered_request(number, SPANS) for number in range(REQUESTS)]
        sender = wire.Sender(FIRST)
        # The second is not there yet: what is sent meanwhile waits.
        for number, body in enumerate(bodies):
            code, _ = sender.send(body)
            equal(code.name, "OK", "answer")
            if number == REQUESTS // 2:
                second.start()
        until(lambda: len(received.spans()) >= REQUESTS * SPANS, 20, "all spans arrive")
        sent = sorted(span for body in bodies for span in wire.spans_of(body))
        equal(sorted(received.spans()), sent, "the bytes of all spans")
        expect("unix:" in first.log.read_text(), "the log names the socket")
        first.stop()
        second.stop()
    received.stop()
    print(json.dumps({"spans": REQUESTS * SPANS}))
