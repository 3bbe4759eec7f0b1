"""The relay by itself: what an app can do to a connection, and that it is all that it can do (SPEC §10.6)."""

import os
import random
import socket
from collections.abc import Iterator

import pytest

from broker.network import dialing, flows, listening
from tests import relaying

MIB = 1 << 20


@pytest.fixture
def port() -> int:
    return relaying.free_port()


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch, port: int) -> Iterator[relaying.Scene]:
    with relaying.scene(monkeypatch, f"connect net tcp 127.0.0.1 {port} -") as made:
        yield made


def sends(scene: relaying.Scene, sender: socket.socket, data: bytes, receiver: socket.socket) -> bytes:
    """What arrives of what is sent, to the sender's end."""
    view, found = memoryview(data), bytearray()
    sent = [0]
    ended: list[bool] = []

    def step() -> bool:
        try:
            while sent[0] < len(view):
                sent[0] += sender.send(view[sent[0] :])
                if sent[0] == len(view):
                    sender.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        try:
            while piece := receiver.recv(MIB):
                found.extend(piece)
            ended.append(True)
        except BlockingIOError:
            pass
        return bool(ended)

    scene.until(step, "all bytes")
    return bytes(found)


def test_a_dial_says_what_the_app_meant(scene: relaying.Scene, port: int) -> None:
    scene.app(port)
    assert scene.said() == f"dial 1 tcp 127.0.0.1 {port}"


@pytest.mark.parametrize("size", [1, flows.COPY - 1, flows.COPY, flows.COPY + 1, 3 * MIB, 20 * MIB + 17])
def test_bytes_arrive_as_they_were_in_both_directions(scene: relaying.Scene, port: int, size: int) -> None:
    data = random.Random(size).randbytes(size)
    app, server = scene.joined(port)
    assert sends(scene, app, data, server) == data
    assert sends(scene, server, data, app) == data  # after the end of the other direction
    scene.until(lambda: not len(scene.relay.connections), "the end of the connection")


def test_bytes_arrive_where_there_are_no_pipes(
    scene: relaying.Scene, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows, "MOST_PIPES", 0)
    data = random.Random(1).randbytes(8 * MIB)
    app, server = scene.joined(port)
    assert sends(scene, app, data, server) == data


def test_what_was_sent_before_the_other_side_was_there_arrives(scene: relaying.Scene, port: int) -> None:
    app = scene.app(port)
    app.sendall(b"early")
    app.shutdown(socket.SHUT_WR)
    number = scene.said().split(" ")[1]
    scene.turns()
    assert len(scene.relay.connections) == 1, "an end of what is sent is no reason to give up"
    ours, server = scene.outside()
    scene.give(number, ours.fileno())
    ours.close()
    assert scene.read(server, 6) == b"early"


@pytest.mark.parametrize("from_app", [True, False])
def test_a_reset_of_one_side_is_one_of_the_other(scene: relaying.Scene, port: int, from_app: bool) -> None:
    app, server = scene.joined(port)
    scene.turns()
    first, second = (app, server) if from_app else (server, app)
    relaying.reset(first)
    assert scene.is_reset(second)
    assert not len(scene.relay.connections)


def test_a_reset_after_an_answer_does_not_lose_the_answer(scene: relaying.Scene, port: int) -> None:
    app, server = scene.joined(port)
    app.sendall(bytes(100))
    scene.turns()  # what the server does not read makes its close a reset
    server.sendall(b"answer")
    server.close()
    assert scene.read(app, 6) == b"answer"
    assert scene.is_reset(app)


def fills(scene: relaying.Scene, app: socket.socket) -> int:
    """How much the app can send until nothing is taken any more."""
    sent = full = 0
    while full < 20:
        try:
            sent += app.send(bytes(MIB))
            full = 0
        except BlockingIOError:
            full += 1
            scene.relay.loop.turn(0.001)
    return sent


def test_a_side_that_does_not_read_stops_the_other(scene: relaying.Scene, port: int) -> None:
    app, server = scene.joined(port)
    sent = fills(scene, app)
    assert sent < 64 * MIB
    assert not scene.relay.loop._poll.poll(0) and not scene.relay.loop._busy, "it spins"
    assert len(scene.read(server, sent)) == sent


def test_one_that_waits_does_not_stop_the_others(scene: relaying.Scene, port: int) -> None:
    stuck = [scene.joined(port) for _ in range(flows.MOST_PIPES + 8)]
    for app, _ in stuck:
        fills(scene, app)
    data = random.Random(2).randbytes(8 * MIB)
    app, server = scene.joined(port)
    assert sends(scene, app, data, server) == data


def test_refused_outside_is_a_reset_inside(scene: relaying.Scene, port: int) -> None:
    app = scene.app(port)
    number = scene.said().split(" ")[1]
    scene.dialer.send(f"no {number} refused".encode())
    assert scene.is_reset(app)


def test_an_app_that_gives_up_cancels_its_dial(scene: relaying.Scene, port: int) -> None:
    app = scene.app(port)
    number = scene.said().split(" ")[1]
    relaying.reset(app)
    scene.until(lambda: not len(scene.relay.connections), "the end of the connection")
    ours, server = scene.outside()
    scene.give(number, ours.fileno())
    ours.close()
    scene.is_reset(server)  # either end will do: nobody has it open
    assert not len(scene.relay.connections)


@pytest.mark.parametrize(
    "message",
    [b"ok", b"ok x", b"ok 99", b"ok -1", b"no 99 refused", b"answer", b"\xff\xff", b"ok \xff", b"in", b"drop", b"rule"],
)
def test_what_the_dialer_says_amiss_ends_nothing(scene: relaying.Scene, port: int, message: bytes) -> None:
    app, server = scene.joined(port)
    with socket.socket() as extra:
        extra.bind((relaying.HERE, 0))
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, extra.fileno().to_bytes(4, "little") * 3)]
        scene.dialer.sendmsg([message], rights)
    scene.turns()
    app.sendall(b"still")
    assert scene.read(server, 5) == b"still"


def test_an_answer_without_a_connection_is_a_refusal(scene: relaying.Scene, port: int) -> None:
    app = scene.app(port)
    scene.give(scene.said().split(" ")[1])
    assert scene.is_reset(app)


def test_more_connections_than_one_are_closed(scene: relaying.Scene, port: int) -> None:
    app = scene.app(port)
    number = scene.said().split(" ")[1]
    ours, server = scene.outside()
    more, other = scene.outside()
    scene.give(number, ours.fileno(), more.fileno())
    ours.close()
    more.close()
    assert not scene.is_reset(other)
    app.sendall(b"ok")
    assert scene.read(server, 2) == b"ok"


def test_what_is_no_connection_is_a_refusal(scene: relaying.Scene, port: int) -> None:
    app = scene.app(port)
    number = scene.said().split(" ")[1]
    reading, writing = os.pipe()
    scene.give(number, reading)
    os.close(reading)
    os.close(writing)
    assert scene.is_reset(app)
    scene.joined(port)


def test_nobody_waits_for_ever(scene: relaying.Scene, port: int) -> None:
    app = scene.app(port)
    scene.said()
    scene.relay.loop.now += dialing.SECONDS + 1
    for patience in list(scene.relay.loop.patience):
        patience.next()
    assert scene.is_reset(app)


def test_a_dialer_that_does_not_read_is_waited_for(scene: relaying.Scene, port: int) -> None:
    wanted = 1000
    apps = [scene.app(port) for _ in range(wanted)]
    scene.until(lambda: len(scene.relay.connections) == wanted, "all of them")
    numbers = [scene.said().split(" ")[1] for _ in apps]
    assert numbers == [str(number + 1) for number in range(wanted)]


def test_a_dialer_that_takes_nothing_at_all_is_too_busy(
    scene: relaying.Scene, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialing, "MOST_QUEUED", 4)
    apps = [scene.app(port) for _ in range(1000)]
    scene.turns(40)
    assert len(scene.relay.connections) < len(apps)
    assert scene.is_reset(apps[-1])


def test_where_there_is_no_room_connections_wait(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setattr(listening, "ENOUGH", 1)
    rule = f"connect net tcp 127.0.0.1 {port} -"
    with relaying.scene(monkeypatch, rule, descriptors=relaying.relay.RESERVE + 21) as scene:
        first = [scene.joined(port) for _ in range(10)]
        late = scene.app(port)
        assert scene.quiet()
        first[0][0].close()
        first[0][1].close()
        assert scene.said().startswith("dial 11 ")
        late.close()


def test_a_machine_without_room_is_waited_for(
    scene: relaying.Scene, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    app, server = scene.joined(port)
    late = scene.app(port)
    used = max(int(name) for name in os.listdir("/proc/self/fd"))
    spare = [os.dup(0) for _ in range(used)]  # so that no lower number is free
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(spare) + 1, limits[1]))
    try:
        scene.turns(20)
        app.sendall(b"still")
        assert scene.read(server, 5) == b"still"
        with pytest.raises(BlockingIOError):
            late.recv(1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for handle in spare:
            os.close(handle)
    assert scene.said().startswith("dial 2 ")


def test_a_mistake_of_ours_ends_one_connection(
    scene: relaying.Scene, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, server = scene.joined(port)
    bad, _ = scene.joined(port)
    scene.turns()
    pump, last = flows.Flow.pump, next(reversed(scene.relay.connections.pairs))

    def wrong(flow: flows.Flow) -> bool:
        if flow.source is last.inside:
            raise RuntimeError
        return pump(flow)

    with monkeypatch.context() as patched:
        patched.setattr(flows.Flow, "pump", wrong)
        bad.sendall(b"x")
        assert scene.is_reset(bad)
    good.sendall(b"still")
    assert scene.read(server, 5) == b"still"


def test_the_end_of_the_dialer_is_the_end(scene: relaying.Scene) -> None:
    scene.dialer.close()
    scene.until(lambda: scene.relay.loop.ended, "the end")


def test_what_no_rule_is_about_is_reset_and_told(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    with relaying.scene(monkeypatch, f"connect net tcp 127.0.0.0/30 {port} -") as scene:
        app = socket.create_connection(("127.0.0.9", port), relaying.PATIENCE)
        scene.opened.append(app)
        assert scene.said() == f"tried tcp 127.0.0.9 {port} not-granted"
        app.setblocking(False)
        assert scene.is_reset(app)


def test_dropping_an_intent_ends_what_it_gave_and_no_more(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    other = relaying.free_port()
    both = (f"connect one tcp 127.0.0.1 {port} -", f"connect two tcp 127.0.0.1 {other} -")
    with relaying.scene(monkeypatch, *both) as scene:
        app, server = scene.joined(port)
        kept, kept_server = scene.joined(other)
        dialled = scene.app(port)
        number = scene.said().split(" ")[1]
        scene.dialer.send(b"count")
        assert scene.said() == f"counted tcp 127.0.0.1 {port} 1 tcp 127.0.0.1 {other} 1"
        scene.dialer.send(b"drop one")
        assert scene.said() == "dropped 2"
        assert scene.is_reset(app) and scene.is_reset(server) and scene.is_reset(dialled)
        with pytest.raises(ConnectionRefusedError):
            scene.app(port)
        scene.give(number, scene.outside()[0].fileno())
        kept.sendall(b"still")
        assert scene.read(kept_server, 5) == b"still"
        assert len(scene.relay.connections) == 1


def test_a_rule_for_a_name_can_be_added_and_none_for_an_address(scene: relaying.Scene) -> None:
    scene.dialer.send(b"rule connect two tcp 10.0.0.1 80 -")
    assert scene.said() == "no-rule"
