"""The questions in plain lines on a real terminal: whole words answer, and nothing else does (SPEC §8.4)."""

import os
import signal
from collections.abc import Iterator

import pytest
import wcwidth

from tests import handshake
from tests.real import asking, terminal

pytestmark = pytest.mark.real

NO_ANSWER_YET = "That is no answer yet."
DENIED = dict.fromkeys(("rates", "sheets", "window"), "deny forever")


class Opened:
    """The terminals of one test."""

    def __init__(self) -> None:
        self.terminals: list[asking.Asked] = []

    def __call__(self, request: str, **options: object) -> asking.Asked:
        self.terminals.append(asking.Asked("plain", request, **options))  # type: ignore[arg-type]
        return self.terminals[-1]


@pytest.fixture
def ask() -> Iterator[Opened]:
    opened = Opened()
    yield opened
    for each in opened.terminals:
        each.close()


def prompted(asked: asking.Asked) -> None:
    """Wait for the mark that says typing counts."""
    asked.until(lambda: asked.shown.endswith("> "), "nobody asks")


def say(asked: asking.Asked, *lines: str) -> None:
    for line in lines:
        prompted(asked)
        asked.send(f"{line}\n")
        asked.until(lambda: not asked.shown.endswith("> "))


@pytest.mark.parametrize("account", terminal.accounts())
def test_whole_words_answer(ask: Opened, account: str) -> None:
    asked = ask("first", account=account)
    say(asked, "hours", " Once ", "always")
    assert asked.answers() == {"rates": "allow until", "sheets": "allow once", "window": "allow forever"}
    assert asked.modes() == asked.before
    assert "change it: intent-ctl show org.example.Calculator" in asked.shown


def test_the_question_is_the_reviewed_text(ask: Opened) -> None:
    asked = ask("first")
    prompted(asked)
    assert "Question 1 of 3, HIGH risk, optional: whole network\r\n" in asked.shown
    assert 'app says "Download current exchange rates."\r\n' in asked.shown
    assert "Type no, once, session, hours, always, help or later, then Enter.\r\n> " in asked.shown


@pytest.mark.parametrize(
    "typed", ["", "y", "yes", "a", "s", "Y", "ok", "alway", "always always", "start", "\x1b[?62;22calways",
              "\x1b[200~always\x1b[201~", "always\nalways", "no\n\n\n"],
)  # fmt: skip
def test_anything_else_answers_nothing(ask: Opened, typed: str) -> None:
    asked = ask("first")
    say(asked, typed)
    asked.until(lambda: NO_ANSWER_YET in asked.shown)
    say(asked, "no", "no", "no")
    assert asked.answers() == DENIED


def test_what_is_typed_ahead_is_dropped(ask: Opened) -> None:
    asked = ask("first")
    asked.send("always\n")  # the program has hardly started
    say(asked, "no", "no", "no")
    assert asked.answers() == DENIED


def test_no_answer_is_read_before_the_mark(ask: Opened) -> None:
    asked = ask("first", settle=asking.NEVER)
    asked.until(lambda: "Type no" in asked.shown)
    asked.hand("always\n")
    asked.hand("always\n")
    asked.send("\x03")
    assert asked.answers() is None
    assert "> " not in asked.shown and asked.shown.count("always") == 1  # what was typed is not even echoed
    assert asked.modes() == asked.before


def test_what_is_typed_before_the_next_mark_is_dropped(ask: Opened) -> None:
    asked = ask("first")
    say(asked, "session")
    asked.until(lambda: "Question 2 of 3" in asked.shown)
    asked.send("always")  # no Enter: it would stand before the next word
    while asked.process.poll() is None:
        asked.until(lambda: asked.shown.endswith("> ") or asked.process.poll() is not None)
        asked.send("no\n" * (asked.process.poll() is None))
        asked.until(lambda: not asked.shown.endswith("> ") or asked.process.poll() is not None)
    assert asked.answers() == {**DENIED, "rates": "allow session"}


def test_help_says_more_and_asks_again(ask: Opened) -> None:
    asked = ask("first")
    say(asked, "help", "no", "no", "no")
    assert asked.answers() == DENIED
    assert "intent-ctl grant org.example.Calculator rates" in asked.shown


def test_what_is_critical_takes_a_second_word(ask: Opened) -> None:
    asked = ask("critical")
    say(asked, "always")
    asked.until(lambda: asked.shown.count(NO_ANSWER_YET) == 1)
    say(asked, "once", "once")
    asked.until(lambda: asked.shown.count(NO_ANSWER_YET) == 2)
    say(asked, "session", asking.WORD, "no")
    assert asked.answers() == {"screen": "allow session", "rates": "deny forever"}


@pytest.mark.parametrize("line", ["later\n", "\x04", "\x03"])
@pytest.mark.parametrize("answered", [0, 1])
def test_closing_is_no_answer(ask: Opened, line: str, answered: int) -> None:
    asked = ask("first")
    say(asked, *["always"] * answered)
    prompted(asked)
    asked.send(line)
    assert asked.answers() is None
    assert asked.modes() == asked.before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
@pytest.mark.parametrize("settle", [asking.SOON, asking.NEVER])
def test_a_signal_is_no_answer_and_leaves_the_terminal_as_it_was(
    ask: Opened, number: signal.Signals, settle: float
) -> None:
    asked = ask("first", settle=settle)
    asked.until(lambda: "Type no" in asked.shown)
    if settle == asking.SOON:
        prompted(asked)
    os.kill(asked.process.pid, number)
    assert asked.answers() is None
    assert asked.modes() == asked.before


@pytest.mark.parametrize("shell", ["", 'trap "" HUP; exec "$0" "$@"'], ids=["hang-up", "hang-up ignored"])
def test_a_lost_terminal_is_no_answer(ask: Opened, shell: str) -> None:
    asked = ask("first", shell=shell)
    prompted(asked)
    asked.hang_up()
    assert asked.process.wait(terminal.PATIENCE) == asking.NO_ANSWER


@pytest.mark.parametrize("columns", [30, 80])
@pytest.mark.parametrize("request_name", ["hostile", "long", "first"])
def test_there_is_no_escape_sequence_at_all_and_every_line_fits(
    ask: Opened, request_name: str, columns: int
) -> None:
    asked = ask(request_name, size=(24, columns))
    questions = handshake.REQUESTS[request_name]().questions
    say(asked, "help", *["no"] * len(questions))
    answers = asked.answers()
    assert answers is not None and len(answers) == len(questions)
    assert not {"\x1b", "\x9b", "\x07", "\u202e", "\u200b", "│"} & set(asked.shown)
    own = asked.shown.partition("ANSWERS")[0]
    assert max(map(wcwidth.wcswidth, own.split("\r\n"))) < columns


def test_an_app_that_asks_for_nothing_is_started_by_a_word(ask: Opened) -> None:
    asked = ask("nothing")
    say(asked, "yes", "start")
    assert asked.answers() == {}
    asked = ask("nothing")
    say(asked, "later")
    assert asked.answers() is None


def test_a_job_in_the_background_does_not_ask(ask: Opened) -> None:
    asked = ask("first", shell='set -m; "$0" "$@" & wait $!')
    assert asked.wait() == asking.NO_ANSWER
    assert "Calculator" not in asked.shown


def test_questions_and_answers_are_in_the_users_language(ask: Opened) -> None:
    asked = ask("first", locale="de_DE.UTF-8")
    say(asked, "stunden", "always", "nein")
    assert asked.answers() == {"rates": "allow until", "sheets": "allow forever", "window": "deny forever"}
    assert "Frage 1 von 3, HOHES Risiko" in asked.shown
    assert 'App sagt "Download current exchange rates."' in asked.shown, "an app speaks as it does"
