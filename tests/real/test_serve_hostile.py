"""Clients that send or read as they should not: nobody else waits for them, and nothing grows (SPEC §11.5)."""

import contextlib
import json
import os
import pathlib
import resource
import socket
import time
from collections.abc import Iterator

import pytest

from broker import protocol
from broker.history import What
from intents import errors
from tests.real import serving, starting, world

pytestmark = pytest.mark.real

APP = world.APP
MOST = 64


@pytest.fixture
def asked() -> Iterator[world.World]:
    """A world with one question in the queue."""
    with starting.home() as home:
        home.start("true")
        yield home


def test_a_client_that_sends_by_the_byte_holds_up_nobody(asked: world.World) -> None:
    with serving.served(asked), contextlib.ExitStack() as held:
        slow = [held.enter_context(serving.raw(asked)) for _ in range(20)]
        for each in slow:
            each.sendall(b'{"id":1,"meth')
        for _ in range(5):
            for each in slow:
                each.sendall(b" ")
            serving.answered(asked)


def memory(pid: int) -> int:
    """The resident memory of a process, in bytes."""
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def test_endless_lines_are_not_kept(asked: world.World) -> None:
    with serving.served(asked) as server, contextlib.ExitStack() as held:
        before = memory(server.pid)
        for _ in range(40):
            with serving.raw(asked) as broker:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    broker.sendall(b"x" * (protocol.LIMIT + 1))
                    broker.shutdown(socket.SHUT_WR)
                said = received(broker)
                assert not said or b"bad-message" in said
        for _ in range(30):
            each = held.enter_context(serving.raw(asked))
            each.sendall(b"x" * (protocol.LIMIT // 2))
        serving.answered(asked)
        assert memory(server.pid) - before < 30 * protocol.LIMIT


def received(connection: socket.socket) -> bytes:
    """Everything that comes until the other side ends it."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(1 << 16):
            found += data
    return found


def test_a_thousand_connections_keep_nobody_out(asked: world.World) -> None:
    with serving.served(asked) as server, contextlib.ExitStack() as held:
        for number in range(1000):
            each = held.enter_context(socket.socket(socket.AF_UNIX))
            each.settimeout(serving.PATIENCE)
            each.connect(str(serving.path(asked)))
            if number % 100 == 0:
                serving.answered(asked)
        serving.answered(asked)
        assert len(os.listdir(f"/proc/{server.pid}/fd")) < MOST + 32


def test_a_client_that_reads_nothing_is_told_no_more(asked: world.World) -> None:
    with serving.served(asked) as server, serving.raw(asked) as deaf:
        deaf.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            for number in range(10_000):
                deaf.sendall(b'{"id":%d,"method":"list"}\n' % number)
        serving.answered(asked)
        assert memory(server.pid) < 300 << 20
        deaf.settimeout(serving.PATIENCE)
        assert deaf.recv(10).startswith(b'{"id":0')


def test_half_a_connection_gets_its_answers_and_ends(asked: world.World) -> None:
    with serving.served(asked), serving.raw(asked) as broker:
        broker.sendall(b'{"id":1,"method":"hello"}\n{"id":2,"method":"list"}\n{"id":3,"met')
        broker.shutdown(socket.SHUT_WR)
        replies = [json.loads(line) for line in received(broker).splitlines()]
        assert [reply["id"] for reply in replies] == [1, 2]


def test_connections_that_end_at_any_time_harm_nobody(asked: world.World) -> None:
    with serving.served(asked):
        for number in range(200):
            with serving.raw(asked) as broker:
                broker.sendall(b'{"id":1,"method":"subscribe"}\n{"id":2,"method":"list"}\n'[: number % 60])
        serving.answered(asked)


def test_nonsense_is_answered_and_nothing_else(asked: world.World) -> None:
    wrong = (b"\0", b"[]", b'{"id":1}', b'{"id":1,"method":"answer"}', b'{"id":1,"method":"effective","app":5}')
    with serving.served(asked), serving.connected(asked) as broker:
        for line in wrong:
            broker._connection.sendall(line + b"\n")
            with pytest.raises(errors.MessageError) as caught:
                protocol.result(broker._next(None) or {})
            assert caught.value.code == "bad-message"
        with pytest.raises(errors.DecisionError):
            broker.call("effective", app="org.example.Nothing")
        with pytest.raises(errors.MessageError) as caught:
            broker.call("launch", app=APP)
        assert caught.value.code == "unknown-method"
        with pytest.raises(errors.RefusedError):
            broker.call("list", question="../../etc/passwd/x")
    assert starting.events(asked, What.DECISION) == [] and starting.pending(asked) == 0


def test_a_good_client_waits_for_its_turn_alone(asked: world.World) -> None:
    """However busy others keep the server, every request of everybody is answered in turn."""
    with serving.served(asked), contextlib.ExitStack() as held:
        busy = [held.enter_context(serving.raw(asked)) for _ in range(8)]
        for each in busy:
            each.sendall(b'{"id":1,"method":"effective","app":"org.example.App"}\n' * 50)
        begun = time.monotonic()
        with serving.connected(asked) as broker:
            broker.call("hello")
        held.close()
        assert time.monotonic() - begun < serving.PATIENCE


ODD = (
    *("", "\0", "a\0b", "\udc80", "..", "/", "//", "a/b", "x" * 10_000, "/etc/passwd", "FIFO", "FIFO.toml", "~", "*"),
    *("org.example.App\n", "org.example.App/\0", "org.example.App/" + "0" * 16, "-", "--all", "%s", "é" * 300),
)


UNKNOWN = ("unknown-app", "question-gone", "question-changed", "bad-message")


def test_odd_names_are_unknown_and_nothing_worse(asked: world.World) -> None:
    os.mkfifo(asked.base / "fifo.toml")
    names = [name.replace("FIFO.toml", str(asked.base / "fifo.toml")) for name in ODD]
    with serving.served(asked), serving.connected(asked) as broker:
        (one,) = serving.questions(broker)
        for name in names:
            for method, values in (
                ("effective", {"app": name}),
                ("list", {"question": name}),
                ("answer", {"question": name, "shown": one["shown"], "answers": None}),
                ("answer", {"question": one["question"], "shown": name, "answers": []}),
            ):
                with pytest.raises(errors.IntentError):
                    broker.call(method, **values)
        assert serving.questions(broker) == [one]
    assert starting.pending(asked) == 0


DEFECT = """
from broker import views
def show(*_):
    raise ZeroDivisionError
views.show = show
"""


def test_a_defect_of_ours_ends_one_client_alone(asked: world.World) -> None:
    with serving.served(asked, removed=DEFECT), serving.connected(asked) as other:
        with serving.connected(asked) as broker, pytest.raises(errors.MessageError) as caught:
            broker.call("effective", app=APP)
        assert caught.value.code == "connection-closed"
        assert other.call("hello")["version"] == 1
