"""Less than is asked for, on a real terminal: by the sheet and in plain lines (SPEC §8.4)."""

import json
from collections.abc import Iterator

import pytest

from broker.ui import keys
from intents import kinds
from tests import handshake
from tests.real import asking, terminal

pytestmark = pytest.mark.real

SIZES = {"80x24": (24, 80), "40x10": (10, 40)}


class Opened:
    """The terminals of one test."""

    def __init__(self) -> None:
        self.terminals: list[asking.Asked] = []

    def __call__(self, front: str, request: str = "less", **options: object) -> asking.Asked:
        self.terminals.append(asking.Asked(front, request, **options))  # type: ignore[arg-type]
        return self.terminals[-1]


@pytest.fixture
def ask() -> Iterator[Opened]:
    opened = Opened()
    yield opened
    for each in opened.terminals:
        each.close()


def given(answer: str) -> tuple[str, list[dict[str, object]]]:
    """What ``asking.said`` said, taken apart."""
    verdict, _, scopes = answer.partition(" {")
    found, rest = [], "{" + scopes if scopes else ""
    while rest:
        scope, end = json.JSONDecoder().raw_decode(rest)
        found.append(scope)
        rest = rest[end:].lstrip()
    return verdict, found


def read(asked: asking.Asked) -> None:
    """Page through what is on the screen until all of it was there."""
    asked.until(lambda: not asked.shows(asking.WAITING), "keys do not count")
    while asked.shows("more to read"):
        before = asked.lines()
        asked.hand("j")
        asked.changed(before, "the page does not move")


def less(asked: asking.Asked) -> None:
    """From the list, what can be given of the row under the cursor, read to its end."""
    asked.pause(5 * keys.SILENCE)  # right after another key it would not count
    asked.hand("n")
    asked.see("As it stands")
    read(asked)


def finish(asked: asking.Asked) -> None:
    asked.hand("\r")
    asked.see("space tick")
    read(asked)
    asked.finish("s")


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("account", terminal.accounts())
def test_one_of_two_is_given_by_its_number(ask: Opened, account: str, size: tuple[int, int]) -> None:
    asked = ask("sheet", request="sound", account=account, size=size)
    asked.settle()
    read(asked)
    less(asked)
    asked.hand("2")
    asked.see("ALLOW always")
    finish(asked)
    answers = asked.answers()
    assert answers is not None
    assert given(answers["sound"]) == ("allow forever", [kinds.to_data(handshake.audio("playback"))])
    assert asked.modes() == asked.before
    assert asked.shows("Less") or asked.shows("less")


def test_reading_a_home_takes_the_word_and_changing_it_another(ask: Opened) -> None:
    asked = ask("sheet")
    asked.settle()
    less(asked)
    asked.hand("1")
    asked.see("STOP")
    assert asked.shows("Less than asked: It can read everything in ~.")
    for count, letter in enumerate(asking.WORD, 1):
        asked.hand(letter)
        asked.see(f"> {asking.WORD[:count]}" if count < len(asking.WORD) else "ALLOW this once")
    asked.hand("2")
    asked.see("STOP")
    asked.hand("\x1b")
    asked.see("ALLOW this once")
    finish(asked)
    answers = asked.answers()
    assert answers is not None
    assert given(answers["home"]) == ("allow once", [kinds.to_data(handshake.place("home", "read"))])


def test_a_folder_is_typed_and_then_given_by_an_act_of_its_own(ask: Opened) -> None:
    asked = ask("sheet")
    asked.settle()
    less(asked)
    asked.hand("e")
    asked.see("joins the list")
    asked.hand("~/She")  # all at once: a paste, and no hand
    asked.pause(5 * keys.SILENCE)
    for count, letter in enumerate("~/Sheets", 1):
        asked.hand(letter)
        asked.see("> ~/Sheets"[: count + 2])
    assert asked.lines()[-1] == "│ > ~/Sheets"
    asked.hand("\r")
    asked.see("/srv/sheets")
    assert asked.shows("deny always")
    read(asked)
    asked.hand(" ")
    asked.see("ALLOW always")
    finish(asked)
    answers = asked.answers()
    assert answers is not None
    assert given(answers["home"]) == ("allow forever", [kinds.to_data(handshake.FOLDER.scopes[0])])


def say(asked: asking.Asked, *lines: str) -> None:
    for line in lines:
        asked.until(lambda: asked.shown.endswith("> "), "nobody asks")
        asked.send(f"{line}\n")
        asked.until(lambda: not asked.shown.endswith("> "))


def test_plain_lines_offer_the_same(ask: Opened) -> None:
    asked = ask("plain")
    say(asked, "always", "less", "7", "~/Shoes", "~/Sheets", "1", "always", "less", "2", "2", "hours", "no")
    answers = asked.answers()
    assert answers is not None
    assert "There is no ~/Shoes." in asked.shown
    assert given(answers["home"]) == ("allow forever", [kinds.to_data(handshake.FOLDER.scopes[0])])
    assert answers["rates"] == "deny forever"
