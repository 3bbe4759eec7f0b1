"""``intent-ctl`` without arguments on a real terminal: it shows what is there, and what is changed there is changed."""

import contextlib
import json
import os
import pwd
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator

import pyte
import pytest

from broker import history, journal, state
from broker.ui import keys
from tests import control, handshake
from tests.control import APP, NETWORK, NOTES
from tests.real import asking, terminal, world

pytestmark = pytest.mark.real

SIZES = {"80x24": (24, 80), "40x10": (10, 40)}
OTHER = "org.example.Other"
# What intent-ctl is in this world, and a word that the test knows.
PROGRAM = """
import secrets, sys
sys.path.insert(0, {root!r})
from broker import ctl, state
state._home = lambda _: {home!r}
secrets.choice = lambda words: {word!r}
raise SystemExit(ctl.main())
"""
INTENTS = {"net": NETWORK, "notes": {**NOTES, "access": "write"}, "keys": {**NOTES, "place": "home/.ssh"}}
LOOK = "cat ~/Notes/old || echo nothing; touch ~/Notes/new && echo written"


class Viewed(asking.Asked):
    """A terminal with the view on it."""

    def __init__(
        self, where: world.World, account: pwd.struct_passwd, size: tuple[int, int], shell: str, **environ: str
    ) -> None:
        self.screen = pyte.Screen(size[1], size[0])
        self.stream = pyte.Stream(self.screen)
        self.fed = 0
        command = ["/bin/sh", "-c", shell, "sh", *program(where)] if shell else program(where)
        environment = {**where.environ, "TERM": "xterm", **environ}
        terminal.Terminal.__init__(self, command, account, environment, size, owned=True)
        self.before = self.modes()

    def settle(self) -> None:
        """Wait until keys count."""
        self.until(
            lambda: self.lines()[-1].startswith("│") and not self.shows(asking.WAITING) and not self.shows("Reading"),
            f"keys do not count: {self.lines()}",
        )

    def press(self, *pressed: str) -> None:
        for key in pressed:
            super().press(key)
            self.pause(2 * keys.ALONE)

    def go(self, key: str, text: str) -> None:
        """Press until the text stands there: an end of what was typed before may swallow a key."""
        self.press(key)
        self.see(text)


def program(where: world.World) -> list[str]:
    return [sys.executable, "-c", PROGRAM.format(root=str(world.ROOT), home=str(where.home), word=asking.WORD)]


@contextlib.contextmanager
def owned(account: str) -> Iterator[world.World]:
    """A world of an account, with two apps and a few decisions."""
    entry = pwd.getpwnam(account)
    mine = entry.pw_uid == os.geteuid()
    with world.world(None if mine else "/srv") as made:
        for place in ("Notes", ".ssh"):
            (made.home / place).mkdir()
        (made.home / "Notes" / "old").write_text("kept\n")
        made.install(world.manifest([*world.SHELL, LOOK], INTENTS))
        made.install(world.manifest(["/bin/true"], {"net": NETWORK}, app_id=OTHER))
        control.done(made, "grant", OTHER, "net", "--for", "forever")
        control.done(made, "revoke", APP, "net")
        if not mine:
            for path in (made.base, *made.base.rglob("*")):
                os.lchown(path, entry.pw_uid, entry.pw_gid)
        yield made


Open = Callable[..., Viewed]


@pytest.fixture(params=terminal.accounts())
def account(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def home(account: str) -> Iterator[world.World]:
    with owned(account) as made:
        yield made


@pytest.fixture
def view(home: world.World, account: str) -> Iterator[Open]:
    opened: list[Viewed] = []

    def start(size: tuple[int, int] = (24, 80), shell: str = "", **environ: str) -> Viewed:
        opened.append(Viewed(home, pwd.getpwnam(account), size, shell, **environ))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def ctl(home: world.World, account: str, *words: str) -> dict[str, object]:
    """What a command prints, run by the same account."""
    entry = pwd.getpwnam(account)
    root = os.geteuid() == 0
    done = subprocess.run(
        [*program(home), *words, "--json"],
        env=home.environ,
        capture_output=True,
        timeout=world.LIMIT,
        check=True,
        user=entry.pw_uid if root else None,
        group=entry.pw_gid if root else None,
        extra_groups=[] if root else None,
    )
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def states(home: world.World, account: str) -> dict[str, str]:
    intents = ctl(home, account, "show", APP)["intents"]
    assert isinstance(intents, list)
    return {each["intent"]: each["state"] for each in intents}


def down_to(viewed: Viewed, text: str) -> None:
    """Go down until the cursor stands on the row that begins with the text."""
    viewed.settle()
    while not any(line.lstrip("│ ").startswith(f"> {text}") for line in viewed.lines()):
        before = viewed.lines()
        viewed.press("j")
        viewed.changed(before, f"there is no {text!r} to go down to")


def started(home: world.World, account: str) -> str:
    """What a real start of the app finds."""
    entry = pwd.getpwnam(account)
    root = os.geteuid() == 0
    done = subprocess.run(
        home.argv(APP),
        env=home.environ,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        start_new_session=True,
        timeout=world.LIMIT,
        check=False,
        user=entry.pw_uid if root else None,
        group=entry.pw_gid if root else None,
        extra_groups=[] if root else None,
    )
    return done.stdout.decode()


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_what_is_changed_there_is_changed(home: world.World, account: str, view: Open, size: tuple[int, int]) -> None:
    assert started(home, account) == "nothing\n"
    viewed = view(size)
    viewed.see("Permissions by app")
    down_to(viewed, APP)
    viewed.press("\r")
    down_to(viewed, "notes")
    viewed.press("\r")
    down_to(viewed, "( ) allow only ~/Notes")
    viewed.go(" ", "takes it back")
    assert states(home, account) == {"net": "denied", "notes": "partly", "keys": "open"}
    assert started(home, account) == "kept\n", "read, and not written"
    down_to(viewed, "( ) allow ~/Notes")
    viewed.go("t", "8 hours")
    viewed.go(" ", "takes it back")
    assert started(home, account) == "kept\nwritten\n"
    viewed.go("u", "Undo for")
    viewed.go(" ", "Undone")
    assert states(home, account)["notes"] == "partly"
    viewed.finish("q")
    assert viewed.wait() == 0 and viewed.modes() == viewed.before
    assert not viewed.shows("Permissions") and not viewed.shows("goes back")


def test_every_page_says_what_is_stored(home: world.World, view: Open) -> None:
    viewed = view()
    viewed.see(OTHER)
    assert [line for line in viewed.lines() if line] == [
        "│ Permissions by app",
        "│",
        f"│ > {APP}",
        '│       app says its name is "Example"',
        "│       denied: net   not decided: notes, keys",
        f"│   {OTHER}",
        '│       app says its name is "Example"',
        "│       allowed: net",
        *[line for line in viewed.lines() if "Keys count" in line],
        "│ Enter opens   Tab by permission   / search   u undo   h history   q leaves",
    ]
    viewed.go("\t", "Permissions by kind")
    assert viewed.shows("> network") and viewed.shows("allowed: 1, denied: 1")
    viewed.go("\r", "Which apps have network")
    assert viewed.shows(f"> {OTHER}   net   allowed always") and viewed.shows(f"{APP}   net   denied always")
    viewed.go("h", "What happened")
    assert viewed.shows("denied net (network scope=host), forever, by command")


def test_what_is_critical_takes_the_word(home: world.World, account: str, view: Open) -> None:
    viewed = view()
    viewed.see(APP)
    viewed.press("\r")
    down_to(viewed, "keys")
    viewed.press("\r")
    down_to(viewed, "( ) allow ~/.ssh")
    viewed.go(" ", "STOP  CRITICAL")
    reverse = [cell.reverse for cell in viewed.screen.buffer[0].values()]
    assert any(reverse), "it has a look of its own"
    viewed.hand("y\r")
    viewed.pause(5 * keys.SILENCE)
    viewed.hand(f"\x1b[200~{asking.WORD}\x1b[201~")
    viewed.pause(5 * keys.SILENCE)
    assert states(home, account)["keys"] == "open", "neither Enter nor a paste"
    for letter in asking.WORD:
        viewed.press(letter)
    viewed.see("takes it back")
    assert states(home, account)["keys"] == "allowed"
    viewed.go("u", "Undo for")
    viewed.go(" ", "Undone")
    viewed.go("h", "What happened")
    viewed.go("u", "(CRITICAL risk)")
    viewed.go(" ", "STOP  CRITICAL")
    assert states(home, account)["keys"] == "open"
    viewed.press("\x1b")
    viewed.see("space undoes it")


def test_a_search(view: Open) -> None:
    viewed = view()
    viewed.see(OTHER)
    viewed.press("/", *"other")
    viewed.until(lambda: viewed.shows(OTHER) and not viewed.shows(f"{APP}\n"))
    viewed.until(lambda: not any(line.endswith(APP) for line in viewed.lines()), "the other app is still there")
    viewed.go("\r", "found with: other")
    viewed.go("\r", "Lately")
    assert viewed.shows(OTHER)


@pytest.mark.parametrize("how", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_changes_nothing(home: world.World, account: str, view: Open, how: signal.Signals) -> None:
    viewed = view()
    viewed.see(APP)
    before = states(home, account)
    viewed.process.send_signal(how)
    viewed.wait()
    assert viewed.modes() == viewed.before and states(home, account) == before


def test_a_terminal_that_goes_away_ends_it(view: Open) -> None:
    viewed = view()
    viewed.see(APP)
    viewed.hang_up()
    assert viewed.process.wait(world.LIMIT) in (0, -signal.SIGHUP)


def test_it_can_be_stopped_and_goes_on(view: Open) -> None:
    viewed = view(shell='set -m; "$@"; echo STOPPED; stty -a | grep -o "[-]*icanon"; read line; fg')
    viewed.see(APP)
    viewed.press("\x1a")
    viewed.see("STOPPED")
    viewed.see("icanon")
    assert not viewed.shows("-icanon") and not viewed.shows("Permissions")
    seen = len(viewed.shown)
    viewed.send("\n")
    viewed.until(lambda: asking.WAITING in viewed.shown[seen:], "it does not stand before keys count")
    viewed.go("\r", "Lately")


def test_after_a_resize_the_cursor_is_still_seen(view: Open) -> None:
    viewed = view((24, 80))
    viewed.see(OTHER)
    viewed.press("j")
    viewed.until(lambda: viewed.shows(f"> {OTHER}"))
    viewed.resized(10, 40)
    viewed.until(lambda: viewed.shows(f"> {OTHER}") and viewed.shows("leaves"), "it is not drawn anew")
    assert all(len(line) <= 40 for line in viewed.lines())
    viewed.resized(24, 80)
    viewed.until(lambda: viewed.shows("Tab by permission   / search   u undo   h history   q leaves"))


def test_what_was_typed_before_is_not_a_key(home: world.World, account: str, view: Open) -> None:
    viewed = view()
    viewed.send("\r\r ")
    viewed.see("Permissions by app")
    viewed.settle()
    assert viewed.shows("Permissions by app") and states(home, account)["net"] == "denied"


def test_it_is_drawn_without_colours(view: Open) -> None:
    for environ in ({}, {"NO_COLOR": "1"}):
        viewed = view(**environ)
        viewed.see(APP)
        assert {cell.fg for row in viewed.screen.buffer.values() for cell in row.values()} <= {"default"}


@pytest.mark.parametrize("environ", [{"TERM": "dumb"}, {"INTENT_UI": "plain"}])
def test_without_a_screen_it_is_a_command_line_that_lacks_a_command(view: Open, environ: dict[str, str]) -> None:
    viewed = view(**environ)
    assert viewed.wait() == 2 and "[usage]" in viewed.shown
    small = view((8, 39))
    assert small.wait() == 2


def test_nothing_stored_can_move_the_cursor() -> None:
    account = pwd.getpwuid(os.geteuid())
    with owned(account.pw_name) as home:
        with journal.Journal.open(home.places) as book:
            body: dict[str, object] = {"intent": handshake.ESCAPES, "asked": {"kind": handshake.ESCAPES}}
            entry = history.Entry(what=history.What.DECISION, app=APP, lineage="0" * 16, body=body)
            book.record(state.clock(home.places), [entry])
        with contextlib.closing(Viewed(home, account, (24, 80), "")) as viewed:
            viewed.see(APP)
            viewed.go("h", "What happened")
            assert viewed.shows("\\x1b[2J")
            assert not any(raw in viewed.shown for raw in ("\x1b]0;owned", "\u202e", "\x9b2K"))


def test_the_modes_are_taken_back(view: Open) -> None:
    viewed = view()
    viewed.see(APP)
    assert not viewed.modes()[3] & termios.ICANON
    viewed.finish("q")
    assert viewed.wait() == 0 and viewed.modes() == viewed.before
