"""What the host's own network would leave open, closed by Landlock (landlock(7)): abstract sockets, signals, ports."""

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
PORTS = 4  # the ABI that has rules about ports
_CREATE, _ADD, _RESTRICT = 444, 445, 446  # landlock_create_ruleset(2) ..., the same numbers on every machine
_CONNECT, _PORT = 2, 2  # LANDLOCK_ACCESS_NET_CONNECT_TCP, LANDLOCK_RULE_NET_PORT
_SCOPES = 3  # both of LANDLOCK_SCOPE_...
_NO_NEW_PRIVS = 38  # prctl(2)


def restrict(scoped: bool, ports: bytes, held: bytes) -> None:
    """Restrict this process and what it becomes, for good.

    scoped: no abstract sockets of, and no signals to, what is outside; ports: the TCP ports, words between spaces, that
    connections are held to, empty for all; held: then a seccomp program, in hexadecimal, against the ways round that.
    Raises OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    hold(libc, scoped, [int(port) for port in ports.split()])
    if ports:
        from broker import confine

        confine.load(libc, bytes.fromhex(held.decode()))


def version(libc: ctypes.CDLL) -> int:
    """The ABI of this kernel's; less than 1 where it has none."""
    return int(libc.syscall(_CREATE, None, ctypes.c_size_t(0), 1))  # LANDLOCK_CREATE_RULESET_VERSION


def hold(libc: ctypes.CDLL, scoped: bool, ports: "Sequence[int]") -> None:
    """The part of ``restrict`` that Landlock does; ports: those that connections are held to, none for all.

    It counts for every socket, also for one that was made in another network. Raises OSError.
    """
    handled = 0, _CONNECT if ports else 0, _SCOPES if scoped else 0
    size = 24 if scoped else 16  # a kernel that knows no scopes knows a shorter structure
    attributes = b"".join(number.to_bytes(8, "little") for number in handled)[:size]
    ruleset = libc.syscall(_CREATE, attributes, ctypes.c_size_t(size), 0)
    _check(ruleset < 0)
    for port in ports:
        rule = _CONNECT.to_bytes(8, "little") + port.to_bytes(8, "little")
        _check(libc.syscall(_ADD, ruleset, _PORT, rule, 0))
    _check(libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.syscall(_RESTRICT, ruleset, 0))
    os.close(ruleset)


def _check(failed: int) -> None:
    if failed:
        raise OSError(ctypes.get_errno(), "Landlock refused")
