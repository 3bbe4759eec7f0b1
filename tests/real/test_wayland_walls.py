"""On every compositor here, a sandboxed program has windows and nothing of what others may do (SPEC §5.4)."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest

from broker import launch, wayland
from broker.companions import wayland_context
from broker.companions import wayland_wire as wire
from intents.kinds import display
from tests.real import desktop, peers, world

pytestmark = pytest.mark.real

COMPOSITORS = [name for name in ("sway", "labwc") if shutil.which(name)]
WINDOW: dict[str, dict[str, object]] = {"window": {"kind": "display", "protocol": "wayland"}}
# The compositor's own socket, as it would be without us.
PLAIN = """
from intents import sandbox
from intents.kinds import display
def plain(host, because):
    bind = sandbox.Bind(source=host.wayland.socket, dest=f"/run/user/{host.account.uid}/wayland-0", because=because)
    return bind, sandbox.Env(name="WAYLAND_DISPLAY", value="wayland-0", because=because)
display._wayland = plain
"""
TRY = "grim -t ppm /tmp/screen; echo grim $?; wtype x; echo wtype $?; timeout 1 wl-paste --watch true; echo watch $?"


class Stage:
    """A compositor, and a world whose app has a window there."""

    def __init__(self, session: desktop.Desktop, here: world.World, path: pathlib.Path) -> None:
        self.session, self.world, self.path = session, here, path

    def keeper(self) -> str:
        """What the app's stored plan has for its walls."""
        sections = launch.read(f"{self.world.places.state}/plans/{world.APP}.pipe")
        assert sections is not None, "no plan"
        assert sections["companions"][0] == b"wayland"
        return sections["companions"][1].decode()

    @contextlib.contextmanager
    def running(self, *words: str) -> Iterator["subprocess.Popen[str]"]:
        """The app with arguments, as long as the block."""
        argv, pipe = self.world.argv(world.APP, *words), subprocess.PIPE
        with subprocess.Popen(argv, env=self.world.environ, stdin=pipe, stdout=pipe, text=True) as process:
            try:
                yield process
            finally:
                process.send_signal(signal.SIGKILL)


@pytest.fixture(params=COMPOSITORS or ["sway"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    with desktop.desktop(request.param, "grim", "wtype", "wl-paste", "wl-copy") as session, world.world() as here:
        path = session.start_compositor(request.param)
        here.environ["WAYLAND_DISPLAY"] = str(path)
        here.install(world.manifest(world.SHELL, WINDOW))
        here.decide()
        yield Stage(session, here, path)


def test_inside_nobody_sees_the_screen_types_or_watches_the_clipboard(stage: Stage) -> None:
    done = stage.world.start(TRY)
    results = dict(line.split() for line in done.stdout.decode().splitlines())
    assert results.keys() == {"grim", "wtype", "watch"}
    assert "0" not in results.values() and results["watch"] != "124", done.stderr
    assert b"screencopy" in done.stderr and b"virtual keyboard" in done.stderr
    offered = wayland.registry(str(stage.path), peers.PATIENCE)
    assert offered is not None
    expected = "wayland_context" if wayland_context.MANAGER in offered else "wayland_filter"
    assert stage.keeper() == expected
    done = stage.world.start(TRY, removed=PLAIN)
    assert done.stdout.decode().split() == ["grim", "0", "wtype", "0", "watch", "124"], done.stderr


def test_the_socket_ends_with_the_sandbox(stage: Stage) -> None:
    with stage.running("echo up; read line") as process:
        assert process.stdout is not None and process.stdout.readline() == "up\n"
        (made,) = stage.world.runtime.glob("intents/run/*/wayland")
        shown = wayland.registry(str(made), peers.PATIENCE)
        assert shown is not None and "xdg_wm_base" in shown
        assert not set(shown) & display.PRIVILEGED.keys()
    peers.eventually(lambda: wayland.registry(str(made)) is None, "nobody who answers at the socket")


@pytest.fixture
def keyboard(stage: Stage) -> Iterator[None]:
    """A keyboard for as long as the test, without which no window gets the focus."""
    with peers.child(["/usr/bin/wtype", "-s", "120000", "-k", "Shift_L"], stage.session.environ):
        yield


@pytest.mark.usefixtures("keyboard")
def test_the_clipboard_is_shared_with_whoever_has_the_focus(stage: Stage) -> None:
    with peers.child(["/usr/bin/wl-copy", "--foreground", "from outside"], stage.session.environ):
        # wl-paste opens a small window here: it has no way to the clipboard without one.
        peers.eventually(lambda: b"from outside" in stage.world.start("wl-paste").stdout, "what was copied outside")
    with stage.running("wl-copy --foreground 'from inside'"):
        said = lambda: stage.session.run("/usr/bin/wl-paste").stdout  # noqa: E731
        peers.eventually(lambda: "from inside" in said(), "what was copied inside")


class Fickle:
    """A compositor that keeps its first security context, and does ``later`` with the others."""

    def __init__(self, path: pathlib.Path, later: Callable[[socket.socket], object]) -> None:
        self._later, self.contexts = later, 0
        self.running = peers.peer(path, self._serve)

    def _serve(self, stream: socket.socket) -> None:
        stream.recv(1 << 16)
        manager = wire.message(2, wire.GLOBAL, 7, wayland_context.MANAGER.encode(), 1)
        stream.sendall(wire.message(2, wire.GLOBAL, 1, b"wl_shm", 1) + manager + wire.message(3, 0, 0))
        asked, handles, _, _ = socket.recv_fds(stream, 1 << 16, 2)
        if not asked:
            return  # it wanted to know what there is, no more
        self.contexts += 1
        with socket.socket(fileno=handles[0]) as listener:
            os.close(handles[1])
            if self.contexts > 1:
                self._later(stream)
                return
            stream.sendall(wire.message(6, 0, 0))
            client, _ = listener.accept()
            with client:
                client.recv(1 << 16)
                client.sendall(wire.message(2, wire.GLOBAL, 1, b"wl_shm", 1) + wire.message(3, 0, 0))


SHORT = "\nfrom broker.companions import wayland_context\nwayland_context.PATIENCE = 0.3\n"


@pytest.mark.parametrize(
    "later",
    [peers.says(wire.message(wire.DISPLAY, wire.ERROR, 4, 1, b"nested")), peers.hangs_up, peers.silent],
    ids=["refuses", "dies", "says nothing"],
)
def test_a_compositor_that_keeps_no_promise_gets_no_app(later: Callable[[socket.socket], object]) -> None:
    with world.world() as here:
        here.environ["WAYLAND_DISPLAY"] = f"{here.runtime}/wayland-1"
        fickle = Fickle(here.runtime / "wayland-1", later)
        with fickle.running:
            here.install(world.manifest(world.SHELL, WINDOW))
            fickle.contexts = 0  # every look at it is one
            here.decide()
            fickle.contexts = 0
            done = here.start("echo started", removed=SHORT)
        assert fickle.contexts == 2
    assert (done.returncode, done.stdout) == (125, b""), done.stderr
    assert b"companion-failed" in done.stderr
