"""The socket of the questions: for the same user outside every sandbox, and no client in the way of another (§11.5)."""

import os
import pathlib
import stat
import subprocess
import sys
from collections.abc import Iterator

import pytest

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
ANOTHER = "from broker import server\nserver._peer = lambda connection: (1, 12345)\n"
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
        assert serving.questions(broker) == [one] and starting.pending(asked) == 1
        for _ in range(5):
            broker.call("answer", question=one["question"], shown=one["shown"], answers=None)
        assert serving.questions(broker) == [one]
    assert starting.events(asked, What.DECISION) == [] and starting.pending(asked) == 3, "the journal does not grow"


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


AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
# What is taken away first, as whom it is tried, what comes of it. Only root can become another user.
OTHERS = {
    "said to be another": (ANOTHER, (), "b''"),
    **(
        {
            "mode": ("", AS_NOBODY, "PermissionError"),
            "credentials": (EVERYBODY, AS_NOBODY, "b''"),
            "neither": (EVERYBODY + NO_CHECK, AS_NOBODY, "protocol"),
        }
        if os.geteuid() == 0
        else {}
    ),
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_user_is_refused(other: str) -> None:
    """By the mode of the socket and its directory, and where those are open by who is at the other end."""
    removed, whom, seen = OTHERS[other]
    with world.world("/srv" if whom else None) as home, serving.served(home, removed=removed):
        opened = (home.base, home.runtime, serving.path(home).parent) if removed and whom else ()
        for each in opened:
            each.chmod(0o755)
        serving.path(home).chmod(0o666 if opened else 0o600)
        argv = (*whom, "/usr/bin/python3", "-I", "-S", "-c", HELLO, str(serving.path(home)))
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
        for each in opened:
            each.chmod(0o700)
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
        serving.answered(home)


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
        serving.answered(home)


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
        serving.answered(home)
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
