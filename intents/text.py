"""Human text from a manifest: what may be shown to a person, and how wide it is (SPEC §3.3).

Judges, never repairs: a text that could deceive is refused, because stripping it would show something else than was
signed. Takes str, returns str, int or tuples; raises nothing.
"""

import string
import unicodedata
from collections.abc import Callable, Iterable

MAX_NAME = 40  # cells; a title line of the handshake holds the name, the version and the id
MAX_VERSION = 32
MAX_REASON = 120
UNWRITTEN = "To be written:"  # how a text begins that only its author can write

_MAX_MARKS = 2  # combining marks on one letter; Vietnamese and polytonic Greek need two, a flood needs more
_UNSHOWABLE = {
    "Cc": "a control character",
    "Cf": "an invisible formatting character",
    "Cs": "half of a surrogate pair",
    "Co": "a private-use character",
    "Cn": "an unassigned character",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
}
# Default_Ignorable_Code_Point (Unicode DerivedCoreProperties) outside category Cf, and the blank braille pattern:
# letters and marks by category, nothing at all on the screen.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_SELECTORS = ((0x180B, 0x180F), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF))  # variation selectors, same property
# First words of the names of letters that belong to no script (Script=Common).
_COMMON = frozenset({"MODIFIER", "MICRO", "FEMININE", "MASCULINE"})
# Scripts that one language writes side by side, so that mixing them deceives nobody (Unicode UTS #39 §5.1).
_WRITTEN_TOGETHER = (
    frozenset({"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "LATIN", "FULLWIDTH", "HALFWIDTH"}),
    frozenset({"CJK", "HANGUL", "LATIN"}),
    frozenset({"CJK", "BOPOMOFO", "LATIN"}),
)


class Said(str):
    """One of our own sentences in English, which remembers what it was made from, so that it can be translated.

    ``template`` has the values' names in braces; ``values`` are str, themselves ``Said`` or not, or int.
    """

    __slots__ = ("template", "values")
    template: str
    values: dict[str, "str | int"]


def said(template: str, /, **values: "str | int") -> Said:
    """The sentence of ``template`` with ``values`` in it. Raises KeyError for a name without a value."""
    made = Said(template.format_map(values))
    made.template, made.values = template, values
    return made


def template(sentence: str, /) -> str:
    """A template that gets its values later, by ``said``: named here so that translators find it."""
    return sentence


def joined(items: Iterable[str], between: str) -> Said:
    """The items with ``between`` between them, which stays as it is in every language."""
    values: dict[str, str | int] = {f"item{number}": item for number, item in enumerate(items)}
    return said(between.join(f"{{{name}}}" for name in values), **values)


def translated(words: str, find: Callable[[str], str]) -> str:
    """``words`` by the templates of another language, as ``find`` gives them; what is no sentence of ours stays.

    A template that does not take the same values is passed over: better English than a sentence that lacks a word.
    """
    if not isinstance(words, Said):
        return words
    values = {
        name: translated(value, find) if isinstance(value, str) else value for name, value in words.values.items()
    }
    other = find(words.template)
    return (other if fields(other) == fields(words.template) else words.template).format_map(values)


def fields(template: str) -> frozenset[str]:
    """The names of the values that a template takes; for what is no template, a name that no template has."""
    try:
        return frozenset(name for _, name, _, _ in string.Formatter().parse(template) if name is not None)
    except ValueError:
        return frozenset(("{",))


def problem(text: str, cells: int) -> str:
    """Why ``text`` may not be shown as one line of at most ``cells`` terminal cells: a clause; empty when it may."""
    if not text:
        return "it is empty"
    marks = 0
    for position, char in enumerate(text, 1):
        if why := unshowable(char):
            return f"character {position} (U+{ord(char):04X}) is {why}"
        marks = marks + 1 if unicodedata.category(char).startswith("M") else 0
        if marks > _MAX_MARKS or marks == position:
            return f"character {position} (U+{ord(char):04X}) is one combining mark too many"
    if text[0] == " " or text[-1] == " " or "  " in text:
        return "it begins or ends with a space, or holds two in a row"
    if unicodedata.normalize("NFC", text) != text:
        return "it is not in Unicode normal form NFC"
    if width(text) > cells:
        return f"it is {width(text)} cells wide, more than {cells}"
    return ""


def unshowable(char: str) -> str:
    """What is deceptive about one character wherever it stands, as a noun phrase; empty when nothing is."""
    category = unicodedata.category(char)
    if category in _UNSHOWABLE:
        return _UNSHOWABLE[category]
    if category == "Zs" and char != " ":
        return "a space that is not the ordinary one"
    if char in _BLANK or any(first <= ord(char) <= last for first, last in _SELECTORS):
        return "a character without a visible form"
    return ""


def width(text: str) -> int:
    """Terminal cells that ``text`` takes: 2 for wide and fullwidth characters (UAX #11), 0 for combining marks."""
    return sum(_cells(char) for char in text)


def _cells(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def scripts(text: str) -> tuple[str, ...]:
    """The scripts of the letters in ``text``, sorted, as Unicode names them: ``("CYRILLIC", "LATIN")``."""
    letters = (char for char in text if unicodedata.category(char).startswith("L"))
    return tuple(sorted({unicodedata.name(char, "UNNAMED").split(" ")[0] for char in letters} - _COMMON))


def mixed(text: str) -> bool:
    """Whether the letters of ``text`` come from scripts that no language mixes: what a look-alike name does."""
    found = set(scripts(text))
    return len(found) > 1 and not any(found <= group for group in _WRITTEN_TOGETHER)
