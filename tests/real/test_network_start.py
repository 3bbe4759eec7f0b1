"""The network companion and the start: an app begins when its network is ready, and not where it cannot be."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from broker import runs
from tests.real import peers, world

pytestmark = pytest.mark.real

ASK = """
import socket, sys
made = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
print(made.makefile().readline())
"""
# What a relay needs a moment for, so that an app that does not wait would be seen.
SLOW = """
import time
from broker.network import wall
entered = wall.enter
wall.enter = lambda pid: (time.sleep(0.5), entered(pid))[1]
"""
UNWAITED = """
from broker import companions
opened = companions._open_door
def door(*given):
    ends = opened(*given)
    begun, begin = os.pipe()
    os.write(begin, b".")
    return ends[0], begun
companions._open_door = door
import os
"""
FAILING = """
from broker.network import netlink
def refuse(*_given):
    raise PermissionError(1, "Operation not permitted")
netlink.add_address = refuse
"""
KILLED = """
import os
from broker.network import wall
wall.close = lambda *_given: os.kill(os.getpid(), 9)
"""
UNGUARDED = """
from broker import network
network._guard = lambda _pid: os.dup(2)
"""


@contextmanager
def greeting() -> Iterator[int]:
    """The port of a service on this machine's loopback that says one line to whoever comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    made, _ = server.accept()
                except TimeoutError:
                    continue
                made.sendall(b"hello\n")
                made.close()

        worker = threading.Thread(target=serve)
        worker.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            worker.join()


@contextmanager
def home(port: int, command: list[str] = world.PYTHON) -> Iterator[world.World]:
    """An app that may connect to one service of this machine."""
    with world.world() as made:
        scope = {"kind": "network", "connect": [f"127.0.0.1:{port}"]}
        made.install(world.manifest(command, {"net": scope}, interface="window"))
        made.decide()
        yield made


def start(made: world.World, *words: str, removed: str = "") -> subprocess.CompletedProcess[str]:
    argv = made.argv(world.APP, *words, removed=removed)
    return subprocess.run(
        argv, env=made.environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=world.LIMIT
    )


def beside(marker: str) -> list[int]:
    """The processes with these words on their command line: intent-run, and what was forked from it."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = pathlib.Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            continue
        if marker.encode() in words and not words.startswith(b"bwrap"):
            found.append(int(name))
    return found


def test_the_app_begins_when_its_network_is_ready() -> None:
    with greeting() as port, home(port) as made:
        assert start(made, ASK, str(port)).stdout == "hello\n\n"
        assert start(made, ASK, str(port), removed=SLOW).stdout == "hello\n\n"
        assert "ConnectionRefused" in start(made, ASK, str(port), removed=SLOW + UNWAITED).stderr


def test_where_it_cannot_be_made_ready_the_app_does_not_begin() -> None:
    with greeting() as port, home(port, world.SHELL) as made:
        done = start(made, "echo begun", removed=FAILING)
        assert (done.returncode != 0, done.stdout) == (True, "")
        assert "network" in done.stderr and "Operation not permitted" in done.stderr
        assert runs.instances(made.places) == ()
        peers.eventually(lambda: not beside(str(made.home)), "the end of all that was started")


def test_a_relay_that_is_killed_meanwhile_takes_the_app_along() -> None:
    """bubblewrap would take the end of the pipe, which comes with that, for the word to begin."""
    with greeting() as port, home(port, world.SHELL) as made:
        done = start(made, "echo begun", removed=KILLED)
        assert (done.returncode != 0, done.stdout) == (True, "")
        assert start(made, "echo begun", removed=KILLED + UNGUARDED).stdout == "begun\n"
        peers.eventually(lambda: not beside(str(made.home)), "the end of all that was started")


def test_it_leaves_nothing_behind() -> None:
    with greeting() as port, home(port, world.SHELL) as made:
        assert start(made, "exit 7").returncode == 7
        peers.eventually(lambda: not beside(str(made.home)), "the end of both processes")


def test_the_relay_has_given_up_everything_but_its_sockets() -> None:
    with greeting() as port, home(port, world.SHELL) as made:
        argv = made.argv(world.APP, "while :; do sleep 0.1; done")
        quiet = subprocess.DEVNULL
        started = subprocess.Popen(argv, env=made.environ, stdin=quiet, stdout=quiet, stderr=quiet)
        try:
            (relay,) = peers.eventually(lambda: relays(str(made.home)), "the relay")
            status = pathlib.Path(f"/proc/{relay}/status").read_text()
            assert {value for _, value in re.findall(r"(Cap\w+):\s+(\w+)", status)} == {"0" * 16}
            assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status
            if os.geteuid() == 0:  # it cannot be traced, so only root sees these
                assert os.listdir(f"/proc/{relay}/root") == []
                held = {os.readlink(f"/proc/{relay}/fd/{name}") for name in os.listdir(f"/proc/{relay}/fd")}
                assert all(re.match(r"socket:|pipe:|anon_inode:|/dev/null$", each) for each in held), held
        finally:
            os.kill(started.pid, signal.SIGKILL)
            for instance in runs.instances(made.places):
                os.kill(instance.first, signal.SIGKILL)
            started.wait(peers.PATIENCE)
        peers.eventually(lambda: not beside(str(made.home)), "the end of both processes")


def relays(marker: str) -> list[int]:
    """Processes with a system call filter whose parent, the dialer, has one as well."""
    told = {}
    for pid in beside(marker):
        try:
            told[str(pid)] = pathlib.Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
    walled = {pid: status for pid, status in told.items() if "Seccomp:\t2" in status}
    return [int(pid) for pid, status in walled.items() if re.findall(r"PPid:\t(\d+)", status)[0] in walled]
