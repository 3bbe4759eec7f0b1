"""What each scope of the network lets through: one table, tried from inside real sandboxes in a fake internet.

A row is an attempt (see fake_attempts) and what comes of it in each scope: ``+`` somebody answered or the kernel let
it, ``.`` nothing came of it, ``?`` depends on the kernel. What reached the far side is compared with what may reach it.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.conftest import must_work
from tests.real import fake_attempts, fake_internet, fake_zone, world

pytestmark = pytest.mark.real

TRAPS = [name for name in fake_zone.ZONE if name.startswith("to-")]
NAMED = [
    *("www.allowed.test:80", "www.allowed.test:443", "www.allowed.test:443/udp", "four.allowed.test:80"),
    *("six.allowed.test:80", "time.allowed.test:123/udp", "chain.allowed.test:80", "xn--bcher-kva.test:80"),
    *("ssh.allowed.test:22", "nas.lan:80", "printer.local:631", "cdn-allowed.test:80", "cdn-allowed.test:443"),
    *("dead.test:81", "mixed.test:80", "mixed.test:8888", "flip.test:80", "flop.test:8888", "chain-inside.test:8888"),
    *("circle.test:80", "slow.test:80", "garbage.test:80", "circular.test:80", "big.test:80", "no-such.test:80"),
    *(f"{trap}:{port}" for trap in TRAPS for port in (80, 8888)),
]
WILD = ["*.wild.test:80"]
LITERAL = ["198.51.100.10:80", "203.0.113.64/26:80", "[2001:db8:77::1]:80", "192.168.77.0/24:631"]
LITERAL += ["198.51.100.10:5000/udp"]
SNI = ["cdn-allowed.test:443", "www.allowed.test:443"]
ANY = {"dns": {"kind": "dns", "scope": "any"}}
SCOPES: dict[str, dict[str, dict[str, object]]] = {
    "none": {},
    "dns": {**ANY},
    "name": {"network": {"kind": "network", "connect": NAMED}},
    "wild": {"network": {"kind": "network", "connect": WILD}},
    "addr": {"network": {"kind": "network", "connect": LITERAL}},
    "sni": {"network": {"kind": "network", "connect": SNI, "sni": True}},
    "inet": {"network": {"kind": "network", "scope": "internet"}, **ANY},
    "lan": {"network": {"kind": "network", "scope": "lan"}, **ANY},
    "host": {"network": {"kind": "network", "scope": "host"}, **ANY},
}
TABLE = """
                                             none dns name wild addr sni inet lan host
tcp www.allowed.test 80                      .    .   +    .    .    .   +    +   +
tcp www.allowed.test 8080                    .    .   .    .    .    .   +    +   +
tcp four.allowed.test 80                     .    .   +    .    .    .   +    +   +
tcp six.allowed.test 80                      .    .   +    .    .    .   +    +   +
tls www.allowed.test 443 www.allowed.test    .    .   +    .    .    +   +    +   +
curl http://www.allowed.test/                .    .   +    .    .    .   +    +   +
curl https://www.allowed.test/               .    .   +    .    .    +   +    +   +
musl www.allowed.test 80                     .    .   +    .    .    .   +    +   +
go www.allowed.test 80                       .    .   +    .    .    .   +    +   +
go six.allowed.test 80                       .    .   +    .    .    .   +    +   +
ssh ssh.allowed.test                         .    .   +    .    .    .   +    +   +
udp www.allowed.test 443 5 1200              .    .   +    .    .    .   +    +   +
ntp time.allowed.test                        .    .   +    .    .    .   +    +   +
udp www.allowed.test 5000                    .    .   .    .    .    .   +    +   +
tcp www.allowed.test 22                      .    .   .    .    .    .   .    .   .

tcp WWW.Allowed.TEST 80                      .    .   +    .    .    .   +    +   +
tcp www.allowed.test. 80                     .    .   +    .    .    .   +    +   +
tcp bücher.test 80                           .    .   +    .    .    .   +    +   +
tcp XN--BCHER-KVA.test 80                    .    .   +    .    .    .   +    +   +
go wWw.aLLowed.test. 80                      .    .   +    .    .    .   +    +   +
tcp allowed.test 80                          .    .   .    .    .    .   .    .   .
tcp x.www.allowed.test 80                    .    .   .    .    .    .   .    .   .
tcp www.allowed.test.evil.test 80            .    .   .    .    .    .   .    .   .
tcp other.test 80                            .    .   .    .    .    .   +    +   +
tcp evil.test 80                             .    .   .    .    .    .   +    +   +
curl http://cdn-forbidden.test/              .    .   .    .    .    .   +    +   +
curl http://cdn-allowed.test/                .    .   +    .    .    .   +    +   +
tcp chain.allowed.test 80                    .    .   +    .    .    .   +    +   +
tcp chain1.cdn.test 80                       .    .   .    .    .    .   +    +   +
tcp a.wild.test 80                           .    .   .    +    .    .   +    +   +
tcp deep.a.wild.test 80                      .    .   .    +    .    .   +    +   +
musl deep.a.wild.test 80                     .    .   .    +    .    .   +    +   +
tcp A.Wild.Test. 80                          .    .   .    +    .    .   +    +   +
tcp wild.test 80                             .    .   .    .    .    .   +    +   +
tcp notwild.test 80                          .    .   .    .    .    .   +    +   +
tcp none.wild.test 80                        .    .   .    .    .    .   .    .   .
tcp dead.test 81                             .    .   .    .    .    .   .    .   .
tcp no-such.test 80                          .    .   .    .    .    .   .    .   .

tcp 198.51.100.10 80                         .    .   .    .    +    .   +    +   +
tcp 198.51.100.10 8080                       .    .   .    .    .    .   +    +   +
udp 198.51.100.10 5000                       .    .   .    .    +    .   +    +   +
udp 198.51.100.10 443                        .    .   .    .    .    .   +    +   +
tcp 203.0.113.64 80                          .    .   .    .    +    .   +    +   +
tcp 203.0.113.20 80                          .    .   .    .    .    .   +    +   +
tcp 2001:db8:77::1 80                        .    .   .    .    +    .   +    +   +
tcp 2001:db8:51::10 80                       .    .   .    .    .    .   +    +   +
tcp 192.168.77.10 631                        .    .   .    .    +    .   .    +   +
tcp 192.168.77.10 80                         .    .   .    .    .    .   .    +   +
tcp fd77::10 80                              .    .   .    .    .    .   .    +   +
tcp 10.11.12.13 80                           .    .   .    .    .    .   .    +   +
tcp 169.254.169.254 80                       .    .   .    .    .    .   .    .   +
mapped 198.51.100.10 80                      .    .   .    .    +    .   +    +   +
mapped 198.51.100.30 80                      .    .   .    .    .    .   +    +   +
mapped 127.0.0.1 8888                        .    .   .    .    .    .   .    .   +
tcp 3325256714 80                            .    .   .    .    +    .   +    +   +
tcp 0306.063.0144.012 80                     .    .   .    .    +    .   +    +   +
tcp 0xc633640a 80                            .    .   .    .    +    .   +    +   +
tcp nas.lan 80                               .    .   +    .    .    .   .    +   +
tcp printer.local 631                        .    .   +    .    .    .   .    .   +

tcp 127.0.0.1 8888                           .    .   .    .    .    .   .    .   +
tcp ::1 8888                                 .    .   .    .    .    .   .    .   +
tcp localhost 8888                           .    .   .    .    .    .   .    .   +
tcp 0.0.0.0 8888                             .    .   .    .    .    .   .    .   +
tcp :: 8888                                  .    .   .    .    .    .   .    .   +
tcp 2130706433 8888                          .    .   .    .    .    .   .    .   +
tcp 0177.0.0.1 8888                          .    .   .    .    .    .   .    .   +
tcp 0x7f.1 8888                              .    .   .    .    .    .   .    .   +
tcp 127.1 8888                               .    .   .    .    .    .   .    .   +
tcp 192.0.2.2 8888                           .    .   .    .    .    .   .    .   +
tcp 192.168.77.2 8888                        .    .   .    .    .    .   .    .   +
tcp 2001:db8:1::2 8888                       .    .   .    .    .    .   .    .   +
udp 127.0.0.1 8890                           .    .   .    .    .    .   .    .   +
udp 192.0.2.2 8890                           .    .   .    .    .    .   .    .   +
abstract @fake-host                          .    .   .    .    .    .   .    .   .
abstract {directory}/path.sock               .    .   .    .    .    .   .    .   .

tcp to-loopback.test 8888                    .    .   .    .    .    .   .    .   +
tcp to-loopback9.test 8888                   .    .   .    .    .    .   .    .   .
tcp to-loopback6.test 8888                   .    .   .    .    .    .   .    .   +
tcp to-mapped.test 8888                      .    .   .    .    .    .   .    .   +
tcp to-mapped-lan.test 80                    .    .   .    .    .    .   .    .   +
tcp to-metadata.test 80                      .    .   .    .    .    .   .    .   +
tcp to-zero.test 8888                        .    .   .    .    .    .   .    .   +
tcp to-zero6.test 8888                       .    .   .    .    .    .   .    .   +
tcp to-multicast.test 80                     .    .   .    .    .    .   .    .   .
tcp to-broadcast.test 80                     .    .   .    .    .    .   .    .   .
tcp to-link6.test 80                         .    .   .    .    .    .   .    .   .
tcp to-site6.test 80                         .    .   .    .    .    .   .    +   +
tcp to-lan.test 80                           .    .   .    .    .    .   .    +   +
tcp to-inner.test 80                         .    .   .    .    .    .   .    +   +
tcp to-me.test 8888                          .    .   .    .    .    .   .    .   +
tcp to-me6.test 8888                         .    .   .    .    .    .   .    .   +
tcp to-me-lan.test 8888                      .    .   .    .    .    .   .    .   +
tcp to-nat64.test 8888                       .    .   .    .    .    .   .    .   .
tcp to-6to4.test 8888                        .    .   .    .    .    .   .    .   .
tcp to-made-up.test 80                       .    .   .    .    .    .   .    .   .
tcp chain-inside.test 8888                   .    .   .    .    .    .   .    .   +
tcp circle.test 80                           .    .   .    .    .    .   .    .   .
tcp mixed.test 80                            .    .   +    .    .    .   .    .   +
tcp mixed.test 8888                          .    .   .    .    .    .   .    .   +
often flip.test 80                           .    .   +    .    .    .   +    +   +
often flop.test 8888                         .    .   .    .    .    .   .    .   +
tcp slow.test 80                             .    .   .    .    .    .   .    .   .
tcp garbage.test 80                          .    .   .    .    .    .   .    .   .
tcp circular.test 80                         .    .   .    .    .    .   .    .   .

dns www.allowed.test                         .    .   +    .    .    +   +    +   +
dns www.allowed.test tcp                     .    .   +    .    .    +   +    +   +
dns www.allowed.test udp - 28                .    .   +    .    .    +   +    +   +
dns a.wild.test                              .    .   .    +    .    .   +    +   +
dns other.test                               .    .   .    .    .    .   +    +   +
dns other.test tcp                           .    .   .    .    .    .   +    +   +
dns c2VjcmV0.evil.test udp - 16              .    .   .    .    .    .   .    .   .
dns www.allowed.test udp 8.8.8.8             .    .   .    .    .    .   +    +   +
dns www.allowed.test tcp 8.8.8.8             .    .   .    .    .    .   +    +   +
dns www.allowed.test tls 1.1.1.1             .    .   .    .    .    .   +    +   +
dns www.allowed.test udp 192.0.2.1           .    .   .    .    .    .   .    +   +
garbage www.allowed.test                     .    .   +    .    .    +   +    +   +
tcp secret-of-the-host.test 80               .    .   .    .    .    .   .    .   .

tls cdn-allowed.test 443 cdn-allowed.test    .    .   +    .    .    +   +    +   +
tls cdn-allowed.test 443 cdn-allowed.test 1  .    .   +    .    .    +   +    +   +
tls cdn-allowed.test 443 CDN-Allowed.test    .    .   +    .    .    +   +    +   +
tls cdn-allowed.test 443 cdn-forbidden.test  .    .   +    .    .    .   +    +   +
tls cdn-allowed.test 443 www.allowed.test    .    .   +    .    .    .   +    +   +
tls cdn-allowed.test 443 -                   .    .   +    .    .    .   +    +   +
tls cdn-allowed.test 443 cdn-forbidden.test 9 .   .   +    .    .    .   +    +   +

proxy 192.0.2.3 3128 evil.test:80            .    .   .    .    .    .   .    +   +
device eth1 192.168.77.10 80                 .    .   .    .    .    .   .    .   +
device lo 127.0.0.1 8888                     .    .   .    .    .    .   .    .   +
source 192.0.2.99 203.0.113.20 80            .    .   .    .    .    .   .    .   .
fastopen 203.0.113.20 80                     .    .   .    .    .    .   +    +   +
protocol 262 203.0.113.20 80                 .    .   .    .    .    .   ?    ?   ?
protocol 132 203.0.113.20 80                 .    .   .    .    .    .   .    .   .
turned www.allowed.test 80 203.0.113.20 80   .    .   .    .    .    .   +    +   +
turned www.allowed.test 80 192.168.77.10 80  .    .   .    .    .    .   .    +   +
tcp 198.18.0.77 80                           .    .   .    .    .    .   .    .   .
tcp fd69:6e74:656e::77 80                    .    .   .    .    .    .   .    .   .
udp 224.0.0.251 5353                         .    .   .    .    .    .   .    .   .
udp 192.168.77.255 443                       .    .   .    .    .    .   .    .   .
inherited                                    .    .   .    .    .    .   .    .   .
raw 2 3 1 203.0.113.20                       .    .   .    .    .    .   .    .   .
raw 2 3 6                                    .    .   .    .    .    .   .    .   .
raw 2 2 1 203.0.113.20                       .    .   .    .    .    .   ?    ?   ?
raw 10 3 58                                  .    .   .    .    .    .   .    .   .
raw 17 3 768                                 .    .   .    .    .    .   .    .   .
raw 17 2 768                                 .    .   .    .    .    .   .    .   .
vsock 2 1234                                 .    .   .    .    .    .   .    .   .
raw 40 1 0                                   .    .   .    .    .    .   .    .   .
raw 38 5 0                                   .    .   .    .    .    .   .    .   .
raw 44 3 0                                   .    .   .    .    .    .   .    .   .
netlink address                              .    .   .    .    .    .   .    .   .
netlink route                                .    .   .    .    .    .   .    .   .
netlink flush                                .    .   .    .    .    .   .    .   .
netlink down                                 .    .   .    .    .    .   .    .   .
netlink rules                                .    .   .    .    .    .   .    .   .
unshare 0x10000000                           .    .   .    .    .    .   .    .   .
unshare 0x40000000                           .    .   .    .    .    .   .    .   .
setns net                                    .    .   .    .    .    .   .    .   .
setns user                                   .    .   .    .    .    .   .    .   .
"""
ROWS = [re.split(r"\s{2,}|(?<=\d|[.]) (?=[.]\s)", line.strip()) for line in TABLE.splitlines()[2:] if line.strip()]
# What may reach the far side in a scope, as patterns of its log. Everything else is a leak, whoever noticed it.
NAME = r"(198\.51\.100\.10|\[2001:db8:51::10\])"
FAR = {
    "none": [],
    "dns": [],
    "name": [
        rf"{NAME}:(80|443)\b",
        rf"(udp|datagram) {NAME}:(123|443)\b",
        r"198\.51\.100\.20:(80|443)\b",
        r"198\.51\.100\.22:22\b",
        r"198\.51\.100\.10:81\b",  # dead.test: refused there
        r"198\.51\.100\.10:8888\b",  # mixed.test, flip.test
        r"192\.168\.77\.10:(80|631)\b",
        r"198\.51\.100\.[0-9]+:80\b",  # big.test
        r"dns(-stream)? 192\.0\.2\.1:53 [a-z0-9.-]+ (1|28)$",
        r"(datagram|tcp|syn) 192\.0\.2\.1:53",
    ],
    "wild": [r"198\.51\.100\.11:80\b", r"dns 192\.0\.2\.1:53 [a-z.]+\.wild\.test (1|28)$", r"datagram 192\.0\.2\.1:53"],
    "addr": [
        r"198\.51\.100\.10:80\b",
        r"(udp|datagram) 198\.51\.100\.10:5000\b",
        r"203\.0\.113\.64:80\b",
        r"\[2001:db8:77::1\]:80\b",
        r"192\.168\.77\.10:631\b",
    ],
    "sni": [
        rf"(tcp|syn|http) {NAME}:443\b",
        rf"sni {NAME}:443 www\.allowed\.test$",
        r"(tcp|syn|http) 198\.51\.100\.20:443\b",
        r"(?i)sni 198\.51\.100\.20:443 cdn-allowed\.test$",
        r"dns 192\.0\.2\.1:53 (www\.allowed|cdn-allowed)\.test (1|28)$",
        r"datagram 192\.0\.2\.1:53",
    ],
    "inet": [
        r"^internet \S+ (198\.51\.100|203\.0\.113|8\.8\.8|1\.1\.1)\.[0-9]+:",
        r"^internet \S+ \[2001:(db8:(51|20|77)|4860:4860):",
        r"^internet (dns|dns-stream|tcp|syn|datagram) 192\.0\.2\.1:53\b",
    ],
    "lan": [r"^internet \S+ (?!\[?(127|169\.254|198\.1[89]|::1|fe80|fd69))"],
}


@pytest.fixture(scope="module", name="net")
def _net() -> Iterator[fake_internet.Internet]:
    with fake_internet.internet() as made:
        yield made


def attempts(here: fake_internet.World, words: list[str], removed: str = "") -> list[str]:
    """What comes of these attempts, each a line, in one start of the app."""
    data = "\n".join(words).replace("{directory}", str(here.net.directory)).encode()
    done = here.start(fake_attempts.text(), data=data, removed=removed, limit=300)
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-2000:])
    found = done.stdout.decode().splitlines()
    assert len(found) == len(words), done
    return found


def prepare(here: fake_internet.World, scopes: dict[str, dict[str, object]]) -> None:
    """Install the app that tries, with these intents granted, and what it starts."""
    must_work(shutil.which("musl-gcc") or os.path.exists("/etc/alpine-release"), "musl-gcc")
    must_work(shutil.which("ssh"), "ssh")
    here.install(world.manifest(world.PYTHON, scopes))
    here.decide()
    here.start("")  # makes the app's directories
    compiler = shutil.which("musl-gcc") or "gcc"
    source = world.ROOT / "tests" / "real" / "lookup.c"
    subprocess.run([compiler, "-static", "-O1", "-o", here.own("data") / "lookup", source], check=True)


@pytest.mark.parametrize("scope", SCOPES)
def test_what_reaches_whom(net: fake_internet.Internet, scope: str) -> None:
    if scope in ("inet", "lan"):
        must_work(shutil.which("pasta"), "pasta")
    with net.world() as here:
        prepare(here, SCOPES[scope])
        mark = net.mark()
        found = attempts(here, [row[0] for row in ROWS])
        came = net.since(mark)
    column = 1 + list(SCOPES).index(scope)
    wrong = [
        f"{row[0]}: expected {row[column]}, was {result}"
        for row, result in zip(ROWS, found, strict=True)
        if row[column] not in ("?", {"+": "+", "-": "."}[result[0]])
    ]
    assert not wrong, "\n".join(wrong)
    patterns = FAR.get(scope, [""])
    leaks = [line for line in came if not any(re.search(pattern, line) for pattern in patterns)]
    assert not leaks, "\n".join(leaks)


def test_the_table_is_one() -> None:
    assert len(ROWS) >= 60
    assert all(len(row) == 1 + len(SCOPES) and set("".join(row[1:])) <= set("+.?") for row in ROWS), ROWS
    assert len({row[0] for row in ROWS}) == len(ROWS)
    assert TABLE.split("\n")[1].split() == list(SCOPES)
