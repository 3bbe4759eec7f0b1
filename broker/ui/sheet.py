"""The sheet's state and what each key does to it. Pure: a state and a key give the next state."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from broker import prompts
from broker.ui import choices, keys
from intents import model, text

# Short, unlike one another and unlike any key sequence of the sheet.
WORDS = (
    "acorn", "anchor", "barrel", "bramble", "candle", "cobalt", "copper", "donkey", "ember", "falcon",
    "fiddle", "garnet", "hammock", "heron", "jigsaw", "kestrel", "lantern", "maple", "nutmeg", "orchid",
    "pebble", "quarry", "ribbon", "saddle", "thimble", "tulip", "velvet", "walnut", "yonder", "zipper",
)  # fmt: skip

Pick = Callable[[Sequence[str]], str]


class View(Enum):
    """What is on the screen."""

    LIST = auto()
    DETAILS = auto()
    LESS = auto()
    PLACE = auto()
    WORD = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How much of the list has been on the screen: the current row, everything."""

    row: bool
    all: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The sheet at one moment. ``done`` with ``answers``, or with None when there was no answer.

    option: the cursor among what can be given, 0 for nothing; pending: what the typed word
    would allow; back: where it leads.
    """

    request: prompts.Request
    rows: tuple[choices.Row, ...]
    cursor: int = 0
    view: View = View.LIST
    option: int = 0
    word: str = ""
    typed: str = ""
    pending: tuple[prompts.Narrowing, ...] | None = None
    back: View = View.LIST
    notice: str = ""
    done: bool = False
    answers: tuple[prompts.Answer, ...] | None = None

    @property
    def row(self) -> choices.Row:
        """The row under the cursor."""
        return self.rows[self.cursor]

    @property
    def given(self) -> dict[str, tuple[prompts.Narrowing, ...] | None]:
        """What would be given instead of the whole, by intent id."""
        return {row.question.intent_id: row.given for row in self.rows}

    @property
    def names_places(self) -> bool:
        """Whether another place than the one that is asked for can be named in the row under the cursor."""
        return choices.names_places(self.request, self.row)

    @property
    def writes(self) -> bool:
        """Whether keys are letters of what is being typed."""
        return self.view in (View.WORD, View.PLACE)

    @property
    def at(self) -> int:
        """The line row under the cursor, of what is on the screen."""
        return self.option if self.view is View.LESS else self.cursor

    @property
    def last(self) -> int:
        """The highest that ``at`` can be."""
        return len(self.row.options) if self.view is View.LESS else len(self.rows) - 1


def start(request: prompts.Request) -> State:
    """The sheet before any key."""
    return State(request=request, rows=choices.first(request))


def press(state: State, key: str, seen: Seen, pick: Pick) -> State:
    """The sheet after one key (a character, or a name of ``keys``); ``pick`` draws one of ``WORDS``."""
    state = replace(state, notice="")
    if key == keys.CLOSE:
        return replace(state, done=True)
    match state.view:
        case View.LIST:
            return _list(state, key, seen, pick)
        case View.DETAILS:
            return replace(state, view=View.LIST) if key in ("?", "\r", "q", " ", keys.ESCAPE) else state
        case View.LESS:
            return _less(state, key, seen, pick)
        case View.PLACE:
            return _place(state, key)
        case View.WORD:
            return _word(state, key)


def move(state: State, step: int) -> State:
    """The sheet with the cursor so many rows further down, or up; the same where there is none."""
    if state.view not in (View.LIST, View.LESS) or not 0 <= state.at + step <= state.last:
        return state
    if state.view is View.LESS:
        return replace(state, option=state.option + step)
    return replace(state, cursor=state.cursor + step)


def _list(state: State, key: str, seen: Seen, pick: Pick) -> State:
    if not state.rows and key not in ("s", "l", "q", keys.ESCAPE):
        return state
    match key:
        case "?" | "\r":
            return replace(state, view=View.DETAILS)
        case " ":
            return _tick(state, seen, pick)
        case "t":
            return _change(state, _next_span(state))
        case "n":
            return _open_less(state, seen)
        case "m":
            return _minimum(state) if seen.all else _unread(state)
        case "d":
            return _answered(replace(state, rows=tuple(replace(row, ticked=False) for row in state.rows)))
        case "s":
            return _start(state) if seen.all else _unread(state)
        case "l" | "q" | keys.ESCAPE:
            return replace(state, done=True)
    return state


def _tick(state: State, seen: Seen, pick: Pick) -> State:
    row = state.row
    if row.ticked:
        return _change(state, replace(row, ticked=False))
    if not seen.row:
        return _unread(state)
    return _allow(state, row.given, pick)


def _allow(state: State, given: tuple[prompts.Narrowing, ...] | None, pick: Pick) -> State:
    """Tick the row with this given: at once, or after a typed word if it is critical and more than is ticked."""
    row = state.row
    risk = prompts.narrowed(row.question, given).risk
    if risk is model.Risk.FORBIDDEN:
        return replace(state, notice=text.said("No answer can allow this one."))
    if risk is model.Risk.CRITICAL and not (row.ticked and choices.covered(row, given)):
        return replace(state, view=View.WORD, back=state.view, word=pick(WORDS), typed="", pending=given)
    return _change(state, _giving(state, given))


def _giving(state: State, given: tuple[prompts.Narrowing, ...] | None) -> choices.Row:
    """The row ticked with this given; a lifespan that nobody chose, or that is not offered for it, is chosen anew."""
    row, effect = state.row, model.Effect.ALLOW
    before, after = row.standing.risk, prompts.narrowed(row.question, given).risk
    usual = prompts.default_span(state.request, row.question, effect, before)
    span = row.allow
    if span is usual or span not in prompts.spans(state.request, row.question, effect, after):
        span = prompts.default_span(state.request, row.question, effect, after)
    return replace(row, ticked=True, given=given, allow=span)


def _open_less(state: State, seen: Seen) -> State:
    if not seen.row:
        return _unread(state)
    row = state.row
    if not row.options and not state.names_places:
        return replace(state, notice=text.said("There is no less of this: it is all or nothing."))
    taken = [number for number, whether in enumerate(row.taken, 1) if whether]
    return replace(state, view=View.LESS, option=taken[-1] if taken else 0)


def _less(state: State, key: str, seen: Seen, pick: Pick) -> State:
    if key in ("\r", "q", keys.ESCAPE):
        return replace(state, view=View.LIST)
    if key == "t":
        return _change(state, _next_span(state))
    if key == "e" and state.names_places:
        return replace(state, view=View.PLACE, typed="")
    number = state.option if key == " " else int(key) if key in "0123456789" else -1
    if not 0 <= number <= len(state.row.options):
        return state
    if not seen.row:
        return _unread(state)
    return _take(replace(state, option=number), number, pick)


def _take(state: State, number: int, pick: Pick) -> State:
    """Give option ``number``, or no longer where several things are given one by one; 0 is nothing, the last all."""
    row = state.row
    option = row.options[number - 1] if number else None
    now = [each for each, taken in zip(row.options[:-1], row.taken, strict=False) if taken]
    if number == len(row.options):
        now = [row.options[-1]]
    elif option in now and len(row.question.open) > 1:
        now.remove(option)
    elif option is not None:
        now = [each for each in now if choices.part(row, each) != choices.part(row, option)] + [option]
    if not number or not now:
        return _change(state, replace(row, ticked=False, given=None))
    return _allow(state, choices.only(row, now), pick)


def _place(state: State, key: str) -> State:
    if key == keys.ESCAPE:
        return replace(state, view=View.LESS, typed="")
    if key in ("\x7f", "\b"):
        return replace(state, typed=state.typed[:-1])
    if key != "\r":
        return replace(state, typed=state.typed + key) if len(key) == 1 and key >= " " else state
    if not state.typed or state.request.elsewhere is None:
        return state
    found = state.request.elsewhere(state.row.question.intent_id, state.typed)
    if isinstance(found, str):
        return replace(state, notice=found)
    row = choices.with_places(state.row, found)
    option = row.options.index(found[0]) + 1
    return _change(replace(state, view=View.LESS, typed="", option=option), row)


def _next_span(state: State) -> choices.Row:
    row, effect = state.row, state.row.choice.effect
    offered = prompts.spans(state.request, row.question, effect, row.standing.risk)
    span = offered[(offered.index(row.choice.span) + 1) % len(offered)]
    return replace(row, allow=span) if row.ticked else replace(row, deny=span)


def _minimum(state: State) -> State:
    """Tick what the app cannot do without, and nothing else; what is critical stays for its own screen."""
    plain = tuple(
        replace(row, ticked=not row.question.optional and (row.ticked or row.standing.risk < model.Risk.CRITICAL))
        for row in state.rows
    )
    left = [row for row in plain if not row.question.optional and not row.ticked]
    notice = text.said("Still to be allowed one by one: {title}.", title=left[0].question.title) if left else ""
    return replace(state, rows=plain, notice=notice)


def _start(state: State) -> State:
    missing = [row for row in state.rows if not row.question.optional and not row.ticked]
    if missing:
        title = missing[0].question.title
        notice = text.said("It does not start without {title}: allow it, deny all or decide later.", title=title)
        return replace(state, notice=notice)
    return _answered(state)


def _answered(state: State) -> State:
    return replace(state, done=True, answers=tuple(map(choices.answer, state.rows)))


def _word(state: State, key: str) -> State:
    if key == keys.ESCAPE:
        return replace(state, view=state.back, typed="")
    if key in ("\x7f", "\b"):
        return replace(state, typed=state.typed[:-1])
    if not ("a" <= key <= "z") or len(state.typed) >= 2 * len(state.word):
        return state
    typed = state.typed + key
    if typed == state.word:
        return _change(replace(state, view=state.back, typed=""), _giving(state, state.pending))
    return replace(state, typed=typed)


def _change(state: State, row: choices.Row) -> State:
    return replace(state, rows=(*state.rows[: state.cursor], row, *state.rows[state.cursor + 1 :]))


def _unread(state: State) -> State:
    return replace(state, notice=text.said("Read on first: j goes down, k up."))
