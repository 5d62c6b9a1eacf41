# SPDX-License-Identifier: Apache-2.0
"""The SDK's setup that client and server share."""
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def make_provider(name, collector, delay_ms):
    """`collector` is host:port, or unix:///path."""
    endpoint = collector if collector.startswith("unix:") else f"http://{collector}"
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(
        OTLPSpanExporter(endpoint=endpoint, insecure=True),
        max_queue_size=65536, schedule_delay_millis=delay_ms))
    trace.set_tracer_provider(provider)
    return provider
