"""Whoever hears the window instead of seeing it: everything has a name, and a critical question can be answered."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from broker import bus
from broker.history import What
from tests.conftest import must_work
from tests.real import asked, desktop, peers, starting
from tests.real.test_accessibility import LAUNCHER, address

pytestmark = pytest.mark.real

READER = ["/usr/bin/python3", f"{os.path.dirname(__file__)}/reading.py"]
CRITICAL = {"screen": {"kind": "path", "place": "home/.ssh", "access": "read"}, "notes": starting.NOTES}
ANSWERS = {"check box", "checkbox", "radio button", "button", "push button", "combo box", "text", "entry"}


@pytest.fixture
def desk() -> Iterator[asked.Asked]:
    must_work(os.path.exists(LAUNCHER) and shutil.which("xdg-dbus-proxy"), "at-spi2-core, an accessibility bus")
    with asked.desk(CRITICAL) as made, peers.child([LAUNCHER], made.where.environ):
        session = made.where.environ["DBUS_SESSION_BUS_ADDRESS"]
        peers.eventually(lambda: "org.a11y.Bus" in (bus.names(session) or ((), ()))[0], "the accessibility bus")
        (made.where.home / ".ssh").mkdir()
        yield made


def read(desk: asked.Asked, *words: str) -> list[dict[str, object]]:
    """Everything in the window, in its order."""
    done = subprocess.run([*READER, address(desk.where), *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, object]] = json.loads(done.stdout)
    return found


def names(desk: asked.Asked) -> str:
    return "\n".join(str(each["name"]) for each in read(desk))


def test_everything_that_can_be_pressed_has_a_name_and_what_it_is_about(desk: asked.Asked) -> None:
    begun = desk.open("true")
    found = read(desk)
    (check,) = [each for each in found if each["name"] == "Allow: ~/.ssh"]
    assert "CRITICAL risk" in str(check["about"]) and 'app says "To work."' in str(check["about"])
    focusable = [each for each in found if each["role"] in ANSWERS and "focusable" in each["states"]]  # type: ignore[operator]
    unnamed = [each for each in focusable if not each["name"] or str(each["name"]).startswith("Gtk")]
    assert [each["name"] for each in unnamed] == ["GtkToggleButton"] * 2, "each inside a combo box, which has a name"
    (first,) = [each for each in found if "focused" in each["states"]]  # type: ignore[operator]
    assert first["name"] == "org.example.App asks what it may do" and first["role"] not in ANSWERS
    desk.press("Escape")
    asked.ends(begun, 126)


@pytest.mark.parametrize(("locale", "deny"), [("de_DE.UTF-8", "Alles ablehnen"), ("he_IL.UTF-8", "לסרב להכול")])
def test_it_speaks_the_users_language(desk: asked.Asked, locale: str, deny: str) -> None:
    begun = desk.begin("true", environ={"LANG": locale})
    desk.helper()
    desk.screen.settled(asked.SEEN)
    desk.screen.keep_screenshot(f"dialog-{locale[:2]}")
    said = names(desk)
    assert deny in said and "It can read" not in said and '"To work."' in said
    desk.press("Escape")
    asked.ends(begun, 126)


def test_a_critical_question_is_allowed_by_the_word_and_by_nothing_else(desk: asked.Asked) -> None:
    begun = desk.open("ls -d ~/.ssh")
    desk.press("Tab", "space")
    (word,) = re.findall(r"type the word +(\w+) ", names(desk))
    desk.screen.keep_screenshot("dialog-critical")
    desk.type("acorns")
    desk.press("Return")
    assert "type the word" in names(desk)
    desk.press(*["BackSpace"] * 6)
    desk.type(word)
    assert "type the word" not in names(desk)
    (check,) = [each for each in read(desk) if each["name"] == "Allow: ~/.ssh"]
    assert "checked" in check["states"]  # type: ignore[operator]
    desk.press("End", "alt+s")
    assert "/.ssh" in asked.ends(begun, 0)


def test_what_assistive_technology_presses_counts_no_sooner_than_a_hand(desk: asked.Asked) -> None:
    begun = desk.open("true", removed=asked.SLOWLY)
    (deny,) = [each for each in read(desk) if each["name"] == "Deny all" and each["role"] != "label"]
    cover = desk.screen.spawn("/usr/bin/foot")
    desktop.until(lambda: "foot" in desk.screen.windows(), "another window")
    read(desk, *map(str, deny["at"]))  # type: ignore[call-overload]
    assert begun.poll() is None and not starting.events(desk.where, What.DECISION)
    cover.kill()
    desk.screen.settled(asked.SEEN)
    desktop.until(lambda: "in a moment" not in names(desk), "that input counts")
    read(desk, *map(str, deny["at"]))  # type: ignore[call-overload]
    asked.ends(begun, 0)
    assert len(starting.events(desk.where, What.DECISION)) == 2
