"""Nothing lost, nothing half there: the journal under kill -9, on full disks and in directories that cannot be written.

Every child acknowledges on a pipe what ``record`` returned; afterwards all of that must be there, whole.
"""

import os
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from broker import history, journal, state
from intents import errors, kinds, model
from tests import scene
from tests.conftest import must_work

APP, LINE = "org.example.App", "1" * 16
NOW = model.Clock(wall=1_000_000, boottime=500, boot_id="b", session="s")
SEED = 20_260_303
OURS = (journal.__file__, history.__file__, state.__file__)
ROOT = Path(__file__).parent.parent.parent


def batch(number: int) -> list[history.Entry]:
    """One to three answers that belong together: each says how many they are."""
    size = 1 + number % 3
    scope = kinds.read("path", {"place": f"home/batch-{number}-of-{size}", "access": "read"})
    answer = model.Decision(
        intent_id=f"b{number}", asked=scope, granted=None if number % 2 else scope,
        life=model.Life(span=model.Lifespan.FOREVER), objects=(), source="prompt",
    )  # fmt: skip
    return [history.decided(APP, LINE, answer)] * size


def keep_recording(reserved: state.Places, first: int, acknowledge: int) -> None:
    """Record batch after batch, and say so after each."""
    with journal.Journal.open(reserved) as book:
        for number in range(first, first + 1000):
            book.record(NOW, batch(number))
            os.write(acknowledge, b"%d\n" % number)


def check(reserved: state.Places, acknowledged: set[int]) -> set[int]:
    """The batches in the journal: each whole, the acknowledged ones among them, in order."""
    with journal.Journal.open(reserved, create=not acknowledged) as book:
        book.verify()
        told = [decision.asked.data()["place"] for decision in book.decisions(APP, LINE)]
        assert book.unreadable(APP, LINE) == ()
    found = []
    while told:
        _, number, _, size = str(told[0]).split("-")
        assert told[: int(size)] == [told[0]] * int(size), "half of a batch"
        del told[: int(size)]
        found.append(int(number))
    assert found == sorted(set(found))
    assert acknowledged <= set(found)
    return set(found)


def fork(work: Callable[[int], None]) -> tuple[int, int]:
    """(process, where it acknowledges) of a child that does ``work`` and never comes back."""
    out, back = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(out)
            work(back)
        finally:
            os._exit(1)
    os.close(back)
    return child, out


def drain(child: int, out: int) -> set[int]:
    """What the child acknowledged before its end."""
    with open(out, "rb") as file:
        lines = file.read().split(b"\n")
    os.waitpid(child, 0)
    return {int(line) for line in lines[:-1]}


def die_at(line: int) -> None:
    """Let this process end by SIGKILL before the given line of the journal's own code, counted as they are executed."""
    left = line

    def trace(frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        nonlocal left
        if frame.f_code.co_filename not in OURS:
            return None
        if event == "line":
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


@pytest.fixture
def places(tmp_path: Path) -> state.Places:
    """Reserved places that exist, without a journal."""
    reserved = scene.below(tmp_path)
    state.ensure(reserved)
    return reserved


def test_killed_before_any_line(tmp_path: Path) -> None:
    """160 children die before a chosen line, which goes through opening, beginning, committing and marking."""
    chance = random.Random(SEED)
    ends = set()
    for run in range(160):
        if run % 8 == 0:  # the first of eight begins a journal, the others go on with what it left
            reserved = scene.below(tmp_path / str(run))
            os.makedirs(reserved.home)
            state.ensure(reserved)
            present: set[int] = set()
        first, line = run * 1000, 1 + chance.randrange(700)

        def work(back: int, reserved: state.Places = reserved, first: int = first, line: int = line) -> None:
            die_at(line)
            keep_recording(reserved, first, back)

        acknowledged = drain(*fork(work))
        ends.add(len(acknowledged))
        present = check(reserved, present | acknowledged)
    assert min(ends) == 0 and max(ends) > 0, "no child died both before and after its first answer"


def test_killed_at_any_time(tmp_path: Path) -> None:
    """80 children are killed from outside, so that also the middle of SQLite's own writing is met."""
    chance = random.Random(SEED + 1)
    for run in range(80):
        if run % 8 == 0:
            reserved = scene.below(tmp_path / str(run))
            os.makedirs(reserved.home)
            state.ensure(reserved)
            present: set[int] = set()
        first = run * 1000

        def work(back: int, reserved: state.Places = reserved, first: int = first) -> None:
            keep_recording(reserved, first, back)

        child, out = fork(work)
        time.sleep(chance.random() * 0.05)
        os.kill(child, signal.SIGKILL)
        present = check(reserved, present | drain(child, out))


def test_four_writers_killed_one_after_another(places: state.Places) -> None:
    """The survivors go on; who dies with the lock does not keep it."""
    chance = random.Random(SEED + 2)
    children = []
    for number in range(4):

        def work(back: int, app: str = f"org.example.A{number}") -> None:
            with journal.Journal.open(places) as book:
                while True:
                    seq = book.record(NOW, [history.unanswered(app, LINE, {}, asked=True)] * 2)[-1]
                    os.write(back, b"%d\n" % seq)

        children.append(fork(work))
    acknowledged = set()
    for child, out in children:
        select.select([out], [], [])  # it has recorded something
        time.sleep(chance.random() * 0.05)
        os.kill(child, signal.SIGKILL)
        acknowledged |= drain(child, out)
    with journal.Journal.open(places) as book:
        book.verify()
        assert acknowledged <= {event.seq for event in book.events()}
        for number in range(4):
            assert len(book.events(f"org.example.A{number}")) % 2 == 0
        book.record(NOW, batch(1))


def record_until_refused(reserved: state.Places, back: int) -> None:
    """Record and acknowledge until it fails, which must be with a sentence; then end well."""
    try:
        keep_recording(reserved, 0, back)
    except (errors.JournalError, errors.HostError) as error:
        assert error.code in ("journal-unwritable", "unwritable-place"), error.code
        assert error.message and error.hint
        os._exit(0)


def limits() -> Iterator[int]:
    """Sizes in bytes that no file may exceed: from nothing at all to a journal of some hundred answers."""
    yield from (0, 1, 4096, 8192, 40_000, 60_000)
    chance = random.Random(SEED + 3)
    yield from (chance.randrange(200_000) for _ in range(24))


def test_no_space_in_a_file(tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands in for a full disk in every place where a file grows."""
    largest = 0
    for limit in limits():
        reserved = scene.below(tmp_path / str(limit))
        os.makedirs(reserved.home)
        state.ensure(reserved)

        def work(back: int, reserved: state.Places = reserved, limit: int = limit) -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python sets it, whatever pytest did
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            record_until_refused(reserved, back)

        child, out = fork(work)
        with open(out, "rb") as file:
            acknowledged = {int(line) for line in file.read().split()}
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(acknowledged) < 1000, "the limit did not bite"
        assert check(reserved, acknowledged) == acknowledged, "what was refused is there all the same"
        largest = max(largest, len(acknowledged))
    assert largest > 10


FULL_DISK = """
import os, sys
sys.path.insert(0, sys.argv[1])
from broker import state
from tests import scene
from tests.real import test_journal_crash as crash

reserved = scene.below(sys.argv[2])
state.ensure(reserved)
out, back = os.pipe()
child = os.fork()
if child == 0:
    crash.record_until_refused(reserved, back)
    os._exit(3)
os.close(back)
acknowledged = {int(line) for line in open(out, "rb").read().split()}
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "no sentence"
free = os.statvfs(sys.argv[2])
os.unlink(sys.argv[2] + "/filler")
assert crash.check(reserved, acknowledged) == acknowledged
print(len(acknowledged), free.f_bavail * free.f_bsize)
"""


@pytest.mark.parametrize("free", [0, 20, 100, 200])
def test_a_full_disk(tmp_path: Path, free: int) -> None:
    """A real file system with ``free`` KiB left, in a mount namespace of its own."""
    must_work(shutil.which("unshare") and shutil.which("mount"), "unshare and mount (util-linux)")
    script = (
        'mount -t tmpfs -o size=1m none "$3" && head -c "$1" /dev/zero >"$3/filler" && '
        'exec "$4" -B -c "$5" "$2" "$3"'
    )
    filler = str((1024 - free) * 1024)
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script, "sh", filler, str(ROOT), str(tmp_path), sys.executable, FULL_DISK],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    stored, left = map(int, done.stdout.split())
    assert left < 20_000 and (stored > 0 or free < 100)


@pytest.fixture
def theirs() -> Iterator[Path]:
    """A directory that belongs to the ordinary user of ``scene.as_ordinary``."""
    base = Path(tempfile.mkdtemp(prefix="intents-test-"))
    if os.geteuid() == 0:
        os.chown(base, 65534, 65534)
    yield base
    for directory, _, _ in os.walk(base):
        os.chmod(directory, 0o700)
    shutil.rmtree(base)


@pytest.mark.parametrize("present", [True, False], ids=["with a journal", "before the first"])
def test_a_directory_that_cannot_be_written(theirs: Path, present: bool) -> None:
    reserved = scene.below(theirs)

    def prepare() -> bytes:
        state.ensure(reserved)
        if present:
            with journal.Journal.open(reserved) as book:
                book.record(NOW, batch(2))
        os.chmod(reserved.state, 0o500)
        return b""

    def attempt() -> bytes:
        try:
            with journal.Journal.open(reserved) as book:
                book.record(NOW, batch(3))
        except errors.JournalError as error:
            return f"{error.code} {error.message}".encode()
        return b"recorded"

    scene.as_ordinary(prepare)
    code, _, message = scene.as_ordinary(attempt).decode().partition(" ")
    assert code == "journal-unwritable"
    assert reserved.state in message
    os.chmod(reserved.state, 0o700)
    assert scene.as_ordinary(attempt) == b"recorded"

    def read() -> bytes:
        return b" ".join(b"%d" % number for number in sorted(check(reserved, {3})))

    assert scene.as_ordinary(read) == (b"2 3" if present else b"3")
