"""A real message bus behind the filter: what is granted answers, what is not does not exist, nothing stays behind."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.conftest import must_work
from tests.real import peers, world

pytestmark = pytest.mark.real

WINDOW = "org.example.Window"
# The type in a directory is that of the mount point, which is a plain file: every name is looked at.
SOCKETS = "find / -path /proc -prune -o -path /usr -prune -o -exec test -S {} \\; -print 2>/dev/null; true"
CALL = "dbus-send --session --print-reply --dest={} / org.freedesktop.DBus.Peer.GetMachineId"


@pytest.fixture(scope="module")
def here() -> Iterator[world.World]:
    must_work(shutil.which("xdg-dbus-proxy"), "xdg-dbus-proxy")
    must_work(shutil.which("gdbus"), "gdbus, a client that can own names")
    with world.world() as made:
        bus = f"unix:path={made.runtime}/bus"
        with peers.message_bus(made.base, bus, {}):
            peers.eventually(lambda: (made.runtime / "bus").exists(), "the bus")
            made.environ["DBUS_SESSION_BUS_ADDRESS"] = bus
            env = {"PATH": os.environ["PATH"], "DBUS_SESSION_BUS_ADDRESS": bus}
            with (
                peers.child(owner("org.example.Given"), env),
                peers.child(owner("org.example.Other"), env),
                peers.child(owner("org.example.Seen"), env),
            ):
                for name in ("Given", "Other", "Seen"):
                    peers.eventually(lambda name=name: owned(env, f"org.example.{name}"), name)  # type: ignore[misc]
                scope = {"kind": "dbus", "bus": "session", "talk": ["org.example.Given"], "see": ["org.example.Seen"]}
                made.install(world.manifest(world.SHELL, {"it": scope}))
                made.install(world.manifest(world.SHELL, {"it": scope}, app_id=WINDOW, interface="window"))
                made.decide(app_id=WINDOW)
                made.decide()
                yield made


def owner(name: str) -> list[str]:
    """A program that owns a name: gdbus waits for another one for ever."""
    code = f"""
import ctypes
gio = ctypes.CDLL("libgio-2.0.so.0")
glib = ctypes.CDLL("libglib-2.0.so.0")
glib.g_main_loop_new.restype = ctypes.c_void_p
gio.g_bus_own_name(2, b"{name}", 0, None, None, None, None, None)
glib.g_main_loop_run(ctypes.c_void_p(glib.g_main_loop_new(None, 0)))
"""
    return ["/usr/bin/python3", "-c", code]


def owned(env: dict[str, str], name: str) -> bool:
    done = subprocess.run(CALL.format(name).split(), env=env, capture_output=True, check=False)
    return done.returncode == 0


def test_a_granted_name_answers_and_another_does_not_exist(here: world.World) -> None:
    assert "string" in here.says(CALL.format("org.example.Given"))
    refused = here.start(CALL.format("org.example.Other"))
    assert refused.returncode != 0
    assert b"ServiceUnknown" in refused.stderr or b"NameHasNoOwner" in refused.stderr
    seen = here.start(CALL.format("org.example.Seen"))
    assert b"AccessDenied" in seen.stderr
    listed = here.says("gdbus call --session -d org.freedesktop.DBus -o / -m org.freedesktop.DBus.ListNames")
    assert "org.example.Given" in listed
    assert "org.example.Other" not in listed
    removed = """
from intents import bwrap
real = bwrap._proxy
bwrap._proxy = lambda *_: [arg for arg in real(*_) if arg != "=--filter"]
"""
    assert "string" in here.says(CALL.format("org.example.Other"), removed=removed)


def test_without_a_grant_there_is_no_bus_at_all(here: world.World) -> None:
    here.install(world.manifest(world.SHELL, app_id="org.example.Busless"))
    assert "DBUS" not in here.says("env", name="org.example.Busless")
    assert here.says(SOCKETS, name="org.example.Busless") == ""
    assert here.start(CALL.format("org.example.Given"), name="org.example.Busless").returncode != 0


def test_the_bus_itself_is_not_reached(here: world.World) -> None:
    assert here.says(SOCKETS).split() == [f"/run/user/{os.geteuid()}/bus"]
    assert str(here.runtime) not in here.says("cat /proc/net/unix; env")


def proxies(pid: int) -> list[int]:
    """The proxies that the process started."""
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        found = [int(child) for child in children.read().split()]
    return [child for child in found if comm(child) == "xdg-dbus-proxy"]


def comm(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm") as name:
            return name.read().strip()
    except OSError:
        return ""


def over(pid: int) -> bool:
    """Whether the process ended; one that nobody waits for is over, too."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


@pytest.mark.parametrize("end", ["by itself", "killed"])
@pytest.mark.parametrize("name", [world.APP, WINDOW])
def test_the_filter_ends_with_the_sandbox(here: world.World, name: str, end: str) -> None:
    with subprocess.Popen(
        here.argv(name, "echo up; read line"),
        env=here.environ,
        cwd=here.base,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        (proxy,) = proxies(process.pid)
        assert os.getsid(proxy) == proxy  # out of reach of ^C and of the job
        if end == "killed" and name == world.APP:
            process.send_signal(signal.SIGKILL)
        else:
            process.stdin.close()
        process.wait(world.LIMIT)
        peers.eventually(lambda: over(proxy), "the end of the filter")


def test_the_app_cannot_reach_the_filters_process(here: world.World) -> None:
    shown = here.says("ls /proc | grep -E '^[0-9]+$' | while read pid; do cat /proc/$pid/comm 2>/dev/null; done; true")
    assert "xdg-dbus-proxy" not in shown
    # One descriptor keeps the filter alive; the app does not hold it, so it cannot end it or keep it.
    assert here.says("ls /proc/self/fd | wc -l") == "4\n"
