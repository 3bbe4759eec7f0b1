"""The dialer: what it connects to for a relay that may ask for anything, with real sockets on loopback (SPEC §10.6)."""

import _socket
import _thread
import contextlib
import os
import pathlib
import select
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from broker.network import addresses, connecting, control, dialer, lookup, loop, rules

HERE = socket.inet_aton("127.0.0.2")  # connections to it come from another address than its own
ZONE = {
    b"www.example.org": (HERE,),
    b"a.example.net": (HERE,),
    b"self.example.org": (socket.inet_aton("127.0.0.1"),),
    b"lan.example.org": (socket.inet_aton("10.1.2.3"), socket.inet_aton("192.168.7.7")),
    b"cloud.example.org": (socket.inet_aton("169.254.169.254"),),
    b"mapped.example.org": (socket.inet_pton(socket.AF_INET6, "::ffff:127.0.0.2"),),
    b"mixed.example.org": (socket.inet_aton("10.1.2.3"), HERE),
}


class Near:
    """A machine to which 127.0.0.2 and 127.0.0.3 are the internet."""

    def kind_of(self, address: bytes) -> str:
        public = address in (HERE, socket.inet_aton("127.0.0.3"))
        return addresses.PUBLIC if public else addresses.kind_of(address)

    def close(self) -> None:
        pass


class Scene:
    """A dialer and the relay's end of its socket."""

    def __init__(self, directory: pathlib.Path, *told: str, environment: dict[bytes, bytes] | None = None) -> None:
        ours, self.relay = _socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours, self.loop = ours, loop.Loop()
        self.asked: list[bytes] = []
        self.zone: Callable[[bytes], tuple[bytes, ...]] = lambda name: ZONE.get(name, ())
        self.rules = rules.Rules([each.encode() for each in told])
        self.dialer = dialer.Dialer(ours, self.rules, self.loop, environment or {}, self.resolve)
        self.dialer.near.close()
        self.dialer.near = Near()  # type: ignore[assignment]
        self.dialer.desk = self.desk = control.Desk(os.fsencode(directory), self.rules, self.dialer.send)
        self.relay.setblocking(False)

    def resolve(self, name: bytes) -> tuple[bytes, ...]:
        self.asked.append(name)
        return self.zone(name)

    def until(self, happened: Callable[[], object], limit: float = 30) -> None:
        end = time.monotonic() + limit
        while not happened():
            assert time.monotonic() < end
            self.loop.turn(0.02)

    def say(self, text: str | bytes) -> None:
        self.relay.send(text.encode() if isinstance(text, str) else text)

    def hear(self) -> tuple[str, socket.socket | None]:
        """What the dialer says next, and the socket that comes with it."""
        found: list[tuple[bytes, list[tuple[int, int, bytes]], int, object]] = []

        def heard() -> bool:
            with contextlib.suppress(BlockingIOError):
                found.append(self.relay.recvmsg(1 << 17, socket.CMSG_SPACE(4)))
            return bool(found)

        self.until(heard)
        data, rights = found[0][:2]
        made = [socket.socket(fileno=int.from_bytes(given[:4], "little")) for _, _, given in rights]
        return data.decode("latin-1"), made[0] if made else None

    def ask(self, text: str | bytes) -> str:
        """What is said to a request that brings no socket."""
        self.say(text)
        told, made = self.hear()
        assert made is None
        return told

    def close(self) -> None:
        self.dialer.close()
        self.desk.close()
        self.ours.close()
        self.relay.close()


Make = Callable[..., Scene]


@pytest.fixture
def scene(tmp_path: pathlib.Path) -> Iterator[Make]:
    made: list[Scene] = []

    def make(*told: str, environment: dict[bytes, bytes] | None = None) -> Scene:
        made.append(Scene(tmp_path, *told, environment=environment))
        return made[-1]

    try:
        yield make
    finally:
        for each in made:
            each.close()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """What listens at 127.0.0.2."""
    with socket.create_server(("127.0.0.2", 0)) as made:
        made.settimeout(30)
        yield made


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


def test_a_granted_name_is_reached_and_bytes_pass(scene: Make, server: socket.socket) -> None:
    made = scene(f"connect web tcp www.example.org {port_of(server)} -")
    made.say(f"dial 7 tcp www.example.org {port_of(server)}")
    told, outside = made.hear()
    assert told == "ok 7" and outside is not None
    with outside, server.accept()[0] as inside:
        assert outside.gettimeout() == 0 or not outside.getblocking() or os.get_blocking(outside.fileno()) is False
        inside.sendall(b"hello")
        assert outside.recv(5, socket.MSG_WAITALL) == b"hello"
    assert "allowed" in made.desk.tries.text()


@pytest.mark.parametrize(
    "asked",
    ["tcp www.example.org 1", "udp www.example.org {port}", "tcp example.org {port}", "tcp x.www.example.org {port}",
     "tcp 127.0.0.2 {port}", "sctp www.example.org {port}", "tcp WWW.example.org {port}", "tcp www.example.org. {port}",
     "tcp .example.net {port}", "tcp a..example.net {port}", "tcp 127.0.0.1\0.example.net {port}",
     "tcp 127.0.0.1/.example.net {port}", "tcp " + "a" * 64 + ".example.net {port}",
     "tcp " + "a." * 125 + "example.net {port}"],
)  # fmt: skip
def test_what_is_not_granted_is_not_dialled_and_nobody_is_asked(scene: Make, server: socket.socket, asked: str) -> None:
    port = port_of(server)
    made = scene(f"connect web tcp www.example.org {port} -", f"connect all tcp *.example.net {port} -")
    assert made.ask("dial 1 " + asked.format(port=port)) == "no 1 not-granted"
    assert made.asked == []


@pytest.mark.parametrize("name", ["self", "lan", "cloud", "mapped"])
def test_a_name_leads_nowhere_but_to_the_internet(scene: Make, server: socket.socket, name: str) -> None:
    made = scene(f"connect web tcp {name}.example.org {port_of(server)} -")
    assert made.ask(f"dial 1 tcp {name}.example.org {port_of(server)}") == "no 1 address-refused"


def test_without_the_check_of_addresses_it_would(
    scene: Make, server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = scene(f"connect web tcp mapped.example.org {port_of(server)} -")
    monkeypatch.setattr(addresses, "verdict", lambda *_arguments, **_words: "")
    made.say(f"dial 1 tcp mapped.example.org {port_of(server)}")
    told, outside = made.hear()
    assert told == "ok 1" and outside is not None
    outside.close()


def test_of_several_addresses_the_free_ones_are_dialled(scene: Make, server: socket.socket) -> None:
    made = scene(f"connect web tcp mixed.example.org {port_of(server)} -")
    made.say(f"dial 1 tcp mixed.example.org {port_of(server)}")
    told, outside = made.hear()
    assert told == "ok 1" and outside is not None
    with outside:
        assert outside.getpeername()[0] == "127.0.0.2"


def test_an_address_that_was_granted_alone_is_dialled_and_in_a_range_this_machine_is_not(
    scene: Make, server: socket.socket
) -> None:
    port = port_of(server)
    with socket.create_server(("127.0.0.1", 0)) as own:
        mine = port_of(own)
        made = scene(f"connect one tcp 127.0.0.1 {mine} -", f"connect many tcp 127.0.0.0/8 {port} -")
        made.say(f"dial 1 tcp 127.0.0.1 {mine}")
        told, outside = made.hear()
        assert told == "ok 1" and outside is not None
        outside.close()
        assert made.ask(f"dial 2 tcp 127.0.0.1 {port}") == "no 2 address-refused"


def test_reasons(scene: Make, server: socket.socket) -> None:
    with socket.create_server(("127.0.0.2", 0)) as gone:
        closed = port_of(gone)
    made = scene(f"connect web tcp www.example.org {closed} -", f"connect web tcp *.example.net {closed} -")
    assert made.ask(f"dial 1 tcp www.example.org {closed}") == "no 1 refused"
    assert made.ask(f"dial 2 tcp none.example.net {closed}") == "no 2 unresolved"
    text = made.desk.tries.text()
    assert '"refused", "web"' in text and '"unresolved", "web"' in text


def test_an_address_that_does_not_answer_delays_the_next_one_and_no_more(scene: Make, server: socket.socket) -> None:
    port = port_of(server)
    quiet = socket.socket()
    fillers = [socket.socket() for _ in range(4)]
    try:
        quiet.bind(("127.0.0.3", port))
        quiet.listen(0)
        for each in fillers:  # its queue is full: what comes now gets no answer
            each.setblocking(False)
            each.connect_ex(("127.0.0.3", port))
        made = scene(f"connect web tcp www.example.org {port} -")
        made.zone = lambda _name: (socket.inet_aton("127.0.0.3"), HERE)
        made.say(f"dial 1 tcp www.example.org {port}")
        told, outside = made.hear()
        assert told == "ok 1" and outside is not None
        with outside:
            assert outside.getpeername()[0] == "127.0.0.2"
    finally:
        for each in (quiet, *fillers):
            each.close()


def test_addresses_take_turns_by_family_and_are_few() -> None:
    four, six = [bytes([10, 0, 0, each]) for each in range(9)], [bytes(15) + bytes([each]) for each in range(3)]
    turns = connecting.turns([six[0], *four, *six[1:]])
    assert turns == [six[0], four[0], six[1], four[1], six[2], four[2], four[3], four[4]]


def test_a_slow_name_stalls_nobody_and_is_looked_up_once(scene: Make, server: socket.socket) -> None:
    port = port_of(server)
    made = scene(f"connect web tcp www.example.org {port} -", f"connect web tcp *.example.net {port} -")
    slow = _thread.allocate_lock()

    def zone(name: bytes) -> tuple[bytes, ...]:
        if name == b"slow.example.net":
            with slow:
                return (HERE,)
        return ZONE.get(name, ())

    made.zone = zone
    with slow:
        for number in range(20):
            made.say(f"dial {number} tcp slow.example.net {port}")
        made.say(f"dial 99 tcp www.example.org {port}")
        told, outside = made.hear()
        assert told == "ok 99" and outside is not None
        outside.close()
    for _ in range(20):
        told, outside = made.hear()
        assert told.startswith("ok ") and outside is not None
        outside.close()
    assert sorted(made.asked) == [b"slow.example.net", b"www.example.org"]


def test_a_question_of_the_app_is_what_the_dial_needs(
    scene: Make, server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "FRESH", 1000.0)
    made = scene(f"connect web tcp www.example.org {port_of(server)} -")
    made.say("look www.example.org")
    made.say("look elsewhere.example")
    made.say(f"dial 1 tcp www.example.org {port_of(server)}")
    made.say(f"dial 2 tcp www.example.org {port_of(server)}")
    for _ in range(2):
        told, outside = made.hear()
        assert told.startswith("ok") and outside is not None
        outside.close()
    assert made.asked == [b"www.example.org"]


def test_datagrams_go_to_where_the_name_leads(scene: Make) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as clock:
        clock.bind(("127.0.0.2", 0))
        clock.settimeout(30)
        made = scene(f"connect time udp www.example.org {port_of(clock)} -")
        made.say(f"dial 1 udp www.example.org {port_of(clock)}")
        told, outside = made.hear()
        assert told == "ok 1" and outside is not None
        with outside:
            assert outside.family == socket.AF_UNIX  # what is of the network can send anywhere: udp(7)
            outside.send(b"what time is it")
            made.until(lambda: select.select([clock], [], [], 0)[0])
            assert clock.recv(100) == b"what time is it"


def test_a_rule_that_goes_takes_what_is_being_dialled_with_it(scene: Make, server: socket.socket) -> None:
    port = port_of(server)
    made = scene(f"connect web tcp www.example.org {port} -")
    held = _thread.allocate_lock()

    def zone(_name: bytes) -> tuple[bytes, ...]:
        with held:
            return (HERE,)

    made.zone = zone
    with held:
        made.say(f"dial 1 tcp www.example.org {port}")
        made.until(lambda: made.asked)
        made.rules.drop("web")
        made.dialer.recheck()
        assert made.hear() == ("no 1 not-granted", None)
    made.until(lambda: made.dialer.lookup.idle())
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.accept()


def test_a_name_that_asks_waits_until_somebody_has_decided(scene: Make) -> None:
    made = scene("connect web tcp www.example.org 443 ask", "connect all tcp *.example.net 443 ask")
    wanted: list[str] = []
    made.dialer.wanted = lambda name, _port: wanted.append(name)
    for text in ("may s1 www.example.org", "may s2 a.example.net", "may s3 elsewhere.example"):
        made.say(text)
    assert made.hear()[0] == "no s3 not-granted"
    assert wanted == ["www.example.org", "a.example.net"]
    assert made.rules.add("connect web tcp www.example.org 443 -")
    made.dialer.recheck()
    assert made.hear()[0] == "ok s1"
    made.rules.drop("all")
    made.dialer.recheck()
    assert made.hear()[0] == "no s2 not-granted"


@pytest.mark.parametrize("name", ["\x1b[2J.example.net", "a\n.example.net", "A.example.net", "a..example.net"])
def test_nobody_is_asked_about_what_is_no_name(scene: Make, name: str) -> None:
    made = scene("connect all tcp *.example.net 443 ask")
    wanted: list[tuple[str, int]] = []
    made.dialer.wanted = lambda host, port: wanted.append((host, port))
    assert made.ask(f"may s1 {name}") == "no s1 not-granted"
    assert wanted == []


def test_no_question_is_forwarded_where_that_was_not_granted(scene: Make) -> None:
    assert scene("connect web tcp www.example.org 443 -").ask(b"query s1 \0\1\2") == "no s1 not-granted"


@pytest.mark.parametrize(
    "garbage",
    [b"x", b" ", b"dial", b"dial 1 tcp a b", b"dial 1 tcp a 1 2", b"dial \xff tcp a 1", b"may 1 a b", b"exec 1 2"],
)
def test_a_relay_that_says_nonsense_is_left(scene: Make, garbage: bytes) -> None:
    made = scene("connect web tcp www.example.org 443 -")
    made.say(garbage)
    made.until(lambda: made.loop.ended)


def test_a_relay_that_takes_no_answers_stops_nobody_else(scene: Make) -> None:
    made = scene("connect web tcp www.example.org 443 -")
    for number in range(3000):
        made.say(f"dial {number} tcp elsewhere.example 443")
        made.loop.turn(0)
    assert [made.hear()[0] for _ in range(3000)] == [f"no {number} not-granted" for number in range(3000)]


def test_a_lookup_that_breaks_is_a_name_without_addresses(scene: Make) -> None:
    made = scene("connect all tcp *.example.net 443 -")

    def zone(_name: bytes) -> tuple[bytes, ...]:
        raise MemoryError

    made.zone = zone
    for number in range(2 * lookup.THREADS):
        assert made.ask(f"dial {number} tcp n{number}.example.net 443") == f"no {number} unresolved"


def test_the_machine_resolves_what_its_files_know() -> None:
    assert socket.inet_aton("127.0.0.1") in lookup.resolve(b"localhost")
    assert lookup.resolve(b"x" * 70 + b".example") == lookup.resolve(b"a\0b") == ()
