"""What ``sight`` says of a path against a look from inside the same sandbox (SPEC §11.4)."""

import json
import os
from collections.abc import Iterator

import pytest

from broker import journal, state, why
from intents import compiler, decide, sandbox, sight
from tests.real import world

pytestmark = pytest.mark.real

# For each path of a JSON array: the object that is there, or null; whether it can be read; whether it can be changed.
LOOK = """
import json, os, sys
for path in json.loads(sys.argv[1]):
    try:
        info = os.stat(path)
        there = [info.st_dev, info.st_ino]
    except OSError:
        there = None
    print(json.dumps([path, there, os.access(path, os.R_OK), os.access(path, os.W_OK)]))
"""
INTENTS: dict[str, dict[str, object]] = {
    "notes": {"kind": "path", "place": "home/Notes", "access": "read"},
    "work": {"kind": "path", "place": "home/Work", "access": "write"},
    "conf": {"kind": "path", "place": "home/.config/kdeglobals", "access": "read"},
    "fuse": {"kind": "device", "nodes": ["/dev/fuse"]},
}
SYSTEM = (
    "/", "/usr/bin/env", "/bin/sh", "/lib", "/etc/passwd", "/etc/shadow", "/etc/machine-id", "/etc/hostname",
    "/dev/null", "/dev/fuse", "/dev/kmsg", "/dev/mem", "/dev/shm", "/dev/pts", "/sys", "/sys/class", "/proc/version",
    "/tmp", "/tmp/x", "/var", "/var/tmp", "/var/run", "/run", "/run/dbus", "/run/user", "/mnt", "/media", "/opt",
    "/srv", "/boot",
)  # fmt: skip
BELOW_HOME = (
    "", "Notes", "Notes/one", "Notes/closed", "Notes/out", "Notes/again", "Notes/absent", "Work", "Work/one",
    "Work/kept", "way", "way/one", ".ssh", ".ssh/id", ".config", ".config/kdeglobals", ".config/own",
    ".granted/.config/kdeglobals", ".cache", ".local", ".local/share", ".local/share/intents",
    ".local/state/intents/broker.db", "new",
)  # fmt: skip


@pytest.fixture
def here() -> Iterator[world.World]:
    with world.world() as made:
        for name in ("Notes", "Work", ".ssh", ".config"):
            (made.home / name).mkdir(exist_ok=True)
        for name in ("Notes/one", "Notes/closed", "Work/one", "Work/kept", ".ssh/id", ".config/kdeglobals"):
            (made.home / name).write_text("content")
        (made.home / ".config" / "own").write_text("content")
        (made.home / "Notes" / "closed").chmod(0)
        (made.home / "Work" / "kept").chmod(0o400)
        (made.home / "Notes" / "out").symlink_to(made.home / ".ssh" / "id")
        (made.home / "Notes" / "again").symlink_to("one")
        (made.home / "way").symlink_to("Notes")
        made.install(world.manifest(world.PYTHON, INTENTS))
        yield made


def compiled(here: world.World) -> sandbox.Sandbox:
    app = here.load()
    with journal.Journal.open(here.places) as book:
        return compiler.compile_sandbox(decide.settle(app.delta(book, state.clock(here.places))), app.host).sandbox


@pytest.mark.parametrize("granted", [(), ("notes",), ("work", "conf"), tuple(INTENTS)])
def test_the_app_finds_what_the_model_says(here: world.World, granted: tuple[str, ...]) -> None:
    if granted:
        here.decide(*granted)
    asked = [*SYSTEM, *(f"{here.home}/{name}".rstrip("/") for name in BELOW_HOME)]
    rows = [json.loads(line) for line in here.says(LOOK, json.dumps(asked)).splitlines()]
    assert [row[0] for row in rows] == asked
    box = compiled(here)
    for where, there, readable, writable in rows:
        seen = sight.look(box, where, why.read_link)
        if seen.stands is sight.Stands.HOST and os.path.exists(seen.source):
            info = os.stat(seen.source)
            assert there == [info.st_dev, info.st_ino], seen
            assert readable == why.may(seen.source, os.R_OK), seen
            assert writable == (seen.writable and why.may(seen.source, os.W_OK)), seen
            continue
        assert bool(there) == (seen.stands in (sight.Stands.MADE, sight.Stands.KERNEL)), seen
        if there:
            assert not os.path.exists(where) or there != [os.stat(where).st_dev, os.stat(where).st_ino], seen
        if seen.stands is sight.Stands.MADE:
            assert writable == seen.writable, seen
