"""The terminal that a question is put on: always /dev/tty, never what standard input or output happen to be."""

import contextlib
import fcntl
import os
import select
import signal
import sys
import termios
from collections.abc import Callable, Iterator, Mapping

_TIOCGDEV = 0x80045432  # asm-generic/ioctls.h, the same on x86-64 and arm64
_LOOK = 1.0  # seconds between two looks whether a question still stands
_CLOSING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
# Whatever an earlier program left switched on, off: character sets, colours, insert mode, scroll region, reports.
_TIDY = "\x1b(B\x0f\x1b[0m\x1b[4l\x1b[?7h\x1b7\x1b[r\x1b8" + "".join(
    f"\x1b[?{mode}l" for mode in (1000, 1002, 1003, 1004, 1006, 2004)
)


def open_ours() -> int | None:
    """A descriptor of the controlling terminal; None without one, or when our job is not in its foreground.

    A job in the background would be stopped by its first read, and its text would stand between somebody else's lines.
    """
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # ENXIO: no controlling terminal
        return None
    try:
        if os.tcgetpgrp(terminal) == os.getpgrp():
            return terminal
    except OSError:  # ENOTTY, EIO: it was hung up meanwhile
        pass
    os.close(terminal)
    return None


@contextlib.contextmanager
def borrowed(*, alone: bool = True) -> Iterator[int | None]:
    """The controlling terminal for one question: one at a time, then modes and signal actions as they were.

    Yields None instead when ``open_ours`` does. alone: a second question on the same terminal waits here for the first.
    For the main thread, which alone may set signal actions.
    """
    terminal = open_ours()
    if terminal is None:
        yield None
        return
    actions = [(number, signal.getsignal(number)) for number in (*_CLOSING, signal.SIGWINCH)]
    try:
        with _turn(terminal) if alone else contextlib.nullcontext():
            modes = termios.tcgetattr(terminal)
            try:
                yield terminal
            finally:
                with contextlib.suppress(termios.error, OSError):
                    termios.tcsetattr(terminal, termios.TCSAFLUSH, modes)
    finally:
        for number, action in actions:
            if action is not None:  # None: set by something that is not Python, and left alone
                signal.signal(number, action)
        os.close(terminal)


def closing() -> tuple[signal.Signals, ...]:
    """The signals that end a question without an answer: those that would end us, unless they are being ignored."""
    return tuple(number for number in _CLOSING if signal.getsignal(number) is not signal.SIG_IGN)


@contextlib.contextmanager
def closing_when(moot: Callable[[], bool]) -> Iterator[None]:
    """Close the question asked in this block, as a signal would, once ``moot`` says so; it is looked at every second.

    For the main thread. A front-end that takes no signals is left alone.
    """

    def look(*_: object) -> None:
        taken = signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, signal.SIG_IGN, None)
        if taken and moot():
            signal.raise_signal(signal.SIGTERM)

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, _LOOK, _LOOK)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)  # which would outlive even execve(2)
        signal.signal(signal.SIGALRM, before or signal.SIG_DFL)


def tidy(terminal: int) -> None:
    """Put the screen's modes where drawing expects them, without moving the cursor. Raises OSError."""
    write(terminal, _TIDY)


def size(terminal: int) -> tuple[int, int]:
    """(columns, rows); 80 and 24 where the terminal does not say."""
    try:
        columns, rows = os.get_terminal_size(terminal)
    except OSError:
        return 80, 24
    return columns or 80, rows or 24


def is_console(terminal: int) -> bool:
    """Whether it is a virtual console (console(4)): nobody sees it while a display is on the screen."""
    number = _number(terminal)
    return os.major(number) == 4 and os.minor(number) < 64


def unicode(environ: Mapping[str, str]) -> bool:
    """Whether the user's locale is UTF-8, by the variables' order of setlocale(3)."""
    locale = next((environ[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if environ.get(name)), "")
    return "utf-8" in locale.lower() or "utf8" in locale.lower()


def discard(terminal: int) -> None:
    """Forget what was typed and not yet read. Raises termios.error when the terminal is gone."""
    termios.tcflush(terminal, termios.TCIFLUSH)


def write(terminal: int, text: str) -> None:
    """Write all of ``text``. Raises OSError when the terminal is gone."""
    data = text.encode("utf-8", "replace")
    while data:
        data = data[os.write(terminal, data) :]


def readable(terminal: int, seconds: float) -> bool:
    """Whether something can be read within ``seconds``; a hung-up terminal is readable."""
    return bool(select.select([terminal], [], [], seconds)[0])


@contextlib.contextmanager
def _turn(terminal: int) -> Iterator[None]:
    """Hold the terminal's own device locked: /dev/tty itself is one file for every terminal and every user."""
    try:
        device = os.open(_device(terminal), os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # a terminal with no name here, as in some containers
        yield
        return
    try:
        fcntl.flock(device, fcntl.LOCK_EX)
        yield
    finally:
        os.close(device)


def _device(terminal: int) -> str:
    """The path of the terminal behind /dev/tty, from its device number (null(4))."""
    number = _number(terminal)
    name = f"/dev/char/{os.major(number)}:{os.minor(number)}"
    return f"/dev/pts/{os.minor(number)}" if os.major(number) in range(136, 144) else name


def _number(terminal: int) -> int:
    """The device number of the terminal behind /dev/tty (ioctl_tty(2) TIOCGDEV)."""
    return int.from_bytes(fcntl.ioctl(terminal, _TIOCGDEV, bytes(4)), sys.byteorder)
