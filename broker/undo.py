"""``intent-ctl undo``: what counted before an act counts again (SPEC §8.5; ``ctl`` documents the JSON)."""

from collections.abc import Sequence
from dataclasses import dataclass

from broker import acts, history, journal, known, log, record, views
from intents import decide, errors, model, paths, risk


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """What becomes of one intent: its states before and after, and its risk as it is granted afterwards.

    more: something is granted afterwards that was not before.
    """

    intent: model.Intent
    before: str
    after: str
    risk: model.Risk
    more: bool

    def as_data(self) -> dict[str, object]:
        """intent, before, after, risk and more."""
        about = {"intent": self.intent.id, "before": self.before, "after": self.after}
        return {**about, "risk": self.risk.word, "more": self.more}

    @property
    def line(self) -> str:
        """The same in one line."""
        loud = f" ({views.risk_words(self.risk)})" if self.more else ""
        return f"  {self.intent.id} was {views.state_words(self.before)}, is {views.state_words(self.after)}{loud}"


def undo(
    at: known.Here, which: str | None, confirmed: Sequence[str], *, dry: bool = False, sure: bool = False
) -> known.Report:
    """Take back the newest act, that of an app, or the one that an event belongs to; ``which`` is its number.

    confirmed: critical intents that may be granted by it, with ``sure`` all; dry: only say what it would do. Raises
    DecisionError ``nothing-to-undo``, ``undo-superseded``, ``not-confirmed``.
    """
    with journal.Journal.open(at.places) as book:
        events = book.events()
        act = _choose(at, book, events, which)
        found = known.find(at, book, act.app, changing=False)
        before = book.decisions(found.app_id, found.lineage)
    entry = history.undone(act.app, act.seqs)
    after = history.supposed(events, [entry])
    shifts = _shifts(at, found, after)
    seq = None
    if not dry:
        confirm(found, [] if sure else shifts, confirmed)
        if not sure and (found.app is None or found.delta is None):
            _confirm_unseen(found, before, after.decisions(found.app_id, found.lineage)[0], confirmed)

        def still(book: journal.Journal) -> list[history.Entry]:
            acts.containing(book.events(), act.seqs[0])  # somebody else may have decided meanwhile
            return [entry]

        (seq,) = record.commit_by(at.places, act.app, at.now, still)
    words = [log.words(event) for event in act.events]
    lines = [f"{act.app}: no longer counts: {each}" for each in words]
    lines += [shift.line for shift in shifts]
    lines += [f"To take that back: intent-ctl undo {seq}" if seq else "Nothing is changed yet."]
    data = {"app": act.app, "event": seq, "undone": list(act.seqs), "words": words}
    return known.Report(data={**data, "changes": [each.as_data() for each in shifts]}, lines=tuple(lines))


def _choose(at: known.Here, book: journal.Journal, events: Sequence[history.Event], which: str | None) -> acts.Act:
    if which is not None and which.isdecimal() and len(which) < 10:
        return acts.containing(events, int(which))
    if which is None:
        return acts.newest(events, None)
    meant = known.ids(at, book, which)
    known.choose_one(which, list(meant))
    return acts.newest(events, meant[0])


def _shifts(at: known.Here, found: known.Known, after: history.History) -> list[Shift]:
    """What becomes of the intents that the app declares; nothing without a manifest whose publisher counts."""
    if found.app is None or found.delta is None:
        return []
    decisions, _ = after.decisions(found.app_id, found.lineage)
    return shifts(found, found.app.supposed(found.delta.vetted, decisions, at.now))


def shifts(found: known.Known, after: model.Delta) -> list[Shift]:
    """What becomes of the intents whose state, scopes or lifespan are others in ``after``."""
    app, before = found.settled()
    made = []
    for change, later in zip(before.changes, after.changes, strict=True):
        if _stands(change) == _stands(later):
            continue
        new = [scope for scope in later.granted if not any(each.covers(scope) for each in change.granted)]
        made.append(
            Shift(
                intent=change.intent,
                before=_state(before, change),
                after=_state(after, later),
                risk=risk.of(later.granted, app.host, before.vetted.trust) if later.granted else model.Risk.LOW,
                more=bool(new),
            )
        )
    return made


def confirm(found: known.Known, made: Sequence[Shift], confirmed: Sequence[str], *, prefix: str = "") -> None:
    """Raise DecisionError ``not-confirmed`` when something critical would be granted that is not in ``confirmed``.

    prefix: of what has to be named, in the hint.
    """
    left = [each.intent for each in made if each.more and each.risk >= model.Risk.CRITICAL]
    left = [intent for intent in left if intent.id not in confirmed]
    if left:
        app, _ = found.settled()
        name = paths.printable(left[0].id)
        message = f"`{name}` of {found.app_id} is critical: {left[0].scope.phrase(app.host).allows}"
        hint = "If you mean it, add " + " ".join(f"--confirm {prefix}{intent.id}" for intent in left)
        raise errors.DecisionError("not-confirmed", message, hint=hint)


def _confirm_unseen(
    found: known.Known, before: Sequence[model.Decision], after: Sequence[model.Decision], confirmed: Sequence[str]
) -> None:
    """Raise DecisionError ``not-confirmed`` when something may be granted of which nobody can tell how risky it is."""
    gone = [each for each in before if each.seq not in {kept.seq for kept in after}]
    known_before = {each.seq for each in before}
    back = [
        each.intent_id
        for each in after
        if each.granted is not None and (each.seq not in known_before or any(_meet(each, other) for other in gone))
    ]
    if left := [name for name in dict.fromkeys(back) if name not in confirmed]:
        names = " ".join(f"--confirm {name}" for name in left)
        message = f"how risky `{left[0]}` is cannot be told: {found.app_id} has no manifest here that counts"
        raise errors.DecisionError("not-confirmed", message, hint=f"If you mean it, add {names}")


def _meet(one: model.Decision, other: model.Decision) -> bool:
    mine, theirs = one.asked, other.asked
    return mine.covers(theirs) or theirs.covers(mine) or mine.meet(theirs) is not None


def _stands(change: model.Change) -> tuple[object, ...]:
    return set(change.granted), set(change.denied), set(change.open), set(change.lives)


def _state(delta: model.Delta, change: model.Change) -> str:
    verdict = next(each for each in decide.settle(delta).verdicts if each.intent == change.intent)
    return views.state_of(verdict, change)
