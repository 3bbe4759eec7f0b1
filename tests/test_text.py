"""Widths and scripts of human text (SPEC §3.3); what is refused stands in tests/vectors/manifest."""

import sys
import unicodedata

import pytest

from intents import text

WIDTHS = [("abc", 3), ("計算", 4), ("Ạ̈", 1), ("é", 1), ("１", 2), ("ｱ", 1), ("", 0)]
ONE_LANGUAGE = ["Qalculate", "計算機 calc", "カルクcalc", "Ελληνικά", "µTorrent", "Ωμέγα", "한글 漢字", "42"]


@pytest.mark.parametrize(("value", "cells"), WIDTHS)
def test_width(value: str, cells: int) -> None:
    assert text.width(value) == cells


@pytest.mark.parametrize("value", ONE_LANGUAGE)
def test_one_language(value: str) -> None:
    assert not text.mixed(value)


@pytest.mark.parametrize("value", ["Cаlculator", "Ωmega", "Gооgle", "Ηello", "ｂаnk"])
def test_look_alikes(value: str) -> None:
    assert text.mixed(value)


def test_nothing_that_is_accepted_can_move_a_cursor_or_vanish() -> None:
    """Every code point alone behind a letter: accepted means assigned, visible, and a letter, mark, sign or number."""
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if not text.problem(f"a{char}", 3):
            assert unicodedata.category(char)[0] in "LMNPS"
            assert char.isprintable()
    assert text.problem("ab", 2) == ""
    assert text.problem("abc", 2) == "it is 3 cells wide, more than 2"
