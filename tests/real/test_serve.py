"""The socket of the questions: for the same user outside every sandbox, and no client in the way of another (§11.5)."""

import contextlib
import json
import os
import pathlib
import resource
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from broker import client, protocol
from broker.history import What
from intents import errors, model
from tests import control
from tests.real import serving, starting, world

pytestmark = pytest.mark.real

APP = world.APP
MOST = 64
EVERYBODY = """
import os
from broker import server
server.os.umask = lambda mask: 0o022
"""
NO_CHECK = "server._peer = lambda connection: (0, os.geteuid())\n"
REACH = "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"
HELLO = REACH + """
try:
    s.sendall(b'{"id":1,"method":"hello"}\\n')
    said = s.recv(100)
except ConnectionError:
    said = b""
print(said)
"""


@pytest.fixture
def home() -> Iterator[world.World]:
    with starting.home() as made:
        yield made


@pytest.fixture
def asked(home: world.World) -> world.World:
    """A world with one question in the queue."""
    home.start("true")
    return home


def code(caught: pytest.ExceptionInfo[errors.IntentError]) -> str:
    return caught.value.code


# What it does


def test_a_question_is_seen_and_answered(asked: world.World) -> None:
    with serving.served(asked), serving.connected(asked) as broker:
        assert broker.call("hello") == {"protocol": "intents", "version": 1}
        (one,) = serving.questions(broker)
        given = serving.answers(one["request"], model.Effect.ALLOW)
        broker.call("answer", question=one["question"], shown=one["shown"], answers=given)
        assert serving.questions(broker) == []
        effective = broker.call("effective", app=APP)
        assert [each["state"] for each in effective["intents"]] == ["allowed", "allowed"]  # type: ignore[attr-defined]
        assert effective == control.data(asked, "show", APP)
    assert starting.got(asked.says(starting.LOOK)) == {"net", "notes"}


def test_whoever_subscribes_is_told(home: world.World) -> None:
    with serving.served(home), serving.connected(home) as watcher, serving.connected(home) as other:
        watcher.call("subscribe")
        home.start("true")
        told = serving.events(watcher, "question", "started", "ended")
        (one,) = told["question"]
        assert one["question"] == serving.questions(other)[0]["question"]
        assert told["started"][0]["app"] == APP and told["ended"][0]["status"] == 0
        given = serving.answers(one["request"])
        other.call("answer", question=one["question"], shown=one["shown"], answers=given)
        told = serving.events(watcher, "decided", "gone")
        effects = {(each["intent"], each["effect"]) for each in told["decided"]}
        assert effects == {("net", "deny"), ("notes", "deny")}
        assert told["gone"] == [{"event": "gone", "question": one["question"]}]
        control.done(home, "forget", APP)
        assert serving.events(watcher, "changed")["changed"][0]["what"] == "forget"


def test_what_is_open_is_told_at_the_start(asked: world.World) -> None:
    with serving.served(asked), serving.connected(asked) as broker:
        assert broker.call("subscribe") == {}
        (told,) = serving.events(broker, "question")["question"]
        assert told["question"] == serving.questions(broker)[0]["question"]


@pytest.mark.parametrize("change", ["app", "publisher", "shown", "more", "less", "forever"])
def test_wrong_app_blamed(asked: world.World, change: str) -> None:
    """An answer that names another app, another publisher or something else than was shown stores nothing."""
    with serving.served(asked), serving.connected(asked) as broker:
        (one,) = serving.questions(broker)
        question, shown = str(one["question"]), str(one["shown"])
        given = serving.answers(one["request"])
        lineage = question.partition("/")[2]
        match change:
            case "app":
                question = f"org.example.Other/{lineage}"
            case "publisher":
                question = f"{APP}/0000000000000000"
            case "shown":
                shown = "0" * 64
            case "more":
                wide = {"kind": "path", "place": "home", "access": "write"}
                given = [{**each, "effect": "allow", "scopes": [wide]} for each in given]
            case "less":
                given = given[:1]
            case "forever":
                given = [{**each, "span": "once"} for each in given]
        with pytest.raises(errors.RefusedError) as caught:
            broker.call("answer", question=question, shown=shown, answers=given)
        refusals = {"app": "question-gone", "publisher": "question-gone", "shown": "question-changed"}
        assert code(caught) == refusals.get(change, "not-on-offer")
        assert len(serving.questions(broker)) == 1
    assert starting.events(asked, What.DECISION) == []


def test_nobodys_answer_is_no_decision(asked: world.World) -> None:
    with serving.served(asked), serving.connected(asked) as broker:
        (one,) = serving.questions(broker)
        broker.call("answer", question=one["question"], shown=one["shown"], answers=None)
        assert serving.questions(broker) == [one]
    assert starting.events(asked, What.DECISION) == [] and starting.pending(asked) == 1


def test_prompt_answered_after_it_became_moot(asked: world.World) -> None:
    """Of two front-ends with the same question the first answers it; the other is told, and nothing is stored twice."""
    with serving.served(asked), serving.connected(asked) as one, serving.connected(asked) as other:
        (question,) = serving.questions(one)
        values = {"question": question["question"], "shown": question["shown"]}
        one.call("answer", **values, answers=serving.answers(question["request"]))
        with pytest.raises(errors.RefusedError) as caught:
            other.call("answer", **values, answers=serving.answers(question["request"], model.Effect.ALLOW))
    assert code(caught) == "question-gone"
    assert [event.body["granted"] for event in starting.events(asked, What.DECISION)] == [None, None]


# Whose it is


def test_wire_socket_in_tmp(home: world.World) -> None:
    """The socket lies in the reserved directory of this session, and no other user has a way to it."""
    with serving.served(home):
        found = serving.path(home)
        assert found == pathlib.Path(home.environ["XDG_RUNTIME_DIR"], "intents", "broker.sock")
        info, above = found.stat(), found.parent.stat()
        assert stat.S_ISSOCK(info.st_mode) and stat.S_IMODE(info.st_mode) == 0o600
        assert stat.S_IMODE(above.st_mode) == 0o700 and above.st_uid == info.st_uid == os.geteuid()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(
    ("removed", "seen"), [("", "PermissionError"), (EVERYBODY, "b''"), (EVERYBODY + NO_CHECK, "protocol")],
    ids=["mode", "credentials", "neither"],
)  # fmt: skip
def test_another_user_is_refused(removed: str, seen: str) -> None:
    """By the mode of the socket and its directory, and where those are open by who is at the other end."""
    with world.world("/srv" if pathlib.Path("/srv").is_dir() else None) as home:
        with serving.served(home, removed=removed):
            if removed:
                for above in (home.base, home.runtime, serving.path(home).parent):
                    above.chmod(0o755)
                serving.path(home).chmod(0o666)
            done = subprocess.run(
                ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                 "/usr/bin/python3", "-I", "-S", "-c", HELLO, str(serving.path(home))],
                capture_output=True, text=True, timeout=30, check=False,
            )  # fmt: skip
            for above in (serving.path(home).parent, home.runtime, home.base):
                above.chmod(0o700)
        assert seen in (done.stderr if seen == "PermissionError" else done.stdout), done


GRANTS = {
    "home": {"kind": "path", "place": "home", "access": "read"},
    "write": {"kind": "path", "place": "home", "access": "write"},
    "network": {"kind": "network", "scope": "host"},
    "ipc": {"kind": "shared-memory", "uses": ["files", "ipc"]},
    "processes": {"kind": "processes"},
    "nested": {"kind": "nested-sandbox"},
    "debug": {"kind": "debugging"},
    "session": {"kind": "dbus", "bus": "session", "talk": ["org.example.Service"]},
    "above it": {"kind": "path", "place": "BASE", "access": "read"},
    "all above": {"kind": "path", "place": "BASE", "access": "write"},
    "beside it": {"kind": "path", "place": "RUNTIME", "access": "read"},
    "it": {"kind": "path", "place": "RUNTIME/intents", "access": "read"},
}

SEEK = f"""
import os, socket, sys
for path in sys.argv[1:]:
    try:
        s = socket.socket(socket.AF_UNIX)
        s.connect(path)
        print("REACHED", path)
    except OSError as error:
        print("NO", path, error.strerror)
for base, names, files in os.walk("/", followlinks=False):
    if base.startswith(("/proc/", "/sys/")):
        names.clear()
    for name in files:
        if name == {"broker.sock"!r}:
            print("SEEN", os.path.join(base, name))
with open("/proc/net/unix") as file:
    print("LISTED" * ("broker.sock" in file.read()))
"""


def _named(value: object, names: dict[str, str]) -> object:
    for name, path in names.items():
        value = value.replace(name, path) if isinstance(value, str) else value
    return value


@pytest.mark.parametrize("grant", GRANTS)
def test_no_grant_shows_the_socket(grant: str) -> None:
    with world.world() as home:  # a runtime directory that is no mount of its own, as the worst environment names it
        names = {"BASE": str(home.base), "RUNTIME": str(home.runtime)}
        scope = {key: _named(value, names) for key, value in GRANTS[grant].items()}
        home.install(world.manifest(world.PYTHON, {"it": scope}))
        home.decide()
        with serving.served(home):
            path = serving.path(home)
            ways = (str(path), f"/run/user/{os.geteuid()}/intents/broker.sock", f"/proc/self/root{path}")
            done = home.start(SEEK, *ways)
            said = done.stdout.decode()
            assert done.returncode == 0 and said.count("NO ") == 3, done
            assert "REACHED" not in said and "SEEN" not in said, said
            outside = subprocess.run(
                [sys.executable, "-c", SEEK, str(path)], capture_output=True, text=True, timeout=120, check=False
            )
            assert "REACHED" in outside.stdout and "SEEN" in outside.stdout, "outside it is there"


# Hostile clients


def answered(home: world.World) -> None:
    """A good client gets its answer."""
    with serving.connected(home) as broker:
        assert broker.call("hello")["version"] == 1


def test_a_client_that_sends_by_the_byte_holds_up_nobody(asked: world.World) -> None:
    with serving.served(asked), contextlib.ExitStack() as held:
        slow = [held.enter_context(serving.raw(asked)) for _ in range(20)]
        for each in slow:
            each.sendall(b'{"id":1,"meth')
        for _ in range(5):
            for each in slow:
                each.sendall(b" ")
            answered(asked)


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
        answered(asked)
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
                answered(asked)
        answered(asked)
        assert len(os.listdir(f"/proc/{server.pid}/fd")) < MOST + 32


def test_a_client_that_reads_nothing_is_told_no_more(asked: world.World) -> None:
    with serving.served(asked) as server, serving.raw(asked) as deaf:
        deaf.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            for number in range(10_000):
                deaf.sendall(b'{"id":%d,"method":"list"}\n' % number)
        answered(asked)
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
        answered(asked)


def test_nonsense_is_answered_and_nothing_else(asked: world.World) -> None:
    wrong = (b"\0", b"[]", b'{"id":1}', b'{"id":1,"method":"answer"}', b'{"id":1,"method":"effective","app":5}')
    with serving.served(asked), serving.connected(asked) as broker:
        for line in wrong:
            broker._connection.sendall(line + b"\n")
            with pytest.raises(errors.MessageError) as caught:
                protocol.result(broker._next(None) or {})
            assert code(caught) == "bad-message"
        with pytest.raises(errors.DecisionError):
            broker.call("effective", app="org.example.Nothing")
        with pytest.raises(errors.MessageError) as caught:
            broker.call("launch", app=APP)
        assert code(caught) == "unknown-method"
        with pytest.raises(errors.RefusedError):
            broker.call("list", question="../../etc/passwd/x")
    assert starting.events(asked, What.DECISION) == [] and starting.pending(asked) == 0


# One server


def fails(home: world.World) -> str:
    """What a server says that ends at once."""
    argv = serving.argv(home, "serve")
    done = subprocess.run(argv, env=home.environ, capture_output=True, text=True, timeout=serving.PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


def test_a_second_server_is_refused(home: world.World) -> None:
    with serving.served(home):
        assert "[already-served]" in fails(home)
        answered(home)


def test_what_a_killed_server_left_is_replaced(home: world.World) -> None:
    server = subprocess.Popen(serving.argv(home, "serve"), env=home.environ, stdout=subprocess.DEVNULL)
    serving.until(lambda: serving.path(home).exists())
    server.kill()
    server.wait()
    assert serving.path(home).exists()
    assert control.code(home, "replay", "/dev/null") in ("not-as-scripted",)
    with pytest.raises(ConnectionRefusedError), serving.raw(home):
        pass
    with serving.served(home):
        answered(home)


@pytest.mark.parametrize("what", ["file", "link", "directory"])
def test_something_else_at_the_name_of_the_socket(home: world.World, what: str) -> None:
    path = serving.path(home)
    other = home.base / "other"
    other.write_text("mine")
    if what == "directory":
        path.mkdir()
        assert "[unwritable-place]" in fails(home)
        return
    path.symlink_to(other) if what == "link" else path.write_text("x")
    with serving.served(home):
        answered(home)
    assert other.read_text() == "mine"


def test_fail_open_when_the_broker_dies(asked: world.World) -> None:
    """A server that dies takes no answer with it, and its clients are told."""
    server = subprocess.Popen(serving.argv(asked, "serve"), env=asked.environ, stdout=subprocess.DEVNULL)
    serving.until(lambda: serving.path(asked).exists())
    with serving.connected(asked) as broker:
        (one,) = serving.questions(broker)
        server.kill()
        server.wait()
        with pytest.raises(errors.MessageError) as caught:
            broker.call("answer", question=one["question"], shown=one["shown"], answers=[])
        assert code(caught) == "connection-closed"
    assert starting.events(asked, What.DECISION) == []
    assert starting.got(asked.says(starting.LOOK)) == set()


def test_without_a_runtime_directory_there_is_no_socket(home: world.World) -> None:
    del home.environ["XDG_RUNTIME_DIR"]
    assert "[no-runtime-directory]" in fails(home)


def test_nobody_serves(home: world.World) -> None:
    script = home.base / "script"
    script.write_text("[]")
    assert control.code(home, "replay", str(script)) == "not-served"


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


def test_client_is_a_client_of_it(asked: world.World) -> None:
    with serving.served(asked), serving.raw(asked) as connection:
        assert client.Client(connection).event(0.05) is None
