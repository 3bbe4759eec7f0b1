"""The relay between the user's terminal and a terminal made for one sandbox (SPEC §9.6).

An app that held the user's terminal could read what is typed at the shell, type there itself (TIOCSTI), or take the
foreground. So it gets a pty of its own, and ``intent-run`` (process R) stays between the two as a job of the user's
shell: it copies bytes and sets the modes of the user's terminal. monitor.py is the far end.

When standard input is a terminal and standard output is no pipe, R copies keys in raw mode as long as its job is in the
foreground. Otherwise the terminal may belong to somebody else (``intent-run x | less``, ``cat | intent-run y``): the
app then starts in the background of its pty, and R leaves the user's terminal alone until the app reads its own or sets
its modes. From then on ^C and ^Z keep reaching the whole job, unless the app turned that off; see user_terminal.py.

On the warm launch path: imports nothing that is written in Python but ``os`` and two modules of ours.
"""

import _signal  # type: ignore[import-not-found]
import os
import select
import termios

from broker import monitor, user_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_FORWARDED = (_signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM, _signal.SIGTSTP)
_HEARD = (*_FORWARDED, _signal.SIGHUP, _signal.SIGCONT, _signal.SIGWINCH)
_TICK = 200  # milliseconds; `fg` gives a running job the terminal without a signal
_LINGER = 1000  # milliseconds that a stopping job waits for a screen that takes nothing
_PIECE = 65536  # bytes
_ROUNDS = 16  # pieces of output in a row; the kernel gives 4 KiB at a time
_BACKLOG = 1 << 20  # more than the kernel holds for one pty (64 KiB); descendants that write on end here


def run(start: "Callable[[], None]") -> int:
    """Run the sandbox on a pty of its own until it ends; at least one of the descriptors 0–2 must be a terminal.

    start: execs bwrap; called in a grandchild in which each of 0–2 that was a terminal is the pty, signals are at their
    defaults. If it raises, that process prints one line and exits 125.
    Returns the exit status of bwrap, 128 + n when signal n ended it, 129 when the user's terminal went away.
    Raises HostError: unsafe-descriptor when 0–2 are different terminals, no-pty when the kernel gives none. 0–2 must be
    open; descriptors the caller opened for bwrap stay open here as well, until this process ends.
    """
    inherited = [number for number in (0, 1, 2) if os.isatty(number)]
    _require_one(inherited)
    terminal = user_terminal.UserTerminal(inherited, lazy=0 not in inherited or _is_pipe(1))
    previous = {number: _signal.getsignal(number) for number in (*_HEARD, _signal.SIGTTIN, _signal.SIGPIPE)}
    wake = monitor.listen(number for number in _HEARD if previous[number] != _signal.SIG_IGN)
    monitor.dispose(_signal.SIG_IGN, (_signal.SIGTTIN, _signal.SIGPIPE))
    try:
        return _run(start, terminal, inherited, wake)
    except user_terminal.HangUpError:
        return 128 + int(_signal.SIGHUP)
    finally:
        _signal.set_wakeup_fd(-1)
        for number, handler in previous.items():
            _signal.signal(number, handler or _signal.SIG_DFL)
        for descriptor in (*wake, *terminal.opened):
            os.close(descriptor)


def stay(start: "Callable[[], None]") -> int:
    """``run``; but by SIGINT it ends as the app did: that, rather than a status telling of it, ends a shell's loop."""
    status = run(start)
    if status == 128 + _signal.SIGINT:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        os.kill(os.getpid(), _signal.SIGINT)
    return status


def _run(
    start: "Callable[[], None]", terminal: user_terminal.UserTerminal, inherited: "list[int]", wake: tuple[int, int]
) -> int:
    try:
        master, slave = os.openpty()
    except OSError as error:
        from intents import errors  # only now: the usual launch goes without

        raise errors.HostError("no-pty", f"there is no terminal for the app: {error.strerror}") from error
    terminal.prepare(slave)
    process, orders, events = monitor.fork(
        start, slave, inherited, (master, *wake, *terminal.opened), foreground=not terminal.lazy
    )
    os.close(slave)
    try:
        _Relay(terminal, master, orders, events, wake[0], process).copy()
    finally:
        terminal.leave()
        for descriptor in (master, orders, events):
            os.close(descriptor)  # which ends the sandbox, had it not ended by itself
        status = monitor.exit_status(os.waitpid(process, 0)[1])
    return status


class _Relay:
    """Copies between the user's terminal and the app's pty until the monitor is gone."""

    def __init__(
        self, terminal: user_terminal.UserTerminal, master: int, orders: int, events: int, wake: int, process: int
    ) -> None:
        """master: the app's pty; orders, events, process: the monitor's; wake: brings the numbers of caught signals."""
        self.terminal, self.master, self.orders, self.events = terminal, master, orders, events
        self.wake, self.process = wake, process
        self.active = False
        self.stopped = True  # the app is, or has not started: keys wait
        self.ended = False
        self.typed = b""  # for the app
        self.held = b""  # typed after ^Z: for the app only if that does not stop it
        self.release = 0.0  # seconds, as os.times() has them: until then ``held`` waits
        self.shown = b""  # for the screen
        os.set_blocking(master, False)

    def copy(self) -> None:
        """Copy until the app has ended and all it wrote is on the screen; raises user_terminal.HangUpError."""
        while not self.ended:
            self._turn()
        self._show_rest(patient=True)

    def _show_rest(self, *, patient: bool) -> None:
        """Show what the app has written until now; unless patient, give up on a screen that takes nothing for a while.

        A read of the master first flushes what the kernel still carries over (n_tty_read), so no more means no more.
        """
        poller = select.poll()
        poller.register(self.terminal.screen, select.POLLOUT)
        backlog = _BACKLOG
        while self.shown or (backlog > 0 and self._read_app()):
            before = len(self.shown)
            self._write_screen()
            backlog -= before - len(self.shown)
            if self.shown and not poller.poll(_TICK if patient else _LINGER) and not (patient and self._waits()):
                return

    def _waits(self) -> bool:
        """Whether no signal has told us to end by now."""
        try:
            return not set(os.read(self.wake, 64)) & {*_FORWARDED, _signal.SIGHUP}
        except BlockingIOError:
            return True

    def _turn(self) -> None:
        """Wait for one thing to happen, and do what follows from it."""
        self._settle()
        ready = self._wait()
        if self.wake in ready:
            for number in os.read(self.wake, 64):
                self._signalled(number)
        if self.events in ready:
            event = os.read(self.events, 1)
            if not event:
                self.ended = True
                return
            self.stopped = event == monitor.STOPPED
            if self.stopped:
                self._suspend()
                return
        for _ in range(_ROUNDS):
            if not self.shown and not self._read_app():
                break
            self._write_screen()
            if self.shown:
                break
        if self.held and os.times().elapsed > self.release:
            self._accept(self.held)
        elif self.terminal.keys in ready and self._takes_keys():
            self._read_keys()
        self._write_app()

    def _takes_keys(self) -> bool:
        return self.active and not (self.stopped or self.typed or self.held)

    def _wait(self) -> "set[int]":
        """The descriptors on which something can be done; empty after a tick without any."""
        terminal = self.terminal
        wanted = {self.wake: select.POLLIN, self.events: select.POLLIN, terminal.keys: 0, terminal.screen: 0}
        wanted[self.master] = 0 if self.shown else select.POLLIN
        if self.typed and not self.stopped:
            wanted[self.master] |= select.POLLOUT
        if self._takes_keys():
            wanted[terminal.keys] |= select.POLLIN
        if self.shown:
            wanted[terminal.screen] |= select.POLLOUT
        poller = select.poll()
        for descriptor, states in wanted.items():
            poller.register(descriptor, states)
        quiet = self.active and not self.held and not terminal.lazy
        ready = dict(poller.poll(None if quiet else _TICK))
        for descriptor in (terminal.keys, terminal.screen):
            if ready.get(descriptor, 0) & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
                raise user_terminal.HangUpError
        return set(ready)

    def _settle(self) -> None:
        """Take or give back the user's terminal, as the shell and the app have it by now."""
        mine = self.terminal.foreground()
        if mine and self.terminal.lazy:
            mine = os.tcgetpgrp(self.master) not in (0, self.process)
        if mine and not self.active:
            self.terminal.resize(self.master)
            self.typed += self.terminal.enter(self.master)
        elif mine and self.terminal.lazy:
            self.terminal.follow(self.master)
        elif self.active and not mine:
            self.terminal.leave()
        self.active = mine

    def _signalled(self, number: int) -> None:
        if number == _signal.SIGHUP:
            raise user_terminal.HangUpError
        if number == _signal.SIGWINCH:
            self.terminal.resize(self.master)
        elif number == _signal.SIGCONT:
            self.active = False  # the shell may have changed the modes
        else:
            self._order(number)

    def _suspend(self) -> None:
        """Stop this job as the app's was, and continue the app when the shell continues us."""
        self._show_rest(patient=False)
        self.terminal.leave()
        self.active = False
        self.typed = self.held = b""
        _signal.signal(_signal.SIGTSTP, _signal.SIG_DFL)
        os.kill(0, _signal.SIGTSTP)
        _signal.signal(_signal.SIGTSTP, monitor.noted)
        self._settle()
        self._order(_signal.SIGCONT)

    def _order(self, number: int) -> None:
        try:
            os.write(self.orders, bytes((number,)))
        except BrokenPipeError:
            return  # the monitor has ended, which the next turn sees

    def _read_app(self) -> bool:
        try:
            self.shown += os.read(self.master, _PIECE)
        except OSError:
            return False  # nothing now, or EIO: nobody has the pty open
        return True

    def _write_screen(self) -> None:
        if not self.shown:
            return
        try:
            self.shown = self.shown[os.write(self.terminal.screen, self.shown) :]
        except BlockingIOError:
            return
        except OSError:
            raise user_terminal.HangUpError from None

    def _read_keys(self) -> None:
        if not self.terminal.foreground():
            return
        try:
            data = os.read(self.terminal.keys, _PIECE)
        except BlockingIOError:
            return
        except OSError:
            # SIGTTIN is ignored, so that EIO also says: in the background since a moment ago.
            if self.terminal.foreground():
                raise user_terminal.HangUpError from None
            return
        if not data and not os.isatty(self.terminal.keys):
            raise user_terminal.HangUpError
        self._accept(data)

    def _accept(self, data: bytes) -> None:
        """Pass ``data`` on up to the key that stops the app: what follows it was typed for the shell."""
        modes = termios.tcgetattr(self.master)
        key = modes[6][termios.VSUSP]
        stops = modes[3] & termios.ISIG and key != b"\0"
        end = data.find(key) + 1 if stops else 0
        self.typed, self.held = (data[:end], data[end:]) if end else (data, b"")
        self.release = os.times().elapsed + _TICK / 1000

    def _write_app(self) -> None:
        if not self.typed or self.stopped:
            return
        try:
            self.typed = self.typed[os.write(self.master, self.typed) :]
        except BlockingIOError:
            return


def _require_one(inherited: "list[int]") -> None:
    """Raise HostError when the descriptors are several terminals: one pty cannot stand for both."""
    first = user_terminal.device(inherited[0])
    for number in inherited[1:]:
        if user_terminal.device(number) != first:
            from intents import errors  # only now: the usual launch goes without

            raise errors.HostError(
                "unsafe-descriptor", f"descriptors {inherited[0]} and {number} are two different terminals"
            )


def _is_pipe(descriptor: int) -> bool:
    """Whether the other end may be a program that uses the terminal as well: a FIFO or a socket."""
    return os.fstat(descriptor).st_mode & 0o170000 in (0o010000, 0o140000)
