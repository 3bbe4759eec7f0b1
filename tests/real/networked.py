"""An app with a network by name, and a server of the test's own that answers under each name."""

import contextlib
import pathlib
import socket
import threading
from collections.abc import Iterator, Mapping

from tests.real import lively, peers, world

# Every name that ends so leads to the server of the test, on this machine: that names lead nowhere else is shown where
# there is an internet to reach (fake_internet).
OUTSIDE = """
from broker.network import addresses, connecting, dialer
_made = dialer.Dialer.__init__
def _init(self, relay, found, looping, environment):
    _made(self, relay, found, looping, environment, lambda _name: (bytes((127, 0, 0, 1)),))
dialer.Dialer.__init__ = _init
addresses.verdict = lambda *_, **__: ""
connecting.to_itself = lambda _made: False
from broker import state
from broker.network import asking
_here = "from broker import state; state._home = lambda _euid: {!r}; from broker import asker".format(state._home(0))
asking.BEGIN = asking.BEGIN.replace("from broker import asker", _here)
"""
FETCH = """/usr/bin/python3 -I -S -c 'import _socket as s
try:
    a = s.getaddrinfo("{host}", {port}, 0, s.SOCK_STREAM)[0]
    c = s.socket(a[0], a[1]); c.settimeout(40); c.connect(a[4]); c.send(b"hello"); print(c.recv(64))
except OSError as error: print("ERROR", error)'
"""
HOLD = """cd ~/.local/state; /usr/bin/python3 -I -S -c 'import _socket as s, os
a = s.getaddrinfo("{host}", {port}, 0, s.SOCK_STREAM)[0]
c = s.socket(a[0], a[1]); c.connect(a[4]); c.send(b"hello"); c.recv(64)
open("held-{host}", "w").write("held")
try: end = "more" if c.recv(64) else "ended"
except OSError as error: end = "reset"
open("gone+{host}", "w").write(end); os.rename("gone+{host}", "gone-{host}")' >/dev/null 2>&1 &
"""


class Server:
    """Answers every word; counts who is connected."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        threads = []
        with contextlib.suppress(OSError):
            while True:
                made, _ = self._listener.accept()
                self._open.add(made)
                threads.append(threading.Thread(target=self._answer, args=(made,)))
                threads[-1].start()
        for each in threads:
            each.join()

    def _answer(self, made: socket.socket) -> None:
        with made, contextlib.suppress(OSError):
            while data := made.recv(64):
                made.sendall(b"seen " + data)
        self._open.discard(made)

    def connected(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._thread.join()


class Home(world.World):
    """A world with such a server; ``port`` is its."""

    def __init__(self, base: pathlib.Path) -> None:
        super().__init__(base)
        self.server = Server()

    @property
    def port(self) -> int:
        """Where every name answers."""
        return self.server.port

    def scope(self, *names: str, **more: object) -> dict[str, object]:
        """The intent to connect to the server under these names."""
        return {"kind": "network", "connect": [f"{name}:{self.port}" for name in names], **more}

    def offer(self, intents: Mapping[str, Mapping[str, object]], **app: object) -> None:
        """Install the app with these intents."""
        self.install(world.manifest(world.SHELL, intents, interface="window", **app))


@contextlib.contextmanager
def home() -> Iterator[Home]:
    """A world with a server."""
    with world.world(make=Home) as made:
        assert isinstance(made, Home)
        try:
            yield made
        finally:
            made.server.close()


@contextlib.contextmanager
def running(where: Home, *, removed: str = "", environ: Mapping[str, str] | None = None) -> Iterator[lively.App]:
    """The app, running where each name leads to the server."""
    with lively.running(where, removed=OUTSIDE + removed, environ=environ) as app:
        yield app


def fetches(app: lively.App, host: str, port: int) -> bool:
    """Whether the server answers under a name."""
    said = app.says(FETCH.format(host=host, port=port))
    assert "seen hello" in said or "ERROR" in said, said
    return "seen hello" in said


def hold(app: lively.App, host: str, port: int) -> None:
    """Let the app hold a connection to a name."""
    app.says(HOLD.format(host=host, port=port))
    peers.eventually((app.state / f"held-{host}").exists, "the connection")


def gone(app: lively.App, host: str) -> str:
    """How the connection that the app holds has ended: ``ended`` or ``reset``."""
    peers.eventually((app.state / f"gone-{host}").exists, "the end of the connection")
    return (app.state / f"gone-{host}").read_text()
