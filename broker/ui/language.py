"""The language of the handshake: gettext catalogues of our sentences, picked by the user's locale (SPEC §8.4)."""

import gettext
import os
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from intents import text

_CATALOGUES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "locale")
_NAME = re.compile(r"([a-z]{2,3})(?:[_.@-].*)?")  # de, de_AT.UTF-8, sr@latin: the language counts, not the country
# Words beside one another without a letter that is written from right to left: paths, commands, names, quotations.
_WORD = r"[^\s\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]+"
_APART = re.compile(rf"(?<!\S){_WORD}(?: {_WORD})*(?!\S)")
_RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ur", "yi"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """code: of ISO 639, as in the locale; find: the template that says the same as one of ours, or ours."""

    code: str
    find: Callable[[str], str]

    @property
    def right_to_left(self) -> bool:
        """Whether it is written from right to left."""
        return self.code in _RIGHT_TO_LEFT

    def say(self, words: str) -> str:
        """One of our sentences in this language; what is none (an app's words, a path) as it is."""
        return text.translated(words, self.find)

    def ordered(self, words: str) -> str:
        """For what draws in both directions: what is not in a language from right to left stays in its own order.

        Otherwise ``~/Notes`` would be drawn as ``Notes/~``, and a quotation with its last mark first. Takes what is
        clean: the invisible marks (UAX #9, LRI and PDI) are ours alone.
        """
        return _APART.sub("\u2066\\g<0>\u2069", words) if self.right_to_left else words


def _as_it_is(template: str) -> str:
    return template


ENGLISH = Language(code="en", find=_as_it_is)


def choose(environ: Mapping[str, str], catalogues: str = _CATALOGUES) -> Language:
    """The first language of the environment that there is a catalogue of, as gettext(3) looks for it; else English.

    A language of which only the name is known, or whose catalogue cannot be read, is passed over.
    """
    for name in _wanted(environ):
        found = _NAME.fullmatch(name)
        if name in ("C", "POSIX") or name.startswith("C."):
            return ENGLISH
        if found is None:
            continue
        if found[1] == "en":
            return ENGLISH
        try:
            with open(f"{catalogues}/{found[1]}/LC_MESSAGES/intents.mo", "rb") as file:
                return Language(code=found[1], find=gettext.GNUTranslations(file).gettext)
        except (OSError, ValueError, LookupError, struct.error):
            continue
    return ENGLISH


def _wanted(environ: Mapping[str, str]) -> list[str]:
    """The names in the order in which they count: LANGUAGE is a list, unless the locale itself is C."""
    locale = next((environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environ.get(name)), "")
    if locale in ("", "C", "POSIX") or locale.startswith("C."):
        return []
    return [*filter(None, environ.get("LANGUAGE", "").split(":")), locale]
