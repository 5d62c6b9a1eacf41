# SPDX-License-Identifier: Apache-2.0
"""A real Jaeger, and what its query API shows of a trace."""
import json
import pathlib
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

from . import spans
from .check import Failed, Skipped, until

HERE = pathlib.Path(__file__).resolve().parent
OTLP = "127.0.0.1:14317"
QUERY = "http://127.0.0.1:16686"


def program():
    """The binary, built into the cache by tests/run; a test never builds it: that takes minutes."""
    build = HERE.parent / "jaeger" / "build"
    result = subprocess.run([build, "--no-build"], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise Skipped(result.stderr.strip())
    return result.stdout.strip()


def fetch(path):
    with urllib.request.urlopen(QUERY + path, timeout=10) as answer:
        return json.load(answer)


class Jaeger:
    """Start and stop as often as needed; each start begins with an empty memory."""

    def __init__(self, lab, folder):
        self.lab, self.folder, self.program = lab, pathlib.Path(folder), program()
        self.process = None

    def start(self):
        with (self.folder / "jaeger.log").open("a") as log:
            self.process = self.lab.start(
                [self.program, "--config", HERE / "jaeger.yaml"], self.lab.cgroup("jaeger"),
                stdout=log, stderr=log)
        until(self.answers, 120, "Jaeger answers")
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise Failed("Jaeger ended: " + (self.folder / "jaeger.log").read_text()[-2000:])
        try:
            fetch("/api/v3/services")
            return True
        except OSError:
            return False

    def stop(self):
        self.lab.stop(self.process)

    def trace(self, trace_id):
        """The spans of a trace, as spans.Span; an empty list while Jaeger has none."""
        try:
            answer = fetch(f"/api/v3/traces/{trace_id}")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return []
            raise
        return spans.from_json(answer["result"])

    def search(self, service, **tags):
        """The ids of the service's traces in which one span has all these tags."""
        tags = urllib.parse.quote(json.dumps(tags))
        answer = fetch(f"/api/traces?service={service}&limit=1000&lookback=1h&tags={tags}")
        return {trace["traceID"] for trace in answer["data"]}

    def wait_for(self, trace_id, count, seconds=60):
        """A trace once it has that many spans."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.trace(trace_id)
            if len(found) >= count:
                return found
            if time.monotonic() > deadline:
                raise Failed(f"trace {trace_id} has {len(found)} of {count} spans in Jaeger after "
                             f"{seconds} s: {[span.name for span in found]}")
            time.sleep(0.1)
