"""The journal: everything the user ever agreed to, on disk, append-only and hash-chained (SPEC §8.5, docs/journal.md).

One SQLite table of events in ``broker.db``. Beside it lies ``mark``, which names the newest event: a journal that
lacks that event is an older copy. Nothing damaged, missing or replaced is ever taken for an empty journal.
"""

import contextlib
import os
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from types import TracebackType

from broker import history, state
from intents import errors, model, paths

DATABASE = "broker.db"
MARK = "mark"
_BUSY = 30  # seconds that another writer is waited for
_FORMAT = 1
_SCHEMA = {
    "event": (
        "CREATE TABLE event (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, what TEXT NOT NULL, app TEXT NOT NULL,"
        " lineage TEXT NOT NULL, body TEXT NOT NULL, prev TEXT NOT NULL, hash TEXT NOT NULL) STRICT"
    ),
    "event_no_gap": (  # and no REPLACE, which fires no trigger for what it deletes
        "CREATE TRIGGER event_no_gap BEFORE INSERT ON event"
        " WHEN NEW.seq IS NOT (SELECT COALESCE(MAX(seq), 0) + 1 FROM event)"
        " BEGIN SELECT RAISE(ABORT, 'append only'); END"
    ),
    "event_no_update": (
        "CREATE TRIGGER event_no_update BEFORE UPDATE ON event BEGIN SELECT RAISE(ABORT, 'append only'); END"
    ),
    "event_no_delete": (
        "CREATE TRIGGER event_no_delete BEFORE DELETE ON event BEGIN SELECT RAISE(ABORT, 'append only'); END"
    ),
}
_ROWS = "SELECT seq, at, what, app, lineage, body, prev, hash FROM event "
_APPEND = "INSERT INTO event (seq, at, what, app, lineage, body, prev, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
# What SQLite's primary result codes mean to a user (sqlite.org/rescode.html); all others: the file is not as written.
_CODES = {
    sqlite3.SQLITE_BUSY: "journal-busy",
    sqlite3.SQLITE_LOCKED: "journal-busy",
    sqlite3.SQLITE_FULL: "journal-unwritable",
    sqlite3.SQLITE_IOERR: "journal-unwritable",
    sqlite3.SQLITE_READONLY: "journal-unwritable",
    sqlite3.SQLITE_CANTOPEN: "journal-unwritable",
    sqlite3.SQLITE_PERM: "journal-unwritable",
    sqlite3.SQLITE_AUTH: "journal-unwritable",
    sqlite3.SQLITE_NOMEM: "journal-unwritable",
}
_ANEW = "Put it back from a backup, or begin anew with `intent-ctl doctor --new-journal`; the old files are kept."


class Journal:
    """An open journal, for use in a ``with`` block; every question is answered from its newest state.

    Every method raises JournalError: ``journal-corrupt``, ``journal-replaced``, ``journal-busy``,
    ``journal-unwritable``. Not to be used in a forked child.
    """

    def __init__(self, file: str, mark: str, connection: sqlite3.Connection, identity: tuple[int, int]) -> None:
        self._file = file
        self._mark = mark
        self._connection = connection
        self._identity = identity
        self._history = history.History()

    @classmethod
    def open(cls, reserved: state.Places, *, create: bool = True) -> "Journal":
        """Open the journal and check all of it; make an empty one only where there never was one, and if ``create``.

        Raises also JournalError ``journal-missing`` and ``journal-unsafe``, and HostError as ``state.ensure`` does.
        """
        file, mark = f"{reserved.state}/{DATABASE}", f"{reserved.state}/{MARK}"
        state.own_directory(reserved.state)
        state.own_directory(f"{reserved.state}/locks")
        with _sentences(file):
            # The mark is read before the events: those it names were there before it.
            newest = _read_mark(mark)
            if not os.path.lexists(file):
                _begin(reserved, file, mark, create)
            identity = _identity(file)
            journal = cls(file, mark, connect(file), identity)
            try:
                journal._check(newest)
            except BaseException:
                journal.close()
                raise
        return journal

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files. A second time does nothing."""
        self._connection.close()

    # Reading

    def pin(self, app_id: str) -> model.Pin | None:
        """The publisher that is remembered for an app id."""
        return self._now().pins.get(app_id)

    def pins(self) -> tuple[model.Pin, ...]:
        """All remembered publishers, sorted by app id."""
        return tuple(pin for _, pin in sorted(self._now().pins.items()))

    def apps(self) -> tuple[tuple[str, str], ...]:
        """(app id, lineage) of everything with a pin or a decision that is not forgotten, sorted."""
        return self._now().apps()

    def decisions(self, app_id: str, lineage: str) -> tuple[model.Decision, ...]:
        """Every decision since the last ``forget``, oldest first, of whatever lifespan: ``Life.live`` tells what holds.

        One that this version cannot read is left out, and so is what is older and of its kind: less is granted.
        """
        return self._now().decisions(app_id, lineage)[0]

    def unreadable(self, app_id: str, lineage: str) -> tuple[int, ...]:
        """``seq`` of the decisions that this version cannot read."""
        return self._now().decisions(app_id, lineage)[1]

    def restored(self, app_id: str, lineage: str) -> int:
        """When what had lapsed of the app was brought back last (seconds since the epoch), or 0."""
        return self._now().restored.get((app_id, lineage), 0)

    def away(self) -> tuple[tuple[int, int], ...]:
        """(from, until) of each time in which nothing happened here, in seconds since the epoch."""
        return tuple(self._now().away)

    def newest(self, until: int) -> int:
        """When something was recorded last, at ``until`` or before (seconds since the epoch), or 0."""
        return max((at for at in self._now().moments if at <= until), default=0)

    def head(self, app_id: str, lineage: str) -> str:
        """The hash of the newest event on which the grants of the app depend, or ``-``; a plan carries it."""
        return self._now().head(app_id, lineage)

    def pending(self, app_id: str, lineage: str) -> tuple[history.Event, ...]:
        """Every time that a question of the app went unanswered since its last answer, oldest first."""
        return self._now().pending(app_id, lineage)

    def waiting(self) -> tuple[tuple[str, str], ...]:
        """(app id, lineage) of everything that had a question without an answer since it was last forgotten, sorted."""
        return self._now().waiting()

    def events(
        self, app_id: str | None = None, limit: int | None = None, *, after: int = 0
    ) -> tuple[history.Event, ...]:
        """The newest ``limit`` events, or all, of one app id, or of all; oldest first. after: the ``seq`` before."""
        self._now()
        query = _ROWS + "WHERE (?1 IS NULL OR app = ?1) AND seq > ?3 ORDER BY seq DESC LIMIT ?2"
        with _sentences(self._file):
            rows = self._connection.execute(query, (app_id, -1 if limit is None else limit, after)).fetchall()
            return tuple(self._intact(row) for row in reversed(rows))

    def verify(self) -> None:
        """Read everything again, and the structure of the file too. ``journal-corrupt`` names the first bad event."""
        with _sentences(self._file):
            self._history = history.History()
            self._check(_read_mark(self._mark))
            report = self._connection.execute("PRAGMA integrity_check(1)").fetchone()
            if report != ("ok",):
                raise _corrupt(self._file, f"its structure is damaged: {paths.printable(str(report[0]))}")

    # Writing

    def record(self, now: model.Clock, entries: Sequence[history.Entry]) -> tuple[int, ...]:
        """Append all of ``entries``, one act, or none, durably; their ``seq`` in order.

        An error means that nothing was stored, except ``journal-replaced`` for a file that was exchanged meanwhile.
        """
        if not entries:
            return ()
        with state.lock(os.path.join(os.path.dirname(self._file), "locks", "journal"), limit=_BUSY):
            with _sentences(self._file):
                rows = self._append(now, entries)
            for row in rows:
                self._history.take(row)
        return tuple(row[0] for row in rows)

    def _append(self, now: model.Clock, entries: Sequence[history.Entry]) -> list[history.Row]:
        rows: list[history.Row] = []
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            seq, tail = self._now().seq, self._history.tail
            for entry in history.together(entries):
                rows.append(history.chained(seq + 1, now.wall, entry, tail))
                seq, tail = seq + 1, rows[-1][-1]
            self._connection.executemany(_APPEND, rows)
            # Written before the commit, so that a full disk is found out while everything can still be taken back.
            mark = state.stage(self._mark, f"{seq} {tail}\n".encode("ascii"))
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        # What is committed stays so; until the next one, the mark names an event that is merely not the newest.
        with contextlib.suppress(OSError):
            state.put(mark, self._mark)
        with contextlib.suppress(OSError):
            self._same_file()
        return rows

    # Checking

    def _now(self) -> history.History:
        """The history, continued by what other processes recorded since."""
        with _sentences(self._file):
            self._same_file()
            last = self._history.seq
            rows = self._connection.execute(_ROWS + "WHERE seq >= ? ORDER BY seq", (last,)).fetchall()
            if last and (not rows or rows[0][-1] != self._history.tail):
                raise _replaced(self._file)
            self._take(rows[1:] if last else rows)
        return self._history

    def _check(self, newest: tuple[int, str] | None) -> None:
        """Schema, then every event, then that the newest one is among them."""
        if not intact(self._connection):
            raise _corrupt(self._file, "it does not hold the table of events that this version writes")
        self._take(self._connection.execute(_ROWS + "ORDER BY seq").fetchall())
        if newest is not None:
            found = self._connection.execute("SELECT seq, hash FROM event WHERE seq = ?", newest[:1]).fetchone()
            if found != newest:
                raise _replaced(self._file)

    def _take(self, rows: Sequence[tuple[object, ...]]) -> None:
        for row in rows:
            try:
                self._history.take(row)
            except ValueError as error:
                raise _corrupt(self._file, f"event {self._history.seq + 1} is not what was written") from error

    def _intact(self, row: tuple[object, ...]) -> history.Event:
        try:
            return history.read_event(history.checked(row))
        except ValueError as error:
            raise _corrupt(self._file, f"event {paths.printable(str(row[0]))} is not what was written") from error

    def _same_file(self) -> None:
        if _identity(self._file) != self._identity:
            raise _replaced(self._file)


def start_over(reserved: state.Places) -> tuple[str, ...]:
    """Set the journal and its mark aside under a free number, and drop the plans made from it; the files set aside.

    The next ``Journal.open`` begins an empty one. Raises JournalError ``journal-unwritable`` or ``journal-busy``.
    """
    file, mark = f"{reserved.state}/{DATABASE}", f"{reserved.state}/{MARK}"
    with state.lock(f"{reserved.state}/locks/journal", limit=_BUSY), _sentences(file):
        number = 1
        while os.path.lexists(f"{file}.{number}") or os.path.lexists(f"{mark}.{number}"):
            number += 1
        with contextlib.suppress(FileNotFoundError), os.scandir(f"{reserved.state}/plans") as plans:
            for plan in plans:
                os.unlink(plan.path)
        # The mark goes last: as long as it is there, a journal that is half away is missing and not empty.
        moves = (
            (f"{file}-wal", f"{file}.{number}-wal"),
            (f"{file}-shm", f"{file}.{number}-shm"),
            (file, f"{file}.{number}"),
            (mark, f"{mark}.{number}"),
        )
        moved = [(old, new) for old, new in moves if os.path.lexists(old)]
        for old, new in moved:
            state.put(old, new)
        return tuple(new for _, new in moved)


def _begin(reserved: state.Places, file: str, mark: str, create: bool) -> None:
    """Make an empty journal, whole before it has its name; nothing if somebody else just did."""
    with state.lock(f"{reserved.state}/locks/journal", limit=_BUSY):
        if os.path.lexists(file):
            return
        if os.path.lexists(mark) or os.path.lexists(f"{file}-wal"):
            raise errors.JournalError("journal-missing", f"`{paths.printable(file)}` is gone", hint=_ANEW)
        if not create:
            raise errors.JournalError(
                "journal-missing",
                f"there is no journal `{paths.printable(file)}` yet",
                hint="Start an app once, and answer its questions.",
            )
        beside = state.stage(file, b"")
        for rest in ("-wal", "-shm", "-journal"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(beside + rest)
        connection = connect(beside)
        try:
            connection.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA.values():
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {_FORMAT}")
            connection.execute("COMMIT")
            # Only now: what is in the log when the file gets its name would stay behind under the old one.
            connection.execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()
        state.put(beside, file)


def intact(connection: sqlite3.Connection) -> bool:
    """Whether a database has the table and the triggers that this version makes, and nothing else."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    schema = dict(connection.execute("SELECT name, sql FROM sqlite_schema").fetchall())
    return (found, schema) == (_FORMAT, _SCHEMA)


def connect(file: str, *, mode: str = "rw") -> sqlite3.Connection:
    """Open a database; ``mode`` as SQLite has it. Raises sqlite3.Error."""
    name = file.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    # rw: SQLite must never make the file, because an empty journal is one that forgot every "no".
    connection = sqlite3.connect(f"file:{name}?mode={mode}", uri=True, timeout=_BUSY, isolation_level=None)
    try:
        for pragma in ("synchronous = FULL", "trusted_schema = OFF", "cell_size_check = ON"):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def _identity(file: str) -> tuple[int, int]:
    """Device and inode of the database. Not by a descriptor: closing one would drop SQLite's own locks (fcntl(2))."""
    try:
        info = os.lstat(file)
    except FileNotFoundError as error:
        raise errors.JournalError("journal-missing", f"`{paths.printable(file)}` is gone", hint=_ANEW) from error
    if why := "is not a file" if not stat.S_ISREG(info.st_mode) else state.unsafe(info):
        hint = f"chown and `chmod 600 {paths.printable(file)}`, if you trust what is in it."
        raise errors.JournalError("journal-unsafe", f"`{paths.printable(file)}` {why}", hint=hint)
    return info.st_dev, info.st_ino


def _read_mark(mark: str) -> tuple[int, str] | None:
    data = state.read_private(mark, 128)
    if data is None:
        return None
    words = data.decode("ascii", "replace").split(" ")
    if len(words) != 2 or not words[0].isdigit() or len(words[1]) != 65 or words[1][-1] != "\n":
        raise _corrupt(mark, "it does not name an event")
    return int(words[0]), words[1][:-1]


def _corrupt(file: str, why: str) -> errors.JournalError:
    return errors.JournalError("journal-corrupt", f"`{paths.printable(file)}` is damaged: {why}", hint=_ANEW)


def _replaced(file: str) -> errors.JournalError:
    return errors.JournalError(
        "journal-replaced",
        f"`{paths.printable(file)}` is another file, or older, than the journal that was last written",
        hint=_ANEW,
    )


@contextlib.contextmanager
def _sentences(file: str) -> Iterator[None]:
    """What SQLite and the system say about ``file``, in our words."""
    shown = paths.printable(file)
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        # Without a code it is the sqlite3 module's own: a text that is not UTF-8, in a row or in SQLite's own message.
        code = _CODES.get(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF, "journal-corrupt")
        said = paths.printable(str(error))
        match code:
            case "journal-busy":
                raise errors.JournalError(code, f"another program holds `{shown}`") from error
            case "journal-unwritable":
                raise errors.JournalError(code, f"`{shown}` cannot be used: {said}") from error
            case _:
                raise _corrupt(file, said) from error
    except OSError as error:
        raise errors.JournalError("journal-unwritable", f"`{shown}` cannot be written: {error.strerror}") from error
