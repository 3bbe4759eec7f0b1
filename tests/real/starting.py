"""intent-run on a terminal in a world of its own: what is asked, what a hand answers, what was stored afterwards."""

import functools
import os
import pwd
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pyte

from broker import history, journal
from tests import control
from tests.real import asking, terminal, world

SIZE = (45, 100)
NETWORK = {"kind": "network", "scope": "host"}
NOTES = {"kind": "path", "place": "home/Notes", "access": "write"}
BOTH = {"net": NETWORK, "notes": NOTES}
NET_TITLE, NOTES_TITLE = "whole network", "~/Notes"
# What the app has got: its network, and what it can do in ~/Notes.
LOOK = "readlink /proc/self/ns/net; echo kept >~/Notes/new && cat ~/Notes/old; echo LOOKED"
# Without what a cold start needs, only a plan can start anything.
WARM = "import sys\nsys.modules['broker.session'] = None\n"


class Start(asking.Asked):
    """A terminal on which intent-run was started, with ``removed`` run before it begins.

    shell: how, with ``"$@"`` for the command line of intent-run.
    """

    def __init__(
        self,
        where: world.World,
        *words: str,
        removed: str = "",
        shell: str = "",
        environ: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        name: str = world.APP,
    ) -> None:
        self.screen = pyte.Screen(SIZE[1], SIZE[0])
        self.stream = pyte.Stream(self.screen)
        self.fed = 0
        argv = command(where, *options, name, *words, removed=removed)
        argv = ["/bin/sh", "-c", shell, "sh", *argv] if shell else argv
        account = pwd.getpwuid(os.geteuid())
        environment = {**where.environ, "TERM": "xterm", **(environ or {})}
        terminal.Terminal.__init__(self, argv, account, environment, SIZE, owned=True)
        self.before = self.modes()

    def choose(self, title: str, verdict: str) -> None:
        """Let the answer about the intent with this title be ``verdict``, such as ``ALLOW this once``."""
        self.settle()
        while not (row := self.row(title)).startswith("│ >"):
            lines = self.lines()
            above = any(line.startswith("│ >") for line in lines[: lines.index(row)])
            self.press("j" if above else "k")
            self.until(functools.partial(lambda before: self.lines() != before, lines), "the cursor does not move")
        if verdict.startswith("ALLOW") != ("[x]" in self.row(title)):
            self.tick(title)
        while verdict not in (now := self.row(title)):
            self.press("t")
            self.until(functools.partial(lambda then: self.row(title) not in ("", then), now), "the time stays")

    def tick(self, title: str) -> None:
        """Change the tick of the row under the cursor, with the word it takes if that is critical."""
        before = self.row(title)
        self.press(" ")
        self.until(lambda: self.row(title) != before or self.shows("type the word"), "nothing happens")
        if self.shows("type the word"):
            (word,) = re.findall(r"type the word +(\w+) ", "\n".join(self.lines()))
            for count, letter in enumerate(word, 1):
                self.hand(letter)
                self.see(f"> {word[:count]}" if count < len(word) else "space tick")
        self.until(lambda: self.row(title) not in ("", before), "nothing happens")

    def row(self, title: str) -> str:
        """The heading of the intent with this title; empty while it is not on the screen."""
        return next((line for line in self.lines() if "risk" in line and title in line and "[" in line), "")

    def go(self) -> None:
        """Press ``s``: start with what is ticked."""
        self.press("s")

    def ends(self, status: int) -> str:
        """What was shown, once the command has ended with this status and the terminal is as it was before."""
        assert self.wait() == status, self.shown[-3000:]
        assert self.modes() == self.before
        assert not self.shows("space tick")
        return self.shown


@contextmanager
def start(where: world.World, *words: str, **how: object) -> Iterator[Start]:
    """``Start`` for one block."""
    begun = Start(where, *words, **how)  # type: ignore[arg-type]
    try:
        yield begun
    finally:
        begun.close()


def command(where: world.World, *words: str, removed: str = "") -> list[str]:
    """The command line of intent-run, plans and all, with ``removed`` run before it begins."""
    argv = where.argv(*words)
    argv[2] = world.MAIN.format(root=str(world.ROOT), home=str(where.home), removed=removed)
    return [os.fsdecode(word) for word in argv]


@contextmanager
def home(
    intents: Mapping[str, Mapping[str, object]] = BOTH, *, needs: str = "", pinned: bool = True
) -> Iterator[world.World]:
    """A world with a shell as the app that asks for these intents; needs: the one that is required, if any; pinned:
    somebody agreed to its publisher."""
    with world.world() as made:
        (made.home / "Notes").mkdir()
        (made.home / "Notes" / "old").write_text("old notes\n")
        text = manifest(intents, needs=needs)
        if pinned:
            made.install(text)
        else:
            control.publish(made, text, control.OTHER_KEY)
        yield made


def manifest(
    intents: Mapping[str, Mapping[str, object]] = BOTH,
    *,
    needs: str = "",
    serial: int = 1,
    command: Sequence[str] = world.SHELL,
) -> str:
    """A manifest of optional intents, but for the one it needs."""
    text = world.manifest(command, intents, serial=serial)
    if not needs:
        return text
    head, tail = text.split(f"[intents.{needs}]")
    return f"{head}[intents.{needs}]{tail.replace('optional = true', 'optional = false', 1)}"


def got(shown: str) -> set[str]:
    """The ids of what ``LOOK`` found: ``net`` for the host's own network, ``notes`` for the notes."""
    assert "LOOKED" in shown, shown[-3000:]
    found = {"net"} if os.readlink("/proc/self/ns/net") in shown else set()
    return found | ({"notes"} if "old notes" in shown else set())


def quietly(where: world.World, *words: str, removed: str = "") -> str:
    """What the app shows on a terminal where nothing is asked."""
    with start(where, *words, removed=removed) as begun:
        shown = begun.ends(0)
        assert "asks" not in shown
        return shown


def events(where: world.World, *kinds: history.What) -> list[history.Event]:
    """The events of the journal, of these kinds or all."""
    with journal.Journal.open(where.places) as book:
        return [event for event in book.events() if not kinds or event.what in kinds]


def pending(where: world.World, app_id: str = world.APP) -> int:
    """How often a question of the app went without an answer."""
    with where.here():
        app = where.load(app_id)
        with journal.Journal.open(where.places) as book:
            return sum(map(history.asked, book.pending(app_id, app.vet(book).lineage)))


def follow(where: world.World, said: str, pattern: str = r"intent-ctl (?!pending)[^`\r\n]+") -> None:
    """Run the command of ``intent-ctl`` that a message names, and that changes something."""
    found = re.search(pattern, said)
    assert found, said
    control.done(where, *shlex.split(found[0])[1:])
