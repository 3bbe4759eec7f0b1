"""`internet` and `lan` in the fake internet: what filter and pasta let an app reach, and what is left when they go."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest

from tests.conftest import must_work
from tests.real import fake_internet, fake_servers, fake_zone, peers, world

pytestmark = pytest.mark.real

# Tries what each line says (tcp or udp, a host, a port), and prints who answered there, or why nobody did.
TRY = """
import errno, socket, sys

kept = {}

def tried(protocol, host, port):
    if protocol == "unix":
        with socket.socket(socket.AF_UNIX) as stream:
            stream.connect("\\0" + host)
        return "open"
    if protocol == "links":
        return "open" if len(socket.if_nameindex()) > 1 else "none"
    kind = socket.SOCK_STREAM if protocol in ("tcp", "kept") else socket.SOCK_DGRAM
    fresh = (protocol, host, port) not in kept
    if fresh:
        family, _, _, _, address = socket.getaddrinfo(host, port, 0, kind)[0]
        stream = socket.socket(family, kind)
        stream.settimeout(20)
        stream.connect(address)
        if protocol == "kept":
            kept[protocol, host, port] = stream
    else:
        stream = kept[protocol, host, port]
    if port in ("53", "853"):
        stream.send(b"x")
        stream.close()
        return "open"
    stream.send(b"GET / HTTP/1.1\\r\\n\\r\\n" if kind == socket.SOCK_STREAM else b"x")
    data = stream.recv(4096)
    while protocol == "kept" and b" sni " not in data:  # the rest of an answer is no answer
        piece = stream.recv(4096)
        if not piece:
            return "closed"
        data += piece
    if protocol == "tcp":
        stream.close()
    return "open" if data else "closed"

for line in sys.stdin:
    try:
        print(tried(*line.split()), flush=True)
    except OSError as error:
        print(errno.errorcode.get(error.errno, type(error).__name__).lower(), flush=True)
"""
WEB, MINE = 80, fake_servers.MINE
INTERNET = (
    f"tcp {fake_zone.ALLOWED} 8080",
    f"tcp {fake_zone.ALLOWED6} 8080",
    f"tcp {fake_zone.EVIL} {WEB}",
    f"udp {fake_zone.ALLOWED} 123",
    f"udp {fake_zone.ALLOWED6} 5000",
)
NAMED = (
    f"tcp www.allowed.test {WEB}",
    f"tcp four.allowed.test {WEB}",
    f"tcp six.allowed.test {WEB}",
    f"tcp chain.allowed.test {WEB}",
    "udp time.allowed.test 123",
)
NEIGHBOURS = (
    f"tcp {fake_zone.LAN} {WEB}",
    f"tcp {fake_zone.LAN6} {WEB}",
    f"udp {fake_zone.LAN} 5000",
    f"tcp {fake_zone.INNER} {WEB}",
)
GATEWAY = f"tcp {fake_zone.RESOLVER} 53"
NEVER = (
    *(f"tcp {host} {MINE}" for host in (fake_zone.ME, fake_zone.ME6, fake_zone.ME_LAN, "127.0.0.1", "::1")),
    *(f"udp {host} {fake_servers.MY_UDP}" for host in (fake_zone.ME, fake_zone.ME_LAN)),
    f"tcp {fake_zone.METADATA} {WEB}",
    f"tcp ::ffff:{fake_zone.METADATA} {WEB}",
    f"tcp ::ffff:{fake_zone.ME_LAN} {MINE}",
    f"tcp 64:ff9b::{fake_zone.ME_LAN} {MINE}",
    f"tcp 2002:c0a8:4d02:: {MINE}",
    f"tcp 0.0.0.0 {MINE}",
    "udp 224.0.0.251 5353",
    f"unix {fake_servers.ABSTRACT} 0",
)
NAMES = ("udp 8.8.8.8 53", "tcp 8.8.8.8 53", "tcp 1.1.1.1 853", "tcp 2001:4860:4860::8888 53")
NO_FILTER = "from intents import nft\nnft.rules = lambda *_, **__: 'table inet intents\\n'\n"


@pytest.fixture(scope="module")
def net() -> Iterator[fake_internet.Internet]:
    must_work(shutil.which("pasta"), "pasta")
    must_work(shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin"), "nft")
    must_work(os.access("/dev/net/tun", os.W_OK), "/dev/net/tun that everybody may use")
    with fake_internet.internet() as made:
        yield made


@contextlib.contextmanager
def app(
    net: fake_internet.Internet, scope: str, *, dns: bool = True, near: Sequence[str] = ()
) -> Iterator[world.World]:
    """An app whose network is ``scope``; near: what it may connect to besides."""
    with net.world() as here:
        intents: dict[str, dict[str, object]] = {"net": {"kind": "network", "scope": scope}}
        if dns:
            intents["names"] = {"kind": "dns", "scope": "any"}
        if near:
            intents["near"] = {"kind": "network", "connect": list(near)}
        here.install(world.manifest(world.PYTHON, intents))
        here.decide()
        yield here


def tried(here: world.World, *lines: str, removed: str = "") -> dict[str, str]:
    """What came of each line."""
    done = here.start(TRY, data="".join(f"{line}\n" for line in lines).encode(), removed=removed)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return dict(zip(lines, done.stdout.decode().split(), strict=True))


def opened(here: world.World, *lines: str, removed: str = "") -> set[str]:
    return {line for line, word in tried(here, *lines, removed=removed).items() if word == "open"}


def processes(here: world.World) -> dict[int, str]:
    """What runs of this world: all that intent-run has become but the app itself."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if entry.name.isdigit() and str(here.base) in line:
                found[int(entry.name)] = line
    return found


def one(here: world.World, word: str) -> int:
    """The one process of this world that was started as ``word``."""
    (pid,) = (pid for pid, line in processes(here).items() if line.startswith(f"{word} "))
    return pid


class Running:
    """An app that stays, and tries what it is told."""

    def __init__(self, here: world.World, removed: str = "") -> None:
        self.process = subprocess.Popen(
            here.argv(world.APP, TRY, removed=removed),
            env=here.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def tries(self, line: str) -> str:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()
        return self.process.stdout.readline().decode().strip()


def ended(here: world.World, app: Running, pasta: int) -> None:
    """Wait until the app has no way out."""
    peers.eventually(lambda: pasta not in processes(here), "the end of pasta")
    peers.eventually(lambda: app.tries("links - 0") == "none", "the end of what it made")
    assert app.tries(INTERNET[0]) == "enetunreach"


@contextlib.contextmanager
def running(here: world.World, removed: str = "") -> Iterator[Running]:
    made = Running(here, removed)
    try:
        yield made
    finally:
        made.process.communicate()
        peers.eventually(lambda: not processes(here), "the end of all that was started")


def test_internet_is_everything_but_neighbours_and_this_machine(net: fake_internet.Internet) -> None:
    with app(net, "internet") as here:
        assert opened(here, *INTERNET, *NAMES) == {*INTERNET, *NAMES}
        mark = net.mark()
        assert opened(here, *NEIGHBOURS, GATEWAY, *NEVER) == set()
        assert not net.since(mark)


def test_any_name_is_found_and_leads_where_addresses_may(net: fake_internet.Internet) -> None:
    with app(net, "internet") as here:
        assert opened(here, *NAMED) == {*NAMED}
        mark = net.mark()
        assert opened(here, "tcp nas.lan 80", f"tcp rebind.allowed.test {MINE}") == set()
        assert not net.since(mark, "tcp", "unix")


def test_lan_is_the_neighbours_too(net: fake_internet.Internet) -> None:
    with app(net, "lan") as here:
        assert opened(here, *INTERNET, *NEIGHBOURS) == {*INTERNET, *NEIGHBOURS}
        assert opened(here, *NEVER) == set()


def test_the_filter_is_what_keeps_neighbours_out(net: fake_internet.Internet) -> None:
    with app(net, "internet") as here:
        assert opened(here, *NEIGHBOURS, removed=NO_FILTER) == {*NEIGHBOURS}
        own = f"tcp {fake_zone.ME_LAN} {MINE}"
        assert opened(here, own, removed=NO_FILTER) == {own}


def test_pasta_as_it_comes_would_lead_to_this_machine(net: fake_internet.Internet) -> None:
    with app(net, "internet") as here:
        own = f"tcp 127.0.0.1 {MINE}"
        assert opened(here, own, removed="from broker.network import uplink\nuplink._ALONE = ()\n") == {own}


def test_without_dns_no_name_server_answers(net: fake_internet.Internet) -> None:
    with app(net, "internet", dns=False) as here:
        assert opened(here, *NAMES) == set()
        assert opened(here, INTERNET[0]) == {INTERNET[0]}


def test_a_granted_neighbour_is_reached_at_its_port_alone(net: fake_internet.Internet) -> None:
    with app(net, "internet", near=("192.168.77.0/24:631", f"{fake_zone.LAN}:8080")) as here:
        asked = [f"tcp {fake_zone.LAN} {port}" for port in (WEB, 631, 8080)]
        assert opened(here, *asked) == {*asked[1:]}
        assert opened(here, f"tcp {fake_zone.ME_LAN} {MINE}", *INTERNET) == {*INTERNET}


def test_the_app_has_no_right_over_the_filter(net: fake_internet.Internet) -> None:
    code = "import ctypes\nprint(ctypes.CDLL(None).unshare(0x10000000))\nprint(open('/proc/self/status').read())"
    with app(net, "internet") as here:
        said = here.says(code)
        assert said.startswith("-1\n")
        assert "CapEff:\t0000000000000000" in said and "CapBnd:\t0000000000000000" in said


@pytest.mark.parametrize(
    "removed",
    [
        "from intents import nft\nnft.rules = lambda *_, **__: 'this is no rule'\n",
        "from broker.network import uplink\nuplink._load = lambda *_: 1\n",
        "from broker.network import uplink\nuplink.Warden._refresh = lambda self: 1 / 0\n",
        "from broker.network import uplink\nuplink._keep = lambda *_: None\n",
        "from broker.network import uplink\nuplink._QUIET = ('--nonsense',)\n",
        "from broker.network import uplink\nuplink._hand_down = lambda _: exec('raise OSError(1, str())')\n",
    ],
)
def test_an_app_whose_way_out_is_not_ready_does_not_begin(net: fake_internet.Internet, removed: str) -> None:
    with app(net, "internet") as here:
        done = here.start("print('begun')", removed=removed)
        assert done.returncode != 0
        assert b"begun" not in done.stdout
        assert b"the app's network could not be made ready" in done.stderr, done.stderr
        peers.eventually(lambda: not processes(here), "the end of all that was started")


@pytest.mark.parametrize("victim", ["pasta", "warden"])
def test_without_pasta_there_is_no_network(net: fake_internet.Internet, victim: str) -> None:
    with app(net, "internet") as here, running(here) as started:
        assert started.tries(INTERNET[0]) == "open"
        pasta = one(here, "pasta")
        status = pathlib.Path(f"/proc/{pasta}/status").read_text()
        parent = int(status.partition("PPid:")[2].split()[0])
        os.kill(pasta if victim == "pasta" else parent, signal.SIGKILL)
        ended(here, started, pasta)
        assert started.tries(f"tcp {fake_zone.LAN} {WEB}") != "open"


def test_nothing_is_left_behind(net: fake_internet.Internet) -> None:
    with app(net, "internet") as here:
        with running(here) as started:
            assert started.tries(INTERNET[0]) == "open"
            assert one(here, "pasta")
        assert not [*here.base.rglob("pasta")]
        with running(here) as started:
            assert started.tries(INTERNET[0]) == "open"
            os.killpg(started.process.pid, signal.SIGKILL)
        assert not [*here.base.rglob("pasta")]


def wired(net: fake_internet.Internet, *lines: str) -> None:
    """Change the fake machine's network; each line calls something of fake_wiring."""
    code = "\n".join(("from tests.real import fake_wiring as w", f"w.enter({net.process.pid})", *lines))
    subprocess.run([sys.executable, "-c", code], check=True, cwd=world.ROOT)


def test_the_filter_follows_this_machine_s_addresses(net: fake_internet.Internet) -> None:
    asked, kept = (f"{protocol} {fake_zone.BLOCK} {WEB}" for protocol in ("tcp", "kept"))
    blind = "from broker.network import hostside\nhostside.drain = lambda _: None\n"
    blind += "import select\nhostside.changes = lambda: __import__('_socket').socket(16, 3, 0)\n"
    with (
        fake_internet.internet() as mine,
        app(mine, "internet") as here,
        app(mine, "internet") as there,
        running(here) as started,
        running(there, removed=blind) as unaware,
    ):
        for each in (started, unaware):
            assert [each.tries(asked), each.tries(kept)] == ["open", "open"]
        wired(mine, "w.address('eth0', '203.0.113.70/26')")
        peers.eventually(lambda: started.tries(asked) != "open", "the new filter")
        assert started.tries(kept) != "open"
        assert started.tries(INTERNET[0]) == "open"
        assert unaware.tries(kept) == "open"


def drop(here: world.World, *words: str) -> bytes:
    """Take a grant back while the app runs, as ``intent-ctl revoke --now`` does."""
    (place,) = here.base.rglob("run/*/network")
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(str(place))
        stream.sendall(" ".join(("drop", *words)).encode() + b"\n")
        return stream.recv(100)


def test_what_is_taken_back_ends_at_once(net: fake_internet.Internet) -> None:
    printer = f"tcp {fake_zone.LAN} 631"
    with app(net, "internet", near=("192.168.77.0/24:631",)) as here, running(here) as started:
        assert [started.tries(line) for line in (INTERNET[0], printer)] == ["open", "open"]
        assert started.tries(f"kept {fake_zone.LAN} 631") == "open"
        assert drop(here, "near").startswith(b"dropped")
        peers.eventually(lambda: started.tries(printer) != "open", "the filter without it")
        assert started.tries(f"kept {fake_zone.LAN} 631") != "open"
        assert [started.tries(line) for line in (INTERNET[0], NAMES[1])] == ["open", "open"]
        assert drop(here, "names").startswith(b"dropped")
        peers.eventually(lambda: started.tries(NAMES[1]) != "open", "the filter without name servers")
        assert started.tries(INTERNET[0]) == "open"
        pasta = one(here, "pasta")
        assert drop(here, "net").startswith(b"dropped")
        ended(here, started, pasta)


def test_a_filter_that_cannot_be_renewed_closes_the_way_out(net: fake_internet.Internet) -> None:
    once = """
from broker.network import uplink
load, loads = uplink._load, []
uplink._load = lambda *words: (loads.append(1), load(*words) if len(loads) == 1 else 1)[1]
"""
    with app(net, "internet") as here, running(here, removed=once) as started:
        assert started.tries(INTERNET[0]) == "open"
        pasta = one(here, "pasta")
        drop(here, "names")
        ended(here, started, pasta)


def test_a_machine_that_is_offline_may_come_online_later() -> None:
    with fake_internet.internet() as mine, app(mine, "internet") as here:
        gateways = (fake_zone.RESOLVER, "2001:db8:1::1")
        wired(mine, *(f"w._request(25, 0, {route(gateway)!r})" for gateway in gateways))
        with running(here) as started:
            assert started.tries(INTERNET[0]) == "enetunreach"
            wired(mine, *(f"w.default({gateway!r})" for gateway in gateways))
            peers.eventually(lambda: started.tries(INTERNET[0]) == "open", "the network")
            assert started.tries(NEIGHBOURS[0]) != "open"


def route(gateway: str) -> bytes:
    """The body of a message about the default route (rtnetlink(7))."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in gateway else socket.AF_INET, gateway)
    head = struct.pack("=BBBBBBBBI", socket.AF_INET6 if ":" in gateway else socket.AF_INET, 0, 0, 0, 254, 4, 0, 1, 0)
    return head + struct.pack("=HH", 4 + len(packed), 5) + packed
