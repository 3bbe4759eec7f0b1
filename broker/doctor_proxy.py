"""Does this xdg-dbus-proxy filter at all, and does it have CVE-2026-94422 (GHSA-r7hp-698j-2h6c)?

A proxy with the defect passes every message of its client that quotes the serial of a pending call, whatever its type
and destination: the sandboxed app reaches every name on the bus. Distributions fix it without a new version number, so
the proxy is asked: the probe plays the bus and the app on both its sides and looks at what comes through.
"""

import os
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from broker import bus

FIXED, VULNERABLE, UNFILTERED, UNKNOWN = "fixed", "vulnerable", "unfiltered", "unknown"

_APP, _PEER, _FORBIDDEN = ":1.2", ":1.3", "org.example.Forbidden"
_FIRST = 70  # serial of the peer's first call to the app


def probe(proxy: str, timeout: float = 5.0) -> str:
    """One of ``fixed``, ``vulnerable``, ``unfiltered`` (it passes everything), ``unknown`` (it did not take part).

    proxy: absolute path of an xdg-dbus-proxy; timeout: seconds for everything together.
    """
    deadline = time.monotonic() + timeout
    try:
        with tempfile.TemporaryDirectory() as directory, _started(proxy, directory, deadline) as (app, server):
            return _judge(app, server)
    except (OSError, ValueError):
        return UNKNOWN


@contextmanager
def _started(proxy: str, directory: str, deadline: float) -> Iterator[tuple[bus.Connection, bus.Connection]]:
    """The app's end and the bus's end of one connection through a proxy that allows nothing."""
    outside, inside = f"{directory}/bus", f"{directory}/proxy"
    ours, theirs = os.pipe()
    with socket.socket(socket.AF_UNIX) as listener, open(ours, "rb", buffering=0) as alive:
        listener.bind(outside)
        listener.listen(1)
        listener.settimeout(max(deadline - time.monotonic(), 0.001))
        argv = [proxy, f"--fd={theirs}", f"unix:path={outside}", inside, "--filter"]
        try:
            started = subprocess.Popen(
                argv,
                pass_fds=[theirs],
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        finally:
            os.close(theirs)
        try:
            # One byte says that it listens; the end of the pipe, that it died.
            if not select.select([alive], [], [], max(deadline - time.monotonic(), 0))[0] or not alive.read(1):
                raise TimeoutError
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(max(deadline - time.monotonic(), 0.001))
                client.connect(inside)
                served, _ = listener.accept()
                with served:
                    yield bus.Connection(client, deadline), bus.Connection(served, deadline)
        finally:
            started.kill()
            started.wait()


def _judge(app: bus.Connection, server: bus.Connection) -> str:
    _log_in(app, server)
    for serial in range(_FIRST, _FIRST + 5):
        server.write(bus.encode(_message(bus.CALL, serial=serial, sender=_PEER, destination=_APP)))
        while app.receive().serial != serial:
            pass
    app.send(_message(bus.RETURN, reply_serial=_FIRST, destination=_PEER))
    if _next(server).destination != _PEER:
        return UNKNOWN
    app.send(_message(bus.CALL, destination=_FORBIDDEN))
    for number, kind in enumerate((bus.CALL, bus.SIGNAL, bus.RETURN), _FIRST + 1):
        with suppress(OSError):  # a proxy may well hang up on such a client
            app.send(_message(kind, reply_serial=number, destination=_FORBIDDEN))
    with suppress(OSError):
        app.send(_message(bus.RETURN, reply_serial=_FIRST + 4, destination=_PEER))
    return _verdict(server)


def _verdict(server: bus.Connection) -> str:
    """Read until the last permitted reply, or the end of the connection: what was sent before it has come by then."""
    worst = FIXED
    for _ in range(bus.MAX_MESSAGES):
        try:
            message = _next(server)
        except ConnectionResetError:
            return worst
        if message.destination == _FORBIDDEN:
            if not message.reply_serial:
                return UNFILTERED
            worst = VULNERABLE
        elif message.reply_serial == _FIRST + 4:
            return worst
    return UNKNOWN


def _log_in(app: bus.Connection, server: bus.Connection) -> None:
    app.write(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n")
    server.line()
    server.write(b"OK 0123456789abcdef0123456789abcdef\r\n")
    app.line()
    app.write(b"BEGIN\r\n")
    server.line()
    hello = app.send(
        bus.Message(
            kind=bus.CALL,
            serial=0,
            path="/org/freedesktop/DBus",
            interface="org.freedesktop.DBus",
            member="Hello",
            destination="org.freedesktop.DBus",
        )
    )
    asked = server.receive()
    name = len(_APP).to_bytes(4, "little") + _APP.encode() + b"\0"
    server.write(
        bus.encode(
            bus.Message(
                kind=bus.RETURN,
                serial=1,
                reply_serial=asked.serial,
                sender="org.freedesktop.DBus",
                destination=_APP,
                signature="s",
                body=name,
            )
        )
    )
    while app.receive().reply_serial != hello:
        pass


def _next(server: bus.Connection) -> bus.Message:
    """The next message that is meant for somebody else than the bus itself."""
    while (message := server.receive()).destination == "org.freedesktop.DBus":
        pass
    return message


def _message(
    kind: int, *, serial: int = 0, reply_serial: int = 0, sender: str = "", destination: str = ""
) -> bus.Message:
    named = kind != bus.RETURN
    return bus.Message(
        kind=kind,
        serial=serial,
        reply_serial=reply_serial,
        sender=sender,
        destination=destination,
        path="/probe" if named else "",
        interface="org.example.Probe" if named else "",
        member="Probe" if named else "",
    )
