# SPDX-License-Identifier: Apache-2.0
"""One service of the demo: answers over HTTP/1.1 and calls others over connections it keeps.

    service.py NAME ADDRESS:PORT COLLECTOR [CALLEE=ADDRESS:PORT]…

The OpenTelemetry instrumentation is the official one, unmodified: the server side makes a SERVER
span for each request, `requests` a CLIENT span for each call. Undertrace knows nothing of this
program but the spans that it sends to COLLECTOR.
"""
import json
import signal
import sys
import time

import requests
import waitress
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

WORK_SECONDS = 0.002
RECEIPT = "paid in full, with thanks; " * 20


def trace_to(collector, name):
    """Spans go to the collector a fifth of a second after they end."""
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(
        OTLPSpanExporter(endpoint=f"http://{collector}", insecure=True),
        schedule_delay_millis=200))
    trace.set_tracer_provider(provider)
    return provider


def application(name, callees):
    """A WSGI application that works a little, calls its callees in turn and answers."""
    session = requests.Session()

    def answer(environ, start_response):
        time.sleep(WORK_SECONDS)
        for callee, address in callees:
            # No body: so each request is one segment, and each answer another.
            session.post(f"http://{address}/{callee}?{environ['QUERY_STRING']}",
                         timeout=30).raise_for_status()
        if environ["QUERY_STRING"] == "number=first":
            session.close()
        context = trace.get_current_span().get_span_context()
        body = json.dumps({"service": name, "trace_id": f"{context.trace_id:032x}",
                           "receipt": RECEIPT}).encode()
        start_response("200 OK", [("Content-Type", "application/json"),
                                  ("Content-Length", str(len(body)))])
        return [body]

    return answer


def main():
    name, listen, collector, *calls = sys.argv[1:]
    provider = trace_to(collector, name)
    RequestsInstrumentor().instrument()
    service = OpenTelemetryMiddleware(application(name, [call.split("=") for call in calls]))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        # An answer leaves in one write, as one segment.
        waitress.serve(service, listen=listen, threads=4, send_bytes=65536, _quiet=True)
    finally:
        provider.shutdown()


if __name__ == "__main__":
    main()
