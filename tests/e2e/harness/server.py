# SPDX-License-Identifier: Apache-2.0
"""An HTTP/1.1 server with the official instrumentation, unmodified; keeps its connections.

    server.py NAME [ADDRESS]:PORT COLLECTOR DELAY_MS

Answers `?answer=N` with N bytes, in one write.
"""
import signal
import sys
import urllib.parse

import waitress
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware

from sdk import make_provider


def answer(environ, start_response):
    query = urllib.parse.parse_qs(environ.get("QUERY_STRING", ""))
    body = b"x" * int(query.get("answer", ["200"])[0])
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def main():
    name, listen, collector, delay_ms = sys.argv[1:]
    provider = make_provider(name, collector, int(delay_ms))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        waitress.serve(OpenTelemetryMiddleware(answer), listen=listen, threads=32,
                       send_bytes=1 << 22, _quiet=True)
    finally:
        provider.shutdown()


if __name__ == "__main__":
    main()
