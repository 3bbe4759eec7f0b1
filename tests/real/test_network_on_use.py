"""What is asked on use: the app waits for a name while somebody is asked, and goes on or is refused (SPEC §8.9)."""

import os
import pathlib
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from broker import client, history, protocol, runs, wire
from tests import control
from tests.control import APP
from tests.real import lively, networked, peers, serving, starting, world
from tests.real.networked import fetches
from tests.real.test_network_live import companions

pytestmark = pytest.mark.real

SHORT = """
from broker.network import asking
asking.WAIT, asking.REST = 0.3, 0.3
"""


@pytest.fixture
def home() -> Iterator[networked.Home]:
    with networked.home() as made:
        made.offer(
            {
                "net": made.scope("one.test"),
                "ask": made.scope("two.test", ask="on-use"),
                "wild": made.scope("*.deep.test", ask="on-use"),
            }
        )
        made.decide("net")
        yield made


class Fetch:
    """The app tries to reach a name, meanwhile."""

    def __init__(self, app: lively.App, host: str, port: int) -> None:
        self.found: list[bool] = []
        self._thread = threading.Thread(target=lambda: self.found.append(fetches(app, host, port)))
        self._thread.start()

    def ends(self) -> bool:
        """Whether it reached it."""
        self._thread.join(peers.PATIENCE)
        assert self.found, "it waits for ever"
        return self.found[0]


@contextmanager
def trying(app: lively.App, host: str, port: int) -> Iterator[Fetch]:
    made = Fetch(app, host, port)
    try:
        yield made
    finally:
        made.ends()


def questions(home: world.World) -> list[dict[str, object]]:
    """What is in the queue."""
    found = control.data(home, "pending")["questions"]
    assert isinstance(found, list)
    return found


def asked(home: world.World) -> dict[str, object]:
    """The question, once it is there."""
    return peers.eventually(lambda: next(iter(questions(home)), None), "the question")


def answer(home: world.World, *verdicts: str) -> str:
    shown = str(asked(home)["shown"])
    return control.done(home, "answer", APP, shown, *verdicts)


def intents(question: dict[str, object]) -> list[str]:
    request = question["request"]
    assert isinstance(request, dict)
    return [each["intent"] for each in request["questions"]]


def test_it_waits_for_the_answer_and_goes_on(home: networked.Home) -> None:
    with networked.running(home) as app:
        assert fetches(app, "one.test", home.port) and not questions(home)
        with trying(app, "two.test", home.port) as fetch:
            question = asked(home)
            assert intents(question) == ["ask"] and not fetch.found
            said = control.done(home, "pending")
            assert f"two.test, port {home.port}" in said and '"To work."' in said
            assert "is told at once" in answer(home, "ask=allow")
            assert fetch.ends()
        assert fetches(app, "two.test", home.port) and not questions(home)
        assert "since its start: ask: two.test" in control.done(home, "ps")
        assert control.states(home)["ask"] == "allowed" and control.states(home)["wild"] == "open"
    with networked.running(home) as app:
        assert fetches(app, "two.test", home.port), "it is not asked again"
        assert not questions(home)


def test_what_is_denied_does_not_exist_and_is_not_asked_again(home: networked.Home) -> None:
    with networked.running(home) as app:
        with trying(app, "two.test", home.port) as fetch:
            answer(home, "ask=deny")
            assert not fetch.ends()
        assert not fetches(app, "two.test", home.port) and not questions(home)
        assert fetches(app, "one.test", home.port)
        assert control.states(home)["ask"] == "denied"
    with networked.running(home) as app:
        assert not fetches(app, "two.test", home.port) and not questions(home)


def test_a_front_end_of_the_server_is_told_and_answers(home: networked.Home) -> None:
    with serving.served(home), serving.connected(home) as front, networked.running(home) as app:
        front.call("subscribe")
        with trying(app, "two.test", home.port) as fetch:
            event = question_of(front)
            request = wire.read_request(event["request"])
            assert [each.intent_id for each in request.questions] == ["ask"]
            given = [{"intent": "ask", "effect": "allow", "span": "forever", "seconds": 0, "scopes": None}]
            about = {name: protocol.read_text(event, name) for name in ("question", "shown")}
            front.call("answer", answers=given, **about)
            assert fetch.ends()


def question_of(front: client.Client) -> protocol.Values:
    while event := front.event(peers.PATIENCE):
        if event["event"] == "question":
            return event
    raise AssertionError("no question came")


def test_it_does_not_wait_for_ever_and_a_later_answer_counts_at_once(home: networked.Home) -> None:
    with networked.running(home, removed=SHORT) as app:
        assert not fetches(app, "two.test", home.port)
        assert intents(asked(home)) == ["ask"], "the question stays"
        answer(home, "ask=allow")
        peers.eventually(lambda: fetches(app, "two.test", home.port), "what was allowed")
        rows = peers.eventually(lambda: [each for each in runs.tries(app.again()) if each.verdict == "asked"], "it")
        assert (rows[0].host, rows[0].intent) == ("two.test", "ask")


def test_a_flood_of_names_is_one_question(home: networked.Home) -> None:
    flood = """/usr/bin/python3 -I -S -c 'import _socket as s
u = s.socket(s.AF_INET, s.SOCK_DGRAM); u.settimeout(0.001)
for n in range(3000):
    q = b"".join(bytes((len(x),)) + x for x in (b"n%d" % n, b"deep", b"test"))
    u.sendto(b"\\0\\1\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0" + q + b"\\0\\0\\1\\0\\1", ("127.0.0.53", 53))
    try: u.recv(512)
    except OSError: pass'"""
    with networked.running(home, removed=SHORT) as app:
        assert app.says(flood) == ""
        assert intents(asked(home)) == ["wild"]
        assert len(starting.events(home, history.What.PENDING)) == 1
        assert fetches(app, "one.test", home.port)
        answer(home, "wild=deny")
        peers.eventually(lambda: not questions(home) and not fetches(app, "n1.deep.test", home.port), "the denial")


def test_both_that_are_tried_are_one_question_and_each_counts_for_itself(home: networked.Home) -> None:
    with networked.running(home) as app, trying(app, "two.test", home.port) as fetch:
        asked(home)
        app_two = peers.eventually(lambda: intents(asked(home)) == ["ask"], "the first")
        assert app_two
        answer(home, "ask=deny")
        assert not fetch.ends()
        with trying(app, "x.deep.test", home.port) as second:
            peers.eventually(lambda: questions(home) and intents(questions(home)[0]) == ["wild"], "the second")
            answer(home, "wild=allow")
            assert second.ends()
        assert fetches(app, "y.deep.test", home.port) and not fetches(app, "two.test", home.port)


def asker(app: lively.App) -> int:
    """The process that asks."""
    for pid in companions(app):
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"asker.main" in words:
            return pid
    return 0


def test_without_whoever_asks_nothing_is_given(home: networked.Home) -> None:
    with networked.running(home) as app:
        with trying(app, "two.test", home.port) as fetch:
            asked(home)
            os.kill(peers.eventually(lambda: asker(app), "the asker"), signal.SIGKILL)
            assert not fetch.ends()
        answer(home, "ask=allow")
        assert not fetches(app, "two.test", home.port), "nobody told it"
        assert not fetches(app, "x.deep.test", home.port)
        assert fetches(app, "one.test", home.port)
    with networked.running(home) as app:
        assert fetches(app, "two.test", home.port)


BROKEN = """
from broker.network import asking
asking.BEGIN = "raise SystemExit(1)"
"""
UNASKED = """
from broker.network import rules
_init = rules.Connect.__init__
def init(self, words):
    _init(self, [*words[:4], words[4].replace("ask", "-")])
rules.Connect.__init__ = init
"""


def test_an_asker_that_does_not_begin_gives_nothing(home: networked.Home) -> None:
    with networked.running(home, removed=BROKEN) as app:
        assert not fetches(app, "two.test", home.port) and fetches(app, "one.test", home.port)
        assert not questions(home)


def test_without_the_question_it_would_be_reached(home: networked.Home) -> None:
    with networked.running(home, removed=UNASKED) as app:
        assert fetches(app, "two.test", home.port)


def test_it_ends_with_the_app(home: networked.Home) -> None:
    with networked.running(home) as app, trying(app, "two.test", home.port):
        asked(home)
        pid = peers.eventually(lambda: asker(app), "the asker")
        answer(home, "ask=deny")
    peers.eventually(lambda: not pathlib.Path(f"/proc/{pid}").exists(), "the end of the asker")


@pytest.fixture
def ports() -> Iterator[tuple[networked.Home, networked.Server]]:
    """An app that may reach one port of this machine and of a name, and asks for another of both."""
    with networked.home() as made:
        other = networked.Server()
        try:
            asks = [f"one.test:{other.port}", f"127.0.0.1:{other.port}"]
            ask = {"kind": "network", "connect": asks, "ask": "on-use"}
            made.offer({"net": {"kind": "network", "connect": [f"one.test:{made.port}"]}, "ask": ask})
            made.decide("net")
            yield made, other
        finally:
            other.close()


@pytest.mark.parametrize("host", ["one.test", "127.0.0.1"])
@pytest.mark.parametrize("verdict", ["allow", "deny"])
def test_a_connection_waits_like_a_name(
    ports: tuple[networked.Home, networked.Server], host: str, verdict: str
) -> None:
    home, other = ports
    with networked.running(home) as app:
        assert fetches(app, "one.test", home.port) and not questions(home)
        with trying(app, host, other.port) as fetch:
            assert intents(asked(home)) == ["ask"] and other.connected() == 0
            critical = ["--confirm", "ask"] if verdict == "allow" else []
            answer(home, f"ask={verdict}", *critical)
            assert fetch.ends() is (verdict == "allow")
        assert fetches(app, host, other.port) is (verdict == "allow")
        assert fetches(app, "one.test", home.port) and not questions(home)


def test_a_revocation_of_what_was_allowed_on_use_takes_it(home: networked.Home) -> None:
    with networked.running(home) as app:
        with trying(app, "two.test", home.port) as fetch:
            answer(home, "ask=allow")
            assert fetch.ends()
        (row,) = control.data(home, "revoke", APP, "ask", "--now")["now"]  # type: ignore[misc]
        assert [each["server"] for each in row["servers"]] == [f"two.test:{home.port}"] and not row["later"]
        assert not fetches(app, "two.test", home.port) and not questions(home)
        assert fetches(app, "one.test", home.port)
