"""What ``intent-ctl`` changes: grant, revoke, forget, stop (SPEC §11.2; ``ctl`` documents the JSON)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from broker import app as apps
from broker import catalog, history, journal, known, live, moving, overrides, record, removal, running, runs, views
from intents import decide, diff, errors, kinds, model, paths, risk, rules
from intents.kinds import network

_DURATION = re.compile(r"([1-9][0-9]{0,3})([mhd])")
_SECONDS = {"m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Granted:
    """One intent about to be granted."""

    intent: model.Intent
    risk: model.Risk
    life: model.Life
    scopes: tuple[model.Scope, ...]  # what of it the policy leaves to decide
    withheld: str | None

    def as_data(self) -> dict[str, object]:
        return {
            "intent": self.intent.id,
            "scope": kinds.to_data(self.intent.scope),
            "granted": [kinds.to_data(scope) for scope in self.scopes],
            "risk": self.risk.word,
            "span": self.life.span.value,
            "until": self.life.until or None,
            "withheld": self.withheld,
        }


def span(text: str | None) -> tuple[model.Lifespan | None, int]:
    """What ``--for`` says: a lifespan, or None for the usual one, and its length in seconds if it is UNTIL.

    Raises DecisionError ``bad-duration`` or, for ``once``, ``lifespan-unavailable``.
    """
    if text is None:
        return None, 0
    if text in (model.Lifespan.SESSION, model.Lifespan.FOREVER):
        return model.Lifespan(text), 0
    if text == model.Lifespan.ONCE:
        why = "`once` ends with the start it was given for, so only the question at a start can give it"
        raise errors.DecisionError("lifespan-unavailable", why, hint="Use `session`, `forever` or a time such as `8h`.")
    found = _DURATION.fullmatch(text)
    if not found:
        raise errors.DecisionError(
            "bad-duration", f"`{paths.printable(text)}` is neither `session`, `forever` nor a time such as `8h`"
        )
    return model.Lifespan.UNTIL, int(found[1]) * _SECONDS[found[2]]


def grant(
    at: known.Here, name: str, ids: Sequence[str], how_long: str | None, confirmed: Sequence[str], *, now: bool = False
) -> known.Report:
    """Allow intents, for ``forever`` or, from high risk on, for the session unless said otherwise.

    confirmed: ids named a second time, as anything critical has to be; now: also in what runs. Answers for a publisher
    nobody agreed to pin it. Raises DecisionError, RefusedError for what no answer can grant, SignatureError.
    """
    wanted, seconds = span(how_long)
    with journal.Journal.open(at.places) as book:
        found = known.find(at, book, name, changing=True)
    app, delta = found.settled()
    intents = [found.intent(each) for each in dict.fromkeys(ids)]
    granted = [_granted(at, app, delta, intent, wanted, seconds) for intent in intents]
    _confirm(found, granted, confirmed)
    entries = record.publisher(app, delta.vetted, at.now)
    for each in granted:
        made = decide.decisions(
            each.intent, each.scopes, model.Effect.ALLOW, each.life, app.objects, source="command", now=at.now
        )
        entries += [history.decided(found.app_id, found.lineage, decision) for decision in made]
    record.commit(at.places, found.app_id, at.now, entries)
    new = delta.vetted.trust is model.Trust.FIRST_USE
    pinned = delta.vetted.fingerprint if new else None
    outcomes = running.give(at, found, [intent.id for intent in intents]) if now else ()
    instances = _running(at, found.app_id)
    data = {
        "app": found.app_id,
        "lineage": found.lineage,
        "granted": [each.as_data() for each in granted],
        "pinned": pinned,
        "running": [instance.as_data() for instance in instances],
        "now": [running.as_data(outcome) for outcome in outcomes] if now else None,
    }
    lines = [line for each in granted for line in _grant_lines(app, each)]
    lines += [f"From now on {found.app_id} belongs to {pinned}."] if new else []
    if now:
        lines += [line for outcome in outcomes for line in _given(outcome, at.places.home)]
    else:
        lines += [f"pid {instance.pid} does not get it before its next start, or with --now." for instance in instances]
    return known.Report(data=data, lines=tuple(lines))


def _granted(
    at: known.Here,
    app: apps.App,
    delta: model.Delta,
    intent: model.Intent,
    wanted: model.Lifespan | None,
    seconds: int,
) -> _Granted:
    change = delta.change(intent.id)
    rules.refuse_locked(change, decides=bool(change.free))
    scopes = change.free
    exposed = risk.of_intent(intent, app.host, delta.vetted.trust)
    usual = model.Lifespan.FOREVER if exposed <= model.Risk.NORMAL else model.Lifespan.SESSION
    life = decide.life(wanted or usual, at.now, seconds=seconds, trust=delta.vetted.trust)
    withheld = None
    try:
        for scope in scopes:
            scope.ops(app.host, intent.id)
    except errors.HostError as error:
        withheld = error.message
    return _Granted(intent=intent, risk=exposed, life=life, scopes=scopes, withheld=withheld)


def _confirm(found: known.Known, granted: Sequence[_Granted], confirmed: Sequence[str]) -> None:
    open_ids = [e.intent.id for e in granted if e.risk >= model.Risk.CRITICAL and e.intent.id not in confirmed]
    if open_ids:
        app, _ = found.settled()
        intent = next(each.intent for each in granted if each.intent.id == open_ids[0])
        raise errors.DecisionError(
            "not-confirmed",
            f"`{intent.id}` is critical: {intent.scope.phrase(app.host).allows}",
            hint="If you mean it, add " + " ".join(f"--confirm {name}" for name in open_ids),
        )


def _grant_lines(app: apps.App, each: _Granted) -> list[str]:
    whole = each.scopes == each.intent.scope.parts()
    phrases = [scope.phrase(app.host) for scope in ((each.intent.scope,) if whole else each.scopes)]
    loud, how_long = views.risk_words(each.risk), views.how_long(each.life)
    lines = [f"{app.manifest.app.id}: {each.intent.id} is allowed {how_long} ({loud})."]
    lines += [f"  {words}" for phrase in phrases for words in (phrase.allows, *phrase.notes)]
    lines += [] if whole else ["  The administrator has locked the rest of it."]
    return [*lines, f"  Not given for now: {each.withheld}."] if each.withheld else lines


def _given(outcome: live.Outcome, home: str) -> list[str]:
    nothing = not outcome.changed and not outcome.later and not outcome.servers
    return [f"pid {outcome.instance.pid} has it already."] if nothing else list(running.lines(outcome, home))


def revoke(at: known.Here, name: str, ids: Sequence[str], *, now: bool = False, stop: bool = False) -> known.Report:
    """Deny intents, or all and everything that was ever allowed, for good; also without a manifest.

    ids: of intents, and servers that one of them names, which alone are denied then. now: also in what runs; stop: end
    those instances in which something of it stays. Negative if, then, one has more left than what it had opened.
    Raises DecisionError ``unknown-intent``, ``unknown-app``, ``not-stopped`` and, for one that is named,
    ``locked-by-policy``.
    """
    with journal.Journal.open(at.places) as book:
        found = known.find(at, book, name, changing=True)
    meant, servers, scopes = _denied(found, ids)
    life = model.Life(span=model.Lifespan.FOREVER)
    denials = [_denial(intent_id, scope, life, at.now) for intent_id, scope in dict.fromkeys(scopes)]
    record.commit(
        at.places, found.app_id, at.now, [history.decided(found.app_id, found.lineage, each) for each in denials]
    )
    about = {*meant, *(name for name, _ in servers)}
    # What the user says is stored all the same: it counts once the rule is gone.
    changes = [change for change in (found.delta.changes if found.delta else ()) if change.intent.id in about]
    locks = [(change.intent.id, ruling) for change in changes for ruling in change.rulings if ruling.rule.locked]
    stays = {name: ruling.rule for name, ruling in locks if ruling.granted is not None}
    denied = [each for each in dict.fromkeys(decision.intent_id for decision in denials) if each not in stays]
    outcomes = running.take(at, found, denied) if now else ()
    ended = [outcome for outcome in outcomes if stop and (outcome.held or outcome.later)]
    if ended:
        runs.stop([outcome.instance for outcome in ended], kill=False)
    instances = _running(at, found.app_id)
    words = [each for each in denied if each in meant]
    words += [f"{part.targets[0].text} ({name})" for name, part in servers if name in denied]
    lines = [f"{found.app_id}: denied always: {', '.join(words) or 'nothing, it has no intents'}."]
    lines += [f"{each} stays allowed, by {rule.place}: “{rule.reason}”" for each, rule in stays.items()]
    for outcome in outcomes:
        lines += running.lines(outcome, at.places.home, stopped=outcome in ended, offer=True)
    lines += [] if now else [_keeps(instance) for instance in instances]
    data = {
        "app": found.app_id,
        "lineage": found.lineage,
        "denied": denied,
        "servers": [part.targets[0].text for _, part in servers],
        "locked": list(stays),
        "running": [instance.as_data() for instance in instances],
        "now": [running.as_data(outcome, stopped=outcome in ended) for outcome in outcomes] if now else None,
    }
    left = any(outcome.later for outcome in outcomes if outcome not in ended)
    return known.Report(data=data, lines=tuple(lines), negative=left)


_Servers = list[tuple[str, network.Network]]  # of each intent, a part that names one server


def _denied(found: known.Known, ids: Sequence[str]) -> tuple[set[str], _Servers, list[tuple[str, model.Scope]]]:
    """What a revocation is about: whole intents, servers of others, and all scopes. Raises as ``_meant`` does."""
    declared = diff.declared(found.app.manifest) if found.app else ()
    given = [decision for decision in found.live if decision.granted is not None]
    names = [*(intent.id for intent in declared), *(decision.intent_id for decision in given)]
    parts = [(intent.id, part) for intent in declared for part in intent.scope.parts()]
    servers = [
        (name, part)
        for name, part in parts
        if isinstance(part, network.Network)
        and any(word in (each.host, each.text) for each in part.targets for word in ids if word not in names)
    ]
    called = {word for _, part in servers for each in part.targets for word in (each.host, each.text)}
    rest = [word for word in ids if word in names or word not in called]
    meant = _meant(found, rest, names) if rest or not ids else set()
    for name, _ in servers:
        _meant(found, [name], names)
    scopes: list[tuple[str, model.Scope]] = [(name, part) for name, part in parts if name in meant]
    scopes += [(decision.intent_id, decision.asked) for decision in given if decision.intent_id in meant]
    return meant, servers, [*scopes, *servers]


def _meant(found: known.Known, ids: Sequence[str], names: Sequence[str]) -> set[str]:
    """The intents to revoke, all of ``names`` unless some are named. Raises DecisionError."""
    for each in ids:
        if each not in names:
            raise known.unknown_intent(found, each, list(dict.fromkeys(names)))
        if found.delta and found.app and found.app.manifest.intent(each):
            change = found.delta.change(each)
            rules.refuse_locked(change, decides=not change.locked)
    return set(ids or names)


def _denial(intent_id: str, scope: model.Scope, life: model.Life, now: model.Clock) -> model.Decision:
    return model.Decision(
        intent_id=intent_id, asked=scope, granted=None, life=life, objects=(), source="command", at=now.wall
    )


def _keeps(instance: runs.Instance) -> str:
    return f"pid {instance.pid} keeps what it has until it ends: intent-ctl stop {instance.pid}"


def forget(at: known.Here, name: str, *, data: bool, trial: bool = False) -> known.Report:
    """Let no earlier decision about the app count any more, of whatever publisher; pins and serials stay.

    data: remove the app's private directories, too; trial: only say what would be done. Raises DecisionError
    ``still-running``, then before anything is done, ``unknown-app``, and HostError ``unwritable-place``.
    """
    with journal.Journal.open(at.places) as book:
        meant = known.ids(at, book, name)
        known.choose_one(name, list(meant))
        (app_id,) = meant
        lineages = known.lineages(book, app_id)
        count = sum(len(book.decisions(app_id, lineage)) for lineage in lineages)
    instances = _running(at, app_id)
    if data and instances:
        pids = ", ".join(str(instance.pid) for instance in instances)
        message = f"{app_id} still runs (pid {pids}) and would lose what it works on"
        raise errors.DecisionError("still-running", message, hint=f"intent-ctl stop {app_id}")
    # With its manifest, overrides start what asks again; without it, nothing.
    over = () if app_id in catalog.ids(at.places) else moving.EVERYTHING
    if trial:
        return _would_forget(at, app_id, count, over, data=data)
    record.commit(at.places, app_id, at.now, [history.forgotten(app_id, lineage) for lineage in lineages])
    removed = removal.remove(at.places, app_id) if data else ()
    undone = overrides.remove(at.places, app_id, over)
    lines = [f"{app_id}: {count} decisions no longer count."]
    lines += [f"removed {path}" for path in removed]
    lines += moving.said(undone)
    lines += [_keeps(instance) for instance in instances]
    found = {"app": app_id, "forgotten": count, "removed": [*removed, *(each.path for each in undone)]}
    return known.Report(data={**found, "running": [each.as_data() for each in instances]}, lines=tuple(lines))


def _would_forget(at: known.Here, app_id: str, count: int, over: Sequence[str], *, data: bool) -> known.Report:
    kept = removal.measure(at.places, app_id) if data else ()
    installed = [each.path for each in overrides.recorded(at.places) if each.app_id == app_id and each.what in over]
    lines = [f"{app_id}: {count} decisions would no longer count."]
    lines += [f"would remove {path} ({files} files, {size} bytes)" for path, files, size in kept]
    lines += [f"would take back {path}" for path in installed]
    removed = [*(path for path, _, _ in kept), *installed]
    data_ = {"app": app_id, "forgotten": count, "removed": removed, "running": []}
    return known.Report(data=data_, lines=tuple(lines))


def restore(at: known.Here, name: str) -> known.Report:
    """``intent-ctl restore``: let whatever lapsed of an app count again, as it was. Raises DecisionError."""
    with journal.Journal.open(at.places) as book:
        found = known.find(at, book, name, changing=True)
        lapsed = [each for each in book.decisions(found.app_id, found.lineage) if each.lapsed]
    if not lapsed:
        message = f"nothing that {found.app_id} was allowed has lapsed"
        raise errors.DecisionError("nothing-lapsed", message, hint=f"intent-ctl show {found.app_id}")
    record.commit(at.places, found.app_id, at.now, [history.restored(found.app_id, found.lineage)])
    rows = [{"intent": each.intent_id, "granted": kinds.to_data(each.granted or each.asked)} for each in lapsed]
    lines = [
        f"{found.app_id}: {each.intent_id} counts again, as on {views.day(each.at)}:"
        f" {views.scope_words(kinds.to_data(each.granted or each.asked))}"
        for each in lapsed
    ]
    return known.Report(data={"app": found.app_id, "restored": rows}, lines=tuple(lines))


def stop(at: known.Here, name: str, *, kill: bool) -> known.Report:
    """End the running instances of an app, or the one whose intent-run or sandbox has the number ``name``.

    kill: without asking it first. Raises DecisionError ``not-running``, ``not-stopped``.
    """
    with journal.Journal.open(at.places) as book:
        meant = () if name.isdigit() else known.ids(at, book, name)
    instances = [
        each
        for each in runs.instances(at.places)
        if each.app_id in meant or name in (str(each.pid), str(each.first or each.pid))
    ]
    if not instances:
        raise errors.DecisionError("not-running", f"nothing that runs is called `{paths.printable(name)}`")
    known.choose_one(name, list(dict.fromkeys(each.app_id for each in instances)))
    runs.stop(instances, kill=kill)
    with journal.Journal.open(at.places) as book:
        runs.sweep(at.places, book, at.now)
    lines = [f"{each.app_id} (pid {each.pid}) has ended." for each in instances]
    return known.Report(data={"stopped": [each.as_data() for each in instances]}, lines=tuple(lines))


def _running(at: known.Here, app_id: str) -> list[runs.Instance]:
    return [each for each in runs.instances(at.places) if each.app_id == app_id]
