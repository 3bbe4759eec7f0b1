"""The view of all permissions without a terminal: what keys do, what is asked of the broker, what stands on a page."""

import dataclasses
from collections.abc import Mapping, Sequence

import pytest

from broker.ui import browse, browse_words, keys, wording
from intents import errors
from tests import handshake

View = browse.View
WORD = "kestrel"
OFFERS = [
    {"offer": "deny", "scopes": [], "title": "nothing", "allows": "", "risk": "low", "spans": ["session", "forever"],
     "usual": "forever", "chosen": False},
    {"offer": "less-1", "scopes": [{"kind": "path"}], "title": "~/Notes", "allows": "It can read.", "risk": "normal",
     "spans": ["session", "until", "forever"], "usual": "forever", "chosen": True},
    {"offer": "allow", "scopes": [{"kind": "path"}], "title": "~/Notes", "allows": "It can write.", "risk": "critical",
     "spans": ["session", "until", "forever"], "usual": "session", "chosen": False},
]  # fmt: skip
INTENT = {
    "intent": "notes", "state": "partly", "because": "you allowed part of it always", "granted": [{"kind": "path"}],
    "allows": ["It can read."], "notes": [], "risk": "critical", "optional": True, "withheld": None, "reason": "Read.",
    "locked": False, "rules": [{"locked": True, "reason": "Because."}],
    "if_denied": "", "decisions": [{"span": "forever", "until": None, "at": 1}],
}  # fmt: skip
APP = {
    "app": "org.example.App", "name": "Example", "version": "1", "trust": "pinned", "running": [], "last_used": 1,
    "trouble": None, "would_not_start": None, "intents": [INTENT, {**INTENT, "intent": "net"}], "together": [],
    "unused": [], "uses": {"starts": 2, "intents": [{"intent": "notes", "starts": 1, "without": 1, "last": 9}],
                           "refused": [{"what": "audio record", "starts": 1, "last": 9}]},
    "recent": [{"seq": 3, "at": 1, "what": "decision", "app": "org.example.App", "words": "allowed"}],
    "offers": {"notes": {"shown": "hash", "offers": OFFERS}},
}  # fmt: skip
ROW = {
    "app": "org.example.App", "name": "Example", "lineage": "0", "current": True, "allowed": ["notes"], "partly": [],
    "denied": [], "open": ["net"], "unanswered": 1, "running": 0, "last_used": None, "trouble": None,
}  # fmt: skip
WHO = {"app": "org.example.App", "intent": "notes", "state": "allowed", "span": "forever", "until": None, "since": 1,
       "risk": "high"}  # fmt: skip
UNDONE = {
    "app": "org.example.App", "undone": [3, 4], "words": ["denied notes"],
    "changes": [{"intent": "notes", "before": "denied", "after": "allowed", "risk": "high", "more": True}],
}  # fmt: skip
KINDS = [{"kind": kind, "allowed": 1, "partly": 0, "denied": 0, "open": 0} for kind in ("network", "path")]
EVENTS = [{"seq": n, "at": n, "what": "decision", "app": "a", "words": f"event {n}"} for n in (5, 4)]
SAYS: Mapping[str, Mapping[str, object]] = {
    "apps": {"waiting": ["org.example.App"], "apps": [ROW, {**ROW, "app": "org.example.Other", "name": None}]},
    "app": APP,
    "kinds": {"kinds": KINDS},
    "who": {"apps": [WHO]},
    "history": {"events": EVENTS},
    "undo": UNDONE,
    "change": {"withheld": None, "running": []},
}


def pick(words: Sequence[str]) -> str:
    assert WORD in words
    return WORD


class User:
    """Somebody who presses keys, and a broker that always says the same."""

    def __init__(self, **says: object) -> None:
        self.says = {**SAYS, **says}
        self.asked: list[browse.Want] = []
        self.state = browse.State()
        self.answer()

    def answer(self) -> None:
        while want := browse.wanted(self.state):
            self.asked.append(want)
            said = self.says[want.method]
            if isinstance(said, errors.IntentError):
                self.state = browse.failed(self.state, want, said)
            else:
                self.state = browse.told(self.state, want, said)  # type: ignore[arg-type]

    def press(self, *pressed: str) -> browse.State:
        for key in pressed:
            if key in ("down", "up"):
                self.state = browse.move(self.state, 1 if key == "down" else -1)
            else:
                self.state = browse.press(self.state, key, pick)
            self.answer()
        return self.state

    @property
    def acts(self) -> list[browse.Want]:
        return [want for want in self.asked if want.acts]

    def shows(self, **page: object) -> str:
        found = wording.Page(width=79, **page)  # type: ignore[arg-type]
        lines = (*browse_words.lines(self.state, found, lambda at: f"DAY{at}"), *browse_words.footer(self.state, found))
        assert all(wording.cells(line.text) <= found.width for line in lines)
        return "\n".join(line.text for line in lines)


def test_pages_lead_down_and_back() -> None:
    user = User()
    views = []
    for key in ("\r", "\r", "q", "q", "\t", "down", "\r", "\r", "q", "q", "h", "q", "q"):
        views.append(user.press(key).page.view)
    assert views == [
        View.APP, View.INTENT, View.APP, View.APPS, View.KINDS, View.KINDS, View.KIND, View.INTENT, View.KIND,
        View.KINDS, View.HISTORY, View.KINDS, View.KINDS,
    ]  # fmt: skip
    assert user.state.done
    assert user.acts == []
    assert [want.values for want in user.asked if want.method == "who"] == [{"kind": "path"}] * 2


def test_the_cursor_is_on_what_holds_and_space_alone_changes_it() -> None:
    user = User()
    user.press("\r", "\r")
    assert user.state.row is not None and user.state.row["offer"] == "less-1"
    assert user.press("\r").notice and user.acts == []
    user.press("up", " ")
    (want,) = user.acts
    assert (want.method, want.values) == (
        "change",
        {"app": "org.example.App", "intent": "notes", "offer": "deny", "span": "forever", "shown": "hash",
         "sure": False},
    )  # fmt: skip
    assert user.state.page.view is View.INTENT and "takes it back" in user.state.notice


def test_how_long_is_one_of_those_on_offer() -> None:
    user = User()
    user.press("\r", "\r", "t", " ")
    assert user.acts[-1].values["span"] == "session"
    user.press("t", "t", " ")
    assert user.acts[-1].values["span"] == "until"


@pytest.mark.parametrize("typed", ["", "kestre", "y", "\r", " ", "kestrelkestrelkestrel", "KESTREL"])
def test_what_is_critical_takes_the_whole_word(typed: str) -> None:
    user = User()
    user.press("\r", "\r", "down", " ")
    assert user.state.page.view is View.WORD
    assert WORD in user.shows() and "It can write." in user.shows()
    if not typed.startswith(WORD):
        user.press(*typed)
        assert user.acts == [], typed
        user.press(keys.ESCAPE)
        assert user.state.page.view is View.INTENT and user.acts == []
    else:
        user.press(*WORD)
        assert [(want.method, want.values["sure"], want.values["offer"]) for want in user.acts] == [
            ("change", True, "allow")
        ]


def test_undoing_says_first_what_it_does() -> None:
    user = User()
    user.press("u")
    assert user.state.page.view is View.UNDO and user.acts == []
    assert user.asked[-1].values == {"which": None, "dry": True}
    assert "notes is denied, and would be allowed (HIGH risk)." in user.shows()
    user.press("q")
    assert user.state.page.view is View.APPS and user.acts == []
    user.press("\r", "u", " ")
    dry = [want.values["which"] for want in user.asked if want.values.get("dry")]
    assert dry == [None, "org.example.App"], "on the page of an app it is about that app"
    assert [want.values for want in user.acts] == [{"which": "3", "sure": False}], "that which was shown"
    assert user.state.page.view is View.APP


def test_undoing_what_gives_back_something_critical_takes_the_word() -> None:
    user = User(undo={**UNDONE, "changes": [{**UNDONE["changes"][0], "risk": "critical"}]})  # type: ignore[index, dict-item]
    user.press("u", " ")
    assert user.state.page.view is View.WORD and user.acts == []
    user.press(*WORD)
    assert [want.values for want in user.acts] == [{"which": "3", "sure": True}]


def test_an_event_of_the_history_is_undone() -> None:
    user = User()
    user.press("h", "down", "u")
    assert user.asked[-1].values == {"which": "4", "dry": True}


def test_uses_and_refusals_are_told() -> None:
    user = User()
    assert "Questions wait for an answer: org.example.App." in user.shows()
    user.press("\r")
    assert 'It tried, and did not get: "audio record"' in user.shows()
    user.press("\r")
    assert "1 of its starts had it, the last one on DAY9." in user.shows()
    user.press("q", "down", "\r")
    assert "None of its 2 starts had it." in user.shows()


def test_a_search_narrows_the_list() -> None:
    user = User()
    user.press("/", *"other")
    assert [row["app"] for row in user.state.rows] == ["org.example.Other"]
    assert user.press("q").search == "otherq", "a letter is text while one searches"
    user.press("\x7f", "\r")
    assert not user.state.searching
    user.press("\r")
    assert user.state.page.app == "org.example.Other"
    user.press("q", "/", *"zzz", "\r", "\r", " ", "t", "down")
    assert user.state.page.view is View.APPS and "Nothing is found." in user.shows()
    user.press("q")
    assert len(user.state.rows) == 2 and not user.state.done


def test_what_the_broker_refuses_changes_nothing_and_is_said() -> None:
    refused = errors.DecisionError("not-confirmed", "it asks something else now")
    user = User(change=refused)
    user.press("\r", "\r", " ")
    assert user.state.notice == "it asks something else now" and user.state.page.view is View.INTENT
    user = User(undo=errors.DecisionError("nothing-to-undo", "no decision counts"))
    user.press("u")
    assert (user.state.page.view, user.state.notice) == (View.APPS, "no decision counts")
    user = User(apps=errors.JournalError("journal-corrupt", "it is damaged"))
    assert user.state.notice == "it is damaged" and not user.state.done
    user.press("\r", " ", "\t", "q", "q")
    assert user.state.done


PATHS = [(), ("\r",), ("\r", "\r"), ("\t",), ("\t", "\r"), ("h",), ("u",), ("\r", "\r", "down", " ")]
# What the broker chooses from a list, or never lets an app choose freely.
SAFE = {"state", "risk", "span", "usual", "spans", "offer", "kind", "trust", "before", "after", "app", "intent"}


@pytest.mark.parametrize("start", [*PATHS, ("/",)])
def test_closing_ends_it_everywhere_and_changes_nothing(start: tuple[str, ...]) -> None:
    user = User()
    assert user.press(*start, keys.CLOSE).done
    assert user.acts == []


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("width", [39, 79])
def test_nothing_an_app_says_leaves_its_place(path: tuple[str, ...], width: int) -> None:
    def spoilt(value: object) -> object:
        if isinstance(value, dict):
            return {key: each if key in SAFE else spoilt(each) for key, each in value.items()}
        if isinstance(value, list):
            return [spoilt(each) for each in value]
        return value + handshake.ESCAPES if isinstance(value, str) else value

    user = User()
    user.says = {method: spoilt(said) for method, said in user.says.items()}
    user.state = browse.State()
    user.answer()
    user.press(*path)
    page = wording.Page(width=width)
    lines = (*browse_words.lines(user.state, page, str), *browse_words.footer(user.state, page))
    for line in lines:
        assert wording.cells(line.text) <= width
        assert line.text.startswith("│ ") or line.text.strip() == "│"
        assert not set(line.text[1:]) & {"\x1b", "\u202e", "\u200b", "\r", "\n", "\t", "\x9b", "│", "█"}


def test_ascii_where_nothing_else_can_be_drawn() -> None:
    user = User(apps={"apps": [{**ROW, "name": "Größe"}]})
    assert user.shows(ascii=True, margin="| ").isascii()


def test_a_state_is_not_changed_in_place() -> None:
    state = browse.State()
    browse.press(state, "\t", pick)
    assert state == browse.State() and dataclasses.is_dataclass(state)
