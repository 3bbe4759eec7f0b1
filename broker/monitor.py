"""The relay's far end: the two processes that live in the session of the app's own terminal (SPEC §9.6).

S, the monitor, leads that session, starts B, sends it the signals it is ordered to, and reports when it stops. B is the
leader of another process group of the session and becomes bwrap. With its parent in its own session, B's group is not
orphaned; the kernel never lets ^Z stop an orphaned one (setpgid(2), credentials(7)).

Imports nothing that is written in Python but ``os``: on the warm launch path.
"""

import _signal  # type: ignore[import-not-found]
import fcntl
import os
import select
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

STOPPED = b"s"  # B has stopped as a job does
RUNNING = b"r"  # B is in its place, was continued, or was given the terminal it had stopped for

_FAILED = 125
_GRACE = 2  # seconds between SIGHUP and SIGKILL when the user's terminal is gone
_IGNORED = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTSTP, _signal.SIGTTIN, _signal.SIGTTOU)


def fork(
    start: "Callable[[], None]", pty: int, replaced: "list[int]", strange: "Iterable[int]", *, foreground: bool
) -> tuple[int, int, int]:
    """Start S and B; to be called once all handlers of the caller are in place.

    start: makes B bwrap; pty: the app's terminal; replaced: the descriptors among 0–2 that become it; strange: the
    caller's descriptors that S must not keep; foreground: whether B may use its terminal from the beginning.
    Returns S's process id, a descriptor that takes orders (one byte per signal number; closing it ends B), and one that
    brings ``STOPPED`` and ``RUNNING`` and closes when S ends. S does so with B's exit status (128 + n for signal n).
    """
    orders_source, orders = os.pipe()
    events, events_sink = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            for descriptor in (*strange, orders, events):
                os.close(descriptor)
            os._exit(_lead(start, pty, replaced, orders_source, events_sink, foreground=foreground))
        except Exception as error:
            _say(error)
        finally:
            os._exit(_FAILED)
    os.close(orders_source)
    os.close(events_sink)
    return process, orders, events


def listen(numbers: "Iterable[int]") -> tuple[int, int]:
    """Catch these signals; the first descriptor returned gets their numbers, one byte each."""
    source, sink = os.pipe()
    os.set_blocking(source, False)
    os.set_blocking(sink, False)
    _signal.set_wakeup_fd(sink, warn_on_full_buffer=False)
    dispose(noted, numbers)
    return source, sink


def dispose(handler: "Any", numbers: "Iterable[int]") -> None:
    """Set the disposition of several signals."""
    for number in numbers:
        _signal.signal(number, handler)


def noted(_number: int, _frame: object) -> None:
    """A handler that leaves everything to the wake-up descriptor."""


def exit_status(state: int) -> int:
    """A wait status as a shell and bwrap say it: 0–255, 128 + n for signal n."""
    code = os.waitstatus_to_exitcode(state)
    return code if code >= 0 else 128 - code


def _lead(
    start: "Callable[[], None]", pty: int, replaced: "list[int]", orders: int, events: int, *, foreground: bool
) -> int:
    """Process S: returns the exit status when B has ended."""
    os.setsid()
    fcntl.ioctl(pty, termios.TIOCSCTTY, 0)
    for number in replaced:
        os.dup2(pty, number)
    dispose(_signal.SIG_IGN, _IGNORED)
    dispose(_signal.SIG_DFL, (_signal.SIGTERM,))
    wake = listen((_signal.SIGCHLD, _signal.SIGALRM))[0]
    ready, prepared = os.pipe()
    child = os.fork()
    if child == 0:
        _become(start, pty, prepared, foreground=foreground)
    os.close(prepared)
    os.read(ready, 1)  # until then a signal would meet the dispositions of S
    os.close(ready)
    _tell(events, RUNNING)
    return _watch(child, pty, orders, events, wake)


def _watch(child: int, pty: int, orders: int, events: int, wake: int) -> int:
    """Pass signals on to B and its stops to R; return the exit status when B has ended."""
    poller = select.poll()
    for descriptor in (orders, wake):
        poller.register(descriptor, select.POLLIN)
    last = 0
    while True:
        for descriptor, _ in poller.poll():
            numbers = os.read(descriptor, 64)
            if descriptor == orders and not numbers:
                poller.unregister(orders)
                _signal.alarm(_GRACE)
                _send(child, _signal.SIGHUP)
            elif descriptor == orders:
                for last in numbers:
                    _send(_target(child, pty, last), last)
                    if last == _signal.SIGCONT:
                        _tell(events, RUNNING)
            elif _signal.SIGALRM in numbers:
                _send(child, _signal.SIGKILL)
        while (state := os.waitpid(child, os.WUNTRACED | os.WNOHANG))[0]:
            if not os.WIFSTOPPED(state[1]):
                return exit_status(state[1])
            _stopped(child, pty, os.WSTOPSIG(state[1]), events)
            if last == _signal.SIGTSTP and os.WSTOPSIG(state[1]) != last:
                _send(child, last)  # going on after another stop cancelled it (signal(7))
            last = 0


def _become(start: "Callable[[], None]", pty: int, prepared: int, *, foreground: bool) -> None:
    """Process B: never returns; closes ``prepared`` when it is in its place, then ``start`` makes it bwrap."""
    try:
        os.setpgid(0, 0)
        _signal.set_wakeup_fd(-1)
        dispose(_signal.SIG_DFL, _signal.valid_signals() - {_signal.SIGKILL, _signal.SIGSTOP, _signal.SIGTTOU})
        if foreground:
            os.tcsetpgrp(pty, os.getpid())  # stops whoever is not in the foreground and does not ignore SIGTTOU
        dispose(_signal.SIG_DFL, (_signal.SIGTTOU,))
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        os.close(prepared)
        start()
    except Exception as error:
        _say(error)
    finally:
        os._exit(_FAILED)


def _stopped(child: int, pty: int, number: int, events: int) -> None:
    """Tell R that B stopped; but when it stopped for want of its terminal, give it that and go on."""
    try:
        wants = number in (_signal.SIGTTIN, _signal.SIGTTOU) and os.tcgetpgrp(pty) == os.getpid()
        if wants:
            os.tcsetpgrp(pty, child)
    except OSError:
        return  # the pty is gone and with it R, which the orders tell as well
    if wants:
        _send(child, _signal.SIGCONT)
    _tell(events, RUNNING if wants else STOPPED)


def _tell(events: int, event: bytes) -> None:
    try:
        os.write(events, event)
    except BrokenPipeError:
        return  # R is gone, which the orders tell as well


def _target(child: int, pty: int, number: int) -> int:
    """The process group a signal is meant for; one of the keyboard's goes to what a shell inside has in front."""
    if number in (_signal.SIGINT, _signal.SIGQUIT, _signal.SIGTSTP):
        try:
            group = os.tcgetpgrp(pty)
        except OSError:
            return child
        if group not in (0, os.getpid()):
            return group
    return child


def _send(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
        if number in (_signal.SIGTERM, _signal.SIGHUP):
            os.killpg(group, _signal.SIGCONT)  # a stopped process acts on it only then
    except ProcessLookupError:
        return


def _say(error: Exception) -> None:
    reason = getattr(error, "strerror", None) or str(error)
    text = f"intent-run: the sandbox did not start: {reason}; see `intent-ctl doctor`\n"
    os.write(2, text.encode(errors="backslashreplace"))
