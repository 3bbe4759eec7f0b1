"""What a front-end is asked and what it answers: the port between the launch and whoever decides (SPEC §8.4).

``request`` builds the question purely from the scopes that will be compiled, so what is shown is what is given.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from intents import decide, facts, model, risk, text, usual

HOURS = 8
_SETTLED = {
    (model.Effect.DENY, True): text.template("Locked by the administrator, denied: {titles}. Reason: “{reason}”"),
    (model.Effect.ALLOW, True): text.template("Locked by the administrator, allowed: {titles}. Reason: “{reason}”"),
    (model.Effect.DENY, False): text.template("Default of the administrator, denied: {titles}. Reason: “{reason}”"),
    (model.Effect.ALLOW, False): text.template("Default of the administrator, allowed: {titles}. Reason: “{reason}”"),
}
Trait = tuple[str, str]  # a word of ``risk.traits``, and the title of the scope that has it


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """Less than what an intent asks for, that can be given instead: ``scopes`` and nothing else; the rest our words."""

    scopes: tuple[model.Scope, ...]
    title: str
    allows: str
    risk: model.Risk
    notes: tuple[str, ...] = ()
    traits: tuple[Trait, ...] = ()
    unusual: str = ""


# What a place that the user names comes to, given instead of the intent with that id: narrowings, widest first, or our
# sentence why it cannot be given.
Elsewhere = Callable[[str, str], tuple[Narrowing, ...] | text.Said]
Weigh = Callable[[model.Scope], model.Risk]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One intent with something left to decide.

    title, allows, notes and parts are our words, computed from the open scopes; parts has one sentence for each thing
    that could be granted alone, and is empty when there is only one. reason and if_denied are the app's claims, raw.
    changed: "" in a first handshake, else "new", "wider", "unused" or "moved"; moves: what leads elsewhere. open: what
    is left to decide; narrower: what can be given instead of it, each covered by one of them, widest first; of several
    that are open, each as well. traits: what it brings to ``together``. unusual: our remark where
    few programs of the app's category ask for that.
    """

    intent_id: str
    kind: str
    optional: bool
    risk: model.Risk
    title: str
    allows: str
    notes: tuple[str, ...]
    reason: str
    if_denied: str
    parts: tuple[str, ...]
    changed: str
    moves: str = ""
    open: tuple[model.Scope, ...] = ()
    narrower: tuple[Narrowing, ...] = ()
    traits: tuple[Trait, ...] = ()
    unusual: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Something that the administrator's policy has settled, so that it is not asked.

    title: our words; locked: the user cannot change it; reason: the administrator's words, raw.
    """

    title: str
    effect: model.Effect
    locked: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One handshake: who asks, and everything that is open, riskiest first.

    name and version are the app's claims, raw. update: some of it was decided before. granted_before and withdrawn
    are titles. together: what combinations of intents make possible, one sentence each; held: what is granted already
    brings to them. lifespans: those on offer. files: what it may do with files named at its start (``model.App``).
    category: what it says it is, in our words for many of them. elsewhere: looks at a place that the user names; None
    where nobody can. settled: by the administrator's policy. later: titles of what is asked when it is first used.
    """

    app_id: str
    name: str
    version: str
    trust: model.Trust
    fingerprint: str  # SHA256:... as ssh-keygen shows it; empty when unsigned
    update: bool
    as_root: bool
    questions: tuple[Question, ...]
    granted_before: tuple[str, ...]
    withdrawn: tuple[str, ...]
    together: tuple[str, ...]
    lifespans: tuple[model.Lifespan, ...]
    files: str = ""
    held: tuple[Trait, ...] = ()
    category: str = ""
    elsewhere: Elsewhere | None = field(default=None, compare=False, repr=False)
    settled: tuple[Settled, ...] = ()
    later: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the user said about one question. ``duration_seconds`` is 0 unless the span is UNTIL.

    scopes: with ALLOW, what is given instead of all that is open, each covered by something open; None for all of it.
    """

    intent_id: str
    effect: model.Effect
    span: model.Lifespan
    duration_seconds: int
    scopes: tuple[model.Scope, ...] | None = None


class Prompter(Protocol):
    """Somebody who can be asked."""

    def ask(self, request: Request) -> tuple[Answer, ...] | None:
        """One answer for each question, in their order; None when there was no answer: nothing is stored or started.

        A request without questions asks only whether to start the app, as a new publisher's first one may.
        """


def request(delta: model.Delta, host: facts.HostFacts, *, session_available: bool, root: bool) -> Request:
    """The handshake for what ``delta`` leaves open on ``host``.

    session_available: there is a runtime directory, so sessions can be told apart; root: the app would run as uid 0.
    """
    app, trust = delta.vetted.manifest.app, delta.vetted.trust
    update = bool(delta.withdrawn) or any(
        any(change.decided_by) or change.moved or change.lapsed for change in delta.changes
    )
    questions = [_question(change, host, delta.vetted, update) for change in delta.questions]
    questions.sort(key=lambda question: -question.risk)
    answered = [change for change in delta.changes if change.granted and not change.open and any(change.decided_by)]
    gone = [decision.granted or decision.asked for decision in delta.withdrawn]
    held = _traits((scope for change in delta.changes for scope in change.granted), host)
    return Request(
        app_id=app.id,
        name=app.name,
        version=app.version,
        trust=trust,
        fingerprint=delta.vetted.fingerprint,
        update=update,
        as_root=root,
        questions=tuple(questions),
        granted_before=_titles((change.intent.scope for change in answered), host),
        withdrawn=_titles(gone, host),
        together=tuple(risk.combined((trait for each in questions for trait in each.traits), held).values()),
        held=held,
        category=usual.CATEGORIES[app.category].many if app.category else "",
        lifespans=decide.lifespans(trust, session_available=session_available),
        files=decide.settle(delta).files,
        settled=tuple(dict.fromkeys(each for change in delta.changes for each in _settled(change, host))),
        later=_titles((scope for change in delta.later for scope in change.open), host),
    )


def narrowed(question: Question, given: Sequence[Narrowing] | None) -> Question:
    """The question as it stands when this is given instead of all of it, in our words for that; None: as it is."""
    if given is None:
        return question
    titles = dict.fromkeys(each.title for each in given)
    return replace(
        question,
        risk=max(each.risk for each in given),
        title=given[0].title if len(titles) == 1 else question.title,
        allows=text.said("Less than asked: {allows}", allows=_sentences(each.allows for each in given)),
        notes=tuple(dict.fromkeys(note for each in given for note in each.notes)),
        parts=(),
        traits=tuple(trait for each in given for trait in each.traits),
        unusual=next((each.unusual for each in given if each.unusual), ""),
    )


def weight(question: Question, scopes: Sequence[model.Scope] | None, weigh: Weigh | None = None) -> model.Risk:
    """What giving these scopes exposes; None: all that is open. ``weigh`` knows of those that were not on the list."""
    if scopes is None or not scopes:
        return question.risk
    listed = {scope: each.risk for each in question.narrower for scope in each.scopes}
    weighed = [listed[scope] if scope in listed else weigh(scope) if weigh else question.risk for scope in scopes]
    return max(weighed)


def together(request: Request, given: Mapping[str, Sequence[Narrowing] | None]) -> tuple[str, ...]:
    """``request.together`` when some intents give less; ``given`` by intent id, as ``narrowed`` takes it."""
    if not any(given.values()):
        return request.together
    standing = [narrowed(question, given.get(question.intent_id)) for question in request.questions]
    return tuple(risk.combined((trait for each in standing for trait in each.traits), request.held).values())


def not_asked(request: Request) -> Iterable[text.Said]:
    """What is settled already: by the administrator's policy, one sentence for each reason, and by the user before;
    and what is not asked yet."""
    named: dict[tuple[model.Effect, bool, str], list[str]] = {}
    for each in request.settled:
        named.setdefault((each.effect, each.locked, each.reason), []).append(each.title)
    for (effect, locked, reason), titles in named.items():
        yield text.said(_SETTLED[effect, locked], titles=text.joined(titles, ", "), reason=reason)
    if request.granted_before:
        yield text.said("Allowed before, and kept: {titles}.", titles=text.joined(request.granted_before, ", "))
    if request.later:
        yield text.said("Will ask when first used: {titles}.", titles=text.joined(request.later, ", "))
    if request.withdrawn:
        yield text.said("No longer asked for: {titles}.", titles=text.joined(request.withdrawn, ", "))


def spans(
    request: Request, question: Question, effect: model.Effect, risk: model.Risk | None = None
) -> tuple[model.Lifespan, ...]:
    """The lifespans offered for that answer, shortest first. Critical things are never allowed for good by a prompt.

    risk: of what is given, where that is not all that is asked for.
    """
    if effect is model.Effect.ALLOW and (question.risk if risk is None else risk) >= model.Risk.CRITICAL:
        return tuple(span for span in request.lifespans if span is not model.Lifespan.FOREVER)
    return request.lifespans


def default_span(
    request: Request, question: Question, effect: model.Effect, risk: model.Risk | None = None
) -> model.Lifespan:
    """How long an answer holds unless the user says otherwise; always one of ``spans``.

    A denial holds for good: it takes nothing away that one command does not give, and asking again and again is how
    people learn to say yes.
    """
    offered = spans(request, question, effect, risk)
    weighed = question.risk if risk is None else risk
    if effect is model.Effect.DENY or weighed <= model.Risk.NORMAL:
        return offered[-1]
    if weighed >= model.Risk.CRITICAL:
        return offered[0]
    wanted = (model.Lifespan.SESSION, model.Lifespan.UNTIL)
    return next((span for span in wanted if span in offered), offered[0])


def answer(
    question: Question,
    effect: model.Effect,
    span: model.Lifespan,
    scopes: tuple[model.Scope, ...] | None = None,
) -> Answer:
    """The answer to ``question``, with the duration that goes with the span; ``scopes`` as in ``Answer``."""
    seconds = HOURS * 3600 if span is model.Lifespan.UNTIL else 0
    return Answer(intent_id=question.intent_id, effect=effect, span=span, duration_seconds=seconds, scopes=scopes)


def fits(request: Request, answers: Sequence[Answer], weigh: Weigh | None = None) -> bool:
    """Whether these are answers to that request: one for each question in order, with what is on offer and no more.

    weigh: the risk of a scope that is on no list; without it, such a one weighs as much as all that is asked for.
    """
    if [answer.intent_id for answer in answers] != [question.intent_id for question in request.questions]:
        return False
    return all(_fits(request, *pair, weigh) for pair in zip(request.questions, answers, strict=True))


def _fits(request: Request, question: Question, given: Answer, weigh: Weigh | None) -> bool:
    risk = weight(question, given.scopes, weigh)
    if given.span not in spans(request, question, given.effect, risk):
        return False
    if given.duration_seconds != answer(question, given.effect, given.span).duration_seconds:
        return False
    if given.effect is model.Effect.DENY:
        return given.scopes is None
    if risk is model.Risk.FORBIDDEN or given.scopes == ():
        return False
    return given.scopes is None or all(any(part.covers(scope) for part in question.open) for scope in given.scopes)


def _question(change: model.Change, host: facts.HostFacts, vetted: model.Vetted, update: bool) -> Question:
    trust = vetted.trust
    intent, scope = change.intent, change.intent.scope
    parts = [part for part in scope.parts() if any(opened.covers(part) for opened in change.open)]
    whole = len(parts) == len(scope.parts())
    phrases = [shown.phrase(host) for shown in ((scope,) if whole else change.open)]
    # Allowing the rest gives the app the whole scope, unless some of it stays denied.
    denied = change.denied or any(ruling.granted is None for ruling in change.rulings)
    exposed = change.open if denied and not whole else (*change.open, scope)
    return Question(
        intent_id=intent.id,
        kind=scope.kind,
        optional=intent.optional,
        risk=risk.of(exposed, host, trust),
        title=phrases[0].title if len(phrases) == 1 else scope.phrase(host).title,
        allows=_sentences(phrase.allows for phrase in phrases),
        notes=tuple(dict.fromkeys(note for phrase in phrases for note in phrase.notes)),
        reason=intent.reason,
        if_denied=intent.if_denied,
        parts=tuple(part.phrase(host).allows for part in parts) if len(parts) > 1 else (),
        changed=_changed(change, update),
        moves=text.joined(map(moved, change.moved), "; "),
        open=change.open,
        narrower=_narrower(change, host, vetted),
        traits=_traits(change.open, host),
        unusual=next(filter(None, (usual.remark(vetted.manifest.app.category, part) for part in change.open)), ""),
    )


def _narrower(change: model.Change, host: facts.HostFacts, vetted: model.Vetted) -> tuple[Narrowing, ...]:
    several = len(change.open) > 1
    found = [scope for part in change.open for scope in (*((part,) if several else ()), *part.narrower())]
    return tuple(narrowing(scope, host, vetted) for scope in dict.fromkeys(found))


def narrowing(scope: model.Scope, host: facts.HostFacts, vetted: model.Vetted) -> Narrowing:
    """``scope`` as something that can be given instead of what covers it."""
    phrase = scope.phrase(host)
    return Narrowing(
        scopes=(scope,),
        title=phrase.title,
        allows=phrase.allows,
        risk=risk.of((scope,), host, vetted.trust),
        notes=phrase.notes,
        traits=_traits((scope,), host),
        unusual=usual.remark(vetted.manifest.app.category, scope),
    )


def _changed(change: model.Change, update: bool) -> str:
    if change.moved:
        return "moved"
    if change.lapsed:
        return "unused"
    if not update:
        return ""
    return "wider" if change.decided_by else "new"


def _settled(change: model.Change, host: facts.HostFacts) -> Iterable[Settled]:
    for ruling in change.rulings:
        rule, title = ruling.rule, (ruling.granted or ruling.part).phrase(host).title
        if ruling.granted is None and any(ruling.part.covers(scope) for scope in change.free) and rule.locked:
            title = text.said("{title}, in part", title=title)
        effect = model.Effect.DENY if ruling.granted is None else model.Effect.ALLOW
        yield Settled(title=title, effect=effect, locked=rule.locked, reason=rule.reason)


def moved(change: tuple[str, str, str]) -> text.Said:
    """What is to be known of a place (place, then, now) where something else is now."""
    place, then, now = change
    if then == now:
        return text.said("{place} is another directory than the one you decided about, at the same path", place=place)
    return text.said("{place} was {then}, is now {now}", place=place, then=then, now=now or text.said("nowhere"))


def _sentences(found: Iterable[str]) -> str:
    return text.joined(dict.fromkeys(found), " ")


def _traits(scopes: Iterable[model.Scope], host: facts.HostFacts) -> tuple[Trait, ...]:
    return tuple((trait, scope.phrase(host).title) for scope in scopes for trait in risk.traits(scope, host))


def _titles(scopes: Iterable[model.Scope], host: facts.HostFacts) -> tuple[str, ...]:
    return tuple(dict.fromkeys(scope.phrase(host).title for scope in scopes))
