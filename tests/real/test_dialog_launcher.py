"""From an icon of the desktop to the app's window: the question comes in between, once (SPEC §8.4, §11.6)."""

import os
import pathlib
import sys
from collections.abc import Iterator

import pytest

from tests.real import asked, desktop

pytestmark = pytest.mark.real

CALCULATOR, WINDOW = "org.gnome.Calculator", "gnome-calculator"


@pytest.fixture
def screen() -> Iterator[desktop.Desktop]:
    with desktop.desktop("sway", "swaymsg", "wtype", "dbus-daemon", "gnome-calculator", "gio") as made:
        del made.environ["INTENT_UI"]
        made.start_bus()
        made.start_sway()
        yield made


def launch(screen: desktop.Desktop, entry: pathlib.Path) -> None:
    screen.spawn("/usr/bin/setsid", "/usr/bin/gio", "launch", str(entry))


def commands(screen: desktop.Desktop) -> pathlib.Path:
    """Our commands as they are installed; the directory."""
    directory = screen.place / "bin"
    directory.mkdir()
    for name, module in (("intent-run", "broker.run"), ("intent-ctl", "broker.ctl")):
        text = desktop.COMMAND.format(root=str(desktop.ROOT), module=module)
        (directory / name).write_text(f"#!{sys.executable}\n{text}\n")
        (directory / name).chmod(0o755)
    return directory


def test_an_icon_asks_and_starts_and_then_only_starts(screen: desktop.Desktop) -> None:
    done = screen.run(str(commands(screen) / "intent-ctl"), "desktop", "install", CALCULATOR)
    assert done.returncode == 0, done.stderr
    entry = screen.place / "data" / "applications" / f"{CALCULATOR}.desktop"
    screen.closing.callback(screen.run, *screen.ours("broker.ctl", "stop", CALCULATOR, "--kill"))
    launch(screen, entry)
    desktop.until(lambda: asked.WINDOW in screen.windows(), "the question")
    screen.settled(asked.SEEN)
    screen.keep_screenshot("dialog-launched")
    screen.run("/usr/bin/wtype", "-s", "900", *["-k", "Next", "-s", "200"] * 4, "-M", "alt", "-k", "s", "-s", "500")
    desktop.until(lambda: WINDOW in screen.windows(), "the calculator's window")
    assert asked.WINDOW not in screen.windows()
    pid = screen.inside(CALCULATOR)
    assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    screen.run(*screen.ours("broker.ctl", "stop", CALCULATOR, "--kill"))
    desktop.until(lambda: not screen.windows(), "its end")
    launch(screen, entry)
    desktop.until(lambda: screen.windows(), "a window")
    assert list(screen.windows()) == [WINDOW]


def test_an_icon_that_cannot_start_says_why(screen: desktop.Desktop) -> None:
    entry = screen.place / "broken.desktop"
    run = commands(screen) / "intent-run"
    entry.write_text(f"[Desktop Entry]\nType=Application\nName=Broken\nExec={run} org.example.Missing\n")
    launch(screen, entry)
    desktop.until(lambda: asked.WINDOW in screen.windows(), "the reason")
    screen.settled(asked.SEEN)
    screen.keep_screenshot("dialog-broken")
    screen.run("/usr/bin/wtype", "-s", "500", "-k", "space", "-s", "300")
    desktop.until(lambda: not screen.windows(), "its end")
