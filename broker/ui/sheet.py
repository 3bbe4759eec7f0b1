"""The sheet's state and what each key does to it. Pure: a state and a key give the next state."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from broker import prompts
from broker.ui import keys, wording
from intents import model

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
    WORD = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One question and what its answer would be; the lifespans of allowing and of denying are remembered apart."""

    question: prompts.Question
    ticked: bool
    allow: model.Lifespan
    deny: model.Lifespan

    @property
    def choice(self) -> wording.Choice:
        """The answer as it stands."""
        if self.ticked:
            return wording.Choice(effect=model.Effect.ALLOW, span=self.allow)
        return wording.Choice(effect=model.Effect.DENY, span=self.deny)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How much of the list has been on the screen: the current row, everything."""

    row: bool
    all: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The sheet at one moment. ``done`` with ``answers``, or with None when there was no answer."""

    request: prompts.Request
    rows: tuple[Row, ...]
    cursor: int = 0
    view: View = View.LIST
    word: str = ""
    typed: str = ""
    notice: str = ""
    done: bool = False
    answers: tuple[prompts.Answer, ...] | None = None

    @property
    def row(self) -> Row:
        """The row under the cursor."""
        return self.rows[self.cursor]


def start(request: prompts.Request) -> State:
    """The sheet before any key: only what is of low risk, and has not moved, is ticked."""
    rows = tuple(
        Row(
            question=question,
            ticked=question.risk is model.Risk.LOW and not question.changed.startswith("moved"),
            allow=prompts.default_span(request, question, model.Effect.ALLOW),
            deny=prompts.default_span(request, question, model.Effect.DENY),
        )
        for question in request.questions
    )
    return State(request=request, rows=rows)


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
        case View.WORD:
            return _word(state, key)


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
    if row.question.risk is model.Risk.FORBIDDEN:
        return replace(state, notice="No answer can allow this one.")
    if row.question.risk is model.Risk.CRITICAL:
        return replace(state, view=View.WORD, word=pick(WORDS), typed="")
    return _change(state, replace(row, ticked=True))


def _next_span(state: State) -> Row:
    row, effect = state.row, state.row.choice.effect
    offered = prompts.spans(state.request, row.question, effect)
    span = offered[(offered.index(row.choice.span) + 1) % len(offered)]
    return replace(row, allow=span) if row.ticked else replace(row, deny=span)


def _minimum(state: State) -> State:
    """Tick what the app cannot do without, and nothing else; what is critical stays for its own screen."""
    plain = tuple(
        replace(row, ticked=not row.question.optional and (row.ticked or row.question.risk < model.Risk.CRITICAL))
        for row in state.rows
    )
    left = [row for row in plain if not row.question.optional and not row.ticked]
    notice = f"Still to be allowed one by one: {left[0].question.title}." if left else ""
    return replace(state, rows=plain, notice=notice)


def _start(state: State) -> State:
    missing = [row for row in state.rows if not row.question.optional and not row.ticked]
    if missing:
        title = missing[0].question.title
        return replace(state, notice=f"It does not start without {title}: allow it, d denies all, l decides later.")
    return _answered(state)


def _answered(state: State) -> State:
    answers = tuple(prompts.answer(row.question, row.choice.effect, row.choice.span) for row in state.rows)
    return replace(state, done=True, answers=answers)


def _word(state: State, key: str) -> State:
    if key == keys.ESCAPE:
        return replace(state, view=View.LIST, typed="")
    if key in ("\x7f", "\b"):
        return replace(state, typed=state.typed[:-1])
    if not ("a" <= key <= "z") or len(state.typed) >= 2 * len(state.word):
        return state
    typed = state.typed + key
    if typed == state.word:
        return _change(replace(state, view=View.LIST, typed=""), replace(state.row, ticked=True))
    return replace(state, typed=typed)


def _change(state: State, row: Row) -> State:
    return replace(state, rows=(*state.rows[: state.cursor], row, *state.rows[state.cursor + 1 :]))


def _unread(state: State) -> State:
    return replace(state, notice="Read on first: j goes down, k up.")
