"""Undoing: what counted before counts again exactly, and what a newer answer decides is not touched (SPEC §8.5)."""

import pathlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import acts, history, journal, record, state
from intents import decide, diff, errors, model
from tests import control
from tests.control import APP, NOTES
from tests.laws import generate
from tests.real import world

OWNER = ("org.example.App", "0123456789abcdef")
EVERYWHERE = {place: generate.where(place) for place in ("home/a", "home/a/b", "home/a/b/c", "home/a/d")}


@pytest.fixture
def home() -> Iterator[world.World]:
    """A world where nothing was decided, with an app whose publisher the user agreed to."""
    with control.home() as made:
        yield made


# Laws


def told(history_of: list[list[history.Entry]]) -> list[history.Event]:
    """The events of acts that were recorded one after the other."""
    events: list[history.Event] = []
    for act in history_of:
        for entry in history.together(act):
            seq = len(events) + 1
            events.append(event(seq, entry))
    return events


def event(seq: int, entry: history.Entry) -> history.Event:
    """The entry as it was recorded."""
    about = {"what": entry.what, "app": entry.app, "lineage": entry.lineage, "body": entry.body}
    return history.Event(seq=seq, at=generate.NOW.wall, **about)  # type: ignore[arg-type]


def settled(events: list[history.Event], vetted: model.Vetted, without: tuple[int, ...] = ()) -> list[object]:
    """What the app gets, as the events say; ``without`` those that shall never have happened."""
    left = [each for each in events if each.seq not in without]
    # Numbers of an undoing name events by their place: what is left out is put in as something that means nothing.
    kept = [each if each in left else silent(each) for each in events]
    decisions, unreadable = history.supposed(kept, ()).decisions(*OWNER)
    assert not unreadable
    found = diff.diff(vetted, decisions, generate.NOW, EVERYWHERE)
    grant = decide.settle(found)
    return [
        (verdict.intent.id, verdict.granted, change.denied, change.open)
        for verdict, change in zip(grant.verdicts, found.changes, strict=True)
    ]


def silent(left_out: history.Event) -> history.Event:
    entry = history.Entry(what=history.What.LAUNCH, app=left_out.app, lineage=OWNER[1], body={})
    return event(left_out.seq, entry)


@st.composite
def histories(draw: st.DrawFn) -> tuple[model.Vetted, list[history.Event]]:
    """Acts of one app: answers of a handshake, forgetting, undoing of what can be undone, and undoing of that."""
    family = generate.FAMILIES[0]
    scopes = draw(st.lists(family, min_size=1, max_size=3, unique=True))
    done: list[list[history.Entry]] = []
    for what in ["answer", *draw(st.lists(st.sampled_from(["answer", "answer", "forget", "undo"]), max_size=9))]:
        match what:
            case "answer":
                made = draw(st.lists(generate.decisions(family, moved=False), min_size=1, max_size=3))
                done.append([history.decided(*OWNER, each) for each in made])
            case "forget":
                done.append([history.forgotten(*OWNER)])
            case "undo":
                if can := undoable(told(done)):
                    done.append([history.undone(OWNER[0], draw(st.sampled_from(can)).seqs)])
    return generate.vetted(scopes), told(done)


def undoable(events: list[history.Event]) -> list[acts.Act]:
    found = []
    for act in acts.of(events):
        try:
            found.append(acts.containing(events, act.seqs[0]))
        except errors.DecisionError:
            continue
    return found


@generate.MANY
@given(histories(), st.data())
def test_after_undoing_the_grant_is_as_if_it_had_not_happened(
    case: tuple[model.Vetted, list[history.Event]], data: st.DataObject
) -> None:
    vetted, events = case
    act = data.draw(st.sampled_from(undoable(events)))
    after = events + next_event(events, act)
    assert settled(after, vetted) == settled(events, vetted, without=act.seqs)


@generate.MANY
@given(histories())
def test_undoing_the_last_act_brings_back_what_was_before_it(case: tuple[model.Vetted, list[history.Event]]) -> None:
    vetted, events = case
    last = acts.of(events)[-1]
    assert last in undoable(events), "the newest act of all can always be undone"
    before = events[: last.seqs[0] - 1]
    after = events + next_event(events, last)
    assert settled(after, vetted) == settled(before, vetted)
    again = after + next_event(after, acts.of(after)[-1])
    assert settled(again, vetted) == settled(events, vetted), "an undoing can be undone"


@given(histories())
def test_undoing_again_and_again_ends_where_nothing_was_decided(
    case: tuple[model.Vetted, list[history.Event]],
) -> None:
    vetted, events = case
    for _ in acts.of(events):
        try:
            act = acts.newest(events, OWNER[0])
        except errors.DecisionError as error:
            assert error.code == "nothing-to-undo"
            break
        events = events + next_event(events, act)
    assert settled(events, vetted) == settled([], vetted)


def next_event(events: list[history.Event], act: acts.Act) -> list[history.Event]:
    """The undoing of an act, behind these events."""
    return [event(len(events) + 1, history.undone(OWNER[0], act.seqs))]


# The command


def test_undo_brings_back_what_was_answered_before(home: world.World) -> None:
    control.done(home, "grant", APP, "notes")
    control.done(home, "revoke", APP)
    assert control.states(home) == {"net": "denied", "notes": "denied"}
    out = control.done(home, "undo")
    assert "no longer counts: denied net (network scope=host), forever, by command" in out
    assert "net was denied, is not decided" in out and "notes was denied, is allowed (normal risk)" in out
    assert control.states(home) == {"net": "open", "notes": "allowed"}
    control.done(home, "undo", APP)
    assert control.states(home) == {"net": "open", "notes": "open"}
    assert control.code(home, "undo") == control.code(home, "undo", APP) == "nothing-to-undo"


def test_an_undoing_is_taken_back_by_its_number(home: world.World) -> None:
    control.done(home, "grant", APP, "notes", "net")
    seq = control.data(home, "undo")["event"]
    assert control.states(home) == {"net": "open", "notes": "open"}
    assert f"To take that back: intent-ctl undo {seq}" in control.run(home, "undo", "2")[2]
    done = control.data(home, "undo", str(seq))
    assert done["undone"] == [seq]
    assert control.states(home) == {"net": "allowed", "notes": "allowed"}


def test_what_a_newer_decision_is_about_is_not_undone(home: world.World) -> None:
    control.done(home, "grant", APP, "notes")
    control.done(home, "grant", APP, "net")
    control.done(home, "revoke", APP, "notes")
    assert control.code(home, "undo", "2") == "undo-superseded"
    assert "intent-ctl undo 4" in control.run(home, "undo", "2")[2]
    control.done(home, "undo", "3")  # nothing newer is about the network
    assert control.states(home) == {"net": "open", "notes": "denied"}
    assert [control.code(home, "undo", word) for word in ("1", "99", "999999999")] == ["nothing-to-undo"] * 3
    assert control.code(home, "undo", "org.example.Nothing") == "unknown-app"


def test_who_decides_meanwhile_is_not_overridden(home: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    control.done(home, "grant", APP, "notes")
    commit = record.commit_by

    def late(*given: object) -> object:
        monkeypatch.setattr(record, "commit_by", commit)
        control.done(home, "revoke", APP, "notes")
        return commit(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(record, "commit_by", late)
    assert control.run(home, "undo")[0] == 1
    assert control.states(home)["notes"] == "denied"


def test_forgetting_can_be_undone(home: world.World) -> None:
    control.done(home, "grant", APP, "notes")
    control.done(home, "forget", APP)
    control.done(home, "undo")
    assert control.states(home)["notes"] == "allowed"


def test_what_is_critical_does_not_come_back_by_itself(home: world.World) -> None:
    home.install(world.manifest(["/bin/true"], {"keys": {**NOTES, "place": "home/.ssh"}}, serial=2))
    control.done(home, "grant", APP, "keys", "--confirm", "keys", "--for", "forever")
    control.done(home, "revoke", APP, "keys")
    assert control.code(home, "undo") == "not-confirmed"
    assert control.states(home) == {"keys": "denied"}
    assert "keys was denied, is allowed (CRITICAL risk)" in control.done(home, "undo", "--confirm", "keys")


def test_what_nobody_can_judge_does_not_come_back_by_itself(home: world.World) -> None:
    """Without the manifest nobody can tell how risky it would be."""
    control.done(home, "grant", APP, "notes")
    control.done(home, "revoke", APP, "notes")
    manifest = pathlib.Path(home.places.data, "manifests", f"{APP}.toml")
    manifest.rename(manifest.with_suffix(".away"))
    assert control.code(home, "undo") == "not-confirmed"
    control.done(home, "undo", "--confirm", "notes")
    control.done(home, "undo")
    manifest.with_suffix(".away").rename(manifest)
    assert control.states(home)["notes"] == "open", "taking away needs no word"


def test_a_span_that_is_over_stays_over(home: world.World) -> None:
    control.done(home, "grant", APP, "net")
    control.done(home, "revoke", APP, "net")
    (home.runtime / "intents" / "session").unlink()  # another login
    control.done(home, "undo")
    assert control.states(home)["net"] == "open"


def test_the_next_start_compiles_anew(home: world.World) -> None:
    control.done(home, "grant", APP, "net", "notes", "--for", "forever")
    with journal.Journal.open(home.places) as book:
        lineage = home.load().vet(book).lineage
        before = book.head(APP, lineage)
    control.done(home, "undo")
    with journal.Journal.open(home.places) as book:
        assert book.head(APP, lineage) != before


def test_an_undoing_that_names_what_is_not_there_is_damage(home: world.World) -> None:
    entry = history.Entry(what=history.What.UNDO, app=APP, lineage="", body={"undoes": [7]})
    with journal.Journal.open(home.places) as book, pytest.raises(ValueError):
        book.record(state.clock(home.places), [entry])
