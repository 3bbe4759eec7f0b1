"""Both ends of a bus: a service outside that remembers what it was asked, and a client to run inside a sandbox."""

import inspect
import json
import pathlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from broker import bus
from tests.real import peers, world

# Runs steps and prints what came of each, as JSON; ``heard`` is what arrived meanwhile.
_CLIENT = """
import json, sys

def arguments(*texts):
    body = b""
    for text in texts:
        raw = text.encode()
        body += b"\\0" * (-len(body) % 4) + struct.pack("<I", len(raw)) + raw + b"\\0"
    return body

heard = []

def until(found):
    while True:
        message = connection.receive()
        if found(message):
            return message
        heard.append(message.member)

def call(to, path, interface, member, *texts, number=None):
    body = arguments(*texts)
    signature = "s" * len(texts)
    if number is not None:
        body, signature = body + b"\\0" * (-len(body) % 4) + struct.pack("<I", number), signature + "u"
    serial = connection.send(Message(
        kind=CALL, serial=0, path=path, interface=interface, member=member, destination=to,
        signature=signature, body=body,
    ))
    answer = until(lambda message: message.reply_serial == serial)
    return "answered" if answer.kind == RETURN else "refused"

def own(name):
    call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "RequestName", name, number=4)
    return connection.ask("GetNameOwner", name) and "owned"

def match(rule):
    return call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch", rule)

def hear(member):
    if member in heard:
        return "heard"
    return "heard" if until(lambda message: message.member == member) else ""

stream = socket.socket(socket.AF_UNIX)
address = os.environ.get(sys.argv[2], "")
if address:
    stream.connect(target(address))
    connection = Connection(stream, time.monotonic() + 20)
    me = connection.greet()
said = []
for step, *words in json.loads(sys.argv[1]):
    try:
        said.append({"call": call, "own": own, "match": match, "hear": hear}[step](*words) if address else "no bus")
    except (OSError, ValueError) as error:
        said.append("refused")
    print(json.dumps({"said": said, "heard": heard}), flush=True)
"""
CLIENT = inspect.getsource(bus) + _CLIENT  # for an app whose command is ``world.PYTHON``
Step = tuple[str, ...]


def does(
    here: world.World,
    *steps: Step,
    name: str = world.APP,
    address: str = "DBUS_SESSION_BUS_ADDRESS",
    removed: str = "",
) -> tuple[list[str], list[str]]:
    """(what came of each step inside, what was heard besides); address: the variable that leads to the bus."""
    told = json.loads(here.says(CLIENT, json.dumps(steps), address, name=name, removed=removed).splitlines()[-1])
    return told["said"], told["heard"]


@dataclass
class Service:
    """Owns names, answers every call with nothing, and afterwards says and asks what ``replies`` holds.

    unique: its name on the bus that nobody chose; asked: (path, interface, member) of each call that arrived.
    """

    unique: str = ""
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    replies: list[bus.Message] = field(default_factory=list)  # without a destination: to whoever called

    def serve(self, connection: bus.Connection) -> None:
        """Until the bus goes."""
        with suppress(OSError, ValueError):
            while True:
                message = connection.receive()
                if message.kind != bus.CALL:
                    continue
                self.asked.append((message.path, message.interface, message.member))
                done = bus.Message(
                    kind=bus.RETURN, serial=0, reply_serial=message.serial, destination=message.sender
                )
                for each in (done, *self.replies):
                    fields = {name: getattr(each, name) for name in each.__slots__}
                    if each.kind == bus.CALL:
                        fields["destination"] = message.sender
                    connection.send(bus.Message(**fields))


def signal(path: str, interface: str, member: str) -> bus.Message:
    """A signal to everybody."""
    return bus.Message(kind=bus.SIGNAL, serial=0, path=path, interface=interface, member=member)


@contextmanager
def service(address: str, *names: str) -> Iterator[Service]:
    """A service at that address, which has the names before the block begins."""
    made = Service()
    with socket.socket(socket.AF_UNIX) as stream:
        where = bus.target(address)
        assert where
        stream.connect(where)
        connection = bus.Connection(stream, time.monotonic() + 10 * peers.PATIENCE)
        made.unique = connection.greet()
        for name in names:
            text = name.encode()
            body = struct.pack("<I", len(text)) + text + b"\0"
            body += b"\0" * (-len(body) % 4) + struct.pack("<I", 4)
            connection.send(
                bus.Message(
                    kind=bus.CALL,
                    serial=0,
                    path="/org/freedesktop/DBus",
                    interface="org.freedesktop.DBus",
                    member="RequestName",
                    destination="org.freedesktop.DBus",
                    signature="su",
                    body=body,
                )
            )
        for name in names:
            peers.eventually(lambda name=name: name in (bus.names(address) or ((), ()))[0], name)  # type: ignore[misc]
        worker = threading.Thread(target=made.serve, args=(connection,), daemon=True)
        worker.start()
        try:
            yield made
        finally:
            stream.shutdown(socket.SHUT_RDWR)
            worker.join(peers.PATIENCE)


@contextmanager
def session(here: world.World) -> Iterator[str]:
    """A real session bus that apps of this world are started with; its address."""
    address = f"unix:path={here.runtime}/bus"
    with peers.message_bus(pathlib.Path(here.base), address, {}):
        peers.eventually(lambda: (here.runtime / "bus").exists(), "the bus")
        here.environ["DBUS_SESSION_BUS_ADDRESS"] = address
        yield address
