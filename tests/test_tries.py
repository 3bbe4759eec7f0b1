"""What an app tried of the network is counted, in a file that no app makes large or busy."""

import contextlib
import json
import os
import pathlib
import select
import socket
import time
from collections.abc import Iterator
from unittest import mock

import pytest

from broker.network import control, rules, tries

RULES = (
    b"connect net tcp www.example.org 443 -",
    b"connect net tcp www.example.org 80 -",
    b"connect net tcp other.example.org 443 sni",
    b"connect more tcp *.example.net 443 -",
    b"connect asked tcp ask.example.org 443 ask",
    b"connect asked tcp 192.168.1.0/24 631 ask",
    b"resolve names any",
)


def lines(directory: pathlib.Path) -> list[list[object]]:
    return [json.loads(line) for line in (directory / "tries").read_text().splitlines()]


def test_each_thing_is_one_line_with_how_often_and_when(tmp_path: pathlib.Path) -> None:
    found = tries.Tries(os.fsencode(tmp_path))
    for clock in (100, 200, 300):
        with mock.patch.object(time, "time", lambda now=clock: now):
            found.add("tcp", "www.example.org", 443, "allowed", "net")
            found.add("tcp", "evil.example", 25, "not-granted")
    found.add("tcp", 'a"\n[x]', 70000, "not-granted", "\n")
    found.add("ip", "x", 0, "no such verdict")
    found.close()
    assert lines(tmp_path)[:2] == [
        ["tcp", "www.example.org", 443, "allowed", "net", 3, 100, 300],
        ["tcp", "evil.example", 25, "not-granted", "-", 3, 100, 300],
    ]
    assert lines(tmp_path)[2][:6] == ["tcp", "a??[x]", 70000 & 0xFFFF, "not-granted", "?", 1]
    assert len(lines(tmp_path)) == 3
    assert (tmp_path / "tries").stat().st_mode & 0o777 == 0o600


def test_a_flood_is_counted_together_and_hides_nothing_that_is_allowed(tmp_path: pathlib.Path) -> None:
    found = tries.Tries(os.fsencode(tmp_path))
    for number in range(20_000):
        found.add("-", f"{number}.{'x' * 400}.example", 0, "not-granted")
    found.add("tcp", "www.example.org", 443, "allowed", "net")
    found.close()
    rows = lines(tmp_path)
    assert len(rows) == tries.MOST + 2 and rows[-1][1] == "www.example.org"
    (more,) = (row for row in rows if row[3] == tries.MORE)
    assert more[5] == 20_000 - tries.MOST
    assert (tmp_path / "tries").stat().st_size < 512 * 1024


def test_it_is_written_seldom_however_often_the_app_tries(tmp_path: pathlib.Path) -> None:
    clock = [1000.0]
    with (
        mock.patch.object(time, "monotonic", lambda: clock[0]),
        mock.patch.object(os, "pwrite", wraps=os.pwrite) as written,
    ):
        found = tries.Tries(os.fsencode(tmp_path))
        assert found.patience() == -1
        for _ in range(3000):  # thirty seconds
            for each in range(10):
                found.add("-", f"{each}.example", 0, "not-granted")
            found.flush()
            clock[0] += 0.01
        assert 28 <= written.call_count <= 31
        for number in range(2000):
            found.add("-", f"{number}.{'x' * 200}.example", 0, "not-granted")
        clock[0] += 1.0
        found.flush()
        before = written.call_count
        found.add("-", "another.example", 0, "not-granted")
        clock[0] += 2.0
        found.flush()
        assert written.call_count == before and found.patience() > 1000, "what is long is written less often"
        found.close()
        assert written.call_count == before + 1, "and at the end in any case"


def test_a_full_disk_stops_nothing(tmp_path: pathlib.Path) -> None:
    found = tries.Tries(os.fsencode(tmp_path))
    found.add("tcp", "www.example.org", 443, "allowed", "net")
    with mock.patch.object(os, "pwrite", side_effect=OSError(28, "full")):
        found.flush()
    found.close()


class Talking:
    """A desk, and a relay that says what a test lets it say."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.path = directory / "network"
        self.told: list[bytes] = []
        self.rules = rules.Rules(RULES)
        self.desk = control.Desk(os.fsencode(directory), self.rules, self.told.append)

    def begin(self, line: bytes) -> socket.socket:
        """A connection that has asked this."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.connect(str(self.path))
        made.sendall(line)
        self.turn()
        return made

    def turn(self) -> None:
        while select.select([self.desk.fileno()], [], [], 0.02)[0]:
            self.desk.turn()

    def say(self, line: bytes, *answers: str) -> str:
        """What is said to a request, where the relay answers so."""
        with self.begin(line) as made:
            for each in answers:
                assert self.desk.heard(each.split(" "))
            made.settimeout(10)
            said = b""
            while piece := made.recv(4096):
                said += piece
            return said.decode()


@pytest.fixture
def talking(tmp_path: pathlib.Path) -> Iterator[Talking]:
    made = Talking(tmp_path)
    try:
        yield made
    finally:
        made.desk.close()


def test_a_revocation_counts_here_and_is_told_to_the_relay(talking: Talking) -> None:
    assert talking.path.stat().st_mode & 0o777 == 0o600
    assert talking.rules.find("tcp", "www.example.org", 443) and talking.rules.find("tcp", "other.example.org", 443)
    assert talking.say(b"drop net www.example.org\n", "dropped 3") == "dropped 3\n"
    assert talking.told == [b"drop net www.example.org"]
    assert talking.rules.find("tcp", "www.example.org", 443) is None
    assert talking.rules.find("tcp", "www.example.org", 80) is None
    assert talking.rules.find("tcp", "other.example.org", 443) is not None
    assert talking.say(b"drop net\n", "dropped 0") == "dropped 0\n"
    assert talking.rules.find("tcp", "other.example.org", 443) is None
    assert talking.rules.find("tcp", "a.example.net", 443) is not None and talking.rules.resolves == "any"
    assert talking.say(b"drop names\n", "dropped 0") == "dropped 0\n"
    assert talking.rules.resolves == ""


@pytest.mark.parametrize("said", ["counted tcp a\nrule 443 1", "dropped 1\nend", "ruled \x1b[2J"])
def test_what_the_relay_says_stays_on_its_line(talking: Talking, said: str) -> None:
    assert not talking.desk.heard(said.split(" "))


def test_what_has_to_be_asked_about_gives_nothing_before(talking: Talking) -> None:
    asked = talking.rules.asking("ask.example.org")
    assert asked is not None and talking.rules.find("tcp", "ask.example.org", 443) is None
    assert not any(talking.rules.of_name("ask.example.org"))
    assert talking.rules.asking("192.168.1.7") is not None and talking.rules.asking("192.168.2.7") is None
    assert talking.say(b"rule connect asked tcp ask.example.org 443 -\n", "ruled") == "ruled\n"
    assert talking.rules.find("tcp", "ask.example.org", 443) and talking.rules.asking("ask.example.org") is None
    assert talking.say(b"rule connect asked tcp 192.168.1.0/24 631 -\n", "ruled") == "ruled\n"
    assert talking.rules.find("tcp", "192.168.1.7", 631) is not None


@pytest.mark.parametrize(
    "line",
    [
        b"rule connect net tcp 10.0.0.1 22 -\n",  # it has no route in the sandbox
        b"rule connect net tcp x.example 22 ask\n",
        b"rule connect net tcp x.example many -\n",
        b"rule connect net\n",
        b"rule resolve net any\n",
        b"rule internet net lan\n",
        b"rule tool nft /tmp/nft\n",
        b"rule\n",
        b"drop\n",
        b"drop a b c d e\n",
        b"\n",
        b"\xff\x00\n",
        b"x" * 5000,
    ],
)
def test_what_is_no_request_changes_nothing(talking: Talking, line: bytes) -> None:
    before = [each.text for each in (*talking.rules.connects, *talking.rules.asks)]
    assert talking.say(line) == "no request\n"
    assert talking.told == [] and [each.text for each in (*talking.rules.connects, *talking.rules.asks)] == before


def test_the_state_is_the_rules_and_what_is_open(talking: Talking) -> None:
    said = talking.say(b"state\n", "counted tcp www.example.org 443 2 tcp a.example.net 443 1")
    assert talking.told == [b"count"]
    assert "rule connect net tcp www.example.org 443 -\n" in said
    assert said.endswith("open tcp www.example.org 443 2\nopen tcp a.example.net 443 1\nend\n")


def test_answers_go_to_those_who_asked_in_their_order(talking: Talking) -> None:
    with talking.begin(b"drop net www.example.org\n") as first, talking.begin(b"drop more\n") as second:
        talking.desk.heard(["dropped", "1"])
        talking.desk.heard(["dropped", "2"])
        assert (first.recv(64), second.recv(64)) == (b"dropped 1\n", b"dropped 2\n")
    with talking.begin(b"drop net\n"):
        pass
    talking.turn()
    talking.desk.heard(["dropped", "0"])
    talking.desk.heard(["dropped", "0"])  # nobody asked that
    assert talking.say(b"drop more\n", "dropped 5") == "dropped 5\n"


def test_many_connections_that_say_nothing_keep_nobody_out(talking: Talking) -> None:
    silent = [talking.begin(b"") for _ in range(20)]
    try:
        assert talking.say(b"drop net www.example.org\n", "dropped 1") == "dropped 1\n"
    finally:
        for each in silent:
            each.close()


def test_another_user_is_not_served(talking: Talking) -> None:
    if os.geteuid():
        with mock.patch.object(os, "geteuid", lambda: 12345), contextlib.suppress(ConnectionResetError):
            assert talking.say(b"drop net\n") == ""
    else:
        assert nobody(talking) == b""
    assert talking.rules.find("tcp", "www.example.org", 443) is not None and talking.told == []


def nobody(talking: Talking) -> bytes:
    """What another user is told, to whom somebody has opened the way to the socket."""
    talking.path.parent.chmod(0o711)
    talking.path.chmod(0o666)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.chdir(talking.path.parent)
            os.setuid(65534)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
                made.connect("network")
                made.sendall(b"drop net\n")
                os.write(writing, b"connected " + made.recv(64))
        finally:
            os._exit(0)
    os.close(writing)
    try:
        assert select.select([talking.desk.fileno()], [], [], 30)[0]
        talking.turn()
        return os.read(reading, 64).removeprefix(b"connected ")
    finally:
        os.close(reading)
        os.waitpid(child, 0)


def test_what_the_relay_tells_is_counted_and_nothing_else(talking: Talking) -> None:
    assert talking.desk.heard(["tried", "tcp", "evil.example", "443", "not-granted"])
    assert not talking.desk.heard(["dial", "1", "tcp", "www.example.org", "443"])
    assert not talking.desk.heard(["tried", "tcp", "evil.example", "x", "not-granted"])
    assert '"evil.example", 443, "not-granted"' in talking.desk.tries.text()
