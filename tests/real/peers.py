"""What tests of sockets share: a real headless compositor, a real message bus, and peers that behave badly."""

import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from tests.conftest import must_work

T = TypeVar("T")
NOBODY = 65534
PATIENCE = 60.0  # seconds until something that takes milliseconds counts as never


def eventually(what: Callable[[], T | None], reason: str) -> T:
    """Wait until ``what()`` is true, and give what it gave."""
    deadline = time.monotonic() + PATIENCE
    while not (found := what()):
        assert time.monotonic() < deadline, f"never came: {reason}"
        time.sleep(0.02)
    return found


def ends(what: Callable[[], T]) -> T:
    """``what()``, which must end by itself: a test of a time limit that hangs would say nothing."""
    results: list[T] = []
    worker = threading.Thread(target=lambda: results.append(what()), daemon=True)
    worker.start()
    worker.join(PATIENCE)
    assert results, "it hangs"
    return results[0]


@contextmanager
def child(argv: list[str], env: dict[str, str], user: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs as long as the block and keeps quiet; ``user``: as whom, when not as ourselves."""
    quiet = subprocess.DEVNULL
    groups: list[int] | None = None if user is None else []
    started = subprocess.Popen(
        argv, env=env, stdin=quiet, stdout=quiet, stderr=quiet, user=user, group=user, extra_groups=groups
    )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@contextmanager
def sway() -> Iterator[pathlib.Path]:
    """A real compositor without a screen; its socket. Root runs it as nobody, because sway refuses root."""
    must_work(shutil.which("sway"), "sway, a compositor")
    user = None if os.geteuid() else NOBODY
    with tempfile.TemporaryDirectory() as directory:
        if user:
            os.chown(directory, user, user)
        runtime = pathlib.Path(directory)
        (runtime / "config").touch()
        env = {
            "PATH": os.environ["PATH"],
            "HOME": directory,
            "XDG_RUNTIME_DIR": directory,
            "WLR_BACKENDS": "headless",
            "WLR_RENDERER": "pixman",
            "WLR_LIBINPUT_NO_DEVICES": "1",
            "WLR_HEADLESS_OUTPUTS": "1",
        }
        with child(["sway", "-c", f"{directory}/config"], env, user):
            yield eventually(lambda: next(iter(runtime.glob("wayland-[0-9]")), None), "the compositor's socket")


BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>{address}</listen>
  <servicedir>{services}</servicedir>
  <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy>
</busconfig>
"""


@contextmanager
def message_bus(directory: pathlib.Path, address: str, services: dict[str, str]) -> Iterator[str]:
    """A real dbus-daemon at ``address``; ``services`` are activatable: name -> program."""
    must_work(shutil.which("dbus-daemon"), "dbus-daemon, a message bus")
    (directory / "services").mkdir()
    for name, program in services.items():
        text = f"[D-BUS Service]\nName={name}\nExec={program}\n"
        (directory / "services" / f"{name}.service").write_text(text)
    config = directory / "bus.conf"
    config.write_text(BUS_CONFIG.format(address=address, services=directory / "services"))
    with child(["dbus-daemon", "--nofork", f"--config-file={config}"], {"PATH": os.environ["PATH"]}):
        yield address


@contextmanager
def peer(path: pathlib.Path, behave: Callable[[socket.socket], object]) -> Iterator[str]:
    """A server that does ``behave`` with each connection, then closes it."""
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            with suppress(OSError):
                stream, _ = listener.accept()
                with stream:
                    stream.settimeout(PATIENCE)
                    behave(stream)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(8)
        listener.settimeout(0.01)
        worker = threading.Thread(target=serve, daemon=True)
        worker.start()
        try:
            yield str(path)
        finally:
            over.set()
            worker.join(PATIENCE)


def silent(stream: socket.socket) -> None:
    """Read for as long as the other side stays, say nothing."""
    while stream.recv(4096):
        pass


def drip(stream: socket.socket) -> None:
    """One zero byte at a time, for as long as the other side stays."""
    while True:
        stream.sendall(b"\0")
        time.sleep(0.02)


def flood(piece: bytes) -> Callable[[socket.socket], None]:
    """The same bytes without end."""

    def behave(stream: socket.socket) -> None:
        while True:
            stream.sendall(piece)

    return behave


def says(data: bytes) -> Callable[[socket.socket], None]:
    """These bytes, then silence."""

    def behave(stream: socket.socket) -> None:
        stream.sendall(data)
        silent(stream)

    return behave


def hangs_up(_stream: socket.socket) -> None:
    """Close at once."""
