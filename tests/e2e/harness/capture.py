# SPDX-License-Identifier: Apache-2.0
"""Reads what the receiver wrote to its `capture_file`: kernel records as bpf/records.h lays them
out, in the byte order of this machine."""
import dataclasses
import ipaddress
import pathlib
import struct

MAGIC = b"UTCAPTURE1".ljust(16, b"\0")
RETRANSMIT = 1
CAUSES = ("unknown", "fast", "timeout", "tail_loss_probe", "syn", "syn_ack")
HAS_ERR = 128

HEADER = struct.Struct("=HBBIQQ")
SOCKET = struct.Struct("=QQ16s16sHHBB2sII")
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


def retransmits(path):
    """All retransmit records of a capture that its writer has closed."""
    data = pathlib.Path(path).read_bytes()
    if not data.startswith(MAGIC):
        raise ValueError(f"{path} is no capture")
    found, at = [], len(MAGIC)
    while at < len(data):
        at += 8  # the offset to UNIX time
        size, _version, kind, _has, boot_ns, cgroup_id = HEADER.unpack_from(data, at)
        if kind == RETRANSMIT:
            (_cookie, netns, local, remote, local_port, remote_port, _role, _state, _reserved,
             _isn, _peer_isn) = SOCKET.unpack_from(data, at + HEADER.size)
            (_seq, _end, count, segments, err, cause, _rto, _srtt, _cwnd,
             _wmem) = RETRANSMIT_BODY.unpack_from(data, at + HEADER.size + SOCKET.size)
            found.append(Retransmit(boot_ns, cgroup_id, netns, (address(local), local_port),
                                    (address(remote), remote_port), count, segments, err,
                                    CAUSES[cause] if cause < len(CAUSES) else str(cause)))
        at += size
    return found
