"""Settings that a program has outside: the app starts fresh, with a copy, or with them in place (SPEC §5.8)."""

import os
import pathlib
import subprocess
from collections.abc import Iterator

import pytest

from broker.ui import keys
from intents.kinds import settings
from tests import control, test_removal
from tests.real import asked, starting, test_prompt_less, world
from tests.test_overrides import tree

pytestmark = pytest.mark.real

SETTINGS = {"set": {"kind": "settings", "places": ["xdg-config/app", "xdg-data/app"]}}
APP = world.APP
LOOK = "if cd ~/.config/app 2>/dev/null; then find . -type f | sort | xargs cat; fi"


@pytest.fixture
def here() -> Iterator[world.World]:
    with world.world() as made:
        theirs = made.home / ".config" / "app"
        (theirs / "deep").mkdir(parents=True)
        (theirs / "rc").write_text("mine\n")
        (theirs / "deep" / "more").write_text("deep\n")
        made.install(world.manifest(world.SHELL, SETTINGS))
        yield made


def answer(here: world.World, offer: str) -> None:
    """Answer as ``choose`` offers it: deny, the copy, or allow."""
    offers = control.data(here, "choose", APP, "set")["offers"]
    assert isinstance(offers, list) and len(offers) == 3
    name = {"fresh": "deny", "copy": offers[1]["offer"], "use": "allow"}[offer]
    control.done(here, "choose", APP, "set", name, "--for", "forever", "--confirm", "set")


def test_fresh_sees_nothing(here: world.World) -> None:
    answer(here, "fresh")
    assert here.says(LOOK) == ""
    here.says("mkdir ~/.config/app && echo own >~/.config/app/rc")
    assert (here.home / ".config" / "app" / "rc").read_text() == "mine\n"


def test_a_copy_is_the_apps_own(here: world.World) -> None:
    answer(here, "copy")
    assert here.says(LOOK) == "deep\nmine\n"
    here.says("echo changed >~/.config/app/rc; rm -r ~/.config/app/deep")
    assert here.says(LOOK) == "changed\n"
    assert (here.home / ".config" / "app" / "rc").read_text() == "mine\n"
    (here.home / ".config" / "app" / "later").write_text("later\n")
    here.decide("none")
    assert here.says(LOOK) == "changed\n"


def test_in_place_is_shared(here: world.World) -> None:
    answer(here, "use")
    assert here.says(LOOK) == "deep\nmine\n"
    here.says("echo changed >~/.config/app/rc")
    assert (here.home / ".config" / "app" / "rc").read_text() == "changed\n"


def test_every_answer_can_be_changed_to_every_other(here: world.World) -> None:
    answer(here, "use")
    assert here.says(LOOK) == "deep\nmine\n"
    answer(here, "fresh")
    assert here.says("mkdir ~/.config/app && ls ~/.config/app") == ""
    control.done(here, "forget", APP, "--data")
    answer(here, "use")
    here.says("true")
    answer(here, "copy")
    assert here.says(LOOK) == "deep\nmine\n"
    answer(here, "use")
    assert b"stands in the way" in here.start("true").stderr


def test_it_is_asked_once_and_only_where_something_is_there(here: world.World) -> None:
    assert control.states(here) == {"set": "open"}
    answer(here, "copy")
    here.says("true")
    assert control.states(here) == {"set": "partly"}
    control.done(here, "forget", APP)
    assert control.states(here) == {"set": "open"}
    (here.home / ".config" / "app").rename(here.home / ".config" / "gone")
    assert control.states(here) == {}
    (here.home / ".local" / "share" / "app").write_text("a file")
    assert control.states(here) == {"set": "open"}


def test_a_stored_plan_is_over_when_settings_appear(here: world.World) -> None:
    os.rename(here.home / ".config" / "app", here.home / ".config" / "gone")
    here.says("true")
    assert pathlib.Path(here.places.state, "plans", f"{APP}.pipe").exists()
    os.rename(here.home / ".config" / "gone", here.home / ".config" / "app")
    assert b"starts without set" in here.start("true").stderr


def test_links_and_what_is_no_file_stay_and_are_named(here: world.World) -> None:
    theirs = here.home / ".config" / "app"
    (here.home / "secret").write_text("secret\n")
    (theirs / "link").symlink_to(here.home / "secret")
    (theirs / "deep" / "folder").symlink_to(here.home)
    os.mkfifo(theirs / "pipe")
    before = tree(theirs)
    answer(here, "copy")
    done = here.start(LOOK)
    assert done.stdout == b"deep\nmine\n"
    for name in ("link", "deep/folder", "pipe"):
        assert f"not copied: {theirs}/{name}\n".encode() in done.stderr
    assert tree(theirs) == before


FOLLOWING = """
import os
from broker import copies
copies._FOLDER = os.O_RDONLY | os.O_DIRECTORY
"""


def test_what_the_app_has_is_not_overwritten_and_no_link_of_its_own_is_followed(here: world.World) -> None:
    answer(here, "fresh")
    (here.home / "Documents").mkdir()
    here.says(f"mkdir ~/.config/app; echo own >~/.config/app/rc; ln -s {here.home}/Documents ~/.config/app/deep")
    before = tree(here.home / "Documents")
    answer(here, "copy")
    assert f"not copied: {here.home}/.config/app/deep\n".encode() in here.start("true").stderr
    assert here.says("cat ~/.config/app/rc") == "own\n"
    assert tree(here.home / "Documents") == before
    answer(here, "copy")
    done = here.start("true", removed=FOLLOWING)
    assert tree(here.home / "Documents") != before, done


def test_a_link_in_the_place_of_the_apps_directory_stops_it(here: world.World) -> None:
    answer(here, "fresh")
    here.says(f"ln -s {here.home}/Documents ~/.config/app")
    (here.home / "Documents").mkdir()
    answer(here, "copy")
    done = here.start("true")
    assert tree(here.home / "Documents") == {}, done


def test_what_is_too_deep_is_named_and_not_copied(here: world.World) -> None:
    test_removal.deep(here.home / ".config" / "app" / "deep", 1500)
    answer(here, "copy")
    done = here.start(LOOK)
    subprocess.run(["rm", "-r", here.home / ".config" / "app" / "deep"], check=True)
    assert (done.returncode, done.stdout) == (0, b"deep\nmine\n") and b"not copied: " in done.stderr


def test_too_much_is_not_copied_and_nothing_starts(here: world.World) -> None:
    with open(here.home / ".config" / "app" / "big", "wb") as big:
        big.truncate(settings.MAX_BYTES + 1)
    answer(here, "copy")
    done = here.start("true")
    assert (done.returncode, done.stdout) == (125, b"") and b"[settings-not-copied]" in done.stderr
    assert not (here.own("config") / "app").exists()
    answer(here, "fresh")
    assert here.start("true").returncode == 0


KILLED = """
import os, signal
from broker import copies
left = {number}
real = os.link
def counted(*words, **more):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), 9)
    return real(*words, **more)
os.link = counted
"""


@pytest.mark.parametrize("number", [1, 2])
def test_killed_while_it_copies_it_copies_the_rest_the_next_time(here: world.World, number: int) -> None:
    answer(here, "copy")
    assert here.start("true", removed=KILLED.format(number=number)).returncode == -9
    assert here.says(LOOK) == "deep\nmine\n"
    assert sorted(path.name for path in here.own("config").parent.iterdir() if path.name.startswith(".")) == []


def test_what_is_secret_is_critical(here: world.World) -> None:
    keys = {"set": {"kind": "settings", "places": ["xdg-data/keyrings"]}}
    here.install(world.manifest(world.SHELL, keys, serial=2))
    (here.home / ".local" / "share" / "keyrings").mkdir()
    offers = control.data(here, "choose", APP, "set")["offers"]
    assert isinstance(offers, list)
    assert [each["risk"] for each in offers[1:]] == ["critical", "critical"]
    assert control.code(here, "choose", APP, "set", "allow") == "not-confirmed"


def test_an_unsigned_app_starts_fresh(here: world.World) -> None:
    pathlib.Path(here.places.data, "manifests", f"{APP}.toml.sig").unlink()
    assert here.says(LOOK, options=["--unsigned"]) == ""


@pytest.mark.parametrize(("option", "seen"), [("0", ""), ("1", "deep"), ("2", "deep")])
def test_the_sheet_offers_all_three(here: world.World, option: str, seen: str) -> None:
    where = here.home / ".config" / "app"
    here.install(world.manifest(world.SHELL, {"set": {"kind": "settings", "places": ["xdg-data/mine"]}}, serial=2))
    where.rename(here.home / ".local" / "share" / "mine")
    look = "cat ~/.local/share/mine/deep/more; echo own >~/.local/share/mine/rc; echo LOOKED"
    with starting.start(here, look) as sheet:
        sheet.settle()
        assert sheet.row("your settings") and "HIGH risk" in sheet.row("your settings")
        test_prompt_less.less(sheet)
        assert sheet.shows("It gets a copy of your settings in ~/.local/share/mine; yours stay")
        sheet.hand(option)
        sheet.see(f"> {option} [x]")
        test_prompt_less.read(sheet)
        sheet.pause(5 * keys.SILENCE)  # right after another key it would not count
        sheet.hand("\r")
        sheet.see("space tick")
        sheet.settle()
        sheet.go()
        shown = sheet.ends(0)
    assert "LOOKED" in shown and ("deep\r\n" in shown) == bool(seen)
    mine = (here.home / ".local" / "share" / "mine" / "rc").read_text()
    assert mine == ("own\n" if option == "2" else "mine\n")
    assert control.states(here) == {"set": {"0": "denied", "1": "partly", "2": "allowed"}[option]}


def test_the_window_offers_a_copy() -> None:
    with asked.desk(SETTINGS) as desk:
        theirs = desk.where.home / ".config" / "app"
        theirs.mkdir(parents=True)
        (theirs / "rc").write_text("mine\n")
        begun = desk.open("cat ~/.config/app/rc; echo own >~/.config/app/rc")
        desk.press("Tab", "Tab", "Tab", "space")
        desk.press("Tab", "Down")
        desk.press("Escape")
        desk.press("alt+s")
        assert "mine\n" in asked.ends(begun, 0)
        assert (theirs / "rc").read_text() == "mine\n"
        assert (desk.where.own("config") / "app" / "rc").read_text() == "own\n"


def test_forget_says_before_what_it_removes(here: world.World) -> None:
    answer(here, "copy")
    here.says("true")
    kept = here.own("config").parent
    said = control.done(here, "forget", APP, "--data", "--dry-run")
    assert f"would remove {kept} (3 files" in said and kept.exists()
    assert control.states(here) == {"set": "partly"}
    assert f"removed {kept}" in control.done(here, "forget", APP, "--data")
    assert not kept.exists()
