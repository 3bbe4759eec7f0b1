"""What a companion of ours gives up before it reads the first byte from a sandbox (SPEC §10.5).

So that a mistake in it would not be worth the user's files, buses or programs.
"""

import ctypes
import os

_PRIVATE, _BIND, _DETACH = 0x44000, 0x1000, 2  # MS_REC | MS_PRIVATE, MS_BIND, MNT_DETACH: mount(2), umount2(2)
_NOSUID_NODEV_NOEXEC = 14  # MS_NOSUID | MS_NODEV | MS_NOEXEC
_NEW = 0x58020000  # CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER and CLONE_NEWNET: clone(2)
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}  # it has no function in libc: pivot_root(2)
_NO_NEW_PRIVS, _SECCOMP, _DROP_BOUND = 38, 22, 24  # prctl(2): PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, PR_CAPBSET_DROP
# The number of fstat(2), and where struct stat has the mode. libc's own takes a call that can look at paths as well.
_FSTAT = {"x86_64": (5, 24), "aarch64": (80, 16)}.get(os.uname().machine, (-1, 0))
_CAPABILITIES_3 = 0x20080522  # _LINUX_CAPABILITY_VERSION_3: capget(2)


def confine(socket: bytes, directory: bytes, calls: bytes) -> bytes:
    """Leave everything but one socket; the path by which it is connected to from now on.

    directory: where to mount for a moment; calls: a seccomp program. Where the kernel gives this user no namespaces,
    the socket keeps its path and the program alone stands in the way: other sockets could still be connected to. Raises
    OSError when the program cannot be loaded.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    path = _alone(libc, socket, directory)
    load(libc, calls)
    return path


def load(libc: ctypes.CDLL, calls: bytes) -> None:
    """Load a seccomp program into this process, for good. Raises OSError."""
    _check(libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
    instructions = ctypes.create_string_buffer(calls, len(calls))
    program = _Program(len(calls) // 8, ctypes.addressof(instructions))
    _check(libc.prctl(_SECCOMP, 2, ctypes.byref(program), 0, 0))


def type_of(handle: int) -> int:
    """What a descriptor is of, as the bits of a mode (inode(7)); -1 if nobody says. A companion's calls are enough."""
    number, at = _FSTAT
    found = ctypes.create_string_buffer(256)
    if ctypes.pythonapi.syscall(number, handle, found):
        return -1
    return int.from_bytes(found.raw[at : at + 4], "little") & 0o170000


def drop_capabilities(libc: ctypes.CDLL, kept: int = 0) -> None:
    """Give up all capabilities, and the right to get any back, but those of ``kept`` that are held. Raises OSError.

    kept: bits of the first 32 (capabilities(7)).
    """
    for capability in range(64):
        if libc.prctl(_DROP_BOUND, capability, 0, 0, 0):  # until there is no such capability
            break
    header, held = (ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0), (ctypes.c_uint32 * 6)()
    _check(libc.capget(header, held))
    low = held[1] & kept
    _check(libc.capset(header, (ctypes.c_uint32 * 6)(low, low, 0, 0, 0, 0)))


def bury(libc: ctypes.CDLL, directory: bytes) -> None:
    """Leave every file behind: an empty, read-only root. Needs a mount namespace of its own. Raises OSError."""
    _check(libc.mount(None, b"/", None, _PRIVATE, None))
    _check(libc.mount(b"tmpfs", directory, b"tmpfs", _NOSUID_NODEV_NOEXEC | 1, b"size=4k,mode=0500"))
    os.chdir(directory)
    _leave(libc)


def _leave(libc: ctypes.CDLL) -> None:
    """Make the working directory the root and let go of the old one (pivot_root(2))."""
    _check(libc.syscall(_PIVOT_ROOT[os.uname().machine], b".", b"."))
    _check(libc.umount2(b".", _DETACH))
    os.chdir("/")


class _Program(ctypes.Structure):
    """struct sock_fprog of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def _alone(libc: ctypes.CDLL, socket: bytes, directory: bytes) -> bytes:
    """Namespaces of our own, in which the socket is the only file."""
    user, group = os.geteuid(), os.getegid()
    if libc.unshare(_NEW):
        return socket
    for name, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        handle = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
        os.write(handle, line.encode())
        os.close(handle)
    held = os.open(socket, os.O_PATH | os.O_CLOEXEC)
    if libc.mount(None, b"/", None, _PRIVATE, None) or libc.mount(
        b"tmpfs", directory, b"tmpfs", _NOSUID_NODEV_NOEXEC, b"size=4k,mode=0700"
    ):
        os.close(held)
        return socket
    os.chdir(directory)
    os.close(os.open("socket", os.O_CREAT | os.O_CLOEXEC, 0o600))
    _check(libc.mount(b"/proc/self/fd/%d" % held, b"socket", None, _BIND, None))
    os.close(held)
    _leave(libc)
    return b"/socket"


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), "a companion could not be confined")
