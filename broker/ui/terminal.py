"""The sheet on the controlling terminal, imported only when asking."""

import asyncio
import dataclasses
import termios
from collections.abc import Iterable, Mapping
from typing import TextIO

from broker import prompts
from broker.ui import ended, keys, language, less, screen, sheet, tty, wording
from intents import text


class Terminal:
    """Asks on /dev/tty with one full-screen sheet.

    environ: for TERM and the locale; pick: draws the word of a critical question; settle: seconds before keys count.
    """

    def __init__(self, environ: Mapping[str, str], pick: sheet.Pick, settle: float = keys.SETTLE) -> None:
        self._environ = environ
        self._pick = pick
        self._settle = settle

    def ask(self, request: prompts.Request) -> tuple[prompts.Answer, ...] | None:
        """The answers; None when the user decided nothing, or the terminal is not ours or went away."""
        try:
            with tty.borrowed() as terminal:
                return None if terminal is None else self._ask(request, terminal)
        except (EOFError, KeyboardInterrupt, OSError, termios.error):
            return None

    def _ask(self, request: prompts.Request, terminal: int) -> tuple[prompts.Answer, ...] | None:
        unicode = tty.unicode(self._environ)
        tty.discard(terminal)
        tty.tidy(terminal)
        with open(terminal, "w", encoding="utf-8", closefd=False) as stream:
            spoken = language.choose(self._environ) if unicode else language.ENGLISH
            drawn = _Screen(request, stream, unicode, spoken, self._pick, self._settle)
            asyncio.run(drawn.run(self._environ.get("TERM", "")))
        last = drawn.state
        columns, _ = tty.size(terminal)
        width = min(columns - 1, wording.WIDEST)
        page = wording.Page(width=width, margin="", ascii=not unicode, spoken=spoken)
        said = ended.summary(request, last.answers, page, last.given)
        tty.write(terminal, "".join(f"{line.text}\n" for line in said))
        return last.answers


class _Screen(screen.Screen):
    """One sheet while it is on the screen."""

    def __init__(
        self,
        request: prompts.Request,
        stream: TextIO,
        unicode: bool,
        spoken: language.Language,
        pick: sheet.Pick,
        settle: float,
    ) -> None:
        super().__init__(stream, settle)
        self._unicode = unicode
        self._spoken = spoken
        self._pick = pick
        self._state = sheet.start(request)
        self._read_lines: set[tuple[sheet.View, wording.Line]] = set()

    @property
    def state(self) -> sheet.State:
        """The state it is in, at the end the one it ended in."""
        return self._state

    def _now(self) -> object:
        return self._state

    def _cursor(self) -> tuple[int, int]:
        return self._state.at, self._state.last

    def _step(self, by: int) -> None:
        self._state = sheet.move(self._state, by)

    def _reversed(self) -> bool:
        return self._state.view is sheet.View.WORD

    def _seen(self, first: bool) -> None:
        self._read_lines.update((self._state.view, line) for line in _lasting(self._shown))

    def _press(self, key: str) -> None:
        if self._state.done:
            return
        if not self._state.writes:
            key = {"j": "down", "k": "up"}.get(key, key)
        if key in keys.MOVES.values():
            if self._moved:  # a page that nobody could see yet is not left
                return
            self._moved = True
            self._state = dataclasses.replace(self._state, notice="")
            self._move(key)
        else:
            before = self._state
            self._state = sheet.press(before, key, self._read(), self._pick)
            self._top = self._top if self._state.view is before.view else 0
            if self._state.rows != before.rows or self._state.view is not before.view:
                self._show_cursor()
        if self._state.done:
            self._app.exit()
        self._app.invalidate()

    def _read(self) -> sheet.Seen:
        view = self._state.view
        unread = [line for line in _lasting(self._lines()) if (view, line) not in self._read_lines]
        row = not unread if view is sheet.View.LESS else all(line.row != self._state.cursor for line in unread)
        return sheet.Seen(row=row, all=not unread)

    def _show_cursor(self) -> None:
        """Bring the row under the cursor onto the screen, its heading before all else."""
        if own := self._own():
            self._scroll(min(max(self._top, own[-1] - self._height() + 1), own[0]))

    def _page(self) -> wording.Page:
        margin = "│ " if self._unicode else "| "
        width = min(self._size[0] - 1, wording.WIDEST)
        return wording.Page(width=width, margin=margin, ascii=not self._unicode, spoken=self._spoken)

    def _flow(self) -> tuple[wording.Line, ...]:
        state, page = self._state, self._page()
        match state.view:
            case sheet.View.LIST:
                return wording.sheet(state.request, [row.choice for row in state.rows], state.cursor, page)
            case sheet.View.DETAILS:
                return wording.details(state.request, state.row.question, page)
            case sheet.View.LESS | sheet.View.PLACE:
                row = state.row
                given = less.options(row.question, row.options, row.taken, state.option, page)
                return (*given, *less.single(state.request.app_id, row.question, page))
            case sheet.View.WORD:
                return wording.critical(prompts.narrowed(state.row.question, state.pending), state.word, page)

    def _footer(self) -> tuple[wording.Line, ...]:
        page, ways = self._page(), self._ways()
        status: str = self._state.notice
        if not self._keyboard.live(self._loop.time()):
            status = text.said("Keys count in a moment.")
        said = wording.say(status, page, wording.Voice.WARNING) if status else ()
        if not status and self._state.view in (sheet.View.LIST, sheet.View.LESS):
            more = wording.say(text.said("There is more to read: j goes down, k up."), page, wording.Voice.WARNING)
            shown = self._lines()[self._top : self._top + self._size[1] - len(more) - len(ways)]
            unread = [line for line in _lasting(self._lines()) if (self._state.view, line) not in self._read_lines]
            said = more if set(unread) - set(shown) else ()
        return (*said, *ways)

    def _ways(self) -> tuple[wording.Line, ...]:
        """What can be pressed or typed."""
        state, page = self._state, self._page()
        match state.view:
            case sheet.View.LIST:
                return wording.keys(page)
            case sheet.View.DETAILS:
                return wording.say(text.said("Enter goes back."), page)
            case sheet.View.LESS:
                return less.keys(state.row.choice, page, elsewhere=state.names_places)
            case sheet.View.PLACE:
                return (*less.typing(page), *wording.say(f"> {state.typed}", page))
            case sheet.View.WORD:
                return (*wording.say(text.said("Esc leaves it denied."), page), *wording.say(f"> {state.typed}", page))


def _lasting(lines: Iterable[wording.Line]) -> list[wording.Line]:
    """The lines that stay the same whatever is ticked: what has to be read."""
    return [line for line in lines if line.voice is not wording.Voice.CHOICE]
