"""A start that cannot ask or cannot begin: its sentence, its exit status, and nothing else (SPEC §8.4, §11.1)."""

import pathlib
import signal
import subprocess
from collections.abc import Iterator

import pytest

from broker.history import What
from tests import control
from tests.real import peers, starting, world
from tests.real.starting import BOTH, LOOK, NOTES_TITLE, WARM
from tests.real.world import APP

pytestmark = pytest.mark.real

BACKGROUND = 'set -m; "$@" & wait $!'
BUS = {"bus": {"kind": "dbus", "bus": "session", "talk": ["org.example.Service"]}}
WINDOW = {"window": {"kind": "display", "protocol": "wayland"}}
STARTED = "touch ~/.config/started; echo STARTED"
OTHER_PROXY = """
from broker import programs
_find = programs.find
programs.find = lambda name, *rest: {path!r} if name == "xdg-dbus-proxy" else _find(name, *rest)
"""


@pytest.fixture
def home() -> Iterator[world.World]:
    with starting.home() as made:
        yield made


def run(home: world.World, *words: str, removed: str = "", shell: str = "") -> subprocess.CompletedProcess[bytes]:
    """intent-run with these words and without a terminal."""
    argv = starting.command(home, *words, removed=removed)
    argv = ["/bin/sh", "-c", shell, "sh", *argv] if shell else argv
    return subprocess.run(
        argv,
        env=home.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        start_new_session=True,
        timeout=world.LIMIT,
        check=False,
    )


def said(done: subprocess.CompletedProcess[bytes], status: int) -> str:
    """What is on standard error of a start that ended like this without starting the app."""
    assert (done.returncode, done.stdout) == (status, b""), done
    return done.stderr.decode()


def nothing_started(home: world.World) -> bool:
    """Whether no app ever ran."""
    touched = list(pathlib.Path(home.places.data, "apps").glob("*/config/started"))
    return not touched and control.data(home, "ps")["instances"] == []


def test_with_nobody_to_ask_it_starts_with_what_is_stored(home: world.World) -> None:
    done = home.start(LOOK)
    before = starting.events(home)
    assert done.returncode == 0 and starting.got(done.stdout.decode()) == set()
    line = f"intent-run: Example starts without net, notes; to answer: `intent-ctl pending {APP}`, or "
    line += f"`intent-ctl grant {APP} net notes`"
    assert [each for each in done.stderr.decode().splitlines() if each.startswith("intent-run")] == [line]
    assert starting.got(home.says(LOOK)) == set() and starting.events(home) == before, "the question is queued once"
    assert not list(pathlib.Path(home.places.state, "plans").glob("*.pipe")), "the next start on a terminal still asks"
    starting.follow(home, line)
    assert starting.got(home.says(LOOK)) == {"net", "notes"}
    assert starting.got(home.says(LOOK)) == {"net", "notes"}


def test_with_nobody_to_ask_a_required_intent_is_named_with_its_command() -> None:
    with starting.home(needs="notes") as home:
        for _ in range(3):
            refused = said(home.start(STARTED, data=b"yes\n"), 126)
            assert "[no-way-to-ask]" in refused and f"intent-ctl grant {APP} notes`\n" in refused
        assert [event.body["asked"] for event in starting.events(home, What.DECISION, What.PENDING)] == [False]
        assert nothing_started(home) and "`intent-ctl pending org.example.App`" in refused
        starting.follow(home, refused)
        assert starting.got(home.says(LOOK)) == {"notes"}


def test_a_critical_intent_takes_one_more_step() -> None:
    keys = {"keys": {"kind": "path", "place": "home/.ssh", "access": "read"}}
    with starting.home(keys, needs="keys") as home:
        (home.home / ".ssh").mkdir()
        (home.home / ".ssh" / "id").write_text("key")
        refused = said(home.start("cat ~/.ssh/id"), 126)
        status, _, error = control.run(home, "grant", APP, "keys")
        assert f"grant {APP} keys" in refused and status == 1 and "[not-confirmed]" in error
        assert "--confirm keys" in error
        starting.follow(home, refused.replace(f"{APP} keys", f"{APP} keys --confirm keys"))
        assert home.says("cat ~/.ssh/id") == "key"


def test_a_job_in_the_background_is_not_asked() -> None:
    with starting.home(needs="notes") as home:
        with starting.start(home, STARTED, shell=BACKGROUND) as begun:
            assert "[no-way-to-ask]" in begun.ends(126)
        assert starting.events(home, What.DECISION) == [] and starting.pending(home) == 0 and nothing_started(home)


def test_a_start_that_nobody_hears_is_a_start(home: world.World) -> None:
    assert run(home, APP, "exit 7", shell='exec "$@" 2>&-').returncode == 7


@pytest.mark.parametrize("status", [0, 7, 125, 255])
def test_the_status_is_the_apps_own(home: world.World, status: int) -> None:
    home.decide()
    for removed in ("", WARM):
        with starting.start(home, f"exit {status}", removed=removed) as begun:
            begun.ends(status)
        assert home.start(f"exit {status}").returncode == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_app_ends_as_a_shell_says_it(home: world.World, number: signal.Signals) -> None:
    home.decide()
    with starting.start(home, f"kill -{int(number)} $$") as begun:
        begun.ends(128 + number)
    assert home.start(f"kill -{int(number)} $$").returncode == 128 + number


def test_a_missing_program_is_127_and_says_how_to_get_it() -> None:
    text = starting.manifest({}, command=["/usr/bin/no-such-program"], serial=2)
    text = text.replace("serial", 'packages = { apt = "nosuch", dnf = "no-such" }\nserial')
    with starting.home({}) as home:
        control.publish(home, text, control.OTHER_KEY)
        missing = said(home.start(), 127)
        assert "`/usr/bin/no-such-program`" in missing and "[program-missing]" in missing
        assert "`apt install nosuch`" in missing and "`dnf install no-such`" in missing
        with starting.start(home) as begun:
            assert "[program-missing]" in begun.ends(127)


@pytest.mark.parametrize("name", ["org.example.Nobody", "nobody", "./nobody.toml", "no/body", "..", "\x1b[2J"])
def test_an_unknown_app_is_127(home: world.World, name: str) -> None:
    found = said(home.start(name=name), 127)
    assert "[manifest-not-found]" in found and "\x1b" not in found


@pytest.mark.parametrize("words", [[], ["--no-such-option", APP], ["-u", APP], ["--"]])
def test_a_wrong_command_line_is_2(home: world.World, words: list[str]) -> None:
    assert said(run(home, *words), 2).startswith("usage: intent-run")


@pytest.mark.parametrize("broken", ["ends at once", "is no program"])
def test_a_broken_bus_filter_starts_nothing(broken: str) -> None:
    with starting.home(BUS) as home, peers.message_bus(home.base, f"unix:path={home.base}/session-bus", {}) as address:
        peers.eventually((home.base / "session-bus").exists, "the bus")
        home.environ["DBUS_SESSION_BUS_ADDRESS"] = address
        home.decide()
        program = home.base / "filter"
        program.write_text("#!/bin/false\n" if broken == "ends at once" else "")
        program.chmod(0o755)
        removed = OTHER_PROXY.format(path=str(program))
        refused = said(run(home, APP, STARTED, removed=removed), 125)
        assert "[companion-failed]" in refused and f"`{program}`" in refused
        with starting.start(home, STARTED, removed=removed) as begun:
            shown = begun.ends(125)
        assert "[companion-failed]" in shown and "STARTED" not in shown
        assert nothing_started(home)
        program.write_text('#!/bin/sh\nexec xdg-dbus-proxy "$@"\n')
        assert run(home, APP, STARTED, removed=removed).stdout == b"STARTED\n"


@pytest.mark.parametrize("needs", ["window", ""])
def test_a_missing_compositor_is_said_before_anything_starts(needs: str) -> None:
    with starting.home(WINDOW, needs=needs) as home:
        home.decide()
        done = home.start(STARTED, environ={"WAYLAND_DISPLAY": "wayland-7"})
        if needs:
            assert "[no-wayland]" in said(done, 125) and nothing_started(home)
        else:
            assert (done.returncode, done.stdout) == (0, b"STARTED\n")
            assert done.stderr.startswith(b"intent-run: `window` is granted but not given: ")
            assert not list(pathlib.Path(home.places.state, "plans").glob(f"{APP}.pipe")), "no plan lacks a grant"


def test_a_granted_place_that_is_gone_is_said(home: world.World) -> None:
    home.decide("notes")
    (home.home / "Notes").rename(home.home / "Away")
    done = home.start(LOOK)
    assert done.returncode == 0 and starting.got(done.stdout.decode()) == set()
    assert b"notes" in done.stderr


def test_what_is_stored_is_used_where_nobody_can_be_asked(home: world.World) -> None:
    with starting.start(home, LOOK) as begun:
        begun.choose(NOTES_TITLE, "ALLOW always")
        begun.go()
        begun.ends(0)
    done = home.start(LOOK)
    assert starting.got(done.stdout.decode()) == {"notes"} and b"intent-run" not in done.stderr
    assert control.states(home) == {name: "allowed" if name == "notes" else "denied" for name in BOTH}
