# SPDX-License-Identifier: Apache-2.0
"""What a client was told to send (plan.py) and what has arrived, both as plain dictionaries that
can be compared: every value keeps its kind, doubles their bits."""
import struct

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

ANY = {"string_value": "string", "bool_value": "bool", "int_value": "int", "double_value": "double",
       "bytes_value": "bytes", "array_value": "array", "kvlist_value": "map"}


def value(planned):
    """A planned value as it has to arrive: arrays of one kind are arrays like others."""
    (kind, content), = planned.items()
    if kind in ("strings", "bools", "ints", "doubles"):
        return {"array": [{kind[:-1]: one} for one in content]}
    if kind == "array":
        return {"array": [value(one) for one in content]}
    if kind == "map":
        return {"map": attributes(content)}
    if kind == "empty":
        return {}
    return {kind: content}


def attributes(planned):
    return {name: value(one) for name, one in planned.items()}


def arrived_value(any_value):
    field = any_value.WhichOneof("value")
    if field is None:
        return {}
    content, kind = getattr(any_value, field), ANY[field]
    if kind == "int":
        content = str(content)
    elif kind == "double":
        content = struct.pack(">d", content).hex()
    elif kind == "bytes":
        content = content.hex()
    elif kind == "array":
        content = [arrived_value(one) for one in content.values]
    elif kind == "map":
        content = arrived_attributes(content.values)
    return {kind: content}


def arrived_attributes(pairs):
    found = {pair.key: arrived_value(pair.value) for pair in pairs}
    # Two attributes of one name would hide each other.
    return found if len(found) == len(pairs) else {"twice": [pair.key for pair in pairs]}


def sent(planned, ids, can):
    """The spans of a plan as they have to arrive, with the ids that the client gave them: [{…}]."""
    made = []

    def context(reference):
        if "span" in reference:
            earlier = made[reference["span"]]
            return {key: earlier[key] for key in ("trace_id", "span_id", "trace_state")}
        return reference["remote"]

    def link(planned):
        found = {**context(planned), "attributes": attributes(planned["attributes"]), "dropped": 0}
        return found if can.link_states else {**found, "trace_state": ""}

    for one, own in zip(planned, ids, strict=True):
        parent = context(one["parent"]) if one["parent"] else {"span_id": "", "trace_state": ""}
        made.append({
            **own, "parent_id": parent["span_id"], "trace_state": parent["trace_state"],
            **{key: one[key] for key in ("name", "kind", "start", "end", "status")},
            "attributes": attributes(one["attributes"]), "dropped": [0, 0, 0],
            "events": [{**event, "attributes": attributes(event["attributes"]), "dropped": 0}
                       for event in one["events"]],
            "links": [link(planned_link) for planned_link in one["links"]],
            "scope": {**one["scope"], "attributes": attributes(one["scope"]["attributes"])}})
    return made


def arrived_span(span, of_scope):
    scope = of_scope.scope
    return {
        "trace_id": span.trace_id.hex(), "span_id": span.span_id.hex(),
        "parent_id": span.parent_span_id.hex(), "trace_state": span.trace_state,
        "name": span.name, "kind": span.kind, "start": str(span.start_time_unix_nano),
        "end": str(span.end_time_unix_nano), "status": [span.status.code, span.status.message],
        "attributes": arrived_attributes(span.attributes),
        "dropped": [span.dropped_attributes_count, span.dropped_events_count,
                    span.dropped_links_count],
        "events": [{"name": one.name, "time": str(one.time_unix_nano),
                    "attributes": arrived_attributes(one.attributes),
                    "dropped": one.dropped_attributes_count} for one in span.events],
        "links": [{"trace_id": one.trace_id.hex(), "span_id": one.span_id.hex(),
                   "trace_state": one.trace_state,
                   "attributes": arrived_attributes(one.attributes),
                   "dropped": one.dropped_attributes_count} for one in span.links],
        "scope": {"name": scope.name, "version": scope.version, "schema_url": of_scope.schema_url,
                  "attributes": arrived_attributes(scope.attributes)}}


def arrived(bodies):
    """(spans, their Resources in the same order) of the requests that a backend has received."""
    spans, resources = [], []
    for body in bodies:
        request = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
        for of_resource in request.resource_spans:
            resource = arrived_attributes(of_resource.resource.attributes)
            for of_scope in of_resource.scope_spans:
                spans.extend(arrived_span(span, of_scope) for span in of_scope.spans)
                resources.extend(resource for _ in of_scope.spans)
    return spans, resources


def difference(wanted, seen, path=""):
    """Where two such values differ first, as a text; empty where they do not."""
    if isinstance(wanted, dict) and isinstance(seen, dict) and wanted.keys() == seen.keys():
        found = (difference(wanted[key], seen[key], f"{path}.{key}") for key in wanted)
        return next(filter(None, found), "")
    if isinstance(wanted, list) and isinstance(seen, list) and len(wanted) == len(seen):
        found = (difference(*pair, f"{path}[{at}]") for at, pair in enumerate(zip(wanted, seen)))
        return next(filter(None, found), "")
    return "" if wanted == seen else f"{path}: {seen!r}, expected {wanted!r}"


def spans(wanted, seen):
    """What is wrong with the spans that arrived, a text for each; [] where nothing is."""
    found, arrivals = [], {}
    for one in seen:
        arrivals.setdefault((one["trace_id"], one["span_id"]), []).append(one)
    for one in wanted:
        here = arrivals.pop((one["trace_id"], one["span_id"]), [])
        if len(here) != 1:
            found.append(f"span {one['name']!r} arrived {len(here)} times")
        elif wrong := difference(one, here[0]):
            found.append(f"span {one['name']!r}{wrong}")
    return found + [f"nobody sent span {one[0]['name']!r}" for one in arrivals.values()]
