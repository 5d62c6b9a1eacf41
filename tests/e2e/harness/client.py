# SPDX-License-Identifier: Apache-2.0
"""An HTTP client with the official instrumentation, unmodified, driven line by line by a test.

    client.py NAME COLLECTOR DELAY_MS

Each line on stdin is a JSON list of calls, all made at once, each in a thread of its own that lives
on with its connection; the answer is one line with a list in the same order. A call is

    {"url": …, "connection": "a",      calls on one connection name follow each other on one socket
     "source": ["10.1.0.1", 40001],    the local end to bind, optional
     "named": true,                    a hand-made CLIENT span that names both ends of the socket,
                                       as some instrumentations do, instead of `requests`
     "age": 600}                       with `named`: the span claims to have begun that long ago
and its answer {"trace_id", "span_id", "seconds"}. `{"flush": true}` in place of a list
sends what the SDK still holds.
"""
import concurrent.futures
import http.client
import json
import sys
import threading
import time
import urllib.parse

import requests
from opentelemetry import propagate, trace
from opentelemetry.instrumentation.requests import RequestsInstrumentor

from sdk import make_provider


class BoundAdapter(requests.adapters.HTTPAdapter):
    """Connections that leave from a chosen address and port."""

    def __init__(self, source):
        self.source = source
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *args, **options):
        super().init_poolmanager(*args, source_address=self.source, **options)


class Connection:
    """One kept connection with the thread that uses it."""

    def __init__(self, source):
        self.source = tuple(source) if source else None
        self.thread = concurrent.futures.ThreadPoolExecutor(1)
        self.session = self.http = self.seen = None

    def by_requests(self, url):
        if self.session is None:
            self.session = requests.Session()
            self.session.verify = False  # certificates are the test's own
            if self.source:
                self.session.mount("http://", BoundAdapter(self.source))
        self.session.get(url, timeout=60).raise_for_status()
        return self.seen

    def by_hand(self, url, age):
        parts = urllib.parse.urlsplit(url)
        if self.http is None:
            self.http = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60,
                                                   source_address=self.source)
            self.http.connect()
        local, peer = self.http.sock.getsockname(), self.http.sock.getpeername()
        ends = {"network.local.address": local[0], "network.local.port": local[1],
                "network.peer.address": peer[0], "network.peer.port": peer[1]}
        tracer = trace.get_tracer("by hand")
        with tracer.start_as_current_span(
                "GET", kind=trace.SpanKind.CLIENT, attributes=ends,
                start_time=time.time_ns() - age * 1_000_000_000) as span:
            headers = {}
            propagate.inject(headers)
            self.http.request("GET", f"{parts.path}?{parts.query}", headers=headers)
            self.http.getresponse().read()
            return span.get_span_context()

    def call(self, url, named, age):
        CURRENT.connection = self
        start = time.monotonic()
        context = self.by_hand(url, age) if named else self.by_requests(url)
        return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}",
                "seconds": time.monotonic() - start}


CURRENT = threading.local()


def remember_span(span, _request, _response):
    """The instrumentation's own hook: the test asks which span a call was."""
    CURRENT.connection.seen = span.get_span_context()


def main():
    name, collector, delay_ms = sys.argv[1:]
    provider = make_provider(name, collector, int(delay_ms))
    RequestsInstrumentor().instrument(response_hook=remember_span)
    connections = {}
    for line in sys.stdin:
        asked = json.loads(line)
        if isinstance(asked, dict):
            answers = provider.force_flush(60000)
        else:
            running = []
            for call in asked:
                key = call.get("connection", "")
                if key not in connections:
                    connections[key] = Connection(call.get("source"))
                connection = connections[key]
                running.append(connection.thread.submit(connection.call, call["url"],
                                                        call.get("named", False),
                                                        call.get("age", 0)))
            answers = [future.result() for future in running]
        print(json.dumps(answers), flush=True)
    provider.shutdown()


if __name__ == "__main__":
    main()
