"""The way into the network namespace of a sandbox that bubblewrap has made and not yet begun (SPEC §10.6).

The namespace belongs to the user namespace that bubblewrap made first, over which whoever started it has all
capabilities (user_namespaces(7)); the app lives in one below that and has none.
"""

import ctypes
import fcntl
import os

_GET_USER_NAMESPACE = 0xB701  # NS_GET_USERNS: ioctl_ns(2)
_NEW_NS, _NEW_IPC, _NEW_USER, _NEW_NET = 0x20000, 0x08000000, 0x10000000, 0x40000000  # clone(2)
_LIMIT = 65536


def read_info(info: int) -> bytes:
    """What bubblewrap tells of the sandbox, which comes in several pieces. Raises OSError where it ended before."""
    told = b""
    while not told.rstrip().endswith(b"}"):
        piece = os.read(info, 4096)
        if not piece or len(told) > _LIMIT:
            raise OSError("bubblewrap ended before it said what it made")
        told += piece
    return told


def first_process(told: bytes) -> int:
    """The pid, here, of the sandbox's first process. Raises ValueError."""
    return int(told.partition(b'"child-pid":')[2].partition(b",")[0].split(b"}")[0])


def enter(libc: ctypes.CDLL, pid: int) -> None:
    """Move this process, which has one thread, into the network of the sandbox, with all capabilities over it.

    The mounts become its own, too, to be left behind. Raises OSError, also where the network is the one we are in.
    """
    network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.fstat(network).st_ino == os.stat("/proc/self/ns/net").st_ino:
            raise OSError("the sandbox has no network of its own")
        owner = fcntl.ioctl(network, _GET_USER_NAMESPACE)
        try:
            for handle, kind in ((owner, _NEW_USER), (network, _NEW_NET)):
                _check(libc.setns(handle, kind))
        finally:
            os.close(owner)
    finally:
        os.close(network)
    _check(libc.unshare(_NEW_NS | _NEW_IPC))


def allow_low_ports() -> None:
    """Let the app listen on any port of its own network; where /proc is read-only it can on those from 1024 on."""
    try:
        handle = os.open("/proc/sys/net/ipv4/ip_unprivileged_port_start", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(handle, b"0")
        finally:
            os.close(handle)
    except OSError:
        return


def _check(result: int) -> None:
    if result:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
