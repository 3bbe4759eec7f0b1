"""Whose manifest is started, and what an update changes: pins, serials, the difference to ask (SPEC §7, §8.3)."""

import base64
import os
import pathlib
import socket
import textwrap
from collections.abc import Callable, Iterator
from unittest import mock

import pytest

from broker import app as apps
from broker import catalog, launch
from broker.history import What
from tests import control
from tests.real import starting, world
from tests.real.starting import BOTH, LOOK, NET_TITLE, NETWORK, NOTES, NOTES_TITLE, WARM
from tests.real.world import APP

pytestmark = pytest.mark.real

UNGUARDED = "from broker import launch\nlaunch.holds = lambda guards: True\n"
PAGED = ("key-changed", "serial-rollback", "serial-equivocation", "signature-missing", "unsigned")
READ_NOTES = {**NOTES, "access": "read"}


@pytest.fixture
def home() -> Iterator[world.World]:
    """The app was started once, may use ~/Notes, may not use the network, and has a plan."""
    with starting.home() as made:
        with starting.start(made, LOOK) as begun:
            begun.choose(NOTES_TITLE, "ALLOW always")
            begun.go()
            assert starting.got(begun.ends(0)) == {"notes"}
        yield made


@pytest.fixture
def new() -> Iterator[world.World]:
    """Nobody has agreed to the app's publisher."""
    with starting.home(pinned=False) as made:
        yield made


def publish(home: world.World, text: str, key: bytes | None = control.OTHER_KEY) -> None:
    control.publish(home, text, key)


def refused(home: world.World, code: str) -> str:
    """A start is refused for this reason, with and without a terminal, and changes nothing that was decided."""
    before = starting.events(home, What.DECISION, What.PIN, What.SERIAL, What.REKEY)
    done = home.start(LOOK)
    assert (done.returncode, done.stdout) == (126, b"")
    with starting.start(home, LOOK) as begun:
        shown = begun.ends(126)
    assert f"[{code}]" in shown and f"[{code}]" in done.stderr.decode() and "LOOKED" not in shown
    assert ("STOP  " in shown) is (code in PAGED), "trouble with who publishes it has a page of its own"
    assert "STOP" not in done.stderr.decode(), "and only on a terminal"
    assert starting.events(home, What.DECISION, What.PIN, What.SERIAL, What.REKEY) == before
    return done.stderr.decode()


def test_the_answer_pins_the_publisher_that_was_shown(new: world.World) -> None:
    key = control.fingerprint(control.OTHER_KEY)
    with starting.start(new, LOOK) as begun:
        begun.settle()
        assert begun.shows("a key that is NEW to you") and begun.shows(key)
        assert "CRITICAL" in begun.row(NET_TITLE), "new publishers count one level higher"
        begun.choose(NET_TITLE, "ALLOW this session")
        begun.choose(NOTES_TITLE, "ALLOW for 8 hours")
        begun.go()
        assert starting.got(begun.ends(0)) == {"net", "notes"}
    (pin,) = starting.events(new, What.PIN)
    assert pin.body["fingerprint"] == key
    assert starting.got(starting.quietly(new, LOOK, removed=WARM)) == {"net", "notes"}


def test_no_answer_pins_nobody(new: world.World) -> None:
    with starting.start(new, LOOK) as begun:
        begun.finish("l")
        assert "[handshake-abandoned]" in begun.ends(126)
    assert starting.events(new, What.PIN, What.DECISION) == []


def test_a_new_publisher_of_an_app_that_asks_for_nothing_is_a_question() -> None:
    with starting.home({}, pinned=False) as new:
        with starting.start(new, LOOK) as begun:
            begun.settle()
            assert begun.shows("asks for nothing but to be started")
            begun.press("s")
            assert starting.got(begun.ends(0)) == set()
        assert len(starting.events(new, What.PIN)) == 1
        starting.quietly(new, LOOK, removed=WARM)


def test_without_a_terminal_a_new_publisher_is_refused_until_accepted(new: world.World) -> None:
    done = new.start(LOOK)
    said = done.stderr.decode()
    assert (done.returncode, done.stdout) == (126, b"") and "[publisher-unknown]" in said
    assert control.fingerprint(control.OTHER_KEY) in said
    assert [event.what for event in starting.events(new)] == [What.PENDING]
    assert not list(pathlib.Path(new.places.data, "apps").iterdir())
    starting.follow(new, said)
    assert starting.got(new.says(LOOK)) == set()


def test_another_key_is_refused_until_agreed_to(home: world.World) -> None:
    key = control.new_key()
    publish(home, starting.manifest(serial=2), key)
    said = refused(home, "key-changed")
    assert control.fingerprint(key) in said and control.fingerprint(control.OTHER_KEY) in said
    starting.follow(home, said)
    refused(home, "key-changed")
    control.done(home, "trust", "rekey", APP, "--fingerprint", control.fingerprint(key))
    assert starting.got(starting.quietly(home, LOOK)) == {"notes"}


def test_ghsa_9rww_v4mm_x4jg_an_older_manifest_is_refused(home: world.World) -> None:
    publish(home, starting.manifest(serial=2))
    assert starting.got(starting.quietly(home, LOOK)) == {"notes"}
    assert [event.body["serial"] for event in starting.events(home, What.SERIAL)] == [2]
    publish(home, starting.manifest(serial=1))
    refused(home, "serial-rollback")
    control.done(home, "forget", APP)
    refused(home, "serial-rollback")


def test_another_manifest_with_the_same_serial_is_refused(home: world.World) -> None:
    publish(home, starting.manifest({"net": NETWORK}))
    refused(home, "serial-equivocation")


def test_a_changed_byte_is_refused(home: world.World) -> None:
    path = pathlib.Path(home.places.data, "manifests", f"{APP}.toml")
    path.write_text(path.read_text().replace("To work.", "To play."))
    refused(home, "signature-mismatch")


def flipped(armor: bytes) -> bytes:
    """The same signature with one bit of its point R, the 64th to 33rd byte from the end, another one."""
    begin, *lines, end = armor.decode().splitlines()
    data = bytearray(base64.b64decode("".join(lines)))
    data[-50] ^= 1
    text = base64.b64encode(data).decode()
    return "\n".join([begin, *textwrap.wrap(text, 70), end, ""]).encode()


@pytest.mark.parametrize(
    ("damage", "code"),
    [(flipped, "signature-mismatch"), (lambda armor: armor[:-30], "signature-malformed")],
    ids=["one bit", "cut"],
)
def test_a_damaged_signature_is_refused(home: world.World, damage: Callable[[bytes], bytes], code: str) -> None:
    path = pathlib.Path(home.places.data, "manifests", f"{APP}.toml.sig")
    path.write_bytes(damage(path.read_bytes()))
    refused(home, code)


@pytest.mark.parametrize(("key", "code"), [(None, "signature-missing"), (control.REPOSITORY_KEY, "unsigned")])
def test_what_nobody_signed_is_refused(home: world.World, key: bytes | None, code: str) -> None:
    publish(home, starting.manifest(serial=2), key)
    assert "--unsigned" in refused(home, code)


@pytest.mark.parametrize("key", [None, control.REPOSITORY_KEY], ids=["nobody", "the example key"])
def test_unsigned_nothing_outlives_the_session(new: world.World, key: bytes | None) -> None:
    publish(new, starting.manifest(), key)
    keep = f"echo kept >~/.config/kept; {LOOK}; cat ~/.config/kept"
    for _ in range(2):
        with starting.start(new, keep, options=["--unsigned"]) as begun:
            begun.settle()
            assert begun.shows("NOT SIGNED")
            begun.choose(NOTES_TITLE, "ALLOW this once")
            begun.press("t")
            begun.until(lambda: "this session" in begun.row(NOTES_TITLE))
            begun.press("t")
            begun.until(lambda: "this once" in begun.row(NOTES_TITLE), "only these two are offered")
            begun.choose(NOTES_TITLE, "ALLOW this session")
            begun.go()
            shown = begun.ends(0)
            assert starting.got(shown) == {"notes"} and "kept" in shown
        with starting.start(new, f"cat ~/.config/kept; {LOOK}", options=["--unsigned"]) as begun:
            again = begun.ends(0)
        assert starting.got(again) == {"notes"} and "START" not in again and "kept: No such file" in again
        (new.runtime / "intents" / "session").unlink()
    assert list(pathlib.Path(new.places.data, "apps").iterdir()) == []
    assert starting.events(new, What.PIN) == []


def test_what_was_allowed_unsigned_is_refused_without_the_option(new: world.World) -> None:
    publish(new, starting.manifest(), None)
    with starting.start(new, LOOK, options=["--unsigned"]) as begun:
        begun.choose(NOTES_TITLE, "ALLOW this session")
        begun.go()
        begun.ends(0)
    refused(new, "signature-missing")


def test_unsigned_a_grant_among_the_apps_own_directories_is_there_too(new: world.World) -> None:
    colours = {"colours": {"kind": "path", "place": "xdg-config/colours/dark", "access": "read"}}
    (new.home / ".config" / "colours").mkdir()
    (new.home / ".config" / "colours" / "dark").write_text("black")
    publish(new, starting.manifest(colours), None)
    with starting.start(new, "cat ~/.config/colours/dark", options=["--unsigned"]) as begun:
        begun.choose("dark", "ALLOW this once")
        begun.go()
        assert begun.ends(0).endswith("black")


def test_an_update_asks_the_difference_alone(home: world.World) -> None:
    music = {"kind": "path", "place": "home/Music", "access": "read"}
    (home.home / "Music").mkdir()
    publish(home, starting.manifest({**BOTH, "music": music}, serial=2))
    with starting.start(home, LOOK) as begun:
        begun.settle()
        assert begun.shows("asks for something new") and begun.shows("Allowed before, and kept: ~/Notes.")
        assert begun.row("~/Music") and not begun.row(NET_TITLE) and not begun.row(NOTES_TITLE)
        begun.choose("~/Music", "ALLOW always")
        begun.go()
        assert starting.got(begun.ends(0)) == {"notes"}, "what was refused stays refused"
    assert starting.got(starting.quietly(home, LOOK, removed=WARM)) == {"notes"}
    assert control.states(home) == {"net": "denied", "notes": "allowed", "music": "allowed"}


def test_a_renamed_intent_is_the_same_intent(home: world.World) -> None:
    publish(home, starting.manifest({"internet": NETWORK, "papers": NOTES}, serial=2))
    shown = starting.quietly(home, LOOK)
    assert starting.got(shown) == {"notes"} and "taken away" not in shown


def test_another_kind_under_the_same_name_is_another_intent(home: world.World) -> None:
    publish(home, starting.manifest({"net": NETWORK, "notes": {"kind": "camera"}}, serial=2))
    said = home.start(LOOK).stderr.decode()
    assert "no longer wants ~/Notes: taken away" in said and "starts without notes" in said


def test_what_an_update_no_longer_asks_for_is_not_given(home: world.World) -> None:
    publish(home, starting.manifest({"net": NETWORK}, serial=2))
    said = starting.quietly(home, LOOK)
    assert starting.got(said) == set() and "no longer wants ~/Notes: taken away" in said
    assert "whole network" not in said, "what was refused is not taken away"
    again = starting.quietly(home, LOOK, removed=WARM)
    assert starting.got(again) == set() and "taken away" not in again
    publish(home, starting.manifest(serial=3))
    assert starting.got(starting.quietly(home, LOOK)) == {"notes"}, "asked for again, it was already answered"


def test_asking_for_less_is_no_question(home: world.World) -> None:
    publish(home, starting.manifest({"net": NETWORK, "notes": READ_NOTES}, serial=2))
    shown = starting.quietly(home, "cat ~/Notes/old; touch ~/Notes/written; true")
    assert "old notes" in shown and "Read-only file system" in shown
    assert "now wants less of ~/Notes: taken away" in shown
    assert not (home.home / "Notes" / "written").exists()


def test_asking_for_more_is_a_question() -> None:
    with starting.home({"notes": READ_NOTES}) as home:
        control.done(home, "grant", APP, "notes")
        publish(home, starting.manifest(serial=2))
        assert "Read-only file system" in home.says(f"({LOOK}) 2>&1"), "with nobody to ask, what was granted before"
        with starting.start(home, LOOK) as begun:
            begun.choose(NOTES_TITLE, "ALLOW always")
            assert begun.shows("Wider: you decided on a part of this before") and begun.row(NET_TITLE)
            begun.go()
            assert starting.got(begun.ends(0)) == {"notes"}


def test_refusing_more_keeps_what_was_allowed() -> None:
    with starting.home({"notes": READ_NOTES}) as where:
        where.decide("notes")
        publish(where, starting.manifest({"notes": NOTES}, serial=2))
        with starting.start(where, "cat ~/Notes/*; touch ~/Notes/new || echo kept") as begun:
            begun.settle()
            begun.go()
            begun.ends(0)
            assert begun.shows("kept")
        assert "kept" in where.says("touch ~/Notes/new || echo kept"), "nor is it asked again"
        assert not (where.home / "Notes" / "new").exists()
        assert where.says("cat ~/Notes/*") == "old notes\n"


def test_a_plan_of_the_old_manifest_is_not_used(home: world.World) -> None:
    publish(home, starting.manifest(serial=2, command=["/bin/echo", "updated"]))
    with starting.start(home, LOOK, removed=UNGUARDED) as begun:
        assert starting.got(begun.ends(0)) == {"notes"}, "the old plan is still there"
    assert starting.quietly(home, LOOK).startswith("updated")


def test_a_manifest_that_changes_while_it_is_read_leaves_no_plan(home: world.World) -> None:
    find = catalog.find

    def exchanged(*where: object) -> object:
        found = find(*where)  # type: ignore[arg-type]
        publish(home, starting.manifest(serial=2))
        return found

    def hold(app: apps.App) -> bool:
        return launch.holds(tuple(os.fsencode(part) for guard in app.guards for part in guard))

    with mock.patch.dict(os.environ, home.environ, clear=True):
        with mock.patch.object(catalog, "find", exchanged):
            app = home.load()
        assert not hold(app)
        assert hold(home.load())


def test_an_alias_is_decided_anew_when_a_compositor_comes(home: world.World) -> None:
    directory = home.base / "vouched"
    directory.mkdir()
    mine = f'from broker import catalog\ncatalog.__file__ = "{directory}"\n'
    mine += f'catalog.catalogs = lambda places: (catalog.Catalog(directory="{directory}", vouched=True),)\n'
    for interface in ("terminal", "window"):
        text = world.manifest(["/bin/echo", interface], app_id=f"org.example.{interface}", interface=interface)
        text = text.replace("interface", 'aliases = ["either"]\ninterface')
        (directory / f"org.example.{interface}.toml").write_text(text)
    display = home.base / "display"
    look = {"name": "either", "environ": {"WAYLAND_DISPLAY": str(display)}}
    for removed in (mine, WARM):
        with starting.start(home, removed=removed, **look) as begun:
            assert begun.ends(0) == "terminal\r\n"
    with socket.socket(socket.AF_UNIX) as compositor:
        compositor.bind(str(display))
        with starting.start(home, removed=mine, **look) as begun:
            assert begun.ends(0) == "window\r\n"


def test_a_directory_that_became_a_link_is_asked_again(home: world.World) -> None:
    (home.home / "Notes").rename(home.home / "Before")
    (home.home / "Elsewhere").mkdir()
    (home.home / "Elsewhere" / "old").write_text("old notes of somebody else\n")
    (home.home / "Notes").symlink_to("Elsewhere")
    assert starting.got(home.says(LOOK)) == set()
    with starting.start(home, LOOK) as begun:
        begun.settle()
        text = " ".join(" ".join(begun.lines()).replace("│", " ").split())
        assert f"home/Notes was {home.home}/Notes, is now {home.home}/Elsewhere" in text
        assert not begun.row(NET_TITLE)
        begun.go()
        assert starting.got(begun.ends(0)) == set()
