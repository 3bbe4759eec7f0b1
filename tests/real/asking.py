"""A question on a real terminal: the program that asks, and the hand and eyes of somebody who is asked.

Run as ``python -m tests.real.asking FRONT REQUEST SETTLE`` on a terminal, it asks, prints the answers and exits with 0,
or with 3 when there were none.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import pwd
import re
import struct
import sys
import termios
import time
from collections.abc import Sequence

import pyte

from broker import prompts
from broker.ui import choose, keys, plain
from broker.ui import terminal as full_screen
from intents import kinds
from tests import handshake
from tests.real import terminal

WORD = "kestrel"
NEVER = 1e6  # seconds until keys count: a page that is never settled
SOON = 0.2
STILL = 0.1  # seconds without a change, after which what is on the screen is all of it
WAITING = "Keys count in a moment"
NO_ANSWER = 3


class Asked(terminal.Terminal):
    """A terminal with a front-end on it; what it shows is kept as cells, as an emulator does."""

    def __init__(
        self,
        front: str,
        request: str,
        *,
        settle: float = SOON,
        size: tuple[int, int] = (24, 80),
        account: str = "",
        shell: str = "",
        term: str = "xterm",
        locale: str = "C.UTF-8",
    ) -> None:
        self.screen = pyte.Screen(size[1], size[0])
        self.stream = pyte.Stream(self.screen)
        self.fed = 0
        entry = pwd.getpwnam(account) if account else pwd.getpwuid(os.geteuid())
        ask = [sys.executable, "-m", "tests.real.asking", front, request, str(settle)]
        command = ["sh", "-c", shell, *ask] if shell else ask
        environment = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(pathlib.Path(__file__).parents[2]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TERM": term,
            "LANG": locale,
        }
        super().__init__(command, entry, environment, size, owned=True)
        self.before = self.modes()

    def read(self) -> bool:
        more = super().read()
        self.stream.feed(self.shown[self.fed :])
        self.fed = len(self.shown)
        return more

    def lines(self) -> list[str]:
        """What stands on the screen."""
        return [line.rstrip() for line in self.screen.display]

    def shows(self, text: str) -> bool:
        return text in "\n".join(self.lines())

    def see(self, text: str) -> None:
        """Wait until ``text`` stands on the screen."""
        self.until(lambda: self.shows(text), f"{text!r} does not stand on the screen: {self.lines()}")

    def changed(self, before: "list[str]", complaint: str) -> None:
        """Wait until the screen is another one than before, and drawn to its end: a part shows no cursor."""
        self.until(lambda: self.lines() != before, complaint)
        while (last := self.lines()) and (self.pause(STILL), self.lines())[1] != last:
            pass

    def settle(self) -> None:
        """Wait until the page says that keys count."""
        self.until(lambda: self.shows("START") and not self.shows(WAITING), f"keys do not count: {self.lines()}")

    def press(self, key: str) -> None:
        """One key of the sheet, once keys count, and taken by whoever reads."""
        self.settle()
        self.hand(key)

    def hand(self, text: str) -> None:
        """Type, and wait until it was taken."""
        self.send(text)
        self.until(lambda: self.process.poll() is not None or self.unread() == 0, "nobody reads")

    def finish(self, key: str) -> None:
        """A key that ends the sheet, again and again until it is taken: one right after noise does not count."""
        self.settle()
        deadline = time.monotonic() + terminal.PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"{key!r} does not end it: {self.lines()}"
            with contextlib.suppress(OSError):  # it ended meanwhile
                self.hand(key)
            self.pause(5 * keys.SILENCE)

    def pause(self, seconds: float) -> None:
        """Read along until the program ends, but no longer than that."""
        until = time.monotonic() + seconds
        self.until(lambda: self.process.poll() is not None or time.monotonic() > until)

    def device(self) -> str:
        """The path of the terminal (ioctl_tty(2) TIOCGPTN)."""
        return f"/dev/pts/{struct.unpack('i', fcntl.ioctl(self.master, 0x80045430, bytes(4)))[0]}"

    def unread(self) -> int:
        """Bytes that were typed and that nobody has read yet (ioctl_tty(2) FIONREAD)."""
        try:
            slave = os.open(self.device(), os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:  # its last process is gone
            return 0
        try:
            return int(struct.unpack("i", fcntl.ioctl(slave, termios.FIONREAD, bytes(4)))[0])
        finally:
            os.close(slave)

    def resized(self, rows: int, columns: int) -> None:
        self.screen.resize(rows, columns)
        self.resize(rows, columns)

    def answers(self) -> dict[str, str] | None:
        """What was answered, as {id: "effect span"} and what is given where that is less than was asked for.

        The front-end has to have ended by itself.
        """
        status = self.wait()
        found = re.findall(r"ANSWERS (.*?)\r\n", self.shown)
        assert (status, len(found)) in ((0, 1), (NO_ANSWER, 0)), self.shown[-2000:]
        return dict(json.loads(found[0])) if found else None


def said(answer: prompts.Answer) -> str:
    """One answer as ``Asked.answers`` gives it."""
    given = [json.dumps(kinds.to_data(scope)) for scope in answer.scopes or ()]
    return " ".join((answer.effect, answer.span, *given))


def main(arguments: Sequence[str]) -> int:
    """Ask as the module's docstring says."""
    front, name, settle = arguments
    request = handshake.REQUESTS[name]()

    def pick(words: Sequence[str]) -> str:
        if name == "broken":
            raise RuntimeError("a defect of the sheet")
        assert WORD in words
        return WORD

    if front == "choose":
        chosen = choose.choose(os.environ, pick)
        print("CHOSEN", type(chosen).__name__)
        return 0
    make = plain.Plain if front == "plain" else full_screen.Terminal
    answers = make(os.environ, pick, float(settle)).ask(request)
    if answers is None:
        return NO_ANSWER
    print("ANSWERS", json.dumps({answer.intent_id: said(answer) for answer in answers}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
