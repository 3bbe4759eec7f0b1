"""``intent-ctl verify-log``: it finds what is broken, in journals that nothing else accepts, and changes nothing."""

import os
import pathlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator

import pytest

from broker import journal
from tests import control
from tests.control import APP
from tests.real import world


@pytest.fixture
def home() -> Iterator[world.World]:
    """A world with a journal of five events."""
    with control.home() as made:
        control.done(made, "grant", APP, "notes")
        control.done(made, "grant", APP, "net")
        control.done(made, "revoke", APP)
        yield made


@pytest.fixture
def copy(home: world.World, tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of it, elsewhere, in one file."""
    raw = sqlite3.connect(f"{home.places.state}/{journal.DATABASE}")
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.close()
    for name in (journal.DATABASE, journal.MARK):
        shutil.copy(f"{home.places.state}/{name}", tmp_path)
    return tmp_path / journal.DATABASE


def damage(file: pathlib.Path, *statements: str) -> None:
    raw = sqlite3.connect(file)
    for name in ("event_no_update", "event_no_delete", "event_no_gap"):
        kept = raw.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (name,)).fetchone()[0]
        raw.execute(f"DROP TRIGGER {name}")
        statements = (*statements, kept)
    for statement in statements:
        raw.execute(statement)
    raw.commit()
    raw.close()


def test_a_whole_journal_is_said_to_be_whole(home: world.World, copy: pathlib.Path) -> None:
    before = {path.name: path.read_bytes() for path in copy.parent.iterdir()}
    for words in ([], [str(copy)]):
        found = control.data(home, "verify-log", *words)
        assert (found["events"], found["broken"], found["damage"], found["mark_holds"]) == (5, None, None, True)
        assert "5 events follow one another" in control.done(home, "verify-log", *words)
    assert {path.name: path.read_bytes() for path in copy.parent.iterdir()} == before


DAMAGE = {
    "a changed answer": ("UPDATE event SET body = replace(body, 'null', '{}') WHERE seq = 4", 4),
    "a changed time": ("UPDATE event SET at = at + 1 WHERE seq = 2", 2),
    "an event that is gone": ("DELETE FROM event WHERE seq = 3", 3),
    "the first event gone": ("DELETE FROM event WHERE seq = 1", 1),
    "text that is none": ("UPDATE event SET app = CAST(x'ff' AS TEXT) WHERE seq = 5", 5),
}


@pytest.mark.parametrize(("statement", "seq"), DAMAGE.values(), ids=DAMAGE)
def test_the_first_broken_event_is_named(home: world.World, copy: pathlib.Path, statement: str, seq: int) -> None:
    damage(copy, statement)
    found = control.data(home, "verify-log", str(copy), status=1)
    broken = found["broken"]
    assert isinstance(broken, dict) and (found["events"], broken["seq"]) == (seq - 1, seq)
    assert f"BROKEN at event {seq}" in control.run(home, "verify-log", str(copy))[1]


def test_the_journal_in_use_is_checked_though_nothing_else_opens_it(home: world.World) -> None:
    damage(pathlib.Path(home.places.state, journal.DATABASE), DAMAGE["a changed time"][0])
    assert control.code(home, "list") == "journal-corrupt"
    found = control.data(home, "verify-log", status=1)
    assert isinstance(found["broken"], dict) and found["broken"]["seq"] == 2


def older(copy: pathlib.Path) -> None:
    damage(copy, "DELETE FROM event WHERE seq > 3")


def no_triggers(copy: pathlib.Path) -> None:
    raw = sqlite3.connect(copy)
    raw.execute("DROP TRIGGER event_no_update")
    raw.commit()
    raw.close()


def no_database(copy: pathlib.Path) -> None:
    copy.write_bytes(b"no database at all" * 100)


def no_mark(copy: pathlib.Path) -> None:
    (copy.parent / journal.MARK).write_text("x\n")


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (older, "the mark names event 5, which is not there as it was"),
        (no_triggers, "it does not hold the table of events"),
        (no_database, "BROKEN at event 1: it cannot be read"),
        (no_mark, "the mark names no event"),
    ],
)
def test_what_else_is_wrong_is_said(
    home: world.World, copy: pathlib.Path, break_it: Callable[[pathlib.Path], None], says: str
) -> None:
    break_it(copy)
    status, out, err = control.run(home, "verify-log", str(copy))
    assert (status, err) == (1, "") and says in out


def test_a_copy_without_a_mark_or_with_what_was_not_moved_over(home: world.World, tmp_path: pathlib.Path) -> None:
    with journal.Journal.open(home.places):
        control.done(home, "undo")
        for end in ("", "-wal"):
            shutil.copy(f"{home.places.state}/{journal.DATABASE}{end}", f"{tmp_path}/kept.db{end}")
    found = control.data(home, "verify-log", f"{tmp_path}/kept.db")
    assert (found["events"], found["mark"], found["mark_holds"]) == (6, None, None)


def test_what_is_no_file_to_read(home: world.World, tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for file in ("nothing", "pipe", "."):
        assert control.code(home, "verify-log", f"{tmp_path}/{file}") == "unreadable"
