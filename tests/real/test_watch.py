"""Questions on a terminal as they come, what was answered there as a script, and the script over the socket (§11.5)."""

import json
import os
import pathlib
import pwd
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pyte
import pytest

from broker import protocol
from broker.history import What
from tests import control
from tests.real import serving, starting, terminal, world
from tests.real.starting import LOOK, NET_TITLE, NOTES_TITLE

pytestmark = pytest.mark.real

APP = world.APP
OTHER = "org.example.Other"
READ_ONLY = {"kind": "path", "place": "home/Notes", "access": "read"}
DOCUMENT = (world.ROOT / "docs" / "protocol.md").read_text("utf-8")


@pytest.fixture
def home() -> Iterator[world.World]:
    with starting.home() as made:
        yield made


class Watch(starting.Start):
    """A terminal with ``intent-ctl watch`` on it."""

    def __init__(self, where: world.World, *words: str, environ: Mapping[str, str] | None = None) -> None:
        self.screen = pyte.Screen(starting.SIZE[1], starting.SIZE[0])
        self.stream = pyte.Stream(self.screen)
        self.fed = 0
        environment = {**where.environ, "TERM": "xterm", **(environ or {})}
        argv = serving.argv(where, "watch", *words)
        account = pwd.getpwuid(os.geteuid())
        terminal.Terminal.__init__(self, argv, account, environment, starting.SIZE, owned=True)
        self.before = self.modes()

    def close_question(self) -> None:
        """Decide later."""
        self.settle()
        self.hand("l")
        self.until(lambda: self.shows("Left open"), f"it is not closed: {self.lines()}")

    def leave(self) -> str:
        """End it by Ctrl-C between two questions; what it showed."""
        self.send("\x03")
        return self.ends(0)


@contextmanager
def watching(where: world.World, *words: str) -> Iterator[Watch]:
    begun = Watch(where, *words)
    try:
        begun.see("Waiting for questions")
        yield begun
    finally:
        begun.close()


def decided(home: world.World) -> dict[str, object]:
    """What of each intent is granted by the newest decisions."""
    return {str(event.body["intent"]): event.body["granted"] for event in starting.events(home, What.DECISION)}


def test_a_question_comes_and_is_answered(home: world.World) -> None:
    with watching(home) as begun:
        assert starting.got(home.says(LOOK)) == set(), "the start does not wait"
        begun.choose(NET_TITLE, "ALLOW this session")
        begun.go()
        begun.see(f"Answered: intent-ctl show {APP}")
        assert starting.got(home.says(LOOK)) == {"net"}
        begun.leave()
    assert decided(home) == {"net": starting.NETWORK, "notes": None}
    assert starting.events(home, What.DECISION)[0].body["source"] == "prompt"


def test_prompt_flooding(home: world.World) -> None:
    """Two apps have their questions one after the other, and one that is left open does not come again."""
    text = world.manifest(world.SHELL, {"net": starting.NETWORK}, app_id=OTHER)
    home.install(text)
    with watching(home) as begun:
        home.start("true")
        home.start("true", name=OTHER)
        begun.settle()
        first, second = (APP, OTHER) if begun.shows(f"{APP} asks") else (OTHER, APP)
        assert not begun.shows(f"{second} asks")
        begun.close_question()
        begun.see(f"Left open: intent-ctl pending {first}")
        begun.until(lambda: begun.shows(f"{second} asks"), "the second does not come")
        begun.settle()
        begun.hand("l")
        begun.see(f"Left open: intent-ctl pending {second}")
        for _ in range(2):
            home.start("true")
        begun.pause(2)
        assert not begun.shows("asks what it may do")
        begun.leave()
    assert starting.pending(home, APP) == starting.pending(home, OTHER) == 1
    assert starting.events(home, What.DECISION) == []


def test_prompt_answered_after_it_became_moot(home: world.World) -> None:
    """A question that is answered elsewhere leaves the terminal, and what comes next is put there."""
    home.start("true")
    with watching(home) as begun:
        begun.settle()
        (one,) = control.data(home, "pending")["questions"]  # type: ignore[misc]
        control.done(home, "answer", APP, one["shown"], "net=deny", "notes=deny")
        begun.see("[question-gone]")
        assert not begun.shows("space tick")
        begun.leave()
    assert decided(home) == {"net": None, "notes": None} and starting.pending(home) == 0


def test_without_a_terminal_there_is_no_watching(home: world.World) -> None:
    home.start("true")
    argv = serving.argv(home, "watch")
    done = subprocess.run(
        argv, env=home.environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, start_new_session=True,
        timeout=serving.PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and "[no-way-to-ask]" in done.stderr


# Scripts


def recorded(home: world.World) -> str:
    """A script that was recorded: the network for the session, and less than was asked of the notes."""
    script = home.base / "script.json"
    home.start("true")
    with watching(home, "--record", str(script)) as begun:
        begun.choose(NET_TITLE, "ALLOW this session")
        begun.choose(NOTES_TITLE, "ALLOW")
        begun.go()
        begun.see("Answered")
        begun.leave()
    return script.read_text()


def replay(home: world.World, script: object, *words: str) -> "subprocess.CompletedProcess[str]":
    """``intent-ctl replay`` of a script, over the socket."""
    file = home.base / "replayed.json"
    file.write_text(script if isinstance(script, str) else json.dumps(script))
    argv = serving.argv(home, "replay", str(file), *words)
    return subprocess.run(
        argv, env=home.environ, capture_output=True, text=True, timeout=serving.PATIENCE, check=False
    )


def test_what_was_recorded_is_replayed_over_the_socket(home: world.World) -> None:
    script = recorded(home)
    with starting.home() as second:
        second.start("true")
        with serving.served(second):
            done = replay(second, script)
        assert done.returncode == 0, done.stderr
        assert decided(second) == decided(home) and decided(home)["net"] == starting.NETWORK


LESS = {
    "expect": {"app_id": APP, "questions": ["net", "notes"], "says": ["It can contact any server"]},
    "answers": {
        "net": {"effect": "deny", "span": "forever"},
        "notes": {"effect": "allow", "span": "forever", "scopes": [READ_ONLY]},
    },
}


def test_a_script_waits_for_its_questions_and_can_give_less(home: world.World) -> None:
    with serving.served(home):
        file = home.base / "script.json"
        file.write_text(json.dumps([LESS]))
        begun = subprocess.Popen(serving.argv(home, "replay", str(file)), env=home.environ, stdout=subprocess.PIPE)
        home.start("true")
        said, _ = begun.communicate(timeout=serving.PATIENCE)
    assert begun.returncode == 0 and b"answered as written" in said
    assert decided(home) == {"net": None, "notes": READ_ONLY}


def test_a_script_may_say_that_nobody_answers(home: world.World) -> None:
    home.start("true")
    with serving.served(home):
        assert replay(home, [{"answers": None}]).returncode == 0
    assert decided(home) == {} and starting.pending(home) == 1


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ([{"expect": {"risks": {"net": "low"}}, "answers": None}], ["risks: expected"]),
        ([{"expect": {"says": ["It is harmless."]}, "answers": None}], ["nowhere said"]),
        ([{"answers": {"net": {"effect": "allow", "span": "session"}}}], ["not answered: notes"]),
        ([{"answers": {"net": {"effect": "allow"}, "notes": 1}}], ["an answer has"]),
        ([{"answers": 5}], ["no objects"]),
        ([{"expect": 5, "answers": None}], ["no objects"]),
        ([5], ["not a list of objects"]),
        ("{", ["not JSON"]),
        ([LESS, LESS], ["no question came within 1 seconds"]),
    ],
)
def test_what_is_not_as_scripted_is_said(home: world.World, script: object, words: list[str]) -> None:
    home.start("true")
    with serving.served(home):
        done = replay(home, script, "--wait", "1")
    assert done.returncode == 1 and "[not-as-scripted]" in done.stderr, done
    assert all(word in done.stderr for word in words), done.stderr
    assert (starting.events(home, What.DECISION) == []) == (script != [LESS, LESS])


# The documentation


def block(title: str) -> list[str]:
    """The lines of the first block below a heading of docs/protocol.md."""
    return DOCUMENT.split(f"## {title}\n", 1)[1].split("```")[1].strip("\n").split("\n")[1:]


def shortened(value: object) -> object:
    """A message as the documentation writes it: a request as ``…``, a hash as ``HASH``."""
    if isinstance(value, dict):
        short = {"request": "…", "shown": "HASH"}
        return {key: short.get(key) or shortened(each) for key, each in value.items()}
    return [shortened(each) for each in value] if isinstance(value, list) else value


def test_the_example_session_goes_as_written(home: world.World) -> None:
    home.start("true")
    control.done(home, "list")  # takes note of the start
    shown = ""
    lines = protocol.Lines()
    arrived: list[bytes] = []
    with serving.served(home), serving.raw(home) as connection:
        for line in block("An example"):
            if line.startswith("→ "):
                connection.sendall(line[2:].replace("HASH", shown).encode() + b"\n")
                continue
            while not arrived:
                arrived += lines.feed(connection.recv(1 << 16))
            message = protocol.decode(arrived.pop(0))
            assert shortened(message) == json.loads(line[2:])
            shown = str(message.get("shown", shown))
        assert arrived == []
    assert decided(home) == {"net": None, "notes": READ_ONLY}


def test_the_example_script_is_one(home: world.World) -> None:
    home.start("true")
    with serving.served(home):
        done = replay(home, "\n".join(block("Scripts")))
    assert done.returncode == 0, done.stderr
    assert decided(home) == {"net": None, "notes": READ_ONLY}
    assert pathlib.Path(home.home, "Notes").is_dir()
