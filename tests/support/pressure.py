# SPDX-License-Identifier: Apache-2.0
"""Memory limits of the lab's cgroups, and a process that runs into them.

The memory controller is in the v2 hierarchy on most systems and in a v1 hierarchy beside it on
hybrid ones; there a second directory of the same path carries the limit, and the process is in
both. As a program: takes commands from standard input, a line each, and answers each with a line of
JSON.
"""
import json
import mmap
import os
import pathlib
import sys
import time

MIB = 1 << 20
HELD = []
# Before and after what stalls: what is told is summed, and PSI read, ten times a second.
CALM = 0.3


def memory_mount():
    """(where the memory controller's hierarchy is mounted, whether that is v1); None: nowhere."""
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        words, after = line.split(" - ", 1)
        kind, _, options = after.split(" ", 2)
        point = pathlib.Path(words.split(" ")[4])
        if kind == "cgroup" and "memory" in options.split(","):
            return point, True
        if kind == "cgroup2" and "memory" in (point / "cgroup.controllers").read_text().split():
            return point, False
    return None


class Limited:
    """The memory side of a cgroup of the v2 hierarchy, which stands at `path` below `mount`."""

    def __init__(self, mount, path):
        self.root, self.v1 = memory_mount()
        self.folder = self.root / path.relative_to(mount)
        if self.v1:
            self.folder.mkdir(parents=True, exist_ok=True)
        else:
            for parent in reversed(path.relative_to(mount).parents):
                (mount / parent / "cgroup.subtree_control").write_text("+memory")

    def limit(self, size):
        (self.folder / ("memory.limit_in_bytes" if self.v1 else "memory.max")).write_text(str(size))

    def usage(self):
        name = "memory.usage_in_bytes" if self.v1 else "memory.current"
        return int((self.folder / name).read_text())

    def remove(self):
        """The directories that v2 does not have, and those above while they are empty."""
        folder = self.folder
        while self.v1 and folder != self.root:
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent


def read_file(path, size):
    """Reads `size` bytes of a file in order, from its start again at its end. Where it is much
    larger than the limit, the page cache of each part has to go before the next fits."""
    chunk = bytearray(1 << 18)
    with open(path, "rb", buffering=0) as file:
        while size > 0:
            read = file.readinto(chunk)
            size -= read
            if read == 0:
                file.seek(0)


def map_file(path):
    """Has every page of a file in its memory, each got by itself, which is more work to take away
    than cache: 10 µs a reclaim and more, beside which what PSI counts around it is little."""
    with open(path, "rb") as file:
        pages = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    pages.madvise(mmap.MADV_RANDOM)
    for at in range(0, len(pages), mmap.PAGESIZE):
        pages[at]
    return pages


def walk(path, touched):
    """Stalls between two times of calm, for a file that does not fit, or for memory of its own that
    takes the place of one that does. All is let go of: what comes next has room."""
    time.sleep(CALM)
    pages = map_file(path)
    if touched > 0:
        touch(touched, mmap.MADV_NOHUGEPAGE).close()
    pages.close()
    drop_cached(path)
    time.sleep(CALM)


def make_hole(path, size):
    """A file whose pages take memory when they are read, and no disk. A new one each time: of pages
    that come back the kernel may count the wait for them as a stall."""
    with open(path, "wb") as file:
        file.truncate(size)


def write_file(path, size):
    with open(path, "wb") as file:
        for _ in range(size >> 20):
            file.write(b"x" * MIB)
        file.flush()
        os.fsync(file.fileno())
    drop_cached(path)


def drop_cached(path):
    """Nobody is charged for what the kernel keeps of the file, until it is read again."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def grow(size):
    """Touches so much memory that the kernel kills the process, in a child; its pid."""
    child = os.fork()
    if child == 0:
        touch(size)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return child, os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def touch(size, advice=None):
    """So much memory, every page of it written to; it is held while the answer is."""
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if advice is not None:
        pages.madvise(advice)
    for at in range(0, size, mmap.PAGESIZE):
        pages[at] = 1
    return pages


def copy(size):
    """Touches so much, and once more in a child, which gets copies."""
    pages = touch(size, mmap.MADV_NOHUGEPAGE)
    child = os.fork()
    if child == 0:
        for at in range(0, size, mmap.PAGESIZE):
            pages[at] = 2
        os._exit(0)
    os.waitpid(child, 0)


def pressure(folder):
    """The total of `some` of a v2 directory, in nanoseconds; None where it cannot be read."""
    try:
        line = (pathlib.Path(folder) / "memory.pressure").read_text().splitlines()[0]
    except OSError:
        return None
    return int(line.rsplit("total=", 1)[1]) * 1000


def perform(command, *words):
    """A command, by name, with its words; what there is to tell of it."""
    if command == "join":
        (pathlib.Path(words[0]) / "cgroup.procs").write_text(str(os.getpid()))
    elif command == "pin":
        # PSI weighs CPUs by how busy a cgroup keeps each: a task that moves shows less.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    elif command == "read":
        read_file(words[0], int(words[1]))
    elif command == "walk":
        walk(words[0], int(words[1]))
    elif command == "touch":
        advice = {"small": mmap.MADV_NOHUGEPAGE, "huge": mmap.MADV_HUGEPAGE}[words[1]]
        touch(int(words[0]), advice).close()
    elif command == "copy":
        copy(int(words[0]))
    elif command == "sleep":
        time.sleep(float(words[0]))
    elif command == "hold":
        time.sleep(0.3)  # what is held is read ten times a second: before, and after
        HELD.append(touch(int(words[0])))
        time.sleep(0.3)
    elif command == "release":
        time.sleep(0.3)
        HELD.clear()
        time.sleep(0.3)
    elif command == "grow":
        victim, number = grow(int(words[0]))
        return {"victim": victim, "signal": number}
    return {}


def main():
    print(json.dumps({"what": "ready", "pid": os.getpid()}), flush=True)
    for line in sys.stdin:
        began = time.time_ns()
        answer = perform(*line.split())
        print(json.dumps({"what": "done", "began": began, "ended": time.time_ns(), **answer}),
              flush=True)


if __name__ == "__main__":
    main()
