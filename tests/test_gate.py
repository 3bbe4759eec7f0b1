"""When input in a window counts (SPEC §8.4)."""

import pytest

from broker.ui import gate


def test_nothing_counts_before_the_window_was_shown() -> None:
    shut = gate.Gate()
    assert not shut.take(0.0) and not shut.take(1e6)


def test_input_counts_after_600_ms() -> None:
    begun = gate.Gate()
    begun.settle(10.0)
    assert not begun.live(10.59)
    assert begun.take(10.61)


def test_a_window_without_the_wait_would_take_the_first_key() -> None:
    bare = gate.Gate(0.0)
    bare.settle(10.0)
    assert bare.take(10.0)


@pytest.mark.parametrize("moved", [gate.Gate.settle, lambda open_, _now: open_.shut()])
def test_it_shuts_again(moved: object) -> None:
    open_ = gate.Gate()
    open_.settle(10.0)
    assert open_.take(11.0)
    moved(open_, 12.0)  # type: ignore[operator]
    assert not open_.take(12.1)


def test_whoever_types_on_has_not_looked() -> None:
    typed = gate.Gate()
    typed.settle(0.0)
    assert not any(typed.take(at / 100) for at in range(0, 200, 9))
    assert typed.take(2.1)
