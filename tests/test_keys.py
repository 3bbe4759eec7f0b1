"""Which of the bytes that a terminal sends are keys that somebody pressed on purpose; the clock is made of numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from broker.ui import keys

NOISE = {
    "what the terminal is": "\x1b[?62;22c",
    "where the cursor is": "\x1b[24;80R",
    "its version": "\x1bP>|xterm(379)s\x1b\\",
    "the clipboard": "\x1b]52;c;cyBzIHM=\x07",
    "a colour": "\x1b]11;rgb:0000/0000/0000\x1b\\",
    "the focus": "\x1b[I",
    "the mouse": "\x1b[<0;10;10M",
    "a paste": "\x1b[200~s\x1b[201~",
    "a paste with our keys": "\x1b[200~\x1b[Bsss\rssm \x1b[201~",
    "a paste without brackets": " s",
    "a letter and Enter": "s\r",
    "Alt and a key": "\x1bs",
    "a key that the Linux console spells oddly": "\x1b[[A",
    "an eight-bit report": "\x9b62s",
    "a function key": "\x1bOP",
}


def settled() -> keys.Keyboard:
    """A keyboard whose page was drawn at 0, so that keys count from 0.8."""
    keyboard = keys.Keyboard()
    keyboard.settle(0.0)
    return keyboard


def typed(keyboard: keys.Keyboard, data: str, now: float) -> str:
    """What comes of ``data`` once it has been alone."""
    at_once = keyboard.feed(data, now)
    return " ".join(filter(None, [*at_once, keyboard.due(now + keys.ALONE)]))


def test_a_key_counts_on_a_page_that_stood_still() -> None:
    assert typed(settled(), "s", 0.81) == "s"
    assert typed(settled(), "\x1b[B", 0.81) == "down"
    assert typed(settled(), "\x1b", 0.81) == "escape"


def test_a_page_that_nobody_has_drawn_takes_no_key() -> None:
    assert typed(keys.Keyboard(), "s", 1e9) == ""


def test_type_ahead_does_not_count_and_delays_what_does() -> None:
    keyboard = settled()
    assert typed(keyboard, "s", 0.2) == ""
    assert typed(keyboard, "s", 0.75) == ""
    assert typed(keyboard, "s", 0.81) == ""  # no silence before it
    assert typed(keyboard, "s", 0.90) == ""  # nor before this one
    assert typed(keyboard, "s", 1.01) == "s"


def test_moved_rows_make_keys_wait_again() -> None:
    keyboard = settled()
    assert typed(keyboard, "s", 1.0) == "s"
    keyboard.settle(2.0)
    assert typed(keyboard, "s", 2.5) == ""
    assert typed(keyboard, "s", 2.81) == "s"


def test_a_key_that_waits_dies_with_its_page() -> None:
    keyboard = settled()
    keyboard.feed("s", 1.0)
    keyboard.settle(1.001)
    assert keyboard.due(1.1) == ""


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
def test_what_the_terminal_sends_is_no_key(noise: str) -> None:
    assert typed(settled(), noise, 1.0) == ""


@pytest.mark.parametrize("noise", [text for text in NOISE.values() if len(text) > 3])
def test_nor_when_it_comes_in_two_pieces(noise: str) -> None:
    for cut in range(2, len(noise)):
        keyboard = settled()
        assert typed(keyboard, noise[:cut], 1.0) == ""
        assert typed(keyboard, noise[cut:], 1.05) == ""


def test_two_keys_too_close_for_a_hand_are_a_paste() -> None:
    keyboard = settled()
    assert keyboard.feed(" ", 1.0) == ()
    assert keyboard.feed("s", 1.01) == ()
    assert keyboard.due(1.2) == ""
    assert typed(keyboard, "s", 1.3) == "s"


def test_a_move_never_overtakes_a_key() -> None:
    """Otherwise the space that was meant for one row would tick the next."""
    keyboard = settled()
    keyboard.feed(" ", 1.0)
    assert keyboard.feed("\x1b[B", 1.01) == () and keyboard.due(1.2) == ""


def test_moves_may_come_in_a_row() -> None:
    assert settled().feed("\x1b[B\x1b[B\x1b[A", 1.0) == ("down", "down", "up")


def test_a_report_that_never_ends_does_not_lock_the_keyboard() -> None:
    keyboard = settled()
    keyboard.feed("\x1b[200~ab", 1.0)
    assert keyboard.due(1.5) == "" and keyboard.due(1.0 + keys.STUCK) == ""
    assert typed(keyboard, "s", 3.0) == "s"


def test_closing_always_counts_except_inside_a_paste() -> None:
    assert typed(keys.Keyboard(), "\x03", 0.0) == keys.CLOSE
    assert typed(settled(), "\x04", 0.1) == keys.CLOSE
    assert typed(settled(), "\x1b[200~\x03\x1b[201~", 1.0) == ""


@given(some.lists(some.text(alphabet="s \r\x1b[200~1?6;cym", min_size=2, max_size=8)))
def test_no_chunk_of_more_than_one_key_ever_answers(chunks: list[str]) -> None:
    keyboard = settled()
    for number, chunk in enumerate(chunks):
        assert set(typed(keyboard, chunk, 1.0 + number).split(" ")) <= {"", "escape", *keys.MOVES.values()}
