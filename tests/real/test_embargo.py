"""A question that was closed three times rests for a week, unless it is answered or asked for (SPEC §8.4)."""

from collections.abc import Iterator

import pytest

from broker import answers
from tests import control
from tests.real import starting, world
from tests.real.starting import LOOK, NET_TITLE, NOTES_TITLE
from tests.real.world import APP

pytestmark = pytest.mark.real

DAYS = "import time\n_wall = time.time\ntime.time = lambda: _wall() + {} * 86400\n"
RESTS = "its question was closed 3 times without an answer"
NO_REST = "from broker import answers\nanswers.rests_until = lambda book, delta, now: 0\n"


@pytest.fixture
def home() -> Iterator[world.World]:
    """The app may use ~/Notes; its question about the network was closed three times."""
    with starting.home() as made:
        made.decide("notes")
        for _ in range(answers.PATIENCE):
            assert shown(made)
        yield made


def shown(where: world.World, removed: str = "", *options: str) -> bool:
    """Whether a start asks; the question is closed again."""
    with starting.start(where, LOOK, removed=removed, options=options) as begun:
        begun.until(lambda: begun.process.poll() is not None or begun.shows("START"))
        if begun.process.poll() is not None:
            begun.ends(0)
            return False
        begun.finish("l")
        begun.ends(126)
        return True


def test_it_starts_with_what_is_stored_and_says_how_to_answer(home: world.World) -> None:
    with starting.start(home, LOOK) as begun:
        said = begun.ends(0)
    assert starting.got(said) == {"notes"} and "START" not in said
    for words in (RESTS, f"intent-run --ask {APP}", f"intent-ctl pending {APP}", f"intent-ctl grant {APP} net"):
        assert words in said
    assert starting.pending(home) == answers.PATIENCE, "what rests is not counted again"
    assert shown(home, NO_REST), "without the rest it would be shown"


def test_it_can_be_asked_for(home: world.World) -> None:
    with starting.start(home, LOOK, options=["--ask"]) as begun:
        begun.choose(NET_TITLE, "ALLOW this session")
        begun.go()
        assert starting.got(begun.ends(0)) == {"net", "notes"}
    assert starting.pending(home) == 0
    assert starting.got(starting.quietly(home, LOOK)) == {"net", "notes"}
    assert not shown(home, "", "--ask"), "nothing is open"


def test_asking_for_it_without_a_terminal_is_refused(home: world.World) -> None:
    done = home.start(LOOK, options=["--ask"])
    assert (done.returncode, done.stdout) == (126, b"") and b"[no-way-to-ask]" in done.stderr


@pytest.mark.parametrize(
    ("days", "asks"),
    [(6.9, False), (7.1, True), (400, True), (-1, True), (-20_000, True)],
    ids=["in the week", "after it", "the clock jumped", "it was set back", "to 1970"],
)
def test_it_rests_for_a_week_and_not_longer(home: world.World, days: float, asks: bool) -> None:
    assert shown(home, DAYS.format(days)) is asks


def test_closed_again_after_the_week_it_rests_again(home: world.World) -> None:
    assert shown(home, DAYS.format(8))
    assert not shown(home, DAYS.format(9)) and shown(home, DAYS.format(16))


@pytest.mark.parametrize("words", [("revoke", APP, "net"), ("forget", APP)], ids=["an answer", "forget"])
def test_an_answer_ends_it(home: world.World, words: tuple[str, ...]) -> None:
    control.done(home, *words)
    control.done(home, "forget", APP)
    assert shown(home)


def test_what_is_required_does_not_start_and_says_why() -> None:
    with starting.home(needs="notes") as where:
        for _ in range(answers.PATIENCE):
            assert shown(where)
        with starting.start(where, LOOK) as begun:
            said = begun.ends(126)
        assert "[no-way-to-ask]" in said and RESTS in said and "LOOKED" not in said
        with starting.start(where, LOOK, options=["--ask"]) as begun:
            begun.choose(NOTES_TITLE, "ALLOW this session")
            begun.go()
            assert starting.got(begun.ends(0)) == {"notes"}


def test_nobody_to_ask_is_no_question_that_was_closed() -> None:
    with starting.home() as where:
        for _ in range(2 * answers.PATIENCE):
            assert starting.got(where.says(LOOK)) == set()
        assert shown(where)


def test_a_new_publisher_that_nobody_agreed_to_rests_too() -> None:
    with starting.home(pinned=False) as where:
        for _ in range(answers.PATIENCE):
            assert shown(where)
        with starting.start(where, LOOK) as begun:
            said = begun.ends(126)
        assert "[publisher-unknown]" in said and RESTS in said and f"intent-run --ask {APP}" in said
