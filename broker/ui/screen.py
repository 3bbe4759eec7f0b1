"""A page on the whole terminal: its keys, what of it is on the screen, and when keys count.

prompt_toolkit draws and owns the terminal's modes; keys go through ``keys.Keyboard`` and never through its bindings,
because a report of the terminal would be taken apart into letters there. Text is (style, text) pairs, never markup.
"""

import abc
import asyncio
from typing import Any, TextIO

from prompt_toolkit.application import Application, create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.layout import FormattedTextControl, Layout, Window
from prompt_toolkit.output.color_depth import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output

from broker.ui import keys, raw, tty, wording

_FEW_ROWS = 3  # of the page that stay visible however long the footer is
_LOUD = (wording.Voice.WARNING, wording.Voice.CHOICE)


class Screen(abc.ABC):
    """One page after the other on ``stream``, a terminal; settle: seconds that a page stands before keys count."""

    def __init__(self, stream: TextIO, settle: float) -> None:
        self._stream = stream
        self._settle = settle
        self._keyboard = keys.Keyboard()
        self._size = tty.size(stream.fileno())
        self._painted = False
        self._moved = False
        self._awaiting: asyncio.TimerHandle | None = None
        self._top = 0
        self._flowed: tuple[object, tuple[int, int], tuple[wording.Line, ...]] = (None, self._size, ())
        self._shown: tuple[wording.Line, ...] = ()

    # What a page is, for whoever derives from this

    @abc.abstractmethod
    def _now(self) -> object:
        """The state that is drawn: another object whenever the page is another."""

    @abc.abstractmethod
    def _flow(self) -> tuple[wording.Line, ...]:
        """The page."""

    @abc.abstractmethod
    def _footer(self) -> tuple[wording.Line, ...]:
        """What stands below it."""

    @abc.abstractmethod
    def _cursor(self) -> tuple[int, int]:
        """The row of the cursor, and the last row."""

    @abc.abstractmethod
    def _step(self, by: int) -> None:
        """Move the cursor, where there is a row to go to."""

    @abc.abstractmethod
    def _press(self, key: str) -> None:
        """Take one key."""

    @abc.abstractmethod
    def _reversed(self) -> bool:
        """Whether the page stands out from all others."""

    @abc.abstractmethod
    def _show_cursor(self) -> None:
        """Bring the row under the cursor onto the screen."""

    @abc.abstractmethod
    def _seen(self, first: bool) -> None:
        """The page is on the screen; ``first``: it is the first one."""

    async def run(self, term: str) -> None:
        """Draw and wait until ``_app`` ends. Raises EOFError or OSError when the terminal goes away."""
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

    def _listen(self) -> None:
        for number in tty.closing():
            self._loop.add_signal_handler(number, self._press, keys.CLOSE)

    def _dimensions(self) -> Size:
        columns, rows = tty.size(self._stream.fileno())
        return Size(rows=rows, columns=columns)

    def _failed(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback raised, most likely because the terminal is gone: end, and let whoever waits see the exception."""
        if self._app.future and not self._app.future.done():
            self._app.future.set_exception(context.get("exception") or EOFError())

    def _again(self) -> None:
        """Let the page stand before keys count."""
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
                before = self._now()
                self._step(1 if key == "down" else -1)
                if self._now() is not before:
                    self._show_cursor()

    def _scroll(self, top: int) -> None:
        self._top = max(0, min(top, len(self._lines()) - self._height()))

    def _own(self) -> list[int]:
        at, _ = self._cursor()
        return [index for index, line in enumerate(self._lines()) if line.row == at]

    def _block(self) -> tuple[int, int]:
        """First and last line to read at the cursor: the head goes with the first row, the end with the last."""
        own, end = self._own(), len(self._lines()) - 1
        if not own:
            return 0, end
        at, last = self._cursor()
        return own[0] if at else 0, own[-1] if at < last else end

    # Drawing

    def _measure(self) -> None:
        """After a resize every row is elsewhere, so keys wait again."""
        size = tty.size(self._stream.fileno())
        if size != self._size:
            self._size = size
            self._again()
            self._show_cursor()

    def _lines(self) -> tuple[wording.Line, ...]:
        """The page of the current state, flowed once for each state and size: every key asks for it many times."""
        state, size, lines = self._flowed
        if state is not self._now() or size != self._size:
            lines = self._flow()
            self._flowed = (self._now(), self._size, lines)
        return lines

    def _height(self) -> int:
        return max(_FEW_ROWS, self._size[1] - len(self._footer()))

    def _text(self) -> StyleAndTextTuples:
        self._measure()
        self._shown = body = self._lines()[self._top : self._top + self._height()]
        footer = self._footer()[: max(0, self._size[1] - len(body))]
        gap = [wording.Line(text="", voice=wording.Voice.OURS)] * (self._size[1] - len(body) - len(footer))
        reverse = " reverse" if self._reversed() else ""
        shown = [(("bold" if line.voice in _LOUD else "") + reverse, line.text) for line in body]
        shown += [("bold" if line.voice in _LOUD else "", line.text) for line in (*gap, *footer)]
        return [(style, text + "\n" * (index < len(shown) - 1)) for index, (style, text) in enumerate(shown)]

    def _drawn(self, _: object) -> None:
        """What is on the screen now has been shown; the first time, what was typed before it is thrown away."""
        self._moved = False
        first, self._painted = not self._painted, True
        self._seen(first)
        if first:
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
