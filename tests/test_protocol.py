"""The protocol's lines: every message comes back equal, and whatever else arrives is ``bad-message``, nothing worse."""

import contextlib
import dataclasses
import json
import pathlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker import client, prompts, protocol, wire
from intents import errors, kinds, model, text
from tests import handshake

FOLDER = kinds.from_data({"kind": "path", "place": "home/Sheets", "access": "write"})
# No deadline: a loaded machine is not a defect. No database: the checkout may be another user's.
quietly = settings(deadline=None, database=None)
NAMES = st.text(max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats() | NAMES | st.just("allow"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.just("kind"), inner, max_size=4),
    max_leaves=12,
)
ANSWER = st.fixed_dictionaries(
    {
        "intent": NAMES,
        "effect": st.sampled_from(["allow", "deny"]),
        "span": st.sampled_from([*model.Lifespan, "ever"]),
        "seconds": st.integers() | st.booleans(),
        "scopes": st.none() | st.lists(st.fixed_dictionaries({"kind": st.sampled_from([*kinds.KINDS])}, optional={
            "place": VALUES, "access": VALUES, "scope": VALUES, "bus": VALUES, "talk": VALUES, "names": VALUES,
        }), max_size=3),
    }
)  # fmt: skip


def said(line: bytes, methods: dict[str, protocol.Method]) -> dict[str, object]:
    """The reply to a line, which must be one line."""
    answer = protocol.reply(line, methods)
    assert answer.count(b"\n") == 1 and answer.endswith(b"\n")
    return protocol.decode(answer[:-1])


def code(message: dict[str, object]) -> str:
    error = message["error"]
    assert isinstance(error, dict) and error["hint"]
    return str(error["code"])


def echo(values: protocol.Values) -> protocol.Values:
    return {"values": dict(values)}


METHODS: dict[str, protocol.Method] = {"hello": protocol.hello, "echo": echo}


@quietly
@given(st.lists(st.binary(max_size=40), max_size=8))
def test_arbitrary_bytes_are_messages_or_bad_ones(pieces: list[bytes]) -> None:
    lines = protocol.Lines()
    seen = [line for piece in pieces for line in lines.feed(piece)]
    whole, *_ = (b"".join(pieces)).rpartition(b"\n")
    assert b"\n".join(seen) == whole and len(seen) == b"".join(pieces).count(b"\n")
    for line in seen:
        reply = said(line, METHODS)
        assert ("error" in reply) != ("result" in reply)


@quietly
@given(st.dictionaries(NAMES, VALUES, max_size=5) | VALUES)
def test_any_json_gets_a_reply(values: object) -> None:
    reply = said(json.dumps(values).encode(), METHODS)
    assert code(reply) in ("bad-message", "unknown-method")


@quietly
@given(st.dictionaries(st.sampled_from(["question", "shown", "answers"]), VALUES | st.lists(ANSWER | VALUES)))
def test_any_answer_is_one_or_is_a_bad_message(values: dict[str, object]) -> None:
    try:
        protocol.read_answer(values)
    except errors.MessageError as error:
        assert error.code == "bad-message"


@quietly
@given(st.dictionaries(NAMES, st.text() | st.integers() | st.lists(st.text()), max_size=5))
def test_a_message_comes_back_equal(values: dict[str, object]) -> None:
    lines = protocol.Lines()
    (line,) = lines.feed(protocol.encode(values))
    assert protocol.decode(line) == values


@pytest.mark.parametrize(
    "line",
    [b"", b"[]", b"1", b"\xff{}", b"{}x", b'{"id":1,"id":2,"method":"hello"}', b'{"id":NaN,"method":"hello"}',
     b"[" * 100_000, b'{"a":' * 50_000, b'{"id":' + b"9" * 5000 + b',"method":"hello"}', b'{"id":1}',
     b'{"id":true,"method":"hello"}', b'{"id":-1,"method":"hello"}', b'{"id":1,"method":7}'],
    ids=lambda line: line[:30].decode("ascii", "replace"),
)  # fmt: skip
def test_what_is_no_request_is_a_bad_message(line: bytes) -> None:
    assert code(said(line, METHODS)) == "bad-message"


def test_an_unknown_method_names_the_known_ones() -> None:
    reply = said(b'{"id":3,"method":"reboot"}', METHODS)
    assert reply["id"] == 3 and code(reply) == "unknown-method" and "echo, hello" in str(reply)


def test_a_line_has_a_limit_and_the_rest_is_not_kept() -> None:
    lines = protocol.Lines()
    assert lines.feed(b"x" * (protocol.LIMIT - 1)) == ()
    with pytest.raises(errors.MessageError, match="longer"):
        lines.feed(b"x")
    with pytest.raises(errors.MessageError):
        protocol.Lines().feed(b"x" * protocol.LIMIT + b"\n")
    assert protocol.Lines().feed(b"x" * (protocol.LIMIT - 1) + b"\n")
    with pytest.raises(errors.MessageError, match="fit"):
        protocol.encode({"x": "y" * protocol.LIMIT})
    assert code(said(b'{"id":1,"method":"big"}', {"big": lambda _: {"x": "y" * protocol.LIMIT}})) == "message-too-long"


def test_questions_that_a_line_has_no_room_for_are_named_all_the_same() -> None:
    asked = protocol.question_data("a/b", handshake.request(handshake.question(reason="x" * 90_000)))
    questions = protocol.listed([asked] * 20)["questions"]
    assert isinstance(questions, list) and len(questions) == 20
    assert len(protocol.encode({"id": 1, "result": {"questions": questions}})) < protocol.LIMIT
    assert questions[0]["request"] and questions[-1] == {**asked, "request": None}


def test_every_key_of_a_request_is_documented() -> None:
    less = prompts.Narrowing(scopes=(FOLDER,), title="less", allows="", risk=model.Risk.LOW)
    settled = prompts.Settled(title="x", effect=model.Effect.DENY, locked=True, reason="y")
    asked = handshake.question("sheets", open=(FOLDER,), narrower=(less,))
    data = wire.request_data(handshake.request(asked, settled=(settled,)))
    documented = (pathlib.Path(__file__).parents[1] / "docs" / "protocol.md").read_text("utf-8")
    (question,) = data["questions"]  # type: ignore[misc]
    for part in (data, question, *question["narrower"], *data["settled"], *wire.answers_data(DENIED)):  # type: ignore[misc]
        assert [key for key in part if f"`{key}`" not in documented] == []


def test_an_error_goes_through_whole() -> None:
    for family in errors.CATALOGUE.values():
        for name in family:
            back = errors.named(name, "A sentence.", "A step.")
            assert (back.code, back.message, back.hint) == (name, "A sentence.", "A step.")
    assert errors.named("no-such-code", "x", "y").code == "bad-message"


# One question over a pair of sockets, as a helper process has it.

REQUEST = handshake.request(handshake.question("sheets", kind="path", open=(FOLDER,)))
QUESTION = protocol.question_id(REQUEST.app_id, "0123")
DENIED = (prompts.answer(REQUEST.questions[0], model.Effect.DENY, model.Lifespan.FOREVER),)


@contextlib.contextmanager
def helper(work: Callable[[socket.socket], None]) -> Iterator[socket.socket]:
    """The broker's end of a pair; ``work`` has the other in a thread."""
    ours, theirs = socket.socketpair()

    def run() -> None:
        with theirs:
            work(theirs)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        with ours:
            yield ours
    finally:
        thread.join(10)
        assert not thread.is_alive()


def put(work: Callable[[socket.socket], None]) -> tuple[prompts.Answer, ...] | None:
    with helper(work) as ours:
        return client.put(ours, REQUEST, QUESTION)


def test_a_helper_sees_the_question_and_answers_it() -> None:
    def work(connection: socket.socket) -> None:
        broker = client.Client(connection)
        assert broker.call("hello") == {"protocol": "intents", "version": 1}
        (one,) = broker.call("list")["questions"]  # type: ignore[misc]
        assert wire.read_request(one["request"]) == REQUEST
        broker.call("answer", question=one["question"], shown=one["shown"], answers=wire.answers_data(DENIED))

    assert put(work) == DENIED


def test_a_place_is_looked_at_by_whoever_asks_and_weighs_no_less_than_it_says() -> None:
    """What was found may be given for as long as its own risk allows; what nobody looked at, as if it were critical."""
    inside = kinds.from_data({"kind": "path", "place": "home/Sheets/in", "access": "write"})
    other = kinds.from_data({"kind": "path", "place": "home/Sheets/other", "access": "write"})
    found = prompts.Narrowing(scopes=(inside,), title="~/Sheets/in", allows="It can change it.", risk=model.Risk.NORMAL)
    asked = handshake.question(open=(FOLDER,), kind="path", risk=model.Risk.CRITICAL)
    seen: list[tuple[str, str]] = []

    def elsewhere(intent: str, typed: str) -> tuple[prompts.Narrowing, ...] | text.Said:
        seen.append((intent, typed))
        return (found,) if typed == "in" else text.said("It is not there.")

    request = dataclasses.replace(handshake.request(asked), elsewhere=elsewhere)

    def answered(scope: model.Scope) -> tuple[prompts.Answer, ...] | None:
        given = prompts.answer(asked, model.Effect.ALLOW, model.Lifespan.FOREVER, (scope,))

        def work(connection: socket.socket) -> None:
            broker = client.Client(connection)
            assert broker.call("list")["places"] is True
            assert broker.call("place", intent="rates", typed="out") == {"said": "It is not there."}
            (narrower,) = broker.call("place", intent="rates", typed="in")["narrower"]  # type: ignore[misc]
            assert wire.read_narrowing(narrower) == found
            with contextlib.suppress(errors.IntentError):
                answers = wire.answers_data([given])
                broker.call("answer", question=QUESTION, shown=wire.shown(request), answers=answers)

        with helper(work) as ours:
            return client.put(ours, request, QUESTION)

    assert answered(inside) is not None and answered(other) is None
    assert seen[:2] == [("rates", "out"), ("rates", "in")]


def refused(**changed: object) -> tuple[tuple[prompts.Answer, ...] | None, str]:
    """What comes of an answer with something changed, and the code it is refused with."""
    codes: list[str] = []

    def work(connection: socket.socket) -> None:
        values = {"question": QUESTION, "shown": wire.shown(REQUEST), "answers": wire.answers_data(DENIED), **changed}
        try:
            client.Client(connection).call("answer", **values)
        except errors.IntentError as error:
            codes.append(error.code)

    return put(work), "".join(codes)


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        ({}, ""),
        ({"answers": None}, ""),
        ({"question": "org.example.Other/0123"}, "question-gone"),
        ({"question": "org.example.Calculator/4567"}, "question-gone"),
        ({"shown": "0" * 64}, "question-changed"),
        ({"answers": []}, "not-on-offer"),
        ({"answers": [{"intent": "sheets"}]}, "bad-message"),
        ({"answers": "yes"}, "bad-message"),
    ],
)
def test_wrong_app_blamed(changed: dict[str, object], refusal: str) -> None:
    """An answer counts for the app, the publisher and the very question that it names, or not at all."""
    answers, found = refused(**changed)
    assert found == refusal
    assert answers == (None if changed else DENIED)


@pytest.mark.parametrize(
    "line", [b"", b"nonsense\n", b"x" * (protocol.LIMIT + 1), b'{"id":1,"method":"list"}\n', b'{"id":1'],
    ids=["nothing", "nonsense", "endless", "only looks", "half"],
)  # fmt: skip
def test_a_helper_that_dies_is_no_answer(line: bytes) -> None:
    assert put(lambda connection: connection.sendall(line)) is None


def test_a_helper_that_takes_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_PATIENCE", 0.05)
    long = handshake.request(handshake.question(reason="x" * 200_000))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b'{"id":1,"method":"list"}\n' * 9)
        assert client.put(ours, long, QUESTION) is None


def test_an_end_is_told_to_the_client() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        theirs.close()
        with pytest.raises(errors.MessageError) as caught:
            client.Client(ours).call("hello")
    assert caught.value.code == "connection-closed"


def test_prompt_answered_after_it_became_moot_is_told_and_not_waited_for() -> None:
    told: list[object] = []

    def work(connection: socket.socket) -> None:
        told.append(client.Client(connection).event())

    with helper(work) as ours:
        assert client.put(ours, REQUEST, QUESTION, gone=lambda: True, every=0.01) is None
    assert told == [{"event": "gone", "question": QUESTION}]
