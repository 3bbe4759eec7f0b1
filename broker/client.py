"""The two ends of the protocol on a connected socket: one that asks the broker, and one that puts a single question."""

import select
import socket
import time
from collections import deque
from collections.abc import Callable

from broker import prompts, protocol, wire
from intents import errors, model

_CHUNK = 1 << 16
_PATIENCE = 10.0  # seconds that the other side has to take what it asked for


class Client:
    """A connection to whoever has the questions. Every method raises MessageError; ``closed`` when nobody is there."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = protocol.Lines()
        self._events: deque[protocol.Values] = deque()
        self._arrived: deque[bytes] = deque()
        self._number = 0

    def call(self, method: str, **values: object) -> protocol.Values:
        """The result of a method. Raises the IntentError that the other side replied with."""
        self._number += 1
        self._send(protocol.encode({"id": self._number, "method": method, **values}))
        while True:
            message = self._next(None)
            assert message is not None
            if "event" in message:
                self._events.append(message)
            elif message.get("id") in (self._number, None):
                return protocol.result(message)

    def event(self, seconds: float | None = None) -> protocol.Values | None:
        """The next event after ``subscribe``; None when none came within ``seconds``."""
        if self._events:
            return self._events.popleft()
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            message = self._next(deadline)
            if message is None or "event" in message:
                return message

    def _send(self, line: bytes) -> None:
        try:
            self._connection.sendall(line)
        except OSError as error:
            raise _closed() from error

    def _next(self, deadline: float | None) -> protocol.Values | None:
        while not self._arrived:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._connection], [], [], left)[0]:
                return None
            self._arrived.extend(self._lines.feed(_receive(self._connection)))
        return protocol.decode(self._arrived.popleft())


def put(
    connection: socket.socket,
    request: prompts.Request,
    question: str,
    *,
    showing: Callable[[], None] = lambda: None,
    gone: Callable[[], bool] = lambda: False,
    every: float = 1.0,
) -> tuple[prompts.Answer, ...] | None:
    """Put one question to the process at the other end, which speaks first; its answers, None for none.

    Anything but the protocol, an answer that does not fit, or an end of the connection is no answer. showing: called
    when the other side says that the question can be seen; gone: asked ``every`` so many seconds whether the question
    still stands; the other side is told ``gone`` and not waited for.
    """
    one = _One(request, question, showing)
    lines = protocol.Lines()
    connection.settimeout(_PATIENCE)
    try:
        while not one.done:
            if not select.select([connection], [], [], every)[0]:
                if gone():
                    connection.sendall(protocol.event("gone", {"question": question}))
                    return None
                continue
            for line in lines.feed(_receive(connection)):
                if not one.done:
                    connection.sendall(protocol.reply(line, one.methods))
    except (errors.MessageError, OSError):
        return one.answers
    return one.answers


class _One:
    """The methods of a single question, and what came of it."""

    def __init__(self, request: prompts.Request, question: str, showing: Callable[[], None]) -> None:
        self._request = request
        self._showing = showing
        self._data = protocol.question_data(question, request)
        self.done = False
        self.answers: tuple[prompts.Answer, ...] | None = None
        self._found: dict[model.Scope, model.Risk] = {}
        self.methods = {"hello": protocol.hello, "list": self._list, "showing": self._seen, "answer": self._answer}
        if request.elsewhere is not None:
            self.methods["place"] = self._place

    def _list(self, _: protocol.Values) -> protocol.Values:
        return {"questions": [self._data], "places": "place" in self.methods}

    def _seen(self, _: protocol.Values) -> protocol.Values:
        self._showing()
        return {}

    def _place(self, values: protocol.Values) -> protocol.Values:
        """What a place that the user named comes to, or our sentence why it cannot be given."""
        assert self._request.elsewhere is not None
        found = self._request.elsewhere(protocol.read_text(values, "intent"), protocol.read_text(values, "typed"))
        if isinstance(found, str):
            return {"said": found}
        self._found |= {scope: each.risk for each in found for scope in each.scopes}
        return {"narrower": [wire.narrowing_data(each) for each in found]}

    def _weigh(self, scope: model.Scope) -> model.Risk:
        return self._found.get(scope, model.Risk.CRITICAL)

    def _answer(self, values: protocol.Values) -> protocol.Values:
        self.done = True  # one that is wrong once is not asked again
        question, shown, answers = protocol.read_answer(values)
        if question != self._data["question"]:
            raise protocol.question_gone(question)
        if shown != self._data["shown"]:
            raise protocol.question_changed(question)
        if answers is not None and not prompts.fits(self._request, answers, self._weigh):
            raise protocol.not_on_offer(question)
        self.answers = answers
        return {}


def _receive(connection: socket.socket) -> bytes:
    try:
        data = connection.recv(_CHUNK)
    except OSError as error:
        raise _closed() from error
    if not data:
        raise _closed()
    return data


def _closed() -> errors.MessageError:
    return errors.MessageError("connection-closed", "the other side ended the connection")
