# SPDX-License-Identifier: Apache-2.0
"""What a client is to send: spans with every kind of value that its SDK can hold, as lines of JSON
that each client reads, makes into spans and answers with the ids they got.

A value has one key that tells its kind: string, bool, int (a text), double (16 hex digits of its
bits), bytes (hex), strings, bools, ints, doubles, array (of values), map (name → value), empty.
Spans name earlier spans by their place in the plan.
"""
import dataclasses
import json
import random
import struct

TEXTS = (
    "", "plain", "Grüße, señor", "日本語のスパン", "注文処理", "שלום עולם", "مرحبا بالعالم",
    "👩‍👩‍👧‍👦 family", "🏳️‍🌈", "e\u0301 n\u0303 a\u0327\u0308", "Z͑ͫ̓a̴l͊g̡o͖",
    "\u202eright to left\u202c", "tab\tline\nquote\"back\\slash", "\x00\x01\x1f\x7f",
    "\ufeffmark \ufffd \u2028 \U0010ffff", "</script>&amp;'", "x" * 127, "y" * 128, "ä" * 300,
)
INTS = (0, -1, 1, 127, 128, -(1 << 31), 1 << 31, (1 << 53) - 1, -(1 << 53) + 1)
LARGE_INTS = ((1 << 63) - 1, -(1 << 63), (1 << 53) + 1)
DOUBLES = (0.5, -2.25, 0.1, 1e-7, 5e-324, 123456789.125, -1e21, 2.0**64,
           1.7976931348623157e308)
# What JavaScript takes for integers, or cannot write in JSON.
ODD_DOUBLES = (0.0, -0.0, 3.0, float("inf"), float("-inf"), float("nan"))


@dataclasses.dataclass(frozen=True)
class Can:
    """What an SDK can hold beyond strings, booleans, numbers and arrays of one kind of them."""
    numbers: bool = True  # all 64 bits of an integer, and doubles that are whole or no number
    bytes: bool = False
    nested: bool = False
    empty: bool = False
    scope_attributes: bool = True
    link_states: bool = True  # the trace_state of a link's context is sent


def double(value):
    return struct.pack(">d", value).hex()


class Maker:
    """Makes plans; the same seed makes the same plan."""

    def __init__(self, can, seed):
        self.can, self.random = can, random.Random(seed)
        self.ints = INTS + (LARGE_INTS if can.numbers else ())
        self.doubles = DOUBLES + (ODD_DOUBLES if can.numbers else ())

    def text(self):
        return self.random.choice(TEXTS)

    def some(self, of, most=4):
        return [of() for _ in range(self.random.randint(0, most))]

    def int(self):
        return str(self.random.choice(self.ints))

    def double(self):
        return double(self.random.choice(self.doubles))

    def bool(self):
        return self.random.random() < 0.5

    def bytes(self):
        return self.random.choice((b"", b"\0", b"\xff\xfe\xc0", bytes(range(256)))).hex()

    def kinds(self, depth):
        """How to make each kind of value; those in which others stand while `depth` is left."""
        kinds = {"string": self.text, "bool": self.bool, "int": self.int, "double": self.double,
                 "strings": lambda: self.some(self.text), "bools": lambda: self.some(self.bool),
                 "ints": lambda: self.some(self.int), "doubles": lambda: self.some(self.double)}
        if self.can.bytes:
            kinds["bytes"] = self.bytes
        if self.can.empty:
            kinds["empty"] = lambda: True
        if self.can.nested and depth > 0:
            kinds["array"] = lambda: self.some(lambda: self.value(depth - 1))
            kinds["map"] = lambda: self.attributes(3, depth - 1)
        return kinds

    def value(self, depth=3):
        kind, make = self.random.choice(list(self.kinds(depth).items()))
        return {kind: make()}

    def attributes(self, most, depth=3):
        """A few attributes of any kind; their names are of all scripts, too, and no two alike."""
        return {f"{index}.{self.text()}": self.value(depth)
                for index in range(self.random.randint(0, most))}

    def every_kind(self):
        return {f"every.{kind}": {kind: make()} for kind, make in self.kinds(2).items()}

    def context(self):
        """A context that came from elsewhere."""
        return {"trace_id": f"{self.random.getrandbits(128) | 1:032x}",
                "span_id": f"{self.random.getrandbits(64) | 1:016x}",
                "trace_state": self.random.choice(("", "vendor=a-b_c*d/e", "a=1,b@c=2"))}

    def reference(self, index):
        if index > 0 and self.random.random() < 0.7:
            return {"span": self.random.randrange(max(0, index - 50), index)}
        return {"remote": self.context()}

    def scope(self, index):
        scope = ({"name": "first scope", "version": "1.2.3", "schema_url": "", "attributes": {}},
                 {"name": "スコープ 2", "version": "", "schema_url": "schema:1.30.0",
                  "attributes": {"scope.text": {"string": "ß"}, "scope.int": {"int": "7"}}},
                 {"name": "s", "version": "β", "schema_url": "", "attributes": {}})[index % 3]
        if not self.can.scope_attributes:
            scope["attributes"] = {}
        return scope

    def span(self, index, start):
        start += index * 1001
        end = start + self.random.randint(1, 10**9)
        # The API specification lets only errors have a description.
        status = self.random.choice(([0, ""], [1, ""], [2, ""], [2, "failed: 故障 ✗"]))
        return {
            "name": f"{index} {self.text()}" if index % 7 else f"span {index} 🚀",
            "kind": index % 5 + 1, "start": str(start), "end": str(end), "status": status,
            "scope": self.scope(index),
            "parent": self.reference(index) if self.random.random() < 0.6 else None,
            "links": [{**self.reference(index), "attributes": self.attributes(2)}
                      for _ in range(self.random.choice((0, 0, 1, 3)))],
            "attributes": {**(self.every_kind() if index % 10 == 0 else {}), **self.attributes(5)},
            "events": [{"name": self.text() or "event", "time": str(start + number),
                        "attributes": self.attributes(3)}
                       for number in range(self.random.choice((0, 0, 1, 4)))],
            # More spans at once than a processor's queue holds by default would be lost there.
            "flush": index % 1000 == 999,
        }


def simple(index, start, **more):
    """A root span with nothing in it but `more`."""
    return {"name": f"span {index}", "kind": 1, "start": str(start), "end": str(start + 1),
            "status": [0, ""], "parent": None, "links": [], "attributes": {}, "events": [],
            "scope": {"name": "simple", "version": "", "schema_url": "", "attributes": {}},
            "flush": False, **more}


def write(path, spans):
    path.write_text("".join(json.dumps(span) + "\n" for span in spans))
