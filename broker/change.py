"""Everything that can be answered about one intent: nothing, less than all of it, all of it (SPEC §11.2).

``ctl`` documents the JSON of ``intent-ctl choose``, docs/protocol.md the same for front-ends.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from broker import commands, history, journal, known, protocol, record, runs, views
from intents import decide, errors, kinds, model, paths, risk, rules

_HOURS = 8  # what `until` is for, where no time is named


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One answer. scopes: what it gives, nothing for a denial; title and allows: our words; chosen: it is so now.

    spans: for how long it can be given, shortest first; usual: one of them.
    """

    name: str
    scopes: tuple[model.Scope, ...]
    title: str
    allows: str
    risk: model.Risk
    spans: tuple[model.Lifespan, ...]
    usual: model.Lifespan
    chosen: bool

    def as_data(self) -> dict[str, object]:
        """offer, scopes, title, allows, risk, spans, usual, chosen."""
        return {
            "offer": self.name,
            "scopes": [kinds.to_data(scope) for scope in self.scopes],
            "title": self.title,
            "allows": self.allows,
            "risk": self.risk.word,
            "spans": [span.value for span in self.spans],
            "usual": self.usual.value,
            "chosen": self.chosen,
        }


def offers(at: known.Here, found: known.Known, intent: model.Intent) -> tuple[Offer, ...]:
    """The answers there are, what gives least first; none about what the administrator has locked.

    Raises the trouble there is with the app.
    """
    app, delta = found.settled()
    change = delta.change(intent.id)
    if not change.free:
        return ()
    trust, host = delta.vetted.trust, app.host
    offered = decide.lifespans(trust, session_available=bool(at.now.session))
    spans = tuple(span for span in offered if span is not model.Lifespan.ONCE) or offered
    parts = change.free
    less = [scope for part in parts for scope in (*((part,) if len(parts) > 1 else ()), *part.narrower())]
    given = [scope for scope in change.granted if any(part.covers(scope) for part in parts)]
    whole = not change.open and set(given) == set(parts)

    def offer(name: str, scopes: tuple[model.Scope, ...], *, chosen: bool) -> Offer:
        phrases = [scope.phrase(host) for scope in scopes]
        weight = risk.of(scopes, host, trust) if scopes else model.Risk.LOW
        careful = weight > model.Risk.NORMAL
        usual = model.Lifespan.SESSION if careful and model.Lifespan.SESSION in spans else spans[-1]
        return Offer(
            name=name,
            scopes=scopes,
            title=phrases[0].title if phrases else "nothing",
            allows=" ".join(dict.fromkeys(phrase.allows for phrase in phrases)),
            risk=weight,
            spans=spans,
            usual=usual,
            chosen=chosen,
        )

    made = [offer("deny", (), chosen=not change.open and not given)]
    for number, scope in enumerate(reversed(less), 1):
        chosen = not whole and not change.open and given == [scope]
        made.append(offer(f"less-{number}", (scope,), chosen=chosen))
    everything = (intent.scope,) if set(parts) == set(intent.scope.parts()) else parts
    made.append(offer("allow", everything, chosen=whole))
    return tuple(each for each in made if each.risk is not model.Risk.FORBIDDEN)


def shown(found: known.Known, intent: model.Intent, made: Sequence[Offer]) -> str:
    """The SHA-256 of the answers as they are put to the user; whoever picks one names it."""
    told = [found.app_id, found.lineage, intent.id, [each.as_data() for each in made]]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def choose(
    at: known.Here, name: str, intent_id: str, picked: str | None, how_long: str | None, confirmed: Sequence[str]
) -> known.Report:
    """``intent-ctl choose``: the answers there are about an intent, or giving one of them.

    how_long: as ``--for`` says; confirmed: ids named a second time. Raises DecisionError.
    """
    wanted, seconds = commands.span(how_long)
    with journal.Journal.open(at.places) as book:
        found = known.find(at, book, name, changing=picked is not None)
    intent = found.intent(intent_id)
    made = offers(at, found, intent)
    rules.refuse_locked(found.settled()[1].change(intent.id), decides=bool(made))
    if picked is None:
        data = {"app": found.app_id, "intent": intent.id, "offers": [each.as_data() for each in made]}
        return known.Report(data=data, lines=tuple(line for each in made for line in _lines(each)))
    return give(at, found, intent, _named(found, intent, made, picked), wanted, seconds, sure=intent.id in confirmed)


def give(
    at: known.Here,
    found: known.Known,
    intent: model.Intent,
    picked: Offer,
    span: model.Lifespan | None,
    seconds: int,
    *,
    sure: bool,
    still: Callable[[journal.Journal], object] = lambda _: None,
) -> known.Report:
    """Record one answer. sure: it was said twice, as what is critical has to be.

    still: raises when it is too late to. Raises DecisionError, RefusedError.
    """
    app, delta = found.settled()
    if picked.scopes and picked.risk >= model.Risk.CRITICAL and not sure:
        message = f"`{intent.id}` is critical: {picked.allows}"
        raise errors.DecisionError("not-confirmed", message, hint=f"If you mean it, add --confirm {intent.id}")
    withheld = None
    try:
        for scope in picked.scopes:
            scope.ops(app.host, intent.id)
    except errors.HostError as error:
        withheld = error.message
    life = decide.life(span or picked.usual, at.now, seconds=seconds or _HOURS * 3600, trust=delta.vetted.trust)
    effect = model.Effect.ALLOW if picked.scopes else model.Effect.DENY
    narrowed = None if picked.name in ("allow", "deny") else picked.scopes
    entries = record.publisher(app, delta.vetted, at.now)
    for decision in decide.decisions(
        intent, delta.change(intent.id).free, effect, life, app.objects, narrowed, source="command", now=at.now
    ):
        entries.append(history.decided(found.app_id, found.lineage, decision))

    def kept(book: journal.Journal) -> list[history.Entry]:
        still(book)
        return entries

    record.commit_by(at.places, found.app_id, at.now, kept)
    return _given(at, found, intent, picked, life, withheld)


def _given(
    at: known.Here, found: known.Known, intent: model.Intent, picked: Offer, life: model.Life, withheld: str | None
) -> known.Report:
    verb = "is denied" if not picked.scopes else "is allowed" if picked.name == "allow" else "is allowed in part"
    loud = f" ({views.risk_words(picked.risk)})" if picked.scopes else ""
    lines = [f"{found.app_id}: {intent.id} {verb} {views.how_long(life)}{loud}."]
    lines += [f"  {picked.allows}"] if picked.allows else []
    lines += [f"  Not given for now: {withheld}."] if withheld else []
    running = [each for each in runs.instances(at.places) if each.app_id == found.app_id]
    lines += [f"pid {each.pid} keeps what it has until it ends: intent-ctl stop {each.pid}" for each in running]
    data = {
        "app": found.app_id,
        "lineage": found.lineage,
        "intent": intent.id,
        "offer": picked.name,
        "granted": [kinds.to_data(scope) for scope in picked.scopes],
        "risk": picked.risk.word,
        "span": life.span.value,
        "until": life.until or None,
        "withheld": withheld,
        "running": [each.as_data() for each in running],
    }
    return known.Report(data=data, lines=tuple(lines))


def change(at: known.Here, values: Mapping[str, object]) -> Mapping[str, object]:
    """The protocol's method ``change``: the same for a front-end, which names what it showed (docs/protocol.md)."""
    read = {key: protocol.read_text(values, key) for key in ("app", "intent", "offer", "span", "shown")}

    def shown_still(book: journal.Journal) -> tuple[known.Known, model.Intent, tuple[Offer, ...]]:
        found = known.find(at, book, read["app"], changing=True)
        intent = found.intent(read["intent"])
        made = offers(at, found, intent)
        if shown(found, intent, made) != read["shown"]:
            raise protocol.question_changed(f"{found.app_id} {intent.id}")
        return found, intent, made

    with journal.Journal.open(at.places) as book:
        found, intent, made = shown_still(book)
    picked = _named(found, intent, made, read["offer"])
    if read["span"] not in picked.spans:
        raise protocol.not_on_offer(f"{found.app_id} {intent.id}")
    span = model.Lifespan(read["span"])
    sure = values.get("sure") is True
    return give(at, found, intent, picked, span, 0, sure=sure, still=shown_still).data


def _named(found: known.Known, intent: model.Intent, made: Sequence[Offer], name: str) -> Offer:
    for each in made:
        if each.name == name:
            return each
    offered = ", ".join(f"`{each.name}`" for each in made)
    message = f"`{paths.printable(name)}` is no answer about `{intent.id}`: there are {offered}"
    raise errors.DecisionError("unknown-offer", message, hint=f"intent-ctl choose {found.app_id} {intent.id}")


def _lines(each: Offer) -> list[str]:
    what = f"  {each.title}  ({views.risk_words(each.risk)})" if each.scopes else ""
    lines = [f"{'*' if each.chosen else ' '} {each.name}{what}"]
    return [*lines, f"    {each.allows}"] if each.allows else lines
