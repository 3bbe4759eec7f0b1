"""A window that knows when input counts, and ends with whoever started it. GTK 4.

Nothing here knows a handshake: what counts goes to ``key`` and to the widgets inside, what does not goes to nobody.
"""

import time
from typing import Any

import gi

gi.require_version("Gdk", "4.0")
gi.require_version("Gtk", "4.0")
from gi.repository import Gdk, Gio, GLib, Gtk  # noqa: E402

from broker.ui import gate, widgets  # noqa: E402

_WIDE, _HIGH = 560, 680
_PORTAL = ("org.freedesktop.portal.Desktop", "/org/freedesktop/portal/desktop", "org.freedesktop.portal.Settings")
_LARGEST = 3.0  # times the usual size of text


class Frame:
    """One window. settle: seconds it stands still before input counts; dark: as the user's settings have it."""

    def __init__(self, title: str, settle: float, dark: bool) -> None:
        GLib.set_prgname("intent-run")  # what the window is called on Wayland
        self.loop = GLib.MainLoop()
        self.gate = gate.Gate(settle)
        self.painted = False
        self._waiting = 0
        self._size = (0, 0)
        self._focused = (False, False)
        self.window = Gtk.Window(title=title, default_width=_WIDE, default_height=_HIGH)
        _appear(dark)
        self.window.connect("close-request", lambda _: self.closed())
        self.window.connect("notify::is-active", lambda *_: self._focus())
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
        """Whether the window has the focus, by keyboard or, where there is none, by what the desktop says."""
        surface = self.window.get_surface()
        state = surface is not None and surface.get_state() & Gdk.ToplevelState.FOCUSED
        return bool(state) or self.window.is_active()

    def _focus(self) -> None:
        """The focus came or went, of the window or of the keyboard alone."""
        now = (self.focused(), self.window.is_active())
        if now != self._focused:
            self._focused = now
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
    right_to_left = widgets.PAGE.spoken.right_to_left
    Gtk.Widget.set_default_direction(Gtk.TextDirection.RTL if right_to_left else Gtk.TextDirection.LTR)
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
