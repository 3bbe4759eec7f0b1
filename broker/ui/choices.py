"""One question of a handshake and its answer so far, whichever front-end asks. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from broker import prompts
from broker.ui import wording
from intents import model
from intents.kinds import path


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One question and what its answer would be; the lifespans of allowing and of denying are remembered apart.

    given: what would be allowed, where that is less than is asked for; elsewhere: what can be given beside the
    question's own narrowings, because the user named the place.
    """

    question: prompts.Question
    ticked: bool
    allow: model.Lifespan
    deny: model.Lifespan
    given: tuple[prompts.Narrowing, ...] | None = None
    elsewhere: tuple[prompts.Narrowing, ...] = ()

    @property
    def choice(self) -> wording.Choice:
        """The answer as it stands."""
        if self.ticked:
            return wording.Choice(effect=model.Effect.ALLOW, span=self.allow, given=self.given)
        return wording.Choice(effect=model.Effect.DENY, span=self.deny, given=self.given)

    @property
    def standing(self) -> prompts.Question:
        """The question about what would be given."""
        return prompts.narrowed(self.question, self.given)

    @property
    def options(self) -> tuple[prompts.Narrowing, ...]:
        """What can be given, the least first, all that is asked for last; empty for what is given whole or not."""
        question = self.question
        if not (question.narrower or self.elsewhere):
            return ()
        whole = prompts.Narrowing(
            scopes=question.open,
            title=question.title,
            allows=question.allows,
            risk=question.risk,
            notes=question.notes,
            traits=question.traits,
            unusual=question.unusual,
        )
        return (*reversed(self.elsewhere), *reversed(question.narrower), whole)

    @property
    def taken(self) -> tuple[bool, ...]:
        """Which of ``options`` would be given; none of them in an answer that denies."""
        if not self.ticked:
            return tuple(False for _ in self.options)
        if self.given is None:
            return tuple(set(option.scopes) <= set(self.question.open) for option in self.options)
        return tuple(option in self.given for option in self.options)


def first(request: prompts.Request) -> tuple[Row, ...]:
    """The rows before any answer: only what is of low risk, and has not moved, is ticked."""
    return tuple(
        Row(
            question=question,
            ticked=question.risk is model.Risk.LOW and question.changed != "moved",
            allow=prompts.default_span(request, question, model.Effect.ALLOW),
            deny=prompts.default_span(request, question, model.Effect.DENY),
        )
        for question in request.questions
    )


def answer(row: Row) -> prompts.Answer:
    """The answer that the row stands for."""
    less = row.ticked and row.given is not None
    scopes = tuple(scope for each in row.given or () for scope in each.scopes) if less else None
    return prompts.answer(row.question, row.choice.effect, row.choice.span, scopes)


def covered(row: Row, given: tuple[prompts.Narrowing, ...] | None) -> bool:
    """Whether what is ticked covers all that would be given."""
    held = row.question.open if row.given is None else [scope for each in row.given for scope in each.scopes]
    wanted = row.question.open if given is None else [scope for each in given for scope in each.scopes]
    return row.given == given or all(any(scope.covers(less) for scope in held) for less in wanted)


def only(row: Row, taken: Sequence[prompts.Narrowing]) -> tuple[prompts.Narrowing, ...] | None:
    """What giving these options of the row comes to, as ``Row.given``: None for all that is asked for."""
    if {scope for each in taken for scope in each.scopes} >= set(row.question.open):
        return None
    found: dict[int, prompts.Narrowing] = {}
    for option in row.options[:-1]:
        if option in taken:
            found[part(row, option)] = option  # of one part, the widest
    return tuple(found.values())


def part(row: Row, option: prompts.Narrowing) -> int:
    """Which of the open parts an option gives something of: of each part, only one thing is given."""
    return next(index for index, part in enumerate(row.question.open) if part.covers(option.scopes[0]))


def with_places(row: Row, found: Sequence[prompts.Narrowing]) -> Row:
    """The row with what a named place comes to among its options."""
    known = (*row.elsewhere, *row.question.narrower)
    return replace(row, elsewhere=(*(option for option in found if option not in known), *row.elsewhere))


def names_places(request: prompts.Request, row: Row) -> bool:
    """Whether another place than the one that is asked for can be named."""
    return request.elsewhere is not None and row.question.kind == path.KIND
