"""Real desktop programs in real sessions: their windows work, and what they were not given is not there (SPEC §5.4)."""

import os
import pathlib
from collections.abc import Iterator

import pytest

from intents import sign
from tests.real import desktop

pytestmark = pytest.mark.real

CALCULATOR = "org.gnome.Calculator"
WINDOW = "gnome-calculator"  # what it calls its window where it has no bus to register on
ENTRY = "80,280 640x55"  # where the calculator shows what is typed and what it comes to, on a screen of 800x600
WHOLE = "0,0 800x600"


@pytest.fixture
def wayland() -> Iterator[desktop.Desktop]:
    with desktop.desktop("sway", "swaymsg", "grim", "wtype", "dbus-daemon", "gnome-calculator", "foot") as session:
        session.start_bus()
        session.start_sway()
        yield session


def start(session: desktop.Desktop, app: str) -> None:
    session.spawn(*session.ours("broker.run", app))
    # A window's sandbox outlives the process that started it, as it should; here it ends with the session.
    session.closing.callback(session.run, *session.ours("broker.ctl", "stop", app, "--kill"))


def open_calculator(session: desktop.Desktop) -> int:
    """Start the sandboxed calculator and wait for its window; the pid of the program."""
    start(session, CALCULATOR)
    desktop.until(lambda: WINDOW in session.windows(), "the calculator's window")
    session.settled(WHOLE)
    return session.inside(CALCULATOR)


def mounts(pid: int) -> dict[str, tuple[str, str]]:
    """Mount point -> (file system, source within it), as the process sees them (proc_pid_mountinfo(5))."""
    rows = [line.split() for line in pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    return {row[4]: (row[row.index("-") + 1], row[3]) for row in rows}


def still_caret(session: desktop.Desktop) -> None:
    """Settle in the calculator's own directory that its caret does not blink, so that screens can be compared."""
    key = sign.lineage(sign.parse_public_key(sign.REPOSITORY_KEY))
    settings = session.place / f"data/intents/apps/{CALCULATOR}-{key}/config/gtk-4.0/settings.ini"
    for directory in reversed(settings.relative_to(session.place).parents[:-1]):
        (session.place / directory).mkdir(mode=0o700, exist_ok=True)
    settings.write_text("[Settings]\ngtk-cursor-blink=false\n")


def test_the_calculator_calculates(wayland: desktop.Desktop) -> None:
    still_caret(wayland)
    wayland.grant(CALCULATOR, "window", "--for", "session")
    open_calculator(wayland)

    def shown(sum_: str) -> bytes:
        wayland.run("/usr/bin/wtype", "-s", "500", "-k", "Escape")
        wayland.type(sum_)
        typed = wayland.settled(ENTRY)
        wayland.type("=")
        desktop.until(lambda: wayland.pixels(ENTRY) != typed, f"the result of {sum_}")
        return wayland.settled(ENTRY)

    result = shown("12*12")
    wayland.keep_screenshot("calculator")
    assert result == shown("143+1")
    assert result != shown("143+2")


def test_the_calculator_has_its_window_and_nothing_of_the_user(wayland: desktop.Desktop) -> None:
    wayland.grant(CALCULATOR, "window", "--for", "session")
    inside = open_calculator(wayland)
    seen = mounts(inside)
    runtime, home = f"/run/user/{os.getuid()}", wayland.environ["HOME"]
    devices = pathlib.Path(f"/proc/{inside}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in devices] == ["lo"]
    assert sorted(path for path in seen if path.startswith(runtime)) == [runtime, f"{runtime}/wayland-0"]
    assert seen[home][0] == "tmpfs"
    own = [path for path, (_, source) in seen.items() if path.startswith(f"{home}/") and "/intents/apps/" not in source]
    assert own == []
    environment = pathlib.Path(f"/proc/{inside}/environ").read_bytes().split(b"\0")
    assert not [item for item in environment if item.startswith(b"DBUS_")]


def test_without_a_window_it_is_not_started(wayland: desktop.Desktop) -> None:
    done = wayland.run(*wayland.ours("broker.run", CALCULATOR))
    assert done.returncode == 126
    assert f"intent-ctl grant {CALCULATOR} window" in done.stderr


def test_a_terminal_shows_the_sandbox_it_runs_in(wayland: desktop.Desktop) -> None:
    wayland.grant("foot", "window", "--for", "session")
    start(wayland, "foot")
    desktop.until(lambda: "foot" in wayland.windows(), "the terminal's window")
    before = wayland.settled(WHOLE)
    wayland.type("ls -a ~; id\n")
    desktop.until(lambda: wayland.pixels(WHOLE) != before, "an answer")
    wayland.settled(WHOLE)
    wayland.keep_screenshot("foot")
    foot = wayland.inside("org.codeberg.dnkl.foot")
    (shell,) = desktop.children(foot)
    assert mounts(int(shell)) == mounts(foot)
