"""What a program inside a sandbox tries with the kernel to change its network or to leave it. As fake_attempts, whose
text this precedes. Standard library only.
"""

import ctypes
import os
import socket
import struct
from collections.abc import Callable

_PATIENCE = 4.0
_kernel = ctypes.CDLL(None, use_errno=True)


def inherited() -> str:
    """Any socket that came with the start."""
    for name in os.listdir("/proc/self/fd"):
        try:
            link = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if link.startswith("socket:"):
            return f"i am {name}"
    raise OSError("none")


def raw(family: str, kind: str, number: str, host: str = "") -> str:
    """A socket of this family, type and protocol; with a host, something is sent."""
    with socket.socket(int(family), int(kind), int(number)) as stream:
        if host:
            stream.sendto(b"\x08\0\xf7\xff\0\0\0\0", (host, 0))
        return "i am let"


def _netlink(family: int, kind: int, flags: int, body: bytes) -> str:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family) as stream:
        stream.settimeout(_PATIENCE)
        stream.send(struct.pack("=IHHII", 16 + len(body), kind, flags | 5, 1, 0) + body)
        error = struct.unpack_from("=i", stream.recv(4096), 16)[0]
    if error:
        raise OSError(-error, os.strerror(-error))
    return "i am root of the network"


def netlink(what: str) -> str:
    """A change to the network that the app is in."""
    lo = socket.if_nametoindex("lo")
    address = socket.inet_aton("203.0.113.20")
    word = struct.pack("=HH", 8, 2) + address + struct.pack("=HH", 8, 1) + address
    changes: dict[str, Callable[[], str]] = {
        "address": lambda: _netlink(0, 20, 0x600, struct.pack("=BBBBI", 2, 32, 0, 0, lo) + word),
        "route": lambda: _netlink(
            0,
            24,
            0x600,
            struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 4, 0, 1, 0) + struct.pack("=HHI", 8, 4, lo),
        ),
        "flush": lambda: _netlink(0, 21, 0, struct.pack("=BBBBI", 2, 15, 0, 0, lo) + word),
        "down": lambda: _netlink(0, 16, 0, struct.pack("=BxHiII", 0, 0, lo, 0, 1)),
        "rules": lambda: _netlink(12, 0x0A02, 0, struct.pack("=BBH", 0, 0, 0)),  # nft delete table: all of them
    }
    return changes[what]()


def unshare(flags: str) -> str:
    if _kernel.unshare(int(flags, 16)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return "i am elsewhere"


def setns(kind: str) -> str:
    """Into a namespace of another process, any that is to be seen."""
    own = os.stat(f"/proc/self/ns/{kind}").st_ino
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            handle = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)
        except OSError:
            continue
        if os.fstat(handle).st_ino != own and not _kernel.setns(handle, 0):
            return f"i am in that of {pid}"
    raise OSError("none but ours, or not let in")


def vsock(cid: str, port: str) -> str:
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as stream:
        stream.settimeout(_PATIENCE)
        stream.connect((int(cid), int(port)))
        return "i am connected"
