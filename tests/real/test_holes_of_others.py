"""Holes that were found in other sandboxes and are not covered by another file; docs/holes.md lists them all by name.

Each is tried for real, and again where the protection is missing.
"""

import os
import pathlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from broker import bus, runs, state
from intents import errors, model, parse, seccomp
from tests.conftest import must_work
from tests.model import bpf
from tests.real import peers, world

pytestmark = pytest.mark.real

SILENCE = 3.0  # seconds after which no answer is one: the filter goes on waiting for a beginning that it does not know
GIVEN, OTHER = "org.example.Given", "org.example.Other"
TALK = {"it": {"kind": "dbus", "bus": "session", "talk": [GIVEN]}}


@pytest.fixture
def here() -> Iterator[world.World]:
    with world.world() as made:
        (made.home / "Documents" / "deep").mkdir(parents=True)
        (made.home / "Documents" / "deep" / "file").write_text("secret")
        yield made


@contextmanager
def filtered(here: world.World) -> Iterator[tuple[str, str]]:
    """The sockets of the real bus and of the filter of a running app that may talk to GIVEN alone."""
    must_work(shutil.which("xdg-dbus-proxy"), "xdg-dbus-proxy")
    direct = f"{here.runtime}/bus"
    with peers.message_bus(here.base, f"unix:path={direct}", {}):
        peers.eventually(lambda: os.path.exists(direct), "the bus")
        here.environ["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={direct}"
        here.install(world.manifest(world.SHELL, TALK))
        here.decide()
        argv = here.argv(world.APP, "echo up; read line")
        with subprocess.Popen(argv, env=here.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None and process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            yield direct, f"{runs.directory(here.places)}/{process.pid}/session"
            process.stdin.close()


@contextmanager
def client(path: str, seconds: float = peers.PATIENCE) -> Iterator[bus.Connection]:
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(path)
        yield bus.Connection(stream, time.monotonic() + seconds)


def listens_in(path: str, rule: str) -> bool:
    """Whether the bus at ``path`` takes a rule by which a client hears what others say to each other."""
    with client(path) as connection:
        connection.greet()
        try:
            connection.ask("AddMatch", rule)
        except (ValueError, ConnectionResetError):
            return False
        return True


EAVESDROPPING = [
    "eavesdrop=true", "eavesdrop='true'", "eavesdrop =true", "eavesdrop= true", " eavesdrop=true",
    "type='signal',eavesdrop ='true'", "type='method_call',\teavesdrop\t=\t'true'",
]  # fmt: skip


def test_cve_2026_34080_no_spelling_lets_an_app_listen_in(here: world.World) -> None:
    with filtered(here) as (direct, inside):
        assert listens_in(inside, "type='signal'")
        taken = [rule for rule in EAVESDROPPING if listens_in(direct, rule)]
        assert taken  # the bus itself takes them: it is the filter that does not
        assert [rule for rule in EAVESDROPPING if listens_in(inside, rule)] == []


BEGINNINGS = [b"BEGIN \r\n", b"BEGIN\t\r\n", b" BEGIN\r\n", b"begin\r\n", b"BEGIN now\r\n", b"BEGIN\n", b"BEGIN\r\n"]


def answered(path: str, beginning: bytes) -> bool:
    """Whether a client that begins like this gets an answer from a name that the app was not granted."""
    with client(path, SILENCE) as connection, suppress(OSError, ValueError):
        user = str(os.geteuid()).encode().hex().encode()
        connection.write(b"\0AUTH EXTERNAL " + user + b"\r\n")
        assert connection.line().startswith(b"OK ")
        message = bus.Message(kind=bus.CALL, serial=0, path="/org/freedesktop/DBus", interface="org.freedesktop.DBus",
                              member="Hello", destination="org.freedesktop.DBus")  # fmt: skip
        connection.write(beginning)
        connection.send(message)
        ping = connection.send(
            bus.Message(kind=bus.CALL, serial=0, path="/", interface="org.freedesktop.DBus.Peer",
                        member="Ping", destination=OTHER)
        )  # fmt: skip
        for _ in range(bus.MAX_MESSAGES):
            answer = connection.receive()
            if answer.reply_serial == ping:
                return answer.kind == bus.RETURN
    return False


def test_cve_2018_6560_no_way_to_begin_gets_past_the_filter(here: world.World) -> None:
    with filtered(here) as (direct, inside):
        code = f"""
import ctypes
gio, glib = ctypes.CDLL("libgio-2.0.so.0"), ctypes.CDLL("libglib-2.0.so.0")
glib.g_main_loop_new.restype = ctypes.c_void_p
gio.g_bus_own_name(2, b"{OTHER}", 0, None, None, None, None, None)
glib.g_main_loop_run(ctypes.c_void_p(glib.g_main_loop_new(None, 0)))
"""
        with peers.child(["/usr/bin/python3", "-c", code], here.environ):
            peers.eventually(lambda: answered(direct, b"BEGIN\r\n"), "the other service")
            assert [beginning for beginning in BEGINNINGS if answered(inside, beginning)] == []


def grant(here: world.World, place: str, effect: model.Effect, serial: int) -> None:
    scope = {"kind": "path", "place": place, "access": "read"}
    here.install(world.manifest(world.SHELL, {"it": scope}, serial=serial))
    here.decide(effect=effect)


@pytest.mark.parametrize("order", ["wide then narrow", "narrow then wide"])
def test_cve_2022_21682_a_denial_holds_in_either_order(here: world.World, order: str) -> None:
    """A directory that was denied, and one below it that was allowed before or after."""
    show = "cat ~/Documents/deep/file 2>/dev/null; true"
    steps = [("home/Documents", model.Effect.DENY), ("home/Documents/deep", model.Effect.ALLOW)]
    for serial, (place, effect) in enumerate(steps if order == "wide then narrow" else reversed(steps), 1):
        grant(here, place, effect, serial)
    last_was_allowed = order == "wide then narrow"
    assert (here.says(show) == "secret") == last_was_allowed
    # Asking for the whole again gives in no order more than that: the rest was denied, and nothing since allowed it.
    (here.home / "Documents" / "other").write_text("secret")
    wide = {"kind": "path", "place": "home/Documents", "access": "read"}
    here.install(world.manifest(world.SHELL, {"it": wide}, serial=3))
    assert here.start("ls ~/Documents").stdout == (b"deep\n" if last_was_allowed else b"")
    assert (here.says(show) == "secret") == last_was_allowed


def test_cve_2019_12439_without_a_runtime_directory_nothing_is_left_in_tmp(here: world.World) -> None:
    del here.environ["XDG_RUNTIME_DIR"]
    here.environ["TMPDIR"] = str(here.base / "tmp")
    (here.base / "tmp").mkdir()
    with here.here():
        places = state.places(here.environ, os.geteuid())
    ours = (places.state, places.data, places.config, places.runtime)
    assert not [place for place in ours if place.startswith("/tmp")]
    here.install(world.manifest(world.SHELL))
    assert here.says("echo works") == "works\n"
    assert os.listdir(here.base / "tmp") == []
    assert pathlib.Path(places.state, "run").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_flatpak_04d0046e_no_feature_loses_the_filter_of_socket_families(machine: str) -> None:
    """Every feature alone, and all together, on the machine's own calls and on those of its 32-bit twin."""
    abis = {"x86_64": [(0xC000003E, 41), (0x40000003, 359)], "aarch64": [(0xC00000B7, 198), (0x40000028, 281)]}[machine]
    for given in (*((feature,) for feature in seccomp.FEATURES), seccomp.FEATURES):
        program = bpf.load(seccomp.build(machine, features=given))
        for audit, number in abis:
            calls = [(family, 1, 0) for family in (17, 40, 44)]
            verdicts = {bpf.run(program, audit=audit, number=number, arguments=words) for words in calls}
            assert verdicts <= {"EAFNOSUPPORT", "kill"}, (given, audit)


@pytest.mark.parametrize("trick", ['reason = "a\\u0000b"', 'reason = "x"\nreason = "y"', 'hidden = "x"'])
def test_cve_2021_43860_nothing_is_applied_that_is_not_shown(trick: str) -> None:
    text = world.manifest(world.SHELL, {"it": {"kind": "dns", "scope": "any"}})
    parse.parse(text.encode(), file="m")
    with pytest.raises(errors.ManifestError):
        parse.parse(text.replace('reason = "To work."', trick).encode(), file="m")
    with pytest.raises(errors.ManifestError):
        parse.parse(text.encode() + b"\0\n[intents.more]\n", file="m")
