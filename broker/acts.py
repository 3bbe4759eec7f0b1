"""What of the journal can be taken back: the user's acts, and why one cannot be undone any more (SPEC §8.5).

An act is what was recorded at once: the answers of one handshake, one ``grant``. Pure: takes events, gives acts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from broker import history
from intents import errors, kinds, model


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Decisions and forgettings recorded together, or one undoing; undone: it counts no longer."""

    app: str
    events: tuple[history.Event, ...]
    undone: bool

    @property
    def seqs(self) -> tuple[int, ...]:
        """What an undoing of it names."""
        return tuple(event.seq for event in self.events)

    @property
    def undoes(self) -> bool:
        """Whether it took back another act."""
        return self.events[0].what is history.What.UNDO


def of(events: Sequence[history.Event]) -> tuple[Act, ...]:
    """The acts among these events, oldest first; ``events`` holds all of each app that it holds any of."""
    groups: list[list[history.Event]] = []
    for event in events:
        if event.what is history.What.UNDO or (event.what in history.ACTS and history.begins(event)):
            groups.append([event])
        elif event.what in history.ACTS and groups:
            groups[-1].append(event)
    gone = frozenset().union(*_gone(events).values())
    return tuple(Act(app=each[0].app, events=tuple(each), undone=each[0].seq in gone) for each in groups)


def newest(events: Sequence[history.Event], app_id: str | None) -> Act:
    """The newest act that counts, of one app or of all. Raises as ``containing`` does."""
    found = [each for each in of(events) if not each.undone and not each.undoes and app_id in (None, each.app)]
    if not found:
        whose = f" of {app_id}" if app_id else ""
        raise errors.DecisionError("nothing-to-undo", f"no decision{whose} counts that could be undone")
    return _free(found[-1], events)


def containing(events: Sequence[history.Event], seq: int) -> Act:
    """The act that an event belongs to. Raises DecisionError ``nothing-to-undo``, ``undo-superseded``."""
    act = next((each for each in of(events) if seq in each.seqs), None)
    if act is None:
        raise errors.DecisionError("nothing-to-undo", f"event {seq} is no decision, or is not there")
    if act.undone:
        by = next(each for each in reversed(of(events)) if each.undoes and not each.undone and seq in _named(each))
        hint = f"To take that back: intent-ctl undo {by.seqs[0]}"
        message = f"event {seq} is undone already, by event {by.seqs[0]}"
        raise errors.DecisionError("nothing-to-undo", message, hint=hint)
    return _free(act, events)


def _free(act: Act, events: Sequence[history.Event]) -> Act:
    """The act, unless something newer that counts is about the same: then undoing it would not bring back what was."""
    about = _about(act, events)
    gone = _gone(events).get(act.app, frozenset())
    for later in events:
        counts = later.app == act.app and later.what in history.ACTS and later.seq not in gone
        if counts and later.seq > act.seqs[-1] and any(_meet(each, later) for each in about):
            message = f"event {later.seq} is newer than event {act.seqs[0]} and about the same, so it is what counts"
            hint = f"Undo that one first: intent-ctl undo {later.seq}"
            raise errors.DecisionError("undo-superseded", message, hint=hint)
    return act


def _about(act: Act, events: Sequence[history.Event]) -> list[history.Event]:
    """The decisions and forgettings that the act, or what it takes back, consists of."""
    found = {event.seq: event for event in events}
    left, about = list(act.events), []
    while left:
        event = left.pop()
        if event.what is history.What.UNDO:
            left += [found[seq] for seq in history.undoes(event) if seq in found]
        else:
            about.append(event)
    return about


def _gone(events: Sequence[history.Event]) -> dict[str, frozenset[int]]:
    """For each app: the ``seq`` of what is undone."""
    undos: dict[str, list[history.Undo]] = {}
    for event in events:
        if event.what is history.What.UNDO:
            undos.setdefault(event.app, []).append((event.seq, history.undoes(event)))
    return {app: history.not_counting(of_app) for app, of_app in undos.items()}


def _named(act: Act) -> tuple[int, ...]:
    return history.undoes(act.events[0])


def _meet(one: history.Event, other: history.Event) -> bool:
    """Whether the two may be about the same: what cannot be read may be about anything."""
    if one.lineage != other.lineage:
        return False
    mine, theirs = _asked(one), _asked(other)
    return mine is None or theirs is None or mine.covers(theirs) or theirs.covers(mine) or mine.meet(theirs) is not None


def _asked(event: history.Event) -> model.Scope | None:
    """The scope that a decision is about; None for all of them, and for one that cannot be read."""
    asked = event.body.get("asked")
    if event.what is not history.What.DECISION or not isinstance(asked, dict):
        return None
    try:
        return kinds.from_data(asked)
    except (errors.ManifestError, KeyError, TypeError, ValueError):
        return None
