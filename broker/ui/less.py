"""The words where less is given than was asked for: what there is to choose, and what was chosen. Pure."""

from collections.abc import Sequence

from broker import prompts
from broker.ui import wording
from intents import text
from intents.kinds import path


def options(
    question: prompts.Question,
    offered: Sequence[prompts.Narrowing],
    taken: Sequence[bool],
    cursor: int,
    page: wording.Page,
) -> tuple[wording.Line, ...]:
    """What can be given of one question, numbered, the whole last; ``taken`` and ``cursor`` stand beside it."""
    lines = _head(question, page)
    lines += _choice(page, text.said("nothing"), _mark(0, cursor, not any(taken)), 0)
    for number, option in enumerate(offered, 1):
        words = weight(question, option, whole=number == len(offered))
        lines += _choice(page, words, _mark(number, cursor, taken[number - 1]), number)
        for sentence in filter(None, (option.allows, *option.notes, option.unusual)):
            lines += _ours(page, sentence, " " * 9, row=number)
    return tuple(lines)


def listed(
    question: prompts.Question, offered: Sequence[prompts.Narrowing], page: wording.Page
) -> tuple[wording.Line, ...]:
    """The same in lines of text, without nothing, which a word says."""
    lines = _head(question, page)
    for number, option in enumerate(offered, 1):
        weighs = weight(question, option, whole=number == len(offered))
        words = text.said("{number}: {weight}. {allows}", number=number, weight=weighs, allows=option.allows)
        for sentence in filter(None, (words, *option.notes, option.unusual)):
            lines += _ours(page, sentence, "", "   ")
    return tuple(lines)


def single(app_id: str, question: prompts.Question, page: wording.Page) -> tuple[wording.Line, ...]:
    """How to give one file at a time, which no answer does; empty where that means nothing."""
    if question.kind != path.KIND:
        return ()
    command = f"intent-run --read {app_id} FILE"
    words = text.said("Single files: give nothing here, and name them when you start it: {command}", command=command)
    return tuple(_ours(page, words, "", "  "))


def asked(question: prompts.Question, page: wording.Page, *, elsewhere: bool) -> tuple[wording.Line, ...]:
    """What is typed to choose in lines of text; elsewhere: whether a place can be named."""
    number = text.said("a number, or several") if len(question.open) > 1 else text.said("a number")
    also = text.said(", a folder or file in it") if elsewhere else ""
    words = text.said(
        "Type {number}{also}, or {back}; then Enter. It answers nothing yet.",
        number=number,
        also=also,
        back=text.said("back"),
    )
    return tuple(_ours(page, words))


def keys(choice: wording.Choice, page: wording.Page, *, elsewhere: bool) -> tuple[wording.Line, ...]:
    """What would be answered now, and what the keys do; elsewhere: whether a place can be named."""
    what = text.said("space or a number gives that   t how long   Enter goes back")
    other = _ours(page, text.said("e another place in it, typed by hand")) if elsewhere else []
    return (*_choice(page, stands(choice)), *_ours(page, what), *other)


def stands(choice: wording.Choice) -> text.Said:
    """What would be answered now."""
    return text.said("As it stands: {verdict}.", verdict=wording.verdict(choice))


def typing(page: wording.Page) -> tuple[wording.Line, ...]:
    """What is typed where another place is named."""
    words = text.said("A folder or file in it, then Enter: it joins the list. Esc goes back.")
    return tuple(_ours(page, words))


def _head(question: prompts.Question, page: wording.Page) -> list[wording.Line]:
    lines = _ours(page, text.said("How much of this may it have: {title}", title=question.title))
    if len(question.open) > 1:
        lines += _ours(page, text.said("Each of these can be given by itself."))
    return lines


def _mark(number: int, cursor: int, taken: bool) -> str:
    # The number counts as a key only while it has one digit.
    return f"{'>' if number == cursor else ' '} {number if number < 10 else ' '} [{'x' if taken else ' '}]  "


def weight(question: prompts.Question, option: prompts.Narrowing, *, whole: bool) -> str:
    """How much an option weighs; whole: it is all that is asked for."""
    risk = wording.risk_words(option.risk)
    if whole and len(question.open) > 1:
        return text.said("{risk}, all of them, as asked", risk=risk)
    return text.said("{risk}, as asked", risk=risk) if whole else risk


def _ours(page: wording.Page, words: str, lead: str = "", hang: str | None = None, row: int = -1) -> list[wording.Line]:
    return wording.flow(page, wording.Voice.OURS, words, lead, hang, row=row)


def _choice(page: wording.Page, words: str, lead: str = "", row: int = -1) -> list[wording.Line]:
    return wording.flow(page, wording.Voice.CHOICE, words, lead, " " * len(lead), row=row)
