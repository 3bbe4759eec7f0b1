"""``intent-ctl uses``: starts and refusals are counted as they were, and nothing else is claimed."""

from collections.abc import Iterator

import pytest

from broker import history, journal, runs, state
from tests import control
from tests.control import APP
from tests.real import world

LINEAGE = "0" * 16


@pytest.fixture
def home() -> Iterator[world.World]:
    with control.home() as made:
        yield made


def record(home: world.World, *entries: history.Entry) -> None:
    with journal.Journal.open(home.places) as book:
        book.record(state.clock(home.places), entries)


def launched(at: int, *given: str) -> history.Entry:
    return history.launched(APP, LINEAGE, pid=at, at=at, given=given)


def exited(at: int, *refused: str) -> history.Entry:
    return history.exited(APP, LINEAGE, pid=at, at=at, ended=at + 5, status=0, refused=refused)


def row(home: world.World, *words: str) -> dict[str, object]:
    apps = control.data(home, "uses", *words)["apps"]
    assert isinstance(apps, list)
    (found,) = apps
    assert isinstance(found, dict)
    return found


def test_starts_and_what_they_had_are_counted(home: world.World) -> None:
    assert control.done(home, "uses") == "Nothing was started yet.\n"
    record(home, launched(100, "net"), exited(100), launched(200, "net", "notes"), launched(300))
    found = row(home, APP)
    assert (found["starts"], found["first"], found["last"]) == (3, 100, 300)
    assert found["intents"] == [
        {"intent": "net", "starts": 2, "without": 1, "last": 200},
        {"intent": "notes", "starts": 1, "without": 2, "last": 200},
    ]
    out = control.done(home, "uses")
    assert "started 3 times" in out and "net  given 2 times" in out and "1 time without it" in out
    assert "Not recorded: what an app did" in out


def test_what_was_refused_is_told_with_the_start_it_belongs_to(home: world.World) -> None:
    record(home, launched(100), exited(100, "audio record", "wayland x\x1b[2J"))
    record(home, launched(200), exited(200, "audio record"))
    assert row(home)["refused"] == [
        {"what": "audio record", "starts": 2, "last": 205},
        {"what": "wayland x\x1b[2J", "starts": 1, "last": 105},
    ]
    out = control.done(home, "uses", APP)
    assert "tried and did not get: audio record, at 2 starts" in out and "\x1b" not in out


def test_events_of_older_versions_and_odd_ones_claim_nothing(home: world.World) -> None:
    bodies: list[dict[str, object]] = [{}, {"pid": 1, "at": 50}, {"given": 7, "at": "x"}, {"refused": "no list"}]
    record(home, *(history.Entry(what=history.What.LAUNCH, app=APP, lineage=LINEAGE, body=body) for body in bodies))
    record(home, *(history.Entry(what=history.What.EXIT, app=APP, lineage=LINEAGE, body=body) for body in bodies))
    found = row(home)
    assert (found["starts"], found["intents"], found["refused"]) == (4, [], [])


def test_a_real_start_is_counted(home: world.World) -> None:
    control.done(home, "grant", APP, "notes")
    for _ in range(2):
        assert home.start().returncode == 0
    found = row(home, APP)
    assert found["starts"] == 2 and found["refused"] == []
    intents = found["intents"]
    assert isinstance(intents, list)
    assert [(each["intent"], each["starts"], each["without"]) for each in intents] == [("notes", 2, 0)]
    assert control.code(home, "uses", "org.example.Nothing") == "unknown-app"


def test_what_a_companion_writes_is_read_with_the_record(home: world.World) -> None:
    run = home.base / "runtime" / "intents" / "run"
    run.mkdir(exist_ok=True)
    (run / "7").mkdir(mode=0o700)
    file = run / "7" / "refused"
    file.write_text("audio record\naudio record\nhalf")
    file.chmod(0o600)
    instance = runs.Instance(
        app_id=APP, lineage=LINEAGE, pid=7, at=1, first=0, namespaces=(), status=None, changed=1, path=f"{run}/7.json"
    )
    assert runs.refused(instance) == ("audio record",)
