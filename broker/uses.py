"""``intent-ctl uses``: which apps were started with what, and what filters of ours refused them (SPEC §11.2).

What an app did with what it had is not known to anybody here, and neither is what the kernel refused it: a file that is
not there, a network without a way out (docs/journal.md).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from broker import history, journal, known, runs, tried, views
from intents import paths

_UNKNOWN = "Not recorded: what an app did with what it was given, and which files and servers it looked for in vain."


@dataclass(kw_only=True)
class _Count:
    """How often, and when last."""

    times: int = 0
    last: int | None = None

    def add(self, at: int) -> None:
        self.times += 1
        self.last = max(at, self.last or 0)


@dataclass(kw_only=True)
class _Uses:
    """What is known of one app of one publisher."""

    starts: _Count = field(default_factory=_Count)
    first: int | None = None
    given: dict[str, _Count] = field(default_factory=dict)
    told: int = 0  # starts of which it is known what was given
    refused: dict[str, _Count] = field(default_factory=dict)
    network: list[tried.Try] = field(default_factory=list)

    def as_data(self, app_id: str, lineage: str) -> dict[str, object]:
        intents = [
            {"intent": name, "starts": count.times, "without": self.told - count.times, "last": count.last}
            for name, count in sorted(self.given.items())
        ]
        vain = sorted(self.refused.items())
        refused = [{"what": what, "starts": count.times, "last": count.last} for what, count in vain]
        about = {"app": app_id, "lineage": lineage, "starts": self.starts.times, "first": self.first}
        network = [each.as_data() for each in tried.merged(self.network)]
        return {**about, "last": self.starts.last, "intents": intents, "refused": refused, "tried": network}


def uses(at: known.Here, name: str | None) -> known.Report:
    """Every start of the apps, or of one, as far as the journal and the filters know. Raises DecisionError."""
    with journal.Journal.open(at.places) as book:
        runs.sweep(at.places, book, at.now)
        app_id = None
        if name is not None:
            meant = known.ids(at, book, name)
            known.choose_one(name, list(meant))
            app_id = meant[0]
        events = book.events(app_id)
    found = _counted(events)
    for instance in runs.instances(at.places):
        if app_id in (None, instance.app_id):
            mine = found.setdefault((instance.app_id, instance.lineage), _Uses())
            _refused(mine, runs.refused(instance), at.now.wall)
            mine.network += runs.tries(instance)
    rows = [each.as_data(*owner) for owner, each in sorted(found.items())]
    lines = [line for row in rows for line in _lines(row)]
    lines = [*lines, _UNKNOWN] if lines else ["Nothing was started yet."]
    return known.Report(data={"apps": rows}, lines=tuple(lines))


def _counted(events: Iterable[history.Event]) -> dict[history.Owner, _Uses]:
    found: dict[history.Owner, _Uses] = {}
    for event in events:
        if event.what not in (history.What.LAUNCH, history.What.EXIT):
            continue
        mine = found.setdefault((event.app, event.lineage), _Uses())
        started, ended = event.body.get("at"), event.body.get("ended")
        when = started if isinstance(started, int) else event.at
        if event.what is history.What.EXIT:
            _refused(mine, _texts(event.body.get("refused")), ended if isinstance(ended, int) else event.at)
            mine.network += tried.from_data(event.body.get("tried"))
            continue
        mine.starts.add(when)
        mine.first = min(when, mine.first or when)
        if "given" in event.body:
            mine.told += 1
            for name in _texts(event.body["given"]):
                mine.given.setdefault(name, _Count()).add(when)
    return found


def _refused(mine: _Uses, what: Iterable[str], when: int) -> None:
    for each in what:
        mine.refused.setdefault(each, _Count()).add(when)


def _texts(found: object) -> tuple[str, ...]:
    return tuple(str(each) for each in found) if isinstance(found, list) else ()


def _lines(row: Mapping[str, object]) -> list[str]:
    last, intents, refused, network = row["last"], row["intents"], row["refused"], row["tried"]
    assert isinstance(intents, list) and isinstance(refused, list) and isinstance(network, list)
    when = f", last {views.day(last)}" if isinstance(last, int) else ""
    lines = [f"{row['app']}  started {_times(row['starts'])}{when}"]
    for each in intents:
        without = f", {_times(each['without'])} without it" if each["without"] else ""
        lines.append(f"    {each['intent']}  given {_times(each['starts'])}, last {views.day(each['last'])}{without}")
    for each in refused:
        often = f"at {_times(each['starts'], 'start')}, last {views.day(each['last'])}"
        lines.append(f"    tried and did not get: {paths.printable(each['what'])}, {often}")
    return lines + [f"    {tried.words(each)}" for each in network]


def _times(count: object, what: str = "time") -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
