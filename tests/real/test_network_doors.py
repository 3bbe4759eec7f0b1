"""Other doors by which an app is reached, Unix sockets and those of systemd; and who the client is (SPEC §5.9)."""

import contextlib
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator

import pytest

from tests.real import peers, reached, world

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def home() -> Iterator[world.World]:
    with world.world() as made:
        yield made


def parsed(data: bytes) -> tuple[int, int, bytes, bytes, int, int]:
    """A header of version 2 of the PROXY protocol: command, family, both addresses and ports."""
    assert data[:12] == b"\r\n\r\n\0\r\nQUIT\n"
    command, family, length = struct.unpack(">BBH", data[12:16])
    size = {0x11: 4, 0x21: 16, 0: 0}[family]
    assert length == (2 * size + 4 if size else 0)
    ports = struct.unpack(">HH", data[16 + 2 * size : 20 + 2 * size]) if size else (0, 0)
    return command, family, data[16 : 16 + size], data[16 + size : 16 + 2 * size], *ports


@pytest.mark.parametrize(("host", "code"), [("127.0.0.1", 0x11), ("::1", 0x21)])
def test_a_server_that_asks_for_it_is_told_the_client(home: world.World, host: str, code: int) -> None:
    port = reached.free_port()
    reached.give(home, port, proxy_protocol=True)
    with reached.running(home, f"127.0.0.1:{port}", "head"):
        reached.reached(home, (host, port))
        with socket.create_connection((host, port)) as made:
            made.settimeout(peers.PATIENCE)
            own = made.getsockname()[1]
            packed = socket.inet_pton(reached.family(host), host)
            assert parsed(made.recv(100)) == (0x21, code, packed, packed, own, port)


def test_a_unix_socket_leads_to_a_low_port(home: world.World) -> None:
    reached.give(home, 80, socket="web.sock", proxy_protocol=True)
    path = home.runtime / world.APP / "web.sock"
    with reached.running(home, "127.0.0.1:80", "head"):
        assert parsed(reached.reached(home, str(path))[:16])[:2] == (0x21, 0)
        assert path.stat().st_mode & 0o777 == 0o600
        assert reached.asked(("127.0.0.1", 80)) is None
    peers.eventually(lambda: not path.exists(), "the removal of the socket")


# What stands against each of these, taken away.
UNGUARDED = {
    "open": "from broker.network import paths\npaths.Directory._check = lambda *_, **_k: None",
    "link": "import os\nfrom broker.network import paths\npaths._DIRECTORY &= ~os.O_NOFOLLOW",
}


@pytest.mark.parametrize("hostile", ["open", "link", "file"])
def test_a_place_that_others_prepared_is_refused(home: world.World, hostile: str) -> None:
    reached.give(home, 4533, socket="web.sock")
    directory = home.runtime / world.APP
    shutil.rmtree(directory, ignore_errors=True)
    if hostile == "link":
        (home.runtime / "elsewhere").mkdir(exist_ok=True)
        directory.symlink_to("elsewhere")
    else:
        directory.mkdir(mode=0o700)
    if hostile == "open":
        directory.chmod(0o777)
    if hostile == "file":
        (directory / "web.sock").write_text("mine")
    try:
        done = home.start("print('STARTED')")
        assert done.returncode == 125 and b"STARTED" not in done.stdout
        assert (b"[listen-taken]" if hostile == "file" else b"[listen-place]") in done.stderr
        if hostile in UNGUARDED:
            assert home.says("print('STARTED')", removed=UNGUARDED[hostile]) == "STARTED\n"
    finally:
        directory.unlink() if hostile == "link" else shutil.rmtree(directory)


@contextlib.contextmanager
def as_systemd(
    home: world.World, *words: str, listening: list[socket.socket], names: str
) -> Iterator[subprocess.Popen[bytes]]:
    """The app as a unit with a socket would start it."""
    argv = reached.staged(home.argv(world.APP, *words), listening, names)
    with reached.started(home, argv, fds=[made.fileno() for made in listening]) as process:
        yield process


def test_a_socket_that_systemd_holds_is_served(home: world.World) -> None:
    """Connections that came before the start are served, and the socket is still systemd's afterwards."""
    reached.give(home, 4533, activation=True)
    with socket.create_server(("127.0.0.1", 0)) as held, socket.create_server(("127.0.0.1", 0)) as other:
        port = held.getsockname()[1]
        early = socket.create_connection(("127.0.0.1", port))
        with (
            early,
            as_systemd(home, reached.SERVER, "127.0.0.1:4533", "http", listening=[other, held], names="other:web"),
        ):
            early.sendall(b"GET / HTTP/1.0\r\n\r\n")
            early.settimeout(peers.PATIENCE)
            assert early.recv(100), reached.told(home)
            assert reached.reached(home, ("127.0.0.1", port)).endswith(b"hello")
        held.settimeout(0.2)

        def ours() -> bool:
            """Whether a connection comes here: until the companion has ended, it takes some."""
            with socket.create_connection(("127.0.0.1", port)):
                try:
                    held.accept()[0].close()
                except TimeoutError:
                    return False
            return True

        peers.eventually(ours, "a connection to the socket")


def test_the_app_sees_nothing_of_what_systemd_passed(home: world.World) -> None:
    reached.give(home, 4533, activation=True)
    with reached.served() as port, socket.create_server(("127.0.0.1", 0)) as held:
        with as_systemd(home, reached.ESCAPE, str(port), reached.here(), listening=[held], names="web") as process:
            assert process.wait(peers.PATIENCE) == 0
        assert reached.told(home) == "\n"


@pytest.mark.parametrize("wrong", ["name", "pid", "datagrams"])
def test_without_its_socket_it_is_not_started(home: world.World, wrong: str) -> None:
    reached.give(home, 4533, activation=True)
    kind = socket.SOCK_DGRAM if wrong == "datagrams" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as held:
        held.bind(("127.0.0.1", 0))
        if wrong != "datagrams":
            held.listen()
        if wrong == "pid":
            environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "web"}
            done = home.start("print('STARTED')", environ=environ)
            assert done.returncode == 125 and b"[listen-not-passed]" in done.stderr
            return
        names = "web" if wrong == "datagrams" else "wep"
        with as_systemd(home, "print('STARTED')", listening=[held], names=names) as process:
            assert process.wait(peers.PATIENCE) == 125
        assert "[listen-not-passed]" in reached.told(home) and "STARTED" not in reached.told(home)
