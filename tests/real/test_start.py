"""The first start on a real terminal: one question, then what was answered for as long as it was said (SPEC §8)."""

import hashlib
import os
import pathlib
import signal
from collections.abc import Iterator

import pytest

from broker.history import What
from intents import model
from tests import control
from tests.real import starting, terminal, world
from tests.real.starting import BOTH, LOOK, NET_TITLE, NOTES_TITLE, WARM

pytestmark = pytest.mark.real

NOT_STARTED = "[handshake-abandoned]"
SPANS = {
    "once": ("ALLOW this once", model.Lifespan.ONCE),
    "session": ("ALLOW this session", model.Lifespan.SESSION),
    "hours": ("ALLOW for 8 hours", model.Lifespan.UNTIL),
    "always": ("ALLOW always", model.Lifespan.FOREVER),
}
READ = "test -t 0 && echo READY && head -n 1"
# What a later moment is like, for the decision and for the plan.
LATER = """
import time
_wall, _since_boot = time.time, time.clock_gettime
time.time = lambda: _wall() + {wall}
time.clock_gettime = lambda clock: _since_boot(clock) + {boot}
"""
ANOTHER_BOOT = """
from broker import launch
_clock, _holds = state.clock, launch._holds
def clock(places):
    import dataclasses
    return dataclasses.replace(_clock(places), boot_id="another")
state.clock = clock
launch._holds = lambda kind, subject, value: not subject.endswith(b"boot_id") and _holds(kind, subject, value)
"""
HOURS = 3600


@pytest.fixture
def home() -> Iterator[world.World]:
    with starting.home() as made:
        yield made


def answer(home: world.World, **verdicts: str) -> str:
    """Start the app, give these verdicts about ``net`` and ``notes``, and return what it showed."""
    with starting.start(home, LOOK) as begun:
        for name, verdict in verdicts.items():
            begun.choose({"net": NET_TITLE, "notes": NOTES_TITLE}[name], verdict)
        begun.go()
        return begun.ends(0)


def asked(home: world.World, removed: str = "") -> bool:
    """Whether a start asks now. The question ends with its process: closed three times, it would rest."""
    with starting.start(home, LOOK, removed=removed) as begun:
        begun.until(lambda: begun.process.poll() is not None or begun.shows("START"))
        if begun.process.poll() is not None:
            begun.ends(0)
            return False
        begun.process.kill()
        begun.wait()
        return True


def test_the_first_start_asks_and_the_second_needs_its_plan_alone(home: world.World) -> None:
    with starting.start(home, "true", removed=WARM) as begun:
        assert begun.wait() == 1 and "broker.session halted" in begun.shown, "there is no plan yet"
    with starting.start(home, READ) as begun:
        begun.settle()
        assert begun.shows("org.example.App asks what it may do") and begun.shows("whole network")
        begun.press("s")
        begun.see("READY")
        begun.send("typed\n")
        assert begun.ends(0).endswith("READY\r\ntyped\r\ntyped\r\n"), "the terminal shows it, and so does the app"
    assert [event.body["granted"] for event in starting.events(home, What.DECISION)] == [None, None]
    with starting.start(home, READ, removed=WARM) as begun:
        begun.see("READY")
        begun.send("again\n")
        assert begun.ends(0) == "READY\r\nagain\r\nagain\r\n"


@pytest.mark.parametrize("key", ["l", "q", "\x1b", "\x03", "\x04"], ids=["l", "q", "Esc", "Ctrl-C", "Ctrl-D"])
def test_closing_the_question_starts_nothing_and_stores_none(home: world.World, key: str) -> None:
    with starting.start(home, "echo STARTED >$HOME/.config/started; echo STARTED") as begun:
        begun.choose(NET_TITLE, "ALLOW this session")
        begun.finish(key)
        shown = begun.ends(126)
    assert NOT_STARTED in shown and "STARTED" not in shown and "nothing is stored" in shown
    assert_unanswered(home)


def assert_unanswered(home: world.World) -> None:
    """One question without an answer is on record, and nothing else; nothing ran."""
    assert starting.events(home, What.DECISION, What.LAUNCH) == []
    assert starting.pending(home) == 1
    assert list(pathlib.Path(home.places.data, "apps").iterdir()) == []
    assert list(pathlib.Path(home.places.state, "plans").iterdir()) == []


@pytest.mark.parametrize("shell", ["", 'trap "" HUP; exec "$@"'], ids=["hang-up", "hang-up ignored"])
def test_a_terminal_that_goes_away_is_no_answer(home: world.World, shell: str) -> None:
    with starting.start(home, "true", shell=shell) as begun:
        begun.choose(NOTES_TITLE, "ALLOW this session")
        begun.hang_up()
        assert begun.process.wait(terminal.PATIENCE) == 126
    assert_unanswered(home)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_no_answer(home: world.World, number: signal.Signals) -> None:
    with starting.start(home, "true") as begun:
        begun.choose(NET_TITLE, "ALLOW this session")
        os.kill(begun.process.pid, number)
        assert NOT_STARTED in begun.ends(126)
    assert_unanswered(home)


def test_a_killed_question_stores_nothing(home: world.World) -> None:
    with starting.start(home, "true") as begun:
        begun.choose(NET_TITLE, "ALLOW this session")
        begun.process.kill()
        begun.wait()
    assert starting.events(home, What.DECISION, What.PENDING) == []
    assert asked(home)


@pytest.mark.parametrize("ticked", [(), ("net",), ("notes",), ("net", "notes")], ids=["none", "net", "notes", "both"])
def test_what_is_ticked_is_given_and_nothing_else(home: world.World, ticked: tuple[str, ...]) -> None:
    shown = answer(home, **dict.fromkeys(ticked, "ALLOW this session"))
    assert starting.got(shown) == set(ticked)
    assert (home.home / "Notes" / "new").exists() == ("notes" in ticked)
    assert starting.got(starting.quietly(home, LOOK, removed=WARM)) == set(ticked)
    states = {name: "allowed" if name in ticked else "denied" for name in BOTH}
    assert control.states(home) == states


@pytest.mark.parametrize("span", ["once", "session", "hours", "always"])
def test_an_answer_holds_as_long_as_it_says(home: world.World, span: str) -> None:
    verdict, stored = SPANS[span]
    assert starting.got(answer(home, net=verdict, notes="deny always")) == {"net"}
    lives = [event.body["life"] for event in starting.events(home, What.DECISION)]
    assert next(life["span"] for life in lives if isinstance(life, dict)) == stored
    over = {
        "at once": asked(home),
        "after 7:59 hours": asked(home, LATER.format(wall=8 * HOURS - 60, boot=8 * HOURS - 60)),
        "after 8 hours": asked(home, LATER.format(wall=8 * HOURS + 1, boot=8 * HOURS + 1)),
        "after 8 hours, clock set back": asked(home, LATER.format(wall=0, boot=8 * HOURS + 1)),
        "after 8 hours on the wall": asked(home, LATER.format(wall=8 * HOURS + 1, boot=0)),
        "after another boot": asked(home, ANOTHER_BOOT),
        "8 hours after another boot": asked(home, ANOTHER_BOOT + LATER.format(wall=8 * HOURS + 1, boot=0)),
        "in another session": asked_in_another_session(home),
    }
    hours = {when for when in over if when.startswith(("after 8", "8"))}
    expected = {"once": set(over), "session": {"in another session"}, "hours": hours, "always": set[str]()}[span]
    assert {when for when, yes in over.items() if yes} == expected


def asked_in_another_session(home: world.World) -> bool:
    token = home.runtime / "intents" / "session"
    before = token.read_text()
    token.unlink()
    try:
        return asked(home)
    finally:
        token.write_text(before)


def test_once_is_this_instance_alone(home: world.World) -> None:
    assert starting.got(answer(home, net="deny always", notes="ALLOW this once")) == {"notes"}
    with starting.start(home, LOOK) as begun:
        begun.settle()
        assert begun.row(NOTES_TITLE) and not begun.row(NET_TITLE), "only what is open is asked"
        begun.go()
        assert starting.got(begun.ends(0)) == set()
    assert starting.got(starting.quietly(home, LOOK)) == set()


def test_deny_all_is_an_answer(home: world.World) -> None:
    with starting.start(home, LOOK) as begun:
        begun.choose(NOTES_TITLE, "ALLOW this session")
        begun.press("d")
        assert starting.got(begun.ends(0)) == set()
    assert starting.got(starting.quietly(home, LOOK, removed=WARM)) == set()


def test_a_pipe_stays_the_apps_while_the_terminal_is_asked(home: world.World) -> None:
    data = os.urandom(300_000)
    (home.base / "data").write_bytes(data)
    shell = f'cat {home.base}/data | "$@" | cat'
    for first in (True, False):
        with starting.start(home, "sha256sum", shell=shell, removed="" if first else WARM) as begun:
            if first:
                begun.press("s")
            assert hashlib.sha256(data).hexdigest() in begun.ends(0)


def test_an_answer_in_a_pipe_is_none(home: world.World) -> None:
    with starting.start(home, "cat", shell='yes s | head -c 100000 | "$@" | sha256sum') as begun:
        begun.settle()
        assert begun.process.poll() is None and not starting.events(home, What.DECISION)
        begun.press("s")
        assert hashlib.sha256(b"s\n" * 50000).hexdigest() in begun.ends(0)


def test_two_terminals_ask_once(home: world.World) -> None:
    with starting.start(home, LOOK) as first, starting.start(home, LOOK) as second:
        asking_one, waiting = (first, second) if shows_first(first, second) else (second, first)
        asking_one.choose(NET_TITLE, "ALLOW this session")
        assert not waiting.shows("START") and waiting.process.poll() is None
        asking_one.go()
        assert starting.got(asking_one.ends(0)) == {"net"}
        assert starting.got(waiting.ends(0)) == {"net"} and "START" not in waiting.shown
    assert len(starting.events(home, What.DECISION)) == 2


def shows_first(first: starting.Start, second: starting.Start) -> bool:
    """Whether the question is on the first of two terminals."""

    def shown() -> bool:
        second.pause(0.02)
        return first.shows("START") or second.shows("START")

    first.until(shown, "nobody is asked")
    return first.shows("START")


def test_plain_lines_ask_as_well(home: world.World) -> None:
    with starting.start(home, LOOK, environ={"INTENT_UI": "plain"}) as begun:
        for title, word in ((NET_TITLE, "no"), (NOTES_TITLE, "always")):
            begun.see(f"optional: {title}")
            begun.until(lambda: begun.lines()[begun.screen.cursor.y].startswith(">"), "no line is read")
            begun.send(f"{word}\n")
        assert starting.got(begun.ends(0)) == {"notes"}
    assert starting.got(starting.quietly(home, LOOK, removed=WARM)) == {"notes"}


def test_a_required_intent_is_needed_to_start() -> None:
    with starting.home(needs="notes") as home:
        with starting.start(home, LOOK) as begun:
            begun.press("s")
            begun.see("It does not start without ~/Notes")
            begun.press("d")
            assert "[required-intent-refused]" in begun.ends(126)
        assert control.states(home) == {"net": "denied", "notes": "denied"}
        with starting.start(home, LOOK) as begun:
            refused = begun.ends(126)
        assert "[required-intent-refused]" in refused and "LOOKED" not in refused
        starting.follow(home, refused)
        assert starting.got(starting.quietly(home, LOOK)) == {"notes"}


def test_an_app_that_asks_for_nothing_starts_at_once() -> None:
    with starting.home({}) as home:
        assert starting.got(starting.quietly(home, LOOK)) == set()
        assert starting.got(starting.quietly(home, LOOK, removed=WARM)) == set()
