"""The Wayland filter between a client and a compositor that tests play: bytes, descriptors, ends (SPEC §5.4, §10.5)."""

import contextlib
import os
import pathlib
import random
import select
import signal
import socket
import time
from collections.abc import Iterator, Sequence

import pytest

from broker import companions, launch
from broker.companions import wayland_filter
from broker.companions import wayland_wire as wire
from intents import seccomp
from tests.real import desktop, peers

pytestmark = pytest.mark.real

GET_REGISTRY = wire.message(wire.DISPLAY, wire.GET_REGISTRY, 2)
SHM = wire.message(2, wire.GLOBAL, 1, b"wl_shm", 1)
CAPTURE = wire.message(2, wire.GLOBAL, 2, b"zwlr_screencopy_manager_v1", 1)
OTHER = 9  # an object of no interest to the filter
IDLE = 6  # descriptors of a filter without a client: the three of every process, the pipe, its socket, what it refused
LIMIT = 8 << 20  # bytes of memory that a filter takes at most: it is a fork of these tests, with all that they have


class Filter:
    """A running filter, and the listening socket behind it of the compositor that a test plays, if it is not real."""

    def __init__(self, directory: pathlib.Path, real: str = "") -> None:
        self.held = contextlib.ExitStack()
        self.compositor = self.held.enter_context(socket.socket(socket.AF_UNIX))
        self.compositor.bind(f"{directory}/compositor")
        self.compositor.listen(8)
        self.compositor.settimeout(peers.PATIENCE)
        self.path = f"{directory}/run/wayland"
        os.mkdir(f"{directory}/run")
        calls = seccomp.companion(os.uname().machine).hex().encode()
        allowed = (b"=wl_shm", b"=wl_seat", b"=wl_compositor")
        arguments = (b"swayland", os.fsencode(f"={real or f'{directory}/compositor'}"), b"=" + calls, *allowed)
        section = (b"wayland", b"wayland_filter", b"%d" % len(arguments), *arguments)
        pids, self.ready, _ = companions.start(section, os.fsencode(f"{directory}/run"), launch._memory)
        (self.pid,) = pids
        companions.wait(section, pids, self.ready)

    def client(self) -> socket.socket:
        """A new client's end."""
        made = self.held.enter_context(socket.socket(socket.AF_UNIX))
        made.settimeout(peers.PATIENCE)
        made.connect(self.path)
        return made

    def server(self) -> socket.socket:
        """The compositor's end of the next client."""
        made = self.held.enter_context(self.compositor.accept()[0])
        made.settimeout(peers.PATIENCE)
        return made

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """A new client's end, and the compositor's."""
        return self.client(), self.server()

    def descriptors(self) -> int:
        """How many the filter has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def memory(self) -> int:
        """Bytes that the filter holds."""
        rows = pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(row.split()[1]) << 10 for row in rows if row.startswith("VmRSS"))

    def end(self) -> int:
        """End it as the end of a sandbox does; its exit status."""
        os.close(self.ready)
        self.held.close()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def running(tmp_path: pathlib.Path) -> Iterator[Filter]:
    made = Filter(tmp_path)
    yield made
    assert made.end() == 0


def received(stream: socket.socket, count: int) -> bytes:
    """Exactly so many bytes."""
    data = b""
    while len(data) < count:
        more = stream.recv(count - len(data))
        assert more, data
        data += more
    return data


def rest(stream: socket.socket) -> bytes:
    """All bytes until the end."""
    data = b""
    try:
        while more := stream.recv(1 << 16):
            data += more
    except ConnectionResetError:
        return data
    return data


def memory_file(content: bytes) -> int:
    handle = os.memfd_create("test")
    os.write(handle, content)
    return handle


def send(stream: socket.socket, data: bytes, contents: Sequence[bytes] = ()) -> None:
    """Send ``data``, and with its first byte a new descriptor for each of ``contents``."""
    handles = [memory_file(content) for content in contents]
    sent = socket.send_fds(stream, [data], handles) if handles else 0
    if data[sent:]:
        stream.sendall(data[sent:])
    for handle in handles:
        os.close(handle)


def test_a_client_sees_what_is_allowed_and_the_compositor_what_it_asks(running: Filter) -> None:
    client, server = running.pair()
    client.sendall(GET_REGISTRY)
    assert received(server, len(GET_REGISTRY)) == GET_REGISTRY
    server.sendall(CAPTURE + SHM + CAPTURE)
    bind = wire.message(2, wire.BIND, 1, b"wl_shm", 1, 3)
    assert received(client, len(SHM)) == SHM
    client.sendall(bind)
    assert received(server, len(bind)) == bind
    assert select.select([client, server], [], [], 0.1)[0] == []


def test_what_is_hidden_cannot_be_bound_and_the_client_is_told(running: Filter) -> None:
    client, server = running.pair()
    other, others = running.pair()
    client.sendall(GET_REGISTRY)
    server.sendall(CAPTURE)
    received(server, len(GET_REGISTRY))
    client.sendall(wire.message(2, wire.BIND, 2, b"zwlr_screencopy_manager_v1", 1, 3))
    assert rest(server) == b""
    said = wire.first(rest(client))
    assert said is not None and said[:2] == (wire.DISPLAY, wire.ERROR) and said[3] == b""
    assert (wire.number(said[2], 0), wire.text(said[2], 8)[0]) == (
        2,
        b"invalid global zwlr_screencopy_manager_v1 (2)",
    )
    told = pathlib.Path(running.path).with_name("refused")
    peers.eventually(
        lambda: told.read_text() == "wayland invalid global zwlr_screencopy_manager_v1 (2)\n", "what was refused"
    )
    other.sendall(GET_REGISTRY)  # nobody else is concerned
    assert received(others, len(GET_REGISTRY)) == GET_REGISTRY


@pytest.mark.parametrize("broken", [b"\0" * 8, wire.message(5, 0)[:4] + b"\xff" * 4, b"\xff" * 16])
def test_what_is_no_wayland_ends_that_client_alone(running: Filter, broken: bytes) -> None:
    other, others = running.pair()
    for side in (0, 1):
        ends = running.pair()
        ends[side].sendall(broken)
        assert rest(ends[1 - side])[:4] in (b"", (1).to_bytes(4, "little"))
        for end in ends:
            end.close()
    others.sendall(SHM)
    assert received(other, len(SHM)) == SHM
    peers.eventually(lambda: running.descriptors() == IDLE + 2, "every descriptor closed")


@pytest.mark.parametrize("sender", [0, 1])
@pytest.mark.parametrize("seed", range(4))
def test_descriptors_arrive_in_order_and_never_late(running: Filter, sender: int, seed: int) -> None:
    """Wherever the messages are cut, each has its descriptors when its last byte is read."""
    chance = random.Random(seed)
    ends = running.pair()
    ends[0].sendall(GET_REGISTRY)
    received(ends[1], len(GET_REGISTRY))
    messages = [wire.message(OTHER, 5, b"x" * chance.randrange(200)) for _ in range(60)]
    counts = [chance.choice([0, 0, 1, 2, 28]) for _ in messages]
    passed = 0
    for message, count in zip(messages, counts, strict=True):
        data = (CAPTURE if sender and chance.random() < 0.3 else b"") + message
        split = chance.randrange(1, len(data) + 1)
        send(ends[sender], data[:split], [b"%d" % number for number in range(passed, passed + count)])
        ends[sender].sendall(data[split:])
        passed += count
    found: list[int] = []
    for at, message in enumerate(messages):
        data = b""
        while len(data) < len(message):
            piece, handles, flags, _ = socket.recv_fds(ends[1 - sender], len(message) - len(data), 28)
            assert piece and not flags & socket.MSG_CTRUNC
            found += [int(os.pread(handle, 20, 0)) for handle in handles]
            for handle in handles:
                os.close(handle)
            data += piece
        assert data == message
        assert len(found) >= sum(counts[: at + 1])
    assert found == list(range(passed))
    for end in ends:
        end.close()
    peers.eventually(lambda: running.descriptors() == IDLE, "every descriptor closed")


def test_descriptors_that_wait_for_a_message_to_begin_do_not_crowd_out_the_next(running: Filter) -> None:
    client, server = running.pair()
    first, second = wire.message(OTHER, 1), wire.message(OTHER, 2)
    os.kill(running.pid, signal.SIGSTOP)  # so that it reads what follows in as few pieces as the kernel allows
    send(client, first[:3], [b"%d" % number for number in range(28)])
    send(client, first[3:])
    send(client, second, [b"%d" % number for number in range(28, 56)])
    os.kill(running.pid, signal.SIGCONT)
    found: list[int] = []
    data = b""
    while len(data) < len(first + second):
        piece, handles, flags, _ = socket.recv_fds(server, 1, 28)
        assert piece and not flags & socket.MSG_CTRUNC
        found += [int(os.pread(handle, 20, 0)) for handle in handles]
        for handle in handles:
            os.close(handle)
        data += piece
        assert len(found) >= 28 * (len(data) // 8)
    assert (data, found) == (first + second, list(range(56)))


def test_more_descriptors_than_libwayland_passes_end_that_client_alone(running: Filter) -> None:
    for contents in ([b"x"] * 29, [b"x"] * 200):
        client, server = running.pair()
        send(client, GET_REGISTRY, contents)
        assert rest(server) == b""
    client, server = running.pair()
    for byte in (b"\x02", b"\0", b"\0"):
        send(client, byte, [b"x"] * 28)
    assert rest(server) == b""
    peers.eventually(lambda: running.descriptors() == IDLE, "every descriptor closed")


@pytest.mark.parametrize("sender", [0, 1])
def test_a_side_that_does_not_read_stops_the_other_and_nothing_is_lost(running: Filter, sender: int) -> None:
    before = running.memory()
    ends = running.pair()
    message = wire.message(OTHER, 5, b"x" * 1000)
    ends[sender].setblocking(False)
    sent = 0
    data = message * 20000
    until = time.monotonic() + 1
    while sent < len(data) and time.monotonic() < until:  # as much as the sockets between them take
        try:
            sent += ends[sender].send(data[sent : sent + 65536])
        except BlockingIOError:
            time.sleep(0.01)
    assert 0 < sent < len(data)
    assert running.memory() - before < LIMIT
    other, others = running.pair()  # meanwhile others are served
    other.sendall(GET_REGISTRY)
    assert received(others, len(GET_REGISTRY)) == GET_REGISTRY
    ends[sender].setblocking(True)
    assert received(ends[1 - sender], sent) == data[:sent]
    for end in ends:
        end.close()


def test_a_client_that_says_its_last_word_and_goes_is_heard(running: Filter) -> None:
    client, server = running.pair()
    last = wire.message(OTHER, 1, b"x" * 100) * 500
    server.sendall(SHM * 100)  # nobody will read it
    client.sendall(last)
    client.close()
    assert received(server, len(last)) == last
    assert rest(server) == b""


def test_a_compositor_that_says_why_and_goes_is_heard(running: Filter) -> None:
    client, server = running.pair()
    why = wire.message(wire.DISPLAY, wire.ERROR, 2, 0, b"no")
    server.sendall(SHM * 100 + why)
    server.close()
    assert rest(client) == SHM * 100 + why


def test_many_clients_are_kept_apart(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wayland_filter, "CONNECTIONS", 10)
    running = Filter(tmp_path)
    pairs = [running.pair() for _ in range(10)]
    late = running.client()  # one more than there is room for waits
    for number, (client, _) in enumerate(pairs):
        client.sendall(wire.message(OTHER, number))
    for number, (_, server) in enumerate(pairs):
        assert received(server, 8) == wire.message(OTHER, number)
    late.sendall(GET_REGISTRY)
    assert select.select([running.compositor], [], [], 0.2)[0] == []
    for end in pairs.pop():
        end.close()
    assert received(running.server(), len(GET_REGISTRY)) == GET_REGISTRY
    os.close(running.ready)
    for client, _ in pairs:
        assert rest(client) == b""
    running.ready = os.dup(0)
    assert running.end() == 0


def test_a_compositor_that_takes_no_connection_now_is_asked_again(tmp_path: pathlib.Path) -> None:
    running = Filter(tmp_path)
    running.compositor.listen(0)
    clients = [running.client() for _ in range(5)]
    for client in clients:
        client.sendall(GET_REGISTRY)
    time.sleep(0.2)  # by now its queue is full
    for _ in clients:
        assert received(running.server(), len(GET_REGISTRY)) == GET_REGISTRY
    assert running.end() == 0


def test_without_a_compositor_a_client_is_turned_away(tmp_path: pathlib.Path) -> None:
    running = Filter(tmp_path)
    running.compositor.close()
    for _ in range(3):
        assert rest(running.client()) == b""
    assert running.end() == 0


def trick(path: str) -> set[bytes]:
    """The interfaces that a client sees who gives a registry the id of an object that it has just destroyed.

    The news of that object's end arrives when the registry is there already.
    """
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(peers.PATIENCE)
        stream.connect(path)
        stream.sendall(GET_REGISTRY + wire.message(wire.DISPLAY, wire.SYNC, 3))
        said = [(opcode, body) for target, opcode, body in wire.answers(stream.recv, 3) if target == 2]
        names = {wire.text(body, 4)[0]: wire.number(body, 0) for opcode, body in said if opcode == wire.GLOBAL}
        compositor = wire.message(2, wire.BIND, names[b"wl_compositor"], b"wl_compositor", 1, 4)
        surface, gone = wire.message(4, 0, 5), wire.message(5, 0)
        again, done = wire.message(wire.DISPLAY, wire.GET_REGISTRY, 5), wire.message(wire.DISPLAY, wire.SYNC, 6)
        stream.sendall(compositor + surface + gone + again + done)
        said = [(opcode, body) for target, opcode, body in wire.answers(stream.recv, 6) if target == 5]
    return {wire.text(body, 4)[0] for opcode, body in said if opcode == wire.GLOBAL}


def test_no_trick_with_ids_shows_what_a_real_compositor_offers(tmp_path: pathlib.Path) -> None:
    with desktop.desktop("sway") as session:
        compositor = str(session.start_compositor("sway"))
        assert b"zwlr_screencopy_manager_v1" in trick(compositor)
        running = Filter(tmp_path, compositor)
        assert trick(running.path) == {b"wl_shm", b"wl_seat", b"wl_compositor"}
        assert running.end() == 0
