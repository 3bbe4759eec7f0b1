"""The user's terminal as the relay sees it: whose turn it is, its modes and its size (SPEC §9.6).

Imports nothing that is written in Python but ``os``: on the warm launch path.
"""

import fcntl
import os
import select
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TIOCGDEV = 0x80045432  # asm-generic/ioctls.h: the terminal behind a descriptor, also behind /dev/tty
_EINTR = 4


class HangUpError(Exception):
    """The user's terminal is gone."""


class UserTerminal:
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
            if device(own) == device(self.keys):
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
        """Whether the shell has given this job the terminal; raises HangUpError when there is none any more."""
        try:
            return os.tcgetpgrp(self.keys) == os.getpgrp()
        except OSError:
            if os.isatty(self.keys):
                return True  # not our controlling terminal: nobody decides about turns
            raise HangUpError from None

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
            raise HangUpError from None

    def enter(self, pty: int) -> bytes:
        """Take the terminal: remember the user's modes, hand them to a ``pty`` not yet changed, and go raw.

        Returns what had been typed before.
        """
        now = self._modes()
        if now != self.ours:
            self.saved = now
            if now != self.copied and termios.tcgetattr(pty) == self.given:
                self._give(pty, now)
        typed = self._typed_ahead() if now[3] & termios.ICANON else b""
        self.wanted = []
        self.follow(pty)
        return typed

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
        except HangUpError:
            return
        finally:
            self.ours = []

    def _typed_ahead(self) -> bytes:
        """The whole lines waiting: in raw mode the kernel would give out an end of file as a zero byte."""
        poller = select.poll()
        poller.register(self.keys, select.POLLIN)
        typed = b""
        while poller.poll(0) == [(self.keys, select.POLLIN)]:
            try:
                line = os.read(self.keys, 4096)
            except OSError:
                break  # in the background since a moment ago
            typed += line if line.endswith(b"\n") else line + self.saved[6][termios.VEOF]
        return typed

    def _give(self, pty: int, modes: "list[Any]") -> None:
        termios.tcsetattr(pty, termios.TCSANOW, modes)
        self.copied, self.given = modes, termios.tcgetattr(pty)

    def _modes(self) -> "list[Any]":
        try:
            return termios.tcgetattr(self.keys)
        except termios.error:
            raise HangUpError from None

    def _set(self, attributes: "list[Any]") -> None:
        while True:
            try:
                return termios.tcsetattr(self.keys, termios.TCSANOW, attributes)
            except termios.error as error:
                # Put in the background at this moment we were stopped (SIGTTOU); now we were continued.
                if error.args[0] != _EINTR:
                    raise HangUpError from None


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


def device(descriptor: int) -> bytes:
    """Which terminal it is; empty when there is none."""
    try:
        return fcntl.ioctl(descriptor, _TIOCGDEV, bytes(4))
    except OSError:
        return b""
