"""What lives beside a sandbox: awaited, over with it, and a launch without it does not happen (SPEC §10.5)."""

import os
import pathlib
import select
from collections.abc import Iterator

import pytest

from broker import companions, launch
from intents import errors
from tests.real import peers

pytestmark = pytest.mark.real

WAIT = "p = select.poll(); p.register(fd, 0); p.poll()"
READY = f"import os, select, sys; fd = int(sys.argv[1]); os.write(fd, b'.'); {WAIT}"
PYTHON = b"/usr/bin/python3"


def section(*scripts: str) -> tuple[bytes, ...]:
    """Companions that run Python scripts with the ready pipe's number as their argument."""
    records = [(b"script", PYTHON, b"4", b"=-IS", b"=-c", b"=" + script.encode(), b"w") for script in scripts]
    return tuple(item for record in records for item in record)


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> Iterator[bytes]:
    yield os.fsencode(tmp_path)


def over(pid: int) -> bool:
    return os.waitpid(pid, os.WNOHANG) != (0, 0)


def test_all_are_awaited_and_end_when_nobody_reads(directory: bytes) -> None:
    said = section(READY, READY)
    pids, ready, _ = companions.start(said, directory, launch._memory)
    companions.wait(said, pids, ready)
    assert [os.getsid(pid) for pid in pids] == pids
    assert not any(over(pid) for pid in pids)
    os.close(ready)
    peers.eventually(lambda: all(over(pid) for pid in pids), "the end of both")


@pytest.mark.parametrize("at", [0, 1])
def test_one_that_ends_early_stops_the_launch(directory: bytes, at: int) -> None:
    scripts = [READY, READY]
    scripts[at] = "raise SystemExit(0)"
    said = section(*scripts)
    pids, ready, _ = companions.start(said, directory, launch._memory)
    with pytest.raises(errors.HostError, match="ended before it was ready") as caught:
        companions.wait(said, pids, ready)
    assert caught.value.code == "companion-failed"
    os.close(ready)
    for pid in pids:
        os.waitpid(pid, 0)


def test_one_that_says_nothing_stops_the_launch(directory: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(companions, "PATIENCE_MS", 50)
    silent = READY.replace("os.write(fd, b'.')", "0")
    said = section(silent)
    pids, ready, _ = companions.start(said, directory, launch._memory)
    with pytest.raises(errors.HostError, match="not ready within"):
        companions.wait(said, pids, ready)
    os.close(ready)
    peers.eventually(lambda: over(pids[0]), "its end")


def test_a_list_of_arguments_goes_by_descriptor(directory: bytes) -> None:
    read = "words = open(int(sys.argv[2].partition('=')[2]), 'rb').read()"
    keep = f"{read}; open(words.split(b'\\0')[1], 'wb').write(words)"
    script = READY.replace("; os.write", f"; {keep}; os.write")
    tagged = (b"=-c", b"=" + script.encode(), b"w", b"l2 --args=", b"=two words", b"smade")
    said = (b"script", PYTHON, b"%d" % len(tagged), *tagged)
    pids, ready, _ = companions.start(said, directory, launch._memory)
    companions.wait(said, pids, ready)
    made = directory + b"/made"
    assert pathlib.Path(os.fsdecode(made)).read_bytes() == b"two words\0" + made + b"\0"
    os.close(ready)
    os.waitpid(pids[0], 0)


def test_our_own_run_in_a_fork_that_holds_nothing_else(directory: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def main(arguments: list[bytes], where: bytes, ready: int) -> int:
        held = sorted(map(int, os.listdir("/proc/self/fd")))
        pathlib.Path(os.fsdecode(where), "made").write_text(f"{arguments} {held}")
        os.write(ready, b".")
        waiting = select.poll()
        waiting.register(ready, 0)
        waiting.poll()
        return 7

    monkeypatch.setattr(companions, "_main", {"planted": main}.__getitem__)
    said = (b"ours", b"planted", b"2", b"=word", b"ssocket")
    pids, ready, _ = companions.start(said, directory, launch._memory)
    companions.wait(said, pids, ready)
    shown = pathlib.Path(os.fsdecode(directory), "made").read_text()
    words, _, numbers = shown.rpartition(" [")
    assert words == str([b"word", directory + b"/socket"])
    assert len(numbers.split(",")) == 5, shown  # the three of every process, the pipe, and the listing's own
    os.close(ready)
    assert os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]) == 7
