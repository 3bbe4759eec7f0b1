"""What stays on a terminal after a question: what was given, and how to change it. Pure."""

from collections.abc import Mapping, Sequence

from broker import prompts
from broker.ui import wording
from intents import model, text


def summary(
    request: prompts.Request,
    answers: Sequence[prompts.Answer] | None,
    page: wording.Page,
    given: Mapping[str, Sequence[prompts.Narrowing] | None] | None = None,
) -> tuple[wording.Line, ...]:
    """What stays in the scrollback: one to three lines. given: what was given instead of the whole, by intent id."""
    if answers is None:
        words = text.said("{app}: nothing was decided, nothing is stored.", app=request.app_id)
        return tuple(wording.flow(page, wording.Voice.OURS, words)[:3])
    lines = []
    effects = {answer.effect for answer in answers}
    for effect in sorted(effects):
        chosen = [answer for answer in answers if answer.effect is effect]
        asked = {question.intent_id: question for question in request.questions}
        told = [_told(asked[answer.intent_id], answer, (given or {}).get(answer.intent_id)) for answer in chosen]
        names = {
            "what": text.joined(told, ", "),
            "some": text.said("{count} of {all}", count=len(told), all=len(request.questions)),
        }
        less = sum(answer.scopes is not None for answer in chosen)
        if less:
            names["some"] = text.said("{some}, less than asked: {less}", some=names["some"], less=less)
        allowed, denied = text.template("allowed: {what}"), text.template("denied: {what}")
        said = allowed if effect is model.Effect.ALLOW else denied
        full = wording.flow(page, wording.Voice.OURS, text.said(said, what=names["what"]))
        short = wording.flow(page, wording.Voice.OURS, text.said(said, what=names["some"]))
        lines += full if len(full) <= 3 - len(effects) else short[:1]
    ways = (f"intent-ctl show {request.app_id}", "intent-ctl show APP")
    lasting = (text.said("change it: {command}", command=command) for command in ways)
    change, whose = (wording.flow(page, wording.Voice.OURS, words) for words in lasting)
    return (*lines, *(change if len(change) == 1 else whose))


def _told(question: prompts.Question, answer: prompts.Answer, given: Sequence[prompts.Narrowing] | None) -> text.Said:
    """One answer as the summary says it: what is less than was asked for with our sentence of it."""
    span = wording.SPANS[answer.span]
    if answer.scopes is None:
        return text.said("{title} ({span})", title=question.title, span=span)
    known = given or [each for each in question.narrower if each.scopes[0] in answer.scopes]
    stands = prompts.narrowed(question, known)
    return text.said("{title} ({span}; {less})", title=stands.title, span=span, less=stands.allows.rstrip("."))
