"""The companions of a running instance, told from all other processes, and closed (SPEC §10.5, §11.7).

What serves a socket of the launch is found by the socket, and ended only if the instance's own process started it: the
socket of a security context, for one, is served by the user's compositor.
"""

import contextlib
import os
import select
import signal
from collections.abc import Collection, Iterator

from broker import runs

_PATIENCE = 5.0  # seconds until a process that was killed is gone


def close(instance: runs.Instance, names: Collection[str]) -> tuple[str, ...]:
    """End what serves these sockets of the launch; the names of all that are not served any more, others included."""
    closed: set[str] = set()
    for pid in _descendants(instance):
        with contextlib.suppress(OSError):
            handle = os.pidfd_open(pid)  # first: from here on the number is this process's
            try:
                found = _served(instance, pid)
                if found & set(names) and instance.pid in _ancestry(pid):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    closed |= found
            finally:
                os.close(handle)
    return tuple(sorted(closed))


def end(instance: runs.Instance, programs: Collection[str]) -> bool:
    """End the companions that run one of these programs, as the kernel calls them; whether none is left after that."""
    for pid in _running(instance, programs):
        with contextlib.suppress(OSError):
            handle = os.pidfd_open(pid)
            try:
                if pid in _running(instance, programs):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    select.select([handle], [], [], _PATIENCE)
            finally:
                os.close(handle)
    return not _running(instance, programs)


def _running(instance: runs.Instance, programs: Collection[str]) -> tuple[int, ...]:
    return tuple(pid for pid in _descendants(instance) if _program(pid) in programs)


def _program(pid: int) -> str:
    """The name of a process's program; empty of one that has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            name, state = file.read().partition(b"(")[2].rpartition(b") ")[::2]
    except OSError:
        return ""
    return "" if state[:1] in b"ZX" else name.decode("utf-8", "replace").partition(".")[0]


def _descendants(instance: runs.Instance) -> tuple[int, ...]:
    """What the instance's process started beside the sandbox."""
    inside = {instance.first, *instance.members()}
    found = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return tuple(pid for pid in found if pid not in inside and instance.pid in _ancestry(pid))


def _ancestry(pid: int) -> tuple[int, ...]:
    """The processes above one, nearest first, as far as they can be told."""
    found: list[int] = []
    with contextlib.suppress(OSError, ValueError):
        while pid > 1 and pid not in found[:-1]:
            with open(f"/proc/{pid}/stat", "rb") as file:
                pid = int(file.read().rpartition(b")")[2].split()[1])
            found.append(pid)
    return tuple(found)


def _served(instance: runs.Instance, pid: int) -> set[str]:
    """The names of the sockets of the launch that a process holds. Raises OSError."""
    directory = f"{instance.path.removesuffix('.json')}/"
    # One that has confined itself since listens in the network that it left, which is ours.
    known = dict((*_sockets("/proc/self/net/unix", directory), *_sockets(f"/proc/{pid}/net/unix", directory)))
    held = (os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd"))
    return {known[link] for link in held if link in known}


def _sockets(table: str, directory: str) -> Iterator[tuple[str, str]]:
    """The sockets below a directory, as descriptors name them, each with its name (proc_net(5), ``unix``)."""
    with open(table, encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.rstrip("\n").split(maxsplit=7)
            if len(fields) == 8 and fields[7].startswith(directory):
                yield f"socket:[{fields[6]}]", fields[7].removeprefix(directory)
