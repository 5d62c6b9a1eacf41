# SPDX-License-Identifier: Apache-2.0
"""Spans as the tests look at them, from Jaeger's OTLP JSON or from OTLP bytes."""
import base64
import binascii
import dataclasses

KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
PREFIX = "undertrace."


@dataclasses.dataclass
class Event:
    name: str
    attributes: dict


@dataclasses.dataclass
class Span:
    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    start_ns: int
    end_ns: int
    attributes: dict
    events: list
    resource: dict

    @property
    def service(self):
        return self.resource.get("service.name")

    @property
    def evidence(self):
        """What undertrace added to it, without the prefix; empty where it has no evidence."""
        return {key.removeprefix(PREFIX): value for key, value in self.attributes.items()
                if key.startswith(PREFIX)}

    def kernel_events(self):
        return [event for event in self.events if event.name.startswith("tcp.")]

    def segments(self):
        """Segments that the kernel sent again, probes among them."""
        return (self.evidence.get("tcp.retransmits", 0) + self.evidence.get("tcp.probes", 0))

    def __str__(self):
        return f"{self.service} {self.kind} {self.name!r} {self.evidence}"


def value_of(value):
    """A JSON AnyValue as a plain value."""
    (kind, content), = value.items() if value else (("stringValue", ""),)
    if kind == "intValue":
        return int(content)
    if kind == "arrayValue":
        return [value_of(item) for item in content.get("values", [])]
    return content


def attributes_of(pairs):
    return {pair["key"]: value_of(pair.get("value", {})) for pair in pairs or []}


def hex_id(text):
    """Jaeger's gateway writes ids as hex; plain protobuf JSON would be base64."""
    try:
        binascii.unhexlify(text)
        return text.lower()
    except (binascii.Error, ValueError):
        return base64.b64decode(text).hex()


def kind_of(kind):
    return KINDS[kind] if isinstance(kind, int) else kind.removeprefix("SPAN_KIND_")


def from_json(traces):
    found = []
    for of_resource in traces.get("resourceSpans", []):
        resource = attributes_of(of_resource.get("resource", {}).get("attributes"))
        for of_scope in of_resource.get("scopeSpans", []):
            for span in of_scope.get("spans", []):
                found.append(Span(
                    hex_id(span["traceId"]), hex_id(span["spanId"]),
                    hex_id(span.get("parentSpanId", "")), span["name"],
                    kind_of(span.get("kind", 0)), int(span["startTimeUnixNano"]),
                    int(span["endTimeUnixNano"]), attributes_of(span.get("attributes")),
                    [Event(event.get("name", ""), attributes_of(event.get("attributes")))
                     for event in span.get("events", [])], resource))
    return found


def plain(pairs):
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value")
            for pair in pairs}


def from_request(request):
    """The spans of a parsed ExportTraceServiceRequest."""
    found = []
    for of_resource in request.resource_spans:
        resource = plain(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                found.append(Span(
                    span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(), span.name,
                    KINDS[span.kind], span.start_time_unix_nano, span.end_time_unix_nano,
                    plain(span.attributes),
                    [Event(event.name, plain(event.attributes)) for event in span.events],
                    resource))
    return found
