"""Overrides: written only with a record of what was there, and taken back to exactly that (SPEC §11.6)."""

import os
import pathlib
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator

import pytest

from broker import overrides
from intents import errors
from tests.real import world

A, B = "org.example.A", "org.example.B"
LAUNCHER = (overrides.LAUNCHER,)
EVERYTHING = (overrides.LAUNCHER, overrides.SERVICE, overrides.COMMAND)


@pytest.fixture
def here() -> Iterator[world.World]:
    with world.world() as made:
        yield made


def wanted(path: pathlib.Path, data: bytes = b"ours", what: str = overrides.LAUNCHER) -> overrides.Wanted:
    return overrides.Wanted(what=what, path=str(path), content=overrides.Content(data=data, mode=0o755))


def tree(where: pathlib.Path) -> dict[str, tuple[int, bytes]]:
    """Everything below a directory: mode, and content or target."""
    found = {}
    for path in sorted(where.rglob("*")):
        mode = path.lstat().st_mode
        content = os.fsencode(os.readlink(path)) if stat.S_ISLNK(mode) else path.read_bytes() if path.is_file() else b""
        found[str(path)] = mode, content
    return found


def install(here: world.World, *files: overrides.Wanted, app: str = A) -> None:
    overrides.install(here.places, app, EVERYTHING, files)


def remove(here: world.World, app: str = A) -> list[str]:
    return [undone.how for undone in overrides.remove(here.places, app, EVERYTHING)]


def test_what_was_there_comes_back_byte_for_byte(here: world.World) -> None:
    place = here.home / "place"
    place.mkdir()
    (place / "file").write_bytes(b"mine\0\xff")
    (place / "file").chmod(0o640)
    (place / "link").symlink_to("nowhere")
    before = tree(place)
    files = [wanted(place / name) for name in ("file", "link", "new/deep/new")]
    install(here, *files)
    assert [pathlib.Path(each.path).read_bytes() for each in files] == [b"ours"] * 3
    assert {each.status for each in overrides.recorded(here.places)} == {"installed"}
    assert remove(here) == ["restored", "restored", "removed"]
    assert tree(place) == before
    assert overrides.recorded(here.places) == () and remove(here) == []


def test_a_second_time_is_one_time(here: world.World) -> None:
    path = here.home / "file"
    path.write_bytes(b"mine")
    install(here, wanted(path))
    install(here, wanted(path, b"newer"))
    assert path.read_bytes() == b"newer"
    install(here)
    assert path.read_bytes() == b"mine"


def test_what_was_changed_since_is_kept_and_nothing_is_lost(here: world.World) -> None:
    path = here.home / "file"
    path.write_bytes(b"mine")
    install(here, wanted(path))
    path.write_bytes(b"edited")
    with pytest.raises(errors.DecisionError) as refused:
        install(here, wanted(path))
    assert refused.value.code == "override-changed"
    (undone,) = overrides.remove(here.places, A, LAUNCHER)
    assert undone.how == "kept" and path.read_bytes() == b"edited"
    assert pathlib.Path(undone.saved).read_bytes() == b"mine"
    assert overrides.recorded(here.places) == ()


def test_a_directory_in_the_place_of_ours_stays(here: world.World) -> None:
    path = here.home / "file"
    path.write_bytes(b"mine")
    install(here, wanted(path), wanted(here.home / "other"))
    path.unlink()
    path.mkdir()
    assert [each.status for each in overrides.recorded(here.places)] == ["changed", "installed"]
    assert remove(here) == ["kept", "removed"]
    assert path.is_dir() and not (here.home / "other").exists()


def test_what_was_removed_since_is_put_back(here: world.World) -> None:
    files = [here.home / "was", here.home / "new"]
    files[0].write_bytes(b"mine")
    install(here, *map(wanted, files))
    for file in files:
        file.unlink()
    remove(here)
    assert files[0].read_bytes() == b"mine" and not files[1].exists()


def test_no_command_and_nothing_of_another_app_is_replaced(here: world.World) -> None:
    path = here.home / "bin" / "tool"
    install(here, wanted(path), app=B)
    (here.home / "bin" / "own").write_bytes(b"mine")
    for taken in (wanted(path), wanted(here.home / "bin" / "own", what=overrides.COMMAND), wanted(here.home / "bin")):
        before = tree(here.home / "bin")
        with pytest.raises(errors.DecisionError) as refused:
            install(here, wanted(here.home / "other"), taken)
        assert refused.value.code == "override-taken"
        assert tree(here.home / "bin") == before and not (here.home / "other").exists()


def test_a_directory_goes_with_the_last_that_it_was_made_for(here: world.World) -> None:
    install(here, wanted(here.home / "made" / "a"))
    install(here, wanted(here.home / "made" / "b"), app=B)
    remove(here)
    assert (here.home / "made" / "b").exists()
    remove(here, B)
    assert not (here.home / "made").exists()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"overrides": 1}', '{"overrides": [{}]}', "\xff"])
def test_a_damaged_record_changes_nothing(here: world.World, text: str) -> None:
    install(here, wanted(here.home / "file"))
    record = pathlib.Path(overrides.file(here.places))
    record.write_text(text, "latin-1")
    for act in (lambda: install(here, wanted(here.home / "other")), lambda: remove(here)):
        with pytest.raises(errors.HostError) as refused:
            act()
        assert refused.value.code == "overrides-damaged"
    assert (here.home / "file").exists() and not (here.home / "other").exists()


# Killed at the Nth call that changes something, or just after it.
KILLED = """
import os, sys
sys.path.insert(0, {root!r})
from broker import overrides, state
state._home = lambda euid: {home!r}
left = {number}

def counted(name):
    real = getattr(os, name)
    def call(*words, **more):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), 9)
        return real(*words, **more)
    return call

for name in ("open", "write", "fsync", "mkdir", "replace", "unlink", "rmdir", "fchmod", "symlink"):
    setattr(os, name, counted(name))
places = state.places(os.environ, os.geteuid())
act = sys.argv[1]
everything = (overrides.LAUNCHER, overrides.SERVICE, overrides.COMMAND)
if act == "install":
    content = overrides.Content(data=b"newer", mode=0o755)
    wanted = [overrides.Wanted(what=overrides.LAUNCHER, path=path, content=content) for path in sys.argv[2:]]
    overrides.install(places, "org.example.A", everything, wanted)
else:
    overrides.remove(places, "org.example.A", everything)
"""


def killed(here: world.World, number: int, *words: str) -> bool:
    """Whether it was, before it came to its end."""
    program = KILLED.format(root=str(world.ROOT), home=str(here.home), number=number)
    done = subprocess.run([sys.executable, "-c", program, *words], env=here.environ, capture_output=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode != 0


@pytest.mark.parametrize("act", ["install", "again", "remove"])
def test_killed_at_any_moment_everything_can_be_put_back(here: world.World, act: str) -> None:
    place = here.home / "place"
    place.mkdir()
    (place / "file").write_bytes(b"mine")
    (place / "link").symlink_to("nowhere")
    before = tree(place)
    files = [place / name for name in ("file", "link", "new/deep/new")]
    words = ("remove",) if act == "remove" else ("install", *map(str, files))
    number, alive = 0, True
    while alive:
        number += 1
        if act != "install":
            install(here, *map(wanted, files))
        alive = killed(here, number, *words)
        remove(here)
        assert tree(place) == before, f"killed at call {number}"
    assert number > 10


def test_without_the_record_first_something_is_lost(here: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test before would find: the record comes last."""
    path = here.home / "file"
    path.write_bytes(b"mine")

    class Killed(Exception):
        """In the place of a signal."""

    def late(*_: object) -> None:
        overrides._put(str(path), wanted(path).content)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(overrides, "_write", late)
        with pytest.raises(Killed):
            install(here, wanted(path))
    remove(here)
    assert path.read_bytes() == b"ours"
