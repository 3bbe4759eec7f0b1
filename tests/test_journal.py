"""What the journal remembers: every answer comes back as it was given, and nothing else counts."""

import dataclasses
import itertools
import os
import sqlite3
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker import history, journal, state
from intents import errors, kinds, model
from tests import scene
from tests.model import journal as oracle

APP, OTHER = "org.example.App", "org.example.Other"
LINE, LINE_2 = "1" * 16, "2" * 16
NOW = model.Clock(wall=1_000_000, boottime=500, boot_id="b", session="s")
FOREVER = model.Life(span=model.Lifespan.FOREVER)
HOST = kinds.read("network", {"scope": "host"})
SCOPES = (
    HOST,
    kinds.read("dns", {"scope": "any"}),
    kinds.read("path", {"place": "xdg-documents/Sheets", "access": "write"}),
    kinds.read("display", {"protocol": "wayland"}),
    kinds.read("dbus", {"bus": "session", "talk": ["org.example.Two", "org.example.One"], "own": ["org.example.App"]}),
)


def decision(scope: model.Scope = HOST, *, granted: bool = True, life: model.Life = FOREVER) -> model.Decision:
    """An answer about ``scope``."""
    return model.Decision(
        intent_id="it", asked=scope, granted=scope if granted else None, life=life, objects=(), source="prompt"
    )


def pin(serial: int = 1, *, lineage: str = LINE, app: str = APP, digest: str = "d") -> model.Pin:
    """A publisher of ``app``."""
    return model.Pin(
        app_id=app, lineage=lineage, fingerprint=f"SHA256:{lineage}", serial=serial, digest=f"{digest}{serial}", since=0
    )


def at(wall: int) -> model.Clock:
    return dataclasses.replace(NOW, wall=wall)


@pytest.fixture
def places(tmp_path: Path) -> state.Places:
    """Reserved places that exist."""
    reserved = scene.below(tmp_path)
    state.ensure(reserved)
    return reserved


LIVES = (
    FOREVER,
    model.Life(span=model.Lifespan.ONCE),
    model.Life(span=model.Lifespan.SESSION, session="token"),
    model.Life(span=model.Lifespan.UNTIL, until=2_000_000, until_boottime=900, boot_id="b"),
)


@pytest.mark.parametrize("scope", SCOPES, ids=lambda scope: scope.kind)
@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.span)
@pytest.mark.parametrize("granted", [True, False], ids=["allow", "deny"])
def test_a_decision_comes_back_as_given(
    places: state.Places, scope: model.Scope, life: model.Life, granted: bool
) -> None:
    given_one = dataclasses.replace(
        decision(scope, granted=granted, life=life),
        objects=(("xdg-documents/Sheets", "/home/me/Übersicht \udcff\n\x1b"), ("home/x", "/x")),
        source="command",
    )
    with journal.Journal.open(places) as book:
        assert book.record(NOW, [history.decided(APP, LINE, given_one)]) == (1,)
        inside = book.decisions(APP, LINE)
    with journal.Journal.open(places) as book:
        assert book.decisions(APP, LINE) == inside == (dataclasses.replace(given_one, at=NOW.wall, seq=1),)


def test_a_narrowed_answer_keeps_both_scopes(places: state.Places) -> None:
    asked = kinds.read("path", {"place": "home/a", "access": "write"})
    less = kinds.read("path", {"place": "home/a/b", "access": "read"})
    with journal.Journal.open(places) as book:
        book.record(NOW, [history.decided(APP, LINE, dataclasses.replace(decision(asked), granted=less))])
        (found,) = book.decisions(APP, LINE)
    assert (found.asked, found.granted, found.effect) == (asked, less, model.Effect.ALLOW)


def test_decisions_are_kept_apart_and_in_order(places: state.Places) -> None:
    owners = [(APP, LINE), (APP, LINE_2), (OTHER, LINE)]
    with journal.Journal.open(places) as book:
        for scope in SCOPES[:3]:
            book.record(NOW, [history.decided(*owner, decision(scope)) for owner in owners])
        for number, owner in enumerate(owners, 1):
            found = book.decisions(*owner)
            assert [one.asked for one in found] == list(SCOPES[:3])
            assert [one.seq for one in found] == [number, number + 3, number + 6]


def test_forget_ends_decisions_and_keeps_pins(places: state.Places) -> None:
    with journal.Journal.open(places) as book:
        book.record(NOW, [history.pinned(pin(7)), history.decided(APP, LINE, decision())])
        book.record(NOW, [history.decided(APP, LINE_2, decision()), history.forgotten(APP, LINE)])
        assert book.decisions(APP, LINE) == ()
        assert len(book.decisions(APP, LINE_2)) == 1
        found = book.pin(APP)
        assert found is not None and found.serial == 7
        book.record(NOW, [history.decided(APP, LINE, decision(granted=False))])
        assert [one.effect for one in book.decisions(APP, LINE)] == [model.Effect.DENY]


def test_a_serial_only_rises_and_only_for_its_publisher(places: state.Places) -> None:
    steps = [
        (history.pinned(pin(5)), (LINE, 5, 1)),
        (history.raised(pin(7)), (LINE, 7, 1)),
        (history.raised(pin(6)), (LINE, 7, 1)),
        (history.raised(pin(7, digest="other")), (LINE, 7, 1)),
        (history.raised(pin(9, lineage=LINE_2)), (LINE, 7, 1)),
        (history.pinned(pin(3)), (LINE, 7, 1)),
        (history.forgotten(APP, LINE), (LINE, 7, 1)),
        (history.pinned(pin(2, lineage=LINE_2)), (LINE_2, 2, 8)),
        (history.rekeyed(pin(1, lineage=LINE_2)), (LINE_2, 1, 9)),
        (history.rekeyed(pin(4)), (LINE, 4, 10)),
    ]
    with journal.Journal.open(places) as book:
        for number, (entry, expected) in enumerate(steps, 1):
            book.record(at(number), [entry])
            found = book.pin(APP)
            assert found is not None
            assert (found.lineage, found.serial, found.since) == expected, number
            assert found.digest == f"d{found.serial}"
        assert book.pin(OTHER) is None


def test_a_serial_pins_nobody(places: state.Places) -> None:
    with journal.Journal.open(places) as book:
        book.record(NOW, [history.raised(pin(5))])
        assert book.pin(APP) is None


def test_heads_move_with_what_grants_depend_on(places: state.Places) -> None:
    entries = {
        "decision": history.decided(APP, LINE, decision()),
        "forget": history.forgotten(APP, LINE),
        "pin": history.pinned(pin()),
        "serial": history.raised(pin(2)),
        "rekey of another lineage": history.rekeyed(pin(lineage=LINE_2)),
        "undo": history.undone(APP, [1]),
        "lapse": history.lapsed(APP, LINE, [1]),
        "restore": history.restored(APP, LINE),
    }
    idle = {
        "away": history.away(APP, LINE, 5),
        "another lineage": history.decided(APP, LINE_2, decision()),
        "another app": history.pinned(pin(app=OTHER)),
        "pending": history.unanswered(APP, LINE, {}, asked=True),
        "launch": history.Entry(what=history.What.LAUNCH, app=APP, lineage=LINE, body={"pid": 1}),
        "exit": history.Entry(what=history.What.EXIT, app=APP, lineage=LINE, body={}),
    }
    with journal.Journal.open(places) as book:
        assert book.head(APP, LINE) == "-"
        seen = {"-"}
        for entry in entries.values():
            book.record(NOW, [entry])
            head = book.head(APP, LINE)
            assert head not in seen and len(head) == 64
            seen.add(head)
            for name, other in idle.items():
                book.record(NOW, [other])
                assert book.head(APP, LINE) == head, name


def test_what_cannot_be_read_takes_what_is_older_with_it(places: state.Places) -> None:
    later = history.decided(APP, LINE, decision(granted=False))
    asked = {**kinds.to_data(HOST), "port": 443}  # a key that a later version may know
    later = dataclasses.replace(later, body={**later.body, "asked": asked})
    with journal.Journal.open(places) as book:
        book.record(NOW, [history.decided(APP, LINE, decision(scope)) for scope in SCOPES[:2]])
        book.record(NOW, [later, history.decided(APP, LINE, decision(SCOPES[2]))])
        # The unread "no" may have taken the network away again: the older "yes" must not come back to life.
        assert [one.asked.kind for one in book.decisions(APP, LINE)] == ["dns", "path"]
        assert book.unreadable(APP, LINE) == (3,)
        book.record(NOW, [history.decided(APP, LINE, decision())])
        assert [one.seq for one in book.decisions(APP, LINE)] == [2, 4, 5]
        book.record(NOW, [dataclasses.replace(later, body={})])
        assert book.decisions(APP, LINE) == ()
        assert book.unreadable(APP, LINE) == (6,)
        assert book.unreadable(OTHER, LINE) == ()


def test_events_tell_the_story(places: state.Places) -> None:
    with journal.Journal.open(places) as book:
        for number, app in enumerate([APP, OTHER, APP, APP], 1):
            book.record(at(number), [history.unanswered(app, LINE, {"net": [HOST]}, asked=True)])
        assert [event.seq for event in book.events()] == [1, 2, 3, 4]
        assert [event.seq for event in book.events(APP)] == [1, 3, 4]
        assert [event.seq for event in book.events(APP, 2)] == [3, 4]
        assert book.events(limit=0) == ()
        (last,) = book.events(limit=1)
        assert (last.at, last.what, last.app, last.lineage) == (4, history.What.PENDING, APP, LINE)
        assert last.body == {"asked": True, "open": {"net": [kinds.to_data(HOST)]}}


def test_entries_are_recorded_together_or_not_at_all(places: state.Places) -> None:
    bad = [
        history.forgotten("org.example\n.App", LINE),
        history.Entry(what=history.What.LAUNCH, app=APP, lineage=LINE, body={"x": float("nan")}),
    ]
    with journal.Journal.open(places) as book:
        for entry in bad:
            with pytest.raises(ValueError):
                book.record(NOW, [history.forgotten(APP, LINE), entry])
            assert book.events() == ()
        assert book.record(NOW, []) == ()
        assert book.record(NOW, [history.forgotten(APP, LINE)] * 3) == (1, 2, 3)
    with journal.Journal.open(places) as book:
        assert len(book.events()) == 3


def test_rows_are_never_changed_or_removed(places: state.Places) -> None:
    with journal.Journal.open(places) as book:
        book.record(NOW, [history.decided(APP, LINE, decision(granted=False))])
    raw = sqlite3.connect(f"{places.state}/broker.db")
    statements = [
        "UPDATE event SET body = '{}'",
        "DELETE FROM event",
        "INSERT OR REPLACE INTO event SELECT * FROM event",
        "INSERT INTO event SELECT 3, at, what, app, lineage, body, prev, hash FROM event",
    ]
    for statement in statements:
        with pytest.raises(sqlite3.Error, match="append only"):
            raw.execute(statement)
    raw.close()


def test_files_are_private_and_durable(places: state.Places) -> None:
    old = os.umask(0)
    try:
        with journal.Journal.open(places) as book:
            book.record(NOW, [history.forgotten(APP, LINE)])
            names = {name for name in os.listdir(places.state) if not os.path.isdir(f"{places.state}/{name}")}
            assert names == {"broker.db", "broker.db-wal", "broker.db-shm", "mark"}
            for name in names:
                assert stat.S_IMODE(os.stat(f"{places.state}/{name}").st_mode) == 0o600, name
            ask = book._connection.execute
            assert ask("PRAGMA synchronous").fetchone() == (2,)  # FULL
            assert ask("PRAGMA journal_mode").fetchone() == ("wal",)
    finally:
        os.umask(old)


def test_two_open_journals_see_one_another(places: state.Places) -> None:
    with journal.Journal.open(places) as one, journal.Journal.open(places) as two:
        for book, peer in ((one, two), (two, one), (one, two)):
            book.record(NOW, [history.decided(APP, LINE, decision())])
            assert peer.decisions(APP, LINE) == book.decisions(APP, LINE)
        assert one.head(APP, LINE) == two.head(APP, LINE)
        assert len(one.events()) == 3


def test_a_crowd_begins_and_writes_one_journal(places: state.Places) -> None:
    def write(number: int) -> bytes:
        seqs: list[int] = []
        with journal.Journal.open(places) as book:
            for _ in range(3):
                seqs += book.record(NOW, [history.unanswered(f"org.example.A{number}", LINE, {}, asked=True)] * 2)
        return " ".join(map(str, seqs)).encode()

    answers = [list(map(int, answer.split())) for answer in scene.crowd(write)]
    assert sorted(itertools.chain(*answers)) == list(range(1, 193))
    with journal.Journal.open(places) as book:
        book.verify()
        for number, seqs in enumerate(answers):
            assert [event.seq for event in book.events(f"org.example.A{number}")] == seqs
        last = book.events(limit=1)[0]
    assert Path(f"{places.state}/mark").read_text().split()[0] == str(last.seq) == "192"


def test_nothing_is_made_unless_asked_for(places: state.Places) -> None:
    with pytest.raises(errors.JournalError) as caught:
        journal.Journal.open(places, create=False)
    assert caught.value.code == "journal-missing"
    assert not os.path.lexists(f"{places.state}/broker.db")


owners = st.tuples(st.sampled_from([APP, OTHER]), st.sampled_from([LINE, LINE_2]))


@st.composite
def entries(draw: st.DrawFn) -> history.Entry:
    """Anything that can be recorded, about few apps, so that much of it meets."""
    app, lineage = draw(owners)
    some = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True))
    match draw(st.integers(0, 10)):
        case 0:
            return history.decided(app, lineage, decision(draw(st.sampled_from(SCOPES)), granted=draw(st.booleans())))
        case 1:
            return history.forgotten(app, lineage)
        case 2:
            return history.unanswered(app, lineage, {}, asked=draw(st.booleans()))
        case 3:
            return history.Entry(what=history.What.LAUNCH, app=app, lineage=lineage, body={"pid": 7})
        case 7:
            return history.undone(app, some)
        case 8:
            return history.lapsed(app, lineage, some)
        case 9:
            return history.restored(app, lineage)
        case 10:
            return history.away(app, lineage, some[0])
        case other:
            make = (history.pinned, history.raised, history.rekeyed)[other - 4]
            return make(pin(draw(st.integers(1, 5)), lineage=lineage, app=app, digest=draw(st.sampled_from("xy"))))


# No deadline: a loaded machine is not a defect. No database: the checkout may be another user's.
@settings(deadline=None, database=None, max_examples=150)
@given(batches=st.lists(st.lists(entries(), min_size=1, max_size=4), max_size=8))
def test_the_fold_is_the_model(tmp_path_factory: pytest.TempPathFactory, batches: list[list[history.Entry]]) -> None:
    reserved = scene.below(tmp_path_factory.mktemp("fold"))
    state.ensure(reserved)
    told: list[oracle.Event] = []
    with journal.Journal.open(reserved) as book:
        for batch in batches:
            batch = [each for each in batch if names_what_is_there(each, len(told))]
            book.record(at(len(told)), batch)
            told += act(batch)
            compare(book, told)
    with journal.Journal.open(reserved) as book:
        compare(book, told)
        book.verify()
        compare(book, told)


def names_what_is_there(entry: history.Entry, count: int) -> bool:
    named = entry.body.get("undoes", entry.body.get("decisions", []))
    return isinstance(named, list) and all(number <= count for number in named)


def act(batch: list[history.Entry]) -> list[oracle.Event]:
    """What is in the journal after these were recorded together."""
    told: list[oracle.Event] = []
    before = 0
    for entry in batch:
        mine = entry.what in ("decision", "forget")
        body = {**entry.body, "nth": before} if mine and before else dict(entry.body)
        told.append((entry.what.value, entry.app, entry.lineage, body))
        before += mine
    return told


def compare(book: journal.Journal, told: list[oracle.Event]) -> None:
    """Hold every answer of ``book`` to the model's."""
    assert list(book.apps()) == oracle.apps(told)
    happened = book.events()
    assert [(event.what, event.app, event.lineage, event.body) for event in happened] == told
    for app, lineage in itertools.product([APP, OTHER], [LINE, LINE_2]):
        found, expected = book.pin(app), oracle.pin(told, app)
        assert (found is None) == (expected is None)
        if found is not None and expected is not None:
            since = happened[expected[4] - 1].at
            assert (found.lineage, found.fingerprint, found.serial, found.digest, found.since) == (*expected[:4], since)
        assert [one.seq for one in book.decisions(app, lineage)] == oracle.decided(told, app, lineage)
        over = oracle.lapsed(told, app, lineage)
        standing = {*oracle.decided(told, app, lineage)}
        assert {one.seq for one in book.decisions(app, lineage) if one.lapsed} == over & standing
        assert [event.seq for event in book.pending(app, lineage)] == oracle.pending(told, app, lineage)
        assert ((app, lineage) in book.waiting()) == oracle.waiting(told, app, lineage)
        newest = oracle.head(told, app, lineage)
        assert book.head(app, lineage) == (book._connection.execute(
            "SELECT hash FROM event WHERE seq = ?", (newest,)
        ).fetchone() or ("-",))[0]  # fmt: skip
