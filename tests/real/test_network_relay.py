"""The relay of a real sandbox: what an app does to it is no more than the app's own loss (SPEC §10.6)."""

import contextlib
import os
import pathlib
import resource
import selectors
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest

from tests import relaying
from tests.real import peers, world

pytestmark = pytest.mark.real

BEGIN = """
import os, random, resource, socket, struct, sys
PORT = int(sys.argv[1])
RESOLVER = ("127.0.0.53", 53)
def connected():
    return socket.create_connection(("127.0.0.1", PORT), 20)
def works():
    with connected() as stream:
        stream.sendall(b"word")
        return stream.recv(16) == b"word"
assert works()
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
kept = []
"""
END = """
print(works(), flush=True)
"""
ATTACKS = {
    "datagrams that are no questions": """
asking, dice = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), random.Random(1)
for number in range(5000):
    asking.sendto(dice.randbytes(number % 600), RESOLVER)
loop = struct.pack(">HHHHHH", 1, 256, 1, 0, 0, 0) + bytes([192, 12]) + bytes([0, 1, 0, 1])
for at in range(len(loop)):
    asking.sendto(loop[:at], RESOLVER)
""",
    "streams that are no questions": """
dice = random.Random(2)
for number in range(200):
    with socket.create_connection(RESOLVER) as stream:
        try:
            stream.sendall(dice.randbytes(1 + number * 40))
        except OSError:
            pass
""",
    "askers that say nothing": """
for _ in range(300):
    kept.append(socket.create_connection(RESOLVER))
""",
    "connections that say nothing": """
for _ in range(3000):
    kept.append(connected())
""",
    "connections that are reset at once": """
for _ in range(2000):
    stream = connected()
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()
""",
    "connections that are not waited for": """
for _ in range(2000):
    stream = socket.socket()
    stream.setblocking(False)
    stream.connect_ex(("127.0.0.1", PORT))
    stream.close()
""",
    "much that nobody reads": """
for _ in range(40):
    stream = connected()
    stream.setblocking(False)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    try:
        while True:
            stream.send(bytes(1 << 20))
    except BlockingIOError:
        kept.append(stream)
""",
    "urgent bytes": """
for _ in range(200):
    stream = connected()
    stream.send(b"!", socket.MSG_OOB)
    kept.append(stream)
""",
}
MANY = """
streams = [connected() for _ in range(2000)]
for number, stream in enumerate(streams):
    stream.sendall(b"%d" % number)
lost = sum(stream.recv(16) != b"%d" % number for number, stream in enumerate(streams))
print(len(streams), lost, flush=True)
"""
# As many as there is room for are served; the others wait, and are served when the first are gone.
FEW = """
import select
waiting = []
for number in range(200):
    stream = socket.socket()
    stream.setblocking(False)
    stream.connect_ex(("127.0.0.1", PORT))
    waiting.append(stream)
served = rounds = 0
while waiting:
    for stream in waiting:
        try:
            stream.send(b"word")
        except BlockingIOError:
            pass
    now = [stream for stream in select.select(waiting, [], [], 20)[0] if stream.recv(4096)]
    assert now, (served, len(waiting))
    served, rounds = served + len(now), rounds + 1
    for stream in now:
        waiting.remove(stream)
        stream.close()
print(served, flush=True)
"""
# Whether a connection and the network are there still, each time a line comes.
WATCH = """
held = connected()
print("ready", flush=True)
sys.stdin.readline()
try:
    print("held" if held.recv(1) else "ended", flush=True)
except OSError:
    print("reset", flush=True)
try:
    print(works(), flush=True)
except OSError as error:
    print(type(error).__name__, flush=True)
"""


@contextlib.contextmanager
def echo() -> Iterator[int]:
    """The port of a service of this machine that says again what it hears, to very many at a time."""
    ready = selectors.DefaultSelector()
    stop, stopped = os.pipe()
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        ready.register(listener, selectors.EVENT_READ)
        ready.register(stop, selectors.EVENT_READ)
        worker = threading.Thread(target=_serve, args=(ready, listener))
        worker.start()
        try:
            yield listener.getsockname()[1]
        finally:
            os.write(stopped, b".")
            worker.join()
            ready.close()
            os.close(stop)
            os.close(stopped)


def _serve(ready: selectors.BaseSelector, listener: socket.socket) -> None:
    streams: set[socket.socket] = set()
    while True:
        for key, _ in ready.select():
            made = key.fileobj
            if not isinstance(made, socket.socket):
                for each in streams:
                    each.close()
                return
            if made is listener:
                made, _ = listener.accept()
                made.setblocking(False)
                streams.add(made)
                ready.register(made, selectors.EVENT_READ)
                continue
            try:
                data = made.recv(4096)
                made.send(data)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                ready.unregister(made)
                streams.discard(made)
                made.close()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with relaying.many_descriptors(), echo() as found:
        yield found


@pytest.fixture
def here(port: int) -> Iterator[world.World]:
    with world.world() as made:
        made.install(world.manifest(world.PYTHON, {"net": {"kind": "network", "connect": [f"127.0.0.1:{port}"]}}))
        made.decide()
        yield made


def halves(here: world.World) -> dict[str, int]:
    """The pids of the app's dialer and relay, which are forks of the command that a test started."""
    found = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes()
            if str(here.home).encode() in words and not words.startswith(b"bwrap"):
                pid = int(entry.name)
                found["dialer" if os.getsid(pid) == pid else "relay"] = pid
    return found


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_app_goes_on_whatever_it_did(here: world.World, port: int, attack: str) -> None:
    assert here.says(BEGIN + ATTACKS[attack] + END, str(port)) == "True\n"
    peers.eventually(lambda: not halves(here), "the end of both processes")


def test_two_thousand_connections_at_a_time_lose_nothing(here: world.World, port: int) -> None:
    assert here.says(BEGIN + MANY, str(port)) == "2000 0\n"


def limited(here: world.World, port: int, removed: str = "") -> subprocess.CompletedProcess[str]:
    """The app, where there are hardly more descriptors than the relay keeps for itself."""
    return subprocess.run(
        here.argv(world.APP, BEGIN + FEW, str(port), removed=removed),
        env=here.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=peers.PATIENCE,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300)),
    )


def test_where_there_are_no_more_descriptors_connections_wait(here: world.World, port: int) -> None:
    here.says(BEGIN + END, str(port))
    done = limited(here, port)
    assert (done.stdout, done.stderr) == ("200\n", "")
    unreserved = "from broker.network import relay\nrelay.RESERVE = -10**6\n"  # where enough end in time, none is lost
    assert any(limited(here, port, removed=unreserved).stdout != "200\n" for _ in range(20))


@pytest.mark.parametrize("half", ["dialer", "relay"])
def test_without_one_half_there_is_no_network_and_no_other_half(here: world.World, port: int, half: str) -> None:
    pipe = subprocess.PIPE
    argv = here.argv(world.APP, BEGIN + WATCH, str(port))
    with subprocess.Popen(argv, env=here.environ, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == "ready\n"
        found = halves(here)
        assert found.keys() == {"dialer", "relay"}
        os.kill(found[half], signal.SIGKILL)
        peers.eventually(lambda: not halves(here), "the end of the other half")
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() in ("reset\n", "ended\n")
        assert process.stdout.readline() in ("ConnectionRefusedError\n", "ConnectionResetError\n")
    assert process.returncode == 0, "the app itself goes on"
