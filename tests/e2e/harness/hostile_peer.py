# SPDX-License-Identifier: Apache-2.0
"""A client that does as it is told, lies included.

    hostile_peer.py COLLECTOR SERVER:PORT

Each line on stdin is a JSON object with "do" and what it needs; the answer is one line.

    connect                        anew; {"local": [address, port]}
    request  trace, span           with these ids, on that connection; {"times": [start, end]}
    span     trace, span, times, attributes, resource, events     sends it; {}
    join     cgroup                goes there
    knock    seconds               opens connections to a port where nobody listens; {"count"}
    cgroups  below, seconds        makes and removes 1,000 a second there; {"count"}
"""
import json
import os
import pathlib
import socket
import sys
import time

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from talk import read_answer

METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
CLOSED_PORT = 9
CGROUPS_PER_SECOND = 1000


def add(pairs, attributes):
    for key, value in attributes.items():
        into = pairs.add(key=key).value
        if isinstance(value, int):
            into.int_value = value
        else:
            into.string_value = value


class Peer:
    def __init__(self, collector, server):
        self.collector = collector
        address, port = server.split(":")
        self.server = address, int(port)
        self.socket = self.stream = None

    def connect(self):
        self.socket = socket.create_connection(self.server, 20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.socket.makefile("rb")
        return {"local": self.socket.getsockname()}

    def request(self, trace, span):
        start = time.time_ns()
        self.socket.sendall(f"GET /?n=20 HTTP/1.1\r\nHost: test\r\nCookie: {'c' * 100}\r\n"
                            f"traceparent: 00-{trace}-{span}-01\r\n\r\n".encode())
        read_answer(self.stream, "GET")
        return {"times": [start, time.time_ns()]}

    def span(self, trace, span, times, attributes=None, resource=None, events=None):
        request = trace_service_pb2.ExportTraceServiceRequest()
        of_resource = request.resource_spans.add()
        add(of_resource.resource.attributes, {"service.name": "test"} | (resource or {}))
        out = of_resource.scope_spans.add().spans.add(
            trace_id=bytes.fromhex(trace), span_id=bytes.fromhex(span), name="GET", kind=3,
            start_time_unix_nano=times[0], end_time_unix_nano=times[1])
        add(out.attributes, attributes or {})
        for name, content in (events or {}).items():
            add(out.events.add(name=name, time_unix_nano=times[0]).attributes, content)
        # On a connection of its own, so that it comes from the cgroup that we are in now.
        with grpc.insecure_channel(self.collector,
                                   options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            channel.unary_unary(METHOD)(request.SerializeToString(), timeout=20)
        return {}

    @staticmethod
    def join(cgroup):
        pathlib.Path(cgroup, "cgroup.procs").write_text("0")
        return {}

    def knock(self, seconds):
        count, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            count += 1
            with socket.socket() as one:
                one.connect_ex((self.server[0], CLOSED_PORT))
        return {"count": count}

    @staticmethod
    def cgroups(below, seconds):
        began, count = time.monotonic(), 0
        while (past := time.monotonic() - began) < seconds:
            if count > past * CGROUPS_PER_SECOND:
                time.sleep(0.001)
                continue
            path = os.path.join(below, f"flood-{count}")
            os.mkdir(path)
            os.rmdir(path)
            count += 1
        return {"count": count}


def main():
    peer = Peer(*sys.argv[1:])
    for line in sys.stdin:
        told = json.loads(line)
        print(json.dumps(getattr(peer, told.pop("do"))(**told)), flush=True)


main()
