"""What keeps an app to its network, each thing taken away once: what it prevents then happens.

Without this the table of test_network_table would prove no more than that something was in the way.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.real import fake_internet, fake_zone, peers, test_network_load, test_network_table, world
from tests.real.world import LIMIT

pytestmark = pytest.mark.real

OTHER = 'rules.Connect(["network", "tcp", "other.test", "80", "-"])'
# What a relay does that its app has taken over: it asks for whatever it likes.
TAKEN_OVER = f"""
from broker.network import relay, rules
_prepare = relay.prepare
def prepare(found, *rest, **more):
    found.connects.append({OTHER})
    return _prepare(found, *rest, **more)
relay.prepare = prepare
"""
UNCHECKED_DIALER = f"""
from broker.network import dialer, rules
_do = dialer.Dialer._do
def do(self, data):
    if not self.rules.find("tcp", "other.test", 80):
        self.rules.connects.append({OTHER})
    _do(self, data)
dialer.Dialer._do = do
"""
SHARED = """
from intents import bwrap
_own = bwrap._namespaces
bwrap._namespaces = lambda box: [*_own(box), ("base", ("--share-net",))]
"""
UNLOOKED = """
from broker.network import addresses, connecting
addresses.verdict = lambda *_rest, **_more: ""
connecting.to_itself = lambda _made: False  # the second look, for what is not known to be this machine's
"""
CAPABLE = """
from intents import bwrap
user = bwrap.ALWAYS[1]  # twice: in the place of what keeps the app out of the user namespace that owns its network
bwrap.ALWAYS = (bwrap.ALWAYS[0], user, user, "--uid", "0", "--gid", "0", "--cap-add", "ALL")
"""
UNFILTERED = """
from intents import nft
nft.rules = lambda scope, **more: "table inet intents\\ndelete table inet intents\\n"
"""


@dataclass(frozen=True)
class Removed:
    """A protection: what was granted, the Python that takes it away, and what is tried with and without it."""

    scope: dict[str, dict[str, object]]
    without: str
    tries: tuple[str, ...]
    before: str = ""  # what is broken already, so that this is the last thing in the way


NAMED, SNI = test_network_table.SCOPES["name"], test_network_table.SCOPES["sni"]
ONE: dict[str, dict[str, object]] = {"network": {"kind": "network", "connect": ["www.allowed.test:80"]}}
PROTECTIONS = {
    "a network of its own": Removed(
        {},
        SHARED,
        (
            "tcp 203.0.113.20 80",
            "tcp 192.168.77.10 80",
            "tcp 169.254.169.254 80",
            "tcp 127.0.0.1 8888",
            "udp 192.0.2.2 8890",
            "abstract @fake-host",
            "dns www.allowed.test udp 8.8.8.8",
        ),
    ),
    "the look at addresses": Removed(
        NAMED,
        UNLOOKED,
        (
            "tcp to-loopback.test 8888",
            "tcp to-loopback6.test 8888",
            "tcp to-zero.test 8888",
            "tcp to-metadata.test 80",
            "tcp to-lan.test 80",
            "tcp to-me.test 8888",
            "tcp chain-inside.test 8888",
        ),
    ),
    "the dialer's own rules": Removed(ONE, UNCHECKED_DIALER, ("tcp other.test 80",), before=TAKEN_OVER),
    "the relay's rules": Removed(ONE, TAKEN_OVER, ("tcp other.test 80",), before=UNCHECKED_DIALER),
    "the look at TLS": Removed(
        SNI,
        "from broker.network import hello\nhello.server_name = lambda _data: b'cdn-allowed.test'",
        ("tls cdn-allowed.test 443 cdn-forbidden.test", "tls cdn-allowed.test 443 -"),
    ),
    "the system call filter": Removed({}, world.NO_FILTER, ("raw 40 1 0",)),
    "no capabilities over it": Removed(
        {},
        CAPABLE,
        ("netlink address", "netlink down", "raw 2 3 1"),
    ),
    "the uplink's filter": Removed(
        test_network_table.SCOPES["inet"],
        UNFILTERED,
        ("tcp 192.168.77.10 80", "tcp 10.11.12.13 80", "tcp 169.254.169.254 80"),
    ),
    "a gateway that is nobody": Removed(
        test_network_table.SCOPES["inet"],
        UNFILTERED + "from broker.network import uplink\n"
        "uplink._ALONE = ('-t', 'none', '-u', 'none', '-T', 'auto', '-U', 'none')",
        ("tcp 127.0.0.1 8888",),
    ),
}


@pytest.fixture(scope="module", name="net")
def _net() -> Iterator[fake_internet.Internet]:
    with fake_internet.internet() as made:
        yield made


@pytest.mark.parametrize("name", PROTECTIONS)
def test_without_it_what_it_prevents_happens(net: fake_internet.Internet, name: str) -> None:
    protection = PROTECTIONS[name]
    with net.world() as here:
        here.install(world.manifest(world.PYTHON, protection.scope))
        here.decide()
        tries = list(protection.tries)
        with_it = test_network_table.attempts(here, tries, removed=protection.before)
        assert [result[0] for result in with_it] == ["-"] * len(tries), with_it
        without = test_network_table.attempts(here, tries, removed=protection.before + protection.without)
        assert [result[0] for result in without] == ["+"] * len(tries), without


UNFORGOTTEN = "from broker import launch\nlaunch._forget_inherited = lambda _: None"
LISTENING = """
import os, socket, sys
stream = socket.create_server(("0.0.0.0", 0))
os.dup2(stream.fileno(), 9, inheritable=True)
os.execvp(sys.argv[1], sys.argv[1:])
"""
TURN = """
import ctypes, socket
with socket.socket(fileno=9) as stream:
    ctypes.CDLL(None).connect(9, bytes(16), 16)
    stream.connect(("127.0.0.1", 8888))
    stream.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    print(stream.recv(4096).decode())
"""


def test_a_socket_of_the_host_that_comes_along_is_a_way_out(net: fake_internet.Internet) -> None:
    """connect(2) to AF_UNSPEC loosens a listening socket, and the next connect goes out by the host's network."""
    with net.world() as here:
        here.install(world.manifest(world.PYTHON, {}))
        here.decide()

        def start(removed: str) -> subprocess.CompletedProcess[bytes]:
            argv, enter = here.argv(world.APP, TURN, removed=removed), len(net.prefix())
            argv[enter:enter] = ["/usr/bin/python3", "-ISc", LISTENING]
            quiet = subprocess.DEVNULL
            return subprocess.run(
                argv, env=here.environ, cwd=here.base, stdin=quiet, capture_output=True, timeout=LIMIT, check=False
            )

        assert b"Bad file descriptor" in start("").stderr
        assert b"i am 127.0.0.1:8888" in start(UNFORGOTTEN).stdout


def test_without_either_companion_there_is_no_network(net: fake_internet.Internet) -> None:
    for which in (0, 1):
        with test_network_load.load(net) as under:
            assert under.do("connections", 1, "www.allowed.test", 7) == "1"
            pids = under.companions()
            mark = net.mark()
            net.run("kill", "-KILL", pids[which])
            peers.eventually(lambda under=under: not under.companions(), "the end of the other one")  # type: ignore[misc]
            assert under.do("connections", 1, "www.allowed.test", 7)[0] in "0-"
            assert under.do("connections", 1, fake_zone.ALLOWED, 7)[0] in "0-"
            assert [line for line in net.since(mark) if re.search(r" (tcp|syn) ", line)] == []
