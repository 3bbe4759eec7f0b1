"""Attacks on a question on a real terminal, from beside it (docs/prompts.md)."""

import os
import pathlib
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.real import asking, starting, world

pytestmark = pytest.mark.real


@pytest.fixture
def home() -> Iterator[world.World]:
    with starting.home() as made:
        yield made


def holders(device: str) -> set[int]:
    """The processes that have this terminal open by its own name: of all that is called so, this one."""
    wanted, found = os.stat(device), set()
    for entry in pathlib.Path("/proc").glob("[0-9]*/fd/*"):
        try:
            there = entry.stat()
        except OSError:  # it ended meanwhile, or belongs to somebody else
            continue
        if (there.st_dev, there.st_ino) == (wanted.st_dev, wanted.st_ino):
            found.add(int(entry.parts[2]))
    return found


def belonging(session: int) -> set[int]:
    """The processes of a session that has a controlling terminal (proc(5), stat), which they could open as /dev/tty."""
    found = set()
    for entry in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            status, _, _, owner, controlling = entry.read_text().rpartition(")")[2].split()[:5]
        except OSError:
            continue
        if int(owner) == session and controlling != "0" and status != "Z":  # what has ended opens nothing
            found.add(int(entry.parts[2]))
    return found


def test_cve_2023_22499_nobody_else_has_the_terminal_while_it_asks(home: world.World) -> None:
    with starting.start(home, starting.LOOK) as begun:
        begun.settle()
        device = begun.device()
        assert holders(device) - {os.getpid()} == {begun.process.pid}
        assert belonging(os.getsid(begun.process.pid)) == {begun.process.pid}
        with open(device, "wb", buffering=0) as handed:
            other = subprocess.Popen(["sleep", "60"], stdout=handed)
            try:
                assert holders(device) >= {other.pid}, "whoever has it is found"
            finally:
                other.kill()
                other.wait()
        begun.press("l")
        begun.ends(126)


@pytest.mark.parametrize("front", ["sheet", "plain"])
@pytest.mark.parametrize(
    "shell",
    ['exec "$0" "$@" </dev/zero', 'yes always | "$0" "$@"', 'printf " s\\r s" | "$0" "$@"', 'exec "$0" "$@" <&-'],
)
def test_stdin_swapped_answers_nothing(front: str, shell: str) -> None:
    """Whatever standard input is, only the terminal is asked."""
    asked = asking.Asked(front, "first", shell=shell)
    try:
        asked.until(lambda: asked.shows("Type no") or asked.shows("START"), "nobody asks")
        asked.pause(1.0)
        assert asked.process.poll() is None and "ALLOW this" not in asked.shown
        asked.send("\x03")
        asked.wait()
        assert "ANSWERS" not in asked.shown
    finally:
        asked.close()


@pytest.mark.parametrize("front", ["sheet", "plain"])
def test_what_is_typed_while_it_is_stopped_is_no_answer(front: str) -> None:
    """SIGSTOP and SIGCONT: what came in between came at once, and nobody saw the page."""
    asked = asking.Asked(front, "first")
    try:
        asked.until(lambda: asked.shown.endswith("> ") if front == "plain" else asked.shows("START"), "nobody asks")
        asked.pause(0.5)
        os.kill(asked.process.pid, signal.SIGSTOP)
        asked.send(" s\r" if front == "sheet" else "always\nalways\nalways\n")
        os.kill(asked.process.pid, signal.SIGCONT)
        asked.pause(1.0)
        assert asked.process.poll() is None
        asked.send("\x03")
        asked.wait()
        assert "ANSWERS" not in asked.shown
    finally:
        asked.close()


def test_a_resize_in_the_middle_of_the_word_does_not_finish_it() -> None:
    asked = asking.Asked("sheet", "critical")
    try:
        asked.press(" ")
        asked.see("STOP")
        for count, letter in enumerate(asking.WORD[:-1], 1):
            asked.hand(letter)
            asked.see(f"> {asking.WORD[:count]}")
        asked.resized(20, 60)
        asked.send(asking.WORD[-1])
        asked.pause(0.1)
        assert not asked.shows("ALLOW")
        asked.send("\x03")
        assert asked.answers() is None
    finally:
        asked.close()


def test_ten_thousand_characters_leave_everything_on_the_page() -> None:
    """A reason that came past the manifest's limit: cut, counted, and all rows and keys are still there."""
    asked = asking.Asked("sheet", "long")
    try:
        asked.settle()
        text = "\n".join(asked.lines())
        assert "more characters)" in text and "windows" in text and "START" in text
        asked.finish("s")
        assert asked.answers() == {"rates": "deny forever", "window": "allow forever"}
    finally:
        asked.close()
