"""Questions about any name: to the resolvers of the moment, and back only what is their reply (SPEC §10.6)."""

import os
import pathlib
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest

from broker.network import addresses, forward, loop, message

HERE, OTHER = "127.0.0.2", "127.0.0.3"


def ask(name: str, kind: int = 1, payload: int = 0) -> bytes:
    told = b"".join(bytes([len(each)]) + each.encode() for each in name.split("."))
    more = b"\0\0\x29" + struct.pack(">HIH", payload, 0, 0) if payload else b""
    return (
        struct.pack(">HHHHHH", 0xABCD, 0x0100, 1, 0, 0, bool(more)) + told + b"\0" + struct.pack(">HH", kind, 1) + more
    )


def reply(asked: bytes, *found: bytes, flags: int = 0x8180) -> bytes:
    query = message.parse_query(asked)
    assert query is not None
    records = [
        b"\xc0\x0c" + struct.pack(">HHIH", 1 if len(each) == 4 else 28, 1, 9, len(each)) + each for each in found
    ]
    return asked[:2] + struct.pack(">HHHHH", flags, 1, len(found), 0, 0) + query.question + b"".join(records)


class Scene:
    """A forward, and resolvers that the test answers for."""

    def __init__(self, directory: pathlib.Path, *, lan: bool = False) -> None:
        self.path = directory / "resolv.conf"
        self.loop = loop.Loop()
        self.sockets = {HERE: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)}
        self.sockets[HERE].bind((HERE, 0))
        self.port = int(self.sockets[HERE].getsockname()[1])
        self.sockets[OTHER] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sockets[OTHER].bind((OTHER, self.port))
        for each in self.sockets.values():
            each.setblocking(False)
        self.use(HERE)
        self.forward = forward.Forward(self.loop, addresses.kind_of, lan, str(self.path), self.port)
        self.replies: list[bytes] = []

    def use(self, *servers: str) -> None:
        new = self.path.with_suffix(".new")
        new.write_text("".join(f"nameserver {each}\n" for each in servers))
        os.replace(new, self.path)

    def until(self, happened: Callable[[], object]) -> None:
        end = time.monotonic() + 30
        while not happened():
            assert time.monotonic() < end
            self.loop.turn(0.02)

    def ask(self, name: str, kind: int = 1) -> None:
        self.forward.ask(ask(name, kind), self.replies.append)

    def heard(self, server: str = HERE) -> tuple[bytes, tuple[str, int]]:
        """A question that has come to a resolver, and from where."""
        found: list[tuple[bytes, tuple[str, int]]] = []

        def come() -> bool:
            try:
                found.append(self.sockets[server].recvfrom(4096))
            except BlockingIOError:
                return False
            return True

        self.until(come)
        return found[0]

    def answer(self, *found: bytes, flags: int = 0x8180) -> bytes:
        """Answer one question, and wait for what the app hears."""
        asked, sender = self.heard()
        before = len(self.replies)
        self.sockets[HERE].sendto(reply(asked, *found, flags=flags), sender)
        self.until(lambda: len(self.replies) > before)
        return self.replies[-1]

    def close(self) -> None:
        self.forward.close()
        self.loop.close()
        for each in self.sockets.values():
            each.close()


@pytest.fixture
def scene(tmp_path: pathlib.Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_a_question_goes_out_under_another_number_and_comes_back_under_its_own(scene: Scene) -> None:
    numbers, ports = set(), set()
    for _ in range(8):
        scene.ask("www.example.org")
        asked, sender = scene.heard()
        numbers.add(asked[:2])
        ports.add(sender[1])
        scene.sockets[HERE].sendto(reply(asked, b"\1\2\3\4"), sender)
        scene.until(lambda: scene.replies)
        assert scene.replies.pop() == reply(ask("www.example.org"), b"\1\2\3\4")
    assert len(numbers) > 1 and len(ports) > 1


def test_what_is_no_reply_to_the_question_is_not_heard(scene: Scene) -> None:
    scene.ask("www.example.org")
    asked, sender = scene.heard()
    wrong = [
        bytes([asked[0] ^ 1]) + reply(asked, b"\6\6\6\6")[1:],
        reply(asked[:2] + ask("www.example.com")[2:], b"\6\6\6\6"),
        reply(asked, b"\6\6\6\6", flags=0x0100),
        b"", b"garbage",
    ]  # fmt: skip
    for each in wrong:
        scene.sockets[HERE].sendto(each, sender)
    scene.sockets[OTHER].sendto(reply(asked, b"\6\6\6\6"), sender)  # from somebody else
    scene.sockets[HERE].sendto(reply(asked, b"\1\2\3\4"), sender)
    scene.until(lambda: scene.replies)
    assert message.addresses_in(scene.replies[0]) == [b"\1\2\3\4"]


@pytest.mark.parametrize("bad", [b"\x7f\0\0\1", b"\xc0\xa8\1\1", b"\xa9\xfe\xa9\xfe", bytes(4), bytes(15) + b"\1"])
def test_a_reply_that_leads_inside_is_empty(scene: Scene, bad: bytes) -> None:
    scene.ask("rebind.example.org")
    told = scene.answer(b"\1\2\3\4", bad)
    assert message.code_of(told) == message.OKAY and message.addresses_in(told) == []


def test_without_the_check_it_would_lead_there(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "verdict", lambda *_arguments, **_words: "")
    scene.ask("rebind.example.org")
    assert message.addresses_in(scene.answer(b"\x7f\0\0\1")) == [b"\x7f\0\0\1"]


def test_local_names_lead_to_the_local_network_and_with_the_lan_every_name(
    scene: Scene, tmp_path: pathlib.Path
) -> None:
    scene.ask("nas.home.arpa")
    assert message.addresses_in(scene.answer(b"\xc0\xa8\1\1")) == [b"\xc0\xa8\1\1"]
    scene.ask("nas.home.arpa")
    assert message.addresses_in(scene.answer(b"\x7f\0\0\1")) == []
    (tmp_path / "lan").mkdir()
    wide = Scene(tmp_path / "lan", lan=True)
    try:
        wide.ask("office.example.org")
        assert message.addresses_in(wide.answer(b"\xc0\xa8\1\1")) == [b"\xc0\xa8\1\1"]
    finally:
        wide.close()


def test_the_resolvers_of_the_moment_are_asked(scene: Scene) -> None:
    scene.ask("www.example.org")
    scene.answer(b"\1\2\3\4")
    scene.use(OTHER)
    scene.ask("www.example.org")
    assert message.parse_query(scene.heard(OTHER)[0]) is not None


def test_a_resolver_that_fails_or_is_gone_is_followed_by_the_next(scene: Scene) -> None:
    scene.use("127.0.0.9", HERE, OTHER)
    scene.ask("www.example.org")
    asked, sender = scene.heard()
    scene.sockets[HERE].sendto(reply(asked, flags=0x8182), sender)
    asked, sender = scene.heard(OTHER)
    scene.sockets[OTHER].sendto(reply(asked, b"\1\2\3\4"), sender)
    scene.until(lambda: scene.replies)
    assert message.addresses_in(scene.replies[0]) == [b"\1\2\3\4"]


def test_where_nobody_is_there_it_fails(scene: Scene) -> None:
    scene.use("127.0.0.9")
    scene.ask("www.example.org")
    scene.until(lambda: scene.replies)
    assert message.code_of(scene.replies[0]) == message.FAILED
    scene.path.unlink()
    scene.ask("www.example.org")  # resolv.conf(5): this machine itself, where nobody listens at that port
    scene.until(lambda: scene.replies[1:])
    assert message.code_of(scene.replies[1]) == message.FAILED


def test_what_does_not_fit_a_datagram_is_asked_for_over_tcp(scene: Scene) -> None:
    with socket.create_server((HERE, scene.port)) as stream:
        scene.ask("big.example.org", 16)
        asked, sender = scene.heard()
        scene.sockets[HERE].sendto(reply(asked, flags=0x8380), sender)
        stream.setblocking(False)
        taken: list[socket.socket] = []

        def accepted() -> bool:
            try:
                taken.append(stream.accept()[0])
            except BlockingIOError:
                return False
            return True

        scene.until(accepted)
        with taken[0] as peer:
            peer.setblocking(False)
            told = b""

            def whole() -> bool:
                nonlocal told
                try:
                    told += peer.recv(4096)
                except BlockingIOError:
                    return False
                return message.unframe(told) is not None

            scene.until(whole)
            framed = message.framed(reply(told[2:], *[b"\1\2\3" + bytes([each]) for each in range(200)]))
            for piece in (framed[:1], framed[1:700], framed[700:]):
                peer.send(piece)
                scene.loop.turn(0.01)
            scene.until(lambda: scene.replies)
    assert len(message.addresses_in(scene.replies[0]) or []) == 200


def test_names_of_this_machine_alone_are_nobodys(scene: Scene) -> None:
    scene.ask("secret-of-the-host")
    scene.forward.ask(b"\0" * 11, scene.replies.append)
    scene.forward.ask(ask("a.b")[:-1], scene.replies.append)
    assert [message.code_of(each) if each else -1 for each in scene.replies] == [
        message.NO_SUCH_NAME,
        -1,
        message.MALFORMED,
    ]


def test_how_much_can_be_asked_is_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "RATE", 0.0)
    for each in range(int(forward.BURST) + 50):
        scene.ask(f"n{each}.example.org")
        if each % 100 == 0:
            scene.forward.close()
    assert {message.code_of(each) for each in scene.replies} == {message.FAILED}
    assert len(scene.replies) >= 50
    scene.forward.close()
    scene.replies.clear()
    monkeypatch.setattr(forward, "RATE", 1e9)
    for each in range(forward.WAITING + 10):
        scene.ask(f"n{each}.example.org")
    assert len(scene.replies) == 10


def test_a_malformed_reply_is_a_failure(scene: Scene) -> None:
    scene.ask("www.example.org")
    asked, sender = scene.heard()
    scene.sockets[HERE].sendto(reply(asked, b"\1\2\3\4")[:-1], sender)
    scene.until(lambda: scene.replies)
    assert message.code_of(scene.replies[0]) == message.FAILED


def test_resolvers_are_read_as_the_library_reads_them() -> None:
    text = b"# a\nnameserver 192.0.2.1\n search x\nnameserver ::1\nnameserver bad\nnameserver fe80::1%1 \n"
    text += b"nameserver 192.0.2.9\n"
    assert forward.servers(text) == (
        (socket.inet_aton("192.0.2.1"), 0),
        (bytes(15) + b"\1", 0),
        (socket.inet_pton(socket.AF_INET6, "fe80::1"), 1),
    )
    assert forward.servers(b"") == ((socket.inet_aton("127.0.0.1"), 0),)
    assert forward.servers(b"nameserver fe80::1%no-such-interface\nnameserver 192.0.2.0/24") == forward.servers(b"")
