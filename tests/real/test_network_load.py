"""The relay under load: nothing is lost, its memory does not grow, and too much is refused or waits.

``INTENTS_NETWORK_LOAD=full python -m pytest tests/real/test_network_load.py`` is the full size: 2,000 connections at
once, 10 GiB, 100,000 questions to the resolver, 10,000 silent connections. Without it a size that suits every machine.
"""

import contextlib
import os
import pathlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from tests.real import fake_internet, fake_load, peers, world

pytestmark = pytest.mark.real

FULL = os.environ.get("INTENTS_NETWORK_LOAD") == "full"
CONNECTIONS, BYTES, QUERIES, SILENT = (2000, 10 << 30, 100_000, 10_000) if FULL else (300, 256 << 20, 4000, 600)
HOST = "www.allowed.test"
GRANT = {"network": {"kind": "network", "connect": [f"{HOST}:80", f"{HOST}:7"]}}
GROWTH = 2 << 10  # KiB that may come of a second time: the allocator's rounding


@dataclass
class Load:
    """One running app that does what it is told, and the processes that stand between it and the network."""

    here: fake_internet.World
    process: "subprocess.Popen[bytes]"

    def do(self, *words: object) -> str:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        self.process.stdin.flush()
        said = self.process.stdout.readline().decode().strip()
        assert said, "the app has ended"
        return said

    def companions(self) -> list[str]:
        """Process ids: what still runs intent-run's own code for this home."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
                if str(self.here.home).encode() in words and b"broker.run" in words:
                    found.append(pid)
        return found

    def memory(self) -> int:
        """KiB that they have in memory, and of which nobody else has the use."""
        total = 0
        for pid in self.companions():
            rows = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
            total += next(int(row.split()[1]) for row in rows if row.startswith("RssAnon:"))
        return total


@contextlib.contextmanager
def load(net: fake_internet.Internet, before: Sequence[str] = ()) -> Iterator[Load]:
    """``before``: a command that starts intent-run, with limits for instance."""
    with net.world() as here:
        here.install(world.manifest(world.PYTHON, GRANT))
        here.decide()
        process = subprocess.Popen(
            [*before, *here.argv(world.APP, fake_load.text())],
            env=here.environ,
            cwd=here.base,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        made = Load(here, process)
        try:
            assert made.do("connections", 1, HOST, 7) == "1"
            assert len(made.companions()) >= 2, "dialer and relay"
            yield made
        finally:
            process.kill()
            process.communicate()
            peers.eventually(lambda: not made.companions(), "the end of what stood beside the app")


@pytest.fixture(scope="module", name="net")
def _net() -> Iterator[fake_internet.Internet]:
    with fake_internet.internet(watch=False) as made:
        yield made


def twice(under: Load, words: tuple[object, ...], expected: int) -> None:
    """Nothing is lost, the second time as the first, and nothing is kept of the second."""
    assert under.do(*words) == str(expected)
    before = under.memory()
    assert under.do(*words) == str(expected)
    assert under.memory() <= before + GROWTH


def test_many_connections_at_once(net: fake_internet.Internet) -> None:
    with load(net) as under:
        twice(under, ("connections", CONNECTIONS, HOST, 7), CONNECTIONS)


def test_many_bytes(net: fake_internet.Internet) -> None:
    with load(net) as under:
        twice(under, ("fetch", BYTES // 8, 4, HOST, 80), BYTES // 2)
        assert under.do("echo", BYTES // 64, HOST, 7) == "1"


def test_many_questions(net: fake_internet.Internet) -> None:
    with load(net) as under:
        twice(under, ("queries", QUERIES // 2, HOST), QUERIES // 2)
        twice(under, ("queries", QUERIES // 16, "no-such-name.test"), QUERIES // 16)


def test_silent_connections_keep_nobody_else_out_for_good(net: fake_internet.Internet) -> None:
    with load(net) as under:
        opened, during, after = under.do("silent", SILENT, HOST, 7).split()
        assert int(opened) > 0
        assert during in "01"  # while they stay, one more may have to wait
        assert after == "1"
        before = under.memory()
        under.do("silent", SILENT, HOST, 7)
        assert under.memory() <= before + GROWTH


def test_without_descriptors_one_waits_and_nobody_falls_out(net: fake_internet.Internet) -> None:
    mark = net.mark()
    with load(net, ["/bin/sh", "-c", 'ulimit -n 256; exec "$@"', "sh"]) as under:
        for _ in range(2):
            opened, _during, after = under.do("silent", 400, HOST, 7).split()
            assert int(opened) > 0
            assert after == "1"
        assert under.do("queries", 200, HOST) == "200"
        assert under.do("connections", 20, HOST, 7) == "20"
        assert len(under.companions()) >= 2
    assert not [line for line in net.since(mark, "tcp", "dns", "udp") if HOST not in line and ":7" not in line]
