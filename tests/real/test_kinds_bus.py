"""Kinds that are services on a real bus: what each is for works when it is granted, and nothing of it when not."""

import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping

import pytest

from broker import bus
from intents import model
from tests.conftest import must_work
from tests.real import bus_service, peers, world
from tests.real.bus_service import does

pytestmark = pytest.mark.real

OTHER = "org.example.Other"
# kind, its name on the bus, its object, its interface, a method of it
KINDS = {
    "notifications": ("org.freedesktop.Notifications", "/org/freedesktop/Notifications", "Notify"),
    "tray": ("org.kde.StatusNotifierWatcher", "/StatusNotifierWatcher", "RegisterStatusNotifierItem"),
}
COUNT = itertools.count()
PLAYER = "org.mpris.MediaPlayer2.sheet"


@pytest.fixture(scope="module")
def here() -> Iterator[world.World]:
    must_work(shutil.which("xdg-dbus-proxy"), "xdg-dbus-proxy")
    with world.world() as made, bus_service.session(made):
        yield made


def install(here: world.World, scope: Mapping[str, object]) -> str:
    """Another app, which asks for that; its id."""
    name = f"org.example.App{next(COUNT)}"
    here.install(world.manifest(world.PYTHON, {"it": scope}, app_id=name))
    return name


@pytest.mark.parametrize("kind", KINDS)
def test_its_methods_answer_when_it_is_granted_and_nothing_else_of_the_name(here: world.World, kind: str) -> None:
    name, path, method = KINDS[kind]
    good = ("call", name, path, name, method)
    bad = [
        ("call", name, path, "org.gnome.Shell", "Eval"),  # the program behind the name may have other interfaces
        ("call", name, "/org/gnome/Shell", name, method),
        ("call", OTHER, "/", name, method),
    ]
    app = install(here, {"kind": kind})
    with bus_service.service(here.environ["DBUS_SESSION_BUS_ADDRESS"], name, OTHER) as service:
        assert does(here, good, *bad, name=app) == (["no bus"] * 4, [])
        assert service.asked == []
        here.decide(app_id=app)
        assert does(here, good, *bad, name=app)[0] == ["answered", "refused", "refused", "refused"]
        assert service.asked == [(path, name, method)]


@pytest.mark.parametrize("kind", KINDS)
def test_its_signals_are_heard_and_no_others(here: world.World, kind: str) -> None:
    name, path, method = KINDS[kind]
    app = install(here, {"kind": kind})
    with bus_service.service(here.environ["DBUS_SESSION_BUS_ADDRESS"], name) as service:
        here.decide(app_id=app)
        service.replies = [
            bus_service.signal("/elsewhere", name, "FromElsewhere"),
            bus_service.signal(path, "org.gnome.Shell", "OfAnother"),
            bus_service.signal(path, name, "Closed"),
        ]
        steps = [("match", "type='signal'"), ("call", name, path, name, method), ("hear", "Closed")]
        said, heard = does(here, *steps, name=app)
        assert said == ["answered", "answered", "heard"]
        assert not {"FromElsewhere", "OfAnother"} & set(heard)


# name, what makes a context, the context's object and interface, what else the program behind the name may have
TYPING = {
    "ibus": (
        "org.freedesktop.portal.IBus",
        ("/org/freedesktop/IBus", "org.freedesktop.IBus.Portal", "CreateInputContext"),
        ("/org/freedesktop/IBus/InputContext_1", "org.freedesktop.IBus.InputContext"),
        ("/org/freedesktop/IBus", "org.freedesktop.IBus", "SetGlobalEngine"),
    ),
    "fcitx": (
        "org.freedesktop.portal.Fcitx",
        ("/org/freedesktop/portal/inputmethod", "org.fcitx.Fcitx.InputMethod1", "CreateInputContext"),
        ("/org/freedesktop/portal/inputcontext/1", "org.fcitx.Fcitx.InputContext1"),
        ("/controller", "org.fcitx.Fcitx.Controller1", "SetConfig"),
    ),
}


@pytest.mark.parametrize("method", TYPING)
def test_an_input_method_types_and_is_not_configured(here: world.World, method: str) -> None:
    name, make, (path, interface), other = TYPING[method]
    app = install(here, {"kind": "input-method"})
    steps = [("call", name, *make), ("call", name, path, interface, "ProcessKeyEvent"), ("call", name, *other)]
    with bus_service.service(here.environ["DBUS_SESSION_BUS_ADDRESS"], name) as service:
        assert does(here, *steps, name=app)[0] == ["no bus"] * 3
        here.decide(app_id=app)
        service.replies = [bus_service.signal(path, interface, "CommitText")]
        said, _ = does(here, ("match", "type='signal'"), *steps, ("hear", "CommitText"), name=app)
        assert said == ["answered", "answered", "answered", "refused", "heard"]
        assert service.asked == [make, (path, interface, "ProcessKeyEvent")]
    variables = "import os; print(os.environ.get('IBUS_USE_PORTAL'), os.environ.get('GTK_IM_MODULE'))"
    assert here.says(variables, name=app, environ={"GTK_IM_MODULE": method}) == f"1 {method}\n"
    here.decide(app_id=app, effect=model.Effect.DENY)
    assert here.says(variables, name=app, environ={"GTK_IM_MODULE": method}) == "None None\n"


def test_the_real_ibus_gives_a_context_of_typing(here: world.World) -> None:
    portal = "/usr/libexec/ibus-portal"
    must_work(shutil.which("ibus-daemon", path="/usr/bin") and os.path.exists(portal), "ibus")
    name, make, (path, interface), _ = TYPING["ibus"]
    address = here.environ["DBUS_SESSION_BUS_ADDRESS"]
    app = install(here, {"kind": "input-method"})
    here.decide(app_id=app)
    off = [f"--{part}=disable" for part in ("panel", "config", "emoji-extension")]
    with contextlib.ExitStack() as closing:
        for program in (["/usr/bin/ibus-daemon", *off, f"--address=unix:path={here.runtime}/ibus"], [portal]):
            child = subprocess.Popen(program, env=here.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            closing.callback(child.wait)
            closing.callback(child.terminate)
            peers.eventually(lambda: (here.runtime / "ibus").exists(), "ibus-daemon")
        peers.eventually(lambda: name in (bus.names(address) or ((), ()))[0], "ibus-portal")
        steps = [("call", name, *make, "sheet"), ("call", name, path, interface, "Reset")]
        beyond = ("call", name, path, interface, "NoSuchMethod")
        assert does(here, *steps, beyond, name=app)[0] == ["answered", "answered", "refused"]


def test_the_tray_can_ask_the_icon(here: world.World) -> None:
    name, path, method = KINDS["tray"]
    app = install(here, {"kind": "tray"})
    here.decide(app_id=app)
    with bus_service.service(here.environ["DBUS_SESSION_BUS_ADDRESS"], name) as service:
        item = "/StatusNotifierItem"
        back = bus.Message(
            kind=bus.CALL, serial=0, path=item, interface="org.kde.StatusNotifierItem", member="Activate"
        )
        service.replies = [back]
        steps = [("call", name, path, name, method, item), ("hear", "Activate")]
        assert does(here, *steps, name=app)[0] == ["answered", "heard"]


def test_a_player_has_its_own_name_and_no_other(here: world.World) -> None:
    app = install(here, {"kind": "media-control", "player": "sheet"})
    steps = [("own", PLAYER), ("own", f"{PLAYER}.instance1"), ("own", f"{PLAYER}x"), ("own", OTHER)]
    assert does(here, *steps, name=app)[0] == ["no bus"] * 4
    here.decide(app_id=app)
    assert does(here, *steps, name=app)[0] == ["owned", "owned", "refused", "refused"]


def test_media_keys_reach_the_player(here: world.World) -> None:
    app = install(here, {"kind": "media-control", "player": "sheet"})
    here.decide(app_id=app)
    address = here.environ["DBUS_SESSION_BUS_ADDRESS"]
    steps = f'[["own", "{PLAYER}"], ["hear", "PlayPause"]]'
    argv = here.argv(app, bus_service.CLIENT, steps, "DBUS_SESSION_BUS_ADDRESS")
    with subprocess.Popen(argv, env=here.environ, cwd=here.base, stdout=subprocess.PIPE, start_new_session=True) as run:
        peers.eventually(lambda: PLAYER in (bus.names(address) or ((), ()))[0], "the player's name")
        press(address)
        assert run.stdout is not None
        assert json.loads(run.stdout.read().splitlines()[-1])["said"] == ["owned", "heard"]


def press(address: str) -> None:
    """What the desktop does when a media key is pressed."""
    where = bus.target(address)
    assert where
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(where)
        desktop = bus.Connection(stream, time.monotonic() + peers.PATIENCE)
        desktop.greet()
        desktop.send(
            bus.Message(
                kind=bus.CALL,
                serial=0,
                path="/org/mpris/MediaPlayer2",
                interface="org.mpris.MediaPlayer2.Player",
                member="PlayPause",
                destination=PLAYER,
            )
        )
        desktop.ask("GetId")  # what was sent before has been passed on by then


def test_the_keyring_answers_when_it_is_granted(here: world.World) -> None:
    name = "org.freedesktop.secrets"
    app = install(here, {"kind": "secrets"})
    steps = [
        ("call", name, "/org/freedesktop/secrets", "org.freedesktop.Secret.Service", "SearchItems"),
        ("call", name, "/org/freedesktop/secrets/collection/login", "org.freedesktop.Secret.Collection", "Delete"),
        ("call", OTHER, "/", "org.example.Other", "Anything"),
    ]
    with bus_service.service(here.environ["DBUS_SESSION_BUS_ADDRESS"], name, OTHER) as service:
        assert does(here, *steps, name=app)[0] == ["no bus"] * 3
        here.decide(app_id=app)
        assert does(here, *steps, name=app)[0] == ["answered", "answered", "refused"]
        assert [member for _, _, member in service.asked] == ["SearchItems", "Delete"]
