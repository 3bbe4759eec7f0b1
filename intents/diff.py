"""Vetted manifest against stored decisions: what is settled, and the difference left to ask (SPEC §8.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from intents import model, paths


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What the decisions say about one part of an intent."""

    granted: tuple[model.Scope, ...]
    denied: bool
    open: bool
    moved: tuple[tuple[str, str, str], ...]
    by: tuple[model.Decision, ...]
    lapsed: bool = False


def diff(
    vetted: model.Vetted,
    decisions: Sequence[model.Decision],
    now: model.Clock,
    objects: Mapping[str, str],
    *,
    this_launch: Sequence[model.Decision] = (),
) -> model.Delta:
    """Match every part of every intent with the live decisions, newest first.

    objects: canonical path now of each place that any intent names, and under ``model.identity`` of it the identity of
    its directory; this_launch: answers given for this launch alone or just recorded, newer than every stored one.
    """
    stored = sorted((d for d in decisions if d.life.live(now)), key=lambda d: d.seq, reverse=True)
    live = (*reversed(tuple(this_launch)), *stored)
    by_kind: dict[str, list[model.Decision]] = {}
    for decision in live:
        by_kind.setdefault(decision.asked.kind, []).append(decision)
    changes = tuple(
        _change(intent, by_kind.get(intent.scope.kind, ()), objects) for intent in vetted.manifest.intents
    )
    parts = [part for intent in vetted.manifest.intents for part in intent.scope.parts()]
    withdrawn = tuple(d for d in stored if not any(_speaks(d, part) for part in parts))
    return model.Delta(vetted=vetted, changes=changes, withdrawn=withdrawn)


def _change(intent: model.Intent, live: Sequence[model.Decision], objects: Mapping[str, str]) -> model.Change:
    answers = [(part, _answer(part, live, objects)) for part in intent.scope.parts()]
    by = {id(decision): decision for _, answer in answers for decision in answer.by}
    return model.Change(
        intent=intent,
        granted=tuple(scope for _, answer in answers for scope in answer.granted),
        denied=tuple(part for part, answer in answers if answer.denied),
        open=tuple(part for part, answer in answers if answer.open),
        moved=tuple(dict.fromkeys(moved for _, answer in answers for moved in answer.moved)),
        decided_by=tuple(decision.seq for decision in by.values()),
        lives=tuple(decision.life for decision in by.values()),
        held=tuple({id(each): each for _, answer in answers if answer.open for each in answer.by}.values()),
        lapsed=any(answer.lapsed for _, answer in answers),
    )


def _answer(part: model.Scope, live: Sequence[model.Decision], objects: Mapping[str, str]) -> _Answer:
    """The newest decision about at least this part settles it; newer ones about less of it count for that less."""
    granted: list[model.Scope] = []
    by: list[model.Decision] = []
    refused_within = False
    for decision in live:
        if not _speaks(decision, part):
            continue
        moved = _moved(decision, objects) if decision.granted is not None else ()
        if decision.asked.covers(part):
            shared = decision.granted.meet(part) if decision.granted is not None else None
            moved = moved or (_out(decision, shared, objects) if shared is not None else ())
            if moved or decision.lapsed or (refused_within and decision.granted is not None):
                kept, over = tuple(granted), decision.lapsed
                return _Answer(granted=kept, denied=False, open=True, moved=moved, by=tuple(by), lapsed=over)
            kept = (*granted, shared) if shared is not None else tuple(granted)
            return _Answer(granted=kept, denied=shared is None, open=False, moved=(), by=(*by, decision))
        if decision.granted is None:
            refused_within = True
        elif not (moved or refused_within or decision.lapsed):
            shared = decision.granted.meet(part)
            granted.extend([shared] if shared is not None else [])
            by.append(decision)
    return _Answer(granted=tuple(granted), denied=False, open=True, moved=(), by=tuple(by))


def _speaks(decision: model.Decision, part: model.Scope) -> bool:
    return decision.asked.covers(part) or part.covers(decision.asked)


def _moved(decision: model.Decision, objects: Mapping[str, str]) -> tuple[tuple[str, str, str], ...]:
    """The places of a decision where something else is now; an object that was not looked at counts as moved."""
    other = {name for name, then in decision.objects if objects.get(name, "") != then}
    found = [(place, then, objects.get(place, "")) for place, then in decision.places]
    return tuple(each for each in found if each[0] in other or model.identity(each[0]) in other)


def _out(
    decision: model.Decision, given: model.Scope, objects: Mapping[str, str]
) -> tuple[tuple[str, str, str], ...]:
    """The places of what is given that lie below those of its allowance and lead out: through a link the app made."""
    known = dict(decision.places)
    return tuple(
        (place, ", ".join(known.values()), now)
        for place, now in ((place, objects.get(place, "")) for place in given.objects() if place not in known)
        if not any(paths.inside(now, real) for real in known.values())
    )
