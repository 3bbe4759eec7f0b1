"""The process that draws the window: it asks what is to be shown, shows it, and says what was answered (SPEC §11.5).

It has no policy and no files of ours: descriptor 0 is a socket to whoever asks, and there is nothing else. GTK 4
through the distribution's PyGObject; ``sheet`` says what each act does, ``wording`` every sentence, ``gate`` when input
counts.
"""

import dataclasses
import os
import secrets
import socket
import sys
import time
from typing import Any

import gi

gi.require_version("Gdk", "4.0")
gi.require_version("Gtk", "4.0")
from gi.repository import Gdk, Gtk  # noqa: E402

from broker import client, prompts, wire  # noqa: E402
from broker.ui import choices, frame, keys, less, sheet, widgets, wording  # noqa: E402
from intents import errors, model, text  # noqa: E402

_ENTER = ("Return", "KP_Enter", "ISO_Enter")


class _Ask(frame.Frame):
    """One handshake in a window: the list of questions, and in its place the details or the word of one of them."""

    def __init__(self, asker: client.Client, dark: bool, settle: float) -> None:
        listed: Any = asker.call("list")
        (put,) = listed["questions"]
        self._asker = asker
        self._question, self._shown = put["question"], put["shown"]
        self._request = wire.read_request(put["request"])
        if listed.get("places") is True:
            self._request = dataclasses.replace(self._request, elsewhere=self._elsewhere)
        self._state = sheet.start(self._request)
        self._view: sheet.View | None = None
        title = widgets.ours(wording.title(self._request))
        super().__init__(title, settle, dark)
        self._read: set[tuple[Any, bool]] = set()
        self._options: widgets.Options | None = None
        self._combined: tuple[wording.Line, ...] | None = None
        self._build()
        self._draw()

    # What it is made of

    def _build(self) -> None:
        self._rows = [widgets.Row(*row, self._press, self._span) for row in enumerate(self._state.rows)]
        for widget, row in zip(self._rows, self._state.rows, strict=True):
            widget.less.set_visible(bool(row.options) or choices.names_places(self._request, row))
        said = (*wording.head(self._request, widgets.PAGE), *_unprotected())
        self._head = widgets.lines(said)
        self._head.set_focusable(True)
        widgets.name(self._head, self.window.get_title(), " ".join(line.text for line in said))
        self._together = widgets.column()
        self._blocks = [self._head, *(row.block for row in self._rows), self._together]
        self._list = widgets.scrolled()
        self._list.set_child(
            widgets.margins(widgets.column(self._head, *(row.frame for row in self._rows), self._together, spacing=12))
        )
        self._page = widgets.scrolled()
        self._stack = Gtk.Stack()
        for page in (self._list, self._page):
            page.get_vadjustment().connect("value-changed", lambda _: self._look())
            self._stack.add_child(page)
        self._notice = widgets.label("", "warning", accessible_role=Gtk.AccessibleRole.STATUS)
        self._answers = Gtk.Grid(column_homogeneous=True, row_spacing=6, column_spacing=6)
        self._later = self._answer(text.said("Decide _later"), "l")
        self._deny = self._answer(text.said("_Deny all"), "d")
        self._least = self._answer(text.said("Only what is _required"), "m")
        self._start = self._answer(text.said("_Start with what is ticked"), "s")
        asked = (self._later, self._deny, self._least, self._start) if self._rows else (self._later, self._start)
        for place, each in enumerate(asked):
            self._answers.attach(each, place % 2, place // 2, 1, 1)
        self._back = self._answer(text.said("_Back"), keys.ESCAPE)
        footer = widgets.margins(widgets.column(self._notice, self._answers, self._back, spacing=9))
        self.window.set_child(widgets.column(self._stack, footer, spacing=0))

    def _answer(self, words: str, key: str) -> Any:
        return widgets.button(widgets.ours(words), lambda: self._press(-1, key))

    # What a hand does

    def _press(self, index: int, key: str) -> None:
        """A key of the sheet, for the question with this index, or for none."""
        if key != keys.CLOSE and not self.gate.live(time.monotonic()):
            self._draw()  # as it was
            return
        if index >= 0:
            self._state = dataclasses.replace(self._state, cursor=index)
        self._state = sheet.press(self._state, key, self._seen(), secrets.choice)
        self._draw()

    def _take(self, number: int) -> None:
        """How much is given was chosen, on its own page."""
        self._state = dataclasses.replace(self._state, option=number)
        self._press(-1, " ")

    def _elsewhere(self, intent: str, typed: str) -> tuple[prompts.Narrowing, ...] | text.Said:
        """What a place comes to that was typed: whoever asks looks at it."""
        match self._asker.call("place", intent=intent, typed=typed):
            case {"narrower": list(found)}:
                return tuple(map(wire.read_narrowing, found))
            case {"said": str(said)}:
                return text.joined((said,), "")
        raise errors.MessageError("bad-message", "a place comes to something or not")

    def _span(self, index: int, span: model.Lifespan) -> None:
        """A lifespan was chosen for the answer of one question."""
        rows = list(self._state.rows)
        row = rows[index]
        rows[index] = dataclasses.replace(row, allow=span) if row.ticked else dataclasses.replace(row, deny=span)
        self._state = dataclasses.replace(self._state, rows=tuple(rows), notice="")
        self._draw()

    def key(self, name: str) -> bool:
        """Enter shows the details of a question and never answers; Esc goes back, and in the list decides nothing."""
        focus = self.window.get_focus()
        if focus is None or focus.get_ancestor(Gtk.Popover):
            return False
        if name == "Escape":
            self._press(-1, keys.ESCAPE)
        elif name in _ENTER:
            self._enter(focus)
        elif not (scrolls := not self._state.writes and self._scroll(name)):
            return scrolls
        return True

    def _enter(self, focus: Any) -> None:
        if focus in (self._later, self._deny, self._back):
            focus.activate()
            return
        if self._state.view is sheet.View.PLACE:
            self._state = dataclasses.replace(self._state, typed=self._entry.get_text())
            self._press(-1, "\r")
            return
        inside = [index for index, row in enumerate(self._rows) if focus.is_ancestor(row.block)]
        if inside and self._state.view is sheet.View.LIST:
            self._press(inside[0], "?")
        elif self._state.view is sheet.View.LIST:
            self._state = dataclasses.replace(self._state, notice=text.said("Enter answers nothing here: press Space."))
            self._draw()

    def _scroll(self, name: str) -> bool:
        view = self._list if self._state.view is sheet.View.LIST else self._page
        return widgets.scroll(view.get_vadjustment(), name)

    def closed(self) -> bool:
        """Closed is not answered."""
        self._press(-1, keys.CLOSE)
        return True

    # What is shown

    def first(self) -> None:
        """Tell whoever asks that the window is up."""
        self._asker.call("showing")

    def waits(self, waiting: bool) -> None:
        """The answers look pale, and the notice says why, until input counts and all was read."""
        seen = self._seen()
        for each in (self._start, self._least):
            each.set_sensitive(seen.all)
        (self._answers.add_css_class if waiting else self._answers.remove_css_class)("waiting")
        words: str = self._state.notice
        if not self.focused():
            words = text.said("Nothing counts while another window has the focus.")
        elif waiting:
            words = text.said("Keys and clicks count in a moment.")
        elif not words and not seen.all and self._view in (sheet.View.LIST, sheet.View.LESS):
            words = self._more()
        self._notice.set_label(widgets.ours(words))

    def _draw(self) -> None:
        if self._state.done:
            self._finish()
            return
        for row, widget in zip(self._state.rows, self._rows, strict=True):
            offered = prompts.spans(self._request, row.question, row.choice.effect, row.standing.risk)
            if widget.draw(row, offered):
                self._unread(widget.block)
        together = wording.together(self._request, widgets.PAGE, self._state.given)
        if together != self._combined:
            self._combined = together
            widgets.fill(self._together, widgets.lines(together))
            self._unread(self._together)
        if self._options is not None and self._state.view is self._view is sheet.View.LESS:
            self._options.draw(self._state.row)
        if self._state.view is not self._view:
            self._view = self._state.view
            self._turn()
            self.settle()
        self._look()

    def _turn(self) -> None:
        """Show the page of the view that the sheet has changed to."""
        listed = self._view is sheet.View.LIST
        self._answers.set_visible(listed)
        self._back.set_visible(not listed)
        self._stack.set_visible_child(self._list if listed else self._page)
        row, focus = self._state.row if self._rows else None, self._back
        if listed or row is None:
            self._page.set_child(None)  # so that nobody reads it aloud any more
            # At first nothing that answers has the focus; after that, what the page was opened from.
            (self._rows[self._state.cursor].check if self.painted and self._rows else self._head).grab_focus()
            return
        if self._view is sheet.View.DETAILS:
            page = widgets.lines(wording.details(self._request, row.question, widgets.PAGE))
        elif self._view is sheet.View.LESS:
            another = (lambda: self._press(-1, "e")) if self._state.names_places else None
            self._options = widgets.Options(row, self._take, another)
            page = self._options.widget
        elif self._view is sheet.View.PLACE:
            self._entry = focus = Gtk.Entry()
            page = widgets.column(widgets.lines(less.typing(widgets.PAGE)), focus, spacing=12)
        else:
            asked = prompts.narrowed(row.question, self._state.pending)
            said = wording.critical(asked, self._state.word, widgets.PAGE)
            focus = widgets.typed(self._state.word, lambda letter: self._press(-1, letter))
            page = widgets.column(widgets.lines(said, "stop"), focus, spacing=12)
        self._page.set_child(widgets.margins(page))
        self._page.get_vadjustment().set_value(0)
        focus.grab_focus()

    def _seen(self) -> sheet.Seen:
        """How much was on the screen: a block counts once its beginning and its end have been."""
        lesser = self._view is sheet.View.LESS and self._options is not None
        blocks, page = (self._options.blocks, self._page) if lesser and self._options else (self._blocks, self._list)
        if self.painted and self.focused() and page is self._stack.get_visible_child():
            height = page.get_vadjustment().get_page_size()
            for block in blocks:
                self._read.update((block, end) for end in widgets.inside(block, page, height))
        read = [all((block, end) in self._read for end in (False, True)) for block in blocks]
        return sheet.Seen(row=all(read) if lesser else bool(self._rows) and read[1 + self._state.cursor], all=all(read))

    def _more(self) -> text.Said:
        """Where there is something to read."""
        options = self._options.blocks if self._view is sheet.View.LESS and self._options else None
        page = self._list if options is None else self._page
        missed = [block for block in options or self._blocks if not {(block, False), (block, True)} <= self._read]
        if missed and all(widgets.above(block, page) for block in missed):
            return text.said("There is more to read: scroll up.")
        return text.said("There is more to read: scroll down.")

    def _unread(self, block: Any) -> None:
        """It says something else now."""
        self._read -= {(block, False), (block, True)}

    def _finish(self) -> None:
        answers = None if self._state.answers is None else wire.answers_data(self._state.answers)
        self.loop.quit()
        self._asker.call("answer", question=self._question, shown=self._shown, answers=answers)


class _Tell(frame.Frame):
    """Why something did not start, to be read and closed."""

    def __init__(self, told: Any, dark: bool) -> None:
        super().__init__(widgets.ours(text.said("Not started")), 0, dark)
        words = [widgets.label(widgets.ours(told["message"]), "choice"), widgets.label(widgets.ours(told["hint"]))]
        page = widgets.scrolled()
        page.set_child(widgets.margins(widgets.column(*words, spacing=12)))
        close = widgets.button(widgets.ours(text.said("_Close")), self.loop.quit)
        self.window.set_child(widgets.column(page, widgets.margins(close), spacing=0))
        close.grab_focus()


def _unprotected() -> tuple[wording.Line, ...]:
    """What has to be said where the display lets other programs press keys."""
    if Gdk.Display.get_default().__gtype__.name != "GdkX11Display":
        return ()
    said = text.said("This is an X11 session: any program on it can press keys and click here in your place.")
    return wording.say(said, widgets.PAGE, wording.Voice.WARNING)


def _end(*error: Any) -> None:
    """A mistake of ours in the middle of drawing: what is on the screen may not be what an answer would say."""
    sys.__excepthook__(*error)
    os._exit(1)


def main(mode: str, look: str, settle: str = "0") -> int:
    """Show what comes over descriptor 0 (mode ``ask`` or ``tell``; look ``dark`` or ``light``); an exit status."""
    sys.excepthook = _end
    asker = client.Client(socket.socket(fileno=0))
    try:
        dark = look == "dark"
        shown = _Ask(asker, dark, float(settle)) if mode == "ask" else _Tell(asker.event(), dark)
        shown.show()
        shown.loop.run()
    except errors.MessageError:
        return 1
    return 0
