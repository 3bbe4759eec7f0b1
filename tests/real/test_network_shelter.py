"""What the dialer has given up before it hears the relay, and that it resolves all the same (SPEC §10.6)."""

import _socket
import ctypes
import os
import pathlib
import socket
from collections.abc import Callable, Iterator

import pytest

from broker import confine
from broker.network import forward, lookup, loop, shelter, surroundings
from intents import seccomp

pytestmark = pytest.mark.real
ROOTS = {"make a file without a name", *({"be another user"} if os.geteuid() else ())}  # or of some file systems only
CALLS = seccomp.dialer(os.uname().machine)


def leave() -> None:
    if os.fork() == 0:
        os._exit(0)


def attempts(place: pathlib.Path) -> dict[str, Callable[[], object]]:
    """What the user may do and a dialer must not."""
    name, secret = place / "mine", place / "secret"

    def abstract() -> None:
        with socket.socket(socket.AF_UNIX) as stream:
            stream.connect(f"\0{place}")

    return {
        "read a file of the user's": secret.read_bytes,
        "list a directory of the user's": lambda: os.listdir(place),
        "write a file": lambda: os.write(os.open(secret, os.O_WRONLY), b"x"),
        "make a file": lambda: os.open(place / "new", os.O_RDONLY | os.O_CREAT),
        "make a file without a name": lambda: os.open(place, os.O_TMPFILE | os.O_RDWR),
        "cut a file": lambda: os.truncate(secret, 0),
        "make a directory": lambda: os.mkdir(place / "directory"),
        "rename": lambda: os.rename(place / "named", place / "other"),
        "link": lambda: os.link(secret, name),
        "make a link": lambda: os.symlink("/etc", place / "symbolic"),
        "change a mode": lambda: os.chmod(secret, 0o777),
        "remove": lambda: os.unlink(place / "old"),
        "start a program": lambda: os.posix_spawn("/bin/true", ["true"], {}),
        "become a program": lambda: os.execv("/no-such-program", ["x"]),
        "make a process": leave,
        "signal": lambda: os.kill(os.getppid(), 0),
        "reach an abstract socket": abstract,
        "be another user": lambda: os.setresuid(*[2 if os.geteuid() == 1 else 1] * 3),
    }


def refuse(result: int) -> None:
    if result < 0:
        raise PermissionError


def works() -> dict[str, Callable[[], object]]:
    """What it needs."""

    def threads() -> None:
        looping = loop.Loop()
        names = lookup.Lookup(looping)
        found: list[object] = []
        names.find(b"localhost", found.append)
        while not found:
            looping.turn(0.1)
        assert found[0]

    def resolvers() -> None:
        with open(forward.RESOLVERS, "rb") as file:
            forward.servers(file.read())

    return {
        "resolve": threads,
        "resolvers": resolvers,
        "neighbours": lambda: surroundings.Surroundings().kind_of(b"\x7f\0\0\1") == "loopback" or refuse(-1),
        "connect": lambda: _socket.socket(_socket.AF_INET6, _socket.SOCK_DGRAM),
        "modules": lambda: ctypes.CDLL("libnss_files.so.2") if os.path.exists("/etc/debian_version") else None,
    }


def tried(place: pathlib.Path, how: Callable[[], object]) -> set[str]:
    """What succeeds in a process after ``how()``."""
    for name in ("secret", "old", "named"):
        (place / name).write_text("secret")
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        done = []
        try:
            me = os.getpid()
            how()
            for name, attempt in (attempts(place) | works()).items():
                try:
                    attempt()
                    done.append(name)
                except OSError as error:
                    if isinstance(error, FileNotFoundError) and name == "become a program":
                        done.append(name)
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


@pytest.fixture
def place(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A directory of the user's, after which an abstract socket is named."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{tmp_path}")
        listener.listen(4)
        yield tmp_path


def test_it_resolves_and_connects_and_can_do_nothing_else(place: pathlib.Path) -> None:
    found = tried(place, lambda: shelter.enter(CALLS, False, forward.RESOLVERS))
    assert found == {"alive", *works()}
    assert (place / "secret").read_text() == "secret"


def test_without_the_shelter_everything_works(place: pathlib.Path) -> None:
    assert tried(place, lambda: None) >= {"alive", *works(), *(attempts(place).keys() - ROOTS)}


def test_without_landlock_nothing_is_changed_or_started_all_the_same(place: pathlib.Path) -> None:
    found = tried(place, lambda: confine.load(ctypes.CDLL(None, use_errno=True), CALLS))
    outside = {"read a file of the user's", "list a directory of the user's", "remove", "reach an abstract socket"}
    assert found - {"be another user"} == {"alive", *works(), *outside}


def test_where_sockets_are_to_be_removed_that_alone_is_left(place: pathlib.Path) -> None:
    found = tried(place, lambda: shelter.enter(CALLS, True, forward.RESOLVERS))
    assert found == {"alive", *works(), "remove", "list a directory of the user's"}
