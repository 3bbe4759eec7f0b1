"""The view of all permissions on the controlling terminal: draws ``browse``'s states, and reads its keys.

As the sheet does it: prompt_toolkit draws and owns the terminal's modes, keys go through ``keys.Keyboard``, text is
(style, text) pairs. Requests to the broker are made between two keys, so no key ever counts for a page that changes.
"""

import asyncio
import os
import signal
import termios
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from prompt_toolkit.application import Application, create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.layout import FormattedTextControl, Layout, Window
from prompt_toolkit.output.color_depth import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output

from broker.ui import browse, browse_words, keys, raw, tty, wording
from intents import errors

Ask = Callable[[str, Mapping[str, object]], Mapping[str, object]]  # a method of the protocol and its values; its result
_FEW_ROWS = 3  # of the page that stay visible however long the footer is
_LOUD = (wording.Voice.WARNING, wording.Voice.CHOICE)
_CHANGES = (browse.View.INTENT, browse.View.UNDO)  # pages on which one key changes something
_COLUMNS, _ROWS = 40, 10  # the smallest screen it is readable on


def fits(environ: Mapping[str, str]) -> bool:
    """Whether there is a terminal of ours that can show it. environ: TERM and INTENT_UI count."""
    if environ.get("TERM", "dumb") in ("", "dumb") or environ.get("INTENT_UI") == "plain":
        return False
    terminal = tty.open_ours()
    if terminal is None:
        return False
    columns, rows = tty.size(terminal)
    os.close(terminal)
    return columns >= _COLUMNS and rows >= _ROWS


def show(
    environ: Mapping[str, str], ask: Ask, day: browse_words.Day, pick: browse.Pick, settle: float = keys.SETTLE
) -> None:
    """Show it until the user leaves it or the terminal goes away.

    ask: makes a request to the broker, and raises its IntentError; day: as ``browse_words`` has it; pick: draws the
    word of a critical change; settle: seconds before keys count.
    """
    try:
        with tty.borrowed(alone=False) as terminal:
            if terminal is None:
                return
            tty.discard(terminal)
            tty.tidy(terminal)
            with open(terminal, "w", encoding="utf-8", closefd=False) as stream:
                screen = _Screen(stream, ask, day, pick, settle, ascii=not tty.unicode(environ))
                asyncio.run(screen.run(environ.get("TERM", "")))
    except (EOFError, KeyboardInterrupt, OSError, termios.error):
        return


class _Screen:
    """The view while it is on the screen."""

    def __init__(
        self, stream: TextIO, ask: Ask, day: browse_words.Day, pick: browse.Pick, settle: float, *, ascii: bool
    ) -> None:
        self._stream = stream
        self._ask = ask
        self._day = day
        self._pick = pick
        self._settle = settle
        self._ascii = ascii
        self._keyboard = keys.Keyboard()
        self._state = browse.State()
        self._size = tty.size(stream.fileno())
        self._painted = False
        self._moved = False
        self._top = 0
        self._awaiting: asyncio.TimerHandle | None = None
        self._flowed: tuple[browse.State | None, tuple[int, int], tuple[wording.Line, ...]] = (None, self._size, ())

    async def run(self, term: str) -> None:
        """Draw and wait. Raises EOFError or OSError when the terminal goes away."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._failed)
        source = raw.Raw(self._stream, self._arrived)
        sink = Vt100_Output(self._stream, self._dimensions, term=term, enable_bell=False, enable_cpr=False)
        with create_app_session(input=source, output=sink):
            control = FormattedTextControl(self._text, show_cursor=False)
            self._app: Application[None] = Application(
                layout=Layout(Window(control, always_hide_cursor=True)),
                full_screen=True,
                erase_when_done=True,
                color_depth=ColorDepth.DEPTH_1_BIT,
                after_render=self._drawn,
                input=source,
                output=sink,
            )
            await self._app.run_async(pre_run=self._listen, handle_sigint=False, set_exception_handler=False)

    def _listen(self) -> None:
        for number in tty.closing():
            self._loop.add_signal_handler(number, self._press, keys.CLOSE)
        self._loop.add_signal_handler(signal.SIGCONT, self._again)

    def _dimensions(self) -> Size:
        columns, rows = tty.size(self._stream.fileno())
        return Size(rows=rows, columns=columns)

    def _failed(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback raised, most likely because the terminal is gone: end, and let ``show`` see the exception."""
        if self._app.future and not self._app.future.done():
            self._app.future.set_exception(context.get("exception") or EOFError())

    def _again(self) -> None:
        """After a stop the screen is drawn anew, and stands before keys count."""
        self._keyboard.settle(self._loop.time(), self._settle)
        self._refresh_when_live()

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
        if key == browse.SUSPEND:
            self._app.suspend_to_background()
            return
        if not self._state.writes:
            key = {"j": "down", "k": "up"}.get(key, key)
        before = self._state
        if key in keys.MOVES.values():
            if not self._moved:  # a page that nobody could see yet is not left
                self._moved = True
                self._move(key)
        else:
            self._state = browse.press(before, key, self._pick)
            self._answer()
            view = self._state.page.view
            if view is not before.page.view:
                self._top = 0
                if view in _CHANGES:  # a key that was meant for the page before changes nothing
                    self._again()
            self._show_cursor()
        if self._state.done:
            self._app.exit()
        self._app.invalidate()

    def _answer(self) -> None:
        """Make the requests that come before the next key."""
        while (want := browse.wanted(self._state)) and not self._state.done:
            try:
                found = self._ask(want.method, want.values)
            except errors.IntentError as error:
                self._state = browse.failed(self._state, want, error)
            else:
                self._state = browse.told(self._state, want, found)

    def _move(self, key: str) -> None:
        """A page inside what is too long for the screen, then row by row, so that ``j`` alone gets everywhere."""
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
                moved = browse.move(self._state, 1 if key == "down" else -1)
                if moved is not self._state:
                    self._state = moved
                    self._show_cursor()

    def _scroll(self, top: int) -> None:
        self._top = max(0, min(top, len(self._lines()) - self._height()))

    def _show_cursor(self) -> None:
        """Bring the row under the cursor onto the screen, its heading before all else, and the head above the first."""
        if own := self._own():
            first = own[0] if self._state.page.cursor else 0
            whole = own[-1] - first < self._height()
            self._scroll(min(max(self._top, own[-1] - self._height() + 1), first if whole else own[0]))

    def _own(self) -> list[int]:
        return [index for index, line in enumerate(self._lines()) if line.row == self._state.page.cursor]

    def _block(self) -> tuple[int, int]:
        """First and last line to read at the cursor: the head goes with the first row, the end with the last."""
        own, last = self._own(), len(self._lines()) - 1
        if not own:
            return 0, last
        at = self._state.page.cursor
        return own[0] if at else 0, own[-1] if at < len(self._state.rows) - 1 else last

    # Drawing

    def _measure(self) -> None:
        """After a resize every row is elsewhere, so keys wait again."""
        size = tty.size(self._stream.fileno())
        if size != self._size:
            self._size = size
            self._again()
            self._show_cursor()

    def _page(self) -> wording.Page:
        margin = "| " if self._ascii else "│ "
        return wording.Page(width=min(self._size[0] - 1, wording.WIDEST), margin=margin, ascii=self._ascii)

    def _lines(self) -> tuple[wording.Line, ...]:
        """The page of the current state, flowed once for each state and size: every key asks for it many times."""
        state, size, lines = self._flowed
        if state is not self._state or size != self._size:
            lines = browse_words.lines(self._state, self._page(), self._day)
            self._flowed = (self._state, self._size, lines)
        return lines

    def _footer(self) -> tuple[wording.Line, ...]:
        ways = browse_words.footer(self._state, self._page())
        if not self._keyboard.live(self._loop.time()):
            return (*wording.say("Keys count in a moment.", self._page(), wording.Voice.WARNING), *ways)
        return ways

    def _height(self) -> int:
        return max(_FEW_ROWS, self._size[1] - len(self._footer()))

    def _text(self) -> StyleAndTextTuples:
        self._measure()
        body = self._lines()[self._top : self._top + self._height()]
        footer = self._footer()[: max(0, self._size[1] - len(body))]
        gap = [wording.Line(text="", voice=wording.Voice.OURS)] * (self._size[1] - len(body) - len(footer))
        reverse = " reverse" if self._state.page.view is browse.View.WORD else ""
        shown = [(("bold" if line.voice in _LOUD else "") + reverse, line.text) for line in body]
        shown += [("bold" if line.voice in _LOUD else "", line.text) for line in (*gap, *footer)]
        return [(style, text + "\n" * (index < len(shown) - 1)) for index, (style, text) in enumerate(shown)]

    def _drawn(self, _: object) -> None:
        """What is on the screen now has been shown; the first time, what was typed before it is thrown away."""
        self._moved = False
        if not self._painted:
            self._painted = True
            self._answer()
            tty.discard(self._stream.fileno())
            self._again()

    def _refresh_when_live(self) -> None:
        """Draw again as long as the page says that keys do not count, and once after that."""
        self._app.invalidate()
        if not self._keyboard.live(self._loop.time()) and not self._awaiting:
            self._awaiting = self._loop.call_later(keys.SILENCE, self._look_again)

    def _look_again(self) -> None:
        self._awaiting = None
        self._refresh_when_live()
