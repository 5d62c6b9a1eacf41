#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A step against the layering does not build: tried, not believed.

For each layer one of its own compile commands is taken and given one include of every layer to its
right, which must fail, and one of its own, which must not (else the trial itself would be broken).
Called by CTest with the build folder.
"""
import json
import pathlib
import shlex
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
# DESIGN section 4: those in one row do not stand left or right of each other.
TIERS = [["base"], ["model"], ["config", "telemetry"], ["loop"], ["net", "otlp"], ["evidence"],
         ["flow"], ["processors"], ["web"]]


def a_header(layer):
    headers = sorted((REPOSITORY / "collector" / layer).glob("*.h"))
    return f"{layer}/{headers[0].name}" if headers else None


def commands(build):
    """layer → (folder, arguments) of one of its sources, without the source and the output."""
    found = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        path = pathlib.Path(entry["directory"], entry["file"]).resolve()
        # Some folders hold a source or two that belong to a target with other rights.
        if (path.parents[1] != REPOSITORY / "collector"
                or f"/ut_{path.parent.name}.dir/" not in entry["command"]):
            continue
        words = shlex.split(entry["command"])
        out = words.index("-o")
        del words[out:out + 2]
        words = [word for word in words if word not in ("-c", entry["file"])]
        found.setdefault(path.parent.name, (entry["directory"], words))
    return found


def compiles(command, header):
    folder, words = command
    # Only the include itself is on trial, not what the header includes in turn.
    text = f'#if !__has_include("{header}")\n#error "not to be seen from here"\n#endif\n'
    return subprocess.run(words + ["-fsyntax-only", "-x", "c", "-"], cwd=folder, input=text,
                          capture_output=True, text=True, check=False).returncode == 0


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    wrong, tried = [], 0
    by_layer = commands(build)
    for index, tier in enumerate(TIERS):
        for layer in tier:
            if layer not in by_layer or not a_header(layer):
                continue
            if not compiles(by_layer[layer], a_header(layer)):
                wrong.append(f"{layer} does not see its own {a_header(layer)}")
            for right in sum(TIERS[index + 1:], []):
                header = a_header(right)
                if not header:
                    continue
                tried += 1
                if compiles(by_layer[layer], header):
                    wrong.append(f"{layer} sees {header}, which stands to its right")
    print("\n".join(wrong))
    print(f"{tried} includes against the layering tried, {len(wrong)} wrong")
    return 1 if wrong or tried == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
