"""From a question to decisions: it is taken from the journal, and answered only while it still stands (SPEC §8.4).

Whoever answers first, at a prompt, by ``intent-ctl answer`` or from another process, is the one who decided.
"""

import dataclasses
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from broker import app as apps
from broker import elsewhere, history, journal, prompts, protocol, record, wire
from intents import decide, errors, model, risk, rules

PATIENCE = 3  # times that a question is closed before it rests
REST = 7 * 86400  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """The one open question of an app at a moment. launching: asked for a start, to which an answer may be limited;
    looking: at places that the user names."""

    app: apps.App
    now: model.Clock
    delta: model.Delta
    request: prompts.Request
    launching: bool
    looking: elsewhere.Looking | None = None

    @property
    def question(self) -> str:
        """Its name in the protocol."""
        return protocol.question_id(self.app.manifest.app.id, self.delta.vetted.lineage)


def due(delta: model.Delta) -> bool:
    """Whether there is something to ask: an intent is open, or nobody has agreed to the publisher."""
    return bool(delta.questions) or delta.vetted.trust is model.Trust.FIRST_USE


def handshake(app: apps.App, book: journal.Journal, now: model.Clock, *, launching: bool) -> Handshake | None:
    """What is open for the app, if anything. Raises SignatureError, JournalError."""
    app = app.recalling(book)
    delta = app.delta(book, now)
    if not launching:
        delta = dataclasses.replace(delta, tried=tried(book, delta))
    if not due(delta):
        return None
    request = prompts.request(delta, app.host, session_available=bool(now.session), root=os.geteuid() == 0)
    if not launching:
        lasting = tuple(span for span in request.lifespans if span is not model.Lifespan.ONCE)
        request = dataclasses.replace(request, lifespans=lasting)
    looking = elsewhere.Looking(app, delta)
    request = dataclasses.replace(request, elsewhere=looking)
    return Handshake(app=app, now=now, delta=delta, request=request, launching=launching, looking=looking)


def rests_until(book: journal.Journal, delta: model.Delta, now: model.Clock) -> int:
    """Until when the question is not shown by itself (seconds since the epoch), or 0: it went unanswered too often.

    Where the clock was set back behind the last time, it is shown.
    """
    app_id, lineage = delta.vetted.manifest.app.id, delta.vetted.lineage
    shown = [event.at for event in book.pending(app_id, lineage) if history.asked(event)]
    resting = len(shown) >= PATIENCE and shown[-1] <= now.wall < shown[-1] + REST
    return shown[-1] + REST if resting else 0


def check(asked: Handshake, book: journal.Journal) -> None:
    """Raise RefusedError ``question-gone`` or ``question-changed`` unless the question is still open, and the same."""
    found = handshake(asked.app, book, asked.now, launching=asked.launching)
    if found is None:
        raise protocol.question_gone(asked.question)
    if wire.shown(found.request) != wire.shown(asked.request):
        raise protocol.question_changed(asked.question)


def stands(asked: Handshake, book: journal.Journal) -> bool:
    """Whether the question is still open, and the same; not, where that cannot be told."""
    try:
        check(asked, book)
    except errors.IntentError:
        return False
    return True


def refuse_locked(asked: Handshake, names: Iterable[str]) -> None:
    """Say of each of these intents that is not asked whether the administrator has locked it.

    Raises DecisionError ``locked-by-policy``.
    """
    open_ids = {question.intent_id for question in asked.request.questions}
    for change in asked.delta.changes:
        if change.intent.id in set(names) - open_ids:
            rules.refuse_locked(change, decides=bool(change.free))


def keep(asked: Handshake, answers: Sequence[prompts.Answer], *, source: str) -> tuple[model.Decision, ...]:
    """Record the answers that outlive this launch, and the publisher they were given for; return the others.

    Raises RefusedError ``not-on-offer``, ``question-gone`` or ``question-changed``, DecisionError ``locked-by-policy``,
    or JournalError: nothing is stored.
    """
    refuse_locked(asked, [answer.intent_id for answer in answers])
    looked = asked.looking.app if asked.looking else asked.app
    seen = looked.seeing(scope for answer in answers for scope in answer.scopes or ())
    trust = asked.delta.vetted.trust
    if not prompts.fits(asked.request, answers, lambda scope: risk.of((scope,), seen.host, trust)):
        raise protocol.not_on_offer(asked.question)
    for question, answer in zip(asked.request.questions, answers, strict=True):
        if any(elsewhere.leads_out(seen, question.open, scope) for scope in answer.scopes or ()):
            raise protocol.not_on_offer(asked.question)
    once: list[model.Decision] = []

    def entries(book: journal.Journal) -> list[history.Entry]:
        check(asked, book)
        made, passing = _decisions(dataclasses.replace(asked, app=seen), answers, source)
        once.extend(passing)
        app_id, vetted = asked.app.manifest.app.id, asked.delta.vetted
        pinned = record.publisher(asked.app, vetted, asked.now)
        return [*pinned, *(history.decided(app_id, vetted.lineage, decision) for decision in made)]

    record.commit_by(asked.app.places, asked.app.manifest.app.id, asked.now, entries)
    return tuple(once)


def unanswered(asked: Handshake) -> None:
    """Record that the question was shown and closed. Raises JournalError."""
    entry = _unanswered(asked.delta, asked=True)
    record.commit(asked.app.places, asked.app.manifest.app.id, asked.now, [entry])


def queue(book: journal.Journal, delta: model.Delta, now: model.Clock) -> None:
    """Record, once for each distinct question, that nobody could be asked. Raises JournalError.

    What an unsigned manifest asks is not queued: it cannot be answered apart from the start it is asked for.
    """
    if not due(delta) or delta.vetted.trust is model.Trust.UNSIGNED:
        return
    entry = _unanswered(delta, asked=False)
    before = book.pending(entry.app, entry.lineage)
    if all(event.body.get("open") != entry.body["open"] for event in before):
        book.record(now, [entry])


def tried(book: journal.Journal, delta: model.Delta) -> tuple[str, ...]:
    """The intents that are asked on use and were tried since the app's last answer, while they are open."""
    events = book.pending(delta.vetted.manifest.app.id, delta.vetted.lineage)
    named = {name for event in events if isinstance(found := event.body.get("open"), dict) for name in found}
    return tuple(change.intent.id for change in delta.later if change.intent.id in named)


def queue_tried(book: journal.Journal, delta: model.Delta, intents: Collection[str], now: model.Clock) -> None:
    """Put what a running app has tried into the queue, where it is asked on use and not there yet.

    Raises JournalError.
    """
    new = [change for change in delta.later if change.intent.id in intents]
    waiting = tried(book, delta)
    if any(change.intent.id not in waiting for change in new):
        opened = {change.intent.id: change.open for change in new}
        app_id, lineage = delta.vetted.manifest.app.id, delta.vetted.lineage
        book.record(now, [history.unanswered(app_id, lineage, opened, asked=False)])


def _unanswered(delta: model.Delta, *, asked: bool) -> history.Entry:
    opened = {change.intent.id: change.open for change in delta.questions}
    return history.unanswered(delta.vetted.manifest.app.id, delta.vetted.lineage, opened, asked=asked)


def _decisions(
    asked: Handshake, answers: Sequence[prompts.Answer], source: str
) -> tuple[list[model.Decision], list[model.Decision]]:
    """(decisions to store, those for this launch alone), in the order in which they are made."""
    given = {answer.intent_id: answer for answer in answers}
    stored: list[model.Decision] = []
    once: list[model.Decision] = []
    for change in asked.delta.questions:
        answer = given[change.intent.id]
        life = decide.life(answer.span, asked.now, seconds=answer.duration_seconds, trust=asked.delta.vetted.trust)
        made = decide.decisions(
            change.intent,
            change.open,
            answer.effect,
            life,
            asked.app.objects,
            answer.scopes,
            source=source,
            now=asked.now,
        )
        # Refusing what is new takes nothing away: what was granted before is said again, after the denial.
        kept = tuple(reversed(change.held)) if answer.effect is model.Effect.DENY else ()
        passing = life.span is model.Lifespan.ONCE
        once += (*made, *kept) if passing else ()
        stored += made if passing else (*made, *kept)
    return stored, once
