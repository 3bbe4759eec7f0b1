"""The relay between the user's terminal and a terminal made for one sandbox (SPEC §9.6).

An app that held the user's terminal could read what is typed at the shell, type there itself (TIOCSTI), or take the
foreground. So it gets a pty of its own, and ``intent-run`` (process R) stays between the two as a job of the user's
shell: it copies bytes and owns the modes of the user's terminal. broker/monitor.py is the far end.

When standard input is a terminal and standard output is no pipe, R copies keys in raw mode as long as its job is in the
foreground. Otherwise the terminal may belong to somebody else (``intent-run x | less``, ``cat | intent-run y``): the
app then starts in the background of its pty, and R leaves the user's terminal alone until the app reads its own or sets
its modes. From then on ^C and ^Z keep reaching the whole job, unless the app turned that off; see ``_raw``.

On the warm launch path: imports nothing that is written in Python but ``os`` and broker/monitor.py.
"""

import _signal  # type: ignore[import-not-found]
import fcntl
import os
import select
import termios

from broker import monitor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_FORWARDED = (_signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM, _signal.SIGTSTP)
_HEARD = (*_FORWARDED, _signal.SIGHUP, _signal.SIGCONT, _signal.SIGWINCH)
_TICK = 200  # milliseconds; `fg` gives a running job the terminal without a signal
_PIECE = 65536
_BACKLOG = 1 << 20  # more than the kernel holds for one pty (64 KiB); descendants that write on end here
_TIOCGDEV = 0x80045432  # asm-generic/ioctls.h: the terminal behind a descriptor, also behind /dev/tty
_EINTR = 4


class _HangUpError(Exception):
    """The user's terminal is gone."""


def run(start: "Callable[[], None]") -> int:
    """Run the sandbox on a pty of its own until it ends; at least one of the descriptors 0–2 must be a terminal.

    start: execs bwrap; called in a grandchild in which each of 0–2 that was a terminal is the pty, signals are at their
    defaults and ``monitor.SHIELDED`` ignored. If it raises, that process prints one line and exits 125.
    Returns the exit status of bwrap, 128 + n when signal n ended it, 129 when the user's terminal went away.
    Raises HostError unsafe-descriptor when 0–2 are different terminals. 0–2 must be open; descriptors the caller opened
    for bwrap stay open here as well, until this process ends.
    """
    inherited = [number for number in (0, 1, 2) if os.isatty(number)]
    _require_one(inherited)
    terminal = _Terminal(inherited, lazy=0 not in inherited or _is_pipe(1))
    previous = {number: _signal.getsignal(number) for number in (*_HEARD, _signal.SIGTTIN, _signal.SIGPIPE)}
    wake = monitor.listen(number for number in _HEARD if previous[number] != _signal.SIG_IGN)
    monitor.dispose(_signal.SIG_IGN, (_signal.SIGTTIN, _signal.SIGPIPE))
    try:
        return _run(start, terminal, inherited, wake)
    except _HangUpError:
        return 128 + int(_signal.SIGHUP)
    finally:
        _signal.set_wakeup_fd(-1)
        for number, handler in previous.items():
            _signal.signal(number, handler or _signal.SIG_DFL)
        for descriptor in (*wake, *terminal.opened):
            os.close(descriptor)


def _run(start: "Callable[[], None]", terminal: "_Terminal", inherited: "list[int]", wake: tuple[int, int]) -> int:
    master, slave = os.openpty()
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


class _Terminal:
    """The user's terminal: whose turn it is, its modes and its size."""

    def __init__(self, inherited: "list[int]", *, lazy: bool) -> None:
        """Open the terminal behind the ``inherited`` descriptors; lazy: others may use it as well."""
        self.lazy = lazy
        self.opened: tuple[int, ...] = ()
        self.keys, self.screen = inherited[0], inherited[-1]
        try:
            # An own description: non-blocking must not be set on the one that the shell uses.
            own = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            pass  # not our controlling terminal (`setsid intent-run`): use what was inherited, which may block
        else:
            if _device(own) == _device(self.keys):
                self.keys = self.screen = own
                self.opened = (own,)
            else:
                os.close(own)
        self.saved: list[Any] = []  # the user's modes while ours are set
        self.ours: list[Any] = []  # what the terminal then says it has
        self.wanted: list[Any] = []  # what it was told
        self.copied: list[Any] = []  # the modes the pty last got from us
        self.given: list[Any] = []  # what the pty then said it has

    def foreground(self) -> bool:
        """Whether the shell has given this job the terminal; raises _HangUpError when there is none any more."""
        try:
            return os.tcgetpgrp(self.keys) == os.getpgrp()
        except OSError:
            if os.isatty(self.keys):
                return True  # not our controlling terminal: nobody decides about turns
            raise _HangUpError from None

    def prepare(self, pty: int) -> None:
        """Give ``pty`` the size and, unless they are those of a shell's prompt, the modes of this terminal."""
        self.resize(pty)
        self.given = termios.tcgetattr(pty)
        if self.foreground():
            self._give(pty, self._modes())

    def resize(self, pty: int) -> None:
        """Copy the window size to ``pty``; the kernel then sends SIGWINCH to the app."""
        try:
            fcntl.ioctl(pty, termios.TIOCSWINSZ, fcntl.ioctl(self.keys, termios.TIOCGWINSZ, bytes(8)))
        except OSError:
            raise _HangUpError from None

    def enter(self, pty: int) -> None:
        """Take the terminal: remember the user's modes, hand them to a ``pty`` not yet changed, and go raw."""
        now = self._modes()
        if now != self.ours:
            self.saved = now
            if now != self.copied and termios.tcgetattr(pty) == self.given:
                self._give(pty, now)
        self.wanted = []
        self.follow(pty)

    def follow(self, pty: int) -> None:
        """Bring the modes in line with those the app has set on ``pty`` by now."""
        wanted = _raw(self.saved, termios.tcgetattr(pty) if self.lazy else None)
        if wanted != self.wanted:
            self._set(wanted)
            self.wanted, self.ours = wanted, self._modes()

    def leave(self) -> None:
        """Give the user's modes back, unless the terminal is somebody else's by now; never raises."""
        saved, self.saved = self.saved, []
        try:
            if not saved or not self.foreground():
                return
            # A pager further down the pipeline may have set its own modes after us.
            if not self.lazy or self._modes() == self.ours:
                self._set(saved)
        except _HangUpError:
            return
        finally:
            self.ours = []

    def _give(self, pty: int, modes: "list[Any]") -> None:
        termios.tcsetattr(pty, termios.TCSANOW, modes)
        self.copied, self.given = modes, termios.tcgetattr(pty)

    def _modes(self) -> "list[Any]":
        try:
            return termios.tcgetattr(self.keys)
        except termios.error:
            raise _HangUpError from None

    def _set(self, attributes: "list[Any]") -> None:
        while True:
            try:
                return termios.tcsetattr(self.keys, termios.TCSANOW, attributes)
            except termios.error as error:
                # Put in the background at this moment we were stopped (SIGTTOU); now we were continued.
                if error.args[0] != _EINTR:
                    raise _HangUpError from None


class _Relay:
    """Copies between the user's terminal and the app's pty until the monitor is gone."""

    def __init__(self, terminal: _Terminal, master: int, orders: int, events: int, wake: int, process: int) -> None:
        """master: the app's pty; orders, events, process: the monitor's; wake: brings the numbers of caught signals."""
        self.terminal, self.master, self.orders, self.events = terminal, master, orders, events
        self.wake, self.process = wake, process
        self.active = False
        self.ended = False
        self.typed = b""  # for the app
        self.held = b""  # typed after ^Z: for the app only if that does not stop it
        self.shown = b""  # for the screen
        os.set_blocking(master, False)

    def copy(self) -> None:
        """Copy until the app has ended and all it wrote is on the screen; raises _HangUpError."""
        while not self.ended:
            self._turn()
        # A read of the master first flushes what the kernel still carries over (n_tty_read), so no more means no more.
        backlog = _BACKLOG
        poller = select.poll()
        poller.register(self.terminal.screen, select.POLLOUT)
        poller.register(self.wake, select.POLLIN)
        while self.shown or (backlog > 0 and self._read_app()):
            backlog -= len(self.shown)
            self._write_screen()
            while self.shown:
                for descriptor, state in poller.poll():
                    if descriptor == self.wake and set(os.read(self.wake, 64)) & {*_FORWARDED, _signal.SIGHUP}:
                        return
                    if descriptor != self.wake and not state & select.POLLOUT:
                        raise _HangUpError
                self._write_screen()

    def _turn(self) -> None:
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
            if event == monitor.STOPPED:
                self._suspend()
        if not self.shown:
            self._read_app()
        self._write_screen()
        if not ready and self.held:
            self._accept(self.held)
        elif self.active and self.terminal.keys in ready and not self.typed and not self.held:
            self._read_keys()
        self._write_app()

    def _wait(self) -> "set[int]":
        """The descriptors on which something can be done; empty after a tick without any."""
        terminal = self.terminal
        wanted = {self.wake: select.POLLIN, self.events: select.POLLIN, terminal.keys: 0, terminal.screen: 0}
        wanted[self.master] = (0 if self.shown else select.POLLIN) | (select.POLLOUT if self.typed else 0)
        if self.active and not self.typed and not self.held:
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
                raise _HangUpError
        return set(ready)

    def _settle(self) -> None:
        """Take or give back the user's terminal, as the shell and the app have it by now."""
        mine = self.terminal.foreground()
        if mine and self.terminal.lazy:
            mine = os.tcgetpgrp(self.master) not in (0, self.process)
        if mine and not self.active:
            self.terminal.resize(self.master)
            self.terminal.enter(self.master)
        elif mine and self.terminal.lazy:
            self.terminal.follow(self.master)
        elif self.active and not mine:
            self.terminal.leave()
        self.active = mine

    def _signalled(self, number: int) -> None:
        if number == _signal.SIGHUP:
            raise _HangUpError
        if number == _signal.SIGWINCH:
            self.terminal.resize(self.master)
        elif number == _signal.SIGCONT:
            self.active = False  # the shell may have changed the modes
        else:
            self._order(number)

    def _suspend(self) -> None:
        """Stop this job as the app's was, and continue the app when the shell continues us."""
        for _ in range(_BACKLOG // 4096):
            self._write_screen()
            if self.shown or not self._read_app():
                break
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
            raise _HangUpError from None

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
                raise _HangUpError from None
            return
        if not data and not os.isatty(self.terminal.keys):
            raise _HangUpError
        self._accept(data)

    def _accept(self, data: bytes) -> None:
        """Pass ``data`` on up to the key that stops the app: what follows it was typed for the shell."""
        modes = termios.tcgetattr(self.master)
        key = modes[6][termios.VSUSP]
        stops = modes[3] & termios.ISIG and key != b"\0"
        end = data.find(key) + 1 if stops else 0
        self.typed, self.held = (data[:end], data[end:]) if end else (data, b"")

    def _write_app(self) -> None:
        if not self.typed:
            return
        try:
            self.typed = self.typed[os.write(self.master, self.typed) :]
        except BlockingIOError:
            return


def _raw(user: "list[Any]", app: "list[Any] | None") -> "list[Any]":
    """The modes in which every key arrives as typed: the line is edited and echoed by the app's pty.

    user: the modes to start from; app: those of a pty whose job shares the user's terminal with others, else None.
    Shared, ^C and ^Z signal the whole job while the app has them so (a ``tee`` further on must end as well), and line
    feeds of the others still return the carriage.
    """
    modes = [*user[:6], [*user[6]]]
    modes[0] &= ~(
        termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP
        | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON
    )  # fmt: skip
    modes[1] = app[1] if app else modes[1] & ~termios.OPOST
    modes[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    if app:
        modes[3] |= app[3] & termios.ISIG
    modes[6][termios.VMIN], modes[6][termios.VTIME] = 1, 0
    return modes


def _require_one(inherited: "list[int]") -> None:
    """Raise HostError when the descriptors are several terminals: one pty cannot stand for both."""
    first = _device(inherited[0])
    for number in inherited[1:]:
        if _device(number) != first:
            from intents import errors  # only now: the usual launch goes without

            raise errors.HostError(
                "unsafe-descriptor", f"descriptors {inherited[0]} and {number} are two different terminals"
            )


def _device(descriptor: int) -> bytes:
    """Which terminal it is; empty when there is none."""
    try:
        return fcntl.ioctl(descriptor, _TIOCGDEV, bytes(4))
    except OSError:
        return b""


def _is_pipe(descriptor: int) -> bool:
    """Whether the other end may be a program that uses the terminal as well: a FIFO or a socket."""
    return os.fstat(descriptor).st_mode & 0o170000 in (0o010000, 0o140000)
