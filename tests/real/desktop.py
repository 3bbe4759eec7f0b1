"""A desktop without a screen: headless sway or Xvfb, a session bus, and intent-run in an environment of its own."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import IO

from intents import parse, sign
from tests.conftest import must_work
from tests.real import pointer

ROOT = pathlib.Path(__file__).parents[2]
PATIENCE = 60.0  # seconds until something that takes one counts as never
COMMAND = "import sys; sys.path.insert(0, {root!r}); from {module} import main; sys.exit(main())"
SWAY = """output HEADLESS-1 resolution 800x600
default_border none
"""


def until(found: Callable[[], object], what: str) -> None:
    """Wait until ``found()`` is true; fail naming ``what`` when it never is."""
    deadline = time.monotonic() + PATIENCE
    while not found():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)


class Desktop:
    """A running session; ``environ`` is what programs in it are started with."""

    def __init__(self, place: pathlib.Path, closing: contextlib.ExitStack) -> None:
        self.place = place
        self.closing = closing
        self.environ = {
            "PATH": "/usr/bin:/bin",
            "HOME": os.environ.get("HOME", "/"),
            "LANG": "C.UTF-8",
            "INTENT_UI": "tty",  # no window that asks
            "PYTHONDONTWRITEBYTECODE": "1",
            "XDG_RUNTIME_DIR": str(place / "runtime"),
            **{f"XDG_{name}_HOME": str(place / name.lower()) for name in ("STATE", "DATA", "CONFIG")},
        }
        for name in ("runtime", "state", "data", "config"):
            (place / name).mkdir(mode=0o700)

    def spawn(
        self, *argv: str, stderr: int | IO[bytes] | None = subprocess.DEVNULL, cwd: pathlib.Path | None = None
    ) -> "subprocess.Popen[bytes]":
        """Start a program that is ended with the session."""
        null = subprocess.DEVNULL
        child = subprocess.Popen(argv, env=self.environ, stdin=null, stdout=null, stderr=stderr, cwd=cwd)
        self.closing.callback(_end, child)
        return child

    def run(self, *argv: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run a program in the session to its end."""
        environ, null = {**self.environ, **more}, subprocess.DEVNULL
        return subprocess.run(argv, env=environ, stdin=null, capture_output=True, text=True, timeout=PATIENCE)

    def ours(self, module: str, *words: str) -> list[str]:
        """The command line of one of our own commands."""
        return [sys.executable, "-c", COMMAND.format(root=str(ROOT), module=module), *words]

    def grant(self, app: str, *words: str) -> str:
        """``intent-ctl grant``; what it said."""
        done = self.run(*self.ours("broker.ctl", "grant", app, *words))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def install(self, text: str) -> None:
        """A manifest of the user's own catalog, signed by a publisher whom the user trusts."""
        body, key = text.encode(), (ROOT / "tests" / "keys" / "other").read_bytes()
        app_id = parse.parse(body, file="manifest").app.id
        signature = sign.sign(body, key, None)
        for suffix, content in (("toml", body), ("toml.sig", signature)):
            file = self.place / "data" / "intents" / "manifests" / f"{app_id}.{suffix}"
            for directory in reversed(file.relative_to(self.place).parents[:-1]):
                (self.place / directory).mkdir(mode=0o700, exist_ok=True)
            file.write_bytes(content)
            file.chmod(0o600)
        whose = sign.verify(body, signature).fingerprint
        done = self.run(*self.ours("broker.ctl", "trust", "accept", app_id, whose))
        assert done.returncode == 0, done.stderr

    def start_bus(self, *services: str) -> None:
        """A session bus that starts only those of the host's services, so that nothing else of it answers there."""
        config = self.place / "bus.conf"
        socket = self.place / "runtime" / "bus"
        (self.place / "services").mkdir()
        for name in services:
            shutil.copy(f"/usr/share/dbus-1/services/{name}.service", self.place / "services")
        config.write_text(
            '<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"'
            ' "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">'
            f"<busconfig><type>session</type><listen>unix:path={socket}</listen>"
            f"<servicedir>{self.place / 'services'}</servicedir>"
            "<policy context='default'><allow send_destination='*' eavesdrop='true'/><allow eavesdrop='true'/>"
            "<allow own='*'/></policy></busconfig>"
        )
        self.spawn("/usr/bin/dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile")
        until(socket.exists, "the session bus")
        self.environ["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={socket}"

    def start_sway(self) -> None:
        """A Wayland compositor that draws into memory."""
        config = self.place / "sway.conf"
        config.write_text(SWAY)
        self.start_compositor("sway", "--config", str(config))
        runtime = self.place / "runtime"
        until(lambda: [*runtime.glob("sway-ipc.*.sock")], "the compositor")
        self.environ |= {"SWAYSOCK": str(next(runtime.glob("sway-ipc.*.sock")))}

    def start_compositor(self, name: str, *words: str) -> pathlib.Path:
        """A compositor of the wlroots family that draws into memory; its socket."""
        self.environ |= {"WLR_BACKENDS": "headless", "WLR_RENDERER": "pixman", "WLR_LIBINPUT_NO_DEVICES": "1"}
        # sway refuses uid 0; to the kernel it stays the same user.
        mask = ("/usr/bin/unshare", "--user", "--map-user=1000", "--map-group=1000") if os.geteuid() == 0 else ()
        self.spawn(*mask, f"/usr/bin/{name}", *words)
        runtime = self.place / "runtime"
        until(lambda: [*runtime.glob("wayland-[0-9]")], "the compositor")
        (found,) = runtime.glob("wayland-[0-9]")
        self.environ |= {"WAYLAND_DISPLAY": found.name}
        return found

    def start_xvfb(self) -> None:
        """An X11 server that draws into memory."""
        reading, writing = os.pipe()
        child = subprocess.Popen(
            ["/usr/bin/Xvfb", "-displayfd", str(writing), "-screen", "0", "800x600x24", "-nolisten", "tcp"],
            pass_fds=[writing], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.closing.callback(_end, child)
        os.close(writing)
        with open(reading) as found:
            number = found.readline().strip()
        assert number, "Xvfb did not start"
        self.environ["DISPLAY"] = f":{number}"

    def windows(self) -> dict[str, int]:
        """Of each window of the compositor: app id -> pid."""
        tree = json.loads(self.run("/usr/bin/swaymsg", "-r", "-t", "get_tree").stdout)
        return dict(_leaves(tree))

    def inside(self, app: str) -> int:
        """The pid of the program of the one running sandbox of ``app``."""

        def found() -> list[str]:
            said = json.loads(self.run(*self.ours("broker.ctl", "ps", "--json")).stdout)["instances"]
            firsts = [each["sandbox_pid"] for each in said if each["app"] == app and each["sandbox_pid"]]
            return [pid for first in firsts for pid in children(first)]

        until(found, f"the program of {app}")
        (pid,) = found()
        return int(pid)

    def type(self, text: str) -> None:
        """Type as the user would. The keyboard is a new one each time, which programs need a moment to notice."""
        done = self.run("/usr/bin/wtype", "-s", "500", "-d", "30", text)
        assert done.returncode == 0, done.stderr

    def click(self, x: int, y: int, before: Callable[[], None] = lambda: None) -> None:
        """Click there, on a screen of 800x600, at once after ``before``."""
        pointer.click(self.place / "runtime" / self.environ["WAYLAND_DISPLAY"], x, y, before)

    def keep_screenshot(self, name: str) -> None:
        """Leave the screen as a PNG file in the directory INTENTS_SHOTS, for people to look at."""
        if keep := os.environ.get("INTENTS_SHOTS"):
            self.run("/usr/bin/grim", f"{keep}/{name}.png")

    def pixels(self, region: str) -> bytes:
        """A region of the screen (``x,y WxH``), as it is now."""
        path = self.place / "region.ppm"
        done = self.run("/usr/bin/grim", "-t", "ppm", "-g", region, str(path))
        assert done.returncode == 0, done.stderr
        return path.read_bytes()

    def colour(self, at: str) -> tuple[int, int, int]:
        """Red, green and blue of one pixel (``x,y``)."""
        red, green, blue = self.pixels(f"{at} 1x1")[-3:]
        return red, green, blue

    def settled(self, region: str) -> bytes:
        """The region once it is the same in four looks in a row."""
        looks = [self.pixels(region)]

        def still() -> bool:
            looks.append(self.pixels(region))
            return len(looks) >= 4 and len(set(looks[-4:])) == 1

        until(still, "a still screen")
        return looks[-1]


def children(pid: int) -> list[str]:
    """The pids of a process's children."""
    return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _leaves(node: dict[str, object]) -> Iterator[tuple[str, int]]:
    if node.get("pid") and node.get("type") in ("con", "floating_con"):
        yield str(node.get("app_id") or node.get("name")), int(str(node["pid"]))
    for key in ("nodes", "floating_nodes"):
        children = node.get(key)
        for child in children if isinstance(children, list) else []:
            yield from _leaves(child)


def _end(child: "subprocess.Popen[bytes]") -> None:
    child.terminate()
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


@contextlib.contextmanager
def desktop(*needed: str) -> Iterator[Desktop]:
    """A session that has nothing started yet. ``needed`` are programs of /usr/bin."""
    for program in (*needed, "bwrap"):
        must_work(shutil.which(program, path="/usr/bin"), f"/usr/bin/{program} is not installed")
    with contextlib.ExitStack() as closing:
        place = closing.enter_context(tempfile.TemporaryDirectory(prefix="intents-desktop-", dir="/var/tmp"))
        yield Desktop(pathlib.Path(place), closing)


