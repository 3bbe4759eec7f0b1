"""``intent-ctl who``: which apps have one kind of thing (SPEC §11.2; ``ctl`` documents the JSON)."""

from collections.abc import Iterator

from broker import catalog, journal, known, runs, views
from intents import errors, kinds, model, paths, risk

_STATES = ("allowed", "partly", "denied", "open")
Row = dict[str, object]


def who(at: known.Here, what: str | None, *, everything: bool) -> known.Report:
    """The apps that ask for a kind, or for an intent of that id, and how each stands; without ``what`` every kind.

    everything: also apps of the catalogs that nothing is decided about. Raises DecisionError ``unknown-intent`` for
    what is neither a kind nor an intent of an app.
    """
    with journal.Journal.open(at.places) as book:
        runs.sweep(at.places, book, at.now)
        rows = [row for found in every(at, book, everything=everything) for row in intents(at, found)]
    if what is None:
        return _counted(rows)
    meant = [row for row in rows if row["kind"] == what] if what in kinds.KINDS else []
    meant = meant or [row for row in rows if row["intent"] == what]
    if not meant and what not in kinds.KINDS:
        message = f"`{paths.printable(what)}` is no kind, and no app here has an intent of that name"
        raise errors.DecisionError("unknown-intent", message, hint="intent-ctl who")
    order = sorted(meant, key=lambda row: (_STATES.index(str(row["state"])), str(row["app"]), str(row["intent"])))
    lines = [line for row in order for line in _lines(row)]
    return known.Report(data={"asked": what, "apps": order}, lines=tuple(lines) or (f"No app here asks for {what}.",))


def every(at: known.Here, book: journal.Journal, *, everything: bool) -> Iterator[known.Known]:
    """What is known of each app with decisions, and of each other one of the catalogs; sorted by id."""
    decided = {app_id for app_id, lineage in book.apps() if book.decisions(app_id, lineage)}
    for app_id in sorted(decided.union(catalog.ids(at.places) if everything else ())):
        try:
            yield known.find(at, book, app_id, changing=False)
        except errors.IntentError:  # a manifest that cannot be read, of an app that nothing is known of
            continue


def intents(at: known.Here, found: known.Known) -> list[Row]:
    """How each intent of one app stands; where its publisher does not count, what the decisions say of it."""
    used = runs.last_used(at.places, found.app_id)
    if found.app is None or found.delta is None:
        newest = {each.intent_id: each for each in reversed(found.live)}
        return [{**_row(found, name, each.asked), **_decided(each), "last_used": used} for name, each in newest.items()]
    rows = []
    for verdict, change in views.verdicts(found.delta):
        about = [each for each in found.live if each.seq in change.decided_by]
        rows.append(
            {
                **_row(found, change.intent.id, change.intent.scope),
                "state": views.state_of(verdict, change),
                "granted": [kinds.to_data(scope) for scope in change.granted],
                "denied": [kinds.to_data(scope) for scope in change.denied],
                "open": [kinds.to_data(scope) for scope in change.open],
                "risk": risk.of_intent(change.intent, found.app.host, found.delta.vetted.trust).word,
                **_life(about[0] if about else None),
                "last_used": used,
            }
        )
    return rows


def _row(found: known.Known, intent_id: str, scope: model.Scope) -> Row:
    name = found.app.manifest.app.name if found.app else None
    about = {"app": found.app_id, "name": name, "lineage": found.lineage or None}
    return {**about, "intent": intent_id, "kind": scope.kind, "scope": kinds.to_data(scope)}


def _decided(decision: model.Decision) -> Row:
    granted = [kinds.to_data(decision.granted)] if decision.granted is not None else []
    denied = [kinds.to_data(decision.asked)] if decision.granted is None else []
    state = "allowed" if granted else "denied"
    return {"state": state, "granted": granted, "denied": denied, "open": [], "risk": None, **_life(decision)}


def _life(decision: model.Decision | None) -> Row:
    if decision is None:
        return {"span": None, "until": None, "since": None}
    return {"span": decision.life.span.value, "until": decision.life.until or None, "since": decision.at}


def _lines(row: Row) -> list[str]:
    state, until, scopes = str(row["state"]), row["until"], row["granted"] or row["denied"]
    assert isinstance(scopes, list)
    spans = {"once": "this once", "session": "for this session", "forever": "always", "until": "for a time"}
    held = f" {spans[str(row['span'])]}" if row["span"] and state != "open" else ""
    held = f" until {views.day(until)}" if isinstance(until, int) and held else held
    risky = f"  {views.risk_words(model.Risk[str(row['risk']).upper()])}" if row["risk"] else ""
    used = f"  last used {views.day(row['last_used'])}" if isinstance(row["last_used"], int) else ""
    lines = [f"{row['app']}  {row['intent']}  {views.state_words(state)}{held}{risky}{used}"]
    return [*lines, *(f"    {views.scope_words(scope)}" for scope in scopes)]


def _counted(rows: list[Row]) -> known.Report:
    """Every kind that any of the apps asks for, with how many apps have it, have part of it, were refused it, …"""
    found = []
    for kind in sorted({str(row["kind"]) for row in rows}):
        mine = [row for row in rows if row["kind"] == kind]
        apps = {state: {row["app"] for row in mine if row["state"] == state} for state in _STATES}
        found.append({"kind": kind, **{state: len(apps[state]) for state in _STATES}})
    words = [(str(row["kind"]), *(f"{state}: {row[state]}" for state in _STATES if row[state])) for row in found]
    lines = ["  ".join(each) for each in words]
    return known.Report(data={"kinds": found}, lines=tuple(lines) or ("Nothing is decided yet.",))
