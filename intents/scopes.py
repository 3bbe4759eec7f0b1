"""The two shapes that most kinds have: all or nothing, and a set of words of which each can be granted alone.

A kind is a subclass with its ``KIND``, its words, and what it means: ``risk``, ``phrase``, ``ops`` (``model.Scope``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from intents import errors, facts, keys, model, paths, text


class Whole:
    """A scope without keys: all of it or none."""

    __slots__ = ()
    KIND: ClassVar[str]

    @classmethod
    def read(cls, table: Mapping[str, object]) -> Self:
        """The scope keys of the intent's table: there are none. Raises ManifestError ``unknown-key``."""
        keys.only(table, (), cls.KIND)
        return cls()

    @property
    def kind(self) -> str:
        return self.KIND

    def data(self) -> Mapping[str, object]:
        return {}

    def covers(self, other: model.Scope) -> bool:
        return isinstance(other, type(self))

    def meet(self, other: model.Scope) -> Self | None:
        return self if self.covers(other) else None

    def parts(self) -> tuple[Self, ...]:
        return (self,)

    def narrower(self) -> tuple[Self, ...]:
        return ()

    def needs(self) -> tuple[facts.Need, ...]:
        return ()

    def objects(self) -> tuple[str, ...]:
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A scope that is a set of words, sorted: each is a part, more words cover fewer.

    ``KEY`` is the manifest's key; ``KNOWN`` the closed list of words, empty where ``check`` decides instead.
    """

    words: tuple[str, ...]
    KIND: ClassVar[str]
    KEY: ClassVar[str] = "uses"
    KNOWN: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def read(cls, table: Mapping[str, object]) -> Self:
        """The scope key of the intent's table. Raises ManifestError."""
        keys.only(table, (cls.KEY,), cls.KIND)
        words = keys.strings(table, cls.KEY)
        if not words:
            raise errors.ManifestError("missing-key", f"kind `{cls.KIND}` needs at least one word in `{cls.KEY}`")
        for word in words:
            cls.check(word)
        return cls(words=tuple(sorted(words)))

    @classmethod
    def check(cls, word: str) -> None:
        """Raise ManifestError ``bad-value`` for a word this kind does not know."""
        if word not in cls.KNOWN:
            known = ", ".join(f"`{name}`" for name in cls.KNOWN)
            message = f"`{cls.KEY}` holds `{paths.printable(word[:80])}`; a word of it must be one of {known}"
            raise errors.ManifestError("bad-value", message)

    @property
    def kind(self) -> str:
        return self.KIND

    def data(self) -> Mapping[str, object]:
        return {self.KEY: list(self.words)}

    def covers(self, other: model.Scope) -> bool:
        return isinstance(other, type(self)) and set(other.words) <= set(self.words)

    def meet(self, other: model.Scope) -> Self | None:
        if not isinstance(other, type(self)):
            return None
        both = tuple(word for word in self.words if word in other.words)
        return type(self)(words=both) if both else None

    def parts(self) -> tuple[Self, ...]:
        return tuple(type(self)(words=(word,)) for word in self.words)

    def narrower(self) -> tuple[Self, ...]:
        return self.parts() if len(self.words) > 1 else ()

    def needs(self) -> tuple[facts.Need, ...]:
        return ()

    def objects(self) -> tuple[str, ...]:
        return ()


def listed(items: tuple[str, ...]) -> str:
    """At least one item as a sentence lists them: "a", "a and b", "a, b and c"."""
    if len(items) == 1:
        return items[0]
    return text.said("{items} and {last}", items=text.joined(items[:-1], ", "), last=items[-1])
