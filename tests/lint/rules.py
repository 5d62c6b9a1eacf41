#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Rules of this repository that no other tool checks. Called by CTest with the repository's folder.

Each rule is a function (path, text) → iterable of (line number, what is wrong); line 0 is the whole
file.
"""
import pathlib
import re
import subprocess
import sys

SOURCE_SUFFIXES = {".c", ".h", ".py", ".sh", ".cmake", ".yaml", ".yml", ".in"}
C_SUFFIXES = {".c", ".h"}
UV_FOLDERS = ("collector/loop/", "collector/net/", "receivers/", "exporters/", "collector/web/",
              "collector/app.", "collector/main.c", "tests/")
BANNED_CALLS = re.compile(r"\b(sprintf|vsprintf|strcpy|strcat|gets|alloca)\s*\(")
# They cannot tell an error from a number; the benchmarks read only what they wrote themselves.
BANNED_PARSERS = re.compile(r"\b(strtol|strtoul|atoi|atol)\s*\(")
# Spelt apart so that this file keeps its own rule.
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3)) + r")\b")
METRIC = re.compile(r'"(undertrace_\w+)"')
PLACES = re.compile(r"(?<![\w.$}])/(root|home|work)/\w")


def is_source(path, text):
    return (path.suffix in SOURCE_SUFFIXES or path.name == "CMakeLists.txt"
            or text.startswith("#!"))


def has_licence(path, text):
    if not is_source(path, text):
        return
    head = text.split("\n")[:2]
    first = head[1] if head[0].startswith("#!") and len(head) > 1 else head[0]
    wanted = "GPL-2.0" if path.name.endswith(".bpf.c") else "Apache-2.0"
    if "SPDX-License-Identifier:" not in first:
        yield 1, "no SPDX line"
    elif wanted not in first:
        yield 1, f"the SPDX line does not say {wanted}"


def keeps_size(path, text):
    limit = {".c": 700, ".h": 250, ".py": 700}.get(path.suffix)
    lines = text.count("\n")
    if limit and lines > limit:
        yield 0, f"{lines} lines, at most {limit}"
    # Of C clang-format keeps the columns.
    if path.suffix in C_SUFFIXES or not is_source(path, text):
        return
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > 100 and "http" not in line:
            yield number, f"{len(line)} columns, at most 100"


def calls_nothing_banned(path, text):
    if path.suffix not in C_SUFFIXES:
        return
    measures = str(path).startswith("tests/bench/")
    for number, line in enumerate(text.split("\n"), 1):
        found = BANNED_CALLS.search(line) or (not measures and BANNED_PARSERS.search(line))
        if found and not line.lstrip().startswith(("*", "/*", "//")):
            yield number, f"calls {found.group(1)}"


def keeps_libuv_out(path, text):
    if path.suffix not in C_SUFFIXES or str(path).startswith(UV_FOLDERS):
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("#include <uv.h>"):
            yield number, "includes <uv.h>"


def is_finished(path, text):
    for number, line in enumerate(text.split("\n"), 1):
        found = UNFINISHED.search(line)
        if found:
            yield number, f"says {found.group(1)}"


def names_no_place(path, text):
    for number, line in enumerate(text.split("\n"), 1):
        if PLACES.search(line):
            yield number, "names a folder of somebody's machine"


def shown_but_not_counted(texts):
    """`status` and `doctor` add up metrics by their names; of one that nobody counts that is 0."""
    shown, counted = {}, set()
    for path, text in texts.items():
        names = METRIC.findall(text) if path.suffix == ".c" and path.parts[0] != "tests" else ()
        if path.name.startswith("app_status"):
            shown |= dict.fromkeys(names, path)
        else:
            counted.update(names)
    return [(path, f"shows {name}, which nothing counts")
            for name, path in shown.items() if name not in counted]


RULES = (has_licence, keeps_size, calls_nothing_banned, keeps_libuv_out, is_finished,
         names_no_place)


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    names = subprocess.run(["git", "-c", f"safe.directory={root}", "ls-files", "-co",
                            "--exclude-standard", "-z"],
                           cwd=root, capture_output=True, check=True).stdout.decode().split("\0")
    wrong, texts = 0, {}
    for name in sorted(set(filter(None, names))):
        path = root / name
        if not path.is_file() or path.is_symlink() or path.name in ("go.sum", "LICENSE"):
            continue
        try:
            text = texts[pathlib.Path(name)] = path.read_text()
        except UnicodeDecodeError:
            continue
        for rule in RULES:
            for number, what in rule(pathlib.Path(name), text):
                wrong += 1
                print(f"{name}:{number}: {what}")
    for path, what in shown_but_not_counted(texts):
        wrong += 1
        print(f"{path}:0: {what}")
    print(f"{len(texts)} files, {wrong} findings")
    return 1 if wrong or not texts else 0


if __name__ == "__main__":
    sys.exit(main())
