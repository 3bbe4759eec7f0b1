"""intent-ctl as a process of its own in a world: a server of questions, and connections to it."""

import pathlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from broker import client, prompts, protocol, wire
from intents import model
from tests.real import world

PATIENCE = 30.0


def argv(where: world.World, *words: str, removed: str = "") -> list[str]:
    """The command line of intent-ctl, with ``removed`` run before it begins."""
    program = world.MAIN.format(root=str(world.ROOT), home=str(where.home), removed=removed)
    return [sys.executable, "-c", program.replace("broker.run", "broker.ctl"), *words]


def path(where: world.World) -> pathlib.Path:
    """The socket."""
    return pathlib.Path(where.places.runtime, "broker.sock")


@contextmanager
def served(
    where: world.World, *, removed: str = "", wrap: tuple[str, ...] = (), environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """``intent-ctl serve`` for one block; it must end well. ``removed``: a protection to take away first."""
    server = subprocess.Popen(
        [*wrap, *argv(where, "serve", removed=removed)],
        env={**where.environ, **(environ or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None and server.stderr is not None
        line = server.stdout.readline()
        assert line.startswith("Serving "), (line, server.stderr.read() if server.poll() is not None else "")
        yield server
        assert server.poll() is None, server.stderr.read()
    finally:
        server.terminate()
        _, said = server.communicate(timeout=PATIENCE)
    assert (server.returncode, said) == (0, "") and not path(where).exists()


@contextmanager
def connected(where: world.World) -> Iterator[client.Client]:
    """One connection."""
    with raw(where) as connection:
        yield client.Client(connection)


@contextmanager
def raw(where: world.World) -> Iterator[socket.socket]:
    """One connection, as a socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path(where)))
        connection.settimeout(PATIENCE)
        yield connection


def until(true: Callable[[], object], why: str = "it does not come true") -> None:
    """Wait for something."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, why
        time.sleep(0.02)


def questions(connection: client.Client) -> list[dict[str, object]]:
    """What ``list`` tells."""
    found = connection.call("list")["questions"]
    assert isinstance(found, list)
    return found


def answered(where: world.World) -> None:
    """A good client gets its answer."""
    with connected(where) as broker:
        assert broker.call("hello")["version"] == protocol.VERSION


def answers(
    request: object, effect: model.Effect = model.Effect.DENY, span: model.Lifespan = model.Lifespan.FOREVER
) -> list[dict[str, object]]:
    """One answer for all that is asked."""
    asked = wire.read_request(request)
    return wire.answers_data([prompts.answer(question, effect, span) for question in asked.questions])


def events(connection: client.Client, *names: str) -> dict[str, list[protocol.Values]]:
    """The events that come until there was one of each of these names."""
    found: dict[str, list[protocol.Values]] = {}
    while not found.keys() >= set(names):
        event = connection.event(PATIENCE)
        assert event is not None, f"{names} expected, {found} found"
        found.setdefault(str(event["event"]), []).append(event)
    return found
