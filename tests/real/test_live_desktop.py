"""Buses, sound and windows taken from a running app: what is open to them is closed, and so is the way to them."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from broker import beside
from intents.kinds import display
from tests import control
from tests.conftest import must_work
from tests.control import APP
from tests.real import desktop, lively, peers, test_attacks_bus, test_nested_x11, world

pytestmark = pytest.mark.real

# Connects, says so, and says when the other side has hung up.
CONNECT = """/usr/bin/python3 -I -S -c '
import socket, os
s = socket.socket(socket.AF_UNIX); s.connect("{socket}"); open(os.path.expanduser("~/.cache/up"), "w").close()
while s.recv(4096): pass
open(os.path.expanduser("~/.cache/over"), "w").close()' >/dev/null 2>&1 &"""


def connected(app: lively.App, socket: str) -> pathlib.Path:
    """Let the app connect to a socket and stay; the file that appears when it has lost the connection."""
    cache = app.home.own("cache")
    app.says(CONNECT.format(socket=socket))
    peers.eventually((cache / "up").exists, "the connection")
    assert not (cache / "over").exists()
    return cache / "over"


def revoked(home: world.World, *intents: str, status: int = 0) -> dict[str, object]:
    (row,) = control.data(home, "revoke", APP, *intents, "--now", status=status)["now"]  # type: ignore[misc]
    assert isinstance(row, dict)
    return row


def test_a_bus_is_closed() -> None:
    must_work(shutil.which("xdg-dbus-proxy"), "xdg-dbus-proxy")
    with world.world() as home:
        address = f"unix:path={home.runtime}/bus"
        call = test_attacks_bus.CALL.format("org.example.Given")
        with peers.message_bus(home.base, address, {}):
            peers.eventually((home.runtime / "bus").exists, "the bus")
            home.environ["DBUS_SESSION_BUS_ADDRESS"] = address
            env = {"PATH": os.environ["PATH"], "DBUS_SESSION_BUS_ADDRESS": address}
            with peers.child(test_attacks_bus.owner("org.example.Given"), env):
                peers.eventually(lambda: test_attacks_bus.owned(env, "org.example.Given"), "the service")
                scopes = {
                    name: {"kind": "dbus", "bus": "session", "talk": [f"org.example.{name.title()}"]}
                    for name in ("given", "other")
                }
                home.install(world.manifest(world.SHELL, scopes, interface="window"))
                home.decide()
                with lively.running(home) as app:
                    assert "string" in app.says(call)
                    over = connected(app, f"/run/user/{os.geteuid()}/bus")
                    row = revoked(home, "other")
                    assert row["closed"] == ["session"] and row["later"] == []
                    peers.eventually(over.exists, "the end of the connection")
                    assert "string" not in app.says(f"{call} 2>&1"), "the other name of the same bus is lost with it"
                    assert row["also"] == ["given"]
                    (change,) = row["changed"]  # type: ignore[misc]
                    assert (change["before"], change["after"]) == ("made", None)
                with lively.running(home) as app:
                    assert "string" in app.says(call), "until its next start"


def test_a_portal_is_closed_with_the_bus_that_leads_to_it() -> None:
    """Its filter runs in a sandbox of its own, and its sockets are of that sandbox's network (SPEC §9.8)."""
    must_work(shutil.which("xdg-dbus-proxy"), "xdg-dbus-proxy")
    portal = "org.freedesktop.portal.Desktop"
    with world.world() as home:
        address = f"unix:path={home.runtime}/bus"
        with peers.message_bus(home.base, address, {}):
            peers.eventually((home.runtime / "bus").exists, "the bus")
            home.environ["DBUS_SESSION_BUS_ADDRESS"] = address
            env = {"PATH": os.environ["PATH"], "DBUS_SESSION_BUS_ADDRESS": address}
            with peers.child(test_attacks_bus.owner(portal), env):
                peers.eventually(lambda: test_attacks_bus.owned(env, portal), "the portal")
                home.install(world.manifest(world.SHELL, {"links": {"kind": "open-uri"}}, interface="window"))
                home.decide()
                with lively.running(home) as app:
                    over = connected(app, f"/run/user/{os.geteuid()}/bus")
                    row = revoked(home, "links")
                    assert row["closed"] == ["session"] and row["later"] == []
                    peers.eventually(over.exists, "the end of the connection")


def test_sound_is_closed() -> None:
    must_work(shutil.which("pulseaudio"), "pulseaudio, a sound server")
    with world.world() as home:
        modules = ["module-null-sink sink_name=quiet", "module-native-protocol-unix"]
        server = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"]
        server += [word for module in modules for word in ("-L", module)]
        with peers.child(server, home.environ):
            peers.eventually((home.runtime / "pulse" / "native").exists, "the sound server")
            sound = {"it": {"kind": "audio", "uses": ["playback"]}}
            home.install(world.manifest(world.SHELL, sound, interface="window"))
            home.decide()
            with lively.running(home) as app:
                app.says("pacat --raw /dev/zero >/dev/null 2>&1 & echo")
                env = {**home.environ, "PULSE_SERVER": f"unix:{home.runtime}/pulse/native"}
                playing = ["pactl", "list", "short", "sink-inputs"]

                def plays() -> bytes:
                    return subprocess.run(playing, env=env, capture_output=True, check=True).stdout

                peers.eventually(plays, "the stream")
                row = revoked(home, "it")
                assert row["closed"] == ["pulse"] and row["later"] == []
                peers.eventually(lambda: not plays(), "its end")
                assert "refused" in app.says("pactl info 2>&1; true").lower()


@pytest.mark.parametrize("compositor", [name for name in ("sway", "labwc") if shutil.which(name)] or ["sway"])
def test_windows_on_wayland_are_closed(compositor: str) -> None:
    """By a filter of ours, at once; by the compositor's own context, from the next connection on, which is said."""
    with desktop.desktop(compositor) as session, world.world() as home:
        path = session.start_compositor(compositor)
        home.environ["WAYLAND_DISPLAY"] = str(path)
        home.install(world.manifest(world.SHELL, {"it": WAYLAND}, interface="window"))
        home.decide()
        contexts = display.in_context(home.load().host.wayland)
        with lively.running(home) as app:
            over = connected(app, f"/run/user/{os.geteuid()}/wayland-0")
            row = revoked(home, "it", status=int(contexts))
            assert row["closed"] == ([] if contexts else ["wayland"])
            assert [each["why"] for each in row["later"]] == (  # type: ignore[attr-defined]
                ["the connections it has to wayland stay until it ends"] if contexts else []
            )
            assert contexts or peers.eventually(over.exists, "the end of the connection")
            assert "No such file" in app.says("ls $XDG_RUNTIME_DIR/$WAYLAND_DISPLAY 2>&1")
        with lively.running(home):
            assert path.exists(), "the compositor runs on"


WAYLAND = {"kind": "display", "protocol": "wayland"}


def test_a_nested_x_server_is_ended() -> None:
    with test_nested_x11.xvfb() as (_, home):
        home.install(world.manifest(world.SHELL, test_nested_x11.NESTED, interface="window"))
        home.decide()
        with lively.running(home) as app:
            assert "denied" not in app.says("xdotool getdisplaygeometry 2>&1")
            (row,) = control.data(home, "revoke", APP, "it", "--now")["now"]  # type: ignore[misc]
            assert row["closed"] == ["x11"] and row["later"] == []
            assert "open display" in app.says("xdotool getdisplaygeometry 2>&1").lower()


def test_a_device_comes_and_goes() -> None:
    must_work("/dev/fuse" if os.access("/dev/fuse", os.W_OK) else None, "/dev/fuse, a device that anybody may use")
    with world.world() as home:
        device = {"it": {"kind": "device", "nodes": ["/dev/fuse"]}}
        home.install(world.manifest(world.SHELL, device, interface="window"))
        opens = "exec 7</dev/fuse && echo opened"
        with lively.running(home) as app:
            bare = app.mounts()
            assert "opened" not in app.says(f"( {opens} )")
            control.done(home, "grant", APP, "it", "--now", "--for", "forever")
            assert "opened" in app.says(f"( {opens} )")
            given = app.mounts()
            control.done(home, "revoke", APP, "it", "--now")
            assert "opened" not in app.says(f"( {opens} )") and app.mounts() == bare
            control.done(home, "grant", APP, "it", "--now", "--for", "forever")
        with lively.running(home) as app:
            assert app.mounts() == given


BIND = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(1); sys.stdin.read()"


def test_a_program_of_the_user_that_serves_a_socket_of_the_launch_is_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a compositor does for a security context: it holds the very socket."""
    with world.world() as home:
        home.install(world.manifest(world.SHELL, {}, interface="window"))
        with lively.running(home) as app:
            directory = pathlib.Path(app.instance.path.removesuffix(".json"))
            directory.mkdir(exist_ok=True)
            argv = [sys.executable, "-I", "-S", "-c", BIND, str(directory / "wayland")]
            with subprocess.Popen(argv, stdin=subprocess.PIPE) as holder:
                peers.eventually((directory / "wayland").exists, "the socket")
                assert beside.close(app.instance, ["wayland"]) == () and holder.poll() is None
                monkeypatch.setattr(beside, "_ancestry", lambda _pid: (app.instance.pid,))
                assert beside.close(app.instance, ["wayland"]) == ("wayland",)
                assert holder.wait(peers.PATIENCE) != 0
