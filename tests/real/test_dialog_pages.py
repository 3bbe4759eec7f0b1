"""What the window shows, and on which desktops: long lists, dark, large, narrow, right to left, X11 (SPEC §8.4)."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator

import pytest

from broker.history import What
from tests import control
from tests.real import asked, bus_service, desktop, peers, starting
from tests.real.starting import LOOK, got
from tests.real.test_accessibility import LAUNCHER
from tests.real.test_dialog_reading import names

pytestmark = pytest.mark.real

FOLDERS = {f"f{number}": {"kind": "path", "place": f"home/f{number}", "access": "read"} for number in range(8)}
ALL = "for each in ~/f*; do cat $each/file; done; true"
DARK = "[Settings]\ngtk-application-prefer-dark-theme=true\n"
CORNER = "780,500"  # where the window is empty


@pytest.fixture
def desk() -> Iterator[asked.Asked]:
    with asked.desk({"notes": starting.NOTES}) as made:
        yield made


def closed(desk: asked.Asked, begun: "subprocess.Popen[bytes]") -> str:
    desk.press("Escape")
    return asked.ends(begun, 126)


def test_a_long_list_is_answered_only_when_all_of_it_was_on_the_screen() -> None:
    with asked.desk(FOLDERS) as desk:
        for name in FOLDERS:
            (desk.where.home / name).mkdir()
            (desk.where.home / name / "file").write_text(f"in {name}\n")
        begun = desk.open(ALL)
        desk.screen.keep_screenshot("dialog-long")
        desk.press("Tab", "space")  # the first row is there to be read
        desk.press("alt+s")
        desk.press("End", "alt+s")  # the rows between were not on the screen
        assert begun.poll() is None and starting.events(desk.where, What.DECISION) == []
        desk.press("Home", *["Next"] * 8, "alt+s")
        assert "in f0" in asked.ends(begun, 0)
        granted = [event.body["granted"] for event in starting.events(desk.where, What.DECISION)]
        assert len(granted) == 8 and sum(each is not None for each in granted) == 1


def test_a_new_publisher_is_agreed_to_in_the_window() -> None:
    with asked.desk({"notes": starting.NOTES}, pinned=False) as desk:
        begun = desk.open(LOOK)
        desk.screen.keep_screenshot("dialog-new-key")
        desk.press("End", "alt+d")
        assert got(asked.ends(begun, 0)) == set()
        assert len(starting.events(desk.where, What.PIN)) == 1


def test_a_question_that_is_answered_elsewhere_closes(desk: asked.Asked) -> None:
    begun = desk.open(LOOK)
    control.done(desk.where, "grant", "org.example.App", "notes")
    assert "[question-gone]" in asked.ends(begun, 126)
    assert desk.screen.windows() == {}


@pytest.mark.parametrize("dark", [False, True])
def test_it_is_as_dark_as_the_users_other_windows(desk: asked.Asked, dark: bool) -> None:
    settings = desk.where.home / ".config" / "gtk-4.0" / "settings.ini"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(DARK if dark else "")
    begun = desk.open(LOOK)
    desk.screen.keep_screenshot(f"dialog-{'dark' if dark else 'light'}")
    assert (max(desk.screen.colour(CORNER)) < 100) is dark
    closed(desk, begun)


@pytest.mark.parametrize("plant", [os.mkfifo, lambda path: os.symlink("/dev/zero", path)])
def test_settings_that_never_end_hold_no_question_up(desk: asked.Asked, plant: Callable[[str], None]) -> None:
    """An app that may write there has planted them."""
    settings = desk.where.home / ".config" / "gtk-4.0" / "settings.ini"
    settings.parent.mkdir(parents=True, exist_ok=True)
    plant(str(settings))
    closed(desk, desk.open(LOOK))


def test_it_follows_what_the_desktop_says(desk: asked.Asked) -> None:
    """A portal says that windows are dark and text twice as large (org.freedesktop.portal.Settings)."""
    with settings_portal(desk):
        begun = desk.open(LOOK)
        desktop.until(lambda: max(desk.screen.colour(CORNER)) < 100, "a dark window")
        desk.screen.settled(asked.SEEN)
        desk.screen.keep_screenshot("dialog-large")
        desk.press("Next", "j", "k", "Next", "j", "Tab", "space")  # read before it is ticked
        desk.press("End", "alt+s")
        assert got(asked.ends(begun, 0)) == {"notes"}


PORTAL = """
from gi.repository import Gio, GLib
XML = '''<node><interface name="org.freedesktop.portal.Settings"><method name="ReadAll">
<arg type="as" direction="in"/><arg type="a{sa{sv}}" direction="out"/></method></interface></node>'''
SAID = {"org.freedesktop.appearance": {"color-scheme": GLib.Variant("u", 1)},
        "org.gnome.desktop.interface": {"text-scaling-factor": GLib.Variant("d", 2.0)}}

def called(bus, sender, path, interface, method, arguments, invocation):
    invocation.return_value(GLib.Variant("(a{sa{sv}})", (SAID,)))

bus = Gio.bus_get_sync(Gio.BusType.SESSION)
described = Gio.DBusNodeInfo.new_for_xml(XML).interfaces[0]
bus.register_object("/org/freedesktop/portal/desktop", described, called, None, None)
Gio.bus_own_name_on_connection(bus, "org.freedesktop.portal.Desktop", 0, None, None)
GLib.MainLoop().run()
"""


@contextlib.contextmanager
def settings_portal(desk: asked.Asked) -> Iterator[None]:
    from broker import bus

    address = desk.where.environ["DBUS_SESSION_BUS_ADDRESS"]
    with peers.child(["/usr/bin/python3", "-c", PORTAL], desk.where.environ):
        name = "org.freedesktop.portal.Desktop"
        peers.eventually(lambda: name in (bus.names(address) or ((), ()))[0], "the portal")
        yield


def test_a_narrow_screen_shows_all_of_it(desk: asked.Asked) -> None:
    desk.screen.run("/usr/bin/swaymsg", "output HEADLESS-1 resolution 360x640")
    begun = desk.begin(LOOK)
    desk.helper()
    desk.screen.settled("0,0 360x640")
    desk.screen.keep_screenshot("dialog-narrow")
    desk.press("Tab", "space")
    desk.press("Next", "Next", "alt+s")
    assert got(asked.ends(begun, 0)) == {"notes"}


def test_on_x11_it_works_and_says_what_that_means() -> None:
    with contextlib.ExitStack() as closing:
        where = closing.enter_context(starting.home({"notes": starting.NOTES}))
        closing.enter_context(bus_service.session(where))
        screen = closing.enter_context(desktop.desktop("Xvfb", "xdotool"))
        screen.start_xvfb()
        del where.environ["INTENT_UI"]
        where.environ["DISPLAY"] = screen.environ["DISPLAY"]
        closing.enter_context(peers.child([LAUNCHER], where.environ))
        made = asked.Asked(where, screen, closing)
        begun = made.begin(LOOK)
        search = ("/usr/bin/xdotool", "search", "--onlyvisible", "--name", "asks what")
        found = peers.eventually(lambda: screen.run(*search).stdout.split(), "the window")
        assert peers.eventually(lambda: "This is an X11 session: any program on it can press keys" in names(made), "it")

        def answered() -> bool:
            """Give it the focus, which it gets from nobody without a window manager, and press a key."""
            screen.run("/usr/bin/xdotool", "windowfocus", found[-1], "sleep", "1.5", "key", "alt+d", "sleep", "0.5")
            return begun.poll() is not None

        peers.eventually(answered, "the answer")
        assert got(asked.ends(begun, 0)) == set()
