"""The same questions line by line on the controlling terminal: for screen readers, dumb and narrow terminals.

No cursor motion and no box drawing; an answer is a whole word and Enter.
"""

import dataclasses
import os
import signal
import termios
import time
from collections.abc import Iterable, Mapping, Sequence

from broker import prompts
from broker.ui import choices, ended, keys, language, less, sheet, tty, wording
from intents import model, text

_NARROWEST = 20
_WORDS = {
    "once": model.Lifespan.ONCE,
    "session": model.Lifespan.SESSION,
    "hours": model.Lifespan.UNTIL,
    "always": model.Lifespan.FOREVER,
}
# Every word that can be typed, as it is typed in the user's language; the English ones count in all of them.
TYPED = {
    "no": text.said("no"),
    "once": text.said("once"),
    "session": text.said("session"),
    "hours": text.said("hours"),
    "always": text.said("always"),
    "less": text.said("less"),
    "help": text.said("help"),
    "later": text.said("later"),
    "start": text.said("start"),
    "back": text.said("back"),
}


class _Closed(Exception):
    """The terminal ended, or the user closed the question."""


class Plain:
    """Asks on /dev/tty in lines of text.

    environ: for the locale; pick: draws the word of a critical question; settle: seconds before typing counts.
    """

    def __init__(self, environ: Mapping[str, str], pick: sheet.Pick, settle: float = keys.SETTLE) -> None:
        self._unicode = tty.unicode(environ)
        self._spoken = language.choose(environ) if self._unicode else language.ENGLISH
        self._pick = pick
        self._settle = settle

    def ask(self, request: prompts.Request) -> tuple[prompts.Answer, ...] | None:
        """The answers; None when the user decided nothing, or the terminal is not ours or went away."""
        try:
            with tty.borrowed() as terminal:
                if terminal is None:
                    return None
                for number in tty.closing():
                    signal.signal(number, _close)
                return self._ask(request, terminal)
        except (_Closed, KeyboardInterrupt, OSError, termios.error):
            return None

    def _ask(self, request: prompts.Request, terminal: int) -> tuple[prompts.Answer, ...] | None:
        columns, _ = tty.size(terminal)
        width = max(_NARROWEST, min(columns - 1, wording.WIDEST))
        page = wording.Page(width=width, margin="", ascii=not self._unicode, spoken=self._spoken)
        _tell(terminal, (*wording.head(request, page), *wording.together(request, page)))
        if not request.questions and not self._started(terminal, page):
            _tell(terminal, ended.summary(request, None, page))
            return None
        answered: list[choices.Row] = []
        for index in range(len(request.questions)):
            row = self._question(request, index, terminal, page)
            if row is None:
                _tell(terminal, ended.summary(request, None, page))
                return None
            answered.append(row)
        answers = tuple(map(choices.answer, answered))
        given = {row.question.intent_id: row.given for row in answered}
        notes = wording.together(request, page, given) if any(given.values()) else ()
        _tell(terminal, (*notes, *ended.summary(request, answers, page, given)))
        return answers

    def _started(self, terminal: int, page: wording.Page) -> bool:
        """Whether an app that asks for nothing is to be started."""
        while True:
            _tell(terminal, _offer(("start", "later"), page))
            if (word := self._word(terminal)) in ("start", "later"):
                return word == "start"

    def _question(self, request: prompts.Request, index: int, terminal: int, page: wording.Page) -> choices.Row | None:
        """The row that answers one question, asked until it does; None for later."""
        row = choices.first(request)[index]
        _tell(terminal, wording.numbered(request, index, page))
        said = False
        while True:
            words = _words(request, row)
            extra = ("less",) if row.options or choices.names_places(request, row) else ()
            offer = _offer((*words, *extra, "help", "later"), page)
            _tell(terminal, (*(() if said else wording.body(row.standing, page)), *offer))
            said = True
            word = self._word(terminal)
            if word == "later":
                return None
            if word == "help":
                _tell(terminal, wording.details(request, row.question, page))
            elif word in extra:
                row, said = self._less(request, row, terminal, page), False
            elif word in words and self._meant(row.standing, words[word], terminal, page):
                effect, span = words[word]
                return dataclasses.replace(row, ticked=effect is model.Effect.ALLOW, allow=span, deny=span)
            else:
                _tell(terminal, wording.say(text.said("That is no answer yet."), page))

    def _less(self, request: prompts.Request, row: choices.Row, terminal: int, page: wording.Page) -> choices.Row:
        """The row with what the user would rather give; nothing is answered by it."""
        elsewhere = request.elsewhere if choices.names_places(request, row) else None
        while True:
            _tell(terminal, less.listed(row.question, row.options, page))
            _tell(terminal, less.single(request.app_id, row.question, page))
            _tell(terminal, less.asked(row.question, page, elsewhere=elsewhere is not None))
            line = self._line(terminal)
            numbers = line.replace(",", " ").split()
            if self._meaning(line) == "back":
                return row
            if numbers and all(word in map(str, range(1, len(row.options) + 1)) for word in numbers):
                taken = [row.options[int(word) - 1] for word in numbers]
                return dataclasses.replace(row, given=choices.only(row, taken))
            if elsewhere is None or not line:
                _tell(terminal, wording.say(text.said("That is not on the list."), page))
                continue
            found = elsewhere(row.question.intent_id, line)
            if isinstance(found, str):
                _tell(terminal, wording.say(found, page))
            else:
                row = choices.with_places(row, found)

    def _meant(
        self,
        question: prompts.Question,
        choice: tuple[model.Effect, model.Lifespan],
        terminal: int,
        page: wording.Page,
    ) -> bool:
        """Whether an answer stands: what is critical is allowed by a second word only."""
        if choice[0] is model.Effect.DENY or question.risk < model.Risk.CRITICAL:
            return True
        word = self._pick(sheet.WORDS)
        _tell(terminal, wording.critical(question, word, page))
        return self._line(terminal).lower() == word

    def _word(self, terminal: int) -> str:
        """The English word for what is typed, where it is one of ours."""
        return self._meaning(self._line(terminal))

    def _meaning(self, line: str) -> str:
        typed = line.lower()
        return next((word for word, said in TYPED.items() if self._spoken.say(said).lower() == typed), typed)

    def _line(self, terminal: int) -> str:
        """One typed line; "" for one that came with more behind it, as a paste does. Raises _Closed."""
        self._wait(terminal)
        tty.write(terminal, "> ")
        data = os.read(terminal, 4096)
        if not data:
            raise _Closed
        if not data.endswith(b"\n") or tty.readable(terminal, keys.ALONE):
            return ""
        return data.decode("utf-8", "replace").strip()

    def _wait(self, terminal: int) -> None:
        """Let the text stand, and what was typed ahead go by, unseen; then lines are read again, and echoed."""
        modes = termios.tcgetattr(terminal)
        lines = termios.ICANON | termios.ECHO
        modes[0] |= termios.ICRNL
        modes[3] = (modes[3] | termios.ISIG) & ~lines
        termios.tcsetattr(terminal, termios.TCSAFLUSH, modes)
        quiet = time.monotonic() + max(self._settle, keys.SILENCE)
        while (left := quiet - time.monotonic()) > 0:
            if tty.readable(terminal, left):
                if not os.read(terminal, 4096):
                    raise _Closed
                quiet = max(quiet, time.monotonic() + keys.SILENCE)
        modes[3] |= lines
        termios.tcsetattr(terminal, termios.TCSAFLUSH, modes)


def _words(request: prompts.Request, row: choices.Row) -> dict[str, tuple[model.Effect, model.Lifespan]]:
    question = row.standing
    words = {"no": (model.Effect.DENY, row.deny)}
    if question.risk is not model.Risk.FORBIDDEN:
        offered = prompts.spans(request, question, model.Effect.ALLOW)
        words |= {word: (model.Effect.ALLOW, span) for word, span in _WORDS.items() if span in offered}
    return words


def _offer(words: Sequence[str], page: wording.Page) -> tuple[wording.Line, ...]:
    return wording.offer([TYPED[word] for word in words], page)


def _tell(terminal: int, lines: Iterable[wording.Line]) -> None:
    tty.write(terminal, "".join(f"{line.text}\n" for line in lines))


def _close(*_: object) -> None:
    raise _Closed
