"""One account of our own on this machine, and apps that ask for things there: what the tests of the host share."""

import os
import pathlib
import pwd
from collections.abc import Iterator

import pytest

from broker import host, launch, state
from intents import facts, model, paths
from intents.kinds import dbus, display, path

PROGRAM = "/usr/bin/env"


def account(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pathlib.Path]:
    """A home directory of ours, in the user database and with nothing in the environment that leads elsewhere."""
    before = dict(os.environ)
    found = tmp_path / "home"
    found.mkdir(mode=0o700)
    entry = list(pwd.getpwuid(os.geteuid()))
    entry[5] = str(found)
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: pwd.struct_passwd(entry))
    for name in [name for name in os.environ if name.startswith(("XDG_", "DBUS_", "WAYLAND_", "DISPLAY", "XAUTH"))]:
        monkeypatch.delenv(name)
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    yield found
    os.environ.clear()
    os.environ.update(before)


def manifest(*scopes: model.Scope, program: str = PROGRAM) -> model.Manifest:
    """One that asks for ``scopes``."""
    asked = [
        model.Intent(id=f"i{number}", scope=scope, optional=True, reason="why", if_denied="less")
        for number, scope in enumerate(scopes)
    ]
    app = model.App(
        id="org.example.App",
        name="App",
        version="1",
        serial=1,
        command=(program,),
        interface="terminal",
        aliases=(),
        packages=(),
    )
    return model.Manifest(app=app, intents=tuple(asked), digest="0" * 64)


def wants(place: str, access: str = "read") -> path.Path:
    return path.Path(place=paths.parse_place(place), access=access)


WAYLAND = display.Display(protocol="wayland")
X11 = display.Display(protocol="x11-host")
SESSION = dbus.Dbus.read({"bus": "session", "talk": ["org.example.Service"]})


def look(*scopes: model.Scope, program: str = PROGRAM) -> host.Looked:
    return host.look(manifest(*scopes, program=program), os.environ, state.places(os.environ, os.geteuid()))


def fact(looked: host.Looked, where: pathlib.Path | str) -> facts.PathFact:
    found = looked.facts.path(str(where))
    assert found is not None
    return found


def hold(looked: host.Looked) -> bool:
    """What the executor says of the guards."""
    return launch.holds(tuple(os.fsencode(part) for guard in looked.guards for part in guard))
