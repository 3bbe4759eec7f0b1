"""At every system call of recording a decision the process is killed, the disk is full, or it fails (SPEC §8.5).

Nothing lost: what was reported as stored is there. Nothing widened: what counts afterwards is what counted before, or
the whole of what was decided. The chain is intact, and the exit status tells which it was.

INTENTS_POINTS: ``all`` for every call, as in CI; otherwise every call site once, chosen by a seed.
"""

import dataclasses
import functools
import os
import pathlib
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator

import pytest

from broker import history, journal, plans, record, state
from intents import errors, model
from tests import scene
from tests.conftest import must_work
from tests.real import injection
from tests.real import test_journal_crash as crash

SEED = 20_261_124
ALL = os.environ.get("INTENTS_POINTS") == "all" or os.environ.get("INTENTS_CI") == "1"
STORED, REFUSED, DEFECT = 0, 125, 70
# The clock of the second session was set back by a year: order is not a matter of clocks.
BEFORE = dataclasses.replace(crash.NOW, wall=crash.NOW.wall - 365 * 86400, boottime=1)
HELD_UP = re.compile(r"flock|fcntl|fdatasync|fsync|pwrite64|rename|unlink|openat")
PAUSE = 0.04  # seconds: what the second session needs for all of it
DECIDED = crash.batch(2)  # three decisions that belong together
OTHERS = crash.batch(1)


class Case:
    """A journal, and a session that records a decision in it. present: it was there before, and a plan made from it."""

    def __init__(self, base: pathlib.Path, *, present: bool) -> None:
        self.base, self.present = base, present
        self.template, self.log = base / "template", str(base / "strace")
        reserved = scene.below(self.template)
        state.ensure(reserved)
        if present:
            store(reserved, crash.NOW, crash.batch(0))
            plans.write(reserved, f"{reserved.state}/plans/{crash.APP}.pipe", crash.APP, "head", b"plan")
        self.before = facts(reserved) if present else []

    def fresh(self) -> state.Places:
        """The same places as they were, at the same paths."""
        now = self.base / "now"
        shutil.rmtree(now, ignore_errors=True)
        shutil.copytree(self.template, now)
        return scene.below(now)

    def work(self, reserved: state.Places) -> int:
        """Decide, and say how that went as the commands do."""
        try:
            record.commit(reserved, crash.APP, BEFORE, DECIDED)
        except errors.IntentError as error:
            return REFUSED if error.message and error.hint else DEFECT
        except BaseException as error:
            os.write(2, f"{error!r}\n".encode())
            return DEFECT
        return STORED

    @functools.cached_property
    def points(self) -> tuple[injection.Point, ...]:
        reserved = self.fresh()
        return injection.points(lambda: self.work(reserved), self.log)

    def chosen(self, wanted: Callable[[injection.Point], bool]) -> list[injection.Point]:
        """Every point, or one of each site."""
        points = [point for point in self.points if wanted(point)]
        if ALL:
            return points
        random.Random(SEED).shuffle(points)
        return list({point.site: point for point in points}.values())

    def check(self, reserved: state.Places, status: int) -> bool:
        """Whether the decision is stored. Another session, which did not hear of any of it, must go on from there."""
        store(reserved, crash.NOW, OTHERS)
        with journal.Journal.open(reserved) as book:
            book.verify()
        found = facts(reserved)
        whole = len(found) == len(self.before) + len(DECIDED) + len(OTHERS)
        expected = [*self.before, *(DECIDED if whole else []), *OTHERS]
        assert [each.body["intent"] for each in found] == [each.body["intent"] for each in expected]
        assert [each.body["granted"] for each in found] == [each.body["granted"] for each in expected]
        if status in (STORED, REFUSED):
            assert whole is (status == STORED), "the exit status tells otherwise"
        if whole:
            assert not os.path.exists(plans.head_file(reserved, crash.APP)), "a plan outlives the decision"
        return whole


def store(reserved: state.Places, now: model.Clock, entries: list[history.Entry]) -> None:
    record.commit(reserved, crash.APP, now, entries)


def facts(reserved: state.Places) -> list[history.Entry]:
    """What is recorded, in order."""
    with journal.Journal.open(reserved) as book:
        events = book.events()
    return [history.Entry(what=each.what, app=each.app, lineage=each.lineage, body=each.body) for each in events]


@pytest.fixture(params=[True, False], ids=["another decision", "the first one"])
def case(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[Case]:
    must_work(shutil.which("strace"), "strace")
    yield Case(tmp_path, present=request.param)


@pytest.fixture(autouse=True)
def mask() -> Iterator[None]:
    """What the calls make is private, and what other tests make stays as they need it."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_killed_before_any_call(case: Case) -> None:
    outcomes = set()
    for point in case.chosen(lambda point: True):
        reserved = case.fresh()
        status = injection.killed(functools.partial(case.work, reserved), point, case.log)
        assert status == injection.KILLED, (point, status)
        outcomes.add(case.check(reserved, status))
    assert outcomes == {True, False}, "nobody was killed both before and after it was stored"


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_any_call_fails(case: Case, error: str) -> None:
    outcomes = set()
    for point in case.chosen(lambda point: bool(injection.FILES.fullmatch(point.name))):
        reserved = case.fresh()
        status = injection.failed(functools.partial(case.work, reserved), point, error, case.log)
        assert status in (STORED, REFUSED), (point, status)
        outcomes.add(case.check(reserved, status))
    assert outcomes == {True, False}


def test_two_sessions_answer_at_once(case: Case) -> None:
    """Wherever the first is held up, the second one comes in between or waits, and both are stored whole."""
    orders = set()
    for point in case.chosen(lambda point: bool(HELD_UP.fullmatch(point.name))):
        reserved = case.fresh()

        def other(reserved: state.Places = reserved) -> None:
            time.sleep(PAUSE / 4)
            store(reserved, crash.NOW, OTHERS)

        assert injection.delayed(functools.partial(case.work, reserved), point, PAUSE, case.log, other) == STORED
        with journal.Journal.open(reserved) as book:
            book.verify()
        told = [each.body["intent"] for each in facts(reserved)[len(case.before) :]]
        mine, theirs = ([each.body["intent"] for each in batch] for batch in (DECIDED, OTHERS))
        assert told in (mine + theirs, theirs + mine), point
        orders.add(told == mine + theirs)
    assert orders == {True, False}


def test_every_call_is_a_point(case: Case) -> None:
    """What is left out by chance is a second call of a site that is tried."""
    sites = {point.site for point in case.points}
    assert {point.site for point in case.chosen(lambda point: True)} == sites
    files = {site.partition(" ")[0] for site in sites}
    assert {"openat", "flock", "fcntl", "pread64", "pwrite64", "fdatasync", "fsync", "rename", "unlink"} <= files
    print(f"{len(case.points)} calls at {len(sites)} sites")
