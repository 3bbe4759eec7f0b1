"""How the relay is asked for names, in datagrams and connections; and the look at a TLS client's hello (SPEC §10.6)."""

import socket
import ssl
import struct
from collections.abc import Iterator

import pytest

from broker.network import connections, resolver, rules
from tests import relaying

NAME = "www.allowed.test"


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[relaying.Scene]:
    with relaying.scene(monkeypatch) as made:
        yield made


def query(number: int, name: str = "other.test") -> bytes:
    """A question for addresses."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + struct.pack(">BHH", 0, 1, 1)


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def client(scene: relaying.Scene) -> socket.socket:
    """A connection to the resolver."""
    made = socket.create_connection(scene.relay.resolver.address(), relaying.PATIENCE)
    made.setblocking(False)
    scene.opened.append(made)
    return made


def answer(scene: relaying.Scene, made: socket.socket) -> tuple[int, int]:
    """The number and the code of the next answer."""
    size = int.from_bytes(scene.read(made, 2), "big")
    data = scene.read(made, size)
    return int.from_bytes(data[:2], "big"), data[3] & 15


def test_datagrams_are_answered(scene: relaying.Scene) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.connect(scene.relay.resolver.address())
        for number in range(200):
            made.send(query(number))
            made.send(b"\0" * (number % 40))  # nothing that could be answered well
        scene.turns(60)
        made.setblocking(False)
        found = set()
        try:
            while True:
                data = made.recv(512)
                if data[3] & 15 == 3:
                    found.add(int.from_bytes(data[:2], "big"))
        except BlockingIOError:
            pass
        assert len(found) > 100
        made.setblocking(True)
        made.settimeout(relaying.PATIENCE)
        made.send(query(999))
        scene.turns()
        assert made.recv(512)[:2] == (999).to_bytes(2, "big")


@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_several_questions_on_one_connection_in_any_pieces(scene: relaying.Scene, piece: int) -> None:
    made = client(scene)
    data = b"".join(framed(query(number)) for number in range(5))
    for at in range(0, len(data), piece):
        made.send(data[at : at + piece])
        scene.turns(1)
    assert [answer(scene, made) for _ in range(5)] == [(number, 3) for number in range(5)]


def test_an_end_of_questions_waits_for_the_answers(scene: relaying.Scene) -> None:
    made = client(scene)
    made.send(framed(query(7)))
    made.shutdown(socket.SHUT_WR)
    assert answer(scene, made) == (7, 3)
    assert scene.read(made, 1) == b""


def test_a_question_of_no_bytes_ends_the_connection_and_no_other(scene: relaying.Scene) -> None:
    good, bad = client(scene), client(scene)
    bad.send(b"\0\0")
    assert not scene.is_reset(bad)
    good.send(framed(query(1)))
    assert answer(scene, good) == (1, 3)


def test_one_that_is_silent_is_ended(scene: relaying.Scene) -> None:
    made = client(scene)
    made.send(b"\0")
    scene.turns()
    scene.relay.loop.now += resolver.IDLE + 1
    scene.relay.resolver.idle.next()
    assert not scene.is_reset(made)


def test_many_that_are_silent_make_room(scene: relaying.Scene) -> None:
    silent = []
    for _ in range(resolver.MOST + 20):
        silent.append(client(scene))
        scene.turns(2)
    good = client(scene)
    good.send(framed(query(1)))
    assert answer(scene, good) == (1, 3)
    assert len(scene.relay.resolver._clients) <= resolver.MOST
    assert not scene.is_reset(silent[0])


def test_one_that_takes_no_answers_is_not_read(scene: relaying.Scene) -> None:
    made = client(scene)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one = framed(query(1))
    data = one * 1000
    sent = full = 0
    while full < 20 and sent < 1 << 26:
        try:
            sent += made.send(data[sent % len(one) :])
            full = 0
        except BlockingIOError:
            full += 1
            scene.relay.loop.turn(0.001)
    assert full == 20
    (waits,) = scene.relay.resolver._clients
    assert len(waits._said) < resolver._UNREAD + 4096
    assert not scene.relay.loop._poll.poll(0), "it spins"
    assert answer(scene, made) == (1, 3)


def hello(name: str | None) -> bytes:
    """What a TLS client says first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    told = ssl.MemoryBIO()
    wrapped = context.wrap_bio(ssl.MemoryBIO(), told, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        wrapped.do_handshake()
    return told.read()


@pytest.fixture
def port(scene: relaying.Scene) -> int:
    """The port of a server whose name has to be said."""
    found = relaying.free_port()
    rule = rules.Connect(["net", "tcp", NAME, str(found), "sni"])
    scene.relay._meant = lambda *_: (rule, NAME)  # type: ignore[method-assign]
    scene.relay.listeners.listen((socket.AF_INET, relaying.HERE, found))
    return found


def test_the_name_that_was_granted_is_dialled_with_all_that_was_said(scene: relaying.Scene, port: int) -> None:
    app, data = scene.app(port), hello(NAME)
    for at in range(0, len(data), 50):
        assert scene.quiet()
        app.send(data[at : at + 50])
    number = scene.said().split(" ")[1]
    ours, server = scene.outside()
    scene.give(number, ours.fileno())
    ours.close()
    assert scene.read(server, len(data)) == data


@pytest.mark.parametrize(
    "said",
    [
        hello("other.test"),
        hello(None),
        hello("www.allowed.test.other.test"),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\0\0",
    ],
    ids=["another name", "no name", "a longer name", "no hello", "an empty record"],
)
def test_any_other_is_reset_and_nothing_is_dialled(scene: relaying.Scene, port: int, said: bytes) -> None:
    app = scene.app(port)
    app.send(said)
    assert scene.said() == f"tried tcp {NAME} {port} sni"
    assert scene.is_reset(app)
    assert scene.quiet() and not len(scene.relay.connections)


def test_half_a_hello_and_an_end_is_none(scene: relaying.Scene, port: int) -> None:
    app = scene.app(port)
    app.send(hello(NAME)[:60])
    app.shutdown(socket.SHUT_WR)
    assert scene.said().endswith(" sni")
    assert scene.is_reset(app)


def test_one_that_says_nothing_has_its_time(scene: relaying.Scene, port: int) -> None:
    app = scene.app(port)
    app.send(hello(NAME)[:60])
    assert scene.quiet()
    scene.relay.loop.now += connections.HELLO_SECONDS + 1
    scene.relay.connections.hellos.next()
    assert scene.said().endswith(" sni")
    assert scene.is_reset(app)


def test_one_that_is_reset_meanwhile_is_forgotten(scene: relaying.Scene, port: int) -> None:
    app = scene.app(port)
    app.send(hello(NAME)[:60])
    scene.turns()
    relaying.reset(app)
    scene.until(lambda: not len(scene.relay.connections), "the end of the connection")


def test_an_address_has_no_name_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    found = relaying.free_port()
    with relaying.scene(monkeypatch, f"connect net tcp 127.0.0.1 {found} sni") as scene:
        app = scene.app(found)
        app.send(hello("127.0.0.1.test"))
        assert scene.said() == f"tried tcp 127.0.0.1 {found} sni"
        assert scene.is_reset(app)
