"""The fake internet is one: its names lead where they say, what reaches it is noted, and nothing else is in it."""

import os
from collections.abc import Iterator

import pytest

from tests.real import fake_internet, fake_zone, world

pytestmark = pytest.mark.real


@pytest.fixture(scope="module", name="net")
def _net() -> Iterator[fake_internet.Internet]:
    with fake_internet.internet() as made:
        yield made


def says(net: fake_internet.Internet, *words: str) -> str:
    done = net.run("curl", "-sS", "--max-time", "10", *words)
    return done.stdout.strip() or done.stderr.strip()


def test_servers_say_who_they_are_and_whom_they_were_asked_for(net: fake_internet.Internet) -> None:
    mark = net.mark()
    expected = f"i am {fake_zone.ALLOWED}:443 asked www.allowed.test sni www.allowed.test"
    assert says(net, "-4", "https://www.allowed.test/") == expected
    assert says(net, "-6", "http://www.allowed.test/").startswith(f"i am [{fake_zone.ALLOWED6}]:80 ")
    assert says(net, "http://chain.allowed.test/").startswith(f"i am {fake_zone.ALLOWED}:80 ")
    assert says(net, f"http://{fake_zone.LAN}/").startswith(f"i am {fake_zone.LAN}:80 ")
    assert says(net, f"http://{fake_zone.METADATA}/").startswith(f"i am {fake_zone.METADATA}:80 ")
    assert says(net, "http://127.0.0.1:8888/").startswith("i am 127.0.0.1:8888 ")
    assert says(net, "--abstract-unix-socket", "fake-host", "http://x/").startswith("i am @fake-host ")
    assert says(net, "-x", "http://192.0.2.3:3128", "https://four.allowed.test/").startswith("i am 198.51.100.10:443 ")
    assert f"internet dns {fake_zone.RESOLVER}:53 www.allowed.test 1" in net.since(mark, "dns")
    assert f"internet syn {fake_zone.LAN}:80" in net.since(mark, "syn")
    assert "internet proxy CONNECT four.allowed.test:443 -" in net.since(mark, "proxy")


def test_what_nobody_answers_is_noted_as_well(net: fake_internet.Internet) -> None:
    mark = net.mark()
    assert "Could not resolve host" in says(net, "http://no-such-name.test/")
    assert "connect" in says(net, "http://203.0.113.99:4/")
    net.run("/usr/bin/python3", "-c", "import socket; socket.socket(type=2).sendto(b'x', ('203.0.113.99', 5))")
    assert net.since(mark, "syn") == ["internet syn 203.0.113.99:4"]
    assert "internet datagram 203.0.113.99:5" in net.since(mark)


def test_another_resolver_takes_over(net: fake_internet.Internet) -> None:
    net.resolver(fake_zone.CAPTIVE_RESOLVER)
    try:
        assert says(net, "http://no-such-name.test/").startswith(f"i am {fake_zone.CAPTIVE}:80 ")
    finally:
        net.resolver(fake_zone.RESOLVER)


def test_the_user_is_the_same_and_a_sandbox_starts(net: fake_internet.Internet) -> None:
    assert net.run("id", "-u").stdout == f"{os.geteuid()}\n"
    host, names = {"kind": "network", "scope": "host"}, {"kind": "dns", "scope": "any"}
    with net.world() as here:
        here.install(world.manifest(world.SHELL, {"network": host, "dns": names}))
        here.decide()
        assert here.says("id -u; curl -s http://www.allowed.test/").split()[:3] == [str(os.geteuid()), "i", "am"]
        here.install(world.manifest(world.SHELL, {}, serial=2))
        mark = net.mark()
        assert here.start(f"curl -sm5 http://{fake_zone.ALLOWED}/; curl -sm5 http://127.0.0.1:8888").stdout == b""
        assert net.since(mark) == []
