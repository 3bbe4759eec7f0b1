"""What the window is made of: lines of the handshake as labels, and one question with what answers it. GTK 4.

Text is set as text, never as markup. Nothing here decides: what a hand does is reported, what is shown comes from the
sheet's state.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gi

gi.require_version("Gtk", "4.0")
from gi.repository import GObject, Gtk, Pango  # noqa: E402

from broker import prompts  # noqa: E402
from broker.ui import sheet, wording  # noqa: E402
from intents import model, text  # noqa: E402

Widget = Any  # PyGObject has no types
# One line for each sentence, however long: GTK breaks it where the window ends.
PAGE = wording.Page(width=1 << 20, margin="")
STYLE = """
.claim { font-style: italic; }
.claim:dir(ltr) { border-left: 3px solid alpha(currentColor, 0.3); padding-left: 8px; }
.claim:dir(rtl) { border-right: 3px solid alpha(currentColor, 0.3); padding-right: 8px; }
.warning, .choice { font-weight: bold; }
.stop { border: 4px solid currentColor; padding: 12px; }
.waiting { opacity: 0.5; }
"""


def label(words: str, *classes: str) -> Widget:
    """A text that wraps."""
    made = Gtk.Label(label=words, xalign=0, wrap=True, wrap_mode=Pango.WrapMode.WORD_CHAR)
    for name in classes:
        made.add_css_class(name)
    return made


def column(*children: Widget, spacing: int = 6) -> Widget:
    """Widgets below one another."""
    made = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=spacing)
    for child in children:
        made.append(child)
    return made


def lines(said: Iterable[wording.Line], *classes: str) -> Widget:
    """Sentences below one another, each in its voice."""
    made = column(*(label(line.text.strip(), line.voice.value) for line in said if line.text.strip()))
    for name in classes:
        made.add_css_class(name)
    return made


def button(words: str, pressed: Callable[[], None]) -> Widget:
    """A button; the letter after ``_`` in ``words`` presses it together with Alt. Its words wrap."""
    inner = Gtk.Label(label=words, use_underline=True, wrap=True, justify=Gtk.Justification.CENTER)
    made = Gtk.Button(child=inner)
    inner.set_mnemonic_widget(made)
    made.connect("clicked", lambda _: pressed())
    return made


def menu(pressed: Callable[[int], None]) -> Widget:
    """A choice of one text out of a list; ``pressed`` gets the index of the one that a hand chose."""
    made = Gtk.DropDown()
    made.connect("notify::selected", lambda *_: pressed(made.get_selected()))
    return made


def name(widget: Widget, words: str) -> None:
    """What a screen reader calls it."""
    widget.update_property([Gtk.AccessibleProperty.LABEL], [GObject.Value(str, words)])


def margins(widget: Widget) -> Widget:
    """The widget, with room around it."""
    for side in ("top", "bottom", "start", "end"):
        getattr(widget, f"set_margin_{side}")(12)
    return widget


def scrolled(content: Widget | None) -> Widget:
    """What may be higher than the window."""
    made = Gtk.ScrolledWindow(hscrollbar_policy=Gtk.PolicyType.NEVER, vexpand=True, focusable=False)
    if content is not None:
        made.set_child(margins(content))
    return made


def scroll(view: Widget, key: str) -> bool:
    """Move the adjustment of a scrolled widget by a key, by its name; whether that is what the key does."""
    page = 0.9 * view.get_page_size()
    to = {"Page_Up": view.get_value() - page, "Page_Down": view.get_value() + page, "Home": 0, "End": view.get_upper()}
    if key not in to:
        return False
    view.set_value(to[key])
    return True


def inside(block: Widget, view: Widget, height: float) -> tuple[bool, ...]:
    """Which ends of ``block`` can be seen in the scrolled ``view`` of that height: False the upper, True the lower."""
    known, where = block.compute_bounds(view)
    if not known:
        return ()
    ends = (where.get_y(), where.get_y() + where.get_height())
    return tuple(bool(index) for index, end in enumerate(ends) if -1 <= end <= height + 1)


def typed(word: str, pressed: Callable[[str], None]) -> Widget:
    """Where a word is typed by hand (what comes at once is a paste); ``pressed`` gets its letters once it is there."""
    made = Gtk.Entry(input_purpose=Gtk.InputPurpose.ALPHA, input_hints=Gtk.InputHints.NO_SPELLCHECK)
    name(made, text.said("Type the word"))
    before = [""]

    def changed(_: Widget) -> None:
        now = made.get_text()
        if len(now) > len(before[0]) + 1:
            before[0] = ""
            made.set_text("")
            return
        before[0] = now
        if now == word:
            for letter in word:
                pressed(letter)

    made.connect("changed", changed)
    return made


class Row:
    """One question and what answers it.

    pressed: gets the row's index and a key of the sheet; span: the row's index and the lifespan that was chosen.
    """

    def __init__(
        self,
        index: int,
        question: prompts.Question,
        pressed: Callable[[int, str], None],
        span: Callable[[int, model.Lifespan], None],
    ) -> None:
        self._spans: tuple[model.Lifespan, ...] = ()
        self._index = index
        self._chosen = span
        self._drawing = False
        title = wording.clean(question.title)
        self.check = Gtk.CheckButton(label=text.said("Allow"))
        name(self.check, text.said("Allow: {title}", title=title))
        self.check.connect("toggled", lambda _: None if self._drawing else pressed(index, " "))
        self._verdict = label("")
        self._menu = menu(self._pick)
        self._menu.set_hexpand(True)
        name(self._menu, text.said("How long: {title}", title=title))
        self._details = button(text.said("Details"), lambda: pressed(index, "?"))
        name(self._details, text.said("Details: {title}", title=title))
        controls = Gtk.Box(spacing=12)
        for each in (self.check, self._verdict, self._menu, self._details):
            controls.append(each)
        head = column(label(title, "choice"), label(wording.weight(question)), spacing=0)
        self.widget = column(head, lines(wording.body(question, PAGE)), controls, spacing=9)
        self.frame = Gtk.Frame(child=margins(self.widget))

    def draw(self, row: sheet.Row, offered: Sequence[model.Lifespan]) -> None:
        """Show the answer as it stands, with the lifespans that it could have."""
        self._drawing = True
        self.check.set_active(row.ticked)
        self._verdict.set_label(text.said("ALLOWED") if row.ticked else text.said("denied"))
        if tuple(offered) != self._spans:
            self._spans = tuple(offered)
            self._menu.set_model(Gtk.StringList.new([wording.span(each) for each in self._spans]))
        self._menu.set_selected(self._spans.index(row.choice.span))
        self._drawing = False

    def _pick(self, position: int) -> None:
        if not self._drawing and position < len(self._spans):
            self._chosen(self._index, self._spans[position])
