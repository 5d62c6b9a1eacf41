# SPDX-License-Identifier: Apache-2.0
"""client.py PLAN RECORD: sends the spans of the plan (../plan.py) with the OpenTelemetry SDK for
Python and writes down their ids. Settings come from the environment; OTEL_EXPORTER_OTLP_PROTOCOL
chooses the exporter. Where the other signals have an exporter, too, each gets one thing to send
with every flush."""
import importlib
import json
import logging
import os
import struct
import sys

from opentelemetry import trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode,
                                 TraceFlags, TraceState)

KINDS = (None, SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CLIENT, SpanKind.PRODUCER,
         SpanKind.CONSUMER)
STATUSES = (StatusCode.UNSET, StatusCode.OK, StatusCode.ERROR)


class Ids(RandomIdGenerator):
    """Gives spans that are to be bad no id."""
    bad = False

    def generate_span_id(self):
        return 0 if self.bad else super().generate_span_id()


def exporter(signal, name):
    kind = "grpc" if os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] == "grpc" else "http"
    module = f"opentelemetry.exporter.otlp.proto.{kind}.{signal}_exporter"
    return getattr(importlib.import_module(module), name)()


class Others:
    """Metrics and logs."""

    def __init__(self):
        self.meter = MeterProvider([PeriodicExportingMetricReader(
            exporter("metric", "OTLPMetricExporter"))])
        self.counter = self.meter.get_meter("others").create_counter("flushes")
        self.logger = LoggerProvider()
        self.logger.add_log_record_processor(BatchLogRecordProcessor(
            exporter("_log", "OTLPLogExporter")))

    def flush(self):
        self.counter.add(1)
        self.logger.get_logger("others").emit(body="flushed")
        self.meter.force_flush()
        self.logger.force_flush()


def double(bits):
    return struct.unpack(">d", bytes.fromhex(bits))[0]


READERS = {
    "string": str, "bool": bool, "int": int, "double": double, "bytes": bytes.fromhex,
    "strings": list, "bools": list, "ints": lambda all: [int(one) for one in all],
    "doubles": lambda all: [double(one) for one in all],
    "array": lambda all: [value(one) for one in all], "map": lambda all: attributes(all),
    "empty": lambda _: None,
}


def value(planned):
    (kind, content), = planned.items()
    return READERS[kind](content)


def attributes(planned):
    return {name: value(one) for name, one in planned.items()}


def context(planned, made):
    if "span" in planned:
        return made[planned["span"]]
    remote = planned["remote"]
    return SpanContext(int(remote["trace_id"], 16), int(remote["span_id"], 16), True, TraceFlags(1),
                       TraceState.from_header([remote["trace_state"]]))


def make(planned, provider, made):
    scope = planned["scope"]
    tracer = provider.get_tracer(scope["name"], scope["version"], scope["schema_url"],
                                 attributes(scope["attributes"]))
    parent = trace.set_span_in_context(
        NonRecordingSpan(context(planned["parent"], made)) if planned["parent"]
        else trace.INVALID_SPAN)
    links = [Link(context(link, made), attributes(link["attributes"])) for link in planned["links"]]
    span = tracer.start_span(planned["name"], parent, KINDS[planned["kind"]],
                             attributes(planned["attributes"]), links, int(planned["start"]))
    for event in planned["events"]:
        span.add_event(event["name"], attributes(event["attributes"]), int(event["time"]))
    code, text = planned["status"]
    if code:
        span.set_status(Status(STATUSES[code], text or None))
    span.end(int(planned["end"]))
    return span.get_span_context()


def main():
    logging.basicConfig(level=logging.WARNING)
    with open(sys.argv[1], encoding="utf-8") as plan:
        spans = [json.loads(line) for line in plan]
    ids = Ids() if any(planned.get("bad") for planned in spans) else None
    provider = TracerProvider(id_generator=ids)
    provider.add_span_processor(BatchSpanProcessor(exporter("trace", "OTLPSpanExporter")))
    others = Others() if os.environ["OTEL_METRICS_EXPORTER"] == "otlp" else None
    made = []
    with open(sys.argv[2], "w", encoding="utf-8") as record:
        for planned in spans:
            if ids:
                ids.bad = planned.get("bad", False)
            made.append(make(planned, provider, made))
            record.write(json.dumps({"trace_id": f"{made[-1].trace_id:032x}",
                                     "span_id": f"{made[-1].span_id:016x}"}) + "\n")
            if planned["flush"]:
                provider.force_flush()
                if others:
                    others.flush()
    provider.shutdown()


main()
