"""``intent-ctl log``: what happened, and what happens (SPEC §11.2; ``ctl`` documents the JSON)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from broker import history, journal, known, runs, state, tried, views

Told = tuple[Mapping[str, object], str]  # an event as JSON and as one line
_TRIES = 3  # of what was tried in vain, in one line
_SWEEP = 4  # turns of following between two looks at what runs


def log(
    at: known.Here, name: str | None, limit: int, *, since: int = 0, whats: Sequence[history.What] = ()
) -> known.Report:
    """The newest events that are meant, oldest first. name: of this app; since: seconds since the epoch."""
    with journal.Journal.open(at.places) as book:
        runs.sweep(at.places, book, at.now)
        events = [each for each in book.events(_meant(at, book, name)) if _wanted(each, since, whats)][-limit:]
    told = [_told(event) for event in events]
    return known.Report(data={"events": [data for data, _ in told]}, lines=tuple(line for _, line in told))


def follow(
    at: known.Here, name: str | None, limit: int, *, since: int = 0, whats: Sequence[history.What] = ()
) -> Iterator[Told | None]:
    """The same, and then every further event when it is recorded; None whenever there is none for now.

    Launches and ends are recorded when somebody looks, which this does on every few turns.
    """
    with journal.Journal.open(at.places) as book:
        app_id = _meant(at, book, name)
        runs.sweep(at.places, book, at.now)
        events = book.events()
        last, turn = events[-1].seq if events else 0, 0
        mine = [each for each in events if app_id in (None, each.app) and _wanted(each, since, whats)]
        yield from map(_told, mine[-limit:])
        while True:
            turn += 1
            if turn % _SWEEP == 0:
                runs.sweep(at.places, book, state.clock(at.places))
            for event in book.events(after=last):
                last = event.seq
                if app_id in (None, event.app) and _wanted(event, since, whats):
                    yield _told(event)
            yield None


def _meant(at: known.Here, book: journal.Journal, name: str | None) -> str | None:
    if name is None:
        return None
    meant = known.ids(at, book, name)
    known.choose_one(name, list(meant))
    return meant[0]


def _wanted(event: history.Event, since: int, whats: Sequence[history.What]) -> bool:
    return moment(event) >= since and (not whats or event.what in whats)


def _told(event: history.Event) -> Told:
    return asdict(event), f"{event.seq:5}  {views.day(moment(event))}  {event.app}  {words(event)}"


def moment(event: history.Event) -> int:
    """When it happened: launches and ends are recorded later than that."""
    found = event.body.get("ended") or event.body.get("at")
    return found if isinstance(found, int) else event.at


def words(event: history.Event) -> str:
    """What happened, in one clause."""
    body = event.body
    match event.what:
        case history.What.PIN:
            return f"publisher {body.get('fingerprint') or 'the catalog'} counts, serial {body.get('serial')}"
        case history.What.SERIAL:
            return f"serial {body.get('serial')} was started"
        case history.What.REKEY:
            return f"you agreed to {body.get('fingerprint') or 'the catalog'}, serial {body.get('serial')}"
        case history.What.DECISION:
            asked, granted, life = body.get("asked"), body.get("granted"), body.get("life")
            effect = "denied" if granted is None else "allowed" if granted == asked else "allowed less of"
            told = asked if granted is None else granted
            scope = views.scope_words(told) if isinstance(told, dict) and "kind" in told else ""
            span = life.get("span") if isinstance(life, dict) else ""
            return f"{effect} {body.get('intent')} ({scope}), {span}, by {body.get('source')}"
        case history.What.FORGET:
            return "decisions were forgotten"
        case history.What.UNDO:
            return f"undid {', '.join(map(str, history.undoes(event)))}"
        case history.What.LAPSE:
            return f"not used for long, so these count no longer: {_listed(body.get('decisions'))}"
        case history.What.RESTORE:
            return "what had lapsed counts again"
        case history.What.AWAY:
            since = body.get("since")
            return f"nothing had happened here since {views.day(since)}" if isinstance(since, int) else ""
        case history.What.PENDING:
            opened = body.get("open")
            what = ", ".join(opened) if isinstance(opened, dict) else ""
            how = "was asked and not answered" if history.asked(event) else "asks, and nobody was there"
            return f"{how}: {what}" if what else how
        case history.What.LAUNCH:
            return f"started, pid {body.get('pid')}"
        case history.What.EXIT:
            status = body.get("status")
            ended = f"ended, pid {body.get('pid')}, " + ("killed" if status is None else f"status {status}")
            return ended + _tries(body.get("tried"))


def _tries(rows: object) -> str:
    """What was tried of the network in vain, if anything."""
    vain = tried.in_vain(tuple(tried.from_data(rows)))
    if not vain:
        return ""
    first = "; ".join(tried.words(each.as_data()) for each in vain[:_TRIES])
    return f"; {first}" + (f"; and {len(vain) - _TRIES} more" if len(vain) > _TRIES else "")


def _listed(numbers: object) -> str:
    return ", ".join(map(str, numbers)) if isinstance(numbers, list) else ""
