"""What is allowed and not used for 90 days lapses, and comes back by one command; no clock does it (SPEC §8.7)."""

import os
import pathlib
import time
from collections.abc import Iterator, Mapping
from unittest import mock

import pytest

from broker import launch
from broker.history import What
from tests import control
from tests.real import starting, world
from tests.real.starting import LOOK, NET_TITLE, NETWORK, NOTES, NOTES_TITLE, WARM
from tests.real.world import APP

pytestmark = pytest.mark.real

DAY = 86400
LATER = "import time\n_wall = time.time\ntime.time = lambda: _wall() + {days} * 86400\n"
SOUND = {"kind": "dns", "scope": "any"}
INTENTS = {"net": NETWORK, "notes": NOTES, "names": SOUND}
SAID = "was not used for 90 days, so this counts no longer: "


@pytest.fixture
def home() -> Iterator[world.World]:
    """The app may for good use the network and ~/Notes, which are risky, and server names; it was started today."""
    with starting.home(INTENTS) as made:
        allow(made)
        assert starting.got(made.says(LOOK)) == {"net", "notes"}
        yield made


def allow(where: world.World) -> None:
    control.done(where, "grant", APP, "net", "notes", "names", "--for", "forever")


def stamp(where: world.World, app_id: str = APP) -> pathlib.Path:
    return pathlib.Path(where.places.state, "stamps", app_id)


def used(where: world.World, app_id: str, days: float) -> None:
    """Let an app have been started that many days from now."""
    stamp(where, app_id).touch(0o600)
    os.utime(stamp(where, app_id), (time.time() + days * DAY,) * 2)


def later(where: world.World, days: float, *, others: float | None = -1) -> tuple[set[str], str]:
    """(what the app has got, what was said) in a start without a terminal, so many days from now; others: when another
    app was used, in days from then."""
    if others is not None:
        used(where, "org.example.Other", days + others)
    done = where.start(LOOK, removed=LATER.format(days=days))
    assert done.returncode == 0, done.stderr
    return starting.got(done.stdout.decode()), done.stderr.decode()


def command(where: world.World, days: float, *words: str) -> str:
    """``intent-ctl``, so many days from now."""
    with mock.patch.object(time, "time", lambda wall=time.time: wall() + days * DAY):
        return control.done(where, *words)


def states(where: world.World, days: float = 0) -> Mapping[str, str]:
    with mock.patch.object(time, "time", lambda wall=time.time: wall() + days * DAY):
        return control.states(where)


def lapsed(where: world.World) -> list[object]:
    return [event.body["decisions"] for event in starting.events(where, What.LAPSE)]


def test_what_is_risky_lapses_after_90_days(home: world.World) -> None:
    assert later(home, 89)[0] == {"net", "notes"} and lapsed(home) == []
    got, said = later(home, 91)
    assert got == set()
    assert f"{SAID}whole network, ~/Notes" in said and f"intent-ctl restore {APP}" in said
    assert states(home, 91) == {"net": "open", "notes": "open", "names": "allowed"}
    assert "not used for 90 days" in command(home, 91, "show", APP)
    assert "not used for long, so these count no longer" in command(home, 91, "log", APP)
    got, said = later(home, 92)
    assert (got, SAID in said, len(lapsed(home))) == (set(), False, 1), "said once, and still so"


def test_it_is_asked_again_and_the_question_says_why(home: world.World) -> None:
    used(home, "org.example.Other", 90)
    with starting.start(home, LOOK, removed=LATER.format(days=91)) as begun:
        begun.settle()
        text = " ".join(" ".join(begun.lines()).replace("│", " ").split())
        assert "Not used for 90 days" in text and begun.row(NET_TITLE) and begun.row(NOTES_TITLE)
        begun.choose(NOTES_TITLE, "ALLOW always")
        begun.go()
        assert starting.got(begun.ends(0)) == {"notes"}
    assert later(home, 92)[0] == {"notes"}


def test_one_command_brings_all_of_it_back(home: world.World) -> None:
    before = control.decisions(home)
    said = later(home, 91)[1]
    with mock.patch.object(time, "time", lambda wall=time.time: wall() + 91 * DAY):
        starting.follow(home, said, r"intent-ctl restore [\w.]+")
    assert control.decisions(home) == before
    assert later(home, 92)[0] == {"net", "notes"}
    assert later(home, 180)[0] == {"net", "notes"} and len(lapsed(home)) == 1
    assert later(home, 182)[0] == set() and len(lapsed(home)) == 2
    assert control.code(home, "restore", "org.example.Nobody") == "unknown-app"


def test_nothing_that_lapsed_is_restored_twice(home: world.World) -> None:
    assert control.code(home, "restore", APP) == "nothing-lapsed"


def test_a_denial_before_it_does_not_come_back_in_its_place() -> None:
    with starting.home(INTENTS) as where:
        control.done(where, "revoke", APP)
        allow(where)
        where.says(LOOK)
        assert later(where, 91)[0] == set()
        assert states(where, 91)["net"] == "open", "it is asked, not refused"


def test_what_was_refused_stays_refused(home: world.World) -> None:
    control.done(home, "revoke", APP, "net")
    later(home, 91)
    assert states(home, 91) == {"net": "denied", "notes": "open", "names": "allowed"}


@pytest.mark.parametrize("others", [None, -31], ids=["the clock jumped, or the machine was off", "for a month"])
def test_where_nothing_happened_nothing_lapses(home: world.World, others: float | None) -> None:
    """Then each app would lapse at once, because a battery was empty."""
    assert later(home, 100, others=others)[0] == {"net", "notes"} and lapsed(home) == []
    assert len(starting.events(home, What.AWAY)) == 1
    # Another app comes first, and this one later: that time counts for neither.
    assert later(home, 101)[0] == {"net", "notes"} and lapsed(home) == []


def test_a_start_in_the_future_is_none_that_is_long_ago(home: world.World) -> None:
    used(home, APP, 400)
    assert later(home, 200)[0] == {"net", "notes"} and lapsed(home) == []


def test_a_clock_that_goes_back_makes_no_start_older(home: world.World) -> None:
    used(home, APP, 1)
    before = stamp(home).stat().st_mtime
    home.says(LOOK)
    assert stamp(home).stat().st_mtime == before
    assert later(home, -20_000)[0] == {"net", "notes"} and lapsed(home) == []


def test_a_service_is_not_used_by_being_started() -> None:
    with starting.home({}) as where:
        where.install(world.manifest(world.SHELL, INTENTS, serial=2, base="service"))
        allow(where)
        assert later(where, 200)[0] == {"net", "notes"}


def test_what_runs_is_used(home: world.World) -> None:
    with starting.start(home, "echo STARTED; read done") as begun:
        begun.see("STARTED")
        assert later(home, 200)[0] == {"net", "notes"} and lapsed(home) == []
        begun.send("\n")
        begun.ends(0)


def test_a_plan_does_not_outlive_a_month_without_a_start(home: world.World) -> None:
    starting.quietly(home, LOOK)
    plan = f"{home.places.state}/plans/{APP}.tty"
    for days, holds in ((-29, True), (-31, False), (31, True), (None, False)):
        if days is None:
            stamp(home).unlink()
        else:
            used(home, APP, days)
        with mock.patch.dict(os.environ, {**home.environ, "TERM": "xterm"}, clear=True):
            sections = launch.read(plan)
            assert sections is not None and launch.holds(sections["guards"]) is holds, days
    used(home, APP, -31)
    with starting.start(home, LOOK, removed=WARM) as begun:
        assert begun.wait() == 1 and "broker.session halted" in begun.shown
    assert starting.got(starting.quietly(home, LOOK)) == {"net", "notes"}, "nothing lapsed yet"
    assert starting.got(starting.quietly(home, LOOK, removed=WARM)) == {"net", "notes"}


def test_what_was_allowed_and_never_started_lapses_too(home: world.World) -> None:
    stamp(home).unlink()
    assert later(home, 91)[0] == set()
