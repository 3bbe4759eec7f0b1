"""What decisions mean, from SPEC §8.3 alone, rule by rule and without a thought for speed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from intents import model


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one part of an intent stands."""

    granted: frozenset[model.Scope]
    denied: bool
    open: bool
    moved: frozenset[str]


def stands(part: model.Scope, newest_first: Sequence[model.Decision], objects: Mapping[str, str]) -> Standing:
    """The standing of ``part``; the decisions are those that are live."""
    covering = [decision for decision in newest_first if decision.asked.covers(part)]
    first = newest_first.index(covering[0]) if covering else len(newest_first)
    less = [each for each in newest_first[:first] if part.covers(each.asked)]
    granted = {met for each in less if counts(each, less, objects) if (met := shared(each, part)) is not None}  # rule 2
    if not covering:  # rule 6
        return Standing(granted=frozenset(granted), denied=False, open=True, moved=frozenset())
    decision = covering[0]
    met = shared(decision, part)
    out = outside(decision, met, objects) if met is not None else frozenset[str]()
    if decision.granted is not None and (out or not counts(decision, [*less, decision], objects)):
        moved = away(decision, objects) or out
        return Standing(granted=frozenset(granted), denied=False, open=True, moved=moved)
    all_of_it = granted if met is None else {*granted, met}  # rule 1
    return Standing(granted=frozenset(all_of_it), denied=met is None, open=False, moved=frozenset())


def shared(decision: model.Decision, part: model.Scope) -> model.Scope | None:
    """What the decision gives of the part."""
    return None if decision.granted is None else decision.granted.meet(part)


def counts(allowance: model.Decision, newest_first: Sequence[model.Decision], objects: Mapping[str, str]) -> bool:
    """Rules 3 to 5: no denial within the part is newer, no place leads elsewhere, and it has not lapsed."""
    newer = newest_first[: next(at for at, each in enumerate(newest_first) if each is allowance)]
    refused = any(decision.granted is None for decision in newer)
    return not (refused or allowance.lapsed or away(allowance, objects))


def away(allowance: model.Decision, objects: Mapping[str, str]) -> frozenset[str]:
    """The places of an allowance that are not what it remembers, by path or by identity."""
    other = (name for name, then in allowance.objects if objects.get(name) != then)
    return frozenset(name.removeprefix("inode ") for name in other)


def outside(allowance: model.Decision, given: model.Scope, objects: Mapping[str, str]) -> frozenset[str]:
    """The places of what is given that lead out of those which the allowance was given for (rule 4)."""
    roots = [then for name, then in allowance.objects if not name.startswith("inode ")]
    return frozenset(
        place
        for place in given.objects()
        if place not in dict(allowance.objects)
        and not any(f"{objects.get(place)}/".startswith(f"{root}/") for root in roots)
    )
