"""Descriptors of the host's network that an accomplice outside passes to an app, and those that an app passes out.

A socket belongs to the network it was made in, whoever holds it (SPEC §14). Our own filters pass none; xdg-dbus-proxy
and a compositor's own security context are not ours to change, and what happens there is told here as it is.
"""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from broker import bus, host
from broker.companions import wayland_context
from broker.companions import wayland_wire as wire
from tests.conftest import must_work
from tests.real import bus_service, passing, peers, world

pytestmark = pytest.mark.real

TALK = {"kind": "dbus", "bus": "session", "talk": [passing.NAME]}
WINDOW: dict[str, dict[str, object]] = {"window": {"kind": "display", "protocol": "wayland"}}
# What passes is used as if the app were in the host's network, but that a namespace is not entered (setns is refused).
ALL = ["reached reached", "reached", "reached", "reached", "EPERM", "reached"]
NETNS_COOKIE = 71  # of SOL_SOCKET: which network a socket is of (asm-generic/socket.h)
SETNS = passing.KINDS.index("namespace")


class Friend:
    """A service on a bus that passes what it holds to whoever calls, and takes what it is passed."""

    def __init__(self, stream: socket.socket, handles: list[int]) -> None:
        self._connection = passing.Bus(stream, time.monotonic() + 10 * peers.PATIENCE)
        self._connection.greet()
        body = b"\x12\0\0\0" + passing.NAME.encode() + b"\0\0" + (4).to_bytes(4, "little")
        bus_name = "org.freedesktop.DBus"
        self._connection.call(
            bus.Message(
                kind=bus.CALL, serial=0, path="/org/freedesktop/DBus", interface=bus_name, member="RequestName",
                destination=bus_name, signature="su", body=body,
            )
        )  # fmt: skip
        self._handles = handles
        self.taken: list[int] = []
        self.serving = threading.Thread(target=self._serve)
        self.serving.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while True:
                asked = self._connection.receive()
                if asked.kind != bus.CALL:
                    continue
                made = bus.Message(kind=bus.RETURN, serial=0, reply_serial=asked.serial, destination=asked.sender)
                if asked.member == passing.GIVE:
                    self._connection.passes(made, self._handles)
                else:
                    self.taken, self._connection.came = self._connection.came, []
                    self._connection.send(made)


@contextlib.contextmanager
def friend(address: str, handles: list[int]) -> Iterator[Friend]:
    """The service, which has its name before the block begins."""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(bus.target(address) or "")
        made = Friend(stream, handles)
        try:
            yield made
        finally:
            stream.shutdown(socket.SHUT_RDWR)
            made.serving.join(peers.PATIENCE)
            for each in made.taken:
                os.close(each)


@contextlib.contextmanager
def talking(*intents: dict[str, object]) -> Iterator[tuple[world.World, passing.Far, Friend]]:
    """An app that may talk to such a service, and has these intents besides."""
    must_work(shutil.which("xdg-dbus-proxy"), "xdg-dbus-proxy")
    with (
        passing.far() as far,
        passing.held(far) as handles,
        world.world() as here,
        bus_service.session(here) as address,
        friend(address, handles) as made,
    ):
        wanted = {f"it{number}": each for number, each in enumerate((TALK, *intents))}
        here.install(world.manifest(world.PYTHON, wanted))
        here.decide()
        yield here, far, made


def uses(here: world.World, words: list[str], code: str = passing.INSIDE, removed: str = "") -> list[str]:
    """What the app does with what it is passed, one word or more for each kind."""
    found = json.loads(here.says(code, *words, removed=removed))
    assert isinstance(found, list)
    return found


def test_whom_an_app_may_talk_to_on_a_bus_can_hand_it_a_socket() -> None:
    """xdg-dbus-proxy passes descriptors; so does Flatpak's."""
    with talking() as (here, far, _):
        assert uses(here, far.words) == ALL


def test_what_an_app_hands_out_is_of_its_own_network() -> None:
    with talking() as (here, far, made):
        uses(here, far.words)
        assert len(made.taken) == 4
        *handles, namespace = made.taken
        assert os.fstat(namespace).st_ino != os.stat("/proc/self/ns/net").st_ino
        with contextlib.ExitStack() as closing:
            ours, *theirs = (closing.enter_context(socket.socket(fileno=os.dup(each))) for each in (far.fd, *handles))
            assert ours.getsockopt(socket.SOL_SOCKET, NETNS_COOKIE, 8) not in [
                each.getsockopt(socket.SOL_SOCKET, NETNS_COOKIE, 8) for each in theirs
            ]
            with pytest.raises(ConnectionRefusedError):
                theirs[0].connect(("127.0.0.1", far.tcp.port))


NO_LANDLOCK = "from broker import landlock\nlandlock.restrict = lambda *_: None\n"
# What is connected stays so, and datagrams are not held.
HELD = ["reached EACCES", "EACCES", "reached", "EACCES", "EPERM", "EACCES"]


@pytest.mark.parametrize(("removed", "expected"), [("", HELD), (NO_LANDLOCK, ALL)], ids=["held", "without Landlock"])
def test_ports_hold_a_socket_from_elsewhere_too(removed: str, expected: list[str]) -> None:
    must_work(host.landlock() >= 4, "Landlock that holds TCP to ports (Linux 6.7)")
    with talking({"kind": "network", "scope": "host", "ports": [1]}) as (here, far, _):
        assert uses(here, far.words, removed=removed) == expected


# Wayland: a compositor that passes what a peer of the app's gave it, as it does when something is pasted.
REGISTRY = wire.message(wire.DISPLAY, wire.GET_REGISTRY, 2)
PASTED = wire.message(9, 0, b"text/plain")
_ASKS = """
stream = socket.socket(socket.AF_UNIX)
stream.settimeout(PATIENCE)
stream.connect(os.environ["XDG_RUNTIME_DIR"] + "/" + os.environ["WAYLAND_DISPLAY"])
"""
INSIDE = passing.TRIES + _ASKS + f"""
stream.sendall({REGISTRY!r})
data, handles = b"", []
while len(data) < {len(PASTED)}:
    more, came, _, _ = socket.recv_fds(stream, 4096, 28)
    if not more:
        break
    data, handles = data + more, handles + came
print(json.dumps(uses(handles, int(sys.argv[3]))))
"""
OUT = passing.TRIES + _ASKS + f"""
socket.send_fds(stream, [{REGISTRY!r}], own()[int(sys.argv[3]):][:1])
print(json.dumps(stream.recv(4096)[-16:].decode("latin-1")))
"""
PASSES = "from broker.companions import wayland_filter\nwayland_filter._ordinary = lambda _handle: True\n"


class Compositor:
    """Tells what it has, and to a client that asks for nothing more, passes ``handles``; ``kept``: keeps contexts."""

    def __init__(self, path: pathlib.Path, handles: list[int], *, kept: bool) -> None:
        self.handles, self._kept, self.taken = handles, kept, 0
        self.running = peers.peer(path, self._client)

    def _client(self, stream: socket.socket) -> None:
        data, came, _, _ = socket.recv_fds(stream, 1 << 16, 28)
        if data == REGISTRY:
            self.taken += len(came)
            for each in came:
                os.close(each)
            socket.send_fds(stream, [PASTED], self.handles)
            peers.silent(stream)
            return
        manager = wire.message(2, wire.GLOBAL, 7, wayland_context.MANAGER.encode(), 1) if self._kept else b""
        stream.sendall(wire.message(2, wire.GLOBAL, 1, b"wl_shm", 1) + manager + wire.message(3, 0, 0))
        asked, came, _, _ = socket.recv_fds(stream, 1 << 16, 2)
        if not asked:
            return
        with socket.socket(fileno=came[0]) as listener:
            os.close(came[1])
            stream.sendall(wire.message(6, 0, 0))
            listener.settimeout(peers.PATIENCE)
            client, _ = listener.accept()
            with client:
                kept, self._kept = self._kept, False  # nobody gets a context who is in one
                self._client(client)
                self._kept = kept


@contextlib.contextmanager
def windowed(*, kept: bool = False) -> Iterator[tuple[world.World, passing.Far, Compositor]]:
    """An app with a window of such a compositor."""
    with passing.far() as far, passing.held(far) as handles, world.world() as here:
        path = here.runtime / "wayland-1"
        here.environ["WAYLAND_DISPLAY"] = str(path)
        compositor = Compositor(path, handles, kept=kept)
        with compositor.running:
            here.install(world.manifest(world.PYTHON, WINDOW))
            here.decide()
            yield here, far, compositor


@pytest.mark.parametrize("kind", passing.KINDS)
def test_the_filter_passes_no_socket_to_the_app(kind: str) -> None:
    at = passing.KINDS.index(kind)
    with windowed() as (here, far, compositor):
        compositor.handles = compositor.handles[at : at + 1]
        words = [*far.words, str(at)]
        assert uses(here, words, INSIDE) == ([] if at != SETNS else ["EPERM"])
        assert uses(here, words, INSIDE, removed=PASSES) == ALL[at : at + 1]


COUNTED = INSIDE.replace("print(", "uses = lambda handles, _: ['passed' for _ in handles]\nprint(")


def test_the_filter_passes_what_windows_need_and_no_directory() -> None:
    with windowed() as (here, far, compositor), contextlib.ExitStack() as closing:
        words, ends = [*far.words, "0"], os.pipe()
        needed = [*ends, os.memfd_create("keymap"), os.eventfd(0), os.open("/dev/null", os.O_RDWR)]
        directories = [os.open(here.home, os.O_DIRECTORY), os.open(here.home, os.O_PATH)]
        for each in (*needed, *directories):
            closing.callback(os.close, each)
        compositor.handles = needed
        assert len(uses(here, words, COUNTED)) == len(needed)
        for each in directories:
            compositor.handles = [each]
            assert uses(here, words, COUNTED) == []
            assert len(uses(here, words, COUNTED, removed=PASSES)) == 1


@pytest.mark.parametrize("at", range(3))
def test_the_filter_passes_no_socket_of_the_app_either(at: int) -> None:
    with windowed() as (here, far, compositor):
        words = [*far.words, str(at)]
        assert "leads on" in here.says(OUT, *words)
        assert compositor.taken == 0
        here.says(OUT, *words, removed=PASSES)
        assert compositor.taken == 1


def test_a_compositor_that_keeps_apps_apart_itself_passes_what_it_likes() -> None:
    with windowed(kept=True) as (here, far, _):
        assert uses(here, [*far.words, "0"], INSIDE) == ALL
