"""A handshake as JSON values: what is asked and what is answered, for front-ends in other processes (SPEC §11.5)."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from broker import prompts
from intents import errors, kinds, model


def request_data(request: prompts.Request) -> dict[str, object]:
    """The request as JSON values; ``read_request`` gives an equal one."""
    return {
        "app": request.app_id,
        "name": request.name,
        "version": request.version,
        "trust": request.trust.value,
        "fingerprint": request.fingerprint,
        "update": request.update,
        "as_root": request.as_root,
        "questions": [_question_data(question) for question in request.questions],
        "granted_before": list(request.granted_before),
        "withdrawn": list(request.withdrawn),
        "later": list(request.later),
        "together": list(request.together),
        "lifespans": [span.value for span in request.lifespans],
        "files": request.files,
        "category": request.category,
        "held": [list(trait) for trait in request.held],
        "settled": [
            {"title": each.title, "effect": each.effect.value, "locked": each.locked, "reason": each.reason}
            for each in request.settled
        ],
    }


def shown(request: prompts.Request) -> str:
    """The hash of everything that is put to the user, which an answer has to name: SHA-256 in hexadecimal digits."""
    text = json.dumps(request_data(request), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def answers_data(answers: Sequence[prompts.Answer]) -> list[dict[str, object]]:
    """The answers as JSON values; ``read_answers`` gives equal ones."""
    return [
        {
            "intent": answer.intent_id,
            "effect": answer.effect.value,
            "span": answer.span.value,
            "seconds": answer.duration_seconds,
            "scopes": None if answer.scopes is None else [kinds.to_data(scope) for scope in answer.scopes],
        }
        for answer in answers
    ]


def read_request(data: object) -> prompts.Request:
    """The request that these JSON values say. Raises ValueError for anything else."""
    try:
        match data:
            case {"questions": list(questions), "lifespans": list(lifespans), "settled": list(settled), **rest}:
                return prompts.Request(
                    app_id=_text(rest, "app"),
                    name=_text(rest, "name"),
                    version=_text(rest, "version"),
                    trust=model.Trust(_text(rest, "trust")),
                    fingerprint=_text(rest, "fingerprint"),
                    update=rest["update"] is True,
                    as_root=rest["as_root"] is True,
                    questions=tuple(map(_read_question, questions)),
                    granted_before=_texts(rest, "granted_before"),
                    withdrawn=_texts(rest, "withdrawn"),
                    later=_texts(rest, "later"),
                    together=_texts(rest, "together"),
                    lifespans=tuple(map(model.Lifespan, lifespans)),
                    files=_text(rest, "files"),
                    held=_traits(rest, "held"),
                    settled=tuple(map(_read_settled, settled)),
                    category=_text(rest, "category"),
                )
    except (KeyError, TypeError, errors.ManifestError) as error:
        raise ValueError("not a request") from error
    raise ValueError("not a request")


def read_answers(data: object) -> tuple[prompts.Answer, ...]:
    """The answers that these JSON values say; whether they fit a request is for ``prompts.fits``. Raises ValueError."""
    if not isinstance(data, list):
        raise ValueError("answers are a list")
    return tuple(map(_read_answer, data))


def narrowing_data(narrowing: prompts.Narrowing) -> dict[str, object]:
    """Something that can be given instead, as JSON values; ``read_narrowing`` gives an equal one."""
    return {
        "scopes": [kinds.to_data(scope) for scope in narrowing.scopes],
        "title": narrowing.title,
        "allows": narrowing.allows,
        "risk": narrowing.risk.word,
        "notes": list(narrowing.notes),
        "traits": [list(trait) for trait in narrowing.traits],
        "unusual": narrowing.unusual,
    }


def read_narrowing(data: Mapping[Any, object]) -> prompts.Narrowing:
    """The narrowing that these JSON values say. Raises ValueError, KeyError or ManifestError for anything else."""
    match data:
        case {"scopes": list(scopes), **rest}:
            return prompts.Narrowing(
                scopes=tuple(map(kinds.from_data, scopes)),
                title=_text(rest, "title"),
                allows=_text(rest, "allows"),
                risk=_risk(rest),
                notes=_texts(rest, "notes"),
                traits=_traits(rest, "traits"),
                unusual=_text(rest, "unusual"),
            )
    raise ValueError("not a narrower scope")


def _read_answer(data: object) -> prompts.Answer:
    try:
        match data:
            case {
                "intent": str(intent),
                "effect": str(effect),
                "span": str(span),
                "seconds": int(seconds),
                "scopes": list() | None as scopes,
            }:
                return prompts.Answer(
                    intent_id=intent,
                    effect=model.Effect(effect),
                    span=model.Lifespan(span),
                    duration_seconds=seconds,
                    scopes=None if scopes is None else tuple(map(kinds.from_data, scopes)),
                )
    except (KeyError, TypeError, errors.ManifestError) as error:
        raise ValueError("not an answer") from error
    raise ValueError("not an answer")


def _read_settled(data: Mapping[str, object]) -> prompts.Settled:
    return prompts.Settled(
        title=_text(data, "title"),
        effect=model.Effect(_text(data, "effect")),
        locked=data["locked"] is True,
        reason=_text(data, "reason"),
    )


def _question_data(question: prompts.Question) -> dict[str, object]:
    return {
        "intent": question.intent_id,
        "kind": question.kind,
        "optional": question.optional,
        "risk": question.risk.word,
        "title": question.title,
        "allows": question.allows,
        "notes": list(question.notes),
        "reason": question.reason,
        "if_denied": question.if_denied,
        "parts": list(question.parts),
        "changed": question.changed,
        "moves": question.moves,
        "open": [kinds.to_data(scope) for scope in question.open],
        "narrower": [narrowing_data(each) for each in question.narrower],
        "traits": [list(trait) for trait in question.traits],
        "unusual": question.unusual,
    }


def _read_question(data: Mapping[Any, object]) -> prompts.Question:
    match data:
        case {"open": list(opened), "narrower": list(narrower), **rest}:
            return prompts.Question(
                intent_id=_text(rest, "intent"),
                kind=_text(rest, "kind"),
                optional=rest["optional"] is True,
                risk=_risk(rest),
                title=_text(rest, "title"),
                allows=_text(rest, "allows"),
                notes=_texts(rest, "notes"),
                reason=_text(rest, "reason"),
                if_denied=_text(rest, "if_denied"),
                parts=_texts(rest, "parts"),
                changed=_text(rest, "changed"),
                moves=_text(rest, "moves"),
                open=tuple(map(kinds.from_data, opened)),
                narrower=tuple(map(read_narrowing, narrower)),
                traits=_traits(rest, "traits"),
                unusual=_text(rest, "unusual"),
            )
    raise ValueError("not a question")


def _risk(data: Mapping[Any, object]) -> model.Risk:
    return model.Risk[_text(data, "risk").upper()]


def _text(data: Mapping[Any, object], key: str) -> str:
    value = data[key]
    if not isinstance(value, str):
        raise ValueError(f"`{key}` is not a text")
    return value


def _texts(data: Mapping[Any, object], key: str) -> tuple[str, ...]:
    value = data[key]
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"`{key}` is not a list of texts")
    return tuple(value)


def _traits(data: Mapping[Any, object], key: str) -> tuple[prompts.Trait, ...]:
    value = data[key]
    if not isinstance(value, list):
        raise ValueError(f"`{key}` is not a list of pairs")
    found = []
    for each in value:
        match each:
            case [str(trait), str(title)]:
                found.append((trait, title))
            case _:
                raise ValueError(f"`{key}` is not a list of pairs")
    return tuple(found)
