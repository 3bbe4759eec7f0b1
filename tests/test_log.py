"""``intent-ctl log``: its filters, and that following it shows what happens and ends well."""

import json
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests import control
from tests.control import APP
from tests.real import world

FOLLOW = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background leaves it ignored
from broker import ctl, state
state._home = lambda _: {home!r}
raise SystemExit(ctl.main())
"""


@pytest.fixture
def home() -> Iterator[world.World]:
    """A world where nothing was decided, with an app whose publisher the user agreed to."""
    with control.home() as made:
        yield made


class Followed:
    """``intent-ctl log --follow`` as a process of its own."""

    def __init__(self, home: world.World, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", FOLLOW.format(home=str(home.home)), "log", "--follow", *words],
            env={**home.environ, "PYTHONPATH": str(world.ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout
        assert select.select([self.process.stdout], [], [], world.LIMIT)[0], "nothing is said"
        return self.process.stdout.readline()

    def end(self) -> tuple[int, str]:
        assert self.process.stderr
        return self.process.wait(world.LIMIT), self.process.stderr.read()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


Follow = Callable[..., Followed]


@pytest.fixture
def follow(home: world.World) -> Iterator[Follow]:
    made: list[Followed] = []

    def start(*words: str) -> Followed:
        made.append(Followed(home, *words))
        return made[-1]

    yield start
    for each in made:
        each.close()


def test_what_happens_is_told_when_it_happens(home: world.World, follow: Follow) -> None:
    shown = follow("--json")
    assert json.loads(shown.line())["what"] == "pin"
    control.done(home, "grant", APP, "notes")
    told = json.loads(shown.line())
    assert (told["what"], told["app"], told["body"]["intent"]) == ("decision", APP, "notes")
    control.done(home, "undo")
    assert json.loads(shown.line())["what"] == "undo"
    shown.process.send_signal(signal.SIGINT)
    assert shown.end() == (0, "")


def test_what_is_not_meant_is_not_told(home: world.World, follow: Follow) -> None:
    shown = follow(APP, "--what", "undo")
    control.done(home, "grant", APP, "notes")
    control.done(home, "undo")
    assert "undid 2" in shown.line()
    shown.process.send_signal(signal.SIGINT)
    assert shown.end() == (0, "")


def test_it_ends_when_nobody_listens_though_nothing_happens(follow: Follow) -> None:
    shown = follow()
    shown.line()
    assert shown.process.stdout
    shown.process.stdout.close()
    assert shown.end() == (0, "")


def test_a_journal_that_is_exchanged_is_said(home: world.World, follow: Follow) -> None:
    shown = follow("--json")
    shown.line()
    control.done(home, "doctor", "--new-journal")
    assert json.loads(shown.line())["error"]["code"] in ("journal-replaced", "journal-missing")
    assert shown.end() == (1, "")


def test_the_log_is_filtered(home: world.World) -> None:
    control.done(home, "grant", APP, "notes")
    control.done(home, "undo")
    assert whats(home, "--what", "decision", "--what", "undo") == ["decision", "undo"]
    assert whats(home, "--since", "2999-01-01") == []
    assert whats(home, "--since", "1h") == whats(home) == ["pin", "decision", "undo"]
    for words in (["--since", "x"], ["--since", "0h"], ["--what", "nothing"], ["--since", "2026-13-01"]):
        assert control.run(home, "log", *words)[0] == 2


def whats(home: world.World, *words: str) -> list[str]:
    events = control.data(home, "log", *words)["events"]
    assert isinstance(events, list)
    return [event["what"] for event in events]
