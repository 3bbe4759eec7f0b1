"""The view of all permissions: where the user is in it, and what each key does. Pure: a state and a key give the next.

What is shown came from the broker as JSON values; ``wanted`` says which request to it comes next, and whoever runs the
view makes it. Nothing is decided here: offers, lifespans and risks are the broker's (docs/protocol.md).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any

from broker.ui import keys, sheet
from intents import errors

Data = Mapping[str, Any]
Pick = Callable[[Sequence[str]], str]
_MOST_TYPED = 40
_AT_CHOSEN = -1  # where the cursor goes once the offers are known: what holds now
SUSPEND = "\x1a"  # ^Z, for whoever runs the view


class View(Enum):
    """What a page shows."""

    APPS = auto()
    KINDS = auto()
    APP = auto()
    KIND = auto()
    INTENT = auto()
    HISTORY = auto()
    UNDO = auto()
    WORD = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page and what it is about. event: what would be undone, as ``undo`` has it; act: what a typed word lets
    happen, and warning what that is."""

    view: View
    app: str = ""
    intent: str = ""
    kind: str = ""
    event: str = ""
    act: "Want | None" = None
    warning: str = ""
    cursor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """A request to the broker: to see something, or (``acts``) to change something."""

    method: str
    values: Data
    acts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The view at one moment. trail: the pages that lead here, of which the last one is shown; data: what the broker
    said for it, None before; spans: for how long each offer would hold; act: a change that is to be made now."""

    trail: tuple[Page, ...] = (Page(view=View.APPS),)
    data: Data | None = None
    spans: Mapping[str, str] = field(default_factory=dict)
    search: str = ""
    searching: bool = False
    word: str = ""
    typed: str = ""
    notice: str = ""
    act: Want | None = None
    done: bool = False

    @property
    def page(self) -> Page:
        """The page that is shown."""
        return self.trail[-1]

    @property
    def rows(self) -> list[Data]:
        """What the cursor can stand on."""
        found = _rows(self.page, self.data or {})
        lists = self.page.view in (View.APPS, View.KINDS, View.KIND, View.HISTORY)
        return [row for row in found if self.search.casefold() in _said(row)] if lists and self.search else found

    @property
    def row(self) -> Data | None:
        """The row under the cursor."""
        rows = self.rows
        return rows[self.page.cursor] if self.page.cursor in range(len(rows)) else None

    @property
    def writes(self) -> bool:
        """Whether letters are typed text here."""
        return self.searching or self.page.view is View.WORD

    def offers(self) -> Data:
        """What the broker offers about the intent of the page: ``shown`` and ``offers``."""
        offered = (self.data or {}).get("offers", {}).get(self.page.intent)
        return offered if offered is not None else {"shown": "", "offers": []}

    def span(self, offer: Data) -> str:
        """How long an offer would hold."""
        return self.spans.get(offer["offer"], offer["usual"])


def wanted(state: State) -> Want | None:
    """The request that comes before the next key."""
    if state.act is not None:
        return state.act
    if state.data is not None:
        return None
    page = state.page
    match page.view:
        case View.APPS:
            return Want(method="apps", values={})
        case View.KINDS:
            return Want(method="kinds", values={})
        case View.APP | View.INTENT:
            return Want(method="app", values={"app": page.app})
        case View.KIND:
            return Want(method="who", values={"kind": page.kind})
        case View.HISTORY:
            return Want(method="history", values={})
        case View.UNDO:
            return Want(method="undo", values={"which": page.event or None, "dry": True})
        case View.WORD:
            return None


def told(state: State, want: Want, result: Data) -> State:
    """The state after the broker's answer."""
    if not want.acts:
        shown = replace(state, data=result)
        page, last = shown.page, max(0, len(shown.rows) - 1)
        cursor = page.cursor if page.cursor >= 0 else _chosen(shown.rows)
        return _at(shown, replace(page, cursor=min(cursor, last)))
    notice = "Undone; u undoes more." if want.method == "undo" else "Done; u takes it back."
    if result.get("withheld"):
        notice = f"Done, but not given for now: {result['withheld']}."
    elif result.get("running"):
        notice = "Done. What runs already keeps what it has until it ends."
    trail = tuple(page for page in state.trail if page.view not in (View.WORD, View.UNDO))
    return replace(state, trail=trail, data=None, act=None, spans={}, notice=notice)


def failed(state: State, want: Want, error: errors.IntentError) -> State:
    """The state after the broker refused: nothing was changed; the page is read anew, or left where it cannot be."""
    notice = error.message
    if want.acts:
        trail = tuple(page for page in state.trail if page.view is not View.WORD)
        return replace(state, trail=trail, data=None, act=None, notice=notice)
    if len(state.trail) == 1:
        return replace(state, data={}, notice=notice)
    return replace(_back(state), notice=notice)


def press(state: State, key: str, pick: Pick) -> State:
    """The view after one key (a character, or a name of ``keys``); ``pick`` draws one of ``sheet.WORDS``."""
    if key == keys.CLOSE:
        return replace(state, done=True)
    state = replace(state, notice="")
    if state.searching:
        return _search(state, key)
    if state.page.view is View.WORD:
        return _word(state, key)
    match key:
        case "q" | keys.ESCAPE | "\x7f" | "\b":
            return _back(state)
        case "\r" | "\n":
            return _enter(state)
        case "\t":
            return _other(state)
        case "/" if state.page.view in (View.APPS, View.KINDS, View.KIND, View.HISTORY):
            return replace(state, searching=True)
        case " ":
            return _take(state, pick)
        case "t" if state.page.view is View.INTENT:
            return _longer(state)
        case "u" if state.page.view is not View.UNDO:
            return _undo(state)
        case "h" if state.page.view is not View.HISTORY:
            return _go(state, Page(view=View.HISTORY))
    return state


def move(state: State, step: int) -> State:
    """The cursor on the next row or the one before it; the same state where there is none."""
    cursor = state.page.cursor + step
    if cursor not in range(len(state.rows)):
        return state
    return replace(_at(state, replace(state.page, cursor=cursor)), notice="")


def _rows(page: Page, data: Data) -> list[Data]:
    match page.view:
        case View.APPS | View.KIND:
            return list(data.get("apps", []))
        case View.KINDS:
            return list(data.get("kinds", []))
        case View.APP:
            return list(data.get("intents", []))
        case View.INTENT:
            offered = data.get("offers", {}).get(page.intent)
            return list(offered["offers"]) if offered else []
        case View.HISTORY:
            return list(data.get("events", []))
        case View.UNDO | View.WORD:
            return []


def _chosen(rows: Sequence[Data]) -> int:
    return next((index for index, row in enumerate(rows) if row.get("chosen")), 0)


def _said(row: Data) -> str:
    """What a search looks at: the texts and numbers of a row."""
    return " ".join(str(value) for value in row.values() if isinstance(value, str | int)).casefold()


def _at(state: State, page: Page) -> State:
    return replace(state, trail=(*state.trail[:-1], page))


def _go(state: State, page: Page) -> State:
    return replace(state, trail=(*state.trail, page), data=None, search="", spans={})


def _back(state: State) -> State:
    if state.search:
        return _at(replace(state, search=""), replace(state.page, cursor=0))
    if len(state.trail) == 1:
        return replace(state, done=True)
    return replace(state, trail=state.trail[:-1], data=None, spans={}, word="", typed="")


def _enter(state: State) -> State:
    row = state.row
    if row is None:
        return state
    match state.page.view:
        case View.APPS:
            return _go(state, Page(view=View.APP, app=row["app"]))
        case View.KINDS:
            return _go(state, Page(view=View.KIND, kind=row["kind"]))
        case View.APP:
            return _go(state, Page(view=View.INTENT, app=state.page.app, intent=row["intent"], cursor=_AT_CHOSEN))
        case View.KIND:
            return _go(state, Page(view=View.INTENT, app=row["app"], intent=row["intent"], cursor=_AT_CHOSEN))
        case View.INTENT:
            return replace(state, notice="The space bar chooses; Enter never does.")
        case _:
            return state


def _other(state: State) -> State:
    """From the apps to the kinds, and the other way."""
    if state.page.view not in (View.APPS, View.KINDS):
        return state
    other = View.KINDS if state.page.view is View.APPS else View.APPS
    return replace(state, trail=(Page(view=other),), data=None, search="")


def _search(state: State, key: str) -> State:
    first = _at(state, replace(state.page, cursor=0))
    match key:
        case "\r" | "\n":
            return replace(state, searching=False)
        case keys.ESCAPE:
            return replace(first, searching=False, search="")
        case "\x7f" | "\b":
            return replace(first, search=state.search[:-1])
    if len(key) == 1 and key.isprintable() and len(state.search) < _MOST_TYPED:
        return replace(first, search=state.search + key)
    return state


def _take(state: State, pick: Pick) -> State:
    page = state.page
    if page.view is View.UNDO and state.data:
        want = Want(method="undo", values={"which": str(state.data["undone"][0]), "sure": False}, acts=True)
        loud = [each for each in state.data["changes"] if each["more"] and each["risk"] == "critical"]
        warning = f"{state.data['app']} would get back what is critical: {', '.join(each['intent'] for each in loud)}."
        return _sure(state, want, warning, pick) if loud else replace(state, act=want)
    offer = state.row
    if page.view is not View.INTENT or offer is None:
        return state
    values = {
        "app": page.app,
        "intent": page.intent,
        "offer": offer["offer"],
        "span": state.span(offer),
        "shown": state.offers()["shown"],
        "sure": False,
    }
    want = Want(method="change", values=values, acts=True)
    if offer["risk"] == "critical":
        return _sure(state, want, offer["allows"], pick)
    return replace(state, act=want)


def _sure(state: State, want: Want, warning: str, pick: Pick) -> State:
    """Ask for a word before anything critical; the page below keeps what it shows."""
    sure = replace(want, values={**want.values, "sure": True})
    page = Page(view=View.WORD, act=sure, warning=warning)
    return replace(state, trail=(*state.trail, page), word=pick(sheet.WORDS), typed="")


def _word(state: State, key: str) -> State:
    if key == keys.ESCAPE:
        return replace(state, trail=state.trail[:-1], word="", typed="")
    if key in ("\x7f", "\b"):
        return replace(state, typed=state.typed[:-1])
    if not ("a" <= key <= "z") or len(key) > 1 or len(state.typed) >= 2 * len(state.word):
        return state
    typed = state.typed + key
    if typed == state.word:
        return replace(state, act=state.page.act, word="", typed="")
    return replace(state, typed=typed)


def _longer(state: State) -> State:
    """The next lifespan for the offer under the cursor."""
    offer = state.row
    if offer is None:
        return state
    spans = list(offer["spans"])
    span = spans[(spans.index(state.span(offer)) + 1) % len(spans)]
    return replace(state, spans={**state.spans, offer["offer"]: span})


def _undo(state: State) -> State:
    page, row = state.page, state.row
    which = page.app
    if page.view is View.HISTORY and row is not None:
        which = str(row["seq"])
    return _go(state, Page(view=View.UNDO, event=which))
