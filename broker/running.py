"""What was decided, carried into the instances that run, and said (SPEC §11.7)."""

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from broker import app as apps
from broker import journal, known, live, runs, state, tried
from intents import compiler, decide, errors, model, paths, sandbox

PATIENCE = 15.0  # seconds for what is about to start: longer than its companions have
_POLL = 0.02
_NAMED = 5  # of what stays open, for people
_SORTS = {
    "file": "open file",
    "directory": "open directory",
    "working-directory": "working directory",
    "mapping": "file in memory",
}


def take(at: known.Here, found: known.Known, ids: Collection[str]) -> tuple[live.Outcome, ...]:
    """Take from every running instance of the app what its intents ``ids``, just denied, gave it."""

    def one(instance: runs.Instance, delta: model.Delta | None) -> live.Outcome:
        app = found.app
        whole = _box(app, delta, lambda verdict: _parts(verdict) if verdict.intent.id in ids else verdict.granted)
        left = _box(app, delta, lambda verdict: verdict.granted)
        declared = [intent.id for intent in app.manifest.intents] if app else ids
        outcome = live.take(instance, ids, whole, left, declared)
        names = [intent.id for intent in app.manifest.intents if intent.scope.kind == "dns"] if app else []
        if names and names[0] in ids and left and left.share("network"):
            why = "with the whole network it can ask a name server itself"
            outcome = dataclasses.replace(outcome, later=(*outcome.later, (names[0], why)))
        return outcome

    return _each(at, found, ids, one)


def give(at: known.Here, found: known.Known, ids: Sequence[str]) -> tuple[live.Outcome, ...]:
    """Put into every running instance what the intents ``ids``, just allowed, give."""

    def one(instance: runs.Instance, delta: model.Delta | None) -> live.Outcome:
        if instance.lineage != found.lineage or found.app is None:
            return _waiting(instance, ids, f"it is of another publisher: {live.NEXT}")
        has = {*ids, *instance.given, *(piece.intent for piece in instance.pieces)}
        box = _box(found.app, delta, lambda verdict: verdict.granted if verdict.intent.id in has else ())
        if box is None:
            return _waiting(instance, ids, f"{live.NEXT}, which cannot be told yet")
        return live.give(instance, ids, box, f"{found.app.host.apps}/{box.app_id}-{box.lineage}")

    return _each(at, found, ids, one)


def _each(
    at: known.Here,
    found: known.Known,
    ids: Collection[str],
    change: Callable[[runs.Instance, model.Delta | None], live.Outcome],
) -> tuple[live.Outcome, ...]:
    """Change one instance after the other by what the journal says now; two commands do not do so at once."""
    made = []
    with state.lock(at.places.lock_file("live", found.app_id)):
        with journal.Journal.open(at.places) as book:
            delta = found.app.delta(book, at.now) if found.app and found.delta else None
        for instance in _ready(at.places, found.app_id):
            try:
                if not instance.members():
                    raise TimeoutError("it has not started yet")
                made.append(change(instance, delta))
            except (OSError, errors.HostError) as error:
                if instance.running:
                    reason = error.message if isinstance(error, errors.HostError) else error.strerror or str(error)
                    made.append(_waiting(instance, ids, f"nothing changes in what runs ({reason})"))
    return tuple(made)


def _waiting(instance: runs.Instance, ids: Collection[str], why: str) -> live.Outcome:
    return live.Outcome(instance=instance, later=tuple((intent, why) for intent in ids))


def _ready(places: state.Places, app_id: str) -> list[runs.Instance]:
    """The instances that run, once those that are about to have their program in them."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = [each for each in runs.instances(places) if each.app_id == app_id]
        if all(each.members() for each in found) or time.monotonic() > deadline:
            return found
        time.sleep(_POLL)


def _parts(verdict: model.Verdict) -> tuple[model.Scope, ...]:
    return verdict.intent.scope.parts()


def _box(
    app: apps.App | None, delta: model.Delta | None, granted: Callable[[model.Verdict], tuple[model.Scope, ...]]
) -> sandbox.Sandbox | None:
    """The sandbox where each intent has what ``granted`` says, and none is needed; None where there can be none."""
    if app is None or delta is None:
        return None
    settled = decide.settle(delta)
    verdicts = tuple(
        dataclasses.replace(
            verdict, granted=granted(verdict), intent=dataclasses.replace(verdict.intent, optional=True)
        )
        for verdict in settled.verdicts
    )
    try:
        return compiler.compile_sandbox(dataclasses.replace(settled, verdicts=verdicts), app.host).sandbox
    except errors.IntentError:
        return None


def as_data(outcome: live.Outcome, *, stopped: bool = False) -> dict[str, object]:
    """pid, sandbox_pid, changed, closed, also, servers, open, later, stopped."""
    return {
        "pid": outcome.instance.pid,
        "sandbox_pid": outcome.instance.first,
        "changed": [dataclasses.asdict(row) for row in outcome.changed],
        "closed": list(outcome.closed),
        "also": list(outcome.also),
        "servers": [each.as_data() for each in outcome.servers],
        "open": [held.as_data() for held in outcome.held],
        "later": [{"intent": intent, "why": why} for intent, why in outcome.later],
        "stopped": stopped,
    }


def lines(outcome: live.Outcome, home: str, *, stopped: bool = False, offer: bool = False) -> Iterator[str]:
    """The same for people; home: what is ``~`` to them; offer: how to end what stays."""
    pid = f"pid {outcome.instance.pid}"
    yield from (f"{pid}: {words}." for words in _grouped(outcome.changed, home))
    yield from (f"{pid}: {each.words()}." for each in outcome.servers)
    for name in outcome.closed:
        yield f"{pid}: {name}: closed, with every connection to it."
    if outcome.also:
        yield f"{pid}: {', '.join(outcome.also)}: lost by that as well, until its next start."
    for intent, why in outcome.later:
        yield f"{pid}: {intent}: {why}."
    if outcome.held:
        yield f"{pid}: stays open: {_counted(outcome)}:"
        for held in outcome.held[:_NAMED]:
            yield f"    {paths.printable(held.program)} ({held.pid}): {_shown(held.place, home)}"
        more = len(outcome.held) - _NAMED
        yield from [f"    and {more} more"] if more > 0 else []
    if stopped:
        yield f"{pid} has ended."
    elif offer and (outcome.held or outcome.later):
        yield f"    To end that: intent-ctl stop {outcome.instance.pid}"


def told(instance: runs.Instance) -> dict[str, Any]:
    """``Instance.as_data`` and given (the intents it was started with), drift: what is mounted in it now and was not at
    its start, or was and is not, as changed of ``as_data``; null where it cannot be seen, tried: of its network."""
    found = live.drift(instance) if instance.first else ()
    drift = None if found is None else [dataclasses.asdict(row) for row in found]
    network = [each.as_data() for each in tried.merged(runs.tries(instance))]
    return {**instance.as_data(), "given": list(instance.given), "drift": drift, "tried": network}


def drift_lines(data: Mapping[str, Any], home: str, lead: str) -> Iterator[str]:
    """The drift of ``told`` for people, and the newest of what it tried."""
    if data["drift"] is None:
        yield f"{lead}what is mounted in it now cannot be seen"
    else:
        rows = [live.Changed(**row) for row in data["drift"]]
        yield from (f"{lead}since its start: {words}" for words in _grouped(rows, home))
    yield from (f"{lead}{tried.words(row)}" for row in data["tried"][:_NAMED])
    more = len(data["tried"]) - _NAMED
    yield from [f"{lead}and {more} more: intent-ctl uses {data['app']}"] if more > 0 else []


def _grouped(rows: Sequence[live.Changed], home: str) -> Iterator[str]:
    """A clause for each intent and what became of it, with the places if they are few."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        found.setdefault((row.intent, _became(row)), []).append(_shown(row.place, home))
    for (intent, became), places in found.items():
        more = f" and {len(places) - _NAMED} more places" if len(places) > _NAMED else ""
        yield f"{intent}: {', '.join(places[:_NAMED])}{more}: {became}"


def _became(row: live.Changed) -> str:
    match row.before, row.after:
        case _, None:
            return "gone from it"
        case None, "read":
            return "there now, to be read"
        case None, "write":
            return "there now, to be read and changed"
        case None, _:
            return "there now"
        case _, "read":
            return "only to be read now"
        case _:
            return "to be changed as well now"


def _counted(outcome: live.Outcome) -> str:
    counts = Counter(held.sort for held in outcome.held)
    found = [f"{count} {_plural(_SORTS[sort], count)}" for sort, count in counts.items()]
    below = " (all below it is still reached)" if {"directory", "working-directory"} & counts.keys() else ""
    return ", ".join(found) + below


def _plural(words: str, count: int) -> str:
    if count == 1:
        return words
    return words.replace("file", "files") if "file" in words else words.replace("directory", "directories")


def _shown(place: str, home: str) -> str:
    return paths.printable("~" + place[len(home) :] if paths.inside(place, home) else place)
