"""Whatever was consulted and then changes, the executor notices; a plan costs nothing else (SPEC §10.2)."""

import os
import pathlib
import socket
from collections.abc import Callable, Iterator

import pytest

from broker import guards, launch, programs
from intents import model
from tests import machine


@pytest.fixture
def home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pathlib.Path]:
    yield from machine.account(tmp_path, monkeypatch)


Change = Callable[[pathlib.Path], object]


def _replace_by_link(home: pathlib.Path) -> None:
    (home / "dir").rename(home / "old")
    (home / "dir").symlink_to("old")


def _swap(home: pathlib.Path) -> None:
    (home / "dir").rename(home / "old")
    (home / "dir").mkdir()


def _reuse(home: pathlib.Path) -> None:
    """The file system gives a number that became free to the next one that needs one."""
    before = (home / "dir").stat().st_ino
    for _ in range(100):
        (home / "dir").rmdir()
        (home / "dir").mkdir()
        if (home / "dir").stat().st_ino == before:
            return


def _configure(home: pathlib.Path) -> None:
    (home / ".config" / "user-dirs.dirs").write_text('XDG_DOCUMENTS_DIR="$HOME/dir"\n')


def _point_elsewhere(home: pathlib.Path) -> None:
    (home / "link").unlink()
    (home / "link").symlink_to("/usr")


def _move_configuration(home: pathlib.Path) -> None:
    (home / ".config").rename(home / "moved")
    (home / ".config").symlink_to("moved")


def _open_socket(_home: pathlib.Path) -> None:
    with socket.socket(socket.AF_UNIX) as late:
        late.bind(f"{os.environ['XDG_RUNTIME_DIR']}/wayland-1")


def _become_home(home: pathlib.Path) -> None:
    (home / "sound").rmdir()
    (home / "sound").symlink_to(".")


def _move_local(home: pathlib.Path) -> None:
    (home / ".local").unlink()
    (home / ".local").symlink_to("dir")


CHANGES: dict[str, tuple[Change, tuple[model.Scope, ...]]] = {
    "a directory that was asked for becomes a link to the same one": (_replace_by_link, ()),
    "it becomes another directory": (_swap, ()),
    "it becomes another directory with its number": (_reuse, ()),
    "it disappears": (lambda home: (home / "dir").rmdir(), ()),
    "what was absent appears": (lambda home: (home / "absent").mkdir(), ()),
    "the target of a link changes": (_point_elsewhere, ()),
    "something new lies in the home": (lambda home: (home / "new").touch(), (machine.wants("home"),)),
    "user directories are configured": (_configure, ()),
    "a default user directory appears": (lambda home: (home / "Videos").mkdir(), ()),
    "a user directory becomes the home": (_become_home, ()),
    "what holds the reserved places moves": (_move_local, ()),
    "the configuration directory moves": (_move_configuration, ()),
    "the environment names another cache": (lambda home: os.environ.update(XDG_CACHE_HOME=f"{home}/dir"), ()),
    "the environment names another state directory": (lambda home: os.environ.update(XDG_STATE_HOME=f"{home}/dir"), ()),
    "the environment names no runtime directory": (lambda _home: os.environ.pop("XDG_RUNTIME_DIR"), ()),
    "the environment names another compositor": (
        lambda _home: os.environ.update(WAYLAND_DISPLAY="wayland-9"),
        (machine.WAYLAND,),
    ),
    "a compositor opens its socket": (_open_socket, (machine.WAYLAND,)),
    "the environment names another X server": (lambda _home: os.environ.update(DISPLAY=":99"), (machine.X11,)),
    "the environment names another bus": (
        lambda _home: os.environ.update(DBUS_SESSION_BUS_ADDRESS="x"),
        (machine.SESSION,),
    ),
    "a bus opens its socket": (
        lambda _home: pathlib.Path(os.environ["XDG_RUNTIME_DIR"], "bus").touch(),
        (machine.SESSION,),
    ),
}


@pytest.mark.parametrize(("change", "extra"), CHANGES.values(), ids=CHANGES)
def test_a_change_of_what_was_consulted_is_noticed(
    home: pathlib.Path, change: Change, extra: tuple[model.Scope, ...]
) -> None:
    (home / "dir").mkdir()
    (home / "sound").mkdir()
    (home / "local").mkdir()
    (home / ".local").symlink_to("local")
    (home / ".config").mkdir()
    (home / ".config" / "user-dirs.dirs").write_text('XDG_MUSIC_DIR="$HOME/sound"\n')
    (home / "link").symlink_to("dir")
    os.environ["WAYLAND_DISPLAY"] = "wayland-1"
    asked = (machine.wants("home/dir"), machine.wants("home/absent"), machine.wants("home/link"), *extra)
    looked = machine.look(*asked)
    assert machine.hold(looked)
    change(home)
    assert not machine.hold(looked)


def test_what_no_test_can_change_is_guarded_as_well(home: pathlib.Path) -> None:
    os.environ["WAYLAND_DISPLAY"] = "wayland-1"
    looked = machine.look(machine.WAYLAND, machine.wants("home/dir"))
    guarded = {(kind, subject) for kind, subject, _ in looked.guards}
    assert {("file", "/etc/passwd"), ("file", "/etc/group"), ("file", "/usr/bin/env"), ("real", str(home))} <= guarded
    assert {("real", place) for place in looked.facts.reserved} <= guarded
    for entry in (*looked.facts.system, *looked.facts.etc):
        assert ("link" if entry.kind == "link" else "node", entry.path) in guarded
    for name in ("bwrap", "xdg-dbus-proxy"):
        where = programs.find(name)
        assert {kind for kind, subject in guarded if subject in (where, f"/usr/local/bin/{name}")} == {"file", "absent"}
    assert ("real", f"{os.environ['XDG_RUNTIME_DIR']}/wayland-1") in guarded


def test_a_change_of_what_was_not_consulted_costs_nothing(home: pathlib.Path) -> None:
    (home / "dir").mkdir()
    looked = machine.look(machine.wants("home/dir"))
    (home / "dir" / "inside").touch()
    (home / "new").touch()
    os.environ["WAYLAND_DISPLAY"] = "wayland-9"
    os.environ["DISPLAY"] = ":99"
    assert machine.hold(looked)


def test_a_change_between_guard_and_look_is_seen_or_noticed(
    home: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards made after the look would hold although something else was seen."""
    (home / "old").mkdir()
    (home / "new").mkdir()
    make = guards.make

    def change_first(kind: str, subject: str, environ: object) -> guards.Guard:
        if subject == f"{home}/link" and os.readlink(subject) == "old":
            os.unlink(subject)
            os.symlink("new", subject)
        return make(kind, subject, os.environ)

    (home / "link").symlink_to("old")
    monkeypatch.setattr(guards, "make", change_first)
    looked = machine.look(machine.wants("home/link"))
    assert machine.fact(looked, home / "link").real == f"{home}/new" or not machine.hold(looked)
    assert os.readlink(home / "link") == "new"


def test_each_kind_of_guard_is_what_the_executor_checks(tmp_path: pathlib.Path) -> None:
    file, link, absent = tmp_path / "file", tmp_path / "link", tmp_path / "absent"
    file.write_text("content\n")
    link.symlink_to("file")
    (tmp_path / os.fsdecode(b"caf\xe9")).touch()
    subjects = {
        "file": file,
        "node": tmp_path,
        "absent": absent,
        "link": link,
        "real": link,
        "env": "HOME",
        "list": tmp_path,
        "names": tmp_path,
        "same": file,
    }
    for kind, subject in subjects.items():
        guard = guards.make(kind, str(subject), os.environ)
        assert guard[0] == kind
        assert launch.holds(tuple(os.fsencode(part) for part in guard))
    assert guards.make("link", str(file), {})[0] == "node"
    assert guards.make("file", str(absent), {}) == ("absent", str(absent), "")
    assert guards.make("env", "INTENTS_NOT_SET", {}) == ("env", "INTENTS_NOT_SET", "-")
    with pytest.raises(KeyError):
        guards.make("other", str(file), {})


def test_what_is_too_large_to_be_remembered_never_holds(tmp_path: pathlib.Path) -> None:
    """The table of mounts, on a machine with thousands of them: a plan that held it would be too large to launch."""
    file = tmp_path / "file"
    for size, holds in ((guards.SMALL, True), (guards.SMALL + 1, False)):
        file.write_bytes(b"x" * size)
        guard = guards.make("same", str(file), {})
        assert len(guard[2]) == guards.SMALL
        assert launch.holds(tuple(os.fsencode(part) for part in guard)) is holds


def test_a_child_that_becomes_something_else_is_noticed(tmp_path: pathlib.Path) -> None:
    child = tmp_path / "child"
    child.mkdir()
    guard = tuple(os.fsencode(part) for part in guards.make("names", str(tmp_path), {}))
    assert launch.holds(guard)
    child.rmdir()
    for make in (lambda: child.symlink_to("/"), lambda: os.mkfifo(child), child.touch):
        make()
        assert not launch.holds(guard)
        child.unlink()
    child.mkdir()
    assert launch.holds(guard)


def test_a_plan_belongs_to_the_code_that_made_it(tmp_path: pathlib.Path) -> None:
    ours = os.path.dirname(os.path.abspath(launch.__file__))
    assert launch.holds((b"code", os.fsencode(ours), b""))
    assert not launch.holds((b"code", os.fsencode(tmp_path), b""))
