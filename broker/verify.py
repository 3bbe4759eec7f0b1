"""``intent-ctl verify-log``: what can be said of a journal that perhaps nothing else accepts (SPEC §8.5).

Changes nothing: the journal in use is opened for reading alone, and of any other file a copy is made and opened.
"""

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from broker import history, journal, known, views
from intents import errors, paths

_COLUMNS = "SELECT seq, at, what, app, lineage, body, prev, hash FROM event ORDER BY seq"
_BESIDE = ("", "-wal")  # what SQLite keeps a database in; it makes the rest anew (sqlite.org/tempfiles.html)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chain:
    """hashes: of the events that follow one another from the first one; last: when the newest of them was recorded;
    broken: (seq expected, why) of what comes then; damage: what else is wrong with the file."""

    hashes: tuple[str, ...]
    last: int
    broken: tuple[int, str] | None
    damage: str = ""


def verify(at: known.Here, file: str | None) -> known.Report:
    """Every event of the journal, or of a copy of one, from the first until one is not what was written, and the mark.

    Negative when an event or the mark does not hold. Raises CatalogError ``unreadable`` for a file that is none.
    """
    path = file if file is not None else f"{at.places.state}/{journal.DATABASE}"
    mark = _read_mark(os.path.join(os.path.dirname(path), journal.MARK))  # first: what it names was written before it
    chain = _chain(path, used=file is None)
    holds = None if mark is None else mark[0] > 0 and chain.hashes[mark[0] - 1 : mark[0]] == mark[1:]
    count = len(chain.hashes)
    data: Mapping[str, object] = {
        "file": path,
        "events": count,
        "newest": {"seq": count, "at": chain.last, "hash": chain.hashes[-1]} if count else None,
        "broken": {"seq": chain.broken[0], "why": chain.broken[1]} if chain.broken else None,
        "damage": chain.damage or None,
        "mark": {"seq": mark[0], "hash": mark[1]} if mark else None,
        "mark_holds": holds,
    }
    until = f", the last of {views.day(chain.last)}" if count else ""
    lines = [f"{paths.printable(path)}: {count} events follow one another{until}."]
    if chain.broken:
        lines.append(f"BROKEN at event {chain.broken[0]}: {chain.broken[1]}.")
    lines += [f"BROKEN: {chain.damage}."] if chain.damage else []
    lines.append(_mark_words(mark, holds))
    bad = chain.broken is not None or bool(chain.damage) or holds is False
    return known.Report(data=data, lines=tuple(lines), negative=bad)


def _chain(path: str, *, used: bool) -> _Chain:
    told = history.History()
    hashes: list[str] = []
    last, broken, damage = 0, None, ""
    try:
        with _opened(path, used=used) as connection:
            connection.execute("BEGIN")
            for row in connection.execute(_COLUMNS):
                told.take(row)
                last = row[1]
                hashes.append(told.tail)
            damage = _damage(connection)
    except ValueError:
        broken = told.seq + 1, "it is not what was written there"
    except sqlite3.Error as error:
        broken = told.seq + 1, f"it cannot be read: {paths.printable(str(error))}"
    return _Chain(hashes=tuple(hashes), last=last, broken=broken, damage=damage)


def _damage(connection: sqlite3.Connection) -> str:
    """What is wrong with the file although every event is what was written."""
    if not journal.intact(connection):
        return "it does not hold the table of events that this version writes"
    (report,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    return "" if report == "ok" else f"its structure is damaged: {paths.printable(str(report))}"


@contextlib.contextmanager
def _opened(path: str, *, used: bool) -> Iterator[sqlite3.Connection]:
    """used: others may write to it now, and are not waited for."""
    with contextlib.ExitStack() as held:
        if not used:
            path = held.enter_context(_copy(path))
        elif not os.path.isfile(path):
            raise _unreadable(path, "there is no such file")
        connection = journal.connect(path, mode="ro")
        held.callback(connection.close)
        yield connection


@contextlib.contextmanager
def _copy(path: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="intents-") as directory:
        copied = os.path.join(directory, journal.DATABASE)
        try:
            for end in _BESIDE:
                with contextlib.suppress(FileNotFoundError) if end else contextlib.nullcontext():
                    shutil.copyfile(path + end, copied + end)
        except OSError as error:
            raise _unreadable(path, error.strerror or "it is no file") from error
        yield copied


def _read_mark(path: str) -> tuple[int, str] | None:
    """What the mark names, event 0 where that cannot be told; None without a mark."""
    try:
        with open(path, "rb") as file:
            words = file.read(128).decode("ascii", "replace").split()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error.strerror or "it is no file") from error
    if len(words) != 2 or not words[0].isdecimal() or len(words[0]) > 18:
        return 0, ""
    return int(words[0]), words[1]


def _mark_words(mark: tuple[int, str] | None, holds: bool | None) -> str:
    if mark is None:
        return "There is no mark that would name the newest event."
    if not mark[0]:
        return "BROKEN: the mark names no event."
    if holds:
        return f"The mark names event {mark[0]}, which is there."
    return f"BROKEN: the mark names event {mark[0]}, which is not there as it was: an older copy, or another journal."


def _unreadable(path: str, why: str) -> errors.CatalogError:
    return errors.CatalogError("unreadable", f"`{paths.printable(path)}` cannot be read: {why}")
