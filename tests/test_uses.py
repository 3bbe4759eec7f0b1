"""``intent-ctl uses``: starts and refusals are counted as they were, and nothing else is claimed."""

import pathlib
from collections.abc import Iterator

import pytest

from broker import history, journal, runs, state
from broker import tried as tries
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


def tried(host: str, verdict: str, times: int, last: int = 300, **more: object) -> dict[str, object]:
    about = {"protocol": "tcp", "host": host, "port": 443, "verdict": verdict, "intent": "-", "first": 100}
    return {**about, "times": times, "last": last, **more}


def test_what_was_tried_of_the_network_is_counted_over_all_starts(home: world.World) -> None:
    rows = [tried("www.example.org", "not-granted", 5), tried("x.example", "allowed", 2, intent="net")]
    later = [tried("www.example.org", "not-granted", 7, 900), tried("a\x1b[2J", "refused", 1), {"host": 1}, "odd"]
    for at, found in ((100, rows), (200, later)):
        body = {"pid": at, "at": at, "ended": at + 5, "status": 0, "refused": [], "tried": found}
        record(home, launched(at), history.Entry(what=history.What.EXIT, app=APP, lineage=LINEAGE, body=body))
    assert row(home)["tried"] == [
        tried("www.example.org", "not-granted", 12, 900),
        tried("x.example", "allowed", 2, intent="net"),
    ]
    out = control.done(home, "uses", APP)
    assert "tried www.example.org:443 12 times, last 1970-01-01" in out and ", not granted" in out
    assert "tried x.example:443 twice" in out and "allowed by net" in out
    said = control.done(home, "log", APP)
    assert "status 0; tried www.example.org:443 5 times" in said and "x.example" not in said


def test_the_history_keeps_the_most_frequent_and_how_many_others_there_were() -> None:
    many = [
        tries.Try(
            protocol="tcp", host=f"{at}.example", port=1, verdict=verdict, intent="-", times=at, first=1, last=at
        )
        for verdict in ("not-granted", "allowed")
        for at in range(1, 500)
    ]
    kept = tries.kept(many)
    assert len(kept) == 2 * tries.KEPT + 1 and sum(each.times for each in kept) == sum(each.times for each in many)
    assert {each.host for each in kept if each.times > 467} == {f"{at}.example" for at in range(468, 500)} | {"-"}
    assert tries.kept(kept) == kept
    assert tries.words(kept[-1].as_data()).startswith(f"tried {kept[-1].times} times something else")


def test_a_file_that_is_being_written_gives_its_whole_lines(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "tries"
    good = '["tcp", "www.example.org", 443, "not-granted", "-", 12, 100, 300]\n'
    odd = '["tcp", "www\\u001b", 443, "x", "-", 1, 1, 1]\n[]\n7\n["tcp", "a", "b", "c", "d", 1, 1, 1]\n'
    file.write_text(good + odd + good.replace("12", "1") + '["udp", "late.exa')
    file.chmod(0o600)
    assert [each.as_data() for each in tries.read(str(tmp_path))] == [tried("www.example.org", "not-granted", 12)]
    assert tries.read(str(tmp_path / "nothing")) == ()
