# SPDX-License-Identifier: Apache-2.0
"""A switch in user space between network namespaces, which loses what it is told to lose and writes
down every segment that it saw: the truth that evidence is held against.

    switch.py OUT SEED LOSS NAMESPACE…    a namespace "-" is the switch's own

Each namespace gets a link `eth0` (the switch's own: `tap0`). Of the segments from or to the ports
8000 to 8099 it loses those that carry new bytes with the probability LOSS, those that carry old
ones with an eighth, SYN and FIN with a tenth of it. SIGTERM ends it; OUT then has a line for each:

    NS SOURCE PORT DESTINATION PORT SEQUENCE BYTES FLAGS LOST

READY on stdout: the links are there.
"""
import ctypes
import fcntl
import os
import random
import select
import signal
import socket
import struct
import sys
import time

TUNSETIFF, IFF_TAP, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 0x0002, 0x1000, 0x40000000
FIN, SYN, RST = 1, 2, 4
FIRST_PORT, LAST_PORT = 8000, 8099


def enter(path):
    with open(path, "rb") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {path}")


def tap(name):
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22s", name.encode(), IFF_TAP | IFF_NO_PI, b""))
    return device


def taps(namespaces):
    own, made = "/proc/self/ns/net", []
    with open(own, "rb") as home:
        for namespace in namespaces:
            if namespace == "-":
                made.append(tap("tap0"))
            else:
                enter(f"/run/netns/{namespace}")
                made.append(tap("eth0"))
                ctypes.CDLL(None).setns(home.fileno(), CLONE_NEWNET)
    return made


class Losses:
    """Decides about segments, and remembers them."""

    def __init__(self, seed, loss):
        self.random, self.loss = random.Random(seed), loss
        self.next = {}  # end of the bytes seen so far, by connection and direction
        self.seen = []

    def loses(self, frame):
        """Whether this Ethernet frame is lost."""
        if frame[12:14] != b"\x08\x00" or frame[23] != socket.IPPROTO_TCP:
            return False
        tcp = 14 + (frame[14] & 15) * 4
        source, destination, sequence = struct.unpack_from("!HHI", frame, tcp)
        if not any(FIRST_PORT <= port <= LAST_PORT for port in (source, destination)):
            return False
        end = 14 + struct.unpack_from("!H", frame, 16)[0]
        size = end - tcp - (frame[tcp + 12] >> 4) * 4
        flags = frame[tcp + 13]
        lost = self.random.random() < self.chance(frame[26:34], source, destination, sequence, size,
                                                  flags)
        if size > 0 or flags & (SYN | FIN | RST):
            self.seen.append((time.time_ns(), frame[26:30], source, frame[30:34], destination,
                              sequence, size, flags, int(lost)))
        return lost

    def chance(self, addresses, source, destination, sequence, size, flags):
        key = (addresses, source, destination)
        if flags & SYN:
            self.next[key] = (sequence + 1) & 0xFFFFFFFF
            return self.loss / 10
        if size == 0:
            return self.loss / 10 if flags & FIN else 0
        end = (sequence + size) & 0xFFFFFFFF
        if (end - self.next.get(key, sequence)) & 0xFFFFFFFF < 1 << 31 and \
                end != self.next.get(key):
            self.next[key] = end
            return self.loss
        return self.loss / 8

    def write(self, path):
        with open(path, "w", encoding="ascii") as out:
            for at, source, port, destination, other, *rest in self.seen:
                print(at, socket.inet_ntoa(source), port, socket.inet_ntoa(destination), other,
                      *rest, file=out)


def run(devices, losses, ended):
    """Frames go to the port from which their destination was last heard, else to all others."""
    poll, ports = select.epoll(), {}
    for device in devices:
        poll.register(device, select.EPOLLIN)
    while not ended:
        for device, _ in poll.poll(0.2):
            for _ in range(64):
                try:
                    frame = os.read(device, 2048)
                except BlockingIOError:
                    break
                ports[frame[6:12]] = device
                if losses.loses(frame):
                    continue
                known = ports.get(frame[0:6])
                for other in (known,) if known is not None else devices:
                    if other != device:
                        forward(other, frame)


def forward(device, frame):
    try:
        os.write(device, frame)
    except (BlockingIOError, OSError):
        pass  # a link that is not up yet, or full: what a switch does


def main():
    out, seed, loss, *namespaces = sys.argv[1:]
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    devices = taps(namespaces)
    losses = Losses(int(seed), float(loss))
    print("READY", flush=True)
    run(devices, losses, ended)
    losses.write(out)


if __name__ == "__main__":
    main()
