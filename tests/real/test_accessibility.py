"""The accessibility bus through a filter: the app is read by others there, and reads nobody (SPEC §5.6)."""

import contextlib
import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from broker import bus
from tests.conftest import must_work
from tests.real import bus_service, desktop, peers, world
from tests.real.bus_service import does

pytestmark = pytest.mark.real

LAUNCHER = "/usr/libexec/at-spi-bus-launcher"
REGISTRY = "org.a11y.atspi.Registry"
ROOT = "/org/a11y/atspi/accessible/root"
KEYS = "/org/a11y/atspi/registry/deviceeventcontroller"
VARIABLE = "AT_SPI_BUS_ADDRESS"


@pytest.fixture
def here() -> Iterator[world.World]:
    """A world with a session bus, and the accessibility bus that is asked for there."""
    must_work(shutil.which("xdg-dbus-proxy"), "xdg-dbus-proxy")
    must_work(os.path.exists(LAUNCHER), "at-spi2-core, an accessibility bus")
    with world.world() as made, bus_service.session(made) as address, peers.child([LAUNCHER], made.environ):
        peers.eventually(lambda: "org.a11y.Bus" in (bus.names(address) or ((), ()))[0], "the accessibility bus")
        yield made


def address(here: world.World) -> str:
    """Where the accessibility bus is, outside."""
    session = here.environ["DBUS_SESSION_BUS_ADDRESS"]
    return bus.told(session, "org.a11y.Bus", "/org/a11y/bus", "GetAddress", peers.PATIENCE)


def test_the_registry_answers_what_a_toolkit_asks_and_nothing_else(here: world.World) -> None:
    here.install(world.manifest(world.PYTHON, {"it": {"kind": "accessibility"}}))
    good = ("call", REGISTRY, "/org/a11y/atspi/registry", REGISTRY, "GetRegisteredEvents")
    bad = [
        ("call", REGISTRY, ROOT, "org.a11y.atspi.Accessible", "GetChildren"),  # which programs there are
        ("call", REGISTRY, KEYS, "org.a11y.atspi.DeviceEventController", "RegisterKeystrokeListener"),
        ("call", REGISTRY, KEYS, "org.a11y.atspi.DeviceEventController", "GenerateKeyboardEvent"),
        ("call", "org.example.Other", ROOT, "org.a11y.atspi.Text", "GetText"),
        ("own", "org.a11y.atspi.Other"),
    ]
    with bus_service.service(address(here), "org.example.Other") as other:
        bad.append(("call", other.unique, ROOT, "org.a11y.atspi.Text", "GetText"))  # as which programs are known there
        assert does(here, good, *bad, address=VARIABLE)[0] == ["no bus"] * 7
        here.decide()
        assert does(here, good, *bad, address=VARIABLE)[0] == ["answered", *["refused"] * 6]
        assert other.asked == []
        assert does(here, good)[0] == ["no bus"]  # the session bus is another thing
        without = f"from intents.kinds import accessibility\naccessibility.RULES = (('talk', {REGISTRY!r}),)\n"
        assert does(here, bad[0], address=VARIABLE, removed=without)[0] == ["answered"]


@pytest.fixture
def screen(here: world.World) -> Iterator[desktop.Desktop]:
    """A compositor in the same session."""
    with desktop.desktop("sway", "swaymsg", "gnome-calculator") as session:
        (session.place / "runtime").rmdir()
        (session.place / "runtime").symlink_to(here.runtime)
        session.environ |= {name: here.environ[name] for name in ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")}
        session.start_sway()
        here.environ["WAYLAND_DISPLAY"] = session.environ["WAYLAND_DISPLAY"]
        yield session


@pytest.mark.parametrize("granted", [True, False])
def test_a_screen_reader_finds_the_window_of_the_app(
    here: world.World, screen: desktop.Desktop, granted: bool
) -> None:
    intents = {"screen": {"kind": "display", "protocol": "wayland"}, "read": {"kind": "accessibility"}}
    here.install(world.manifest(["/usr/bin/gnome-calculator"], intents, interface="window"))
    here.decide(*(intents if granted else ["screen"]))
    command = [os.fsdecode(word) for word in here.argv(world.APP)]
    with peers.child(command, here.environ), stopping(here):
        peers.eventually(lambda: "gnome-calculator" in "".join(screen.windows()), "the window")
        if granted:
            peers.eventually(lambda: read(here), "the window's tree")
        else:
            assert not read(here)
        environment = peers.eventually(lambda: inside(here), "the program that shows it")
        assert (b"GTK_A11Y=" in environment) is not granted
        assert (b"NO_AT_BRIDGE=" in environment) is not granted


@contextlib.contextmanager
def stopping(here: world.World) -> Iterator[None]:
    """End the app with the block: a window's sandbox outlives whoever started it."""
    try:
        yield
    finally:
        session = [os.fsdecode(word) for word in here.argv()]
        program = session[2].replace("from broker.run", "from broker.ctl")
        stop = [*session[:2], program, "stop", world.APP, "--kill"]
        subprocess.run(stop, env=here.environ, capture_output=True, check=False)


def inside(here: world.World) -> bytes:
    """The environment of the calculator in its sandbox."""
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment = (process / "environ").read_bytes()
            ours = f"HOME={here.home}".encode() in environment.split(b"\0")
            if ours and os.readlink(process / "exe").endswith("/gnome-calculator"):
                return environment
    return b""


def read(here: world.World) -> bool:
    """Whether a program outside finds the app among those that can be read."""
    children = ["gdbus", "call", "--address", address(here), "-d", REGISTRY, "-o", ROOT]
    children += ["-m", "org.a11y.atspi.Accessible.GetChildren"]
    return ":1." in subprocess.run(children, env=here.environ, capture_output=True, check=True, text=True).stdout
