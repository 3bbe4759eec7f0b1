"""What the host is seen to be: paths, user directories, displays, buses, and as a record (SPEC §9.1)."""

import dataclasses
import json
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from broker import displays, guards, host, objects, userdirs
from intents import errors, facts, paths
from tests import machine
from tests.conftest import must_work
from tests.real import peers


@pytest.fixture
def home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pathlib.Path]:
    yield from machine.account(tmp_path, monkeypatch)


@contextmanager
def nobody() -> Iterator[None]:
    """As an ordinary user, when we are root."""
    if os.geteuid():
        yield
        return
    os.seteuid(peers.NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_paths_are_what_they_are(home: pathlib.Path) -> None:
    (home / "dir").mkdir()
    (home / "file").write_text("x")
    (home / "link").symlink_to("dir")
    (home / "dangling").symlink_to("/nowhere/at/all")
    (home / "loop").symlink_to("loop")
    os.mkfifo(home / "pipe")
    names = ("dir", "file", "link", "dangling", "loop", "pipe", "absent", "file/below", "link/new")
    looked = machine.look(*(machine.wants(f"home/{name}") for name in names))
    found = {name: (machine.fact(looked, home / name).kind, machine.fact(looked, home / name).real) for name in names}
    assert found == {
        "dir": ("dir", f"{home}/dir"),
        "file": ("file", f"{home}/file"),
        "link": ("dir", f"{home}/dir"),
        "dangling": ("absent", "/nowhere/at/all"),
        "loop": ("other", ""),
        "pipe": ("other", f"{home}/pipe"),
        "absent": ("absent", f"{home}/absent"),
        "file/below": ("absent", ""),
        "link/new": ("absent", f"{home}/dir/new"),
    }
    assert machine.fact(looked, home / "dir").owner == os.geteuid()
    assert machine.fact(looked, machine.PROGRAM).kind == "file"
    assert machine.hold(looked)


def test_what_may_not_be_looked_at_is_unreadable(home: pathlib.Path) -> None:
    closed = home / "closed"
    (closed / "inside").mkdir(parents=True)
    closed.chmod(0)
    watch = guards.Watch(os.environ)
    os.chmod(home.parent, 0o755)
    os.chmod(home, 0o755)
    for directory in home.parents:
        if os.stat(directory).st_uid == os.geteuid():
            os.chmod(directory, os.stat(directory).st_mode | 0o011)
    with nobody():
        found = objects.path(watch, f"{closed}/inside", (str(home),))
    closed.chmod(0o700)
    assert (found.kind, found.real) == ("unreadable", "")


def test_only_the_home_is_listed_and_no_link_is_followed(home: pathlib.Path) -> None:
    odd = os.fsdecode(b"caf\xe9")
    (home / "dir" / "below").mkdir(parents=True)
    (home / odd).touch()
    (home / "link").symlink_to("dir")
    looked = machine.look(machine.wants("home"), machine.wants("home/dir"))
    assert set(machine.fact(looked, home).entries) == {(odd, "file"), ("dir", "dir"), ("link", "link")}
    assert machine.fact(looked, home / "dir").entries == ()
    assert machine.hold(looked)


def test_a_home_behind_a_link_is_known_by_its_real_name(
    home: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "behind").symlink_to("home")
    entry = list(pwd.getpwuid(os.geteuid()))
    entry[5] = str(tmp_path / "behind")
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: pwd.struct_passwd(entry))
    looked = machine.look(machine.wants("home"), machine.wants("xdg-config/a"))
    assert looked.facts.account.home == str(home)
    assert dict(looked.facts.directories)["xdg-config"] == f"{home}/.config"
    assert f"{home}/.config/intents" in looked.facts.reserved
    assert looked.facts.apps == f"{home}/.local/share/intents/apps"


def test_the_reserved_places_are_canonical_even_before_they_exist(home: pathlib.Path) -> None:
    (home / "elsewhere").mkdir()
    (home / ".config").symlink_to("elsewhere")
    looked = machine.look()
    assert f"{home}/elsewhere/intents" in looked.facts.reserved
    assert {"/etc/intents", "/usr/share/intents", "/var/lib/intents"} <= set(looked.facts.reserved)
    assert all(looked.facts.path(place) for place in looked.facts.reserved)


def test_another_user_in_effect_is_refused(home: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    with pytest.raises(errors.HostError) as refused:
        machine.look()
    assert refused.value.code == "unsafe-account"


def test_the_system_is_described_as_it_is(home: pathlib.Path) -> None:
    seen = machine.look().facts
    for entry in (*seen.system, *seen.etc):
        assert entry.target == (os.readlink(entry.path) if os.path.islink(entry.path) else "")
        assert entry.kind == ("link" if entry.target else "dir" if os.path.isdir(entry.path) else "file")
        if entry.kind == "link" and entry in seen.etc:
            assert seen.path(entry.path) is not None
    there = {name for name in host.SYSTEM if os.path.lexists(name)} | {n for n in host.LINKS if os.path.islink(n)}
    assert {entry.path for entry in seen.system} == there
    for telling in ("/etc/machine-id", "/etc/hostname", "/etc/passwd", "/etc/shadow", "/etc"):
        assert telling not in {entry.path for entry in seen.etc}


# The user's directories (user-dirs.dirs(5)).

CONFIGURED = [
    ('XDG_DOCUMENTS_DIR="$HOME/Papers"', "Papers"),
    ('  XDG_DOCUMENTS_DIR="$HOME/a/b"  ', "a/b"),
    ('XDG_DOCUMENTS_DIR="$HOME/quo\\"te"', 'quo"te'),
    ('XDG_DOCUMENTS_DIR="{home}/Papers"', "Papers"),
    ('XDG_DOCUMENTS_DIR="$HOME/Papers/"', "Papers"),
    ('XDG_DOCUMENTS_DIR="$HOME/"', None),
    ('XDG_DOCUMENTS_DIR="$HOME"', None),
    ('XDG_DOCUMENTS_DIR="$HOME/../other"', None),
    ('XDG_DOCUMENTS_DIR="$HOME/a/../../other"', None),
    ('XDG_DOCUMENTS_DIR="$HOME/./a"', None),
    ('XDG_DOCUMENTS_DIR="$HOME/up"', None),
    ('XDG_DOCUMENTS_DIR="$HOME/self"', None),
    ('XDG_DOCUMENTS_DIR="/etc"', None),
    ('XDG_DOCUMENTS_DIR="{home}2"', None),
    ('XDG_DOCUMENTS_DIR="relative"', None),
    ('XDG_DOCUMENTS_DIR=""', None),
    ("XDG_DOCUMENTS_DIR=$HOME/Papers", "Documents"),
    ('# XDG_DOCUMENTS_DIR="$HOME/Papers"', "Documents"),
    ('XDG_DOCUMENTS_DIR="$HOME/Papers"; rm -rf /', "Documents"),
    ('XDG_MUSIC_DIR="$HOME/Sound"', "Documents"),
    ("", "Documents"),
]


@pytest.mark.parametrize(("text", "below"), CONFIGURED)
def test_user_directories_are_read_as_configured(home: pathlib.Path, text: str, below: str | None) -> None:
    (home / "Documents").mkdir()
    (home / "up").symlink_to("..")
    (home / "self").symlink_to(home)
    (home / ".config").mkdir()
    (home / ".config" / "user-dirs.dirs").write_text(text.format(home=home) if "{" in text else text)
    found = dict(machine.look().facts.directories)
    assert found.get("xdg-documents") == (f"{home}/{below}" if below else None)
    assert "xdg-videos" not in found


def test_a_configuration_that_others_could_write_is_not_read(home: pathlib.Path) -> None:
    config = home / "user-dirs.dirs"
    config.write_text('XDG_MUSIC_DIR="$HOME/Sound"\n')
    uid = os.geteuid()
    assert userdirs.read(str(config), str(home), uid) == {"xdg-music": f"{home}/Sound"}
    if uid == 0:  # root's file is everybody's
        assert userdirs.read(str(config), str(home), 1) == {"xdg-music": f"{home}/Sound"}
        os.chown(config, peers.NOBODY, peers.NOBODY)
    assert userdirs.read(str(config), str(home), uid if uid == 0 else uid + 1) == {}
    os.chown(config, uid, os.getegid())
    assert userdirs.read(str(config), str(home), uid) != {}
    config.chmod(0o666)
    assert userdirs.read(str(config), str(home), uid) == {}
    config.unlink()
    os.mkfifo(config)
    assert userdirs.read(str(config), str(home), uid) == {}


def test_every_place_root_has_a_default() -> None:
    assert set(userdirs.DEFAULTS) == set(paths.USER_DIRECTORIES)
    assert set(userdirs._KEYS.values()) == set(userdirs.DEFAULTS)


def test_base_directories_follow_the_environment_only_where_it_is_safe(
    home: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", f"{home}/cache")
    assert dict(machine.look().facts.directories)["xdg-cache"] == f"{home}/cache"
    monkeypatch.setenv("XDG_CACHE_HOME", "/tmp/cache")
    assert dict(machine.look().facts.directories)["xdg-cache"] == f"{home}/.cache"


# Displays and buses are looked at only for those who ask, and as they really are.


def test_nobody_speaks_to_a_compositor_for_an_app_without_windows(
    home: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits: list[object] = []
    where = pathlib.Path(os.environ["XDG_RUNTIME_DIR"]) / "wayland-1"
    with peers.peer(where, visits.append) as address:
        monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-1")
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={address}")
        assert machine.look(machine.X11, machine.wants("home")).facts.wayland is None
        assert visits == []
        assert machine.look(machine.WAYLAND).facts.wayland is None  # it hangs up: no compositor
        assert len(visits) == 1
        assert machine.look(machine.SESSION).facts.buses == ()
        assert len(visits) == 2


@pytest.mark.real
def test_a_real_compositor_and_a_real_bus_are_seen(
    home: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = tmp_path / "share" / "dbus-1" / "services"
    services.mkdir(parents=True)
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path / "share"))
    address = f"unix:path={os.environ['XDG_RUNTIME_DIR']}/bus"

    def seen() -> host.Looked | None:
        found = machine.look(machine.WAYLAND, machine.SESSION)
        return found if found.facts.buses and found.facts.wayland else None

    with peers.sway() as compositor, peers.message_bus(tmp_path, address, {"org.example.Service": "/bin/false"}):
        monkeypatch.setenv("WAYLAND_DISPLAY", str(compositor))
        looked = peers.eventually(seen, "the bus")
        assert looked.facts.wayland is not None
        assert looked.facts.wayland.socket == str(compositor)
        assert "xdg_wm_base" in looked.facts.wayland.globals
        expected = facts.Bus(name="session", address=address, activatable=("org.example.Service",), owned=())
        assert looked.facts.buses == (expected,)
        assert machine.hold(looked)
        (services / "org.example.Late.service").write_text("")  # an activatable name more
        assert not machine.hold(looked)
    again = machine.look(machine.WAYLAND, machine.SESSION)
    assert (again.facts.wayland, again.facts.buses) == (None, ())


@pytest.mark.parametrize("name", ["", "../wayland-1", "sub/wayland-1", "absent"])
def test_odd_names_of_a_compositor_lead_nowhere(home: pathlib.Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    runtime = pathlib.Path(os.environ["XDG_RUNTIME_DIR"])
    (runtime / "sub").mkdir()
    with peers.peer(runtime / "wayland-0", peers.hangs_up) as where:
        assert displays.wayland_socket({**os.environ, "WAYLAND_DISPLAY": "wayland-0"}) == where
        assert displays.wayland_socket({**os.environ, "WAYLAND_DISPLAY": where, "XDG_RUNTIME_DIR": ""}) == where
        assert displays.wayland_socket({**os.environ, "WAYLAND_DISPLAY": name}) == ""
        runtime.chmod(0o777)
        assert displays.wayland_socket({**os.environ, "WAYLAND_DISPLAY": "wayland-0"}) == ""


@contextmanager
def x_server(directory: pathlib.Path) -> Iterator[str]:
    """A real X server without a screen; its number."""
    must_work(shutil.which("Xvfb"), "Xvfb, an X server")
    ours, theirs = os.pipe()
    argv = ["Xvfb", "-displayfd", str(theirs), "-nolisten", "tcp", "-screen", "0", "64x64x8"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(argv, pass_fds=[theirs], cwd=directory, stdin=quiet, stdout=quiet, stderr=quiet) as server:
        os.close(theirs)
        try:
            with open(ours) as number:
                yield number.readline().strip()
        finally:
            server.terminate()


@pytest.mark.real
def test_a_real_x_server_is_seen(home: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with x_server(tmp_path) as number:
        where = f"/tmp/.X11-unix/X{number}"
        expected = facts.X11(display=int(number), socket=where, abstract=True, authority="")
        for name in (f":{number}", f":{number}.0", f"unix:{number}"):
            monkeypatch.setenv("DISPLAY", name)
            assert machine.look(machine.X11).facts.x11 == expected
        assert f"@{where}" in displays.abstract_sockets()
        (home / ".Xauthority").touch()
        assert machine.look(machine.X11).facts.x11 == dataclasses.replace(expected, authority=f"{home}/.Xauthority")
        looked = machine.look(machine.X11)
        assert machine.hold(looked)
        (home / ".Xauthority").unlink()
        assert not machine.hold(looked)
        foreign = tmp_path / "foreign"
        foreign.touch()
        if os.geteuid() == 0:
            os.chown(foreign, peers.NOBODY, peers.NOBODY)
        for authority in ("/etc", "/etc/hosts" if os.geteuid() else str(foreign)):
            monkeypatch.setenv("XAUTHORITY", authority)
            assert machine.look(machine.X11).facts.x11 == expected  # no file, or not ours
        for name in ("", f"localhost:{number}", f"host:{number}", f":{number}x", ":-1", where):
            monkeypatch.setenv("DISPLAY", name)
            assert machine.look(machine.X11).facts.x11 is None
        monkeypatch.setenv("DISPLAY", f":{number}")
        looked = machine.look(machine.X11)
    assert machine.look(machine.X11).facts.x11 is None
    assert not machine.hold(looked)


def test_only_listening_abstract_sockets_count(tmp_path: pathlib.Path) -> None:
    mark = f"intents-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as bound:
        listening.bind(f"\0{mark} listening")
        listening.listen()
        bound.bind(f"\0{mark} bound")
        found = [name for name in displays.abstract_sockets() if mark in name]
    assert found == [f"@{mark} listening"]
    table = tmp_path / "unix"
    table.write_bytes(
        b"Num       RefCount Protocol Flags    Type St Inode Path\n"
        b"0: 00000002 00000000 00010000 0001 01 1 /run/file\n"
        b"0: 00000002 00000000 00010000 0001 01 1 @\xff\n"
        b"0: 00000002 00000000 00010000 0001 01 1\n"
    )
    assert displays.abstract_sockets(str(table)) == ("@\\xff",)
    assert displays.abstract_sockets(str(tmp_path / "none")) == ()


def test_the_landlock_version_is_the_one_that_the_kernel_enforces() -> None:
    modules = pathlib.Path("/sys/kernel/security/lsm")
    if modules.exists():
        assert (host.landlock() > 0) == ("landlock" in modules.read_text().split(","))
    assert host.landlock() >= 0


# Recorded machines.


def test_a_record_tells_nothing_about_the_user(home: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"\0private-{os.getpid()}")
        listening.listen()
        (home / "Documents").mkdir()
        text = host.record(os.environ, machine.PROGRAM)
    assert str(home) not in text
    assert os.environ["XDG_RUNTIME_DIR"] not in text
    assert "private-" not in text
    seen = facts.from_json(text)
    assert seen.account == facts.Account(uid=1000, gid=1000, user="user", group="user", home="/home/user")
    assert dict(seen.directories)["xdg-documents"] == "/home/user/Documents"
    assert "/home/user/.local/state/intents" in seen.reserved
    assert seen.runtime_dir == "/run/user/1000"
    assert facts.to_json(seen) == text


RECORDED = sorted((pathlib.Path(__file__).parent / "hosts").glob("*.json"))


@pytest.mark.parametrize("file", RECORDED, ids=[file.stem for file in RECORDED])
def test_recorded_machines_are_readable_and_nameless(file: pathlib.Path) -> None:
    text = file.read_text("utf-8")
    seen = facts.from_json(text)
    assert facts.from_json(facts.to_json(seen)) == seen  # what has come to be known since has its default
    assert seen.account.user == "user"
    assert json.loads(text)["account"]["uid"] == 1000


def test_there_is_a_desktop_and_a_server_on_record() -> None:
    machines = {file.stem: facts.from_json(file.read_text("utf-8")) for file in RECORDED}
    desktop, server = machines["debian12-desktop"], machines["debian12-server"]
    assert desktop.wayland is not None
    assert desktop.x11 is not None
    assert {bus.name for bus in desktop.buses} == {"session", "system"}
    assert (server.wayland, server.x11, server.buses) == (None, None, ())
