"""What the journal says: entries, events, their hash chain and what they add up to (SPEC §8.5).

Pure: takes rows and entries, gives events and state. The order of events is all there is; pins, decisions and heads
are a fold over it, so that nothing can be stored that history does not explain.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import cast

from broker import stored
from intents import errors, kinds, model

Row = tuple[int, int, str, str, str, str, str, str]  # seq, at, what, app, lineage, body, prev, hash
Owner = tuple[str, str]  # app id, lineage
Undo = tuple[int, tuple[int, ...]]  # its own seq, and those of what it undoes

NOTHING = "-"  # the hash before the first event


class What(StrEnum):
    """The things that happen."""

    PIN = "pin"  # a publisher counts from now on
    SERIAL = "serial"  # a newer manifest of the pinned publisher was seen
    REKEY = "rekey"  # the user agreed to another key, or to a lower serial
    DECISION = "decision"  # the user answered
    FORGET = "forget"  # no earlier decision of this owner counts any more
    UNDO = "undo"  # the events it names, of the same app, count as if they had not happened
    LAPSE = "lapse"  # the decisions it names do not count: their app was not used for long
    RESTORE = "restore"  # whatever lapsed of this owner counts again
    AWAY = "away"  # nothing happened here from the time it names until then
    PENDING = "pending"  # a question was due and nobody answered it
    LAUNCH = "launch"
    EXIT = "exit"


_WHATS = frozenset(What)
ACTS = (What.DECISION, What.FORGET)  # what can be undone, besides an undoing itself
_NTH = "nth"  # in a body: not the first of its act, so that what was done together is undone together


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Something to record: ``body`` holds its details as JSON values."""

    what: What
    app: str
    lineage: str
    body: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something recorded: an entry with its place in the journal and its time (seconds since the epoch)."""

    seq: int
    at: int
    what: What
    app: str
    lineage: str
    body: Mapping[str, object]


def pinned(pin: model.Pin) -> Entry:
    """The user, or a root-owned catalog, stands for this publisher from now on. ``since`` becomes the event's time."""
    return _of_pin(What.PIN, pin)


def raised(pin: model.Pin) -> Entry:
    """The pinned publisher's manifest with this serial and digest was seen; a lower serial changes nothing."""
    return _of_pin(What.SERIAL, pin)


def rekeyed(pin: model.Pin) -> Entry:
    """The user agreed to another key, or to a lower serial: the pin is this one, whatever it was."""
    return _of_pin(What.REKEY, pin)


def _of_pin(what: What, pin: model.Pin) -> Entry:
    return Entry(what=what, app=pin.app_id, lineage=pin.lineage, body=stored.pin(pin))


def decided(app_id: str, lineage: str, decision: model.Decision) -> Entry:
    """The user answered. ``at`` and ``seq`` of the decision are given by the journal."""
    return Entry(what=What.DECISION, app=app_id, lineage=lineage, body=stored.decision(decision))


def forgotten(app_id: str, lineage: str) -> Entry:
    """No earlier decision counts any more; pins and serials stay."""
    return Entry(what=What.FORGET, app=app_id, lineage=lineage, body={})


def undone(app_id: str, seqs: Sequence[int]) -> Entry:
    """The events of these ``seq``, all of this app, count as if they had not happened; an undoing can be undone."""
    return Entry(what=What.UNDO, app=app_id, lineage="", body={"undoes": sorted(seqs)})


def together(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """One act of the user: each decision and each forgetting after the first one says which of them it is."""
    acts = [index for index, each in enumerate(entries) if each.what in ACTS]
    later = {index: nth for nth, index in enumerate(acts) if nth}
    return tuple(
        replace(each, body={**each.body, _NTH: later[index]}) if index in later else each
        for index, each in enumerate(entries)
    )


def begins(event: Event) -> bool:
    """Whether this decision or forgetting begins an act, rather than belonging to that of the one before."""
    return _NTH not in event.body


def unanswered(app_id: str, lineage: str, open: Mapping[str, Sequence[model.Scope]], *, asked: bool) -> Entry:
    """A question has no answer: not a decision. open: what of each intent; asked: somebody saw it, and closed it."""
    body = {"asked": asked, "open": {name: [kinds.to_data(scope) for scope in scopes] for name, scopes in open.items()}}
    return Entry(what=What.PENDING, app=app_id, lineage=lineage, body=body)


def asked(event: Event) -> bool:
    """Whether somebody saw the question that has no answer; earlier versions recorded no other."""
    return event.body.get("asked") is not False


def lapsed(app_id: str, lineage: str, seqs: Sequence[int]) -> Entry:
    """The decisions of these ``seq`` do not count until the user says so: their app was not used for long."""
    return Entry(what=What.LAPSE, app=app_id, lineage=lineage, body={"decisions": sorted(seqs)})


def restored(app_id: str, lineage: str) -> Entry:
    """Whatever lapsed counts again, as it was."""
    return Entry(what=What.RESTORE, app=app_id, lineage=lineage, body={})


def away(app_id: str, lineage: str, since: int) -> Entry:
    """Nothing happened here between ``since`` (seconds since the epoch) and this start of the app."""
    return Entry(what=What.AWAY, app=app_id, lineage=lineage, body={"since": since})


def launched(app_id: str, lineage: str, *, pid: int, at: int, given: Sequence[str]) -> Entry:
    """An instance was started at ``at`` (seconds since the epoch); ``pid`` and ``at`` together are its name.

    given: the intents that something in its sandbox was there for.
    """
    body = {"pid": pid, "at": at, "given": list(given)}
    return Entry(what=What.LAUNCH, app=app_id, lineage=lineage, body=body)


def exited(
    app_id: str,
    lineage: str,
    *,
    pid: int,
    at: int,
    ended: int | None,
    status: int | None,
    refused: Sequence[str] = (),
    tried: Sequence[Mapping[str, object]] = (),
) -> Entry:
    """The same instance ended: when, and with which exit status, as bubblewrap reported; None when it did not.

    refused: what its companions say that it tried and did not get; tried: what it tried of its network (``tried``).
    """
    body = {"pid": pid, "at": at, "ended": ended, "status": status, "refused": list(refused), "tried": list(tried)}
    return Entry(what=What.EXIT, app=app_id, lineage=lineage, body=body)


def canonical(body: Mapping[str, object]) -> str:
    """The one JSON text of ``body``: ASCII, keys sorted, no spaces, so without line breaks."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def chained(seq: int, at: int, entry: Entry, prev: str) -> Row:
    """The row that records ``entry`` behind the event with hash ``prev``. Raises ValueError for what is no entry."""
    if not (entry.app + entry.lineage).isprintable():
        raise ValueError(f"not an app and its lineage: {entry.app!r} {entry.lineage!r}")
    content = (seq, at, entry.what.value, entry.app, entry.lineage, canonical(entry.body), prev)
    return (*content, _digest(content))


def _digest(content: tuple[object, ...]) -> str:
    # One line per column: no column can hold a line break, so no two rows give the same lines.
    return hashlib.sha256("\n".join(map(str, content)).encode("utf-8", "surrogatepass")).hexdigest()


def checked(row: tuple[object, ...]) -> Row:
    """The same row of the database. Raises ValueError when it is not what was written."""
    match row:
        case (int(), int(), str(what), str(), str(), str(), str(), str(digest)):
            if what in _WHATS and _digest(row[:-1]) == digest:
                return cast(Row, row)
    raise ValueError("the row is not what was written")


def read_event(row: Row) -> Event:
    """The event in a checked row."""
    seq, at, what, app, lineage, body = row[:6]
    return Event(seq=seq, at=at, what=What(what), app=app, lineage=lineage, body=json.loads(body))


def supposed(events: Sequence[Event], entries: Sequence[Entry]) -> "History":
    """What a journal of these events would add up to if ``entries`` were recorded behind them."""
    found = History()
    for event in events:
        found.take(chained(found.seq + 1, event.at, _entry(event), found.tail))
    for entry in together(entries):
        found.take(chained(found.seq + 1, events[-1].at if events else 0, entry, found.tail))
    return found


def _entry(event: Event) -> Entry:
    return Entry(what=event.what, app=event.app, lineage=event.lineage, body=event.body)


class History:
    """What the events so far add up to; ``take`` them in order."""

    def __init__(self) -> None:
        self.seq = 0
        self.tail = NOTHING  # hash of the newest event
        self.pins: dict[str, model.Pin] = {}
        self._acts: dict[Owner, list[Row]] = {}  # read when asked for: most apps are not
        self._undos: dict[str, list[Undo]] = {}
        self._pending: dict[Owner, list[Row]] = {}  # since the last answer
        self._waiting: set[Owner] = set()
        self._heads: dict[Owner, tuple[int, str]] = {}
        self._lapsed: dict[Owner, set[int]] = {}
        self.restored: dict[Owner, int] = {}  # when, in seconds since the epoch
        self.away: list[tuple[int, int]] = []  # from when until when nothing happened here
        self.moments: list[int] = []  # of all events, in their order, whatever the clock said

    def take(self, row: tuple[object, ...]) -> None:
        """Go on by one row. Raises ValueError when it does not follow the last one or is not what was written."""
        seq, at, what, app, lineage, _, prev, digest = known = checked(row)
        if seq != self.seq + 1 or prev != self.tail:
            raise ValueError("the row does not follow the one before it")
        owner = app, lineage
        match what:
            case What.PIN | What.REKEY | What.SERIAL:
                self._take_pin(read_event(known))
                self._heads[app, ""] = seq, digest
            case What.DECISION | What.FORGET:
                self._acts.setdefault(owner, []).append(known)
                self._pending.pop(owner, None)
                if what == What.FORGET:
                    self._waiting.discard(owner)
                self._heads[owner] = seq, digest
            case What.UNDO:
                self._undos.setdefault(app, []).append((seq, undoes(read_event(known))))
                self._heads[app, ""] = seq, digest
            case What.PENDING:
                self._pending.setdefault(owner, []).append(known)
                self._waiting.add(owner)
            case What.LAPSE:
                self._lapsed.setdefault(owner, set()).update(_numbers(read_event(known), "decisions"))
                self._heads[owner] = seq, digest
            case What.RESTORE:
                self._lapsed.pop(owner, None)
                self.restored[owner] = at
                self._heads[owner] = seq, digest
            case What.AWAY:
                self.away.append((_since(read_event(known)), at))
            case What.LAUNCH | What.EXIT:
                pass
        self.moments.append(at)
        self.seq, self.tail = seq, digest

    def _take_pin(self, event: Event) -> None:
        pin = stored.read_pin(event.app, event.lineage, event.at, event.body)
        old = self.pins.get(event.app)
        if event.what is not What.REKEY and old is not None and old.lineage == pin.lineage:
            # The serial only rises, and the agreement is as old as it was, and about as much.
            pin = replace(pin if pin.serial > old.serial else old, since=old.since, files=old.files)
        elif event.what is What.SERIAL:
            return
        self.pins[event.app] = pin

    def apps(self) -> tuple[Owner, ...]:
        """(app id, lineage) of everything with a pin or a decision, sorted."""
        pinned_apps = {(pin.app_id, pin.lineage) for pin in self.pins.values()}
        return tuple(sorted(pinned_apps | {owner for owner in self._acts if self._standing(*owner)}))

    def head(self, app_id: str, lineage: str) -> str:
        """The hash of the newest event that what is granted to the app depends on, or ``-``.

        Pins, serials, keys and undoing count for every lineage of the app id: after them no older plan may be used.
        """
        return max(self._heads.get((app_id, lineage), (0, NOTHING)), self._heads.get((app_id, ""), (0, NOTHING)))[1]

    def pending(self, app_id: str, lineage: str) -> tuple[Event, ...]:
        """Every time that a question of the app went unanswered since its last answer, oldest first."""
        return tuple(map(read_event, self._pending.get((app_id, lineage), ())))

    def waiting(self) -> tuple[Owner, ...]:
        """(app id, lineage) of everything that had a question without an answer since it was last forgotten, sorted."""
        return tuple(sorted(self._waiting))

    def _standing(self, app_id: str, lineage: str) -> list[Row]:
        """The decisions that are neither undone nor forgotten, oldest first."""
        taken_back = not_counting(self._undos.get(app_id, ()))
        found: list[Row] = []
        for row in self._acts.get((app_id, lineage), ()):
            if row[0] not in taken_back:
                found = [*found, row] if row[2] == What.DECISION else []
        return found

    def decisions(self, app_id: str, lineage: str) -> tuple[tuple[model.Decision, ...], tuple[int, ...]]:
        """(decisions that can be read, oldest first; seq of those that cannot).

        What is older than an unreadable decision of its kind is left out as well: it may have taken that back.
        """
        readable: list[model.Decision] = []
        unreadable: list[int] = []
        blocked: set[str] = set()
        over = self._lapsed.get((app_id, lineage), ())
        for event in map(read_event, reversed(self._standing(app_id, lineage))):
            kind = stored.kind(event.body)
            if "" in blocked:
                break
            if kind in blocked:
                continue
            try:
                readable.append(stored.read_decision(event.seq, event.at, event.body, lapsed=event.seq in over))
            except (errors.ManifestError, KeyError, TypeError, ValueError):
                unreadable.append(event.seq)
                blocked.add(kind)
        return tuple(reversed(readable)), tuple(reversed(unreadable))


def undoes(event: Event) -> tuple[int, ...]:
    """The ``seq`` that an undoing names. Raises ValueError when it cannot be read."""
    return _numbers(event, "undoes")


def _numbers(event: Event, key: str) -> tuple[int, ...]:
    """Earlier events that one names, at least one."""
    match event.body.get(key):
        case [*seqs]:
            found = tuple(seq for seq in seqs if isinstance(seq, int) and 0 < seq < event.seq)
            if found and len(found) == len(seqs):
                return found
    raise ValueError(f"an event that names others cannot be read: {event.what}")


def _since(event: Event) -> int:
    match event.body:
        case {"since": int(since)}:
            return since
    raise ValueError("the event does not say since when")


def not_counting(undos: Sequence[Undo]) -> frozenset[int]:
    """The ``seq`` of all that is undone by an undoing that counts itself; ``undos`` of one app, oldest first."""
    found: set[int] = set()
    for seq, seqs in reversed(undos):  # what undoes an undoing is newer
        if seq not in found:
            found.update(seqs)
    return frozenset(found)
