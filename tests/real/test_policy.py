"""Real starts under an administrator's policy: what it locks is not asked and not given, from the next start on."""

import pathlib
import subprocess
from collections.abc import Callable, Iterator

import pytest

from broker.history import What
from intents import model
from tests import control, ruled
from tests.real import starting, world
from tests.real.starting import LOOK, NET_TITLE, NOTES_TITLE, WARM

pytestmark = pytest.mark.real

NO_NETWORK = ruled.rule("network", "deny", reason="No network on exam machines.")
ONLY_READ = ruled.rule("path", "deny", place="home/Notes", access="write", reason="Notes are kept as they are.")
# Rules are read, and their files forgotten.
UNGUARDED = """
import dataclasses
_load = policy.load
policy.load = lambda environ: dataclasses.replace(_load(environ), guards=())
"""


@pytest.fixture
def home() -> Iterator[world.World]:
    with starting.home() as made:
        yield made


def look(where: world.World, removed: str = "") -> set[str]:
    """What the app gets at a start at which nobody is asked."""
    return starting.got(starting.quietly(where, LOOK, removed=ruled.prelude(where) + removed))


def has_plan(where: world.World) -> bool:
    """Whether a start would use the plan that is stored; nothing else can start the app then."""
    with starting.start(where, "true", removed=WARM) as begun:
        status = begun.wait()
        assert status == 0 or "broker.session halted" in begun.shown
        return status == 0


def test_a_plan_is_over_when_a_policy_appears_changes_or_goes(home: world.World) -> None:
    home.decide()
    assert look(home) == {"net", "notes"} and has_plan(home)
    path = ruled.write(home, NO_NETWORK)
    assert not has_plan(home)
    assert look(home) == {"notes"} and has_plan(home)
    path.write_text(ruled.rule("path", "deny"))
    assert not has_plan(home)
    assert look(home) == {"net"} and has_plan(home)
    other = ruled.write(home, NO_NETWORK, name="20.toml")
    assert not has_plan(home)
    assert look(home) == set() and has_plan(home)
    other.unlink()
    path.unlink()
    assert not has_plan(home)
    path.parent.rmdir()
    assert look(home) == {"net", "notes"} and has_plan(home)


def test_without_its_guards_a_plan_would_outlive_the_policy(home: world.World) -> None:
    home.decide()
    assert look(home, UNGUARDED) == {"net", "notes"}
    ruled.write(home, NO_NETWORK)
    assert has_plan(home) and look(home, UNGUARDED) == {"net", "notes"}


def test_what_is_locked_is_shown_and_not_asked(home: world.World) -> None:
    ruled.write(home, NO_NETWORK)
    with starting.start(home, LOOK, removed=ruled.prelude(home)) as begun:
        begun.settle()
        assert begun.shows("Locked by the administrator, denied: whole network.")
        assert begun.shows("Reason: “No network on") and begun.shows("exam machines.”")
        assert not begun.row(NET_TITLE) and begun.row(NOTES_TITLE)
        begun.choose(NOTES_TITLE, "ALLOW this session")
        begun.go()
        assert starting.got(begun.ends(0)) == {"notes"}
    assert {each.intent_id for each in control.decisions(home)} == {"notes"}
    assert look(home) == {"notes"}


def test_a_folder_that_is_locked_to_reading_is_asked_and_given_to_read(home: world.World) -> None:
    ruled.write(home, ONLY_READ, NO_NETWORK)
    with starting.start(home, LOOK, removed=ruled.prelude(home)) as begun:
        begun.settle()
        assert begun.shows("denied: ~/Notes, in part") and begun.shows("It can read everything in ~/Notes.")
        begun.choose(NOTES_TITLE, "ALLOW always")
        begun.go()
        shown = begun.ends(0)
    assert "Read-only file system" in shown and not (home.home / "Notes" / "new").exists()
    assert "old notes" in starting.quietly(home, "cat ~/Notes/old", removed=WARM)
    assert not (home.home / "Notes" / "new").exists()


def test_what_the_administrator_allows_is_given_without_a_question(home: world.World) -> None:
    both = [ruled.rule("network", "allow", app=world.APP), ruled.rule("path", "allow", app=world.APP, locked=False)]
    ruled.write(home, *both)
    assert look(home) == {"net", "notes"} and has_plan(home)
    assert starting.events(home, What.DECISION) == []
    home.decide("notes", effect=model.Effect.DENY)
    home.decide("net", effect=model.Effect.DENY)
    assert look(home) == {"net"}, "the default gives way to the user, the lock does not"


def test_a_required_intent_that_is_locked_away_stops_the_start_before_a_question() -> None:
    with starting.home(needs="net") as home:
        path = ruled.write(home, NO_NETWORK)
        with starting.start(home, LOOK, removed=ruled.prelude(home)) as begun:
            shown = begun.ends(126)
        assert "[refused-by-policy]" in shown and "No network on exam machines." in shown and f"{path}:1" in shown
        assert "asks" not in shown and "LOOKED" not in shown
        assert starting.events(home, What.DECISION, What.PENDING) == []
        with ruled.here(home):
            assert "It would not start: Example needs `net`" in control.done(home, "show", world.APP)


def test_a_policy_that_changes_while_it_is_asked_stops_the_start(home: world.World) -> None:
    with starting.start(home, LOOK, removed=ruled.prelude(home)) as begun:
        begun.choose(NET_TITLE, "ALLOW this session")
        begun.choose(NOTES_TITLE, "ALLOW this session")
        ruled.write(home, NO_NETWORK)
        begun.go()
        shown = begun.ends(126)
    assert "[policy-changed]" in shown and "LOOKED" not in shown
    assert look(home) == {"notes"}, "what was answered is kept, and the policy counts"


def _break(path: pathlib.Path) -> None:
    path.write_text("nonsense")


@pytest.mark.parametrize(
    ("change", "code"),
    [(lambda path: path.chmod(0o666), "unsafe-policy"), (_break, "bad-policy")],
    ids=["unsafe", "broken"],
)
def test_a_policy_that_cannot_be_taken_for_one_stops_every_start(
    home: world.World, change: Callable[[pathlib.Path], None], code: str
) -> None:
    home.decide()
    path = ruled.write(home, NO_NETWORK)
    assert look(home) == {"notes"} and has_plan(home)
    change(path)
    assert not has_plan(home)
    with starting.start(home, LOOK, removed=ruled.prelude(home)) as begun:
        shown = begun.ends(125)
    assert f"[{code}]" in shown and str(path) in shown and "LOOKED" not in shown


def test_no_rule_gives_an_unsigned_app_anything(home: world.World) -> None:
    ruled.write(home, ruled.rule("network", "allow", app=world.APP))
    assert look_unasked(home) == {"net"}
    control.publish(home, starting.manifest(serial=2), None)
    with starting.start(home, LOOK, removed=ruled.prelude(home), options=("--unsigned",)) as begun:
        begun.settle()
        assert begun.row(NET_TITLE) and not begun.shows("administrator")
        begun.finish("l")
        begun.ends(126)


def look_unasked(home: world.World) -> set[str]:
    """What the app gets where nobody can be asked."""
    argv = starting.command(home, world.APP, LOOK, removed=ruled.prelude(home))
    done = subprocess.run(
        argv, env=home.environ, stdin=subprocess.DEVNULL, capture_output=True, start_new_session=True, check=False
    )
    return starting.got(done.stdout.decode() + done.stderr.decode())
