# SPDX-License-Identifier: Apache-2.0
"""Reads what the receiver wrote to its `capture_file`: kernel records as bpf/records.h lays them
out, in the byte order of this machine."""
import dataclasses
import ipaddress
import pathlib
import struct

MAGIC = b"UTCAPTURE1".ljust(16, b"\0")
RETRANSMIT, CONNECTION = 1, 2
ROLES = ("", "connect", "accept")
CHANGES = {1: "opened", 2: "closed", 3: "connecting", 4: "failed", 5: "snapshot"}
CAUSES = ("unknown", "fast", "timeout", "tail_loss_probe", "syn", "syn_ack")
HAS_ERR = 128

HEADER = struct.Struct("=HBBIQQ")
SOCKET = struct.Struct("=QQ16s16sHHBB2sII")
CHANGE = struct.Struct("=I")
RETRANSMIT_BODY = struct.Struct("=IIIIiIIIII")


@dataclasses.dataclass
class Retransmit:
    boot_ns: int
    cgroup_id: int
    netns_cookie: int
    local: tuple
    remote: tuple
    bytes: int
    segments: int
    err: int
    cause: str

    @property
    def sent(self):
        return self.err == 0


def address(raw):
    parsed = ipaddress.IPv6Address(raw)
    return str(parsed.ipv4_mapped or parsed)


def records(path):
    """(type, boot_ns, cgroup id, the record's bytes) of each record."""
    data = pathlib.Path(path).read_bytes()
    if not data.startswith(MAGIC):
        raise ValueError(f"{path} is no capture")
    at = len(MAGIC)
    while at + 8 + HEADER.size <= len(data):
        at += 8  # the offset to UNIX time
        size, _version, kind, _has, boot_ns, cgroup_id = HEADER.unpack_from(data, at)
        yield kind, boot_ns, cgroup_id, data[at:at + size]
        at += size


def read_socket(record):
    """(cookie, netns cookie, local end, remote end, role)"""
    (cookie, netns, local, remote, local_port, remote_port, role, _state, _reserved, _isn,
     _peer_isn) = SOCKET.unpack_from(record, HEADER.size)
    return (cookie, netns, (address(local), local_port), (address(remote), remote_port),
            ROLES[role] if role < len(ROLES) else str(role))


def read_retransmit(boot_ns, cgroup_id, record):
    (_seq, _end, count, segments, err, cause, _rto, _srtt, _cwnd,
     _wmem) = RETRANSMIT_BODY.unpack_from(record, HEADER.size + SOCKET.size)
    _cookie, netns, local, remote, _role = read_socket(record)
    return Retransmit(boot_ns, cgroup_id, netns, local, remote, count, segments, err,
                      CAUSES[cause] if cause < len(CAUSES) else str(cause))


def retransmits(path):
    """All retransmit records of a capture that its writer has closed."""
    return [read_retransmit(boot_ns, cgroup_id, record)
            for kind, boot_ns, cgroup_id, record in records(path) if kind == RETRANSMIT]


def told(path):
    """What the kernel told of TCP, a line each, for the reader of a failed test."""
    for kind, boot_ns, cgroup_id, record in records(path):
        if kind not in (RETRANSMIT, CONNECTION):
            continue
        cookie, _netns, local, remote, role = read_socket(record)
        what = read_retransmit(boot_ns, cgroup_id, record).cause if kind == RETRANSMIT else \
            CHANGES.get(CHANGE.unpack_from(record, HEADER.size + SOCKET.size)[0], "?")
        yield (f"{boot_ns / 1e9:.6f} cgroup {cgroup_id} socket {cookie} {role} "
               f"{local[0]}:{local[1]} > {remote[0]}:{remote[1]} {what}")
