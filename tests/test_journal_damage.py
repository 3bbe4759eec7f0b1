"""A journal that is not what was written is a sentence and never an empty journal, nor another one."""

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from broker import history, journal, state
from intents import errors, kinds, model
from tests import scene

APP, LINE = "org.example.App", "1" * 16
NOW = model.Clock(wall=1_000_000, boottime=500, boot_id="b", session="s")
SEED = 20_260_302
Story = tuple[tuple[history.Event, ...], tuple[model.Decision, ...], tuple[model.Pin, ...]]


def entry(number: int) -> history.Entry:
    """An answer about one folder; every other one is a no."""
    scope = kinds.read("path", {"place": f"home/folder-{number}", "access": "read"})
    return history.decided(APP, LINE, model.Decision(
        intent_id=f"folder-{number}", asked=scope, granted=scope if number % 2 else None,
        life=model.Life(span=model.Lifespan.FOREVER), objects=(), source="prompt",
    ))  # fmt: skip


def story(reserved: state.Places) -> Story:
    """Everything that the journal says."""
    with journal.Journal.open(reserved, create=False) as book:
        return book.events(), book.decisions(APP, LINE), book.pins()


def refusal(reserved: state.Places) -> errors.JournalError:
    """The error of opening the journal; it names the file and a next step."""
    with pytest.raises(errors.JournalError) as caught:
        journal.Journal.open(reserved)
    assert f"{reserved.state}/" in caught.value.message
    assert caught.value.hint and caught.value.exit_status == 125
    return caught.value


def tell(reserved: state.Places, first: int, count: int) -> None:
    """Record ``count`` answers."""
    with journal.Journal.open(reserved) as book:
        book.record(NOW, [entry(number) for number in range(first, first + count)])


@pytest.fixture
def places(tmp_path: Path) -> state.Places:
    """Reserved places whose journal holds a pin and forty answers."""
    reserved = scene.below(tmp_path / "here")
    (tmp_path / "here").mkdir()
    state.ensure(reserved)
    pin = model.Pin(app_id=APP, lineage=LINE, fingerprint="SHA256:x", serial=3, digest="d", since=0)
    with journal.Journal.open(reserved) as book:
        book.record(NOW, [history.pinned(pin)])
    tell(reserved, 1, 40)
    return reserved


def file_of(reserved: state.Places) -> str:
    return f"{reserved.state}/{journal.DATABASE}"


def copy(reserved: state.Places, base: Path) -> state.Places:
    """The same places elsewhere, as they are this moment."""
    shutil.rmtree(base, ignore_errors=True)
    shutil.copytree(reserved.home, base)
    return scene.below(base)


def outcomes(reserved: state.Places, base: Path, name: str, damage: Callable[[bytes, int], bytes]) -> dict[str, int]:
    """How often each outcome follows when ``damage`` is done to a copy of file ``name`` at every 512th byte.

    The only good outcome is the whole story; a JournalError is the other one that may be.
    """
    whole = Path(f"{reserved.state}/{name}").read_bytes()
    ruined = copy(reserved, base)
    expected = story(copy(reserved, base.with_name("whole")))
    counts: dict[str, int] = {}
    for offset in range(0, len(whole), 512):
        shutil.rmtree(ruined.state)
        shutil.copytree(reserved.state, ruined.state)
        Path(f"{ruined.state}/{name}").write_bytes(damage(whole, offset))
        try:
            found = story(ruined)
        except errors.JournalError as error:
            assert error.message and error.hint
            outcome = error.code
        else:
            assert found == expected, f"another story after damage at {offset}"
            outcome = "whole"
        counts[outcome] = counts.get(outcome, 0) + 1
    return counts


def flip(data: bytes, offset: int) -> bytes:
    """``data`` with one byte of the block at ``offset`` changed."""
    at = min(offset + random.Random(SEED + offset).randrange(512), len(data) - 1)
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def zero(data: bytes, offset: int) -> bytes:
    """``data`` with the block at ``offset`` blank, as a lost sector would leave it."""
    return data[:offset] + bytes(min(512, len(data) - offset)) + data[offset + 512 :]


def cut(data: bytes, offset: int) -> bytes:
    """``data`` up to ``offset``."""
    return data[:offset]


@pytest.mark.parametrize("damage", [flip, zero, cut])
def test_a_damaged_file_is_told(places: state.Places, tmp_path: Path, damage: Callable[[bytes, int], bytes]) -> None:
    counts = outcomes(places, tmp_path / "ruined", journal.DATABASE, damage)
    assert set(counts) <= {"whole", "journal-corrupt", "journal-replaced", "journal-unwritable"}
    assert counts["journal-corrupt"] >= 20


@pytest.mark.parametrize("damage", [flip, zero, cut])
def test_a_damaged_log_of_writes_is_told(
    places: state.Places, tmp_path: Path, damage: Callable[[bytes, int], bytes]
) -> None:
    with journal.Journal.open(places) as book:  # open, so that the newest answers are only in the write-ahead log
        book.record(NOW, [entry(number) for number in range(41, 61)])
        counts = outcomes(places, tmp_path / "ruined", f"{journal.DATABASE}-wal", damage)
    assert set(counts) <= {"whole", "journal-corrupt", "journal-replaced"}
    assert counts["journal-replaced"] >= 10


@pytest.mark.parametrize("column", ["at", "what", "app", "lineage", "body", "prev", "hash", "seq"])
def test_a_changed_row_is_named(places: state.Places, column: str) -> None:
    value = {"at": 1, "what": "launch", "seq": 99}.get(column, "x" * 64)
    meddle(places, f"UPDATE event SET {column} = ? WHERE seq = 17", (value,))
    error = refusal(places)
    assert error.code == "journal-corrupt"
    assert "event 17 " in error.message


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("DELETE FROM event WHERE seq = 1", "journal-corrupt"),
        ("DELETE FROM event WHERE seq = 17", "journal-corrupt"),
        ("DELETE FROM event WHERE seq = 41", "journal-replaced"),
        ("DELETE FROM event WHERE seq > 1", "journal-replaced"),
        ("DELETE FROM event", "journal-replaced"),
        ("UPDATE event SET body = x'00' WHERE seq = 17", "journal-corrupt"),
        ("UPDATE event SET body = CAST(x'ff' AS TEXT) WHERE seq = 17", "journal-corrupt"),
    ],
)
def test_a_missing_row_is_told(places: state.Places, statement: str, code: str) -> None:
    try:
        meddle(places, statement)
    except sqlite3.IntegrityError:
        assert "x'00'" in statement  # the column's type keeps blobs out
    else:
        assert refusal(places).code == code


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TRIGGER event_no_delete",
        "CREATE TABLE more (x)",
        "CREATE TRIGGER more AFTER INSERT ON event BEGIN SELECT 1; END",
        "ALTER TABLE event ADD COLUMN more TEXT",
        "PRAGMA user_version = 2",
    ],
)
def test_another_structure_is_refused(places: state.Places, statement: str) -> None:
    raw = sqlite3.connect(file_of(places))
    raw.execute(statement)
    raw.commit()
    raw.close()
    assert refusal(places).code == "journal-corrupt"


def meddle(reserved: state.Places, statement: str, values: tuple[object, ...] = ()) -> None:
    """Change rows behind the triggers' back."""
    raw = sqlite3.connect(file_of(reserved))
    triggers = raw.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    try:
        for name, _ in triggers:
            raw.execute(f"DROP TRIGGER {name}")
        raw.execute(statement, values)
        for _, sql in triggers:
            raw.execute(sql)
        raw.commit()
    finally:
        raw.close()


def put_back(reserved: state.Places, older: bytes, how: str) -> None:
    """Put an older copy in the journal's place: as a new file, or into the same one."""
    if how == "rename":
        state.write_atomic(file_of(reserved), older)
    else:
        Path(file_of(reserved)).write_bytes(older)


@pytest.mark.parametrize("how", ["rename", "in place"])
def test_an_older_copy_is_told(places: state.Places, how: str) -> None:
    older = Path(file_of(places)).read_bytes()
    tell(places, 41, 1)  # a no that must not be forgotten
    newer = Path(file_of(places)).read_bytes()
    expected = story(places)
    put_back(places, older, how)
    assert refusal(places).code == "journal-replaced"
    put_back(places, newer, how)
    assert story(places) == expected


def test_an_exchanged_file_is_told_to_whoever_has_it_open(places: state.Places) -> None:
    with journal.Journal.open(places) as book:
        put_back(places, Path(file_of(places)).read_bytes(), "rename")  # the same bytes; what we write nobody reads
        for attempt in (lambda: book.decisions(APP, LINE), lambda: book.record(NOW, [entry(50)]), book.events):
            with pytest.raises(errors.JournalError) as caught:
                attempt()
            assert caught.value.code == "journal-replaced"


@pytest.mark.parametrize("log", ["left", "emptied", "removed"])
def test_copying_over_an_open_journal_changes_no_story(places: state.Places, log: str) -> None:
    older = Path(file_of(places)).read_bytes()
    acknowledged = 41
    with journal.Journal.open(places) as book:
        tell(places, 41, 5)
        acknowledged += 5
        put_back(places, older, "in place")
        if log == "emptied":
            Path(f"{file_of(places)}-wal").write_bytes(b"")
        elif log == "removed":
            os.unlink(f"{file_of(places)}-wal")
        try:
            assert len(book.events()) == acknowledged
            acknowledged += len(book.record(NOW, [entry(50)]))
        except errors.JournalError as error:
            assert error.code in ("journal-replaced", "journal-corrupt", "journal-unwritable")
    try:
        found = story(places)[0]
    except errors.JournalError as error:
        assert error.code in ("journal-replaced", "journal-corrupt")
    else:
        assert [event.seq for event in found] == list(range(1, acknowledged + 1))


def test_another_journal_is_told(places: state.Places, tmp_path: Path) -> None:
    other = scene.below(tmp_path / "other")
    state.ensure(other)
    tell(other, 1, 100)  # longer, and whole in itself
    put_back(places, Path(file_of(other)).read_bytes(), "rename")
    assert refusal(places).code == "journal-replaced"


def test_a_missing_journal_is_told(places: state.Places) -> None:
    os.unlink(file_of(places))
    error = refusal(places)
    assert error.code == "journal-missing"
    assert "intent-ctl doctor --new-journal" in error.hint
    assert not os.path.lexists(file_of(places))


def test_a_log_of_writes_without_its_journal_is_told(places: state.Places) -> None:
    for name in ("", "/mark"):
        os.unlink(file_of(places) if not name else places.state + name)
    Path(f"{file_of(places)}-wal").write_bytes(b"x" * 100)
    assert refusal(places).code == "journal-missing"


def test_an_empty_file_is_no_empty_journal(places: state.Places) -> None:
    for remember in (True, False):
        Path(file_of(places)).write_bytes(b"")
        assert refusal(places).code == "journal-corrupt"
        if remember:
            os.unlink(f"{places.state}/mark")


@pytest.mark.parametrize("content", [b"", b"\n", b"17", b"x " + b"0" * 64 + b"\n", b"41 0\n", b"41 " + b"0" * 64])
def test_a_damaged_mark_is_told(places: state.Places, content: bytes) -> None:
    state.write_atomic(f"{places.state}/mark", content)
    assert refusal(places).code == "journal-corrupt"


def test_a_mark_of_something_else_is_told(places: state.Places) -> None:
    digest = Path(f"{places.state}/mark").read_text().split()[1]
    for seq, hash_ in ((41, "0" * 64), (42, digest), (40, digest), (0, digest)):
        state.write_atomic(f"{places.state}/mark", f"{seq} {hash_}\n".encode())
        assert refusal(places).code == "journal-replaced"


def test_without_a_mark_the_journal_speaks_for_itself(places: state.Places) -> None:
    expected = story(places)
    os.unlink(f"{places.state}/mark")
    assert story(places) == expected
    tell(places, 41, 1)
    assert os.path.exists(f"{places.state}/mark")


# Only root can give a file away.
@pytest.mark.parametrize("defect", ["link", "mode", "directory", *(["owner"] if os.geteuid() == 0 else [])])
def test_a_file_that_others_can_reach_is_refused(places: state.Places, tmp_path: Path, defect: str) -> None:
    file = file_of(places)
    match defect:
        case "link":
            os.rename(file, tmp_path / "elsewhere")
            os.symlink(tmp_path / "elsewhere", file)
        case "mode":
            os.chmod(file, 0o640)
        case "owner":
            os.chown(file, 65534, 65534)
        case _:
            os.unlink(file)
            os.mkdir(file, 0o700)
    assert refusal(places).code == "journal-unsafe"


def test_somebody_who_does_not_let_go_is_told(places: state.Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_BUSY", 0.05)
    for holder in ("database", "lock"):
        with journal.Journal.open(places) as book:
            raw = sqlite3.connect(file_of(places), isolation_level=None)
            raw.execute("BEGIN IMMEDIATE" if holder == "database" else "SELECT 1")
            before = book.events()
            with pytest.raises(errors.JournalError) as caught:
                if holder == "database":
                    book.record(NOW, [entry(50)])
                else:
                    with state.lock(f"{places.state}/locks/journal"):
                        book.record(NOW, [entry(50)])
            assert caught.value.code == "journal-busy"
            raw.close()
            assert book.events() == before
            assert book.record(NOW, [entry(50)]) == (len(before) + 1,)


def test_starting_over_keeps_the_old_files(places: state.Places) -> None:
    for number in (1, 2):
        expected = story(places)
        Path(f"{places.state}/plans/plan").write_bytes(b"made from what is no more")
        with journal.Journal.open(places) as book:
            moved = journal.start_over(places)
            with pytest.raises(errors.JournalError):
                book.record(NOW, [entry(50)])
        assert f"{file_of(places)}.{number}" in moved and f"{places.state}/mark.{number}" in moved
        assert os.listdir(f"{places.state}/plans") == []
        with journal.Journal.open(places) as book:
            assert book.events() == () == book.pins()
        os.unlink(file_of(places))
        for old in moved:
            shutil.copy(old, old.replace(f".{number}", "", 1))
        assert story(places) == expected


def test_what_an_interrupted_beginning_left_is_no_obstacle(tmp_path: Path) -> None:
    reserved = scene.below(tmp_path)
    state.ensure(reserved)
    for name in (".new", ".new-wal", ".new-shm", ".new-journal"):
        Path(file_of(reserved) + name).write_bytes(b"x" * 5000)
    tell(reserved, 1, 3)
    assert len(story(reserved)[0]) == 3


def test_verify_finds_what_happened_since_it_was_opened(places: state.Places) -> None:
    with journal.Journal.open(places) as book:
        book.verify()
        meddle(places, "UPDATE event SET at = at + 1 WHERE seq = 5")
        with pytest.raises(errors.JournalError) as caught:
            book.verify()
    assert caught.value.code == "journal-corrupt" and "event 5 " in caught.value.message
