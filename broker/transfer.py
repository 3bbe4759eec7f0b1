"""``intent-ctl export`` and ``import``: decisions from one machine to another (SPEC §11.2; ``ctl`` documents the JSON).

What is imported is held to the rules of ``grant``: the app as it is installed here must ask for it, its publisher must
be the same, what no answer grants is not granted, and what is critical is named a second time.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from broker import app as apps
from broker import history, journal, known, record, undo, views
from intents import decide, errors, kinds, model, paths, risk, rules

FORMAT = 1
_LIMIT = 1 << 24  # bytes of a file
_LONGEST = 9999 * 86400  # seconds, as `--for` takes them
_SPANS = (model.Lifespan.FOREVER, model.Lifespan.UNTIL)  # those that mean the same elsewhere
_KEYS = {"intent", "asked", "granted", "span", "until", "at", "source"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One decision of the file; decision: as it would be recorded here, or None for the reason ``why``."""

    told: Mapping[str, object]
    decision: model.Decision | None
    why: str = ""

    def as_data(self) -> dict[str, object]:
        return {**self.told, "applied": self.decision is not None, "why": self.why or None}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Import:
    """What the file holds about one app. found: None where nothing of it can be applied."""

    app_id: str
    found: known.Known | None
    rows: tuple[_Row, ...]
    shifts: tuple[undo.Shift, ...]
    pins: bool

    def as_data(self) -> dict[str, object]:
        return {
            "app": self.app_id,
            "decisions": [row.as_data() for row in self.rows],
            "changes": [shift.as_data() for shift in self.shifts],
            "pinned": self.pins,
        }


# Out


def export(at: known.Here, names: Sequence[str]) -> known.Report:
    """The decisions of these apps, or of all, that hold now and for longer than this session: one JSON document."""
    with journal.Journal.open(at.places) as book:
        meant = [_one(at, book, name) for name in names]
        owners = [owner for owner in book.apps() if not names or owner[0] in meant]
        found = [_exported(at, book, *owner) for owner in owners]
    data = {"intents_export": FORMAT, "at": at.now.wall, "apps": [each for each in found if each["decisions"]]}
    return known.Report(data=data, lines=tuple(json.dumps(data, indent=2).split("\n")))


def _one(at: known.Here, book: journal.Journal, name: str) -> str:
    meant = known.ids(at, book, name)
    known.choose_one(name, list(meant))
    return meant[0]


def _exported(at: known.Here, book: journal.Journal, app_id: str, lineage: str) -> dict[str, object]:
    pin = book.pin(app_id)
    live = [each for each in book.decisions(app_id, lineage) if each.life.live(at.now)]
    rows = [_told(each) for each in live if each.life.span in _SPANS]
    known_as = pin.fingerprint if pin and pin.lineage == lineage else ""
    return {
        "app": app_id,
        "lineage": lineage,
        "fingerprint": known_as or None,
        "decisions": rows,
        "left_out": len(live) - len(rows),
    }


def _told(decision: model.Decision) -> dict[str, object]:
    return {
        "intent": decision.intent_id,
        "asked": kinds.to_data(decision.asked),
        "granted": None if decision.granted is None else kinds.to_data(decision.granted),
        "span": decision.life.span.value,
        "until": decision.life.until or None,
        "at": decision.at,
        "source": decision.source,
    }


# In


def bring(at: known.Here, file: str, confirmed: Sequence[str], *, dry: bool) -> known.Report:
    """Apply what ``export`` wrote, or with ``dry`` only show the difference; negative when some of it cannot be.

    confirmed: ``APP:INTENT`` of what is critical. Raises DecisionError ``not-an-export``, ``not-confirmed``, and then
    nothing was changed; CatalogError ``unreadable``.
    """
    document = _read(file)
    with journal.Journal.open(at.places) as book:
        found = [_weighed(at, book, each) for each in document]
    if not dry:
        for each in found:
            _confirm(each, confirmed)
        for each in found:
            _apply(at, each)
    lines = [line for each in found for line in _lines(each)] or ["It holds no decisions."]
    lines += ["Nothing is changed yet."] if dry else []
    missed = any(row.decision is None for each in found for row in each.rows)
    data = {"file": file, "applied": not dry, "apps": [each.as_data() for each in found]}
    return known.Report(data=data, lines=tuple(lines), negative=missed)


def _read(file: str) -> list[Mapping[str, object]]:
    shown = paths.printable(file)
    try:
        with open(file, "rb") as opened:
            data = opened.read(_LIMIT + 1)
    except OSError as error:
        raise errors.CatalogError("unreadable", f"`{shown}` cannot be read: {error.strerror}") from error
    try:
        document = json.loads(data) if len(data) <= _LIMIT else None
    except (ValueError, RecursionError) as error:
        raise errors.DecisionError("not-an-export", f"`{shown}` is not JSON") from error
    match document:
        case {"intents_export": 1, "apps": [*found]} if all(_is_app(each) for each in found):
            return found
    raise errors.DecisionError("not-an-export", f"`{shown}` is not what `intent-ctl export` of this version writes")


def _is_app(found: object) -> bool:
    match found:
        case {"app": str(), "lineage": str(), "decisions": [*rows]}:
            return all(isinstance(row, dict) for row in rows)
    return False


def _weighed(at: known.Here, book: journal.Journal, told: Mapping[str, object]) -> _Import:
    """What of the decisions about one app can be applied here, and what becomes of its intents."""
    app_id, rows = str(told["app"]), told["decisions"]
    assert isinstance(rows, list)
    try:
        found = known.find(at, book, app_id, changing=True)
        app, delta = found.settled()
        if (found.app_id, found.lineage) != (app_id, told["lineage"]):
            why = f"here it is another publisher's: {delta.vetted.fingerprint or 'the catalog'}"
            raise errors.DecisionError("wrong-publisher", why)
    except errors.IntentError as error:
        nothing = tuple(_Row(told=row, decision=None, why=error.message) for row in rows)
        return _Import(app_id=app_id, found=None, rows=nothing, shifts=(), pins=False)
    weighed = tuple(_row(at, app, delta, row) for row in rows)
    made = [row.decision for row in weighed if row.decision is not None]
    newest = max((each.seq for each in book.decisions(app_id, found.lineage)), default=0)
    numbered = [replace(each, seq=newest + nth) for nth, each in enumerate(made, 1)]
    after = app.supposed(delta.vetted, [*book.decisions(app_id, found.lineage), *numbered], at.now)
    shifts = tuple(undo.shifts(found, after))
    new = bool(made) and delta.vetted.trust is model.Trust.FIRST_USE
    return _Import(app_id=app_id, found=found, rows=weighed, shifts=shifts, pins=new)


def _row(at: known.Here, app: apps.App, delta: model.Delta, told: Mapping[str, object]) -> _Row:
    try:
        decision = _decision(at, app, told)
    except errors.IntentError as error:
        return _Row(told=told, decision=None, why=error.message)
    if isinstance(decision, str):
        return _Row(told=told, decision=None, why=decision)
    if decision.granted is not None:
        declared = [intent for intent in app.manifest.intents if intent.scope.covers(decision.asked)]
        if not declared:
            return _Row(told=told, decision=None, why="the app does not ask for that here")
        change = delta.change(declared[0].id)
        try:
            rules.refuse_locked(change, decides=any(part.covers(decision.asked) for part in change.free))
        except errors.DecisionError as error:
            return _Row(told=told, decision=None, why=error.message)
        if why := _refused(app, delta, declared[0], decision.granted):
            return _Row(told=told, decision=None, why=why)
    return _Row(told=told, decision=decision)


def _decision(at: known.Here, app: apps.App, told: Mapping[str, object]) -> model.Decision | str:
    """The decision as it would be given here now, or why not. Raises ManifestError for a scope that is none here."""
    match told:
        case {"intent": str(intent), "asked": dict(asked), "granted": dict() | None as granted, "span": str(span)} if (
            told.keys() <= _KEYS and span in _SPANS
        ):
            wanted = kinds.from_data(asked)
            given = None if granted is None else kinds.from_data(granted)
            if given is not None and not wanted.covers(given):
                return "it grants more than was asked"
        case _:
            return "it is not understood"
    left = 0
    if span == model.Lifespan.UNTIL:
        until = told.get("until")
        left = until - at.now.wall if isinstance(until, int) else 0
        if left <= 0:
            return "its time is over"
        if left > _LONGEST:
            return "its time is longer than any that can be given"
    return model.Decision(
        intent_id=intent,
        asked=wanted,
        granted=given,
        life=decide.life(model.Lifespan(span), at.now, seconds=left, trust=model.Trust.PINNED),
        objects=decide.remembered(given or wanted, app.objects),
        source="import",
        at=at.now.wall,
    )


def _refused(app: apps.App, delta: model.Delta, intent: model.Intent, granted: model.Scope) -> str:
    """Why no answer here could grant that."""
    if risk.of((granted,), app.host, delta.vetted.trust) is model.Risk.FORBIDDEN:
        return "no answer can allow this"
    try:
        granted.ops(app.host, intent.id)
    except errors.RefusedError as error:
        return error.message
    except errors.HostError:
        return ""  # not given as long as this machine lacks it, as after `grant`
    return ""


def _confirm(each: _Import, confirmed: Sequence[str]) -> None:
    if each.found is not None:
        prefix = f"{each.app_id}:"
        named = [name.removeprefix(prefix) for name in confirmed if name.startswith(prefix)]
        undo.confirm(each.found, each.shifts, named, prefix=prefix)


def _apply(at: known.Here, each: _Import) -> None:
    """Record what changes something; what is decided that way already is not recorded again."""
    if each.found is None or not (each.shifts or each.pins):
        return
    app, delta = each.found.settled()
    made = [row.decision for row in each.rows if row.decision is not None]
    entries = record.publisher(app, delta.vetted, at.now)
    entries += [history.decided(each.app_id, each.found.lineage, decision) for decision in made]
    record.commit(at.places, each.app_id, at.now, entries)


def _lines(each: _Import) -> list[str]:
    missed = [row for row in each.rows if row.decision is None]
    lines = [f"{each.app_id}: {len(each.rows) - len(missed)} of {len(each.rows)} decisions apply here"]
    lines += [shift.line for shift in each.shifts]
    if len(missed) < len(each.rows) and not each.shifts:
        lines.append("  it is decided that way already")
    if each.pins and each.found and each.found.delta:
        lines.append(f"  from now on it belongs to {each.found.delta.vetted.fingerprint}")
    for row in missed:
        asked = row.told.get("asked")
        scope = f" ({views.scope_words(asked)})" if isinstance(asked, dict) and "kind" in asked else ""
        lines.append(f"  NOT applied: {row.told.get('intent')}{scope}: {row.why}")
    return lines
