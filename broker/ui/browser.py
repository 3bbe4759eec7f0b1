"""The view of all permissions on the controlling terminal: draws ``browse``'s states, and reads its keys.

Requests to the broker are made between two keys, so no key ever counts for a page that changes.
"""

import asyncio
import os
import signal
import termios
from collections.abc import Callable, Mapping
from typing import TextIO

from broker.ui import browse, browse_words, keys, screen, tty, wording
from intents import errors

Ask = Callable[[str, Mapping[str, object]], Mapping[str, object]]  # a method of the protocol and its values; its result
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
                drawn = _Screen(stream, ask, day, pick, settle, ascii=not tty.unicode(environ))
                asyncio.run(drawn.run(environ.get("TERM", "")))
    except (EOFError, KeyboardInterrupt, OSError, termios.error):
        return


class _Screen(screen.Screen):
    """The view while it is on the screen."""

    def __init__(
        self, stream: TextIO, ask: Ask, day: browse_words.Day, pick: browse.Pick, settle: float, *, ascii: bool
    ) -> None:
        super().__init__(stream, settle)
        self._ask = ask
        self._day = day
        self._pick = pick
        self._ascii = ascii
        self._state = browse.State()

    def _now(self) -> object:
        return self._state

    def _flow(self) -> tuple[wording.Line, ...]:
        return browse_words.lines(self._state, self._page(), self._day)

    def _cursor(self) -> tuple[int, int]:
        return self._state.page.cursor, len(self._state.rows) - 1

    def _step(self, by: int) -> None:
        self._state = browse.move(self._state, by)

    def _reversed(self) -> bool:
        return self._state.page.view is browse.View.WORD

    def _seen(self, first: bool) -> None:
        if first:
            self._answer()

    def _listen(self) -> None:
        super()._listen()
        self._loop.add_signal_handler(signal.SIGCONT, self._again)  # the screen is drawn anew

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

    def _show_cursor(self) -> None:
        """Bring the row under the cursor onto the screen, its heading before all else, and the head above the first."""
        if own := self._own():
            first = own[0] if self._state.page.cursor else 0
            whole = own[-1] - first < self._height()
            self._scroll(min(max(self._top, own[-1] - self._height() + 1), first if whole else own[0]))

    def _page(self) -> wording.Page:
        margin = "| " if self._ascii else "│ "
        return wording.Page(width=min(self._size[0] - 1, wording.WIDEST), margin=margin, ascii=self._ascii)

    def _footer(self) -> tuple[wording.Line, ...]:
        ways = browse_words.footer(self._state, self._page())
        if not self._keyboard.live(self._loop.time()):
            return (*wording.say("Keys count in a moment.", self._page(), wording.Voice.WARNING), *ways)
        return ways
