"""What happens to questions, decisions and running apps, for whoever waits for it (SPEC §11.5, docs/protocol.md)."""

import os
from collections.abc import Callable, Iterator, Mapping

from broker import history, journal, known, pending, protocol, runs
from intents import errors

_SWEEP = 5  # looks between two at what runs, unless a record of it changed
_TOLD = {history.What.DECISION: "decided", history.What.LAUNCH: "started", history.What.EXIT: "ended"}
_CHANGED = (history.What.PIN, history.What.REKEY, history.What.FORGET, history.What.UNDO)

Event = tuple[str, Mapping[str, object]]  # its name, and its values


class News:
    """Follows one user's journal from now on. here: the user's places, and the moment, whenever it is called.

    Every method raises what ``known.here`` and ``Journal`` do.
    """

    def __init__(self, here: Callable[[], known.Here]) -> None:
        self._here = here
        self._book = journal.Journal.open(here().places)
        self._seen = max((event.seq for event in self._book.events(limit=1)), default=0)
        self._records: object = None
        self._looks = 0
        self._open: dict[str, pending.Waiting] | None = None

    def close(self) -> None:
        """Let go of the journal."""
        self._book.close()

    def questions(self) -> tuple[pending.Waiting, ...]:
        """What was in the queue at the last look."""
        if self._open is None:
            self._open = self._queue()
        return tuple(self._open.values())

    def look(self) -> tuple[Event, ...]:
        """What happened since the last look, in order."""
        before = {each.asked.question: each for each in self.questions()}
        self._sweep()
        events = self._book.events(after=self._seen)
        if not events:
            return ()
        self._seen = events[-1].seq
        self._open = now = self._queue()
        told = [each for event in events for each in _told(event)]
        gone = [("gone", {"question": question}) for question in before if question not in now]
        new = [each for question, each in now.items() if question not in before or before[question].shown != each.shown]
        return (*told, *gone, *map(question_event, new))

    def _queue(self) -> dict[str, pending.Waiting]:
        return {each.asked.question: each for each in pending.waiting(self._here())[0]}

    def _sweep(self) -> None:
        """Let launches and ends be recorded where there may be new ones."""
        at = self._here()
        self._looks += 1
        with os.scandir(runs.directory(at.places)) as entries:
            records = sorted((entry.name, _changed(entry)) for entry in entries)
        if records != self._records or (records and self._looks % _SWEEP == 0):
            runs.sweep(at.places, self._book, at.now)
            self._records = records


def question_event(one: pending.Waiting) -> Event:
    """The event that a question is open; without its request where a line has no room for that."""
    data = protocol.question_data(one.asked.question, one.asked.request)
    try:
        protocol.encode(data)
    except errors.MessageError:
        data["request"] = None
    return "question", data


def _told(event: history.Event) -> Iterator[Event]:
    owner = {"app": event.app, "lineage": event.lineage}
    body = event.body
    if event.what is history.What.DECISION:
        life = body.get("life")
        span = life.get("span") if isinstance(life, dict) else None
        effect = "deny" if body.get("granted") is None else "allow"
        yield "decided", {**owner, "intent": body.get("intent"), "effect": effect, "span": span}
    elif event.what in _TOLD:
        yield _TOLD[event.what], {**owner, **body}
    elif event.what in _CHANGED:
        yield "changed", {**owner, "what": event.what.value}


def _changed(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat(follow_symlinks=False).st_mtime_ns
    except OSError:
        return 0
