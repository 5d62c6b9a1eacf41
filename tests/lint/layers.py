#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A step against the layering does not build: tried, not believed.

For each layer one of its own compile commands is taken and given one include of every layer to its
right, which must fail, and one of its own, which must not (else the trial itself would be broken).
The same for each plug-in, with the layers that it may not use and every other plug-in. One for
which nothing can be tried is an error too. Called by CTest with the build folder.
"""
import json
import pathlib
import re
import shlex
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
# CONTRIBUTING, Layers: those in one row do not stand left or right of each other.
TIERS = [["base"], ["model"], ["config", "telemetry"], ["loop"], ["net", "otlp"], ["evidence"],
         ["flow"], ["processors"], ["web"], ["app"]]
NOT_FOR_PLUG_INS = ("evidence", "flow", "processors", "web", "app")
# Where the name of the layer is not that of its target or include root.
TARGETS = {"processors": "processor_correlate"}
HEADERS = {"processors": "correlate_processor/correlate.h", "app": "app_parts.h"}


def a_header(layer):
    """One by which the layer can be included; None where it has none."""
    headers = sorted((REPOSITORY / "collector" / layer).glob("*.h"))
    return HEADERS.get(layer) or (f"{layer}/{headers[0].name}" if headers else None)


def plug_ins():
    """target → one of its headers, as others would include it; None where it has none."""
    found = {}
    for kind in ("receiver", "exporter"):
        for folder in sorted((REPOSITORY / f"{kind}s").glob("*/")):
            headers = sorted(folder.glob("*.h"))
            found[f"{kind}_{folder.name}"] = \
                f"{folder.name}_{kind}/{headers[0].name}" if headers else None
    return found


def commands(build):
    """Target, without its "ut_" → (folder, arguments), without the source and the output."""
    found = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        target = re.search(r"/ut_(\w+)\.dir/", entry["command"])
        if target is None or target[1] in found:
            continue
        words = shlex.split(entry["command"])
        out = words.index("-o")
        del words[out:out + 2]
        words = [word for word in words if word not in ("-c", entry["file"])]
        found[target[1]] = (entry["directory"], words)
    return found


def seen(command, headers):
    """Those of the headers that can be included. Only the include itself is on trial, not what the
    header includes in turn."""
    folder, words = command
    text = "".join(f'#if __has_include("{header}")\n"{header}"\n#endif\n' for header in headers)
    result = subprocess.run(words + ["-E", "-P", "-x", "c", "-"], cwd=folder, input=text,
                            capture_output=True, text=True, check=True)
    return re.findall(r'^"(\S+)"$', result.stdout, re.M)


def trials():
    """(who, its target, the header that it must see, those that it must not)…"""
    others = plug_ins()
    for index, tier in enumerate(TIERS):
        for layer in tier:
            forbidden = [a_header(right) for right in sum(TIERS[index + 1:], [])]
            if layer != "app":
                forbidden += filter(None, others.values())
            yield layer, TARGETS.get(layer, layer), a_header(layer), forbidden
    for name, own in others.items():
        forbidden = [a_header(layer) for layer in NOT_FOR_PLUG_INS]
        forbidden += [header for header in others.values() if header not in (own, None)]
        yield name, name, own or "component.h", forbidden


def main():
    by_target = commands(pathlib.Path(sys.argv[1]).resolve())
    wrong, tried = [], 0
    for who, target, own, forbidden in trials():
        command = by_target.get(target)
        if command is None or None in (own, *forbidden):
            wrong.append(f"{who}: nothing can be tried: compiled by {command}, {own}, {forbidden}")
            continue
        if not seen(command, [own]):
            wrong.append(f"{who} does not see {own}")
        wrong += [f"{who} sees {header}, which it must not" for header in seen(command, forbidden)]
        tried += len(forbidden)
    print("\n".join(wrong))
    print(f"{tried} includes against the layering tried, {len(wrong)} wrong")
    return 1 if wrong or tried == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
