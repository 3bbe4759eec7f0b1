"""A relay in this process, by itself: the test is its dialer and its app, and gives it its turns."""

import contextlib
import os
import resource
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest

from broker.network import relay, resolver, rules

HERE = "127.0.0.1"
PATIENCE = 30.0  # seconds until something that takes milliseconds counts as never


class Scene:
    """One relay. Rules are about 127.0.0.1, which is itself's everywhere."""

    def __init__(self, found: rules.Rules, descriptors: int) -> None:
        self.dialer, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.dialer.setblocking(False)
        self._theirs = socket.socket(fileno=theirs.detach())
        self.relay = relay.Relay(found, self._theirs, six=False, descriptors=descriptors)
        self.opened: list[socket.socket] = [self.dialer]

    def until(self, what: Callable[[], object], reason: str) -> None:
        """Give the relay turns until something is so."""
        deadline = time.monotonic() + PATIENCE
        while not what():
            assert time.monotonic() < deadline, f"never came: {reason}"
            self.relay.loop.turn(0.005)

    def turns(self, count: int = 5) -> None:
        """Give it some turns."""
        for _ in range(count):
            self.relay.loop.turn(0.002)

    def said(self) -> str:
        """The next thing that it says to the dialer."""
        found: list[bytes] = []

        def heard() -> bool:
            with contextlib.suppress(BlockingIOError):
                found.append(self.dialer.recv(65536))
            return bool(found)

        self.until(heard, "something for the dialer")
        return found[0].decode()

    def quiet(self) -> bool:
        """Whether it has nothing to say to the dialer."""
        self.turns()
        try:
            self.dialer.recv(65536, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        return False

    def app(self, port: int) -> socket.socket:
        """The app connects."""
        made = socket.create_connection((HERE, port), PATIENCE)
        made.setblocking(False)
        self.opened.append(made)
        return made

    def give(self, number: str, *handles: int) -> None:
        """Answer a dial with these."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(handles)}i", *handles))]
        self.dialer.sendmsg([f"ok {number}".encode()], rights if handles else [])

    def outside(self) -> tuple[socket.socket, socket.socket]:
        """Both ends of a connection outside: the relay's, and the server's."""
        with socket.create_server((HERE, 0)) as listener:
            ours = socket.create_connection(listener.getsockname(), PATIENCE)
            theirs, _ = listener.accept()
        theirs.setblocking(False)
        self.opened += [ours, theirs]
        return ours, theirs

    def joined(self, port: int) -> tuple[socket.socket, socket.socket]:
        """A connection through the relay: the app's end and the server's."""
        app = self.app(port)
        number = self.said().split(" ")[1]
        ours, theirs = self.outside()
        before = len(self.relay.connections.pairs)
        self.give(number, ours.fileno())
        ours.close()
        self.until(lambda: len(self.relay.connections.pairs) > before, "the pair")
        return app, theirs

    def read(self, made: socket.socket, size: int) -> bytes:
        """So many bytes, or what came before the end."""
        found = bytearray()
        ended: list[bool] = []

        def come() -> bool:
            with contextlib.suppress(BlockingIOError):
                data = made.recv(min(65536, size - len(found)))
                found.extend(data)
                if not data:
                    ended.append(True)
            return len(found) >= size or bool(ended)

        self.until(come, f"{size} bytes, after {len(found)}")
        return bytes(found)

    def is_reset(self, made: socket.socket) -> bool:
        """Whether the connection is, or becomes, a reset one; False at an orderly end."""
        seen: list[bool] = []

        def over() -> bool:
            try:
                if not made.recv(65536):
                    seen.append(False)
            except BlockingIOError:
                return False
            except ConnectionError:
                seen.append(True)
            return bool(seen)

        self.until(over, "the end of a connection")
        return seen[0]


def reset(made: socket.socket) -> None:
    """Close so that the other side sees a reset."""
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    made.close()


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port that nothing is on."""
    with socket.socket(socket.AF_INET, kind) as made:
        made.bind((HERE, 0))
        return int(made.getsockname()[1])


@contextlib.contextmanager
def many_descriptors() -> Iterator[None]:
    """As many as this process may have: an ordinary user's has few, unless it asks for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _port_of_both() -> int:
    """A port that no datagrams and no connections use."""
    while True:
        port = free_port()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made, contextlib.suppress(OSError):
            made.bind((HERE, port))
            return port


@contextlib.contextmanager
def scene(monkeypatch: pytest.MonkeyPatch, *arguments: str, descriptors: int = 4096) -> Iterator[Scene]:
    """A relay with these rules."""
    monkeypatch.setattr(resolver, "ADDRESS", HERE)
    monkeypatch.setattr(resolver, "PORT", _port_of_both())
    before = set(os.listdir("/proc/self/fd"))
    made = Scene(rules.Rules(each.encode() for each in arguments), descriptors)
    try:
        with many_descriptors():
            yield made
    finally:
        made.relay.close()
        made._theirs.close()
        for each in made.opened:
            each.close()
    left = {name for name in set(os.listdir("/proc/self/fd")) - before if os.path.exists(f"/proc/self/fd/{name}")}
    assert not left, "descriptors are left open"
