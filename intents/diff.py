"""Vetted manifest against stored decisions: what is settled, and the difference left to ask (SPEC §8.3)."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from intents import model, paths, rules
from intents.kinds import named_files


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What the decisions say about one part of an intent."""

    granted: tuple[model.Scope, ...]
    denied: bool
    open: bool
    moved: tuple[tuple[str, str, str], ...]
    by: tuple[model.Decision, ...]
    lapsed: bool = False
    free: tuple[model.Scope, ...] = ()
    rulings: tuple[model.Ruling, ...] = ()


def diff(
    vetted: model.Vetted,
    decisions: Sequence[model.Decision],
    now: model.Clock,
    objects: Mapping[str, str],
    *,
    this_launch: Sequence[model.Decision] = (),
    policy: rules.Rules | None = None,
    agreed: str | None = None,
) -> model.Delta:
    """Match every part of every intent with the live decisions, newest first.

    objects: canonical path now of each place that any intent names, and under ``model.identity`` of it the identity of
    its directory; this_launch: answers given for this launch alone or just recorded, newer than every stored one;
    policy: the administrator's rules about the app; agreed: what the publisher's pin says of ``[app] files``, None
    where this manifest is the first that the user is told of.
    """
    intents = declared(vetted.manifest)
    told = vetted.manifest.app.files if agreed is None else agreed
    stored = sorted((d for d in decisions if d.life.live(now)), key=lambda d: d.seq, reverse=True)
    live = (*reversed(tuple(this_launch)), *stored, *([said(told, model.Lifespan.FOREVER)] if told else []))
    by_kind: dict[str, list[model.Decision]] = {}
    for decision in live:
        by_kind.setdefault(decision.asked.kind, []).append(decision)
    changes = tuple(
        _change(intent, by_kind.get(intent.scope.kind, ()), objects, policy) for intent in intents
    )
    parts = [part for intent in intents for part in intent.scope.parts()]
    withdrawn = tuple(d for d in stored if not any(_speaks(d, part) for part in parts))
    return model.Delta(vetted=vetted, changes=changes, withdrawn=withdrawn)


def taken(
    delta: model.Delta, decisions: Sequence[model.Decision]
) -> tuple[tuple[model.Scope, ...], tuple[model.Scope, ...]]:
    """(what was allowed and is not asked for any more, what was allowed and is asked for only in part now)."""
    standing: list[model.Decision] = []
    for decision in delta.withdrawn:  # newest first
        if not any(newer.asked.covers(decision.asked) for newer in standing):
            standing.append(decision)
    gone = dict.fromkeys(each.granted for each in standing if each.granted is not None and not each.lapsed)
    counting = {seq for change in delta.changes for seq in change.decided_by}
    held = dict.fromkeys(each.granted for each in decisions if each.seq in counting and each.granted is not None)
    whole = [change.intent.scope for change in delta.changes]
    return tuple(gone), tuple(scope for scope in held if not any(asked.covers(scope) for asked in whole))


def declared(manifest: model.Manifest) -> tuple[model.Intent, ...]:
    """What is matched with decisions: the intents, and ``[app] files``, which is one in all but its place."""
    if not manifest.app.files:
        return manifest.intents
    scope = named_files.NamedFiles(access=manifest.app.files)
    return (*manifest.intents, model.Intent(id=model.FILES, scope=scope, optional=True, reason="", if_denied=""))


def said(access: str, span: model.Lifespan) -> model.Decision:
    """That the app may do so much with files named at its start: as the user was told, or as they say for one start."""
    scope = named_files.NamedFiles(access=access)
    life = model.Life(span=span)
    return model.Decision(
        intent_id=model.FILES, asked=scope, granted=scope, life=life, objects=(), source="command"
    )


def _change(
    intent: model.Intent, live: Sequence[model.Decision], objects: Mapping[str, str], policy: rules.Rules | None
) -> model.Change:
    answers = [(part, _standing(part, live, objects, policy)) for part in intent.scope.parts()]
    by = {id(decision): decision for _, answer in answers for decision in answer.by}
    return model.Change(
        intent=intent,
        granted=tuple(scope for _, answer in answers for scope in answer.granted),
        denied=tuple(part for part, answer in answers if answer.denied),
        open=tuple(scope for _, answer in answers if answer.open for scope in answer.free),
        moved=tuple(dict.fromkeys(moved for _, answer in answers for moved in answer.moved)),
        decided_by=tuple(decision.seq for decision in by.values()),
        lives=tuple(decision.life for decision in by.values()),
        held=tuple({id(each): each for _, answer in answers if answer.open for each in answer.by}.values()),
        lapsed=any(answer.lapsed for _, answer in answers),
        free=tuple(scope for _, answer in answers for scope in answer.free),
        rulings=tuple(ruling for _, answer in answers for ruling in answer.rulings),
    )


def _standing(
    part: model.Scope, live: Sequence[model.Decision], objects: Mapping[str, str], policy: rules.Rules | None
) -> _Answer:
    """What the policy leaves of a part, what it gives, and for the rest what the decisions say (SPEC §8.8)."""
    if policy is None:
        return dataclasses.replace(_answer(part, live, objects), free=(part,))
    left, denials = policy.left(part)
    given = policy.given(part, locked=True)
    rulings = [model.Ruling(rule=rule, part=part, granted=None) for rule in denials]
    rulings += [model.Ruling(rule=rule, part=part, granted=scope) for rule, scope in given]
    if left is not None and any(scope.covers(left) for _, scope in given):
        return _Answer(granted=(left,), denied=False, open=False, moved=(), by=(), rulings=tuple(rulings))
    said = _unlocked(part, left or part, live, objects, policy)
    kept = tuple(scope for each in said.granted if (scope := policy.left(each)[0]) is not None)
    granted = (*(scope for _, scope in given), *kept)
    opened = said.open and left is not None
    return dataclasses.replace(
        said,
        granted=granted,
        denied=said.denied or not (granted or opened) or left is None,
        open=opened,
        moved=said.moved if opened else (),
        by=said.by if kept or left is not None else (),
        free=(left,) if left is not None else (),
        rulings=(*rulings, *said.rulings),
    )


def _unlocked(
    part: model.Scope,
    left: model.Scope,
    live: Sequence[model.Decision],
    objects: Mapping[str, str],
    policy: rules.Rules,
) -> _Answer:
    """What decisions, or for want of any the defaults of the policy, say of what is left of a part."""
    about = [decision for decision in live if _speaks(decision, part)]
    if not about:
        return _default(part, left, policy)
    return _answer(left, about if left is part else _within(left, about), objects)


def _within(left: model.Scope, live: Sequence[model.Decision]) -> list[model.Decision]:
    """What decisions about a part say of what a denial of the policy leaves of it."""
    shared = ((decision, decision.asked.meet(left)) for decision in live)
    return [
        dataclasses.replace(decision, asked=asked, granted=decision.granted and decision.granted.meet(left))
        for decision, asked in shared
        if asked is not None
    ]


def _default(part: model.Scope, left: model.Scope, policy: rules.Rules) -> _Answer:
    """What the policy says where the user has not: of its defaults, too, a denial counts before an allowance."""
    denials = policy.denials(part, locked=False)
    over = tuple(model.Ruling(rule=rule, part=part, granted=None) for rule in denials if rule.covers(part))
    if over:
        return _Answer(granted=(), denied=True, open=False, moved=(), by=(), rulings=over)
    given = policy.given(part, locked=False)
    rulings = tuple(model.Ruling(rule=rule, part=part, granted=scope) for rule, scope in given)
    settled = any(scope.covers(left) for _, scope in given)
    granted = (left,) if settled else tuple(scope for _, scope in given)
    return _Answer(granted=granted, denied=False, open=not settled, moved=(), by=(), rulings=rulings)


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
