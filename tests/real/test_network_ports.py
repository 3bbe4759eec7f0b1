"""`ports` beside the host's own network: TCP connects there alone, by whatever way a program tries."""

import socket
from collections.abc import Iterator

import pytest

from broker import host
from tests.conftest import must_work
from tests.real import world

pytestmark = pytest.mark.real

# Connect to a port in every way that makes a TCP connection; one word for each.
TRY = """
import errno, socket, sys
MPTCP, FASTOPEN, CONNECTS = 262, 0x20000000, 30

def tried(way):
    try:
        way()
        return "open"
    except OSError as error:
        return errno.errorcode.get(error.errno, "?")

def made(family=socket.AF_INET, protocol=0):
    return socket.socket(family, socket.SOCK_STREAM, protocol)

def late(port):
    stream = made()
    stream.setsockopt(socket.IPPROTO_TCP, CONNECTS, 1)
    stream.connect(("127.0.0.1", port))
    stream.send(b"x")

for port in map(int, sys.argv[1:]):
    here = ("127.0.0.1", port)
    print(
        tried(lambda: made().connect(here)),
        tried(lambda: made(socket.AF_INET6).connect(("::ffff:127.0.0.1", port))),
        tried(lambda: made(protocol=MPTCP).connect(here)),
        tried(lambda: made().sendto(b"x", FASTOPEN, here)),
        tried(lambda: made().sendmsg([b"x"], [], FASTOPEN, here)),
        tried(lambda: late(port)),
    )
"""
NO_LANDLOCK = "from broker import landlock\nlandlock.restrict = lambda *_: None\n"
NO_FILTER = "from broker import confine\nconfine.load = lambda *_: None\n"


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """One port that is granted, and one that is not; something listens on both."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        for server in (one, two):
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)
        yield one.getsockname()[1], two.getsockname()[1]


@pytest.fixture
def here(ports: tuple[int, int]) -> Iterator[world.World]:
    must_work(host.landlock() >= 4, "Landlock that holds TCP to ports (Linux 6.7)")
    with world.world() as made:
        made.install(world.manifest(world.PYTHON, {"net": {"kind": "network", "scope": "host", "ports": [ports[0]]}}))
        made.decide()
        yield made


def test_tcp_connects_to_the_granted_port_alone(here: world.World, ports: tuple[int, int]) -> None:
    granted, other = here.says(TRY, *map(str, ports)).splitlines()
    assert granted.split() == ["open", "open", "EPROTONOSUPPORT", "ENOTSUP", "ENOTSUP", "open"]
    assert other.split() == ["EACCES", "EACCES", "EPROTONOSUPPORT", "ENOTSUP", "ENOTSUP", "EACCES"]


def test_landlock_is_what_holds_it(here: world.World, ports: tuple[int, int]) -> None:
    _, other = here.says(TRY, *map(str, ports), removed=NO_LANDLOCK).splitlines()
    assert other.split()[:2] == ["open", "open"]


def test_without_the_second_filter_there_are_ways_round(here: world.World, ports: tuple[int, int]) -> None:
    _, other = here.says(TRY, *map(str, ports), removed=NO_FILTER).splitlines()
    words = other.split()
    assert words[0] == "EACCES"
    assert "open" in (words[2], words[3], words[4]), words


def test_datagrams_and_listening_are_not_held(here: world.World) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(world.LIMIT)
        code = """
import socket, sys
one = socket.create_server(("127.0.0.1", 0))
two = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
two.sendto(b"there", ("127.0.0.1", int(sys.argv[1])))
print("sent")
"""
        assert here.says(code, str(peer.getsockname()[1])) == "sent\n"
        assert peer.recv(16) == b"there"


def test_the_filter_takes_nothing_else(here: world.World) -> None:
    code = "import socket\na, b = socket.socketpair()\na.sendmsg([b'1'])\nprint(b.recv(9))"
    assert here.says(code) == "b'1'\n"
