"""A handshake survives the way to another process, and its hash tells every difference."""

import dataclasses
import json

import pytest

from broker import prompts, wire
from intents import kinds, model
from tests import handshake

FOLDER = kinds.from_data({"kind": "path", "place": "home/Sheets", "access": "write"})
LESS = kinds.from_data({"kind": "path", "place": "home/Sheets", "access": "read"})
NARROW = handshake.question(
    "sheets",
    open=(FOLDER,),
    narrower=(prompts.Narrowing(scopes=(LESS,), title="less", allows="It can read.", risk=model.Risk.NORMAL),),
)
REQUEST = handshake.request(handshake.question(), NARROW)


@pytest.mark.parametrize("request_", [handshake.request(), handshake.hostile(), REQUEST], ids=["plain", "bad", "less"])
def test_a_request_comes_back_equal(request_: prompts.Request) -> None:
    assert wire.read_request(json.loads(json.dumps(wire.request_data(request_)))) == request_


def test_answers_come_back_equal_and_fit() -> None:
    allow, session = model.Effect.ALLOW, model.Lifespan.SESSION
    rates, sheets = REQUEST.questions
    given = (prompts.answer(rates, model.Effect.DENY, session), prompts.answer(sheets, allow, session, (LESS,)))
    assert wire.read_answers(json.loads(json.dumps(wire.answers_data(given)))) == given
    assert prompts.fits(REQUEST, given)
    assert not prompts.fits(REQUEST, given[::-1])
    assert not prompts.fits(REQUEST, given[:1])


def test_more_than_is_open_does_not_fit() -> None:
    narrow = dataclasses.replace(NARROW, open=(LESS,))
    request_ = handshake.request(narrow)
    wide = prompts.answer(narrow, model.Effect.ALLOW, model.Lifespan.SESSION, (FOLDER,))
    assert not prompts.fits(request_, [wide])
    assert prompts.fits(request_, [dataclasses.replace(wide, scopes=(LESS,))])
    assert not prompts.fits(request_, [dataclasses.replace(wide, scopes=None, duration_seconds=1)])


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(prompts.Question)])
def test_every_field_of_a_question_counts_in_the_hash(field: str) -> None:
    other = {"risk": model.Risk.LOW, "optional": False, "open": (LESS,), "narrower": ()}
    other |= {"notes": ("x",), "parts": ("y",)}
    changed = dataclasses.replace(NARROW, **{field: other.get(field, "another")})  # type: ignore[arg-type]
    assert wire.shown(handshake.request(changed)) != wire.shown(handshake.request(NARROW))


@pytest.mark.parametrize("data", [None, [], {}, {"questions": [], "lifespans": []}, {"questions": 1}, "x"])
def test_what_is_no_request_is_a_value_error(data: object) -> None:
    with pytest.raises(ValueError):
        wire.read_request(data)


FOREIGN = {"intent": "a", "effect": "allow", "span": "ever", "seconds": 0, "scopes": None}


@pytest.mark.parametrize("data", [None, {}, [1], [{}], [FOREIGN]])
def test_what_is_no_answer_is_a_value_error(data: object) -> None:
    with pytest.raises(ValueError):
        wire.read_answers(data)
