"""Kinds of devices on a machine that has them: nodes of harmless devices stand in for those that this machine lacks.

The machine is a sandbox around intent-run in which /dev holds, under the names of cameras and the like, /dev/zero.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping

import pytest

from tests.real import world

pytestmark = pytest.mark.real

# kind or node -> the nodes that are its, all of which the machine has
OURS: dict[str, tuple[str, ...]] = {
    "camera": ("/dev/media0", "/dev/video0", "/dev/video1"),
    "gpu": ("/dev/dri/renderD128", "/dev/nvidia0", "/dev/nvidiactl"),
    "input": ("/dev/input/js0",),
    "usb": ("/dev/bus/usb/001/001",),
    "device": ("/dev/ttyUSB0",),
}
NOBODYS = ("/dev/dri/card0", "/dev/input/event0", "/dev/input/mouse0", "/dev/hidraw0", "/dev/sda", "/dev/ttyUSB1")
ALL = (*NOBODYS, *(node for nodes in OURS.values() for node in nodes))
# Which of the nodes can be opened for writing, and whether what stands there is a device.
OPENS = f"""
import json, os, stat, sys
found = []
for name in {ALL!r}:
    try:
        handle = os.open(name, os.O_RDWR)
    except OSError:
        continue
    if stat.S_ISCHR(os.fstat(handle).st_mode) and os.read(handle, 4) == bytes(4):
        found.append(name)
print(json.dumps([sorted(found), os.path.isdir(sys.argv[1])]))
"""
TOLD = {"camera": "/sys/devices", "gpu": "/sys/dev/char", "input": "/sys/class/input", "usb": "/sys/devices"}


@pytest.fixture
def here() -> Iterator[world.World]:
    with world.world() as made:
        yield made


# A namespace of one user shows what is root's as nobody's, and intent-run takes programs from root alone.
NOBODYS_PROGRAMS = """
from broker import programs
programs.find = lambda name, search=(): f"/usr/bin/{name}"
"""


def machine(here: world.World, nodes: tuple[str, ...], *words: str) -> list[str]:
    """The command line of intent-run on a machine that has these nodes."""
    devices = [word for node in nodes for word in ("--dev-bind", "/dev/zero", node)]
    found = here.argv(world.APP, *words, removed=NOBODYS_PROGRAMS if os.geteuid() else "")
    return ["bwrap", "--bind", "/", "/", "--dev", "/dev", *devices, "--", *map(os.fsdecode, found)]


def on_the_machine(here: world.World, *words: str) -> subprocess.CompletedProcess[bytes]:
    """intent-run on a machine that has all these nodes."""
    return subprocess.run(
        machine(here, ALL, *words),
        env=here.environ,
        cwd=here.base,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        start_new_session=True,
        timeout=world.LIMIT,
        check=False,
    )


def opened(here: world.World, told: str) -> tuple[list[str], bool]:
    """Which nodes can be used inside, and whether there is a directory of /sys that tells of them."""
    done = on_the_machine(here, OPENS, told)
    assert done.returncode == 0, done.stderr
    found, exists = json.loads(done.stdout)
    return found, exists


@pytest.mark.parametrize("kind", OURS)
def test_its_nodes_are_there_when_it_is_granted_and_no_others(here: world.World, kind: str) -> None:
    scope: Mapping[str, object] = {"kind": kind, **({"nodes": ["/dev/ttyUSB0"]} if kind == "device" else {})}
    here.install(world.manifest(world.PYTHON, {"it": scope}))
    told = TOLD.get(kind, "/sys")
    assert opened(here, told) == ([], False)
    here.decide()
    assert opened(here, told) == (list(OURS[kind]), os.path.isdir(told) and kind in TOLD)


def test_without_the_devices_the_grant_is_withheld(here: world.World) -> None:
    here.install(world.manifest(world.PYTHON, {"it": {"kind": "usb"}, "play": {"kind": "input"}}))
    here.decide()
    bare = machine(here, (), OPENS, "/sys")
    done = subprocess.run(bare, env=here.environ, cwd=here.base, capture_output=True, check=False)
    assert json.loads(done.stdout) == [[], False]
    assert b"no game controller" in done.stderr and b"no USB devices" in done.stderr
