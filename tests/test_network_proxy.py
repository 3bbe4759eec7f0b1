"""The proxy of this machine's user: which is used for what, and how a connection goes through it (SPEC §10.6)."""

import base64
import contextlib
import pathlib
import socket
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from broker.network import proxy
from tests import test_network_dialer
from tests.test_network_dialer import Make, Scene

scene = test_network_dialer.scene
T = TypeVar("T")
GRANTED = ("connect web tcp www.example.org 443 -", "connect web tcp www.example.org 80 -")


def proxies(**environment: str) -> proxy.Proxies:
    return proxy.Proxies({name.encode(): value.encode() for name, value in environment.items()})


def said(server: proxy.Server | None) -> tuple[bytes, int] | None:
    return (server.host, server.port) if server else None


@pytest.mark.parametrize(
    ("environment", "web", "other"),
    [
        ({}, None, None),
        ({"https_proxy": "http://p.example:3128"}, None, (b"p.example", 3128)),
        ({"HTTPS_PROXY": "http://P.example:3128/"}, None, (b"p.example", 3128)),
        ({"http_proxy": "p.example:8080"}, (b"p.example", 8080), None),
        ({"ALL_PROXY": "http://p.example"}, (b"p.example", 80), (b"p.example", 80)),
        ({"all_proxy": "http://a", "https_proxy": "http://b"}, (b"a", 80), (b"b", 80)),
        ({"https_proxy": "http://lower", "HTTPS_PROXY": "http://UPPER"}, None, (b"lower", 80)),
        ({"https_proxy": "http://[2001:db8::1]:3128"}, None, (b"2001:db8::1", 3128)),
        ({"https_proxy": "http://[2001:db8::1]"}, None, (b"2001:db8::1", 80)),
        ({"https_proxy": "http://user:word@p.example:1"}, None, (b"p.example", 1)),
        ({"https_proxy": "socks5://p.example:1080"}, None, (b"", 80)),
        ({"https_proxy": "https://p.example:443"}, None, (b"", 80)),
        ({"https_proxy": "http://p.example:port"}, None, (b"", 80)),
        ({"https_proxy": "http://p.example:70000"}, None, (b"", 80)),
        ({"https_proxy": "http://p.exa mple:1"}, None, (b"", 80)),
        ({"https_proxy": "http://p\r\nx:1"}, None, (b"", 80)),
        ({"https_proxy": ""}, None, None),
    ],
)
def test_the_environment_says_which(
    environment: dict[str, str], web: tuple[bytes, int] | None, other: tuple[bytes, int] | None
) -> None:
    found = proxies(**environment)
    assert (said(found.of("www.example.org", 80)), said(found.of("www.example.org", 443))) == (web, other)


@pytest.mark.parametrize(
    ("entries", "host", "direct"),
    [
        ("*", "www.example.org", True),
        ("example.org", "www.example.org", True),
        (".example.org", "www.example.org", True),
        ("*.example.org", "www.example.org", True),
        ("other, WWW.Example.org", "www.example.org", True),
        ("www.example.org:443", "www.example.org", True),
        ("www.example.org:444", "www.example.org", False),
        ("xample.org", "www.example.org", False),
        ("www.example.org.evil", "www.example.org", False),
        ("", "www.example.org", False),
        (".", "www.example.org", False),
        ("203.0.113.0/24", "203.0.113.9", True),
        ("203.0.113.9", "203.0.113.9", True),
        ("203.0.113.8", "203.0.113.9", False),
        ("[2001:db8::1]", "2001:db8::1", True),
        ("2001:db8::/99999", "2001:db9::1", False),
    ],
)
def test_what_is_not_for_the_proxy(entries: str, host: str, direct: bool) -> None:
    found = proxies(https_proxy="http://p", no_proxy=entries)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    address = socket.inet_pton(family, host) if host[0].isdigit() else b""
    assert (found.of(host, 443, address) is None) == direct


def test_local_names_and_private_addresses_are_never_for_it() -> None:
    found = proxies(all_proxy="http://p")
    assert [found.of(name, 443) for name in ("printer", "nas.lan", "x.home.arpa")] == [None] * 3
    assert found.of("192.168.1.1", 443, socket.inet_aton("192.168.1.1")) is None
    assert found.of("203.0.113.1", 443, socket.inet_aton("203.0.113.1")) is not None


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A proxy, which the test answers for."""
    with socket.create_server(("127.0.0.2", 0)) as made:
        made.settimeout(30)
        yield made


def soon(made: Scene, act: Callable[[], T]) -> T:
    """What comes of an act on a socket that does not wait, while the dialer goes on."""
    found: list[T] = []

    def done() -> bool:
        with contextlib.suppress(BlockingIOError):
            found.append(act())
        return bool(found)

    made.until(done)
    return found[0]


def through(scene: Make, server: socket.socket, answer: bytes, login: str = "") -> tuple[bytes, str, bytes]:
    """What the proxy was asked, what the relay was told, and what then came through."""
    port = server.getsockname()[1]
    made = scene(GRANTED[0], environment={b"https_proxy": f"http://{login}127.0.0.2:{port}".encode()})
    made.zone = lambda name: (socket.inet_aton(name.decode()),)
    made.say("look www.example.org")
    made.say("dial 1 tcp www.example.org 443")
    server.setblocking(False)
    with soon(made, server.accept)[0] as peer:
        peer.setblocking(False)
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            asked += soon(made, lambda: peer.recv(4096))
        half = len(answer) // 2
        for piece in (answer[:half], answer[half:]):
            peer.send(piece)
            made.loop.turn(0.05)
        if not answer:
            peer.shutdown(socket.SHUT_WR)
        told, outside = made.hear()
        got = b""
        if outside:
            with outside:
                peer.send(b" and on")
                while not got.endswith(b"on"):
                    piece = soon(made, lambda: outside.recv(100))
                    assert piece
                    got += piece
    assert made.asked == [b"127.0.0.2"]  # what the app wants, the proxy looks up
    return asked, told, got


def test_a_name_is_dialled_by_the_proxy_and_what_it_says_first_is_kept(scene: Make, server: socket.socket) -> None:
    asked, told, got = through(scene, server, b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nSSH-2.0-hello")
    assert asked == b"CONNECT www.example.org:443 HTTP/1.1\r\nHost: www.example.org:443\r\n\r\n"
    assert (told, got) == ("ok 1", b"SSH-2.0-hello and on")


def test_the_login_is_told_to_the_proxy(scene: Make, server: socket.socket) -> None:
    asked, told, _ = through(scene, server, b"HTTP/1.0 200 OK\r\n\r\n", login="me%40home:s%3Acret%@")
    assert told == "ok 1"
    login = asked.partition(b"Basic ")[2].split(b"\r\n")[0]
    assert base64.b64decode(login) == b"me@home:s:cret%"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "refused"),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "refused"),
        (b"SSH-2.0-x 200\r\n\r\n", "refused"),
        (b"200\r\n\r\n", "refused"),
        (b"x" * (proxy.HEAD + 1), "unreachable"),
        (b"", "unreachable"),
    ],
)
def test_where_the_proxy_does_not_nothing_is_reached(
    scene: Make, server: socket.socket, answer: bytes, reason: str
) -> None:
    assert through(scene, server, answer)[1:] == (f"no 1 {reason}", b"")


def test_with_a_proxy_that_cannot_be_used_nothing_is_dialled_another_way(scene: Make, tmp_path: pathlib.Path) -> None:
    made = scene(*GRANTED, environment={b"https_proxy": b"socks5://127.0.0.1:9050"})
    assert made.ask("dial 1 tcp www.example.org 443") == "no 1 unreachable"
    assert made.asked == []
