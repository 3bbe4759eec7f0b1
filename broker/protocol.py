"""The JSON-lines protocol of front-ends in other processes: lines, requests, replies (SPEC §11.5, docs/protocol.md).

Takes and gives bytes; ``broker/client.py`` has the sockets. Whatever arrives is either a
message or the error ``bad-message``, and nothing is kept of it but one unfinished line.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from broker import prompts, wire
from intents import errors, paths

VERSION = 1
LIMIT = 1 << 20  # bytes of one line with its end
_LARGEST_ID = (1 << 53) - 1  # that every JSON reader keeps exact
_END = b"\n"

Values = Mapping[str, object]
Method = Callable[[Values], Values]  # from a request's values to the result; raises IntentError


class Lines:
    """Cuts what arrives into lines."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> tuple[bytes, ...]:
        """The lines that ``data`` completes, without their ends. Raises MessageError for one longer than LIMIT."""
        *whole, rest = data.split(_END)
        if whole:
            whole[0] = bytes(self._rest) + whole[0]
            self._rest.clear()
        self._rest += rest
        if any(len(line) >= LIMIT for line in (*whole, self._rest)):
            self._rest.clear()
            raise errors.MessageError("bad-message", f"a line is longer than {LIMIT} bytes")
        return tuple(whole)


def encode(message: Values) -> bytes:
    """The line that says this message. Raises MessageError ``message-too-long``."""
    line = json.dumps(message, separators=(",", ":"), allow_nan=False).encode("ascii") + _END
    if len(line) > LIMIT:
        raise errors.MessageError("message-too-long", f"a message of {len(line)} bytes does not fit into a line")
    return line


def decode(line: bytes) -> dict[str, Any]:
    """The JSON object in a line. Raises MessageError ``bad-message``."""
    try:
        found = json.loads(line.decode("utf-8"), object_pairs_hook=_object, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise errors.MessageError("bad-message", "a line is not one JSON object") from error
    if not isinstance(found, dict):
        raise errors.MessageError("bad-message", "a line is not one JSON object")
    return found


def reply(line: bytes, methods: Mapping[str, Method]) -> bytes:
    """The line that answers a request; every IntentError on the way becomes an error reply."""
    number: int | None = None
    try:
        message = decode(line)
        number = _number(message.pop("id", None))
        return encode({"id": number, "result": _call(message, methods)})
    except errors.IntentError as error:
        return refusal(number, error)


def refusal(number: int | None, error: errors.IntentError) -> bytes:
    """The error reply to request ``number``; None where it could not be told."""
    said = {"code": error.code, "message": error.message, "hint": error.hint}
    return encode({"id": number, "error": said})


def event(name: str, values: Values) -> bytes:
    """The line that tells subscribers of something."""
    return encode({"event": name, **values})


def result(message: Values) -> Values:
    """The result in a reply. Raises the error that it carries, or MessageError ``bad-message``."""
    match message:
        case {"result": dict(found)}:
            return found
        case {"error": {"code": str(code), "message": str(text), "hint": str(hint)}}:
            raise errors.named(code, text, hint)
    raise errors.MessageError("bad-message", "a reply has neither a result nor an error")


def hello(_: Values) -> Values:
    """The method ``hello``: which protocol this is."""
    return {"protocol": "intents", "version": VERSION}


def question_id(app_id: str, lineage: str) -> str:
    """The name of an app's one open question: it belongs to the app and its publisher, and answers no other."""
    return f"{app_id}/{lineage}"


def question_data(question: str, request: prompts.Request) -> dict[str, object]:
    """An open question as ``list`` and the event ``question`` tell it."""
    return {"question": question, "shown": wire.shown(request), "request": wire.request_data(request)}


def listed(questions: Sequence[Values]) -> Values:
    """The result of ``list``. Requests that the line has no room for are null: ``list`` with their id gives them."""
    room = LIMIT // 2
    shown: list[Values] = []
    for each in questions:
        room -= len(json.dumps(each))
        shown.append(each if room > 0 or not shown else {**each, "request": None})
    return {"questions": shown}


def read_answer(values: Values) -> tuple[str, str, tuple[prompts.Answer, ...] | None]:
    """(question, shown, answers or None for nobody's) of an ``answer`` request. Raises MessageError ``bad-message``."""
    match values:
        case {"question": str(question), "shown": str(shown), "answers": None}:
            return question, shown, None
        case {"question": str(question), "shown": str(shown), "answers": list(answers)}:
            try:
                return question, shown, wire.read_answers(answers)
            except ValueError as error:
                raise errors.MessageError("bad-message", "`answers` holds something that is no answer") from error
    raise errors.MessageError("bad-message", "an answer has `question`, `shown` and `answers`")


def read_text(values: Values, key: str) -> str:
    """A text among the values of a request. Raises MessageError ``bad-message``."""
    found = values.get(key)
    if not isinstance(found, str):
        raise errors.MessageError("bad-message", f"`{key}` is not a text")
    return found


def question_gone(question: str) -> errors.RefusedError:
    """There is no such question now."""
    return errors.RefusedError("question-gone", f"nothing is open that is called `{paths.printable(question)}`")


def question_changed(question: str) -> errors.RefusedError:
    """What was shown is not what is asked now."""
    message = f"`{paths.printable(question)}` asks something else now than what was shown"
    return errors.RefusedError("question-changed", message)


def not_on_offer(question: str) -> errors.RefusedError:
    """The answers give more, or otherwise, than was on offer."""
    message = f"`{paths.printable(question)}` has answers that were not on offer"
    return errors.RefusedError("not-on-offer", message)


def _number(value: object) -> int:
    if type(value) is int and 0 <= value <= _LARGEST_ID:
        return value
    raise errors.MessageError("bad-message", "`id` is not a number from 0 to 2^53 - 1")


def _call(message: dict[str, Any], methods: Mapping[str, Method]) -> Values:
    name = read_text(message, "method")
    if name not in methods:
        raise errors.MessageError("unknown-method", f"there is no method of that name: {', '.join(sorted(methods))}")
    return methods[name]({key: value for key, value in message.items() if key != "method"})


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found


def _no_number(text: str) -> None:
    raise ValueError(text)
