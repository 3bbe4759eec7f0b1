"""A process of ours under strace(1): which system calls a piece of work makes, and what becomes of it when one of them
fails or the process is killed before it.

The work is done in a fork that waits until strace has it, so that calls are counted from there and each time the same.
"""

import contextlib
import os
import re
import select
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.real import terminal

KILLED = -9
_WAITING = "pselect6"
_CALL = re.compile(r"(?P<name>\w+)\((?P<words>.*)\)\s+= (?P<result>\S+).*")
# What can fail for want of a disk; the rest is memory and the process itself.
FILES = re.compile(
    r"open\w*|creat|p?(read|write)\w*|close|f?(data)?sync|lseek|\w*stat\w*|fcntl|flock|f?truncate|unlink\w*|rename\w*"
    r"|link\w*|mkdir\w*|getdents\w*|readlink\w*|f?chmod\w*|fallocate|access|faccessat\w*"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One system call of the work: the ``number``-th of this name; site: the name and what it is about."""

    name: str
    number: int
    site: str


def points(work: Callable[[], int], log: str) -> tuple[Point, ...]:
    """Every system call that the work makes, in order; it must end well."""
    status = _run(work, log, "-y")
    assert status == 0, status
    counts: dict[str, int] = {}
    found = []
    with open(log, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            call = _CALL.match(line)
            if call is None:
                continue
            counts[call["name"]] = counts.get(call["name"], 0) + 1
            found.append(Point(name=call["name"], number=counts[call["name"]], site=_site(call)))
    return tuple(point for point in found if point.name != _WAITING)


def _site(call: re.Match[str]) -> str:
    """The name of a call and of the file that it is about, without what differs from run to run."""
    file = re.search(r'"([^"]*)"', call["words"]) or re.search(r"<([^>]*)>", call["words"])
    about = re.sub(r"\d+", "N", os.path.basename(file[1])) if file else ""
    return f"{call['name']} {about}"


def killed(work: Callable[[], int], point: Point, log: str) -> int:
    """The exit status of the work, killed before that call; below 0 for a signal."""
    return _run(work, log, f"--inject={point.name}:signal=KILL:when={point.number}")


def failed(work: Callable[[], int], point: Point, error: str, log: str) -> int:
    """The exit status of the work where that call fails with this error and does nothing."""
    return _run(work, log, f"--inject={point.name}:error={error}:when={point.number}")


def delayed(work: Callable[[], int], point: Point, seconds: float, log: str, meanwhile: Callable[[], None]) -> int:
    """The exit status of the work, where that call takes so long, and something else is done at the same time."""
    inject = f"--inject={point.name}:delay_enter={int(seconds * 1e6)}:when={point.number}"
    return _run(work, log, inject, meanwhile=meanwhile)


def _run(work: Callable[[], int], log: str, *options: str, meanwhile: Callable[[], None] = lambda: None) -> int:
    gate_out, gate_in = os.pipe()
    child = os.fork()
    if child == 0:
        status = 99
        try:
            os.close(gate_in)
            with contextlib.suppress(OSError, ValueError):
                select.select([gate_out], [], [])
            status = work()
        finally:
            os._exit(status)
    os.close(gate_out)
    with _traced(child, log, options):
        os.close(gate_in)
        meanwhile()
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@contextlib.contextmanager
def _traced(pid: int, log: str, options: tuple[str, ...]) -> Iterator[None]:
    """Let strace have a process; afterwards its log is whole."""
    command = ["strace", "--signal=none", f"--output={log}", *options, f"--attach={pid}"]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, env={"PATH": "/usr/bin:/bin"})
    assert tracer.stderr is not None
    try:
        said = tracer.stderr.readline()
        assert b"attached" in said, said
        yield
    finally:
        if tracer.poll() is None:
            try:
                tracer.wait(terminal.PATIENCE)
            except subprocess.TimeoutExpired:
                tracer.kill()
                tracer.wait()
        tracer.stderr.close()
