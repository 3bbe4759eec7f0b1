"""The sound filter as a process: what one client does ends no other's sound, and it has given up what it can."""

import os
import pathlib
import signal
import socket
from collections.abc import Iterator

import pytest

from broker import companions, launch
from intents import seccomp
from tests.real import peers

pytestmark = pytest.mark.real

SOUND = b"\0\0\x10\0" + b"\0" * 16 + b"x" * 4096  # a frame of 4096 bytes for channel 0


@pytest.fixture
def running(tmp_path: pathlib.Path) -> Iterator[tuple[str, int]]:
    """The filter's socket and its pid. The server behind it sends sound to whoever connects, until they go."""
    (tmp_path / "run").mkdir()
    with peers.peer(tmp_path / "server", peers.flood(SOUND)) as server:
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
