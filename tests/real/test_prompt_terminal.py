"""The sheet on a real terminal: what it shows is what was meant, and only a hand can answer it (SPEC §8.4)."""

import itertools
import os
import signal
import unicodedata
from collections.abc import Iterator

import pytest

from broker.ui import sheet, wording
from tests import handshake
from tests.real import asking, terminal

pytestmark = pytest.mark.real

SIZES = {"80x24": (24, 80), "40x10": (10, 40)}
NOTHING_TICKED = {"rates": "deny forever", "sheets": "deny forever", "window": "allow forever"}
NOISE = {
    "many times Enter": "\r\r\r\r",
    "y and Enter": "y\r",
    "yes and a space": "yes s",
    "a paste": "\x1b[200~ \x1b[B \x1b[B s\r\x1b[201~",
    "a paste without brackets": " s",
    "what the terminal is": "\x1b[?62;22c",
    "where the cursor is": "\x1b[24;80R",
    "its version": "\x1bP>|xterm(379) s\x1b\\",
    "the clipboard": "\x1b]52;c; s\x07",
    "the mouse": "\x1b[<0;5;5M\x1b[<0;5;5m",
    "eight-bit letters": "\x9b62 s",
}


class Opened:
    """The terminals of one test."""

    def __init__(self) -> None:
        self.terminals: list[asking.Asked] = []

    def __call__(self, request: str, **options: object) -> asking.Asked:
        self.terminals.append(asking.Asked("sheet", request, **options))  # type: ignore[arg-type]
        return self.terminals[-1]


@pytest.fixture
def ask() -> Iterator[Opened]:
    opened = Opened()
    yield opened
    for each in opened.terminals:
        each.close()


def read_all(asked: asking.Asked) -> Iterator[None]:
    """Go down until everything has been on the screen; yields at each page on the way."""
    while True:
        asked.settle()
        yield
        if not asked.shows("more to read"):
            return
        before = asked.lines()
        asked.press("\x1b[B")
        asked.changed(before, "the page does not move")


def body(asked: asking.Asked) -> list[str]:
    """The page above its footer; the emulator composes letters and their marks."""
    return list(itertools.takewhile(lambda line: line and not line.startswith(("│ space", "│ There")), asked.lines()))


def consecutive(some: list[str], lines: list[str]) -> bool:
    return len(some) > 3 and any(lines[start : start + len(some)] == some for start in range(len(lines)))


def top(asked: asking.Asked) -> None:
    """Go back up to the first row."""
    while not asked.shows("asks what it"):
        before = asked.lines()
        asked.press("\x1b[A")
        asked.changed(before, "the page does not move")


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("account", terminal.accounts())
def test_a_hand_answers(ask: Opened, account: str, size: tuple[int, int]) -> None:
    asked = ask("first", account=account, size=size)
    list(read_all(asked))
    top(asked)
    asked.press(" ")
    asked.see("ALLOW this session")
    asked.press("t")
    asked.see("ALLOW for 8 hours")
    asked.press("s")
    assert asked.answers() == {**NOTHING_TICKED, "rates": "allow until"}
    assert asked.modes() == asked.before
    assert asked.shows("change it: intent-ctl show") and not asked.shows("space tick")


def test_the_sheet_is_the_reviewed_text(ask: Opened) -> None:
    asked = ask("first")
    asked.settle()
    request = handshake.request()
    choices = [row.choice for row in sheet.start(request).rows]
    page = wording.Page(width=79)
    assert asked.lines()[: len(wording.sheet(request, choices, 0, page))] == [
        line.text for line in wording.sheet(request, choices, 0, page)
    ]


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_escape_sequences_in_every_field_only_stand_there(ask: Opened, size: tuple[int, int]) -> None:
    """Every page that can be scrolled to is cell for cell a piece of the text that was meant."""
    asked = ask("hostile", size=size)
    request, page = handshake.hostile(), wording.Page(width=min(79, size[1] - 1))
    choices = [row.choice for row in sheet.start(request).rows]
    meant = [
        [unicodedata.normalize("NFC", line.text) for line in wording.sheet(request, choices, cursor, page)]
        for cursor in range(len(choices))
    ]
    seen: set[str] = set()
    for _ in read_all(asked):
        asked.until(lambda: any(consecutive(body(asked), lines) for lines in meant), "this was never meant")
        seen.update(body(asked))
    assert [line for line in meant[0] if line not in seen and "[ ]" not in line] == []
    assert not any(raw in asked.shown for raw in ("\x1b]", "\x1b[2J\\", "\x9b", "\u202e", "\u200b", "\u2588"))


@pytest.mark.parametrize("typed", ["s", " ", "d", "l", "\r", "y", "m"])
def test_what_is_typed_before_the_page_settled_is_dropped(ask: Opened, typed: str) -> None:
    asked = ask("first", settle=asking.NEVER)
    asked.send(typed)  # nobody has drawn anything yet
    asked.see(asking.WAITING)
    asked.hand(typed)
    asked.hand(typed)
    asked.see("> [ ] deny always")
    assert asked.process.poll() is None
    asked.send("\x03")
    assert asked.answers() is None
    assert asked.modes() == asked.before


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
def test_nothing_but_a_key_allows(ask: Opened, noise: str) -> None:
    asked = ask("first")
    asked.settle()
    asked.hand(noise)
    asked.finish("s")
    assert asked.answers() == NOTHING_TICKED


def test_enter_opens_the_details_and_closes_them(ask: Opened) -> None:
    asked = ask("first")
    asked.press("\r")
    asked.see("Enter goes back")
    asked.see("intent-ctl grant org.example.Calculator rates")
    asked.hand("\r")
    asked.finish("s")
    assert asked.answers() == NOTHING_TICKED


def test_after_a_resize_nothing_counts_until_it_settled(ask: Opened) -> None:
    asked = ask("first")
    asked.settle()
    os.kill(asked.process.pid, signal.SIGSTOP)
    asked.resized(30, 60)
    asked.send(" ")
    os.kill(asked.process.pid, signal.SIGCONT)
    asked.see(asking.WAITING)
    asked.finish("s")
    assert asked.answers() == NOTHING_TICKED


def test_a_resize_flows_the_text_anew_and_it_is_to_be_read_anew(ask: Opened) -> None:
    asked = ask("first")
    asked.settle()
    asked.resized(10, 40)
    asked.see("more to read")
    asked.press("s")
    asked.see("Read on first")
    asked.resized(24, 80)
    asked.finish("s")
    assert asked.answers() == NOTHING_TICKED


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("request_name", ["long", "many", "hostile"])
def test_nothing_starts_before_all_of_it_was_on_the_screen(
    ask: Opened, request_name: str, size: tuple[int, int]
) -> None:
    asked = ask(request_name, size=size)
    asked.settle()
    if asked.shows("more to read"):
        asked.press("s")
        asked.see("Read on first")
        asked.press("j")
        asked.see("more to read")
    list(read_all(asked))
    asked.press("s")
    answers = asked.answers()
    questions = handshake.REQUESTS[request_name]().questions
    assert answers is not None and list(answers) == [question.intent_id for question in questions]


def test_the_typed_word_allows_what_is_critical(ask: Opened) -> None:
    asked = ask("critical")
    asked.press(" ")
    asked.see("STOP  CRITICAL risk")
    for count, letter in enumerate(asking.WORD, 1):
        asked.hand(letter)
        asked.see(f"> {asking.WORD[:count]}" if count < len(asking.WORD) else "[x] ALLOW this once")
    asked.finish("s")
    assert asked.answers() == {"screen": "allow once", "rates": "deny forever"}


@pytest.mark.parametrize("pasted", [asking.WORD, f"\x1b[200~{asking.WORD}\x1b[201~"], ids=["raw", "bracketed"])
def test_the_word_cannot_be_pasted(ask: Opened, pasted: str) -> None:
    asked = ask("critical")
    asked.press(" ")
    asked.see("STOP  CRITICAL risk")
    asked.hand(pasted)
    asked.send("\x03")
    assert asked.answers() is None
    assert "ALLOW" not in asked.shown


@pytest.mark.parametrize("key", ["\x03", "\x04", "l", "q", "\x1b"])
def test_closing_is_no_answer(ask: Opened, key: str) -> None:
    asked = ask("first")
    asked.press(key)
    assert asked.answers() is None
    assert asked.modes() == asked.before
    assert asked.shows("nothing is stored")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
def test_a_signal_is_no_answer_and_leaves_the_terminal_as_it_was(ask: Opened, number: signal.Signals) -> None:
    asked = ask("first")
    asked.settle()
    os.kill(asked.process.pid, number)
    assert asked.answers() is None
    assert asked.modes() == asked.before


@pytest.mark.parametrize("shell", ["", 'trap "" HUP; exec "$0" "$@"'], ids=["hang-up", "hang-up ignored"])
def test_a_lost_terminal_is_no_answer(ask: Opened, shell: str) -> None:
    asked = ask("first", shell=shell)
    asked.settle()
    asked.hang_up()
    assert asked.process.wait(terminal.PATIENCE) == asking.NO_ANSWER


def test_a_defect_ends_the_sheet_and_leaves_the_terminal_as_it_was(ask: Opened) -> None:
    asked = ask("broken")
    asked.press(" ")
    assert asked.wait() == 1
    assert asked.modes() == asked.before and "a defect of the sheet" in asked.shown


def test_an_app_that_asks_for_nothing_takes_an_s(ask: Opened) -> None:
    asked = ask("nothing")
    asked.press("s")
    assert asked.answers() == {}


def test_one_question_at_a_time(ask: Opened) -> None:
    asked = ask("first", shell='"$0" "$@" & "$0" "$@"; wait')
    asked.press("d")
    asked.until(lambda: asked.shown.count("ANSWERS") == 1)
    assert asked.shown.count("\x1b[?1049h") <= 2
    asked.press("d")
    asked.wait()
    assert asked.shown.count("ANSWERS") == 2


def test_a_job_in_the_background_does_not_ask(ask: Opened) -> None:
    asked = ask("first", shell='set -m; "$0" "$@" & wait $!')
    assert asked.wait() == asking.NO_ANSWER
    assert "Calculator" not in asked.shown


CHOICES = {
    "a terminal": ({}, "Terminal"),
    "a dumb one": ({"term": "dumb"}, "Plain"),
    "no TERM": ({"term": ""}, "Plain"),
    "a narrow one": ({"size": (24, 39)}, "Plain"),
    "a low one": ({"size": (9, 80)}, "Plain"),
    "by wish": ({"shell": 'INTENT_UI=plain exec "$0" "$@"'}, "Plain"),
    "in the background": ({"shell": 'set -m; "$0" "$@" & wait $!'}, "NoneType"),
    "without a terminal": ({"shell": 'setsid -w "$0" "$@"'}, "NoneType"),
}


@pytest.mark.parametrize(("options", "name"), CHOICES.values(), ids=CHOICES)
def test_the_front_end_fits_the_terminal(options: dict[str, object], name: str) -> None:
    asked = asking.Asked("choose", "first", **options)  # type: ignore[arg-type]
    asked.wait()
    asked.close()
    assert f"CHOSEN {name}\r\n" in asked.shown


@pytest.mark.parametrize("size", [(24, 80), (24, 40)])
def test_a_language_that_is_written_from_right_to_left(ask: Opened, size: tuple[int, int]) -> None:
    asked = ask("first", size=size, locale="he_IL.UTF-8")
    waiting = "המקשים יפעלו"
    asked.until(lambda: asked.shows("שואל") and not asked.shows(waiting))
    while asked.shows("יש עוד לקרוא"):
        before = asked.lines()
        asked.hand("\x1b[B")
        asked.until(lambda: asked.lines() != before and not asked.shows(waiting))  # noqa: B023
    asked.hand("s")
    assert asked.answers() == NOTHING_TICKED
