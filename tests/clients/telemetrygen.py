# SPDX-License-Identifier: Apache-2.0
"""telemetrygen makes its spans itself and writes nothing down: a root and its child a trace, known
by what it was told on its command line."""
import re

import peers
from harness.check import equal, expect

ATTRIBUTES = {"text": '"Grüße 日本語 🚀"', "yes": "true", "number": "-7", "list": '["a","ß"]'}
ARRIVED = {"text": {"string": "Grüße 日本語 🚀"}, "yes": {"bool": True}, "number": {"int": "-7"},
           "list": {"array": [{"string": "a"}, {"string": "ß"}]}}


def words(client, count, tls_words):
    address = peers.GRPC if client.protocol == "grpc" else peers.HTTP
    found = ["--otlp-endpoint", address, "--traces", count // 2, "--rate", "0",
             "--span-links", "1", "--status-code", "Error", *(tls_words or ["--otlp-insecure"])]
    if client.protocol != "grpc":
        found.append("--otlp-http")
    for name, value in ATTRIBUTES.items():
        found += ["--telemetry-attributes", f"{name}={value}"]
        found += ["--otlp-attributes", f"{name}={value}"]
    return found


def complaints(said):
    """Entries of its log that are no mere information; an entry begins with its time."""
    entries = re.split(r"^(?=\d{4}-\d\d-\d\dT)", said, flags=re.M)
    return [entry for entry in entries if entry and "\tINFO\t" not in entry.split("\n")[0]]


def check(count, spans, resources):
    equal(len(spans), count, "spans that arrive")
    by_id = {span["span_id"]: span for span in spans}
    equal(len(by_id), count, "spans with ids of their own")
    roots = [span for span in spans if not span["parent_id"]]
    equal(len(roots), count // 2, "spans without a parent")
    linked = 0
    for span in spans:
        if span["parent_id"]:
            equal(by_id[span["parent_id"]]["trace_id"], span["trace_id"], "the parent's trace")
        equal({name: span["attributes"].get(name) for name in ARRIVED}, ARRIVED, "attributes")
        equal(span["status"][0], 2, "status")
        linked += len(span["links"])
        expect(int(span["end"]) > int(span["start"]), f"a span takes time: {span}")
    # The first spans have none to link to.
    expect(linked > 0, "some spans have links")
    for resource in resources:
        equal({name: resource.get(name) for name in ARRIVED}, ARRIVED, "attributes of the Resource")
