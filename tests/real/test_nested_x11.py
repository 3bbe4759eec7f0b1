"""X11 windows in a window: they work, and the session's other windows are out of reach (SPEC §5.4)."""

import os
import pathlib
import signal
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.companions import x11_windows
from tests.real import desktop, peers, world

pytestmark = pytest.mark.real

GALCULATOR = "net.sourceforge.galculator"
ENTRY = "10,35 780x45"  # where galculator shows what is typed and what it comes to, on a screen of 800x600
NESTED = {"it": {"kind": "display", "protocol": "x11"}}
REAL = {"it": {"kind": "display", "protocol": "x11-host"}}
NAMES = "xdotool search --onlyvisible --name . getwindowname %@ 2>&1; true"


@contextmanager
def xvfb() -> Iterator[tuple[desktop.Desktop, world.World]]:
    """An X11 session in which a program of the user's own, unsandboxed, shows its window."""
    with desktop.desktop("Xvfb", "Xephyr", "xdotool", "galculator") as session, world.world() as here:
        session.start_xvfb()
        session.spawn("/usr/bin/galculator")
        find = ("/usr/bin/xdotool", "search", "--onlyvisible", "--name", "galculator")
        desktop.until(lambda: session.run(*find).stdout.strip(), "the user's own window")
        here.environ["DISPLAY"] = session.environ["DISPLAY"]
        yield session, here


def test_the_windows_of_others_are_out_of_reach_but_on_the_real_display() -> None:
    with xvfb() as (_, here):
        here.install(world.manifest(world.SHELL, NESTED))
        here.decide()
        shown = here.says(NAMES)
        assert "galculator" not in shown
        assert here.says("echo $DISPLAY").strip() != here.environ["DISPLAY"]
        here.install(world.manifest(world.SHELL, REAL, app_id="org.example.Loud"))
        here.decide(app_id="org.example.Loud")
        assert "galculator" in here.says(NAMES, name="org.example.Loud")


def test_an_app_shows_its_window_in_a_window_on_x11() -> None:
    with xvfb() as (session, here):
        here.install(world.manifest(["/usr/bin/galculator"], NESTED, interface="window"))
        here.decide()
        with started(here):
            find = ("/usr/bin/xdotool", "search", "--onlyvisible", "--name", "Xephyr")
            desktop.until(lambda: session.run(*find).stdout.strip(), "the nested server's window")


@contextmanager
def started(here: world.World) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(here.argv(world.APP), env=here.environ, stdin=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


@pytest.fixture
def sway() -> Iterator[desktop.Desktop]:
    with desktop.desktop("sway", "swaymsg", "grim", "wtype", "Xwayland", "galculator") as session:
        session.start_sway()
        yield session


def test_the_calculator_calculates_in_a_window_of_its_server(sway: desktop.Desktop) -> None:
    sway.grant(GALCULATOR, "window", "--for", "session")
    sway.spawn(*sway.ours("broker.run", GALCULATOR))
    sway.closing.callback(sway.run, *sway.ours("broker.ctl", "stop", GALCULATOR, "--kill"))
    desktop.until(sway.windows, "the nested server's window")
    desktop.until(lambda: b"\xff" in sway.pixels(ENTRY), "the calculator on the black screen of its server")
    sway.settled(ENTRY)

    def typed(sum_: str) -> bytes:
        # One keyboard for all of it: for each the server starts a compiler of keymaps, which takes its time.
        clear = ("-s", "1500", "-k", "Escape", "-s", "300", "-k", "Escape")
        keys = (*clear, "-d", "30", sum_, "-s", "100", "-k", "Return")
        assert sway.run("/usr/bin/wtype", *keys).returncode == 0
        return sway.settled(ENTRY)

    def shown(sum_: str) -> bytes:
        """What it comes to, twice the same: on a busy machine a screen can be still before all keys have come."""
        looks = [typed(sum_), typed(sum_)]
        while looks[-1] != looks[-2]:
            assert len(looks) < 10, f"no result of {sum_}"
            looks.append(typed(sum_))
        return looks[-1]

    result = shown("12*12")
    sway.keep_screenshot("galculator-nested")
    assert result == shown("143+1")
    assert result != shown("143+2")


def children(pid: int) -> list[int]:
    found = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def below(pid: int) -> list[int]:
    return [each for child in children(pid) for each in (child, *below(child))]


def test_the_server_is_in_a_sandbox_and_ends_with_the_app(sway: desktop.Desktop) -> None:
    with world.world() as here:
        here.environ["WAYLAND_DISPLAY"] = f"{sway.environ['XDG_RUNTIME_DIR']}/wayland-1"
        here.install(world.manifest(world.SHELL, NESTED))
        here.decide()
        argv = here.argv(world.APP, "ls /run/user/*; echo up; read line")
        quiet = subprocess.PIPE
        with subprocess.Popen(argv, env=here.environ, stdin=quiet, stdout=quiet, start_new_session=True) as process:
            assert process.stdin is not None and process.stdout is not None
            assert process.stdout.readline() == b"up\n"  # nothing in the runtime directory: no Wayland for the app
            named = {pathlib.Path(f"/proc/{pid}/comm").read_text().strip(): pid for pid in below(process.pid)}
            server = named["Xwayland"]
            seen = pathlib.Path(f"/proc/{server}/mountinfo").read_text()
            assert str(here.home) not in seen and here.environ["WAYLAND_DISPLAY"] not in seen
            assert "/x11-compositor " in seen
            for namespace in ("net", "pid", "user", "mnt"):
                assert os.readlink(f"/proc/{server}/ns/{namespace}") != os.readlink(f"/proc/self/ns/{namespace}")
            assert "Seccomp:\t2" in pathlib.Path(f"/proc/{server}/status").read_text()
            process.stdin.close()
            process.wait(world.LIMIT)
        peers.eventually(lambda: not pathlib.Path(f"/proc/{server}/mountinfo").exists(), "the end of the server")


class Script:
    """A server that says what it was told to, whatever it is asked."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def recv(self, size: int, /) -> bytes:
        piece, self.data = self.data[:size], self.data[size:]
        return piece

    def sendall(self, data: bytes, /) -> None:
        assert len(data) % 4 == 0


SETUP = struct.pack("=B5xH", 1, (32 + 40) // 4) + bytes(32) + struct.pack("=I16xHH16x", 7, 800, 600)


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=8), st.binary(max_size=40))
def test_a_hostile_server_only_ends_the_x11_windows(messages: list[bytes], rest: bytes) -> None:
    manager = x11_windows.WindowManager(Script(SETUP + b"".join(messages) + rest))
    assert (manager.root, manager.width, manager.height) == (7, 800, 600)
    with pytest.raises((EOFError, struct.error)):
        while True:
            manager.turn()
