"""What the relay is left with before it reads the first byte of the app's: its sockets (SPEC §10.6)."""

import _socket
import ctypes
import select

from broker import confine, landlock
from broker.network import namespace, netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
# Local inside every sandbox, and nowhere routed outside: RFC 2544, and a prefix of RFC 4193.
MADE_UP_4 = (_socket.AF_INET, _socket.inet_pton(_socket.AF_INET, "198.18.0.1"), 15)
MADE_UP_6 = (_socket.AF_INET6, _socket.inet_pton(_socket.AF_INET6, "fd69:6e74:656e::"), 96)
SELF_6 = (_socket.AF_INET6, _socket.inet_pton(_socket.AF_INET6, "fd69:6e74:656e::1"), 128)
_POLL = 0.0005  # seconds
_PATIENCE = 20000  # times that


def enter(pid: int) -> bool:
    """Enter the network of the sandbox and put the made-up addresses there. Returns whether it has IPv6.

    Raises OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    namespace.enter(libc, pid)
    probe = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        for _ in range(_PATIENCE):  # bubblewrap does it; doing it first would make it fail
            if netlink.loopback_is_up(probe):
                break
            select.select([], [], [], _POLL)
        else:
            raise OSError("its loopback interface is not up")
    finally:
        probe.close()
    netlink.add_address(*MADE_UP_4)
    namespace.allow_low_ports()
    try:
        netlink.add_address(*SELF_6)
        netlink.add_local(*MADE_UP_6)
    except OSError:  # a kernel without it
        return False
    return True


def close(directory: bytes, calls: bytes, ports: "Sequence[int]" = ()) -> None:
    """Give up all files, capabilities, and the system calls that ``calls``, a seccomp program, does not let through.

    directory: where to mount for a moment; ports: the only ones to connect to, if any, where the kernel can say so.
    Raises OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    confine.bury(libc, directory)
    confine.drop_capabilities(libc)
    libc.prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
    # What it holds of the host's network is connected, but it could take that back and connect it anew.
    if ports and landlock.version(libc) >= landlock.PORTS:
        landlock.hold(libc, False, ports)
    confine.load(libc, calls)
