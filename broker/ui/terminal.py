"""The sheet on the controlling terminal, drawn by prompt_toolkit and imported only when asking.

prompt_toolkit draws and owns the terminal's modes; keys go through ``keys.Keyboard`` and never through its bindings,
because a report of the terminal would be taken apart into letters there. Text is (style, text) pairs, never markup.
"""

import asyncio
import dataclasses
import termios
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from prompt_toolkit.application import Application, create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.layout import FormattedTextControl, Layout, Window
from prompt_toolkit.output.color_depth import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output

from broker import prompts
from broker.ui import ended, keys, language, less, raw, sheet, tty, wording
from intents import text

_STYLES = {
    wording.Voice.OURS: "",
    wording.Voice.CLAIM: "",
    wording.Voice.WARNING: "bold",
    wording.Voice.CHOICE: "bold",
}
_FEW_ROWS = 3  # of the body that stay visible however long the footer is


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
            screen = _Screen(request, stream, unicode, spoken, self._pick, self._settle)
            last = asyncio.run(screen.run(self._environ.get("TERM", "")))
        columns, _ = tty.size(terminal)
        width = min(columns - 1, wording.WIDEST)
        page = wording.Page(width=width, margin="", ascii=not unicode, spoken=spoken)
        said = ended.summary(request, last.answers, page, last.given)
        tty.write(terminal, "".join(f"{line.text}\n" for line in said))
        return last.answers


class _Screen:
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
        self._stream = stream
        self._unicode = unicode
        self._spoken = spoken
        self._pick = pick
        self._settle = settle
        self._keyboard = keys.Keyboard()
        self._state = sheet.start(request)
        self._size = tty.size(stream.fileno())
        self._painted = False
        self._moved = False
        self._awaiting: asyncio.TimerHandle | None = None
        self._top = 0
        self._flowed: tuple[sheet.State | None, tuple[int, int], tuple[wording.Line, ...]] = (None, self._size, ())
        self._shown: tuple[wording.Line, ...] = ()
        self._seen: set[tuple[sheet.View, wording.Line]] = set()

    async def run(self, term: str) -> sheet.State:
        """Draw and wait; the state it ended in. Raises EOFError or OSError when the terminal goes away."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._failed)
        source = raw.Raw(self._stream, self._arrived)
        sink = Vt100_Output(self._stream, self._dimensions, term=term, enable_bell=False, enable_cpr=False)
        with create_app_session(input=source, output=sink):
            control = FormattedTextControl(self._text, show_cursor=False)
            self._app: Application[None] = Application(
                layout=Layout(Window(control, always_hide_cursor=True)),
                full_screen=True,
                erase_when_done=True,  # for terminals that have no second screen to leave
                color_depth=ColorDepth.DEPTH_1_BIT,
                after_render=self._drawn,
                input=source,
                output=sink,
            )
            await self._app.run_async(pre_run=self._listen, handle_sigint=False, set_exception_handler=False)
        return self._state

    def _listen(self) -> None:
        for number in tty.closing():
            self._loop.add_signal_handler(number, self._press, keys.CLOSE)

    def _dimensions(self) -> Size:
        columns, rows = tty.size(self._stream.fileno())
        return Size(rows=rows, columns=columns)

    def _failed(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback raised, most likely because the terminal is gone: end, and let ``ask`` see the exception."""
        if self._app.future and not self._app.future.done():
            self._app.future.set_exception(context.get("exception") or EOFError())

    # Keys

    def _arrived(self, data: str) -> None:
        self._measure()
        for key in self._keyboard.feed(data, self._loop.time()):
            self._press(key)
        for delay in (keys.ALONE, keys.STUCK):
            self._loop.call_later(delay, self._alone)
        self._refresh_when_live()

    def _alone(self) -> None:
        self._measure()
        if key := self._keyboard.due(self._loop.time()):
            self._press(key)

    def _press(self, key: str) -> None:
        if self._state.done:
            return
        if not self._state.writes:
            key = {"j": "down", "k": "up"}.get(key, key)
        if key in keys.MOVES.values():
            if self._moved:  # a page that nobody could see yet is not left
                return
            self._moved = True
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
        unread = [line for line in _lasting(self._lines()) if (view, line) not in self._seen]
        row = not unread if view is sheet.View.LESS else all(line.row != self._state.cursor for line in unread)
        return sheet.Seen(row=row, all=not unread)

    def _move(self, key: str) -> None:
        """A page inside what is too long for the screen, then row by row, so that ``j`` alone gets everywhere."""
        self._state = dataclasses.replace(self._state, notice="")
        height = self._height()
        first, last = self._block()
        match key:
            case "pageup" | "pagedown":
                self._scroll(self._top + (height if key == "pagedown" else -height))
            case "down" if last >= self._top + height:
                self._scroll(min(self._top + height, last - height + 1))
            case "up" if first < self._top:
                self._scroll(max(self._top - height, first))
            case _:
                moved = sheet.move(self._state, 1 if key == "down" else -1)
                if moved is not self._state:
                    self._state = moved
                    self._show_cursor()

    def _scroll(self, top: int) -> None:
        self._top = max(0, min(top, len(self._lines()) - self._height()))

    def _show_cursor(self) -> None:
        """Bring the row under the cursor onto the screen, its heading before all else."""
        if own := self._own():
            self._scroll(min(max(self._top, own[-1] - self._height() + 1), own[0]))

    def _own(self) -> list[int]:
        return [index for index, line in enumerate(self._lines()) if line.row == self._state.at]

    def _block(self) -> tuple[int, int]:
        """First and last line to read at the cursor: the head goes with the first row, the end with the last."""
        own, last = self._own(), len(self._lines()) - 1
        if not own:
            return 0, last
        at = self._state.at
        return own[0] if at else 0, own[-1] if at < self._state.last else last

    # Drawing

    def _measure(self) -> None:
        """After a resize every row is elsewhere, so keys wait again; lines that broke elsewhere were not read yet."""
        size = tty.size(self._stream.fileno())
        if size != self._size:
            self._size = size
            self._keyboard.settle(self._loop.time(), self._settle)
            self._refresh_when_live()
            self._show_cursor()

    def _page(self) -> wording.Page:
        margin = "│ " if self._unicode else "| "
        width = min(self._size[0] - 1, wording.WIDEST)
        return wording.Page(width=width, margin=margin, ascii=not self._unicode, spoken=self._spoken)

    def _lines(self) -> tuple[wording.Line, ...]:
        """The page of the current state, flowed once for each state and size: every key asks for it many times."""
        state, size, lines = self._flowed
        if state is not self._state or size != self._size:
            lines = self._flow()
            self._flowed = (self._state, self._size, lines)
        return lines

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
            unread = [line for line in _lasting(self._lines()) if (self._state.view, line) not in self._seen]
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

    def _height(self) -> int:
        return max(_FEW_ROWS, self._size[1] - len(self._footer()))

    def _text(self) -> StyleAndTextTuples:
        self._measure()
        self._shown = body = self._lines()[self._top : self._top + self._height()]
        footer = self._footer()[: max(0, self._size[1] - len(body))]
        gap = [wording.Line(text="", voice=wording.Voice.OURS)] * (self._size[1] - len(body) - len(footer))
        reverse = " reverse" if self._state.view is sheet.View.WORD else ""
        shown = [(_STYLES[line.voice] + reverse, line.text) for line in body]
        shown += [(_STYLES[line.voice], line.text) for line in (*gap, *footer)]
        return [(style, text + "\n" * (index < len(shown) - 1)) for index, (style, text) in enumerate(shown)]

    def _drawn(self, _: object) -> None:
        """What is on the screen now has been shown; the first time, what was typed before it is thrown away."""
        self._moved = False
        self._seen.update((self._state.view, line) for line in _lasting(self._shown))
        if not self._painted:
            self._painted = True
            tty.discard(self._stream.fileno())
            self._keyboard.settle(self._loop.time(), self._settle)
            self._refresh_when_live()

    def _refresh_when_live(self) -> None:
        """Draw again as long as the page says that keys do not count, and once after that."""
        self._app.invalidate()
        if not self._keyboard.live(self._loop.time()) and not self._awaiting:
            self._awaiting = self._loop.call_later(keys.SILENCE, self._look_again)

    def _look_again(self) -> None:
        self._awaiting = None
        self._refresh_when_live()


def _lasting(lines: Iterable[wording.Line]) -> list[wording.Line]:
    """The lines that stay the same whatever is ticked: what has to be read."""
    return [line for line in lines if line.voice is not wording.Voice.CHOICE]
