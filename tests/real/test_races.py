"""Many starts and decisions at the same time: no stale plan is ever used, and nobody is asked twice.

INTENTS_OVERLAPS: how often a cold start overlaps a revocation, 100 by default, 1000 in CI.
"""

import contextlib
import os
import pathlib
import random
import time
from collections.abc import Iterator

import pytest

from broker import app as apps
from broker import history, journal, launch, plans, prompts, runs, session, state
from intents import decide, errors, model
from tests import scene
from tests.real import world

pytestmark = pytest.mark.real

OVERLAPS = int(os.environ.get("INTENTS_OVERLAPS") or (1000 if os.environ.get("INTENTS_CI") == "1" else 100))
FRESH = 25  # every start reads the whole journal: a new one after so many overlaps
CROWD = 32
DOCUMENTS = {"docs": {"kind": "path", "place": "home/Documents", "access": "read"}}


@pytest.fixture
def here() -> Iterator[world.World]:
    with world.world() as made:
        (made.home / "Documents").mkdir()
        (made.home / "Documents" / "file").write_text("private\n")
        made.install(world.manifest(world.SHELL, DOCUMENTS))
        yield made


def record(app: apps.App, effect: model.Effect) -> None:
    """Decide all intents for good, as a command does: plans first, then the journal."""
    now = state.clock(app.places)
    life = model.Life(span=model.Lifespan.FOREVER)
    with state.lock(app.lock("state")):
        plans.drop(app.places, app.manifest.app.id)
        with journal.Journal.open(app.places) as book:
            made = [
                history.decided(app.manifest.app.id, app.vet(book).lineage, decision)
                for intent in app.manifest.intents
                for decision in decide.decisions(
                    intent, intent.scope.parts(), effect, life, app.objects, source="command", now=now
                )
            ]
            book.record(now, made)


def fork(work: object) -> int:
    """Run ``work`` in a child; its process id."""
    child = os.fork()
    if child == 0:
        try:
            work()  # type: ignore[operator]
            os._exit(0)
        except BaseException as error:
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
    return child


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def cold(here: world.World, app: apps.App, pause: float) -> None:
    """All of a cold start but the last step, with a pause before it compiles."""
    now = state.clock(here.places)
    time.sleep(pause)
    pathlib.Path(runs.stamp(here.places, world.APP)).touch()
    session._compile(app, now, (), plans.file(here.places, world.APP, typed=False), lambda _line: None)


def warm(here: world.World) -> dict[str, tuple[bytes, ...]] | None:
    """The plan that a warm start would use now."""
    sections = launch.read(f"{here.places.state}/plans/{world.APP}.pipe")
    return sections if sections is not None and launch.holds(sections["guards"]) else None


def overlap(here: world.World, app: apps.App, chance: random.Random) -> bool:
    """One cold start at the same time as a revocation; whether a plan of before is left that would be used."""
    record(app, model.Effect.ALLOW)
    pauses = chance.random() * 0.004, chance.random() * 0.004

    def revoke() -> None:
        time.sleep(pauses[1])
        record(app, model.Effect.DENY)

    children = [fork(lambda: cold(here, app, pauses[0])), fork(revoke)]
    assert [ended(child) for child in children] == [0, 0]
    left = warm(here)
    return left is not None and str(here.home / "Documents").encode() in left["binds"]


def test_no_plan_outlives_the_revocation_of_what_it_gives(
    here: world.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", dict(here.environ))
    monkeypatch.setattr(os, "environb", {os.fsencode(k): os.fsencode(v) for k, v in here.environ.items()})
    monkeypatch.setattr(state, "_home", lambda _euid: str(here.home))
    app, chance = here.load(), random.Random(1)
    record(app, model.Effect.ALLOW)
    cold(here, app, 0)
    assert warm(here) is not None, "a cold start leaves a plan"
    for number in range(OVERLAPS):
        if number % FRESH == FRESH - 1:
            journal.start_over(here.places)
            here.install(world.manifest(world.SHELL, DOCUMENTS))
            app = here.load()
        assert not overlap(here, app, chance), number
    # Without the lock and the head that the plan carries, the slow one of the two wins.
    monkeypatch.setattr(state, "lock", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(session, "_decision_guards", lambda *_: [])
    found = 0
    for _ in range(OVERLAPS):
        found += overlap(here, app, chance)
        if found:
            break
    assert found, "the race does not happen at all"


class Counting:
    """Answers once, for this session, and says on a descriptor that it was asked."""

    def __init__(self, told: int) -> None:
        self.told = told

    def ask(self, request: prompts.Request) -> tuple[prompts.Answer, ...] | None:
        os.write(self.told, b"asked\n")
        time.sleep(0.2)  # a person takes a while, and the others come to wait
        return tuple(
            prompts.answer(question, model.Effect.ALLOW, model.Lifespan.SESSION) for question in request.questions
        )


def test_a_crowd_is_asked_once_and_all_of_it_starts(here: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_home", lambda _euid: str(here.home))
    asked_out, asked_in = os.pipe()
    found_out, found_in = os.pipe()

    def start(_number: int) -> bytes:
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)

        def app() -> None:
            os.dup2(found_in, 1)
            os.chdir("/")
            prompter = Counting(asked_in)
            words = [b"cat ~/Documents/file"]
            session.start(world.APP, words, here.environ, lambda: prompter, lambda _line: None, typed=False)

        return b"%d" % ended(fork(app))

    statuses = scene.crowd(start, CROWD)
    os.close(asked_in)
    os.close(found_in)
    with open(asked_out, "rb") as asked, open(found_out, "rb") as found:
        assert asked.read() == b"asked\n"
        assert found.read() == b"private\n" * CROWD
    assert statuses == [b"0"] * CROWD
    with journal.Journal.open(here.places) as book:
        decided = [event for event in book.events(world.APP) if event.what is history.What.DECISION]
    assert len(decided) == 1


def test_the_crowd_is_asked_again_and_again_without_the_lock(
    here: world.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "_home", lambda _euid: str(here.home))
    monkeypatch.setattr(state, "lock", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(launch, "execute", lambda *_, **__: 0)
    asked_out, asked_in = os.pipe()

    def ask(_number: int) -> bytes:
        with contextlib.suppress(errors.IntentError, OSError):  # without locks, writers disturb each other as well
            session.start(world.APP, [], here.environ, lambda: Counting(asked_in), lambda _line: None, typed=False)
        return b""

    scene.crowd(ask, 4)
    os.close(asked_in)
    with open(asked_out, "rb") as asked:
        assert asked.read().count(b"asked") > 1
