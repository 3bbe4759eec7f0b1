"""Allowances of what is not used for long: when they lapse, and bringing them back (SPEC §8.7).

Time counts only where something vouches for it: the clock may have jumped, and the machine may have been off.
"""

import os
from collections.abc import Iterable, Iterator

from broker import app as apps
from broker import history, journal, record, runs, state
from intents import base, model, risk

DAY = 86400
UNUSED = 90 * DAY  # seconds without a start after which an allowance lapses
IDLE = 30 * DAY  # seconds in which nothing happened that count for no app
_RISKY = model.Risk.HIGH
_LONG = (model.Lifespan.UNTIL, model.Lifespan.FOREVER)


def notice(app: apps.App, now: model.Clock) -> tuple[str, ...]:
    """Record what lapsed since the app was used last, before it is started; what to say about it, in lines.

    Raises SignatureError, JournalError.
    """
    used = runs.last_used(app.places, app.manifest.app.id)
    if used is not None and 0 <= now.wall - used < IDLE:
        return ()  # neither it nor everything else
    app_id = app.manifest.app.id
    with journal.Journal.open(app.places) as book:
        delta = app.delta(book, now)
        lineage = delta.vetted.lineage
        newest = max(book.newest(now.wall), *(each for each in _stamps(app.places) if each <= now.wall))
        entries = [history.away(app_id, lineage, newest)] if 0 < newest < now.wall - IDLE else []
        away = [*book.away(), *((newest, now.wall) for _ in entries)]
        lapsed = tuple(_lapsed(app, book, delta, now, away))
    if lapsed:
        entries.append(history.lapsed(app_id, lineage, [each.seq for each in lapsed]))
    record.commit(app.places, app_id, now, entries)
    if not lapsed:
        return ()
    titles = dict.fromkeys((each.granted or each.asked).phrase(app.host).title for each in lapsed)
    name, days = app.manifest.app.name, UNUSED // DAY
    said = f"{name} was not used for {days} days, so this counts no longer: {', '.join(titles)}"
    return (said, f"to let it count as before: intent-ctl restore {app_id}")


def _lapsed(
    app: apps.App, book: journal.Journal, delta: model.Delta, now: model.Clock, away: list[tuple[int, int]]
) -> Iterator[model.Decision]:
    """The risky allowances that count and that nobody used for long."""
    app_id, lineage = app.manifest.app.id, delta.vetted.lineage
    if app.manifest.app.base == base.SERVICE or any(each.app_id == app_id for each in runs.instances(app.places)):
        return
    used = max(runs.last_used(app.places, app_id) or 0, book.restored(app_id, lineage), *_moments(book, app_id))
    counts = {seq for change in delta.changes for seq in change.decided_by} | {each.seq for each in delta.withdrawn}
    for decision in book.decisions(app_id, lineage):
        if decision.seq not in counts or decision.lapsed or decision.granted is None or decision.life.span not in _LONG:
            continue
        if _passed(max(used, decision.at), now.wall, away) < UNUSED:
            continue
        if risk.of((decision.granted,), app.host, delta.vetted.trust) >= _RISKY:
            yield decision


def _passed(since: int, until: int, away: Iterable[tuple[int, int]]) -> int:
    """Seconds between two moments without the times in which nothing happened; below 0 where the order is another."""
    left = until - since
    counted = since
    for start, end in sorted(away):
        start, end = max(start, counted), min(end, until)
        if end > start:
            left -= end - start
            counted = end
    return left


def _stamps(places: state.Places) -> Iterator[int]:
    """When each app was started last."""
    yield 0
    with os.scandir(f"{places.state}/stamps") as found:
        yield from (int(each.stat(follow_symlinks=False).st_mtime) for each in found)


def _moments(book: journal.Journal, app_id: str) -> Iterator[int]:
    """When the app is known to have been started or ended."""
    yield 0
    for event in book.events(app_id):
        if event.what in (history.What.LAUNCH, history.What.EXIT):
            yield from (at for at in (event.body.get("at"), event.body.get("ended")) if isinstance(at, int))
