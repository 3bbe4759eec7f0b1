"""Every word of the handshake: a Request becomes lines of text, for any front-end. Pure.

Three voices that never mix: our own words; what the app claims, always quoted after ``app says``; and what it claims
about a denial, always quoted after ``if denied, app says``. Whatever is shown passes ``clean``, and no line is wider
than its page.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from broker import prompts
from broker.ui import language
from intents import model, text

WIDEST = 79
CLAIM_CELLS = 240  # twice what a manifest may say: only words that skipped the manifest's own limit is cut
NAME_CELLS = 80
_MARKS_PER_LETTER = 2
_NARROWEST = 2 + _MARKS_PER_LETTER  # a wide letter and its marks, so that every line takes something
SPANS = {
    model.Lifespan.ONCE: text.said("this once"),
    model.Lifespan.SESSION: text.said("this session"),
    model.Lifespan.UNTIL: text.said("for {hours} hours", hours=prompts.HOURS),
    model.Lifespan.FOREVER: text.said("always"),
}
# Loud ones in upper case: nothing depends on colour.
_RISKS = {
    model.Risk.LOW: text.said("low risk"),
    model.Risk.NORMAL: text.said("normal risk"),
    model.Risk.HIGH: text.said("HIGH risk"),
    model.Risk.CRITICAL: text.said("CRITICAL risk"),
    model.Risk.FORBIDDEN: text.said("FORBIDDEN risk"),
}


class Voice(StrEnum):
    """Whose words a line holds, and how loud they are."""

    OURS = "ours"
    WARNING = "warning"
    CHOICE = "choice"
    CLAIM = "claim"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Where text goes: ``width`` in cells, ``margin`` before every line, ``ascii`` where nothing else can be drawn.

    spoken: the language of our own sentences; an app's words stay what they are.
    """

    width: int
    margin: str = "│ "
    ascii: bool = False
    spoken: language.Language = language.ENGLISH


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line as it is drawn; ``row`` is the index of the question it belongs to, or -1."""

    text: str
    voice: Voice
    row: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What an answer to one question would be if it were given now; ``given`` as ``prompts.narrowed`` takes it."""

    effect: model.Effect
    span: model.Lifespan
    given: tuple[prompts.Narrowing, ...] | None = None


def clean(words: str) -> str:
    """``words`` with every character visible and in its place; what could deceive becomes ``\\u202e``. Idempotent."""
    shown: list[str] = []
    marks = _MARKS_PER_LETTER
    for char in words:
        mark = unicodedata.category(char).startswith("M")
        marks = marks + 1 if mark else (_MARKS_PER_LETTER if char == " " else 0)
        deceptive = text.unshowable(char) or (mark and marks > _MARKS_PER_LETTER) or "\u2500" <= char <= "\u25ff"
        shown.append(char.encode("unicode_escape").decode("ascii") if deceptive else char)
    return "".join(shown)


def cells(words: str) -> int:
    """How many terminal cells ``words`` takes; never fewer than a terminal uses, for symbols perhaps more."""
    return sum(_char_cells(char) for char in words)


def quote(words: str, limit: int = CLAIM_CELLS) -> str:
    """A claim of the app in double quotes that it cannot close; what exceeds ``limit`` cells is counted, not hidden."""
    shown = clean(re.sub(" {2,}", " ", words.strip(" "))).replace('"', '\\"')
    if cells(shown) <= limit:
        return f'"{shown}"'
    kept = _cut(shown, limit)[0]
    return f'"{kept}" (cut: {len(shown) - len(kept)} more characters)'


def wrap(words: str, width: int, lead: str = "", hang: str = "") -> list[str]:
    """``words`` cleaned and broken at spaces, else anywhere, into lines of at most ``width`` cells.

    lead and hang are ours and go before the first and the other lines; a run of spaces survives inside a line.
    """
    lines, line, started = [], lead, False
    for word in clean(words).split(" "):
        if started and cells(line) + 1 + cells(word) <= width:
            line += " " + word
            continue
        if started:
            lines.append(line)
            line = hang
        kept, rest = _cut(word, max(_NARROWEST, width - cells(line)))
        while rest:
            lines.append(line + kept)
            line = hang
            kept, rest = _cut(rest, max(_NARROWEST, width - cells(line)))
        line, started = line + kept, True
    return [*lines, line]


def head(request: prompts.Request, page: Page) -> tuple[Line, ...]:
    """Who asks, who vouches for it, and what is settled already."""
    lines = flow(page, Voice.CHOICE, title(request))
    name, version = quote(request.name, NAME_CELLS), quote(request.version, NAME_CELLS)
    claim = text.said("app says its name is {name}, version {version}", name=name, version=version)
    if request.category:
        claim = text.said("{claim}, and lists itself under {programs}", claim=claim, programs=request.category)
    lines += flow(page, Voice.CLAIM, claim, "", "  ")
    if text.mixed(request.name):
        mixed = text.said("Its letters come from different scripts: it may imitate another name.")
        lines += flow(page, Voice.WARNING, mixed)
    loud = request.trust in (model.Trust.FIRST_USE, model.Trust.UNSIGNED)
    lines += flow(page, Voice.WARNING if loud else Voice.OURS, _publisher(request))
    if request.as_root:
        lines += flow(page, Voice.WARNING, text.said("You are root: what you allow, it does as root."))
    if request.files:
        read = text.said("Files that you name when you start it, it may read each time.")
        change = text.said("Files that you name when you start it, it may read and change each time.")
        lines += flow(page, Voice.OURS, read if request.files == "read" else change)
    for sentence in prompts.not_asked(request):
        lines += flow(page, Voice.OURS, sentence)
    return tuple(lines)


def title(request: prompts.Request) -> text.Said:
    """Who asks, in one line."""
    if not request.questions:
        return text.said("{app} asks for nothing but to be started", app=request.app_id)
    if request.update:
        return text.said("{app} asks for something new", app=request.app_id)
    return text.said("{app} asks what it may do", app=request.app_id)


def body(question: prompts.Question, page: Page, *, indent: str = "", row: int = -1) -> tuple[Line, ...]:
    """What one question is about: our sentence first, then the app's claims."""
    lines = flow(page, Voice.OURS, question.allows, indent, row=row)
    for note in question.notes:
        lines += flow(page, Voice.OURS, note, indent, row=row)
    if question.unusual:
        lines += flow(page, Voice.WARNING, question.unusual, indent, row=row)
    if change := _change(question):
        lines += flow(page, Voice.WARNING, change, indent, row=row)
    if question.reason:
        claim = text.said("app says {claim}", claim=quote(question.reason))
        lines += flow(page, Voice.CLAIM, claim, indent, "  ", row=row)
    if question.if_denied:
        claim = text.said("if denied, app says {claim}", claim=quote(question.if_denied))
        lines += flow(page, Voice.CLAIM, claim, indent, "  ", row=row)
    if not question.optional:
        lines += flow(page, Voice.OURS, text.said("If denied, the app does not start."), indent, row=row)
    return tuple(lines)


def sheet(request: prompts.Request, choices: Sequence[Choice], cursor: int, page: Page) -> tuple[Line, ...]:
    """The whole handshake on one page; ``choices`` stand beside their questions, ``cursor`` is the index of one."""
    blank = Line(text=page.margin.rstrip(), voice=Voice.OURS)
    lines = [*head(request, page), blank]
    given = {question.intent_id: choice.given for question, choice in zip(request.questions, choices, strict=True)}
    for index, (asked, choice) in enumerate(zip(request.questions, choices, strict=True)):
        question = prompts.narrowed(asked, choice.given)
        lines += _heading(question, choice, index == cursor, page, index)
        lines += body(question, page, indent=" " * 6, row=index)
    notes = together(request, page, given)
    return (*lines, *([blank] if notes else []), *notes)


def together(
    request: prompts.Request, page: Page, given: Mapping[str, Sequence[prompts.Narrowing] | None] | None = None
) -> tuple[Line, ...]:
    """What the intents could do in combination, where some give less as ``prompts.together`` takes it."""
    notes = prompts.together(request, given or {})
    return tuple(line for note in notes for line in flow(page, Voice.WARNING, note, "!! ", "   "))


def details(request: prompts.Request, question: prompts.Question, page: Page) -> tuple[Line, ...]:
    """Everything known about one question."""
    lines = flow(page, Voice.CHOICE, _weighed(question))
    lines += body(question, page)
    if question.parts:
        lines += flow(page, Voice.OURS, text.said("One by one, it could:"))
        for part in question.parts:
            lines += flow(page, Voice.OURS, part, "- ", "  ")
    if question.risk is model.Risk.CRITICAL:
        lines += flow(page, Voice.OURS, text.said("To allow it you type a word. Always is not offered here."))
    names = {"intent": question.intent_id, "kind": question.kind}
    lines += flow(page, Voice.OURS, text.said("Intent {intent}, kind {kind}. Later, to change your mind:", **names))
    lines += flow(page, Voice.OURS, f"intent-ctl grant {request.app_id} {question.intent_id}", "  ", "  ")
    lines += flow(page, Voice.OURS, f"intent-ctl revoke {request.app_id} {question.intent_id}", "  ", "  ")
    return tuple(lines)


def critical(question: prompts.Question, word: str, page: Page) -> tuple[Line, ...]:
    """The screen of one critical question, with the word that has to be typed."""
    lines = flow(page, Voice.WARNING, text.said("STOP  {weighed}", weighed=_weighed(question)))
    lines += body(question, page)
    by_hand = text.said("To allow it, type the word  {word}  by hand. Nothing else allows it.", word=word)
    lines += flow(page, Voice.WARNING, by_hand)
    return tuple(lines)


def keys(page: Page) -> tuple[Line, ...]:
    """What the keys of the sheet do."""
    answers = text.said("d deny all   l decide later   s START with what is ticked")
    first = flow(page, Voice.OURS, text.said("space tick   n less   t how long   ? details   m only required"))
    return (*first, *flow(page, Voice.OURS, answers))


def numbered(request: prompts.Request, index: int, page: Page) -> tuple[Line, ...]:
    """The heading of one question where they come one after the other."""
    question = request.questions[index]
    numbers = {"number": index + 1, "all": len(request.questions)}
    words = text.said("Question {number} of {all}, {weighed}", **numbers, weighed=_weighed(question))
    return tuple(flow(page, Voice.CHOICE, words))


def offer(words: Sequence[str], page: Page) -> tuple[Line, ...]:
    """The words that answer a question in lines of text."""
    several = text.joined(words[:-1], ", ")
    said = text.said("Type {words} or {last}, then Enter.", words=several, last=words[-1])
    return tuple(flow(page, Voice.OURS, said))


def say(words: str, page: Page, voice: Voice = Voice.OURS) -> tuple[Line, ...]:
    """One sentence of a front-end's own, wrapped and cleaned like the rest."""
    return tuple(flow(page, voice, words))


def _publisher(request: prompts.Request) -> text.Said:
    match request.trust:
        case model.Trust.VOUCHED:
            return text.said("Vouched for by the catalog it is installed in.")
        case model.Trust.PINNED:
            return text.said("Signed by the key you already know: {key}", key=request.fingerprint)
        case model.Trust.FIRST_USE:
            return text.said(
                "Signed by a key that is NEW to you, so risks count one level higher: {key}", key=request.fingerprint
            )
        case model.Trust.UNSIGNED:
            return text.said(
                "NOT SIGNED: nobody vouches for it. Risks count one level higher; nothing outlives the session."
            )


def _change(question: prompts.Question) -> str:
    match question.changed:
        case "new":
            return text.said("New: nothing you decided before covers this.")
        case "wider":
            return text.said("Wider: you decided on a part of this before; this is the rest.")
        case "unused":
            return text.said("Not used for 90 days: that you allowed it before counts no longer.")
        case "moved":
            return text.said("It leads elsewhere now: {moves}", moves=question.moves)
    return ""


def _heading(question: prompts.Question, choice: Choice, current: bool, page: Page, row: int) -> list[Line]:
    allowed = choice.effect is model.Effect.ALLOW
    mark = f"{'>' if current else ' '} [{'x' if allowed else ' '}] "
    # The title may hold a path of the app's choosing: last, it cannot pass for one of the columns.
    columns = ((verdict(choice), 20), (risk_words(question.risk), 15), (_need(question), 10))
    say = page.spoken.say
    aligned = "".join(_pad(say(words), width) for words, width in columns) + say(question.title)
    whole = flow(page, Voice.CHOICE, aligned, mark, " " * 6, row=row)
    if len(whole) == 1:
        return whole
    narrow = text.said("{verdict}, {weighed}", verdict=verdict(choice), weighed=_weighed(question))
    return flow(page, Voice.CHOICE, narrow, mark, " " * 6, row=row)


def verdict(choice: Choice) -> text.Said:
    """The answer that a choice would be, in two words."""
    if choice.effect is model.Effect.ALLOW:
        return text.said("ALLOW {span}", span=SPANS[choice.span])
    return text.said("deny {span}", span=SPANS[choice.span])


def risk_words(risk: model.Risk) -> text.Said:
    """The risk as it stands on every page."""
    return _RISKS[risk]


def _need(question: prompts.Question) -> text.Said:
    return text.said("optional") if question.optional else text.said("required")


def weight(question: prompts.Question) -> text.Said:
    """How risky it is, and whether the app can do without it."""
    return text.said("{risk}, {need}", risk=risk_words(question.risk), need=_need(question))


def _weighed(question: prompts.Question) -> text.Said:
    return text.said("{weight}: {title}", weight=weight(question), title=question.title)


def _pad(words: str, width: int) -> str:
    shown = clean(words)
    return shown + " " * max(2, width - cells(shown))


def flow(page: Page, voice: Voice, words: str, lead: str = "", hang: str | None = None, *, row: int = -1) -> list[Line]:
    """``words`` on the page, in its language; ``hang`` indents all lines but the first, on top of a blank ``lead``."""
    words = page.spoken.say(words)
    if page.ascii:
        words = clean(words).encode("ascii", "backslashreplace").decode("ascii")
    following = lead if hang is None else lead + hang if lead.isspace() else hang
    room = page.width - cells(page.margin)
    return [Line(text=page.margin + line, voice=voice, row=row) for line in wrap(words, room, lead, following)]


def _cut(words: str, room: int) -> tuple[str, str]:
    """``words`` in two, the first at most ``room`` cells wide; marks stay with their letter."""
    used = 0
    for index, char in enumerate(words):
        used += _char_cells(char)
        if used > room:
            while index and unicodedata.category(words[index]).startswith("M"):
                index -= 1
            return words[:index], words[index:]
    return words, ""


def _char_cells(char: str) -> int:
    # Terminals disagree about marks, symbols and number signs, and their tables are newer than ours: count generously.
    return 2 if unicodedata.category(char) in ("So", "No") or unicodedata.east_asian_width(char) in "WF" else 1
