"""Datagrams between the relay and what they are for: what is of the network stays with the dialer (SPEC §10.6)."""

import contextlib
import resource
import select
import socket
from collections.abc import Iterator

import pytest

from broker.network import connecting, loop, post

HERE = "127.0.0.1"
MANY = 1 << 20


class Scene:
    """The dialer's part, and a server."""

    def __init__(self) -> None:
        self.loop = loop.Loop()
        self.post = post.Post(self.loop)
        self.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.server.bind((HERE, 0))
        self.port = int(self.server.getsockname()[1])

    def carry(self, most: int = MANY) -> socket.socket | None:
        """What the relay gets for a socket that is connected to the server."""
        made, _ = connecting.datagram([socket.inet_aton(HERE)], self.port)
        assert made is not None
        theirs = self.post.carry(made, HERE, self.port, most)
        return None if theirs is None else socket.socket(fileno=theirs.detach())

    def comes(self, made: socket.socket) -> bool:
        """Whether something can be read, after some turns at most."""
        for _ in range(200):
            if select.select([made], [], [], 0)[0]:
                return True
            self.loop.turn(0.005)
        return False


@pytest.fixture(name="scene")
def _scene() -> Iterator[Scene]:
    made = Scene()
    try:
        yield made
    finally:
        made.post.close()
        made.loop.close()
        made.server.close()


@pytest.mark.parametrize("said", [b"what time is it", b"", b"x" * 60000])
def test_datagrams_pass_as_they_are_and_the_relay_has_no_socket_of_the_network(scene: Scene, said: bytes) -> None:
    relay = scene.carry()
    assert relay is not None and relay.family == socket.AF_UNIX  # the others send anywhere: udp(7)
    with relay:
        relay.send(said)
        assert scene.comes(scene.server)
        data, sender = scene.server.recvfrom(65535)
        assert data == said
        scene.server.sendto(said, sender)
        assert scene.comes(relay) and relay.recv(65535) == said
    scene.loop.turn(0.05)
    assert not scene.post.sessions
    assert not select.select([scene.server], [], [], 0)[0], "its end is no datagram"


def test_they_end_with_their_rule(scene: Scene) -> None:
    relay = scene.carry()
    assert relay is not None
    with relay:
        scene.post.drop(lambda host, port: (host, port) == (HERE, scene.port))
        assert scene.post.sessions
        scene.post.drop(lambda _host, _port: False)
        assert not scene.post.sessions and relay.recv(1) == b""


def test_they_are_bounded_and_leave_descriptors_for_others(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    assert scene.carry(most=3) is None
    monkeypatch.setattr(post, "MOST", 1)
    with contextlib.ExitStack() as stack:
        first = scene.carry()
        assert first is not None
        stack.enter_context(first)
        assert scene.carry() is None


def test_connections_leave_descriptors_for_who_takes_them_back(monkeypatch: pytest.MonkeyPatch) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        assert hard - connecting.ceiling() >= connecting.RESERVE
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    monkeypatch.setattr(connecting, "most", 3)
    assert connecting.datagram([socket.inet_aton(HERE)], 9) == (None, "busy")
