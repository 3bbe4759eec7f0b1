"""What Flathub's apps really asked for over the years, replayed as updates: the laws hold at every step (SPEC §8.3)."""

import dataclasses
from collections.abc import Mapping, Sequence
from unittest import mock

import pytest

from intents import diff, model
from tests import replay

SEEDS = (1, 2, 3)


def test_every_history_of_the_corpus() -> None:
    """All of it once; ``python -m tests.replay SEED`` with other answers."""
    counts = replay.replay(replay.histories(), replay.SEED)
    assert len(counts) > 1500 and sum(each.updates for each in counts) > 2000
    assert sum(each.silent for each in counts) > 1000, "updates that ask for nothing new are no question"
    assert sum(each.later for each in counts) > 500


@pytest.mark.parametrize("seed", SEEDS)
def test_a_part_of_the_corpus_with_other_answers(seed: int) -> None:
    assert replay.replay(replay.histories(every=5), seed)


_answer = diff._answer


def _all_again(part: model.Scope, _live: Sequence[model.Decision], objects: Mapping[str, str]) -> diff._Answer:
    return _answer(part, (), objects)


def _wider(part: model.Scope, live: Sequence[model.Decision], objects: Mapping[str, str]) -> diff._Answer:
    """Forgets that less was given than was asked for."""
    widened = [dataclasses.replace(each, granted=each.granted and each.asked) for each in live]
    return _answer(part, widened, objects)


def _forgiving(part: model.Scope, live: Sequence[model.Decision], objects: Mapping[str, str]) -> diff._Answer:
    """Takes a denial for no answer."""
    return _answer(part, [each for each in live if each.granted is not None], objects)


def _of_the_group(part: model.Scope, live: Sequence[model.Decision], objects: Mapping[str, str]) -> diff._Answer:
    """Lets an allowance count for everything of its kind."""
    found = _answer(part, live, objects)
    inherited = found.open and any(each.granted is not None for each in live)
    return dataclasses.replace(found, open=False, granted=(part,)) if inherited else found


@pytest.mark.parametrize("defect", [_all_again, _wider, _forgiving, _of_the_group])
def test_a_defect_is_found(defect: object) -> None:
    with mock.patch.object(diff, "_answer", defect), pytest.raises(AssertionError):
        replay.replay(replay.histories(every=5), replay.SEED)
