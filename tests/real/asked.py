"""intent-run without a terminal on a desktop of its own: the window that asks, and the hands and eyes before it."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from tests.real import bus_service, desktop, starting, world

WINDOW = "intent-run"  # what it calls itself
SEEN = "0,0 800x600"
DENY = (599, 535)  # in the middle of the button that denies all
# Input counts at once, as if there were no protection, or after longer than it takes to press a key.
SETTLE = "from broker.ui import dialog\ndialog.Dialog.__init__.__defaults__ = ({seconds}, None)\n"
AT_ONCE, SLOWLY = SETTLE.format(seconds=0.0), SETTLE.format(seconds=3.0)


class Asked:
    """A desktop, and the world in which intent-run is started there."""

    def __init__(self, where: world.World, screen: desktop.Desktop, closing: ExitStack) -> None:
        self.where, self.screen, self._closing = where, screen, closing

    def begin(
        self, *words: str, removed: str = "", environ: Mapping[str, str] | None = None, name: str = world.APP
    ) -> "subprocess.Popen[bytes]":
        """intent-run as a launcher starts it: in a session of its own, without a terminal."""
        started = subprocess.Popen(
            starting.command(self.where, name, *words, removed=removed),
            env={**self.where.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._closing.callback(_end, started)
        return started

    def open(self, *words: str, **how: str) -> "subprocess.Popen[bytes]":
        """``begin``, and wait until the window is on the screen and has been drawn."""
        begun = self.begin(*words, **how)  # type: ignore[arg-type]
        desktop.until(lambda: WINDOW in self.screen.windows(), "the window")
        self.screen.settled(SEEN)
        return begun

    def helper(self) -> int:
        """The pid of the process that draws the window."""
        desktop.until(lambda: WINDOW in self.screen.windows(), "the window")
        return self.screen.windows()[WINDOW]

    def press(self, *keys: str, wait: int = 900) -> None:
        """Press keys by name, one after the other, ``alt+`` before one that is held with Alt; input counts by then.

        The keyboard is a new one, and what has the focus loses it when it goes away again.
        """
        words = ["-s", str(wait)]
        for key in keys:
            alt = key.startswith("alt+")
            held = ["-M", "alt", "-k", key[4:], "-m", "alt"] if alt else ["-k", key]
            words += [*held, "-s", "400" if alt else "60"]
        done = self.screen.run("/usr/bin/wtype", *words, "-s", "400")
        assert done.returncode == 0, done.stderr

    def type(self, text: str, wait: int = 900) -> None:
        """Type a text once input counts."""
        done = self.screen.run("/usr/bin/wtype", "-s", str(wait), "-d", "30", text, "-s", "400")
        assert done.returncode == 0, done.stderr


@contextmanager
def desk(intents: Mapping[str, Mapping[str, object]] = starting.BOTH, **how: object) -> Iterator[Asked]:
    """A home as ``starting.home`` makes it, on a desktop with a compositor and a session bus."""
    with ExitStack() as closing:
        where = closing.enter_context(starting.home(intents, **how))  # type: ignore[arg-type]
        closing.enter_context(bus_service.session(where))
        screen = closing.enter_context(desktop.desktop("sway", "swaymsg", "grim", "wtype"))
        (screen.place / "runtime").rmdir()
        (screen.place / "runtime").symlink_to(where.runtime)
        screen.environ |= {name: where.environ[name] for name in ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")}
        screen.start_sway()
        del where.environ["INTENT_UI"]
        where.environ["WAYLAND_DISPLAY"] = screen.environ["WAYLAND_DISPLAY"]
        yield Asked(where, screen, closing)


def ends(begun: "subprocess.Popen[bytes]", status: int) -> str:
    """What it printed, standard error first, once it ended with this status."""
    output, error = begun.communicate(timeout=desktop.PATIENCE)
    assert begun.returncode == status, (begun.returncode, output, error)
    return (error + output).decode()


def _end(started: "subprocess.Popen[bytes]") -> None:
    if started.poll() is None:
        os.kill(started.pid, 9)
    started.communicate()
