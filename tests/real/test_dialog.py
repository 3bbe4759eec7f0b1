"""A start without a terminal asks in a window: what its keys do, what never counts, and what is stored (SPEC §8.4)."""

import os
import pathlib
import signal
import subprocess
from collections.abc import Iterator

import pytest

from broker.history import What
from broker.ui import dialog
from intents import model
from tests.conftest import must_work
from tests.real import asked, desktop, starting
from tests.real.starting import LOOK, got

pytestmark = pytest.mark.real


@pytest.fixture
def desk() -> Iterator[asked.Asked]:
    with asked.desk({"notes": starting.NOTES}) as made:
        must_work(not dialog.missing(made.where.environ), "python3-gi and gir1.2-gtk-4.0")
        yield made


def nothing_stored(desk: asked.Asked) -> bool:
    return starting.events(desk.where, What.DECISION) == []


def test_the_keyboard_answers_and_the_app_is_not_asked_about_again(desk: asked.Asked) -> None:
    begun = desk.open(LOOK)
    desk.screen.keep_screenshot("dialog")
    desk.press("Tab", "space", "alt+s")
    assert got(asked.ends(begun, 0)) == {"notes"}
    (event,) = starting.events(desk.where, What.DECISION)
    assert event.body["granted"] and event.body["life"]["span"] == model.Lifespan.SESSION.value
    assert got(asked.ends(desk.begin(LOOK), 0)) == {"notes"}
    assert len(starting.events(desk.where, What.DECISION)) == 1


def test_denied_is_stored_and_the_app_starts_without(desk: asked.Asked) -> None:
    begun = desk.open(LOOK)
    desk.press("alt+d")
    assert got(asked.ends(begun, 0)) == set()
    (event,) = starting.events(desk.where, What.DECISION)
    assert event.body["granted"] is None


def test_less_is_given_where_less_was_chosen(desk: asked.Asked) -> None:
    begun = desk.open("cat ~/Notes/old; echo more >~/Notes/new; true")
    desk.press("Tab", "Tab", "Tab", "space")
    desk.press("Tab", "Down")
    desk.screen.keep_screenshot("dialog-less")
    desk.press("Escape")
    desk.press("alt+s")
    shown = asked.ends(begun, 0)
    assert "old notes" in shown and "Read-only file system" in shown
    (event,) = starting.events(desk.where, What.DECISION)
    assert event.body["granted"]["access"] == "read"


def test_a_folder_that_was_named_is_given_instead_of_all(desk: asked.Asked) -> None:
    for name in ("in", "out"):
        (desk.where.home / "Notes" / name).mkdir()
        (desk.where.home / "Notes" / name / "file").write_text(f"{name}side\n")
    begun = desk.open("cat ~/Notes/*/file")
    desk.press("Tab", "Tab", "Tab", "space")
    desk.press("alt+a")
    desk.type("~/elsewhere")
    desk.press("Return")  # which is not in what was asked for
    desk.screen.keep_screenshot("dialog-place")
    desk.press(*["BackSpace"] * 11)
    desk.type(str(desk.where.home / "Notes" / "in"))
    desk.press("Return")
    desk.press("Tab", "Down")
    desk.screen.keep_screenshot("dialog-named")
    desk.press("Escape")
    desk.press("alt+s")
    shown = asked.ends(begun, 0)
    assert "inside" in shown and "outside" not in shown
    (event,) = starting.events(desk.where, What.DECISION)
    assert event.body["granted"]["place"] == "home/Notes/in"


@pytest.mark.parametrize("keys", [("Escape",), ("alt+l",), ("space", "Return", "y", "s", "Escape")])
def test_deciding_later_stores_nothing_and_starts_nothing(desk: asked.Asked, keys: tuple[str, ...]) -> None:
    begun = desk.open(LOOK)
    desk.press(*keys)
    assert "[handshake-abandoned]" in asked.ends(begun, 126)
    assert nothing_stored(desk) and starting.pending(desk.where) == 1


def test_closing_the_window_stores_nothing(desk: asked.Asked) -> None:
    begun = desk.open(LOOK)
    desk.screen.run("/usr/bin/swaymsg", f"[pid={desk.helper()}] kill")
    assert "[handshake-abandoned]" in asked.ends(begun, 126)
    assert nothing_stored(desk)


def test_enter_never_allows(desk: asked.Asked) -> None:
    """On nothing, on a tick, on the button that starts: Enter reads, and does not answer."""
    begun = desk.open(LOOK)
    desk.press("Return", "Tab", "Return")  # which opens the details
    desk.press("Escape")
    desk.press("Tab", "Tab", "Tab", "Tab", "Tab", "Tab", "Return")
    desk.press("Return")
    assert begun.poll() is None and nothing_stored(desk)
    desk.press("alt+d")
    assert got(asked.ends(begun, 0)) == set()


@pytest.mark.parametrize("settle", [asked.SLOWLY, asked.AT_ONCE], ids=["protected", "at once"])
def test_a_key_counts_only_once_the_window_has_stood_still(desk: asked.Asked, settle: str) -> None:
    """A key that was meant for what had the focus before denies nothing, and allows nothing."""
    begun = desk.open(LOOK, removed=settle)
    desk.press("alt+d", wait=200)
    one_answer_if_at_once(desk, begun, settle)


@pytest.mark.parametrize("settle", [asked.SLOWLY, asked.AT_ONCE], ids=["protected", "at once"])
def test_a_click_counts_only_once_the_window_has_stood_still(desk: asked.Asked, settle: str) -> None:
    """Another window goes away under the hand, as one does that asks for a double click."""
    begun = desk.open(LOOK, removed=settle)
    cover = desk.screen.spawn("/usr/bin/foot")
    desktop.until(lambda: "foot" in desk.screen.windows(), "another window")
    desk.screen.run("/usr/bin/swaymsg", '[app_id="foot"] fullscreen enable')
    desk.screen.settled(asked.SEEN)

    def uncover() -> None:
        cover.kill()
        desktop.until(lambda: "foot" not in desk.screen.windows(), "the other window's end")

    desk.screen.click(*asked.DENY, before=uncover)
    one_answer_if_at_once(desk, begun, settle)


def one_answer_if_at_once(desk: asked.Asked, begun: "subprocess.Popen[bytes]", settle: str) -> None:
    """The app starts with what was denied, if input counted at once; else the window still waits."""
    if settle == asked.AT_ONCE:
        assert got(asked.ends(begun, 0)) == set()
        assert len(starting.events(desk.where, What.DECISION)) == 1
    else:
        desk.press("Escape", wait=3500)
        assert "[handshake-abandoned]" in asked.ends(begun, 126)
        assert nothing_stored(desk)


@pytest.mark.parametrize("signals", [(signal.SIGKILL,), (signal.SIGSTOP, signal.SIGKILL)], ids=["killed", "stopped"])
def test_without_its_window_a_start_is_none(desk: asked.Asked, signals: tuple[signal.Signals, ...]) -> None:
    begun = desk.open(LOOK)
    helper = desk.helper()
    for number in signals:
        os.kill(helper, number)
        assert nothing_stored(desk)
    assert "[handshake-abandoned]" in asked.ends(begun, 126)
    assert nothing_stored(desk)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_the_window_ends_with_whoever_asks(desk: asked.Asked, number: signal.Signals) -> None:
    begun = desk.open(LOOK)
    helper = desk.helper()
    begun.send_signal(number)
    begun.communicate(timeout=desktop.PATIENCE)
    desktop.until(lambda: _over(helper), "the end of the window's process")
    assert nothing_stored(desk) and begun.returncode in (126, -number)


def test_two_starts_at_once_are_one_question(desk: asked.Asked) -> None:
    first = desk.open(LOOK)
    second = desk.begin(LOOK)
    desk.press("Tab", "space", "alt+s")
    assert got(asked.ends(first, 0)) == {"notes"}
    shown = asked.ends(second, 0)
    assert got(shown) == {"notes"} and "another start of Example is being answered" in shown
    assert len(starting.events(desk.where, What.DECISION)) == 1


def test_a_style_of_the_user_does_not_change_the_window(desk: asked.Asked) -> None:
    """An app that may write to the user's settings could hide there what is asked."""
    style = desk.where.home / ".config" / "gtk-4.0" / "gtk.css"
    style.parent.mkdir(parents=True, exist_ok=True)
    style.write_text("* { background: #00ff00; color: #00ff00; }")
    trusting = "from broker.ui import dialog\ndialog._NOWHERE = None\n"
    with_home = trusting + f"dialog._environment = lambda environ: {{**environ, 'HOME': {str(desk.where.home)!r}}}\n"
    for removed, colour in (("", False), (with_home, True)):
        begun = desk.open(LOOK, removed=removed)
        assert (desk.screen.colour("400,450") == (0, 255, 0)) is colour
        desk.press("Escape")
        asked.ends(begun, 126)


def test_a_failure_of_a_start_from_a_launcher_is_shown(desk: asked.Asked) -> None:
    unknown = {"environ": {"DESKTOP_STARTUP_ID": "x"}, "name": "org.example.Missing"}
    begun = desk.begin(**unknown)  # type: ignore[arg-type]
    desktop.until(lambda: asked.WINDOW in desk.screen.windows(), "the window")
    desk.screen.settled(asked.SEEN)
    desk.screen.keep_screenshot("dialog-failed")
    assert begun.poll() is None
    desk.press("space")
    assert "org.example.Missing" in asked.ends(begun, 127)
    assert "org.example.Missing" in asked.ends(desk.begin(name="org.example.Missing"), 127)


def test_no_window_where_none_is_wanted(desk: asked.Asked) -> None:
    done = asked.ends(desk.begin(LOOK, environ={"INTENT_UI": "none"}), 0)
    assert "starts without notes" in done


def _over(pid: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True
