"""Datagrams through the relay by itself: whose they are, where answers come from, and what is bounded (SPEC §10.6)."""

import socket
from collections.abc import Iterator

import pytest

from broker.network import datagrams
from tests import relaying

HERE = relaying.HERE


@pytest.fixture
def port() -> int:
    return relaying.free_port(socket.SOCK_DGRAM)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch, port: int) -> Iterator[relaying.Scene]:
    with relaying.scene(monkeypatch, f"connect net udp 127.0.0.0/29 {port} -") as made:
        yield made


def bound(scene: relaying.Scene, address: str = HERE) -> socket.socket:
    """A socket that scene closes."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    scene.opened.append(made)
    made.bind((address, 0))
    made.setblocking(False)
    return made


def gets(scene: relaying.Scene, made: socket.socket) -> tuple[bytes, tuple[str, int]]:
    """The next datagram that a socket gets, and from where."""
    found: list[tuple[bytes, tuple[str, int]]] = []

    def come() -> bool:
        try:
            found.append(made.recvfrom(65535))
        except BlockingIOError:
            return False
        return True

    scene.until(come, "a datagram")
    return found[0]


def dialled(scene: relaying.Scene) -> tuple[str, socket.socket]:
    """The dialer answers: what it was asked for, and the server."""
    said = scene.said()
    server = bound(scene)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outside:
        outside.connect(server.getsockname())
        scene.give(said.split(" ")[1], outside.fileno())
    return said, server


def test_answers_come_from_where_the_app_sent_to(scene: relaying.Scene, port: int) -> None:
    app = bound(scene)
    for address in ("127.0.0.2", "127.0.0.5"):
        app.sendto(b"question", (address, port))
        said, server = dialled(scene)
        assert said.split(" ")[2:] == ["udp", address, str(port)]
        data, sender = gets(scene, server)
        assert data == b"question"
        server.sendto(b"answer", sender)
        assert gets(scene, app) == (b"answer", (address, port))


@pytest.mark.parametrize("size", [0, 1, 1200, 9000, 65507])
def test_a_datagram_has_the_size_that_it_had(scene: relaying.Scene, port: int, size: int) -> None:
    app = bound(scene)
    app.sendto(b"first", (HERE, port))
    _, server = dialled(scene)
    assert gets(scene, server)[0] == b"first"
    data = bytes(range(256)) * 256
    app.sendto(data[:size], (HERE, port))
    found, sender = gets(scene, server)
    assert found == data[:size]
    server.sendto(found, sender)
    assert gets(scene, app)[0] == data[:size]


def test_what_comes_while_it_is_dialled_waits_and_is_bounded(scene: relaying.Scene, port: int) -> None:
    app = bound(scene)
    for number in range(datagrams.EARLY + 10):
        app.sendto(b"%d" % number, (HERE, port))
    scene.turns()
    _, server = dialled(scene)
    got = [gets(scene, server)[0] for _ in range(datagrams.EARLY)]
    assert got == [b"%d" % number for number in range(datagrams.EARLY)]
    assert scene.quiet()
    with pytest.raises(BlockingIOError):
        server.recv(1)


def test_two_sockets_of_the_app_are_two_outside(scene: relaying.Scene, port: int) -> None:
    one, two = bound(scene), bound(scene)
    for app, word in ((one, b"one"), (two, b"two")):
        app.sendto(word, (HERE, port))
    (_, first), (_, second) = dialled(scene), dialled(scene)
    for app, server, word in ((one, first, b"one"), (two, second, b"two")):
        data, sender = gets(scene, server)
        server.sendto(data.upper(), sender)
        assert gets(scene, app)[0] == word.upper()


def test_nobody_but_the_target_can_answer(scene: relaying.Scene, port: int) -> None:
    app = bound(scene)
    app.sendto(b"question", (HERE, port))
    _, server = dialled(scene)
    _, sender = gets(scene, server)
    bound(scene).sendto(b"from somebody else", sender)
    scene.turns()
    server.sendto(b"answer", sender)
    assert gets(scene, app)[0] == b"answer"


def test_nobody_there_is_no_end(scene: relaying.Scene, port: int) -> None:
    app = bound(scene)
    app.sendto(b"question", (HERE, port))
    _, server = dialled(scene)
    _, sender = gets(scene, server)
    place = server.getsockname()
    server.close()
    for _ in range(5):
        app.sendto(b"again", (HERE, port))  # each is answered by: port unreachable
        scene.turns()
    back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    scene.opened.append(back)
    back.bind(place)
    back.setblocking(False)
    app.sendto(b"still", (HERE, port))
    assert gets(scene, back)[0] in (b"again", b"still")
    back.sendto(b"answer", sender)
    assert gets(scene, app)[0] == b"answer"


def test_what_was_refused_is_not_asked_for_at_once_again(scene: relaying.Scene, port: int) -> None:
    app = bound(scene)
    app.sendto(b"question", (HERE, port))
    number = scene.said().split(" ")[1]
    scene.dialer.send(f"no {number} unresolved".encode())
    scene.turns()
    app.sendto(b"again", (HERE, port))
    assert scene.quiet()
    for session in scene.relay.datagrams.sessions.values():
        session._until = 0
    app.sendto(b"once more", (HERE, port))
    _, server = dialled(scene)
    assert gets(scene, server)[0] == b"once more"


def test_sessions_are_bounded_and_the_silent_one_goes_first(
    scene: relaying.Scene, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datagrams, "MOST", 3)
    apps = [bound(scene) for _ in range(3)]
    servers = []
    for app in apps:
        app.sendto(b"question", (HERE, port))
        servers.append(dialled(scene)[1])
    apps[0].sendto(b"not silent", (HERE, port))
    scene.turns()
    bound(scene).sendto(b"one more", (HERE, port))
    dialled(scene)
    assert len(scene.relay.datagrams.sessions) == 3
    apps[0].sendto(b"still", (HERE, port))
    assert [gets(scene, servers[0])[0] for _ in range(3)][-1] == b"still"
    assert scene.quiet()
    apps[1].sendto(b"anew", (HERE, port))
    assert scene.said().startswith("dial 5 ")


def test_a_session_ends_when_nothing_was_said_for_long(scene: relaying.Scene, port: int) -> None:
    bound(scene).sendto(b"question", (HERE, port))
    dialled(scene)
    scene.turns()
    scene.relay.loop.now += datagrams.IDLE + 1
    scene.relay.datagrams.idle.next()
    scene.turns()
    assert not scene.relay.datagrams.sessions


def test_what_no_rule_is_about_is_told_and_not_dialled(scene: relaying.Scene, port: int) -> None:
    bound(scene).sendto(b"question", ("127.0.0.9", port))
    assert scene.said() == f"tried udp 127.0.0.9 {port} not-granted"
    assert not scene.relay.datagrams.sessions


def test_dropping_the_intent_ends_it(scene: relaying.Scene, port: int) -> None:
    app = bound(scene)
    app.sendto(b"question", (HERE, port))
    _, server = dialled(scene)
    _, sender = gets(scene, server)
    scene.dialer.send(b"count")
    assert scene.said() == f"counted udp 127.0.0.1 {port} 1"
    scene.dialer.send(b"drop net")
    assert scene.said() == "dropped 1"
    server.sendto(b"answer", sender)
    app.sendto(b"again", (HERE, port))
    assert scene.quiet()
    with pytest.raises(BlockingIOError):
        app.recv(1)
    with pytest.raises(BlockingIOError):
        server.recv(1)


def test_an_address_that_stands_for_another_name_now_leads_there(
    scene: relaying.Scene, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datagrams, "RECHECK", 0)
    app = bound(scene)
    app.sendto(b"one", (HERE, port))
    _, server = dialled(scene)
    assert gets(scene, server)[0] == b"one"
    app.sendto(b"two", (HERE, port))
    assert gets(scene, server)[0] == b"two"
    before = scene.relay.datagrams._meant
    rule, _ = before(socket.AF_INET, HERE, port, "udp") or pytest.fail("no rule")
    scene.relay.datagrams._meant = lambda *_: (rule, "127.0.0.3")
    app.sendto(b"three", (HERE, port))
    said, other = dialled(scene)
    assert said.split(" ")[2:] == ["udp", "127.0.0.3", str(port)]
    assert gets(scene, other)[0] == b"three"
