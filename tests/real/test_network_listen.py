"""An app that is reached from outside, and gains no way out by it (SPEC §5.9, §10.6)."""

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator

import pytest

from broker import host, landlock
from tests.conftest import must_work
from tests.real import fake_internet, fake_zone, peers, world

pytestmark = pytest.mark.real

# Answers each connection with who it seems to be; BACK: echoes until the end, and ends.
APP = """
import os, socket, socketserver, sys, threading
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        if sys.argv[2] == "back":
            while data := self.request.recv(1 << 16):
                self.request.sendall(data)
        elif sys.argv[2] == "head":
            self.request.sendall(self.request.recv(16 + 36))
        else:
            self.request.recv(1 << 16)
            self.request.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhello")
host, _, port = sys.argv[1].rpartition(":")
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 1024
    address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
Server((host, int(port)), Handler).serve_forever()
"""
# Tries everything it can think of to get out, with each descriptor that it has, and says what worked.
ESCAPE = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
port, found = int(sys.argv[1]), []
for fd in range(64):
    try:
        link = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        continue
    if not link.startswith("socket:"):
        continue
    found.append(f"socket {fd}")
    if libc.connect(fd, bytes(16), 16) == 0:
        made = socket.socket(fileno=os.dup(fd))
        made.settimeout(5)
        try:
            made.connect(("127.0.0.1", port))
            found.append("out")
        except OSError:
            pass
for address in ("127.0.0.1", sys.argv[2]):
    try:
        socket.create_connection((address, port), 5)
        found.append("direct")
    except OSError:
        pass
found += [name for name in os.environ if name.startswith("LISTEN_")]
print(*found, sep=",")
"""
INHERITED = "from broker import launch\nlaunch._forget_inherited = lambda _: None"
PLAIN = "/usr/bin/python3"


def free_port() -> int:
    """A port that nobody has, on either loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    home: world.World,
    *words: str,
    program: str = APP,
    removed: str = "",
) -> Iterator[subprocess.Popen[bytes]]:
    """The app, for as long as the block."""
    with open(home.base / "said", "wb") as said:
        process = subprocess.Popen(
            home.argv(world.APP, program, *words, removed=removed),
            env=home.environ,
            cwd=home.base,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(peers.PATIENCE)


def asked(address: tuple[str, int] | str, words: bytes = b"GET / HTTP/1.0\r\n\r\n") -> bytes | None:
    """What comes back from there; None where nobody is reached."""
    made = socket.socket(socket.AF_UNIX if isinstance(address, str) else _family(address[0]))
    with made:
        made.settimeout(peers.PATIENCE)
        try:
            made.connect(address)
            made.sendall(words)
            made.shutdown(socket.SHUT_WR)
            data = b""
            while piece := made.recv(1 << 16):
                data += piece
        except OSError:
            return None
        return data


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def told(home: world.World) -> str:
    return (home.base / "said").read_text()


def reached(home: world.World, address: tuple[str, int] | str) -> bytes:
    """The app's answer, which comes as soon as it has been started."""

    def answer() -> bytes | None:
        assert "Traceback" not in told(home), told(home)
        return asked(address)

    return peers.eventually(answer, "an answer of the app's")


@pytest.fixture(scope="module")
def home() -> Iterator[world.World]:
    with world.world() as made:
        yield made


def give(home: world.World, port: int, **scope: object) -> None:
    """Install the app, to be reached at a port, and say yes."""
    home.install(world.manifest(world.PYTHON, {"web": {"kind": "listen", "port": port, **scope}}, serial=next(SERIAL)))
    home.decide()


SERIAL = iter(range(1, 1000))


@pytest.mark.parametrize("inside", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_a_client_of_this_machine_reaches_it(home: world.World, inside: str) -> None:
    must_work(shutil.which("curl"), "curl")
    port = free_port()
    give(home, port)
    with running(home, f"{inside}:{port}", "http"):
        assert reached(home, ("127.0.0.1", port)).endswith(b"hello")
        assert reached(home, ("::1", port)).endswith(b"hello")
        said = subprocess.run(["curl", "-s", f"http://localhost:{port}/"], capture_output=True, check=True)
        assert said.stdout == b"hello"
        assert asked(("127.0.0.2", port)) is None, "more than was asked for is listened on"
    peers.eventually(lambda: asked(("127.0.0.1", port)) is None, "its end, with the sandbox")


def test_nothing_else_in_its_network_is_reached(home: world.World) -> None:
    port, other = free_port(), free_port()
    give(home, port)
    both = f"import threading, socketserver, socket; socketserver.TCPServer.allow_reuse_address = True\n{APP}"
    quiet = both.replace(
        "Server((host", f"threading.Thread(target=Server((host, {other}), Handler).serve_forever).start()\nServer((host"
    )
    with running(home, f"0.0.0.0:{port}", "http", program=quiet):
        reached(home, ("127.0.0.1", port))
        assert asked(("127.0.0.1", other)) is None


def test_the_app_is_waited_for_and_missed_when_it_is_gone(home: world.World) -> None:
    """The first client comes before the app listens; when it listens no more, the next is refused at once."""
    port = free_port()
    give(home, port)
    once = """
import socket, sys, time
time.sleep(0.3)
made = socket.create_server(("127.0.0.1", int(sys.argv[1])))
taken, _ = made.accept()
made.close()
taken.recv(1000)
taken.sendall(b"first")
taken.close()
time.sleep(60)
"""
    with running(home, str(port), program=once):
        assert reached(home, ("127.0.0.1", port)) == b"first"
        assert not asked(("127.0.0.1", port))


@contextlib.contextmanager
def served() -> Iterator[int]:
    """The port of a service of this machine's own."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made.getsockname()[1]


def _here() -> str:
    """An address of this machine's, whatever it is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.77", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def test_it_has_no_way_out_and_no_socket_of_the_host(home: world.World) -> None:
    give(home, free_port())
    with served() as port:
        assert home.says(ESCAPE, str(port), _here()) == "\n"


def test_a_socket_of_the_host_would_be_a_way_out(home: world.World) -> None:
    """What relaying is for: one that listens in the host's network, given to the app, connects there."""
    give(home, free_port())
    with served() as port, socket.create_server(("127.0.0.1", 0)) as handed:
        os.set_inheritable(handed.fileno(), True)
        given = {"fds": (handed.fileno(),)}
        assert home.says(ESCAPE, str(port), _here(), **given) == "\n"
        assert ",out" in home.says(ESCAPE, str(port), _here(), removed=INHERITED, **given)


BEGUN = "import time; print('begun', flush=True); time.sleep(60)"
# A relay that was taken over: of each connection that it is passed it makes one to a service of the host's.
TAKEN_OVER = """
import ctypes
from broker.network import inward
libc = ctypes.CDLL(None)
def take(_all, _words, outside):
    libc.connect(outside.fileno(), bytes(16), 16)
    outside.setblocking(True)
    try:
        outside.connect(("127.0.0.1", {port}))
    except OSError:
        pass
inward.Inward.take = take
"""


def test_a_relay_that_was_taken_over_cannot_turn_what_it_holds_elsewhere(home: world.World) -> None:
    """It may connect, which it has to; Landlock holds it to the ports that the app is reached at."""
    must_work(host.landlock() >= landlock.PORTS, "Landlock that holds TCP to ports (Linux 6.7)")
    port = free_port()
    give(home, port)
    for held in (True, False):
        with socket.create_server(("127.0.0.1", 0)) as service:
            removed = TAKEN_OVER.format(port=service.getsockname()[1])
            removed += "" if held else "\nfrom broker import landlock\nlandlock.hold = lambda *_: None"
            with running(home, program=BEGUN, removed=removed):
                # What it does, it has done when the connection that it was passed has ended.
                client = peers.eventually(lambda: _connected(("127.0.0.1", port)), "the listener")
                with client:
                    client.settimeout(peers.PATIENCE)
                    with contextlib.suppress(ConnectionResetError):
                        assert client.recv(1) == b""
                service.settimeout(0.5 if held else peers.PATIENCE)
                if held:
                    with pytest.raises(TimeoutError):
                        service.accept()
                else:
                    service.accept()[0].close()
                peers.eventually(lambda: "begun" in told(home), "the app")  # what ends before that may outlive its end
        peers.eventually(lambda: _free(port), "the end of it")


def _connected(address: tuple[str, int]) -> socket.socket | None:
    made = socket.socket()
    try:
        made.connect(address)
    except OSError:
        made.close()
        return None
    return made


def _free(port: int) -> bool:
    made = _connected(("127.0.0.1", port))
    if made:
        made.close()
    return made is None


def test_a_taken_port_is_refused_before_anything_starts(home: world.World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        give(home, port)
        done = home.start("print('STARTED')")
    assert done.returncode == 125 and b"STARTED" not in done.stdout
    assert b"[listen-taken]" in done.stderr and f"127.0.0.1:{port}".encode() in done.stderr


def test_killing_what_runs_it_ends_it(home: world.World) -> None:
    port = free_port()
    give(home, port, socket="web.sock")
    path = home.runtime / world.APP / "web.sock"
    with running(home, f"127.0.0.1:{port}", "http") as process:
        assert reached(home, str(path)).endswith(b"hello")
        os.kill(process.pid, signal.SIGKILL)
        peers.eventually(lambda: not path.exists(), "the end of its socket")


def test_much_comes_through_as_it_was(home: world.World) -> None:
    port, size = free_port(), 64 << 20
    give(home, port)
    block = os.urandom(1 << 20)
    with running(home, f"127.0.0.1:{port}", "back"):
        reached(home, ("127.0.0.1", port))
        with socket.create_connection(("127.0.0.1", port)) as made:
            made.settimeout(peers.PATIENCE)

            def send() -> None:
                for _ in range(size >> 20):
                    made.sendall(block)
                made.shutdown(socket.SHUT_WR)

            sender = threading.Thread(target=send)
            sender.start()
            got, count = hashlib.sha256(), 0
            while data := made.recv(1 << 20):
                got.update(data)
                count += len(data)
            sender.join()
    wanted = hashlib.sha256()
    for _ in range(size >> 20):
        wanted.update(block)
    assert (count, got.digest()) == (size, wanted.digest())


def test_five_hundred_at_once_each_get_their_own(home: world.World) -> None:
    port = free_port()
    give(home, port)
    with running(home, f"127.0.0.1:{port}", "back"), contextlib.ExitStack() as stack:
        reached(home, ("127.0.0.1", port))
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(500)]
        for number, made in enumerate(clients):
            made.settimeout(peers.PATIENCE)
            made.sendall(b"%05d" % number)
        for number, made in enumerate(clients):
            assert made.recv(5, socket.MSG_WAITALL) == b"%05d" % number
        for made in clients:
            made.shutdown(socket.SHUT_WR)
            assert made.recv(1) == b""


def test_one_more_than_the_most_waits_and_is_served(home: world.World) -> None:
    port = free_port()
    give(home, port)
    few = "from broker.network import inbound\ninbound.MOST = 4"
    with running(home, f"127.0.0.1:{port}", "back", removed=few):
        reached(home, ("127.0.0.1", port))
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(6)]
            for made in clients:
                made.sendall(b"x")
            for made in clients[:4]:
                made.settimeout(peers.PATIENCE)
                assert made.recv(1) == b"x"
            for made in clients[4:]:
                made.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    made.recv(1)
            clients[0].close()
            clients[1].close()
            for made in clients[4:]:
                made.settimeout(peers.PATIENCE)
                assert made.recv(1) == b"x"


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
    port = free_port()
    give(home, port, proxy_protocol=True)
    with running(home, f"127.0.0.1:{port}", "head"):
        reached(home, (host, port))
        with socket.create_connection((host, port)) as made:
            made.settimeout(peers.PATIENCE)
            own = made.getsockname()[1]
            packed = socket.inet_pton(_family(host), host)
            assert parsed(made.recv(100)) == (0x21, code, packed, packed, own, port)


def test_a_unix_socket_leads_to_a_low_port(home: world.World) -> None:
    give(home, 80, socket="web.sock", proxy_protocol=True)
    path = home.runtime / world.APP / "web.sock"
    with running(home, "127.0.0.1:80", "head"):
        assert parsed(reached(home, str(path))[:16])[:2] == (0x21, 0)
        assert path.stat().st_mode & 0o777 == 0o600
        assert asked(("127.0.0.1", 80)) is None
    peers.eventually(lambda: not path.exists(), "the removal of the socket")


@pytest.mark.parametrize("hostile", ["open", "link", "file"])
def test_a_place_that_others_prepared_is_refused(home: world.World, hostile: str) -> None:
    give(home, 4533, socket="web.sock")
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
    finally:
        directory.unlink() if hostile == "link" else shutil.rmtree(directory)


# What systemd does between fork and exec: descriptors from 3 on, and variables that say whose they are.
STAGE = """
import fcntl, os, sys
handles = [fcntl.fcntl(int(handle), fcntl.F_DUPFD, 64) for handle in sys.argv[2].split(",")]
for at, handle in enumerate(handles):
    os.dup2(handle, 3 + at)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(handles)), LISTEN_FDNAMES=sys.argv[1])
os.execv(sys.argv[3], sys.argv[3:])
"""


@contextlib.contextmanager
def as_systemd(
    home: world.World, *words: str, listening: list[socket.socket], names: str
) -> Iterator[subprocess.Popen[bytes]]:
    """The app as a unit with a socket would start it."""
    handles = [made.fileno() for made in listening]
    stage = [PLAIN, "-c", STAGE, names, ",".join(map(str, handles)), *map(os.fsdecode, home.argv(world.APP, *words))]
    with open(home.base / "said", "wb") as said:
        process = subprocess.Popen(
            stage,
            env=home.environ,
            cwd=home.base,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            pass_fds=handles,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(peers.PATIENCE)


def test_a_socket_that_systemd_holds_is_served(home: world.World) -> None:
    """Connections that came before the start are served, and the socket is still systemd's afterwards."""
    give(home, 4533, activation=True)
    with socket.create_server(("127.0.0.1", 0)) as held, socket.create_server(("127.0.0.1", 0)) as other:
        port = held.getsockname()[1]
        early = socket.create_connection(("127.0.0.1", port))
        with early, as_systemd(home, APP, "127.0.0.1:4533", "http", listening=[other, held], names="other:web"):
            early.sendall(b"GET / HTTP/1.0\r\n\r\n")
            early.settimeout(peers.PATIENCE)
            assert early.recv(100), told(home)
            assert reached(home, ("127.0.0.1", port)).endswith(b"hello")
        held.settimeout(peers.PATIENCE)
        with socket.create_connection(("127.0.0.1", port)), held.accept()[0]:
            pass


def test_the_app_sees_nothing_of_what_systemd_passed(home: world.World) -> None:
    give(home, 4533, activation=True)
    with served() as port, socket.create_server(("127.0.0.1", 0)) as held:
        with as_systemd(home, ESCAPE, str(port), _here(), listening=[held], names="web") as process:
            assert process.wait(peers.PATIENCE) == 0
        assert told(home) == "\n"


@pytest.mark.parametrize("wrong", ["name", "pid", "datagrams"])
def test_without_its_socket_it_is_not_started(home: world.World, wrong: str) -> None:
    give(home, 4533, activation=True)
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
        assert "[listen-not-passed]" in told(home) and "STARTED" not in told(home)


def test_taking_it_back_closes_the_door_and_what_came_through(home: world.World) -> None:
    port = free_port()
    give(home, port)
    with running(home, f"127.0.0.1:{port}", "back") as process:
        reached(home, ("127.0.0.1", port))
        with socket.create_connection(("127.0.0.1", port)) as made:
            made.settimeout(peers.PATIENCE)
            made.sendall(b"x")
            assert made.recv(1) == b"x"
            with socket.socket(socket.AF_UNIX) as control:
                control.settimeout(peers.PATIENCE)
                control.connect(f"{home.runtime}/intents/run/{process.pid}/network")
                control.sendall(b"drop web\n")
                assert control.recv(100) == b"dropped 1\n"
            with pytest.raises(ConnectionResetError):
                made.recv(1)
        peers.eventually(lambda: asked(("127.0.0.1", port)) is None, "the end of the listener")


WHO = """
import socket, sys
source, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
try:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if ":" in host:
        made.setsockopt(41, 78, 1)  # IPV6_FREEBIND
    made.settimeout(10)
    made.bind((source, 0))
    made.connect((host, port))
    made.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    made.shutdown(socket.SHUT_WR)
    print(b"hello" in made.makefile("rb").read())
except OSError:
    print(False)
"""


@pytest.mark.parametrize(
    ("side", "wanted"), [("loopback", set()), ("lan", {"neighbour"}), ("all", {"neighbour", "far", "routed", "public"})]
)
def test_who_can_connect(side: str, wanted: set[str]) -> None:
    """neighbour: of the local network; far: from the internet to the address there; routed: to the private one."""
    ways = {
        "neighbour": (fake_zone.LAN, fake_zone.ME_LAN),
        "far": (fake_zone.EVIL, fake_zone.ME),
        "routed": (fake_zone.EVIL, fake_zone.ME_LAN),
        "public": (fake_zone.EVIL6, fake_zone.ME6),
    }
    with fake_internet.internet() as net, net.world() as home:
        give(home, 4533, **{"from": side})
        with running(home, "127.0.0.1:4533", "http"):

            def reaches(where: str, source: str, host: str) -> bool:
                argv = ("/usr/bin/python3", "-c", WHO, source, host, "4533")
                return net.run(*argv, side=where).stdout.strip() == "True"

            here = fake_zone.ME_LAN if side == "lan" else "127.0.0.1"
            peers.eventually(lambda: reaches("machine", here, here), "an answer")
            assert {name for name, way in ways.items() if reaches("internet", *way)} == wanted
