"""Questions that nobody was there to answer: they wait, and of all answers to one exactly one counts (SPEC §8.4)."""

import json
import subprocess
from collections.abc import Iterator

import pytest

from broker import answers, known, pending, prompts
from broker.history import What
from intents import errors, model
from tests import control, ruled, scene
from tests.real import serving, starting, world
from tests.real.starting import LOOK, NET_TITLE

pytestmark = pytest.mark.real

APP = world.APP


@pytest.fixture
def home() -> Iterator[world.World]:
    with starting.home() as made:
        yield made


def waiting(home: world.World, *words: str) -> list[dict[str, object]]:
    """The questions that ``intent-ctl pending`` shows."""
    found = control.data(home, "pending", *words)["questions"]
    assert isinstance(found, list)
    return found


def shown(home: world.World) -> str:
    (one,) = waiting(home, APP)
    return str(one["shown"])


def test_silent_no_ui_denial(home: world.World) -> None:
    """A start with nobody to ask says what it does without, and the command it names shows and answers the question."""
    for _ in range(3):
        done = home.start(LOOK)
        assert starting.got(done.stdout.decode()) == set()
        assert b"starts without net, notes; to answer: `intent-ctl pending org.example.App`" in done.stderr
    (event,) = starting.events(home, What.PENDING)
    assert event.body["asked"] is False and event.body["open"].keys() == {"net", "notes"}  # type: ignore[attr-defined]
    (one,) = waiting(home)
    said = control.done(home, "pending", APP)
    assert said.rstrip().endswith(f"intent-ctl answer {APP} {str(one['shown'])[:32]} net=deny notes=deny")
    command = said.rstrip().splitlines()[-1].strip().replace("net=deny", "net=allow").split()
    control.done(home, *command[1:])
    assert starting.got(home.says(LOOK)) == {"net"} and waiting(home) == []


def test_prompt_flooding(home: world.World) -> None:
    """However often and in whatever state an app is started, it has one question, and the journal does not grow."""
    for serial in range(2, 5):
        home.install(starting.manifest({"net": starting.NETWORK}, serial=serial))
        for _ in range(3):
            home.start("true")
    assert len(starting.events(home, What.PENDING)) == 1 and len(waiting(home)) == 1
    home.install(starting.manifest(serial=5))
    for _ in range(3):
        home.start("true")
    assert len(starting.events(home, What.PENDING)) == 2, "something else is asked"
    (one,) = waiting(home)
    assert [each["intent"] for each in one["request"]["questions"]] == ["net", "notes"]  # type: ignore[index]


def test_less_than_asked_is_given_by_number(home: world.World) -> None:
    home.start("true")
    (one,) = waiting(home)
    (notes,) = [each for each in one["request"]["questions"] if each["intent"] == "notes"]  # type: ignore[index]
    assert notes["narrower"][0]["scopes"] == [{"kind": "path", "place": "home/Notes", "access": "read"}]
    control.done(home, "answer", APP, shown(home), "net=deny", "notes=1", "--for", "forever")
    assert "old notes" in home.says("cat ~/Notes/old")
    assert home.start("echo kept >~/Notes/new").returncode != 0 and not (home.home / "Notes" / "new").exists()


def test_answers_as_json_are_those_of_the_protocol(home: world.World) -> None:
    home.start("true")
    (one,) = waiting(home)
    given = json.dumps(serving.answers(one["request"], model.Effect.ALLOW, model.Lifespan.SESSION))
    done = subprocess.run(
        serving.argv(home, "answer", APP, str(one["shown"]), "-", "--json"),
        env=home.environ, input=given, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["answers"] == json.loads(given)
    assert starting.got(home.says(LOOK)) == {"net", "notes"}


def test_a_question_changes_under_the_answer(home: world.World) -> None:
    home.start("true")
    before = shown(home)
    home.install(starting.manifest({**starting.BOTH, "names": {"kind": "dns", "scope": "any"}}, serial=2))
    assert control.code(home, "answer", APP, before, "net=allow", "notes=allow") == "question-changed"
    assert control.code(home, "answer", APP, "0" * 64, "net=allow") == "question-changed"
    assert starting.events(home, What.DECISION) == []


def test_an_update_leaves_the_question_of_what_is_new(home: world.World) -> None:
    home.decide("notes")
    home.start("true")
    (one,) = waiting(home)
    assert [each["intent"] for each in one["request"]["questions"]] == ["net"]  # type: ignore[index]
    control.done(home, "grant", APP, "net")
    assert waiting(home) == []


def test_a_question_stays_in_the_queue_until_all_of_it_is_decided(home: world.World) -> None:
    home.start("true")
    control.done(home, "grant", APP, "net")
    (one,) = waiting(home)
    assert [each["intent"] for each in one["request"]["questions"]] == ["notes"]  # type: ignore[index]
    control.done(home, "forget", APP)
    assert waiting(home) == [], "it was never started since"


def test_a_new_publisher_is_agreed_to_by_the_answer() -> None:
    with starting.home(pinned=False) as home:
        assert home.start("true").returncode == 126
        (one,) = waiting(home)
        assert control.code(home, "answer", APP, str(one["shown"]), "net=allow", "notes=deny") == "not-confirmed"
        said = control.done(home, "answer", APP, str(one["shown"]), "net=allow", "notes=deny", "--confirm", "net")
        assert control.fingerprint(control.OTHER_KEY) in said
        assert starting.got(home.says(LOOK)) == {"net"}


def test_what_is_unsigned_is_not_queued(home: world.World) -> None:
    control.publish(home, starting.manifest(serial=3), None)
    assert home.start("true", options=["--unsigned"]).returncode == 0
    assert starting.events(home, What.PENDING) == [] and waiting(home) == []


def test_a_journal_that_cannot_be_written_does_not_stop_a_start(home: world.World) -> None:
    full = """
from broker import answers
from intents import errors
def queue(*_):
    raise errors.JournalError("journal-unwritable", "it is full")
answers.queue = queue
"""
    done = home.start(LOOK, removed=full)
    assert done.returncode == 0 and b"what it asks is not in the queue: it is full" in done.stderr


def test_what_the_administrator_locked_is_not_asked_and_not_answered(home: world.World) -> None:
    home.start("true")
    before = shown(home)
    ruled.write(home, ruled.rule("network", "deny", reason="No network here."))
    with ruled.here(home):
        (one,) = waiting(home, APP)
        assert [each["intent"] for each in one["request"]["questions"]] == ["notes"]  # type: ignore[index]
        assert control.code(home, "answer", APP, before, "net=allow", "notes=deny") == "question-changed"
        assert control.code(home, "answer", APP, shown(home), "net=allow", "notes=deny") == "locked-by-policy"
    with serving.served(home, removed=ruled.prelude(home)), serving.connected(home) as broker:
        (told,) = serving.questions(broker)
        assert told == {key: one[key] for key in ("question", "shown", "request")}
        given = [*serving.answers(told["request"]), {"intent": "net", "effect": "allow", "span": "forever"}]
        given[1] |= {"seconds": 0, "scopes": None}
        with pytest.raises(errors.DecisionError) as caught:
            broker.call("answer", question=told["question"], shown=told["shown"], answers=given)
    assert caught.value.code == "locked-by-policy" and starting.events(home, What.DECISION) == []


# Several answers to one question


def test_two_sessions_answering_at_once(home: world.World) -> None:
    """Of many answers that come at the same time one is stored, whole, and every other is told."""
    home.start("true")
    hash_ = shown(home)
    verdicts = ["net=allow notes=deny", "net=deny notes=allow"]

    def work(number: int) -> bytes:
        status, _, said = control.run(home, "answer", APP, hash_, *verdicts[number % 2].split())
        return f"{status} {said}".encode()

    told = scene.crowd(work, 8)
    won = [number for number, said in enumerate(told) if said.startswith(b"0")]
    lost = [said for said in told if not said.startswith(b"0")]
    assert len(won) == 1 and len(lost) == 7 and all(b"[question-gone]" in said for said in lost), told
    stored = {d.intent_id: "deny" if d.granted is None else "allow" for d in control.decisions(home)}
    assert stored == dict(word.split("=") for word in verdicts[won[0] % 2].split())
    assert len(starting.events(home, What.DECISION)) == 2


def test_without_looking_again_both_would_count(home: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    home.start("true")
    with home.here():
        one = pending.find(known.here(home.environ, typed=False), APP)
        assert one is not None
        asked, forever = one.asked, model.Lifespan.FOREVER
        given = [prompts.answer(each, model.Effect.DENY, forever) for each in asked.request.questions]
        answers.keep(asked, given, source="command")
        with pytest.raises(errors.RefusedError, match="nothing is open"):
            answers.keep(asked, given, source="command")
        monkeypatch.setattr(answers, "check", lambda *_: None)
        answers.keep(asked, given, source="command")
    assert len(starting.events(home, What.DECISION)) == 4


LATE = """
from broker.ui import tty
tty._LOOK = 1e6
"""


def test_prompt_answered_after_it_became_moot(home: world.World) -> None:
    """A question on a terminal closes by itself when somebody else answers it, and leaves the terminal as it was."""
    with starting.start(home, LOOK) as begun:
        begun.settle()
        control.done(home, "answer", APP, shown(home), "net=deny", "notes=allow")
        said = begun.ends(126)
    assert "Example was not started: its question was answered elsewhere meanwhile [question-gone]" in said
    assert len(starting.events(home, What.DECISION)) == 2 and starting.events(home, What.PENDING) == []
    assert starting.got(starting.quietly(home, LOOK)) == {"notes"}


def test_a_plain_question_closes_by_itself_as_well(home: world.World) -> None:
    with starting.start(home, LOOK, environ={"INTENT_UI": "plain"}) as begun:
        begun.until(lambda: "Type no" in begun.shown)
        control.done(home, "answer", APP, shown(home), "net=deny", "notes=allow")
        assert begun.wait() == 126 and "[question-gone]" in begun.shown
    assert len(starting.events(home, What.DECISION)) == 2 and starting.events(home, What.PENDING) == []


@pytest.mark.parametrize("change", [("answer", "net=deny", "notes=allow"), ("grant", "net")])
def test_a_late_answer_at_the_prompt_is_refused(home: world.World, change: tuple[str, ...]) -> None:
    """A prompt that does not notice still stores nothing: what it answers is not what is open."""
    with starting.start(home, LOOK, removed=LATE) as begun:
        begun.choose(NET_TITLE, "ALLOW always")
        words = change if change[0] == "grant" else (change[0], shown(home), *change[1:])
        control.done(home, words[0], APP, *words[1:])
        before = starting.events(home, What.DECISION)
        begun.finish("s")
        said = begun.ends(126)
    assert ("[question-gone]" if change[0] == "answer" else "[question-changed]") in said
    assert starting.events(home, What.DECISION) == before


def test_a_forgotten_prompt_holds_up_no_answer(home: world.World) -> None:
    """Whoever is asked somewhere keeps others from being asked, and nobody from answering."""
    with starting.start(home, LOOK, removed=LATE) as begun:
        begun.settle()
        with starting.start(home, LOOK) as second:
            second.until(lambda: "is being answered" in second.shown)
            control.done(home, "answer", APP, shown(home), "net=deny", "notes=allow")
            begun.finish("l")
            assert starting.got(second.ends(0)) == {"notes"}
        assert "[question-gone]" in begun.ends(126)
    assert starting.events(home, What.PENDING) == []
