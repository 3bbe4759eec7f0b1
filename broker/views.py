"""What ``intent-ctl`` shows and does not change: list, show, ps (SPEC §11.2; ``ctl`` documents the JSON)."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from broker import app as apps
from broker import catalog, history, journal, known, prompts, running, runs
from broker.ui import wording
from intents import compiler, decide, errors, kinds, model, parse, paths, risk, rules, trace

_STATES = ("allowed", "partly", "denied", "open")


def day(at: int) -> str:
    """A moment (seconds since the epoch) in local time."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def how_long(life: model.Life) -> str:
    """How long a decision holds, as read after ``allowed`` or ``denied``."""
    match life.span:
        case model.Lifespan.ONCE:
            return "this once"
        case model.Lifespan.SESSION:
            return "for this session"
        case model.Lifespan.UNTIL:
            return f"until {day(life.until)}"
        case model.Lifespan.FOREVER:
            return "always"


def risk_words(level: model.Risk) -> str:
    """The risk as a word; loud ones are upper case, so that nothing depends on colour."""
    return f"{level.word.upper() if level >= model.Risk.HIGH else level.word} risk"


def scope_words(scope: Mapping[str, object]) -> str:
    """A scope's data in one line: ``network scope=host``."""
    return " ".join((str(scope["kind"]), *(f"{key}={value}" for key, value in sorted(scope.items()) if key != "kind")))


def pin_data(pin: model.Pin | None) -> dict[str, object] | None:
    """A remembered publisher as JSON: app, lineage, fingerprint, serial, digest, since."""
    if pin is None:
        return None
    data = asdict(pin)
    return {"app": data.pop("app_id"), **data}


def list_apps(at: known.Here, *, everything: bool) -> known.Report:
    """Apps with decisions, or also every one of the catalogs."""
    with journal.Journal.open(at.places) as book:
        runs.sweep(at.places, book, at.now)
        instances = [(instance.app_id, instance.lineage) for instance in runs.instances(at.places)]
        decided = sorted({app_id for app_id, lineage in book.apps() if book.decisions(app_id, lineage)})
        rows = [row for app_id in decided for row in _rows(at, book, app_id)]
    if everything:
        rows += [_row_of_catalog(at, app_id) for app_id in catalog.ids(at.places) if app_id not in decided]
    for row in rows:
        row["running"] = instances.count((str(row["app"]), str(row["lineage"])))
    lines = [line for row in rows for line in _list_lines(row)]
    empty = "Nothing is decided yet." if not everything else "There is no manifest here."
    return known.Report(data={"apps": rows}, lines=tuple(lines) or (empty,))


def _rows(at: known.Here, book: journal.Journal, app_id: str) -> list[dict[str, object]]:
    """One row for the lineage that counts, and one for each other that decisions are stored for."""
    found = known.find(at, book, app_id, changing=False)
    others = [lineage for lineage in known.lineages(book, app_id) if book.decisions(app_id, lineage)]
    rows = []
    for lineage in dict.fromkeys((found.lineage, *others)):
        if lineage == found.lineage and found.delta:
            states = {verdict.intent.id: state_of(verdict, change) for verdict, change in verdicts(found.delta)}
        else:
            states = _remembered(known.live(at, book, app_id, lineage))
        rows.append(_row(at, app_id, lineage, found, states, _unanswered(book, app_id, lineage)))
    return rows


def _unanswered(book: journal.Journal, app_id: str, lineage: str) -> int:
    """How often somebody was asked since the last answer, and gave none."""
    return sum(map(history.asked, book.pending(app_id, lineage)))


def _remembered(live: Sequence[model.Decision]) -> dict[str, str]:
    """What the newest decision that names an intent says, for want of a manifest."""
    return {each.intent_id: "denied" if each.granted is None else "allowed" for each in reversed(live)}


def _row(
    at: known.Here, app_id: str, lineage: str, found: known.Known, states: Mapping[str, str], pending: int
) -> dict[str, object]:
    app = found.app.manifest.app if found.app else None
    by_state = {word: [name for name, state in states.items() if state == word] for word in _STATES}
    return {
        **_names(app_id, app, found.app.found.path if found.app else None),
        "lineage": lineage,
        "current": lineage == found.lineage,
        **by_state,
        "unanswered": pending,
        "last_used": runs.last_used(at.places, app_id),
        "trouble": errors.as_data(found.trouble) if found.trouble else None,
    }


def _row_of_catalog(at: known.Here, app_id: str) -> dict[str, object]:
    nothing: dict[str, object] = {word: [] for word in _STATES}
    nothing |= {"lineage": None, "current": True, "unanswered": 0, "last_used": None}
    row = {**_names(app_id, None, None), **nothing}
    try:
        (found,) = catalog.find(app_id, at.places)
        manifest = parse.parse(found.body, file=found.path)
    except errors.IntentError as error:
        return {**row, "trouble": errors.as_data(error)}
    opened = [intent.id for intent in manifest.intents]
    return {**row, **_names(app_id, manifest.app, found.path), "open": opened, "trouble": None}


def _names(app_id: str, app: model.App | None, manifest: str | None) -> dict[str, object]:
    return {
        "app": app_id,
        "name": app.name if app else None,
        "version": app.version if app else None,
        "aliases": list(app.aliases) if app else [],
        "manifest": manifest,
    }


def _list_lines(row: Mapping[str, object]) -> list[str]:
    aliases = row["aliases"]
    assert isinstance(aliases, list)
    words = [str(row["app"])]
    words += [wording.quote(f"{row['name']} {row['version']}")] if row["name"] else ["(no manifest)"]
    words += [f"({', '.join(aliases)})"] if aliases else []
    words += [] if row["current"] else [f"of another publisher ({row['lineage']})"]
    words += [f"running: {row['running']}"] if row["running"] else []
    lines = ["  ".join(words)]
    states = [f"{word}: {', '.join(names)}" for word in _STATES if isinstance(names := row[word], list) and names]
    lines += [f"    {'   '.join(states)}"] if states else []
    trouble = row["trouble"]
    return [*lines, f"    {trouble['message']}"] if isinstance(trouble, dict) else lines


def show(at: known.Here, name: str) -> known.Report:
    """One app as it would be started now: from the same manifest, decisions and host."""
    with journal.Journal.open(at.places) as book:
        runs.sweep(at.places, book, at.now)
        found = known.find(at, book, name, changing=False)
        pin = book.pin(found.app_id)
        unread = book.unreadable(found.app_id, found.lineage)
        pending = _unanswered(book, found.app_id, found.lineage)
    instances = [running.told(each) for each in runs.instances(at.places) if each.app_id == found.app_id]
    intents = [_intent(found, *pair) for pair in verdicts(found.delta)] if found.delta else []
    unused = _unused(found)
    blocked = _blocked(found)
    app = found.app.manifest.app if found.app else None
    data: dict[str, object] = {
        **_names(found.app_id, app, found.app.found.path if found.app else None),
        "serial": app.serial if app else None,
        "command": list(app.command) if app else None,
        "files": (decide.settle(found.delta).files or None) if found.delta else None,
        "lineage": found.lineage or None,
        "trust": found.delta.vetted.trust.value if found.delta else None,
        "fingerprint": found.app.key.fingerprint if found.app and found.app.key else None,
        "pin": pin_data(pin),
        "trouble": errors.as_data(found.trouble) if found.trouble else None,
        "intents": intents,
        "together": _together(found),
        "unused": [trace.decision_data(decision) for decision in unused],
        "unreadable": list(unread),
        "unanswered": pending,
        "would_not_start": errors.as_data(blocked) if blocked else None,
        "last_used": runs.last_used(at.places, found.app_id),
        "running": instances,
    }
    runs_now: list[str] = []
    for each in instances:
        runs_now.append(f"  running    pid {each['pid']}, since {day(each['started'])}")
        runs_now += running.drift_lines(each, at.places.home, " " * 13)
    return known.Report(data=data, lines=tuple(_show_lines(found, data, pin, runs_now)))


def _together(found: known.Known) -> list[str]:
    """What the granted scopes make possible in combination."""
    granted = [scope for change in (found.delta.changes if found.delta else ()) for scope in change.granted]
    return [sentence for _, sentence in risk.together(granted, (), found.app.host)] if found.app else []


def verdicts(delta: model.Delta) -> list[tuple[model.Verdict, model.Change]]:
    """Each declared intent as it is settled, and how it stands against the decisions."""
    return list(zip(decide.settle(delta).verdicts, delta.changes, strict=True))


def state_of(verdict: model.Verdict, change: model.Change) -> str:
    """``allowed``, ``partly``, ``denied`` or ``open``."""
    if verdict.granted:
        return "allowed" if verdict.whole else "partly"
    return "open" if change.open else "denied"


def state_words(state: str) -> str:
    """What ``state_of`` gives, as it is said."""
    return {"partly": "partly allowed", "open": "not decided"}.get(state, state)


def _blocked(found: known.Known) -> errors.IntentError | None:
    """Why a start would end before the sandbox, as far as that can be told without one."""
    if found.app is None or found.delta is None:
        return None
    if (refused := rules.refusal(found.delta)) is not None:
        return refused
    try:
        compiler.compile_sandbox(decide.settle(found.delta), found.app.host)
    except errors.IntentError as error:
        return error
    return None


def _intent(found: known.Known, verdict: model.Verdict, change: model.Change) -> dict[str, object]:
    """One intent in words and in data. ``allows`` is about what is granted, or about all of it if nothing is."""
    app, delta = found.settled()
    intent = verdict.intent
    phrases = [scope.phrase(app.host) for scope in verdict.granted or (intent.scope,)]
    return {
        "intent": intent.id,
        "scope": kinds.to_data(intent.scope),
        "optional": intent.optional,
        "state": state_of(verdict, change),
        "because": verdict.because,
        "granted": [kinds.to_data(scope) for scope in verdict.granted],
        "denied": [kinds.to_data(scope) for scope in change.denied],
        "open": [kinds.to_data(scope) for scope in change.open],
        "risk": risk.of_intent(intent, app.host, delta.vetted.trust).word,
        "allows": list(dict.fromkeys(phrase.allows for phrase in phrases)),
        "notes": list(dict.fromkeys(note for phrase in phrases for note in phrase.notes)),
        "lapsed": change.lapsed,
        "withheld": withheld(app, intent.id, verdict.granted or (intent.scope,)),
        "reason": intent.reason,
        "if_denied": intent.if_denied,
        "decisions": [trace.decision_data(each) for each in found.live if each.seq in change.decided_by],
        "locked": change.locked,
        "rules": list(trace.rules_data(change)),
    }


def withheld(app: apps.App, intent_id: str, scopes: Sequence[model.Scope]) -> str | None:
    """Why this host would not give these scopes even if they are granted, or None: what the compiler would find."""
    try:
        for scope in scopes:
            scope.ops(app.host, intent_id)
    except (errors.HostError, errors.RefusedError) as error:
        return error.message
    return None


def _show_lines(
    found: known.Known, data: Mapping[str, object], pin: model.Pin | None, runs_now: Sequence[str]
) -> list[str]:
    app = found.app.manifest.app if found.app else None
    where = f"{found.app.found.path}, serial {found.app.manifest.app.serial}" if found.app else "none that can be read"
    lines = [found.app_id]
    if app:
        lines.append(f"  app says   its name is {wording.quote(app.name)}, version {wording.quote(app.version)}")
    lines += [f"  manifest   {where}", f"  publisher  {_publisher(found, pin)}"]
    used = data["last_used"]
    lines += [f"  last used  {day(used)}"] if isinstance(used, int) else []
    lines += runs_now
    lines += [f"  trouble    {found.trouble.message}", f"  next       {found.trouble.hint}"] if found.trouble else []
    intents = data["intents"]
    assert isinstance(intents, list)
    lines += [line for intent in intents for line in _intent_lines(found, intent)]
    lines += [f"!! {sentence}" for sentence in _together(found)]
    for decision in _unused(found):
        effect = "denied" if decision.granted is None else "allowed"
        scope = scope_words(kinds.to_data(decision.granted or decision.asked))
        lines.append(f"{decision.intent_id}  {effect} {how_long(decision.life)}, not asked for now: {scope}")
    if data["unreadable"]:
        lines.append("Some decisions were made by a newer version: they and what is older of their kind do not count.")
    if data["unanswered"]:
        lines.append(f"Asked and not answered: {data['unanswered']} times.")
    blocked = data["would_not_start"]
    return [*lines, f"It would not start: {blocked['message']}"] if isinstance(blocked, dict) else lines


def _unused(found: known.Known) -> list[model.Decision]:
    """The live decisions about what is not declared now, without those that a newer one took the place of."""
    standing: list[model.Decision] = []
    for decision in found.delta.withdrawn if found.delta else found.live:
        if not any(newer.asked.covers(decision.asked) for newer in standing):
            standing.append(decision)
    return standing


def _publisher(found: known.Known, pin: model.Pin | None) -> str:
    key = found.app.key.fingerprint if found.app and found.app.key else ""
    match found.delta.vetted.trust if found.delta else None:
        case model.Trust.VOUCHED:
            return "the catalog vouches for it" + (f"; signed by {key}" if key else "")
        case model.Trust.PINNED if pin:
            return f"{key}, which you agreed to on {day(pin.since)}"
        case model.Trust.FIRST_USE:
            return f"{key}, which you have not agreed to"
        case _:
            known_as = f"{pin.fingerprint or 'the catalog'} since {day(pin.since)}" if pin else "nobody you agreed to"
            return f"{known_as}" + (f"; the manifest is signed by {key}" if key else "")


def _intent_lines(found: known.Known, intent: Mapping[str, object]) -> list[str]:
    _, delta = found.settled()
    change = next(change for change in delta.changes if change.intent.id == intent["intent"])
    loud = risk_words(model.Risk[str(intent["risk"]).upper()])
    needed = "optional" if change.intent.optional else "needed to start"
    decisions = [decision for decision in found.live if decision.seq in change.decided_by]
    state = state_words(str(intent["state"]))
    held = f" {how_long(decisions[0].life)}" if decisions and not change.open else ""
    held = ", locked" if intent["locked"] else held
    lines = [f"{change.intent.id}  {state}{held}  ({loud}, {needed})"]
    allows, notes = intent["allows"], intent["notes"]
    assert isinstance(allows, list) and isinstance(notes, list)
    lines += [f"    {'' if change.granted else 'if allowed: '}{words}" for words in allows]
    lines += [f"    {words}" for words in notes]
    lines += [f"    denied: {scope_words(kinds.to_data(scope))}" for scope in change.denied if change.granted]
    lines += [f"    not decided: {scope_words(kinds.to_data(scope))}" for scope in change.open if change.granted]
    for place, then, now in change.moved:
        lines.append(f"    {paths.printable(prompts.moved((place, then, now)))}")
    if change.lapsed:
        how = f"intent-ctl restore {found.app_id}"
        lines.append(f"    not used for 90 days: that you allowed it before counts no longer. As before: {how}")
    lines += [f"    administrator: {trace.rule_words(row)}" for row in trace.rules_data(change)]
    lines += [f"    not given here: {intent['withheld']}"] if intent["withheld"] else []
    lines += [f"    app says {wording.quote(change.intent.reason)}"] if change.intent.reason else []
    lines += [f"    decided {day(decision.at)} by {decision.source}" for decision in decisions]
    return lines


def ps(at: known.Here) -> known.Report:
    """What runs now, and what changed in it since its start. Records of what does not are folded into history and
    removed."""
    with journal.Journal.open(at.places) as book:
        runs.sweep(at.places, book, at.now)
    rows = [(each, running.told(each)) for each in runs.instances(at.places)]
    head = (f"{'PID':>8}  {'STARTED':16}  APP",) if rows else ("Nothing runs.",)
    lines = []
    for each, data in rows:
        lines.append(f"{each.pid:>8}  {day(each.at)}  {each.app_id}")
        lines += running.drift_lines(data, at.places.home, " " * 10)
    return known.Report(data={"instances": [data for _, data in rows]}, lines=(*head, *lines))
