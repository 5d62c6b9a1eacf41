# SPDX-License-Identifier: Apache-2.0
"""A process of an application that runs into a memory limit, within spans.

    pressed.py NAME COLLECTOR CGROUP

Each line on stdin is a command of support/pressure.py with the name of the span it is done in, `-`
for none: `SPAN COMMAND WORD…`. The answer is a line of JSON with the span's ids and with how much
the kernel's own count of stalls of CGROUP (PSI) grew meanwhile.
"""
import json
import pathlib
import sys

from sdk import make_provider

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "support"))

import pressure  # noqa: E402


def main(name, collector, cgroup):
    pressure.perform("pin")  # before there are threads of the SDK's, which are pinned like this one
    provider = make_provider(name, collector, 100)
    tracer = provider.get_tracer("pressed")
    print(json.dumps({"what": "ready"}), flush=True)
    for line in sys.stdin:
        span_name, command, *words = line.split()
        if span_name == "-":
            answer = pressure.perform(command, *words)
        else:
            before = pressure.pressure(cgroup)
            with tracer.start_as_current_span(span_name) as span:
                answer = pressure.perform(command, *words)
            after = pressure.pressure(cgroup)
            answer["span_id"] = f"{span.get_span_context().span_id:016x}"
            answer["psi_ns"] = None if before is None else after - before
        print(json.dumps(answer), flush=True)
    provider.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
