#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""clang-tidy, as .clang-tidy says, over every source file of the program.

Called by CTest with the build folder, whose compile_commands.json tells the flags. Exit 77: no
clang-tidy 14 here.
"""
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("collector", "receivers", "exporters")


def program_sources(build):
    """The sources of the program itself: not generated ones, not tests, not kernel programs."""
    roots = [REPOSITORY / folder for folder in FOLDERS]
    for entry in json.loads((build / "compile_commands.json").read_text()):
        path = pathlib.Path(entry["directory"], entry["file"]).resolve()
        if any(root in path.parents for root in roots):
            yield path


def tidy(tool, build, source):
    # Flags that gcc has and clang does not are no finding.
    return source, subprocess.run(
        [tool, "--quiet", "-p", build, "--extra-arg=-Wno-unknown-warning-option", source],
        capture_output=True, text=True, check=False)


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    tool = shutil.which("clang-tidy-14")
    if not tool:
        print("SKIP: clang-tidy-14 is not installed")
        return 77
    sources = sorted(set(program_sources(build)))
    if not sources:
        print("no source of the program in compile_commands.json")
        return 1
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for source, result in pool.map(lambda path: tidy(tool, build, path), sources):
            if result.returncode != 0:
                bad += 1
                print(f"{source.relative_to(REPOSITORY)}:")
                print(result.stdout or result.stderr)
    print(f"{len(sources)} sources, {bad} with findings")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
