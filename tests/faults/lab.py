# SPDX-License-Identifier: Apache-2.0
"""The program under faults: started with the library of preload.c, sent numbered spans, and in the
end asked for every one that it acknowledged."""
import errno
import http.client
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from harness.check import Failed, expect, until  # noqa: E402
from numbered import HALF, Faults, free_port, request_of  # noqa: E402

BAD_WORDS = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|check_failed|"
                       r"Assertion|terminated by|double free|unaccounted=[1-9]")

CONFIG = """\
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: '127.0.0.1:{grpc}'}}
      http: {{endpoint: '127.0.0.1:{http}'}}
exporters:
{exporters}
service:
  telemetry: {{metrics: {{address: '127.0.0.1:{metrics}'}}}}
  pipelines:
    traces:
      receivers: [otlp]
      exporters: [{names}]
{pipeline}
undertrace:
  memory: {{limit_mib: 64}}
  admin: ''
  shutdown_timeout: {shutdown}
"""
QUICK = "retry_on_failure: {initial_interval: 5ms, max_interval: 50ms}"
# A test that fails leaves no program behind. Not by a function that Popen calls in the child: the
# handlers that GRPC has for forks would come before it, and end the child now and then.
DIES_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")


class Program:
    """`exporters` is YAML with the exporters that all spans go to; `arrived` returns the numbers of
    the spans that their backends have."""
    numbers = 0  # of spans, over all programs
    library = None  # of preload.c

    def __init__(self, folder, exporters, pipeline="", arrived=None, shutdown="10s", config=CONFIG):
        self.folder, self.arrived = folder, arrived
        self.log = folder / "log"
        self.faults = Faults(folder / "faults", self.library, folder / "data")
        self.grpc, self.http, self.metrics = free_port(), free_port(), free_port()
        names = re.findall(r"^  ([\w/]+):", exporters, re.M)
        self.config = folder / "config.yaml"
        self.config.write_text(config.format(
            grpc=self.grpc, http=self.http, metrics=self.metrics, exporters=exporters,
            names=", ".join(names), pipeline=pipeline, shutdown=shutdown))
        self.process, self.acknowledged = None, set()
        self.connection, self.before = None, ()

    # ---- life -----------------------------------------------------------------------------------

    def launch(self):
        with self.log.open("ab") as log:
            # pylint: disable=consider-using-with
            self.process = subprocess.Popen(
                [*DIES_WITH_PARENT, *self.before, os.environ["UT_PROGRAM"], "run", "--config",
                 self.config], stdout=log, stderr=log,
                env={**os.environ, **self.faults.environment})
        return self

    def start(self):
        self.launch()
        until(self.is_ready, 60, "the program is ready")
        return self

    def is_ready(self):
        self.expect_alive()
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics, timeout=10)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def words(self):
        return self.log.read_text(errors="replace")

    def expect_alive(self):
        expect(self.process.poll() is None,
               f"the program ended with {self.process.poll()}:\n{self.words()[-6000:]}")

    def expect_said(self, pattern):
        until(lambda: re.search(pattern, self.words()), 30, f"the log says {pattern}: "
              f"{self.words()[-3000:]}")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.connection = None

    def stop(self):
        """As an operator would; it leaves well and has lost nothing that it acknowledged."""
        self.expect_alive()
        self.expect_arrived()
        self.end()

    def end(self):
        """It leaves well, whatever it has had to leave behind."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(60)
        except subprocess.TimeoutExpired as late:
            self.process.kill()
            raise Failed(f"it does not stop:\n{self.words()[-3000:]}") from late
        self.connection = None
        expect(status == 0, f"the program left with {status}:\n{self.words()[-9000:]}")
        self.expect_clean()

    def expect_clean(self):
        found = BAD_WORDS.search(self.words())
        expect(not found, f"the log: {self.words()[max(0, found.start() - 300):][:6000]}"
               if found else "")

    def expect_arrived(self, seconds=60):
        if self.arrived is None:
            return
        def missing():
            return self.acknowledged - set(self.arrived())
        try:
            until(lambda: self.expect_alive() or not missing(), seconds, "all spans arrive")
        except Failed as failure:
            raise Failed(f"{failure}: missing {sorted(missing())[:9]}, log:\n"
                         f"{self.words()[-3000:]}") from failure

    # ---- its clients ----------------------------------------------------------------------------

    def take(self, count=1):
        Program.numbers += count
        return range(Program.numbers - count + 1, Program.numbers + 1)

    def send(self, count=1, padding=0, numbers=None):
        """The status of a request with as many spans; 0: there was no answer. What is answered with
        200 has to arrive."""
        numbers = numbers or self.take(count)
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=30)
        try:
            self.connection.request("POST", "/v1/traces", request_of(numbers, padding),
                                    {"Content-Type": "application/x-protobuf"})
            response = self.connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            self.hang_up()
            return 0
        if response.status == 200:
            self.acknowledged.update(numbers)
        elif response.status not in (429, 503):
            raise Failed(f"a refusal that loses the spans: {response.status}")
        return response.status

    def hang_up(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def send_well(self, count=1, padding=0):
        """Sends until it is taken, as a client would."""
        until(lambda: self.expect_alive() or self.send(count, padding) == 200, 60,
              "a request is taken again")

    def expect_quiet(self):
        """Nothing of what was taken in is held any more."""
        until(lambda: self.held() == 0, 60, f"all memory is given back, now {self.held()}")

    def held(self):
        return self.metric("undertrace_budget_used_bytes")

    def connections(self):
        return self.metric("undertrace_receiver_connections")

    def metric(self, name):
        """The sum over all labels."""
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics, timeout=10)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        found = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.M)
        expect(found, f"no metric {name}")
        return sum(map(float, found))


def name_of(error):
    return errno.errorcode[error & ~HALF]
