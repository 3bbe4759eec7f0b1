"""The process that draws the window: it asks what is to be shown, shows it, and says what was answered (SPEC §11.5).

It has no policy and no files of ours: descriptor 0 is a socket to whoever asks, and there is nothing else. GTK 4
through the distribution's PyGObject; ``sheet`` says what each act does, ``wording`` every sentence, ``gate`` when input
counts.
"""

import dataclasses
import secrets
import socket
import time
from typing import Any

import gi

gi.require_version("Gdk", "4.0")
gi.require_version("Gtk", "4.0")
from gi.repository import Gdk, Gio, GLib, Gtk  # noqa: E402

from broker import client, prompts, wire  # noqa: E402
from broker.ui import gate, keys, sheet, widgets, wording  # noqa: E402
from intents import errors, model, text  # noqa: E402

_WIDE, _HIGH = 560, 680
_ENTER = ("Return", "KP_Enter", "ISO_Enter")
_PORTAL = ("org.freedesktop.portal.Desktop", "/org/freedesktop/portal/desktop", "org.freedesktop.portal.Settings")
_LARGEST = 3.0  # times the usual size of text


class _Frame:
    """A window that knows when input counts, and ends with whoever started it."""

    def __init__(self, title: str, settle: float, dark: bool) -> None:
        GLib.set_prgname("intent-run")  # what the window is called on Wayland
        self.loop = GLib.MainLoop()
        self.gate = gate.Gate(settle)
        self.painted = False
        self._waiting = 0
        self._size = (0, 0)
        self._focused = False
        self.window = Gtk.Window(title=title, default_width=_WIDE, default_height=_HIGH)
        _appear(dark)
        self.window.connect("close-request", lambda _: self.closed())
        self.window.connect("notify::is-active", lambda *_: self.settle())  # where keys go to
        # Before any widget sees it. PyGObject before 3.48 does not know events themselves.
        hands = Gtk.GestureClick(button=0, propagation_phase=Gtk.PropagationPhase.CAPTURE)
        hands.connect("pressed", lambda gesture, *_: self._clicked(gesture))
        typing = Gtk.EventControllerKey(propagation_phase=Gtk.PropagationPhase.CAPTURE)
        typing.connect("key-pressed", lambda _, value, *more: self._typed(Gdk.keyval_name(value) or ""))
        for controller in (hands, typing):
            self.window.add_controller(controller)
        GLib.unix_fd_add_full(0, 0, GLib.IOCondition.IN | GLib.IOCondition.HUP, lambda *_: self.loop.quit())

    def show(self) -> None:
        """Put the window on the screen."""
        self.window.present()
        clock = self.window.get_frame_clock()
        clock.connect("after-paint", lambda _: self._paint())
        surface = self.window.get_surface()
        surface.connect("layout", lambda _, width, height: self._layout((width, height)))
        surface.connect("notify::state", lambda *_: self._focus())

    def closed(self) -> bool:
        """The window was closed."""
        self.loop.quit()
        return False

    def key(self, name: str) -> bool:
        """A key that counts, by its name of gdk/gdkkeysyms.h; whether that was all."""
        return name == "Escape" and (self.loop.quit() or True)

    def first(self) -> None:
        """The window is on the screen for the first time."""

    def waits(self, waiting: bool) -> None:
        """Input has ceased to count, or counts from now on."""

    def settle(self) -> None:
        """The page changed under the hand: it has to stand still anew."""
        if self.painted and self.focused():
            self.gate.settle(time.monotonic())
        self._look()

    def _paint(self) -> None:
        if not self.painted:
            self.painted = True
            self.first()
            self.settle()

    def _layout(self, size: tuple[int, int]) -> None:
        if size != self._size:
            self._size = size
            self.settle()

    def focused(self) -> bool:
        """Whether the window has the focus, which it can have without a keyboard."""
        surface = self.window.get_surface()
        return surface is not None and bool(surface.get_state() & Gdk.ToplevelState.FOCUSED)

    def _focus(self) -> None:
        if self.focused() != self._focused:
            self._focused = self.focused()
            self.gate.shut()
            self.settle()

    def _clicked(self, gesture: Any) -> None:
        if not self.gate.take(time.monotonic()):
            gesture.set_state(Gtk.EventSequenceState.CLAIMED)  # and so nobody else's
        self._look()

    def _typed(self, name: str) -> bool:
        counts = self.gate.take(time.monotonic())
        self._look()
        return not counts or self.key(name)

    def _look(self) -> bool:
        """Say whether input counts, and look again as long as it does not."""
        live = self.gate.live(time.monotonic())
        self.waits(not live)
        if self._waiting:
            GLib.source_remove(self._waiting)
        shut = live or not self.focused()
        self._waiting = 0 if shut else GLib.timeout_add(50, self._again)
        return False

    def _again(self) -> bool:
        self._waiting = 0
        return self._look()


def _appear(dark: bool) -> None:
    """Light or dark, and as large, as the user has it: what the settings said, and what the desktop says (portal)."""
    style = Gtk.CssProvider()
    if hasattr(style, "load_from_string"):  # GTK 4.12
        style.load_from_string(widgets.STYLE)
    else:
        style.load_from_data(widgets.STYLE.encode())
    screen = Gdk.Display.get_default()
    Gtk.StyleContext.add_provider_for_display(screen, style, Gtk.STYLE_PROVIDER_PRIORITY_APPLICATION)
    settings = Gtk.Settings.get_default()
    settings.props.gtk_application_prefer_dark_theme = dark

    def told(bus: Any, result: Any) -> None:
        try:
            (found,) = bus.call_finish(result).unpack()
        except GLib.Error:
            return
        scheme = found.get("org.freedesktop.appearance", {}).get("color-scheme", 0)
        settings.props.gtk_application_prefer_dark_theme = scheme == 1 or (dark and scheme == 0)
        scale = found.get("org.gnome.desktop.interface", {}).get("text-scaling-factor", 1.0)
        settings.props.gtk_xft_dpi = int(96 * 1024 * min(max(float(scale), 1.0), _LARGEST))

    def connected(_: Any, result: Any) -> None:
        try:
            bus = Gio.bus_get_finish(result)
        except GLib.Error:
            return
        name, path, interface = _PORTAL
        wanted = GLib.Variant("(as)", (["org.freedesktop.appearance", "org.gnome.desktop.interface"],))
        flags = Gio.DBusCallFlags.NONE
        bus.call(name, path, interface, "ReadAll", wanted, None, flags, 5000, None, told)

    Gio.bus_get(Gio.BusType.SESSION, None, connected)


class _Ask(_Frame):
    """One handshake in a window: the list of questions, and in its place the details or the word of one of them."""

    def __init__(self, asker: client.Client, dark: bool, settle: float) -> None:
        listed: Any = asker.call("list")
        (put,) = listed["questions"]
        self._asker = asker
        self._question, self._shown = put["question"], put["shown"]
        self._request = wire.read_request(put["request"])
        self._state = sheet.start(self._request)
        self._view: sheet.View | None = None
        title = text.said("{app} asks what it may do", app=self._request.app_id)
        super().__init__(title, settle, dark)
        self._read: set[tuple[Any, bool]] = set()
        self._build()
        self._draw()

    # What it is made of

    def _build(self) -> None:
        self._rows = [
            widgets.Row(index, question, self._press, self._span)
            for index, question in enumerate(self._request.questions)
        ]
        self._head = widgets.lines((*wording.head(self._request, widgets.PAGE), *_unprotected()))
        self._head.set_focusable(True)
        together = widgets.lines(wording.together(self._request, widgets.PAGE))
        self._blocks = [self._head, *(row.widget for row in self._rows), together]
        content = widgets.column(self._head, *(row.frame for row in self._rows), together, spacing=12)
        self._list = widgets.scrolled(content)
        self._list.get_vadjustment().connect("value-changed", lambda _: self._look())
        self._page = widgets.scrolled(None)
        self._stack = Gtk.Stack()
        for page in (self._list, self._page):
            self._stack.add_child(page)
        self._notice = widgets.label("", "warning")
        self._answers = Gtk.Grid(column_homogeneous=True, row_spacing=6, column_spacing=6)
        self._later = widgets.button(text.said("Decide _later"), lambda: self._press(-1, "l"))
        self._deny = widgets.button(text.said("_Deny all"), lambda: self._press(-1, "d"))
        self._least = widgets.button(text.said("Only what is _required"), lambda: self._press(-1, "m"))
        self._start = widgets.button(text.said("_Start with what is ticked"), lambda: self._press(-1, "s"))
        asked = (self._later, self._deny, self._least, self._start) if self._rows else (self._later, self._start)
        for place, each in enumerate(asked):
            self._answers.attach(each, place % 2, place // 2, 1, 1)
        self._back = widgets.button(text.said("_Back"), lambda: self._press(-1, keys.ESCAPE))
        footer = widgets.margins(widgets.column(self._notice, self._answers, self._back, spacing=9))
        self.window.set_child(widgets.column(self._stack, footer, spacing=0))

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
        elif not (scrolls := self._state.view is not sheet.View.WORD and self._scroll(name)):
            return scrolls
        return True

    def _enter(self, focus: Any) -> None:
        if focus in (self._later, self._deny, self._back):
            focus.activate()
            return
        inside = [index for index, row in enumerate(self._rows) if focus.is_ancestor(row.widget)]
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
        elif not words and not seen.all:
            words = text.said("There is more to read: scroll down.")
        self._notice.set_label(words)

    def _draw(self) -> None:
        if self._state.done:
            self._finish()
            return
        for row, widget in zip(self._state.rows, self._rows, strict=True):
            widget.draw(row, prompts.spans(self._request, row.question, row.choice.effect))
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
        if listed:
            # At first nothing that answers has the focus; after that, what the page was opened from.
            (self._rows[self._state.cursor].check if self.painted else self._head).grab_focus()
        elif self._view is sheet.View.DETAILS:
            question = self._state.row.question
            self._page.set_child(widgets.margins(widgets.lines(wording.details(self._request, question, widgets.PAGE))))
            self._back.grab_focus()
        else:
            said = wording.critical(self._state.row.question, self._state.word, widgets.PAGE)
            entry = widgets.typed(self._state.word, lambda letter: self._press(-1, letter))
            self._page.set_child(widgets.margins(widgets.column(widgets.lines(said, "stop"), entry, spacing=12)))
            entry.grab_focus()

    def _seen(self) -> sheet.Seen:
        """How much was on the screen: a block counts once its beginning and its end have been."""
        view = self._list.get_vadjustment()
        if self.painted and self.focused() and self._state.view is sheet.View.LIST:
            for block in self._blocks:
                self._read.update((block, end) for end in widgets.inside(block, self._list, view.get_page_size()))
        read = [all((block, end) in self._read for end in (False, True)) for block in self._blocks]
        return sheet.Seen(row=bool(self._rows) and read[1 + self._state.cursor], all=all(read))

    def _finish(self) -> None:
        answers = None if self._state.answers is None else wire.answers_data(self._state.answers)
        self.loop.quit()
        self._asker.call("answer", question=self._question, shown=self._shown, answers=answers)


class _Tell(_Frame):
    """Why something did not start, to be read and closed."""

    def __init__(self, told: Any, dark: bool) -> None:
        super().__init__(text.said("Not started"), 0, dark)
        words = [widgets.label(wording.clean(told["message"]), "choice"), widgets.label(wording.clean(told["hint"]))]
        page = widgets.scrolled(widgets.column(*words, spacing=12))
        close = widgets.button(text.said("_Close"), self.loop.quit)
        self.window.set_child(widgets.column(page, widgets.margins(close), spacing=0))
        close.grab_focus()


def _unprotected() -> tuple[wording.Line, ...]:
    """What has to be said where the display lets other programs press keys."""
    if Gdk.Display.get_default().__gtype__.name != "GdkX11Display":
        return ()
    words = "This is an X11 session: any program on it can press keys and click here in your place."
    return wording.say(text.said(words), widgets.PAGE, wording.Voice.WARNING)


def main(mode: str, look: str, settle: str = "0") -> int:
    """Show what comes over descriptor 0 (mode ``ask`` or ``tell``; look ``dark`` or ``light``); an exit status."""
    asker = client.Client(socket.socket(fileno=0))
    try:
        dark = look == "dark"
        frame = _Ask(asker, dark, float(settle)) if mode == "ask" else _Tell(asker.event(), dark)
        frame.show()
        frame.loop.run()
    except errors.MessageError:
        return 1
    return 0
