"""A running app's names: over the host's resolvers where any name is granted, through its proxy where one is set."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.real import fake_internet, fake_zone, peers, world

pytestmark = pytest.mark.real
# For each line: what the name leads to, or what it is answered at that port.
CODE = """
import socket, sys
for line in sys.stdin:
    name, _, port = line.strip().partition(" ")
    try:
        if port:
            made = socket.create_connection((name, int(port)), timeout=60)
            made.sendall(b"GET / HTTP/1.0\\r\\nHost: " + name.encode() + b"\\r\\n\\r\\n")
            found = ["reached"] if made.recv(4) == b"HTTP" else ["nothing"]
            made.close()
        else:
            found = sorted({row[4][0] for row in socket.getaddrinfo(name, 80, 0, socket.SOCK_STREAM)})
    except OSError as error:
        found = [type(error).__name__]
    print(" ".join(found), flush=True)
"""
ANY = {"names": {"kind": "dns", "scope": "any"}, "net": {"kind": "network", "connect": ["www.allowed.test:80"]}}


class App:
    """The app, which runs and is asked."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def ask(self, line: str) -> str:
        """What it says to a line."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


@contextmanager
def running(home: world.World, intents: dict[str, dict[str, object]], **environ: str) -> Iterator[App]:
    home.install(world.manifest(world.PYTHON, intents, interface="window"))
    home.decide()
    with subprocess.Popen(
        home.argv(world.APP, CODE),
        env={**home.environ, **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield App(process)
        finally:
            assert process.stdin
            process.stdin.close()
            process.wait(peers.PATIENCE)


def test_any_name_is_what_the_resolver_of_the_moment_says_and_nothing_else_of_the_host() -> None:
    with fake_internet.internet() as net, net.world() as home, running(home, ANY) as app:
        assert app.ask("other.test") == fake_zone.OTHER
        assert app.ask("chain.allowed.test") == fake_zone.ALLOWED
        assert app.ask("six.allowed.test") == fake_zone.ALLOWED6
        assert len(app.ask("big.test").split()) == 254  # over TCP
        made_up = app.ask("www.allowed.test").split()
        assert [each[:6] for each in made_up] == ["198.18", "fd69:6"]
        assert app.ask("nas.lan") == fake_zone.LAN
        for trap in ("loopback", "metadata", "lan", "me", "nat64", "6to4"):
            assert app.ask(f"to-{trap}.test") == "gaierror", trap
        assert app.ask("mixed.test") == "gaierror"
        mark = net.mark()
        for name in ("secret-of-the-host.test", "garbage.test", "circular.test", "circle.test"):
            assert app.ask(name) == "gaierror", name
        for name in ("localhost", "printer.local", "secret"):
            app.ask(name)
        asked = {line.split()[3] for line in net.since(mark, "dns")}
        assert asked == {"secret-of-the-host.test", "garbage.test", "circular.test", "circle.test"}
        net.resolver(fake_zone.CAPTIVE_RESOLVER)
        assert app.ask("other.test") == fake_zone.CAPTIVE
        net.resolver(fake_zone.RESOLVER)
        assert app.ask("other.test") == fake_zone.OTHER


def test_a_granted_name_is_dialled_as_the_resolver_of_the_moment_says() -> None:
    with fake_internet.internet() as net, net.world() as home, running(home, {"net": ANY["net"]}) as app:
        assert app.ask("www.allowed.test 80") == "reached"
        net.resolver(fake_zone.CAPTIVE_RESOLVER)
        mark = net.mark()

        def elsewhere() -> bool:
            assert app.ask("www.allowed.test 80") == "reached"
            return any(fake_zone.CAPTIVE in line for line in net.since(mark, "syn"))

        peers.eventually(elsewhere, "the other address")


LEAVING = """
import socket
def reach():
    made = socket.create_connection(("www.allowed.test", 80), timeout=60)
    made.sendall(b"GET /big HTTP/1.0\\r\\nHost: www.allowed.test\\r\\n\\r\\n")
    return made
for _ in range(100):
    made = reach()
    made.recv(1)
    made.close()
print("and", reach().recv(4).decode())
"""
ENDED_BY_A_PIPE = """
from broker import network
class Deaf:
    SIGPIPE = SIG_IGN = 0
    signal = staticmethod(lambda *_: None)
network._signal = Deaf
"""


def test_an_app_that_leaves_in_the_middle_of_a_page_keeps_its_network() -> None:
    with fake_internet.internet(watch=False) as net, net.world() as home:
        net.page("www.allowed.test", "/big", bytes(1 << 22))
        home.install(world.manifest(world.PYTHON, {"net": ANY["net"]}, interface="window"))
        home.decide()
        assert home.says(LEAVING) == "and HTTP\n"
        assert home.start(LEAVING, removed=ENDED_BY_A_PIPE).returncode != 0


def test_with_a_proxy_the_name_is_the_proxys_to_look_up_and_to_reach() -> None:
    with fake_internet.internet() as net, net.world() as home:
        with running(home, {"net": ANY["net"]}, http_proxy="http://192.0.2.3:3128") as app:
            mark = net.mark()
            assert app.ask("www.allowed.test 80") == "reached"
            seen = net.since(mark)
            assert any("proxy" in line and "www.allowed.test:80" in line for line in seen), seen
            assert not [line for line in net.since(mark, "dns") if "www.allowed.test" in line]
            assert app.ask("other.test 80") == "gaierror"
        with running(home, {"net": ANY["net"]}, http_proxy="http://192.0.2.3:3128", no_proxy="allowed.test") as app:
            mark = net.mark()
            assert app.ask("www.allowed.test 80") == "reached"
            assert not [line for line in net.since(mark) if "proxy" in line]
        with running(home, {"net": ANY["net"]}, all_proxy="socks5://192.0.2.3:1080") as app:
            mark = net.mark()
            assert app.ask("www.allowed.test 80") == "ConnectionResetError"
            assert net.since(mark, "syn", "dns") == []
