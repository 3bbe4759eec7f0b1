"""Real calculators fetch exchange rates when the one server that has them is granted, and work without it."""

import contextlib
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from intents import model
from tests.conftest import must_work
from tests.real import desktop, fake_internet, fake_zone, peers, world

pytestmark = pytest.mark.real

PATH = "/stats/eurofxref/eurofxref-daily.xml"
# The bank's own form, line by line: qalc takes no other.
RATES = b"""<?xml version="1.0" encoding="UTF-8"?>
<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01" \
xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">
<gesmes:subject>Reference rates</gesmes:subject>
<gesmes:Sender>
<gesmes:name>European Central Bank</gesmes:name>
</gesmes:Sender>
<Cube>
<Cube time='2026-01-02'>
<Cube currency='USD' rate='4.25'/>
<Cube currency='JPY' rate='1000'/>
<Cube currency='GBP' rate='0.5'/>
</Cube>
</Cube>
</gesmes:Envelope>
"""
ECB = {"rates": {"kind": "network", "connect": ["www.ecb.europa.eu:443"]}}
WINDOW = {"window": {"kind": "display", "protocol": "wayland"}}
# What may be seen of a calculator to which the bank alone was granted.
ONLY = (f"dns {fake_zone.RESOLVER}:53 www.ecb.europa.eu ", f"datagram {fake_zone.RESOLVER}:53", f"{fake_zone.ECB}:443")


@pytest.fixture(scope="module", name="net")
def _net() -> Iterator[fake_internet.Internet]:
    with fake_internet.internet() as made:
        made.page("www.ecb.europa.eu", PATH, RATES)
        yield made


def asked(came: list[str]) -> list[str]:
    """The pages that were fetched; nothing but the bank may have been tried."""
    assert [line for line in came if not any(word in line for word in ONLY)] == []
    return [line.partition("GET ")[2] for line in came if line.split()[1] == "http"]


def test_qalc_converts_at_the_rate_of_the_day(net: fake_internet.Internet) -> None:
    must_work(shutil.which("qalc"), "qalc")
    with net.world() as here:
        here.install(world.manifest(["/usr/bin/qalc", "-t"], ECB))
        here.decide()
        mark = net.mark()
        assert here.says("-e", "1 EUR to USD") == "$4.250000000\n"
        assert asked(net.since(mark)) == [f"www.ecb.europa.eu {PATH}"]
        assert here.says("1 EUR to GBP") == "£0.5000000000\n"  # remembered


def test_qalc_works_without_the_bank(net: fake_internet.Internet) -> None:
    must_work(shutil.which("qalc"), "qalc")
    with net.world() as here:
        here.install(world.manifest(["/usr/bin/qalc", "-t"], ECB))
        here.decide(effect=model.Effect.DENY)
        mark = net.mark()
        assert here.says("6 * 7") == "42\n"
        said = here.says("-e", "1 EUR to USD")
        assert said.splitlines()[-1].startswith("$")
        assert "4.25" not in said
        assert net.since(mark) == []


@contextlib.contextmanager
def calculator(net: fake_internet.Internet, effect: model.Effect) -> Iterator[tuple[fake_internet.World, pathlib.Path]]:
    """The desktop calculator running, with what was answered about the bank; and where it keeps what it fetched."""
    with net.world() as here, desktop.desktop("sway", "gnome-calculator") as session:
        session.start_sway()
        here.environ["WAYLAND_DISPLAY"] = f"{session.place}/runtime/{session.environ['WAYLAND_DISPLAY']}"
        here.install(world.manifest(["/usr/bin/gnome-calculator"], {**ECB, **WINDOW}, interface="window"))
        here.decide("window")
        here.decide("rates", effect=effect)
        quiet = subprocess.DEVNULL
        with open(here.base / "said", "wb") as said:
            started = subprocess.Popen(
                here.argv(world.APP), env=here.environ, cwd=here.base, stdin=quiet, stdout=quiet, stderr=said
            )
        try:
            peers.eventually(lambda: b"currency-provider" in (here.base / "said").read_bytes(), "its look at the rates")
            yield here, here.own("cache") / "gnome-calculator" / "eurofxref-daily.xml"
            assert started.poll() is None, (here.base / "said").read_text()
        finally:
            started.terminate()
            started.wait()


def test_gnome_calculator_fetches_from_the_bank_alone(net: fake_internet.Internet) -> None:
    mark = net.mark()
    with calculator(net, model.Effect.ALLOW) as (_here, fetched):
        peers.eventually(lambda: fetched.exists() and fetched.read_bytes() == RATES, "the rates")
        assert f"www.ecb.europa.eu {PATH}" in asked(net.since(mark))


def test_gnome_calculator_works_without_the_bank(net: fake_internet.Internet) -> None:
    mark = net.mark()
    with calculator(net, model.Effect.DENY) as (here, fetched):
        assert not fetched.exists()
        assert here.says("-s", "6*7", environ={"WAYLAND_DISPLAY": ""}) == "42\n"
    assert net.since(mark) == []
