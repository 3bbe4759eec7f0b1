"""Prompters for tests: one answers from a script, one writes the script while another answers. Made by code only."""

import json
from collections.abc import Mapping, Sequence

from broker import prompts
from broker.ui import wording
from intents import model

_PAGE = wording.Page(width=wording.WIDEST)


class Mismatch(Exception):
    """What was asked is not what the script expects; the message has every difference."""


class Scripted:
    """Answers a sequence of requests from a script, a list of JSON objects, one for each request in turn.

    ``expect`` (optional): any of app_id, trust, update, questions (ids in order), risks (id to word), says (texts that
    the details must hold). ``answers``: null for no answer, else an object of every id to {"effect", "span"}.
    """

    def __init__(self, script: Sequence[Mapping[str, object]]) -> None:
        self._script = list(script)

    @classmethod
    def from_json(cls, text: str) -> "Scripted":
        """Read a script as ``Recorder.to_json`` writes it."""
        return cls(json.loads(text))

    def ask(self, request: prompts.Request) -> tuple[prompts.Answer, ...] | None:
        """The next answers. Raises Mismatch when the request differs from the script, or the script is over."""
        if not self._script:
            raise Mismatch(f"{request.app_id} asks once more than the script has answers")
        step = self._script.pop(0)
        expect, answers = step.get("expect", {}), step["answers"]
        assert isinstance(expect, Mapping)
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
        said = answers and {answer.intent_id: {"effect": answer.effect, "span": answer.span} for answer in answers}
        self.script.append({"expect": _facts(request), "answers": said if answers is not None else None})
        return answers

    def to_json(self) -> str:
        """The script so far."""
        return json.dumps(self.script, indent=2, ensure_ascii=False) + "\n"


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
    assert isinstance(says, Sequence)
    return wrong + [f"nowhere said: {words!r}" for words in says if words not in text]


def _answer(
    request: prompts.Request, question: prompts.Question, said: Mapping[str, str], wrong: list[str]
) -> prompts.Answer:
    effect, span = model.Effect(said["effect"]), model.Lifespan(said["span"])
    if span not in prompts.spans(request, question, effect):
        wrong.append(f"{question.intent_id}: {effect} {span} is not offered")
    return prompts.answer(question, effect, span)
