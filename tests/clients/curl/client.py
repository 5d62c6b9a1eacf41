# SPDX-License-Identifier: Apache-2.0
"""client.py PLAN RECORD: sends the spans of the plan (../plan.py) with curl and writes down the ids
that it has given them. Reads OTEL_* as an SDK does. Requests take turns in how they are sent."""
import base64
import gzip
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import urllib.parse

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

SPANS = 200
WAYS = ((), ("--header", "Transfer-Encoding: chunked"), ("--http2-prior-knowledge",), ("--http2",),
        ("--header", "Expect: 100-continue"), ("--http1.0",))
# curl does not say again what the server has refused for good; --retry is for 503 and the like.
CURL = ("curl", "--silent", "--show-error", "--fail", "--max-time", "60", "--retry", "8",
        "--output", "{answer}", "--write-out", "%{{http_code}} %{{content_type}}")


def value(planned):
    """As protobuf's JSON has it, which is OTLP's but for the ids."""
    (kind, content), = planned.items()
    if kind in ("strings", "bools", "ints", "doubles"):
        return {"arrayValue": {"values": [value({kind[:-1]: one}) for one in content]}}
    if kind == "array":
        return {"arrayValue": {"values": [value(one) for one in content]}}
    if kind == "map":
        return {"kvlistValue": {"values": attributes(content)}}
    if kind == "double":
        number = struct.unpack(">d", bytes.fromhex(content))[0]
        words = {float("inf"): "Infinity", float("-inf"): "-Infinity"}
        return {"doubleValue": "NaN" if number != number else words.get(number, number)}
    if kind == "bytes":
        return {"bytesValue": base64.b64encode(bytes.fromhex(content)).decode()}
    return {} if kind == "empty" else {f"{kind}Value": content}


def attributes(planned):
    return [{"key": name, "value": value(one)} for name, one in planned.items()]


class Sender:
    def __init__(self):
        environment = os.environ
        self.json = environment["OTEL_EXPORTER_OTLP_PROTOCOL"] == "http/json"
        self.gzip = environment.get("OTEL_EXPORTER_OTLP_COMPRESSION") == "gzip"
        self.url = environment["OTEL_EXPORTER_OTLP_ENDPOINT"] + "/v1/traces"
        self.tls = []
        for name, option in (("CERTIFICATE", "--cacert"), ("CLIENT_CERTIFICATE", "--cert"),
                             ("CLIENT_KEY", "--key")):
            if file := environment.get(f"OTEL_EXPORTER_OTLP_{name}"):
                self.tls += [option, file]
        self.made, self.sent = [], 0
        pairs = (pair.split("=", 1) for pair in environment["OTEL_RESOURCE_ATTRIBUTES"].split(","))
        resource = {name: {"string": urllib.parse.unquote(text)} for name, text in pairs}
        resource["service.name"] = {"string": environment["OTEL_SERVICE_NAME"]}
        resource["telemetry.sdk.language"] = {"string": "shell"}
        self.resource = attributes(resource)

    def context(self, reference):
        return self.made[reference["span"]] if "span" in reference else reference["remote"]

    def span(self, planned):
        """The span in JSON; its context is kept for those that name it."""
        parent = self.context(planned["parent"]) if planned["parent"] else {}
        own = {"trace_id": parent.get("trace_id", f"{random.getrandbits(128) | 1:032x}"),
               "span_id": f"{0 if planned.get('bad') else random.getrandbits(64) | 1:016x}",
               "trace_state": parent.get("trace_state", "")}
        self.made.append(own)
        code, message = planned["status"]
        links = [{**self.ids(self.context(link)), "attributes": attributes(link["attributes"])}
                 for link in planned["links"]]
        events = [{"name": event["name"], "timeUnixNano": event["time"],
                   "attributes": attributes(event["attributes"])} for event in planned["events"]]
        return {**self.ids(own), "parentSpanId": self.id(parent.get("span_id", "")), "flags": 257,
                "name": planned["name"], "kind": planned["kind"],
                "startTimeUnixNano": planned["start"], "endTimeUnixNano": planned["end"],
                "status": {"code": code, "message": message}, "links": links, "events": events,
                "attributes": attributes(planned["attributes"])}

    def id(self, digits):
        return digits if self.json else base64.b64encode(bytes.fromhex(digits)).decode()

    def ids(self, context):
        return {"traceId": self.id(context["trace_id"]), "spanId": self.id(context["span_id"]),
                "traceState": context["trace_state"]}

    def body(self, spans):
        of_scope = []
        for planned in spans:
            scope = planned["scope"]
            of_scope.append({"schemaUrl": scope["schema_url"], "spans": [self.span(planned)],
                             "scope": {"name": scope["name"], "version": scope["version"],
                                       "attributes": attributes(scope["attributes"])}})
        request = json.dumps({"resourceSpans": [{"resource": {"attributes": self.resource},
                                                 "scopeSpans": of_scope}]}).encode()
        if not self.json:
            message = trace_service_pb2.ExportTraceServiceRequest()
            request = json_format.Parse(request, message,
                                        max_recursion_depth=200).SerializeToString()
        return gzip.compress(request) if self.gzip else request

    def send(self, spans):
        with tempfile.TemporaryDirectory() as folder:
            body, answer = pathlib.Path(folder) / "body", pathlib.Path(folder) / "answer"
            body.write_bytes(self.body(spans))
            kind = "application/json" if self.json else "application/x-protobuf"
            encoding = ("--header", "Content-Encoding: gzip") if self.gzip else ()
            way = WAYS[self.sent % len(WAYS)]
            self.sent += 1
            words = [word.format(answer=answer) for word in CURL]
            said = subprocess.run(
                [*words, *self.tls, *way, *encoding, "--header", f"Content-Type: {kind}",
                 "--data-binary", f"@{body}", self.url],
                check=False, stdout=subprocess.PIPE, text=True).stdout
            answered = answer.read_bytes() if answer.exists() else b""
            if said != f"200 {kind}" or answered != (b"{}" if self.json else b""):
                print(f"{' '.join(way)}: {said}: {answered!r}", file=sys.stderr)


def main():
    with open(sys.argv[1], encoding="utf-8") as plan:
        spans = [json.loads(line) for line in plan]
    sender, waiting = Sender(), []
    for planned in spans:
        waiting.append(planned)
        if len(waiting) == SPANS or planned["flush"] or planned is spans[-1]:
            sender.send(waiting)
            waiting = []
    with open(sys.argv[2], "w", encoding="utf-8") as record:
        for own in sender.made:
            ids = {key: own[key] for key in ("trace_id", "span_id")}
            record.write(json.dumps(ids) + "\n")


main()
