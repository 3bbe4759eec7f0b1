"""An app's own name on the bus: given while nobody outside holds it, also to a second instance (SPEC §5.5)."""

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.conftest import must_work
from tests.real import peers, world

pytestmark = pytest.mark.real

OWN = {"it": {"kind": "dbus", "bus": "session", "own": [world.APP]}}
PING = f"dbus-send --session --print-reply --dest={world.APP} / org.freedesktop.DBus.Peer.Ping"
HOLD = f"""
import ctypes
gio, glib = ctypes.CDLL("libgio-2.0.so.0"), ctypes.CDLL("libglib-2.0.so.0")
glib.g_main_loop_new.restype = ctypes.c_void_p
gio.g_bus_own_name(2, b"{world.APP}", 0, None, None, None, None, None)
glib.g_main_loop_run(ctypes.c_void_p(glib.g_main_loop_new(None, 0)))
"""


@pytest.fixture
def here() -> Iterator[world.World]:
    must_work(shutil.which("xdg-dbus-proxy"), "xdg-dbus-proxy")
    must_work(shutil.which("dbus-send"), "dbus-send")
    with world.world() as made:
        bus = f"unix:path={made.runtime}/bus"
        with peers.message_bus(made.base, bus, {"org.freedesktop.portal.Desktop": "/bin/false"}):
            peers.eventually(lambda: (made.runtime / "bus").exists(), "the bus")
            made.environ["DBUS_SESSION_BUS_ADDRESS"] = bus
            made.install(world.manifest(world.SHELL, OWN))
            made.decide()
            yield made


def answers(here: world.World) -> bool:
    return subprocess.run(PING.split(), env=here.environ, capture_output=True, check=False).returncode == 0


def cold(here: world.World) -> subprocess.CompletedProcess[bytes]:
    """A start that looks at the bus again."""
    here.decide()
    return here.start(PING)


@pytest.mark.parametrize("portals", [False, True])
def test_a_second_instance_finds_the_name_of_the_first(here: world.World, *, portals: bool) -> None:
    """Also where the proxy, whose process is known, runs in a sandbox of its own (SPEC §9.8)."""
    if portals:
        here.install(world.manifest(world.SHELL, {**OWN, "where": {"kind": "location"}}, serial=2))
        here.decide()
    with peers.child([str(word) for word in here.argv(world.APP, f"exec python3 -c '{HOLD}'")], here.environ):
        peers.eventually(lambda: answers(here), "the name of the first instance")
        second = cold(here)
        assert (second.returncode, second.stderr) == (0, b"")


def test_a_name_that_is_held_outside_is_not_given(here: world.World) -> None:
    with peers.child(["/usr/bin/python3", "-c", HOLD], here.environ):
        peers.eventually(lambda: answers(here), "the name of a program outside")
        second = cold(here)
        assert second.returncode != 0
        assert f"`it` is granted but not given: `{world.APP}` is running outside".encode() in second.stderr
        without = "from broker import host\nhost._ours = lambda *_: True\n"  # whoever owns it counts as sandboxed
        here.decide()
        assert here.start(PING, removed=without).returncode == 0
