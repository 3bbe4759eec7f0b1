"""What the window is made of: lines of the handshake as labels, and one question with what answers it. GTK 4.

Text is set as text, never as markup. Nothing here decides: what a hand does is reported, what is shown comes from the
sheet's state.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import gi

gi.require_version("Gtk", "4.0")
from gi.repository import GObject, Gtk, Pango  # noqa: E402

from broker import prompts  # noqa: E402
from broker.ui import choices, language, less, wording  # noqa: E402
from intents import model, text  # noqa: E402

Widget = Any  # PyGObject has no types
# One line for each sentence, however long: GTK breaks it where the window ends.
PAGE = wording.Page(width=1 << 20, margin="", spoken=language.choose(os.environ))
_INDENT = 26  # what is said about an option stands below its title
STYLE = """
.claim { font-style: italic; }
.claim:dir(ltr) { border-left: 3px solid alpha(currentColor, 0.3); padding-left: 8px; }
.claim:dir(rtl) { border-right: 3px solid alpha(currentColor, 0.3); padding-right: 8px; }
.warning, .choice { font-weight: bold; }
.stop { border: 4px solid currentColor; padding: 12px; }
.waiting { opacity: 0.5; }
"""


def ours(words: str) -> str:
    """One of our sentences in the user's language, with nothing in it that could deceive."""
    return PAGE.spoken.ordered(wording.say(words, PAGE)[0].text)


def label(words: str, *classes: str, **more: object) -> Widget:
    """A text that wraps; ``more`` are properties of Gtk.Label."""
    made = Gtk.Label(label=words, xalign=0, wrap=True, wrap_mode=Pango.WrapMode.WORD_CHAR, **more)
    # A hyphen that is not there would make another path or fingerprint of it.
    whole = Pango.AttrList()
    whole.insert(Pango.attr_insert_hyphens_new(False))
    made.set_attributes(whole)
    for name in classes:
        made.add_css_class(name)
    return made


def column(*children: Widget, spacing: int = 6) -> Widget:
    """Widgets below one another."""
    made = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=spacing)
    for child in children:
        made.append(child)
    return made


def line(*children: Widget) -> Widget:
    """Widgets beside one another."""
    made = Gtk.Box(spacing=12)
    for child in children:
        made.append(child)
    return made


def lines(said: Iterable[wording.Line], *classes: str) -> Widget:
    """Sentences below one another, each in its voice."""
    put = [(PAGE.spoken.ordered(line.text.strip()), line.voice.value) for line in said if line.text.strip()]
    made = column(*(label(words, voice) for words, voice in put))
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


def name(widget: Widget, words: str, about: str = "") -> None:
    """What a screen reader calls it, and what it says about it."""
    widget.update_property([Gtk.AccessibleProperty.LABEL], [GObject.Value(str, words)])
    widget.update_property([Gtk.AccessibleProperty.DESCRIPTION], [GObject.Value(str, about)])


def fill(box: Widget, *children: Widget) -> None:
    """Put these into a box instead of what it holds."""
    while (old := box.get_first_child()) is not None:
        box.remove(old)
    for child in children:
        box.append(child)


def margins(widget: Widget) -> Widget:
    """The widget, with room around it."""
    for side in ("top", "bottom", "start", "end"):
        getattr(widget, f"set_margin_{side}")(12)
    return widget


def scrolled() -> Widget:
    """For what may be higher than the window."""
    return Gtk.ScrolledWindow(hscrollbar_policy=Gtk.PolicyType.NEVER, vexpand=True, focusable=False)


def scroll(view: Widget, key: str) -> bool:
    """Move the adjustment of a scrolled widget by a key, by its name; whether that is what the key does."""
    page = 0.9 * view.get_page_size()
    steps = {"Page_Up": -page, "Page_Down": page, "k": -page / 3, "j": page / 3, "Home": -view.get_upper()}
    step = {**steps, "End": view.get_upper()}.get(key)
    if step is None:
        return False
    view.set_value(view.get_value() + step)
    return True


def inside(block: Widget, view: Widget, height: float) -> tuple[bool, ...]:
    """Which ends of ``block`` can be seen in the scrolled ``view`` of that height: False the upper, True the lower."""
    known, where = block.compute_bounds(view)
    if not known:
        return ()
    ends = (where.get_y(), where.get_y() + where.get_height())
    return tuple(bool(index) for index, end in enumerate(ends) if -1 <= end <= height + 1)


def above(block: Widget, view: Widget) -> bool:
    """Whether the beginning of ``block`` lies above what is seen of the scrolled ``view``."""
    known, where = block.compute_bounds(view)
    return bool(known and where.get_y() < -1)


def typed(word: str, pressed: Callable[[str], None]) -> Widget:
    """Where a word is typed by hand (what comes at once is a paste); ``pressed`` gets its letters once it is there."""
    made = Gtk.Entry(input_purpose=Gtk.InputPurpose.ALPHA, input_hints=Gtk.InputHints.NO_SPELLCHECK)
    name(made, ours(text.said("Type the word")))
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
    """One question and what answers it, both as they stand.

    pressed: gets the row's index and a key of the sheet; span: the row's index and the lifespan that was chosen.
    ``block`` is what has to be read.
    """

    def __init__(
        self,
        index: int,
        row: choices.Row,
        pressed: Callable[[int, str], None],
        span: Callable[[int, model.Lifespan], None],
    ) -> None:
        self._spans: tuple[model.Lifespan, ...] = ()
        self._answers: list[str] = []
        self._shown: prompts.Question | None = None
        self._drawing = False
        title = ours(row.question.title)
        self.check = Gtk.CheckButton(label=ours(text.said("Allow")))
        self.check.connect("toggled", lambda _: None if self._drawing else pressed(index, " "))
        self._menu = menu(lambda place: None if self._drawing else span(index, self._spans[place]))
        self._menu.set_hexpand(True)
        name(self._menu, ours(text.said("How long: {title}", title=title)))
        self.less = button(ours(text.said("Less")), lambda: pressed(index, "n"))
        name(self.less, ours(text.said("Less: {title}", title=title)))
        details = button(ours(text.said("Details")), lambda: pressed(index, "?"))
        name(details, ours(text.said("Details: {title}", title=title)))
        self._words = column()
        controls = column(line(self.check, self._menu), line(self.less, details))
        self.block = column(self._words, controls, spacing=9)
        self.frame = Gtk.Frame(child=margins(self.block))

    def draw(self, row: choices.Row, offered: Sequence[model.Lifespan]) -> bool:
        """Show the answer as it stands, and the lifespans it could have; whether there is something new to read."""
        self._drawing = True
        self.check.set_active(row.ticked)
        answers = [ours(wording.verdict(replace(row.choice, span=span))) for span in offered]
        if answers != self._answers:
            self._spans, self._answers = tuple(offered), answers
            self._menu.set_model(Gtk.StringList.new(answers))
        self._menu.set_selected(self._spans.index(row.choice.span))
        self._drawing = False
        if row.standing == self._shown:
            return False
        self._shown = row.standing
        title, weight = ours(row.standing.title), ours(wording.weight(row.standing))
        said = wording.body(row.standing, PAGE)
        fill(self._words, column(label(title, "choice"), label(weight), spacing=0), lines(said))
        about = " ".join((f"{weight}.", *(each.text.strip() for each in said)))
        name(self.check, ours(text.said("Allow: {title}", title=title)), about)
        name(self.block, title)
        return True


class Options:
    """How much of one thing the app may have.

    pressed: gets the number of what was chosen, 0 for nothing; another: the user wants to name a place, if they can.
    """

    def __init__(
        self, row: choices.Row, pressed: Callable[[int], None], another: Callable[[], None] | None = None
    ) -> None:
        self._drawing = False
        said = less.options(row.question, row.options, row.taken, -1, PAGE)
        heads = [line for line in said if line.row < 0 and line.voice is wording.Voice.OURS]
        self._checks: list[Widget] = []
        self._either = len(row.question.open) == 1
        self.blocks = [lines(heads)]
        for number in range(len(row.options) + 1):
            sentences = [line for line in said if line.row == number][1:]
            own = lines(sentences)
            own.set_margin_start(_INDENT)
            check = Gtk.CheckButton(label=self._title(row, number))
            name(check, self._title(row, number), " ".join(each.text.strip() for each in sentences))
            check.add_css_class(wording.Voice.CHOICE.value)
            if self._checks and self._either:
                check.set_group(self._checks[0])
            check.connect("toggled", self._toggled, pressed, number)
            self._checks.append(check)
            self.blocks.append(column(check, own))
        self._stands = label("", "choice")
        more = () if another is None else (button(ours(text.said("_Another place in it")), another),)
        self.widget = column(*self.blocks, *more, self._stands, spacing=12)
        self.draw(row)

    def _toggled(self, check: Widget, pressed: Callable[[int], None], number: int) -> None:
        if not self._drawing and (check.get_active() or not self._either):
            pressed(number)

    @staticmethod
    def _title(row: choices.Row, number: int) -> str:
        if not number:
            return ours(text.said("nothing"))
        return ours(less.weight(row.question, row.options[number - 1], whole=number == len(row.options)))

    def draw(self, row: choices.Row) -> None:
        """Show what would be given."""
        self._drawing = True
        for check, taken in zip(self._checks, (not any(row.taken), *row.taken), strict=True):
            check.set_active(taken)
        self._stands.set_label(ours(less.stands(row.choice)))
        self._drawing = False
