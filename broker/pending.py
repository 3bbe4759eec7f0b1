"""The queue of questions: what is open for apps that were started with nobody to ask, and its answers (SPEC §8.4).

Nothing is kept of a question but that it was due: what it asks is worked out anew from the manifest and the decisions.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from broker import answers, history, journal, known, prompts, protocol, runs, views, wire
from broker import app as apps
from broker.ui import ended, wording
from intents import errors, model, paths

SHORTEST = 32  # digits of the hash that an answer on the command line has to name
SPANS = {"session": model.Lifespan.SESSION, f"{prompts.HOURS}h": model.Lifespan.UNTIL,
         "forever": model.Lifespan.FOREVER}  # fmt: skip
_PAGE = wording.Page(width=wording.WIDEST, margin="")
_HASH = re.compile(rf"[0-9a-f]{{{SHORTEST},64}}")
_NUMBERS = re.compile(r"[1-9][0-9]{0,2}(,[1-9][0-9]{0,2})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One question in the queue. since: when it was first due, in seconds since the epoch; unanswered: how often
    somebody saw it and gave no answer."""

    asked: answers.Handshake
    since: int
    unanswered: int

    @property
    def shown(self) -> str:
        """The hash of everything that is put to the user."""
        return wire.shown(self.asked.request)

    def as_data(self) -> dict[str, object]:
        """app, lineage, question, shown, since, unanswered, request."""
        return {
            "app": self.asked.app.manifest.app.id,
            "lineage": self.asked.delta.vetted.lineage,
            "since": self.since,
            "unanswered": self.unanswered,
            **protocol.question_data(self.asked.question, self.asked.request),
        }


def waiting(at: known.Here) -> tuple[tuple[Waiting, ...], tuple[tuple[str, errors.IntentError], ...]]:
    """(every question in the queue, (app id, why) of those that cannot be asked now), sorted by app id."""
    found: list[Waiting] = []
    troubles: list[tuple[str, errors.IntentError]] = []
    with journal.Journal.open(at.places) as book:
        for app_id, lineage in book.waiting():
            try:
                one = _look(at, book, app_id)
            except errors.JournalError:
                raise
            except errors.IntentError as error:
                if error.code != "manifest-not-found":
                    troubles.append((app_id, error))
                continue
            if one is not None and one.asked.delta.vetted.lineage == lineage:
                found.append(one)
    return tuple(found), tuple(troubles)


def find(at: known.Here, name: str) -> Waiting | None:
    """What is open for one app, whether or not it was ever started; None for nothing.

    Raises as ``known.find`` does, and the trouble there is.
    """
    with journal.Journal.open(at.places) as book:
        app, _ = known.find(at, book, name, changing=True).settled()
        return _of(app, book, at.now)


def by_id(at: known.Here, question: str) -> Waiting:
    """What is open under a name of the protocol. Raises RefusedError ``question-gone``."""
    app_id, _, lineage = question.partition("/")
    with journal.Journal.open(at.places) as book:
        try:
            found = _look(at, book, app_id)
        except (errors.CatalogError, errors.ManifestError, errors.SignatureError) as error:
            raise protocol.question_gone(question) from error
    if found is None or found.asked.delta.vetted.lineage != lineage:
        raise protocol.question_gone(question)
    return found


def answer(at: known.Here, question: str, shown: str, given: Sequence[prompts.Answer] | None) -> None:
    """Answer what is open under a name of the protocol; None records that it was seen and left open.

    Raises RefusedError ``question-gone``, ``question-changed``, ``not-on-offer``: nothing is stored.
    """
    found = by_id(at, question)
    if shown != found.shown:
        raise protocol.question_changed(question)
    if given is not None:
        answers.keep(found.asked, given, source="prompt")
        return
    with journal.Journal.open(at.places) as book:
        rests = answers.rests_until(book, found.asked.delta, at.now)
    if not rests:  # it would only be said again what is on record
        answers.unanswered(found.asked)


def stands(at: known.Here, one: Waiting) -> bool:
    """Whether the question is still open, and the same; not, where that cannot be told."""
    try:
        with journal.Journal.open(at.places) as book:
            return answers.stands(one.asked, book)
    except errors.IntentError:
        return False


def _look(at: known.Here, book: journal.Journal, app_id: str) -> Waiting | None:
    if "/" in app_id or app_id.endswith(".toml"):  # a file, which is nobody's name
        return None
    app = apps.load(app_id, at.environ, typed=at.typed)
    return _of(app, book, at.now) if app.manifest.app.id == app_id else None


def _of(app: apps.App, book: journal.Journal, now: model.Clock) -> Waiting | None:
    asked = answers.handshake(app, book, now, launching=False)
    if asked is None:
        return None
    events = book.pending(app.manifest.app.id, asked.delta.vetted.lineage)
    since = events[0].at if events else now.wall
    return Waiting(asked=asked, since=since, unanswered=sum(map(history.asked, events)))


# The commands


def show(at: known.Here, name: str | None) -> known.Report:
    """Every question in the queue, or what one app would ask, with the command that answers it."""
    troubles: tuple[tuple[str, errors.IntentError], ...] = ()
    if name is None:
        found, troubles = waiting(at)
    else:
        one = find(at, name)
        found = (one,) if one else ()
    lines = [line for each in found for line in (*_lines(each), "")]
    lines += [f"{app_id} cannot be asked about: {error.message}" for app_id, error in troubles]
    data = {
        "questions": [each.as_data() for each in found],
        "troubles": [{"app": app_id, "error": errors.as_data(error)} for app_id, error in troubles],
    }
    nothing = "Nothing is open." if name is None else f"{paths.printable(name)} has nothing open."
    return known.Report(data=data, lines=tuple(lines[:-1] if lines and not lines[-1] else lines) or (nothing,))


def _lines(one: Waiting) -> list[str]:
    request = one.asked.request
    said = list(wording.head(request, _PAGE))
    for question in request.questions:
        weight = f"{question.intent_id}  {views.risk_words(question.risk)}, "
        weight += f"{'optional' if question.optional else 'needed to start'}: {question.title}"
        said += wording.say(weight, _PAGE)
        said += wording.body(question, _PAGE, indent="    ")
        for number, less in enumerate(question.narrower, 1):
            words = f"{views.risk_words(less.risk)}: {less.title}. {less.allows}"
            said += wording.say(f"{question.intent_id}={number}  gives less, {words}", _PAGE)
    said += wording.together(request, _PAGE)
    lines = [line.text for line in said]
    verdicts = "allow, deny or a number" if any(each.narrower for each in request.questions) else "allow or deny"
    verb = f"Answer all of it, each with {verdicts}:"
    return [*lines, verb if request.questions else "To agree to its publisher:", f"  {_command(one)}"]


def _command(one: Waiting, given: Mapping[str, str] | None = None) -> str:
    """The command that answers the question, with a denial for what ``given`` leaves out."""
    names = [question.intent_id for question in one.asked.request.questions]
    verdicts = [f"{name}={(given or {}).get(name, 'deny')}" for name in names]
    return " ".join(("intent-ctl answer", one.asked.app.manifest.app.id, one.shown[:SHORTEST], *verdicts))


def reply(
    at: known.Here,
    name: str,
    words: Sequence[str],
    *,
    shown: str,
    span: str | None,
    confirmed: Sequence[str],
    data: str | None,
) -> known.Report:
    """Answer everything that is open for an app, as ``show`` showed it; data: the answers as JSON instead of words.

    Raises UsageError, DecisionError ``unknown-intent``, ``not-answered``, ``not-confirmed``, ``lifespan-unavailable``,
    ``locked-by-policy``, and as ``answer`` does.
    """
    one = find(at, name)
    if one is None:
        raise protocol.question_gone(name)
    if not _HASH.fullmatch(shown):
        message = f"`{paths.printable(shown)}` is not the hash of a question"
        raise errors.UsageError("usage", message, hint=f"Copy the command from `intent-ctl pending {name}`.")
    if not one.shown.startswith(shown):
        raise protocol.question_changed(one.asked.question)
    given = _read_json(data) if data is not None else _read_words(one, words, span, confirmed)
    answers.keep(one.asked, given, source="command")
    app_id, vetted = one.asked.app.manifest.app.id, one.asked.delta.vetted
    new = vetted.trust is model.Trust.FIRST_USE
    running = [each for each in runs.instances(at.places) if each.app_id == app_id]
    lines = [line.text for line in ended.summary(one.asked.request, given, _PAGE)] if given else []
    lines += [f"From now on {app_id} belongs to {vetted.fingerprint}."] if new else []
    live = all(change.intent.on_use for change in one.asked.delta.questions) and bool(one.asked.delta.questions)
    how = "is told at once, where it waits for it" if live else "keeps what it has: it was started before"
    lines += [f"pid {instance.pid} {how}." for instance in running]
    found = {
        "app": app_id,
        "lineage": vetted.lineage,
        "question": one.asked.question,
        "answers": wire.answers_data(given),
        "pinned": vetted.fingerprint if new else None,
        "running": [instance.as_data() for instance in running],
    }
    return known.Report(data=found, lines=tuple(lines))


def _read_json(text: str) -> tuple[prompts.Answer, ...]:
    try:
        return wire.read_answers(json.loads(text))
    except (ValueError, RecursionError) as error:
        message = "standard input does not hold answers as docs/protocol.md describes them"
        raise errors.UsageError("usage", message, hint="intent-ctl answer --help") from error


def _read_words(
    one: Waiting, words: Sequence[str], span: str | None, confirmed: Sequence[str]
) -> tuple[prompts.Answer, ...]:
    request = one.asked.request
    given = _verdicts(words)
    names = {question.intent_id for question in request.questions}
    answers.refuse_locked(one.asked, given)
    if strange := [name for name in (*given, *confirmed) if name not in names]:
        message = f"{request.app_id} does not ask for `{paths.printable(strange[0])}` now"
        raise errors.DecisionError("unknown-intent", message, hint=f"intent-ctl pending {request.app_id}")
    if missing := [question.intent_id for question in request.questions if question.intent_id not in given]:
        message = f"{_listed(missing)} of {request.app_id} {'has' if len(missing) == 1 else 'have'} no answer yet"
        raise errors.DecisionError("not-answered", message, hint=f"Add it: `{_command(one, given)}`")
    return tuple(_answer(request, each, given[each.intent_id], span, confirmed) for each in request.questions)


def _verdicts(words: Sequence[str]) -> dict[str, str]:
    """Intent id -> allow, deny or numbers."""
    given: dict[str, str] = {}
    for word in words:
        name, _, verdict = word.partition("=")
        if name in given or not (verdict in tuple(model.Effect) or _NUMBERS.fullmatch(verdict)):
            shown = paths.printable(word)
            message = f"`{shown}` is no answer: write each intent once, as INTENT=allow, INTENT=deny or INTENT=NUMBER"
            raise errors.UsageError("usage", message, hint="intent-ctl pending")
        given[name] = verdict
    return given


def _answer(
    request: prompts.Request, question: prompts.Question, verdict: str, span: str | None, confirmed: Sequence[str]
) -> prompts.Answer:
    if verdict == model.Effect.DENY:
        return prompts.answer(question, model.Effect.DENY, prompts.default_span(request, question, model.Effect.DENY))
    scopes = _given(request, question, verdict)
    level = prompts.weight(question, scopes)
    if level >= model.Risk.CRITICAL and question.intent_id not in confirmed:
        message = f"`{question.intent_id}` is critical: {question.allows}"
        raise errors.DecisionError("not-confirmed", message, hint=f"If you mean it, add --confirm {question.intent_id}")
    wanted = SPANS[span] if span else prompts.default_span(request, question, model.Effect.ALLOW, level)
    offered = prompts.spans(request, question, model.Effect.ALLOW, level)
    if wanted not in offered:
        words = " or ".join(f"`{word}`" for word, each in SPANS.items() if each in offered)
        message = f"`{span}` is not offered for `{question.intent_id}`"
        raise errors.DecisionError("lifespan-unavailable", message, hint=f"Use {words}.")
    return prompts.answer(question, model.Effect.ALLOW, wanted, scopes)


def _given(request: prompts.Request, question: prompts.Question, verdict: str) -> tuple[model.Scope, ...] | None:
    """What a verdict gives, None for all of it. Raises UsageError for a number that stands for nothing."""
    if verdict == model.Effect.ALLOW:
        return None
    chosen = [int(number) - 1 for number in verdict.split(",")]
    if max(chosen) >= len(question.narrower):
        message = f"`{question.intent_id}={verdict}` is none of the {len(question.narrower)} that are offered instead"
        raise errors.UsageError("usage", message, hint=f"intent-ctl pending {request.app_id}")
    return tuple(dict.fromkeys(scope for index in chosen for scope in question.narrower[index].scopes))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
