"""A running app that works against a change of what it may do: plants links, moves places, starts meanwhile."""

import contextlib
import os
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from broker import inside, mounts, runs
from tests import control
from tests.control import APP
from tests.real import lively, peers, world

pytestmark = pytest.mark.real

SECONDS = 40 if os.environ.get("INTENTS_CI") == "1" else 6  # of grants and revocations against an app that moves things
INTENTS = {
    "kept": {"kind": "path", "place": "home/A/kept", "access": "write"},
    "deep": {"kind": "path", "place": "home/Deep/place", "access": "read"},
}
# Everything that an app can do to the way to a place in its own home, as fast as it can.
HOSTILE = """
import os, random
home = os.environ["HOME"]
os.chdir(home)
def attempt(what, *words):
    try: what(*words)
    except OSError: pass
def within(what):  # through no link: what is made in .config is not made by the app
    at = os.open("Deep", os.O_DIRECTORY | os.O_NOFOLLOW)
    try: what(at)
    finally: os.close(at)
ways = [
    lambda: attempt(os.rename, "Deep", "Other"), lambda: attempt(os.rename, "Other", "Deep"),
    lambda: attempt(os.rename, "A", "Deep"), lambda: attempt(os.rename, "Deep", "A"),
    lambda: attempt(os.symlink, ".config", "Deep"), lambda: attempt(os.symlink, "A/kept", "Deep"),
    lambda: attempt(os.symlink, "/proc/self/root/etc", "Deep"), lambda: attempt(os.mkdir, "Deep"),
    lambda: attempt(os.unlink, "Deep"), lambda: attempt(os.rmdir, "Deep"),
    lambda: attempt(within, lambda at: os.symlink("../.config", "place", dir_fd=at)),
    lambda: attempt(within, lambda at: os.mkdir("place", dir_fd=at)),
    lambda: attempt(within, lambda at: os.rmdir("place", dir_fd=at)),
    lambda: attempt(within, lambda at: os.unlink("place", dir_fd=at)),
]
open(".local/state/up", "w").close()
while True:
    random.choice(ways)()
"""


@pytest.fixture
def home() -> Iterator[world.World]:
    with world.world() as made:
        for name in ("A/kept", "Deep/place", "secret"):
            (made.home / name).mkdir(parents=True)
            (made.home / name / "file").write_text(name)
        made.install(world.manifest(world.SHELL, INTENTS, interface="window"))
        made.decide("kept")
        yield made


def shown(app: lively.App, table: tuple[mounts.Mount, ...]) -> set[tuple[str, str]]:
    """Which objects of this machine are mounted in it."""
    with inside.door(app.instance) as way:
        return {(each.device, each.root) for each in inside.table(way) if not inside.made(each, table)}


def test_a_hostile_app_turns_no_change_against_anything_else(home: world.World) -> None:
    host = mounts.read()
    place = str(home.home / "Deep" / "place")
    wanted, kept = mounts.identity(place, host), mounts.identity(str(home.home / "A" / "kept"), host)
    script = f"exec /usr/bin/python3 -I -S -c '{HOSTILE}'"
    with lively.running(home, script) as app:
        peers.eventually((app.state / "up").exists, "the app")
        first, given, taken = shown(app, host), 0, 0
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            with inside.door(app.instance) as way:
                given += _give(way, place, host)
                now = {(each.device, each.root) for each in inside.table(way) if not inside.made(each, host)}
                assert kept in now and now <= first | {wanted}
                taken += _take(way, wanted, host)
                now = {(each.device, each.root) for each in inside.table(way) if not inside.made(each, host)}
                assert kept in now and now <= first | {wanted}
        assert given > 20 and taken > 20, "the app left no chance at all: nothing was tried"
        assert mounts.read() == host, "nothing is mounted here"
        assert os.listdir(home.own("config")) == [], "nothing was made in its own directories"
        for name in ("A/kept", "Deep/place", "secret"):
            assert os.listdir(home.home / name) == ["file"]
        assert sorted(os.listdir(home.home)) == sorted([".config", ".local", "A", "Deep", "secret"])
        # And against all that, the command still ends, and says the truth.
        control.run(home, "grant", APP, "deep", "--now")
        control.run(home, "revoke", APP, "deep", "--now")
        assert (wanted in shown(app, host)) == (control.run(home, "revoke", APP, "deep", "--now")[0] == 1)


def _give(way: inside.Door, place: str, host: tuple[mounts.Mount, ...]) -> bool:
    (tree,) = inside.trees([inside.Source(path=place, write=False)])
    assert isinstance(tree, int)
    try:
        holder = inside.holder(inside.table(way), place)
        if not inside.made(holder, host):
            return False
        return inside.change(way, [inside.Give(tree=tree, dest=place, holder=holder)]) == [None]
    finally:
        os.close(tree)


def _take(way: inside.Door, wanted: tuple[str, str], host: tuple[mounts.Mount, ...]) -> bool:
    table = inside.table(way)
    found = [each for each in table if (each.device, each.root) == wanted]
    by_number = {each.number: each for each in table}
    steps = [inside.Take(mount=each.number, point=each.point, holder=by_number.get(each.above)) for each in found]
    return bool(steps) and all(error is None for error in inside.change(way, steps))


def test_a_planted_link_is_not_followed(home: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    with lively.running(home) as app:
        app.says("cd ~; ln -s .config Deep")
        row = control.data(home, "grant", APP, "deep", "--now")["now"][0]  # type: ignore[index]
        assert row["changed"] == [] and "at its next start" in row["later"][0]["why"]
        assert os.listdir(home.own("config")) == []
        # The same by names and through links: the mount point is made in the app's directory on this machine.
        monkeypatch.setattr(inside, "RESOLVE", 0x10)
        monkeypatch.setattr(inside, "_give", _naive)
        row = control.data(home, "grant", APP, "deep", "--now")["now"][0]  # type: ignore[index]
        assert os.listdir(home.own("config")) == ["place"]
        assert app.says("cat ~/.config/place/file") == "Deep/place"


def _naive(root: int, known: int, step: inside.Give) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(step.dest)
    inside._call(inside._MOVE_MOUNT, step.tree, b"", inside._open(root, step.dest), b"", inside._BOTH_EMPTY)


def test_what_was_moved_to_a_place_is_not_taken_for_what_stood_there(
    home: world.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = mounts.read()
    home.decide()
    kept = mounts.identity(str(home.home / "A" / "kept"), host)
    with lively.running(home) as app, inside.door(app.instance) as way:
        deep = next(each for each in inside.table(way) if each.point == f"{home.home}/Deep/place")
        app.says("cd ~; mv Deep Other; mv A Deep; mkdir Deep/place; mv Deep/kept Deep/place 2>&1")
        stale = inside.Take(mount=deep.number, point=f"{home.home}/Deep/kept", holder=None)
        (error,) = inside.change(way, [stale])
        assert error and error.errno == inside.MOVED and kept in shown(app, host)
        row = control.data(home, "revoke", APP, "deep", "--now")["now"][0]  # type: ignore[index]
        assert [each["after"] for each in row["changed"]] == [None], "found where it was moved to"
        assert kept in shown(app, host)
        monkeypatch.setattr(inside, "_number", lambda _known, _handle: deep.number)
        assert inside.change(way, [stale]) == [None] and kept not in shown(app, host)


def test_what_the_app_keeps_at_a_place_is_hidden_or_in_the_way_and_never_the_users(home: world.World) -> None:
    with lively.running(home) as app:
        app.says("mkdir -p ~/Deep/place; echo mine >~/Deep/place/own")
        control.done(home, "grant", APP, "deep", "--now")
        assert app.says("ls ~/Deep/place") == "file\n"
        control.done(home, "revoke", APP, "deep", "--now")
        assert app.says("cat ~/Deep/place/own") == "mine\n"
        app.says("rm -r ~/Deep/place; echo file >~/Deep/place")
        row = control.data(home, "grant", APP, "deep", "--now")["now"][0]  # type: ignore[index]
        assert row["changed"] == [] and row["later"] and app.says("cat ~/Deep/place") == "file\n"


def test_an_app_that_ends_meanwhile_is_no_error(home: world.World) -> None:
    home.decide()
    for _ in range(5):
        with lively.running(home) as app:
            killer = threading.Timer(0.05, os.kill, (app.instance.first, 9))
            killer.start()
            for _ in range(20):
                status, _, said = control.run(home, "revoke", APP, "deep", "--now")
                assert said == "" and status in (0, 1)
                control.run(home, "grant", APP, "deep", "--now")
            killer.join()


# A start that stands still between reading the decisions and leaving its record.
SLOW = """
import os, time
from broker import launch
real = launch._record
def record(settings, proxy):
    open(os.environ["WAIT"] + ".here", "w").close()
    while not os.path.exists(os.environ["WAIT"]):
        time.sleep(0.01)
    return real(settings, proxy)
launch._record = record
"""


@pytest.mark.parametrize("checked", [True, False])
def test_a_start_that_read_the_decisions_before_does_not_keep_what_was_revoked(
    home: world.World, checked: bool, tmp_path: pathlib.Path
) -> None:
    wait = home.base / "go"
    unchecked = "" if checked else "launch.holds = lambda guards: True\n"
    argv = home.argv(APP, "cat ~/A/kept/file", removed=SLOW + unchecked)
    env = {**home.environ, "WAIT": str(wait)}
    started = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    peers.eventually(pathlib.Path(f"{wait}.here").exists, "the start")
    assert control.data(home, "revoke", APP, "kept", "--now")["now"] == [], "it has no record yet"
    wait.touch()
    out, err = started.communicate(timeout=world.LIMIT)
    assert (b"[decisions-changed]" in err, out) == ((True, b"") if checked else (False, b"A/kept"))
    assert runs.instances(home.places) == ()


def test_what_is_about_to_start_is_waited_for(home: world.World) -> None:
    """With its record written it is an instance: the revocation reaches it as soon as it is one."""
    wait = home.base / "go"
    slow = SLOW.replace("launch._record = record", "").replace("return real(settings, proxy)", "return handle")
    slow = slow.replace("(settings, proxy):", "(settings, proxy):\n    handle = real(settings, proxy)")
    slow += "launch._record = record\nlaunch.holds = lambda guards: True\n"
    env = {**home.environ, "WAIT": str(wait)}
    argv = home.argv(APP, lively.SERVE, removed=slow)
    quiet = subprocess.DEVNULL
    started = subprocess.Popen(argv, env=env, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    peers.eventually(pathlib.Path(f"{wait}.here").exists, "the start")
    threading.Timer(0.3, wait.touch).start()
    try:
        (row,) = control.data(home, "revoke", APP, "kept", "--now")["now"]  # type: ignore[misc]
        assert [each["after"] for each in row["changed"]] == [None]
    finally:
        control.done(home, "stop", APP, "--kill")
        started.wait(peers.PATIENCE)


def test_grants_and_revocations_at_once_end_as_the_journal_says(home: world.World) -> None:
    with lively.running(home) as app:
        words = [("grant", APP, "deep", "--now", "--for", "forever"), ("revoke", APP, "deep", "--now")]
        program = f"""
import sys
sys.path.insert(0, {str(world.ROOT)!r})
from broker import ctl, state
state._home = lambda euid: {str(home.home)!r}
sys.exit(ctl.main())
"""
        argv = [[sys.executable, "-c", program, *words[at % 2]] for at in range(8)]
        many = [subprocess.Popen(each, env=home.environ, stdout=subprocess.DEVNULL) for each in argv]
        assert {one.wait(peers.PATIENCE) for one in many} <= {0}
        allowed = control.states(home)["deep"] == "allowed"
        assert app.reaches(home.home / "Deep" / "place")[0] == allowed
