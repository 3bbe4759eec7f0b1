"""What a companion has given up before it reads the first byte from a sandbox (SPEC §5.4)."""

import os
import pathlib
import socket
from collections.abc import Callable

import pytest

from broker import confine
from intents import seccomp
from tests.real import peers

pytestmark = pytest.mark.real


def attempts(place: pathlib.Path) -> dict[str, Callable[[], object]]:
    """What the user may do and a filter must not."""

    def connect() -> None:
        with socket.socket(socket.AF_UNIX) as stream:
            stream.connect(f"{place}/bus")

    return {
        "read a file": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "write a file": lambda: os.open(f"{place}/new", os.O_WRONLY | os.O_CREAT),
        "see a file": lambda: os.stat(place),
        "start a program": lambda: os.posix_spawn("/bin/true", ["true"], {}),
        "make a process": os.fork,
        "use the network": lambda: socket.socket(socket.AF_INET),
        "talk to a bus": connect,
        "stop a process": lambda: os.kill(os.getppid(), 0),
    }


def tried(place: pathlib.Path, how: Callable[[], object]) -> set[str]:
    """What succeeds in a process after ``how()``."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        me, done = os.getpid(), []
        try:
            how()
            for name, attempt in attempts(place).items():
                try:
                    attempt()
                    done.append(name)
                except OSError:
                    pass
                if os.getpid() != me:
                    break
            else:
                os.write(writing, ",".join(["alive", *done]).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as said:
        result = set(said.read().split(","))
    os.waitpid(child, 0)
    return result


def test_it_gives_up_everything_but_one_socket(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    calls = seccomp.companion(os.uname().machine)
    with peers.peer(tmp_path / "bus", peers.silent), peers.peer(tmp_path / "compositor", peers.silent) as compositor:

        def confined() -> None:
            inside = confine.confine(os.fsencode(compositor), os.fsencode(tmp_path / "run"), calls)
            with socket.socket(socket.AF_UNIX) as stream:
                stream.connect(inside)

        assert tried(tmp_path, confined) == {"alive"}
        monkeypatch.setattr(confine, "_NEW", 1)  # which unshare(2) refuses
        assert tried(tmp_path, confined) == {"alive", "talk to a bus"}
        assert tried(tmp_path, lambda: None) == {"alive", *attempts(tmp_path)}
