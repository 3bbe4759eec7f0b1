"""Prompters for tests: one answers from a script, one writes the script while another answers (docs/protocol.md)."""

import dataclasses
import json
from collections.abc import Mapping, Sequence

from broker import prompts
from broker.ui import wording
from intents import errors, kinds, model

_PAGE = wording.Page(width=wording.WIDEST)


class Mismatch(Exception):
    """What was asked is not what the script expects; the message has every difference."""


class Scripted:
    """Answers a sequence of requests from a script, a list of JSON objects, one for each request in turn.

    ``expect`` (optional): any of app_id, trust, update, questions (ids in order), risks (id to word), says (texts that
    the details must hold). ``answers``: null for no answer, else an object of every id to {"effect", "span"}, and
    "scopes" where less is given than was asked.
    """

    def __init__(self, script: Sequence[Mapping[str, object]]) -> None:
        self._script = list(script)

    @classmethod
    def from_json(cls, text: str) -> "Scripted":
        """Read a script as ``Recorder.to_json`` writes it. Raises Mismatch for what is none."""
        try:
            script = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Mismatch("the script is not JSON") from error
        if not isinstance(script, list) or not all(isinstance(step, dict) and "answers" in step for step in script):
            raise Mismatch("the script is not a list of objects with `answers`")
        return cls(script)

    def ask(self, request: prompts.Request) -> tuple[prompts.Answer, ...] | None:
        """The next answers. Raises Mismatch when the request differs from the script, or the script is over."""
        if not self._script:
            raise Mismatch(f"{request.app_id} asks once more than the script has answers")
        step = self._script.pop(0)
        expect, answers = step.get("expect", {}), step["answers"]
        if not isinstance(expect, Mapping) or not isinstance(answers, Mapping | None):
            raise Mismatch("a step of the script has `expect` or `answers` that are no objects")
        wrong = _differences(expect, request)
        if answers is None and not wrong:
            return None
        given = answers if isinstance(answers, Mapping) else {}
        asked = {question.intent_id for question in request.questions}
        if answers is not None:
            wrong += [f"not answered: {name}" for name in sorted(asked - given.keys())]
            wrong += [f"answered but not asked: {name}" for name in sorted(given.keys() - asked)]
        found = [_answer(request, question, given[question.intent_id], wrong) for question in request.questions
                 if question.intent_id in given]  # fmt: skip
        if wrong:
            raise Mismatch("\n".join(wrong))
        return tuple(found)

    @property
    def finished(self) -> bool:
        """Whether every step of the script was used."""
        return not self._script


class Recorder:
    """Passes requests on to another prompter and remembers them as a script for ``Scripted``."""

    def __init__(self, prompter: prompts.Prompter) -> None:
        self._prompter = prompter
        self.script: list[dict[str, object]] = []

    def ask(self, request: prompts.Request) -> tuple[prompts.Answer, ...] | None:
        """Whatever the other prompter answers."""
        answers = self._prompter.ask(request)
        said = None if answers is None else {answer.intent_id: _said(answer) for answer in answers}
        self.script.append({"expect": _facts(request), "answers": said})
        return answers

    def to_json(self) -> str:
        """The script so far."""
        return to_json(self.script)


def to_json(script: Sequence[Mapping[str, object]]) -> str:
    """The file that holds a script."""
    return json.dumps(script, indent=2, ensure_ascii=False) + "\n"


def _facts(request: prompts.Request) -> dict[str, object]:
    return {
        "app_id": request.app_id,
        "trust": str(request.trust),
        "update": request.update,
        "questions": [question.intent_id for question in request.questions],
        "risks": {question.intent_id: question.risk.word for question in request.questions},
    }


def _differences(expect: Mapping[str, object], request: prompts.Request) -> list[str]:
    found = _facts(request)
    wrong = [
        f"{name}: expected {value!r}, found {found.get(name)!r}"
        for name, value in expect.items()
        if name != "says" and found.get(name) != value
    ]
    pages = [wording.head(request, _PAGE), wording.together(request, _PAGE)]
    pages += [wording.details(request, question, _PAGE) for question in request.questions]
    text = " ".join(line.text.removeprefix(_PAGE.margin).strip() for page in pages for line in page)
    says = expect.get("says", ())
    if not isinstance(says, Sequence) or not all(isinstance(words, str) for words in says):
        return [*wrong, "`says` is not a list of texts"]
    return wrong + [f"nowhere said: {words!r}" for words in says if words not in text]


def _said(answer: prompts.Answer) -> dict[str, object]:
    less = {} if answer.scopes is None else {"scopes": [kinds.to_data(scope) for scope in answer.scopes]}
    return {"effect": answer.effect, "span": answer.span, **less}


def _answer(request: prompts.Request, question: prompts.Question, said: object, wrong: list[str]) -> prompts.Answer:
    match said:
        case {"effect": ("allow" | "deny") as effect, "span": str(span), **rest} if span in tuple(model.Lifespan):
            given = prompts.answer(question, model.Effect(effect), model.Lifespan(span), _scopes(rest.get("scopes")))
        case _:
            raise Mismatch(f"{question.intent_id}: an answer has `effect`, `span` and perhaps `scopes`")
    if not prompts.fits(dataclasses.replace(request, questions=(question,)), [given]):
        wrong.append(f"{question.intent_id}: {effect} {span} is not offered")
    return given


def _scopes(scopes: object) -> tuple[model.Scope, ...] | None:
    if scopes is None:
        return None
    if not isinstance(scopes, list):
        raise Mismatch("`scopes` is not a list")
    try:
        return tuple(map(kinds.from_data, scopes))
    except (KeyError, TypeError, ValueError, errors.ManifestError) as error:
        raise Mismatch("`scopes` are not scopes") from error
