"""On every compositor here, a sandboxed program has windows and nothing of what others may do (SPEC §5.4)."""

import contextlib
import pathlib
import shutil
import signal
import subprocess
from collections.abc import Iterator

import pytest

from broker import launch, wayland
from broker.companions import wayland_context
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
        argv, pipe = self.world.argv(*words), subprocess.PIPE
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
