"""The sound filter as a process: what one client does ends no other's sound, and it has given up what it can."""

import contextlib
import os
import pathlib
import signal
import socket
from collections.abc import Callable, Iterator

import pytest

from broker import companions, launch
from intents import seccomp
from tests.real import peers

pytestmark = pytest.mark.real

SOUND = b"\0\0\x10\0" + b"\0" * 16 + b"x" * 4096  # a frame of 4096 bytes for channel 0


@contextlib.contextmanager
def filtered(tmp_path: pathlib.Path, behave: Callable[[socket.socket], object]) -> Iterator[tuple[str, int]]:
    """The filter's socket and its pid, before a server that behaves so."""
    (tmp_path / "run").mkdir()
    with peers.peer(tmp_path / "server", behave) as server:
        calls = seccomp.companion(os.uname().machine).hex()
        words = ("spulse", f"={server}", f"={calls}", "=playback")
        section = tuple(word.encode() for word in ("pulse", "pulse_filter", str(len(words)), *words))
        before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as the executor has it
        (pid,), ready, _ = companions.start(section, os.fsencode(tmp_path / "run"), launch._memory)
        signal.signal(signal.SIGPIPE, before)
        companions.wait(section, [pid], ready)
        yield f"{tmp_path}/run/pulse", pid
        os.close(ready)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.fixture
def running(tmp_path: pathlib.Path) -> Iterator[tuple[str, int]]:
    """The same; the server sends sound to whoever connects, until they go."""
    with filtered(tmp_path, peers.flood(SOUND)) as made:
        yield made


def test_no_descriptor_passes_in_either_direction(tmp_path: pathlib.Path) -> None:
    came: list[int] = []

    def behave(stream: socket.socket) -> None:
        socket.send_fds(stream, [SOUND], [0])
        came.append(len(socket.recv_fds(stream, len(SOUND), 8)[1]))

    def exchanged(path: str) -> tuple[int, int]:
        """How many came to the client and to the server."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(peers.PATIENCE)
            client.connect(path)
            _, handles, _, _ = socket.recv_fds(client, len(SOUND), 8)
            before = len(came)
            socket.send_fds(client, [SOUND], [0])
            peers.eventually(lambda: len(came) > before, "what the client sent")
        return len(handles), came[-1]

    with filtered(tmp_path, behave) as (path, _):
        assert exchanged(path) == (0, 0)
        assert exchanged(f"{tmp_path}/server") == (1, 1)


def test_a_client_that_goes_while_it_is_written_to_ends_nobody_else(running: tuple[str, int]) -> None:
    path, _ = running
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(peers.PATIENCE)
            client.connect(path)
            assert client.recv(1)


def test_it_is_confined_before_it_reads(running: tuple[str, int]) -> None:
    path, pid = running
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(peers.PATIENCE)
        client.connect(path)
        assert client.recv(1)
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        assert "Seccomp:\t2" in status and "NoNewPrivs:\t1" in status
        assert os.listdir(f"/proc/{pid}/root") == ["socket"]
