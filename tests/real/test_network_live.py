"""The network of a running app, given and taken by name without a restart; what it tried is on record."""

import os
import pathlib
import socket
from collections.abc import Iterator

import pytest

from broker import online, runs
from tests import control
from tests.control import APP
from tests.real import lively, networked, peers, world
from tests.real.networked import fetches, gone, hold

pytestmark = pytest.mark.real


@pytest.fixture
def home() -> Iterator[networked.Home]:
    with networked.home() as made:
        made.offer(
            {
                "net": made.scope("one.test", "two.test", "*.deep.test"),
                "more": made.scope("three.test"),
                "far": {"kind": "network", "connect": [f"127.0.0.1:{made.port}"]},
            }
        )
        made.decide("net")
        yield made


def now(home: world.World, *words: str, status: int = 0) -> dict[str, list[dict[str, object]]]:
    """``grant`` or ``revoke`` with ``--now``: what became of the one instance."""
    (row,) = control.data(home, words[0], APP, *words[1:], "--now", status=status)["now"]  # type: ignore[misc]
    assert isinstance(row, dict)
    return row


def servers(row: dict[str, list[dict[str, object]]], home: networked.Home) -> dict[str, tuple[object, object]]:
    """Each server that was given or taken: (whether it is reached, how many connections were closed)."""
    found = {str(each["server"]): (each["granted"], each["connections"]) for each in row["servers"]}
    return {name.removesuffix(f":{home.port}"): what for name, what in found.items()}


def test_what_is_tried_can_be_read_while_it_runs_and_afterwards(home: networked.Home) -> None:
    with networked.running(home) as app:
        assert fetches(app, "one.test", home.port) and fetches(app, "one.test", home.port)
        assert not fetches(app, "evil.test", home.port)

        def seen() -> list[tuple[str, str, int, str, str, int]]:
            rows = runs.tries(app.again())
            return sorted((row.protocol, row.host, row.port, row.verdict, row.intent, row.times) for row in rows)

        peers.eventually(lambda: {row[1] for row in seen()} == {"one.test", "evil.test"}, "what was tried")
        peers.eventually(lambda: ("tcp", "one.test", home.port, "allowed", "net", 2) in seen(), "twice")
        assert [row[3:5] for row in seen() if row[1] == "evil.test"] == [("not-granted", "-")]
        for words in (("ps",), ("show", APP), ("uses", APP)):
            said = control.done(home, *words)
            assert f"tried one.test:{home.port} twice" in said and "allowed by net" in said
            assert "looked up evil.test" in said and ", not granted" in said
    (found,) = control.data(home, "uses", APP)["apps"]  # type: ignore[misc]
    assert {(each["host"], each["verdict"]) for each in found["tried"]} == {
        ("one.test", "allowed"),
        ("evil.test", "not-granted"),
    }
    assert "looked up evil.test" in control.done(home, "log", APP)


def test_a_revocation_closes_what_is_open_and_says_how_many(home: networked.Home) -> None:
    with networked.running(home) as app:
        for host in ("one.test", "two.test", "a.deep.test"):
            hold(app, host, home.port)
        assert home.server.connected() == 3
        row = now(home, "revoke", f"two.test:{home.port}")
        assert servers(row, home) == {"two.test": (False, 1)} and row["later"] == row["changed"] == []
        assert gone(app, "two.test") == "reset"
        peers.eventually(lambda: home.server.connected() == 2, "the far side")
        assert not fetches(app, "two.test", home.port) and fetches(app, "one.test", home.port)
        row = now(home, "revoke", "net")
        assert servers(row, home) == {"one.test": (False, 1), "*.deep.test": (False, 1)} and row["later"] == []
        assert gone(app, "one.test") == gone(app, "a.deep.test") == "reset"
        assert not fetches(app, "one.test", home.port)
        peers.eventually(lambda: home.server.connected() == 0, "the far side")
        said = control.done(home, "show", APP)
        assert "since its start: net: " in said and f"two.test:{home.port}" in said and "gone from it" in said
    with networked.running(home) as app:
        assert not fetches(app, "one.test", home.port), "it is so at the next start as well"


NO_DROP = """
from broker.network import rules
rules.Rules.drop = lambda *_: None
"""


def test_without_the_rules_being_dropped_it_would_stay_connected(home: networked.Home) -> None:
    with networked.running(home, removed=NO_DROP) as app:
        hold(app, "one.test", home.port)
        assert servers(now(home, "revoke", f"one.test:{home.port}"), home) == {"one.test": (False, 0)}
        assert home.server.connected() == 1 and fetches(app, "one.test", home.port)


def test_a_grant_is_there_at_once_beside_what_it_has(home: networked.Home) -> None:
    with networked.running(home) as app:
        assert not fetches(app, "three.test", home.port)
        row = now(home, "grant", "more")
        assert servers(row, home) == {"three.test": (True, 0)} and row["later"] == []
        assert fetches(app, "three.test", home.port)
        assert servers(now(home, "grant", "more"), home) == {}
        assert servers(now(home, "revoke", "more"), home) == {"three.test": (False, 0)}
        assert not fetches(app, "three.test", home.port)
        assert servers(now(home, "grant", "more"), home) == {"three.test": (True, 0)}
        assert fetches(app, "three.test", home.port) and fetches(app, "one.test", home.port)


def test_what_cannot_be_given_now_waits_and_that_is_said(home: networked.Home) -> None:
    with networked.running(home) as app:
        row = now(home, "grant", "far", "--confirm", "far")
        assert row["servers"] == [] and [each["intent"] for each in row["later"]] == ["far"]
        assert not fetches(app, "127.0.0.1", home.port)
    control.done(home, "revoke", APP)
    with networked.running(home) as app:
        row = now(home, "grant", "net")
        assert row["servers"] == [] and "at its next start" in str(row["later"][0]["why"])
        assert not fetches(app, "one.test", home.port)
    with networked.running(home) as app:
        assert fetches(app, "one.test", home.port)


def test_a_companion_that_is_gone_takes_the_network_with_it(home: networked.Home) -> None:
    with networked.running(home) as app:
        hold(app, "one.test", home.port)
        for pid in companions(app):
            os.kill(pid, 9)
        assert gone(app, "one.test") in ("reset", "ended")
        assert not fetches(app, "one.test", home.port)
        row = now(home, "revoke", "net")
        assert row["servers"] == [] and row["later"] == []


def test_a_companion_that_does_not_answer_is_said(home: networked.Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online, "PATIENCE", 0.3)
    with networked.running(home) as app:
        (dialer,) = (pid for pid in companions(app) if holds_socket(app, pid))
        os.kill(dialer, 19)
        try:
            row = now(home, "revoke", "net", status=1)
            assert row["servers"] == [] and "does not answer" in str(row["later"][0]["why"])
        finally:
            os.kill(dialer, 18)


def companions(app: lively.App) -> list[int]:
    """The processes beside the sandbox."""
    inside = {app.instance.first, *app.instance.members(), app.started.pid}
    found = []
    for name in os.listdir("/proc"):
        try:
            parent = int(pathlib.Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if name.isdigit() and parent in (app.started.pid, *found) and int(name) not in inside:
            found.append(int(name))
    return found


def holds_socket(app: lively.App, pid: int) -> bool:
    """Whether a process listens on the control socket."""
    path = f"{app.instance.path.removesuffix('.json')}/{online.NAME}"
    lines = pathlib.Path("/proc/self/net/unix").read_text().splitlines()
    numbers = {line.split()[6] for line in lines if line.endswith(path)}
    try:
        links = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return False
    return any(f"socket:[{number}]" in links for number in numbers)


def test_the_control_socket_is_the_users_alone_and_not_in_the_sandbox(home: networked.Home) -> None:
    with networked.running(home) as app:
        path = pathlib.Path(app.instance.path.removesuffix(".json"), online.NAME)
        assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
        assert "No such file" in app.says(f"ls {path}")
        if os.geteuid() == 0:
            assert another_user(path) == b""
        assert fetches(app, "one.test", home.port)


def another_user(path: pathlib.Path) -> bytes:
    """What the socket says to another user, for whom somebody has opened the way to it."""
    path.chmod(0o666)
    path.parent.chmod(0o711)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.chdir(path.parent)
            os.setuid(peers.NOBODY)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
                made.settimeout(peers.PATIENCE)
                made.connect(path.name)
                made.sendall(b"drop net\n")
                os.write(writing, b"connected " + made.recv(64))
        except ConnectionResetError:
            os.write(writing, b"connected ")
        finally:
            os._exit(0)
    os.close(writing)
    try:
        os.waitpid(child, 0)
        said = os.read(reading, 80)
        assert said.startswith(b"connected"), said
        return said.removeprefix(b"connected ")
    finally:
        os.close(reading)


def test_a_flood_of_names_neither_fills_the_record_nor_stops_the_rest(home: networked.Home) -> None:
    flood = """/usr/bin/python3 -I -S -c 'import _socket as s
u = s.socket(s.AF_INET, s.SOCK_DGRAM)
for n in range(5000):
    q = b"".join(bytes((len(x),)) + x for x in (b"n%d" % n, b"x" * 60, b"x" * 60, b"test"))
    u.sendto(b"\\0\\1\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0" + q + b"\\0\\0\\1\\0\\1", ("127.0.0.53", 53)); u.recv(512)'"""
    with networked.running(home) as app:
        assert app.says(flood) == ""
        assert fetches(app, "one.test", home.port)
        rows = peers.eventually(lambda: [each for each in runs.tries(app.again()) if each.verdict == "allowed"], "it")
        assert [each.host for each in rows] == ["one.test"]
        file = pathlib.Path(app.instance.path.removesuffix(".json"), "tries")
        assert file.stat().st_size < 512 * 1024
    (found,) = control.data(home, "uses", APP)["apps"]  # type: ignore[misc]
    assert len(found["tried"]) <= 70 and "one.test" in {each["host"] for each in found["tried"]}
