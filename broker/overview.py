"""What a front-end that shows everything asks the broker for: methods of the protocol (SPEC §11.5, docs/protocol.md).

Each gives what the command of ``intent-ctl`` that does the same prints with ``--json``, so both say the same.
"""

from collections.abc import Callable, Mapping

from broker import change, history, journal, known, log, protocol, tried, undo, uses, views, who

_RECENT = 10  # events on the page of an app
_TRIES = 20  # of what an app tried of the network, on its page
_MOST = 200  # events at once


def methods(here: Callable[[], known.Here]) -> Mapping[str, protocol.Method]:
    """The methods. here: where and when each of them runs."""
    return {
        "apps": lambda values: _apps(here(), everything=values.get("all") is True),
        "app": lambda values: _app(here(), protocol.read_text(values, "app")),
        "kinds": lambda _: who.who(here(), None, everything=False).data,
        "who": lambda values: who.who(here(), protocol.read_text(values, "kind"), everything=False).data,
        "history": lambda _: {"events": _events(here(), None, _MOST)},
        "change": lambda values: change.change(here(), values),
        "undo": lambda values: _undo(here(), values),
    }


def call(name: str, values: Mapping[str, object], served: Mapping[str, protocol.Method]) -> protocol.Values:
    """One request to them and its result, as lines of the protocol. Raises IntentError."""
    line = protocol.encode({**values, "id": 0, "method": name})
    return protocol.result(protocol.decode(protocol.reply(line, served)))


def _apps(at: known.Here, *, everything: bool) -> protocol.Values:
    """What ``list`` says, and which apps have a question in the queue."""
    data = views.list_apps(at, everything=everything).data
    with journal.Journal.open(at.places) as book:
        return {**data, "waiting": sorted({app_id for app_id, _ in book.waiting()})}


def _app(at: known.Here, name: str) -> protocol.Values:
    """What ``show`` says, with the answers there are about each intent, its uses and the newest events."""
    data = views.show(at, name).data
    with journal.Journal.open(at.places) as book:
        found = known.find(at, book, name, changing=False)
    offered = {}
    for intent in found.app.manifest.intents if found.app and found.delta else ():
        made = change.offers(at, found, intent)
        offered[intent.id] = {
            "shown": change.shown(found, intent, made),
            "offers": [each.as_data() for each in made],
        }
    used = uses.uses(at, found.app_id).data["apps"]
    mine = next((row for row in used if row["lineage"] == found.lineage), None) if isinstance(used, list) else None
    if mine is not None:
        mine = {**mine, "network": [tried.words(each) for each in mine["tried"][:_TRIES]]}
    return {**data, "offers": offered, "uses": mine, "recent": _events(at, found.app_id, _RECENT)}


def _events(at: known.Here, app_id: str | None, limit: int) -> list[dict[str, object]]:
    """The newest events, newest first: seq, at, what, app, and the words for it."""
    with journal.Journal.open(at.places) as book:
        events = book.events(app_id, limit)
    return [_event(event) for event in reversed(events)]


def _event(event: history.Event) -> dict[str, object]:
    moment, words = log.moment(event), log.words(event)
    return {"seq": event.seq, "at": moment, "what": event.what.value, "app": event.app, "words": words}


def _undo(at: known.Here, values: protocol.Values) -> protocol.Values:
    which = values.get("which")
    dry, sure = values.get("dry") is True, values.get("sure") is True
    return undo.undo(at, which if isinstance(which, str) else None, (), dry=dry, sure=sure).data
