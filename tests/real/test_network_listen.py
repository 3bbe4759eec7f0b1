"""An app that is reached from outside, and gains no way out by it (SPEC §5.9, §10.6)."""

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from broker import host, landlock
from tests import control
from tests.conftest import must_work
from tests.real import fake_internet, fake_zone, peers, reached, world

pytestmark = pytest.mark.real

INHERITED = "from broker import launch\nlaunch._forget_inherited = lambda _: None"


@pytest.fixture(scope="module")
def home() -> Iterator[world.World]:
    with world.world() as made:
        yield made


@pytest.mark.parametrize("inside", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_a_client_of_this_machine_reaches_it(home: world.World, inside: str) -> None:
    must_work(shutil.which("curl"), "curl")
    port = reached.free_port()
    reached.give(home, port)
    with reached.running(home, f"{inside}:{port}", "http"):
        assert reached.reached(home, ("127.0.0.1", port)).endswith(b"hello")
        assert reached.reached(home, ("::1", port)).endswith(b"hello")
        said = subprocess.run(["curl", "-s", f"http://localhost:{port}/"], capture_output=True, check=True)
        assert said.stdout == b"hello"
        assert reached.asked(("127.0.0.2", port)) is None, "more than was asked for is listened on"
    peers.eventually(lambda: reached.asked(("127.0.0.1", port)) is None, "its end, with the sandbox")


def test_nothing_else_in_its_network_is_reached(home: world.World) -> None:
    port, other = reached.free_port(), reached.free_port()
    reached.give(home, port)
    both = (
        f"import threading, socketserver, socket; socketserver.TCPServer.allow_reuse_address = True\n{reached.SERVER}"
    )
    quiet = both.replace(
        "Server((host", f"threading.Thread(target=Server((host, {other}), Handler).serve_forever).start()\nServer((host"
    )
    with reached.running(home, f"0.0.0.0:{port}", "http", program=quiet):
        reached.reached(home, ("127.0.0.1", port))
        assert reached.asked(("127.0.0.1", other)) is None


def test_the_app_is_waited_for_and_missed_when_it_is_gone(home: world.World) -> None:
    """The first client comes before the app listens; when it listens no more, the next is refused at once."""
    port = reached.free_port()
    reached.give(home, port)
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
    with reached.running(home, str(port), program=once):
        assert reached.reached(home, ("127.0.0.1", port)) == b"first"
        assert not reached.asked(("127.0.0.1", port))


def test_it_has_no_way_out_and_no_socket_of_the_host(home: world.World) -> None:
    reached.give(home, reached.free_port())
    with reached.served() as port:
        assert home.says(reached.ESCAPE, str(port), reached.here()) == "\n"


def test_a_socket_of_the_host_would_be_a_way_out(home: world.World) -> None:
    """What relaying is for: one that listens in the host's network, given to the app, connects there."""
    reached.give(home, reached.free_port())
    with reached.served() as port, socket.create_server(("127.0.0.1", 0)) as handed:
        os.set_inheritable(handed.fileno(), True)
        given = {"fds": (handed.fileno(),)}
        assert home.says(reached.ESCAPE, str(port), reached.here(), **given) == "\n"
        assert ",out" in home.says(reached.ESCAPE, str(port), reached.here(), removed=INHERITED, **given)


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
    port = reached.free_port()
    reached.give(home, port)
    for held in (True, False):
        with socket.create_server(("127.0.0.1", 0)) as service:
            removed = TAKEN_OVER.format(port=service.getsockname()[1])
            removed += "" if held else "\nfrom broker import landlock\nlandlock.hold = lambda *_: None"
            with reached.running(home, program=BEGUN, removed=removed):
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
                peers.eventually(
                    lambda: "begun" in reached.told(home), "the app"
                )  # what ends before that may outlive its end
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
        reached.give(home, port)
        done = home.start("print('STARTED')")
    assert done.returncode == 125 and b"STARTED" not in done.stdout
    assert b"[listen-taken]" in done.stderr and f"127.0.0.1:{port}".encode() in done.stderr


def test_killing_what_runs_it_ends_it(home: world.World) -> None:
    port = reached.free_port()
    reached.give(home, port, socket="web.sock")
    path = home.runtime / world.APP / "web.sock"
    with reached.running(home, f"127.0.0.1:{port}", "http") as process:
        assert reached.reached(home, str(path)).endswith(b"hello")
        os.kill(process.pid, signal.SIGKILL)
        peers.eventually(lambda: not path.exists(), "the end of its socket")


def test_much_comes_through_as_it_was(home: world.World) -> None:
    port, size = reached.free_port(), 64 << 20
    reached.give(home, port)
    block = os.urandom(1 << 20)
    with reached.running(home, f"127.0.0.1:{port}", "back"):
        reached.reached(home, ("127.0.0.1", port))
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
    port = reached.free_port()
    reached.give(home, port)
    with reached.running(home, f"127.0.0.1:{port}", "back"), contextlib.ExitStack() as stack:
        reached.reached(home, ("127.0.0.1", port))
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
    port = reached.free_port()
    reached.give(home, port)
    few = "from broker.network import inbound\ninbound.MOST = 4"
    with reached.running(home, f"127.0.0.1:{port}", "back", removed=few):
        reached.reached(home, ("127.0.0.1", port))
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


def test_taking_it_back_closes_the_door_and_what_came_through(home: world.World) -> None:
    port = reached.free_port()
    reached.give(home, port)
    with reached.running(home, f"127.0.0.1:{port}", "back"):
        reached.reached(home, ("127.0.0.1", port))
        with socket.create_connection(("127.0.0.1", port)) as made:
            made.settimeout(peers.PATIENCE)
            made.sendall(b"x")
            assert made.recv(1) == b"x"
            with home.here():
                rows = control.data(home, "revoke", world.APP, "web", "--now")["now"]
            wanted = {"intent": "web", "server": f"port {port}", "granted": False, "connections": 1}
            assert isinstance(rows, list) and [row["servers"] for row in rows] == [[wanted]], rows
            with pytest.raises(ConnectionResetError):
                made.recv(1)
        peers.eventually(lambda: reached.asked(("127.0.0.1", port)) is None, "the end of the listener")


def test_what_it_reaches_is_looked_at_while_it_runs(home: world.World) -> None:
    """The look starts the sandbox anew, and leaves alone where the app is reached."""
    port = reached.free_port()
    reached.give(home, port)
    with reached.running(home, f"127.0.0.1:{port}", "http"):
        reached.reached(home, ("127.0.0.1", port))
        with home.here():
            assert "as promised" in control.done(home, "reach", world.APP)


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


UNCOMPARED = """
import types
from broker.network import inbound, nearby
inbound.nearby = types.SimpleNamespace(here=nearby.here, is_near=lambda _address: True)
"""


@pytest.mark.parametrize(
    ("side", "removed", "wanted"),
    [
        ("loopback", "", set()),
        ("lan", "", {"neighbour"}),
        ("lan", UNCOMPARED, {"neighbour", "routed"}),
        ("all", "", {"neighbour", "far", "routed", "public"}),
    ],
)
def test_who_can_connect(side: str, removed: str, wanted: set[str]) -> None:
    """neighbour: of the local network; far: from the internet to the address there; routed: to the private one."""
    ways = {
        "neighbour": (fake_zone.LAN, fake_zone.ME_LAN),
        "far": (fake_zone.EVIL, fake_zone.ME),
        "routed": (fake_zone.EVIL, fake_zone.ME_LAN),
        "public": (fake_zone.EVIL6, fake_zone.ME6),
    }
    with fake_internet.internet() as net, net.world() as home:
        reached.give(home, 4533, **{"from": side})
        with reached.running(home, "127.0.0.1:4533", "http", removed=removed):

            def reaches(where: str, source: str, host: str) -> bool:
                argv = ("/usr/bin/python3", "-c", WHO, source, host, "4533")
                return net.run(*argv, side=where).stdout.strip() == "True"

            here = fake_zone.ME_LAN if side == "lan" else "127.0.0.1"
            peers.eventually(lambda: reaches("machine", here, here), "an answer")
            assert {name for name, way in ways.items() if reaches("internet", *way)} == wanted


LATER = "import sys; from tests.real import fake_wiring as w; w.enter(int(sys.argv[1])); w.address('eth1', sys.argv[2])"


def test_an_address_of_the_local_network_that_comes_later_is_one_more() -> None:
    with fake_internet.internet() as net, net.world() as home:
        reached.give(home, 4533, **{"from": "lan"})
        with reached.running(home, "127.0.0.1:4533", "http"):

            def reaches(host: str) -> bool:
                argv = ("/usr/bin/python3", "-c", WHO, fake_zone.LAN, host, "4533")
                return net.run(*argv, side="internet").stdout.strip() == "True"

            peers.eventually(lambda: reaches(fake_zone.ME_LAN), "an answer")
            assert not reaches("192.168.77.99")
            words = [sys.executable, "-c", LATER, str(net.process.pid), "192.168.77.99/24"]
            subprocess.run(words, cwd=world.ROOT, check=True)
            peers.eventually(lambda: reaches("192.168.77.99"), "an answer there")
