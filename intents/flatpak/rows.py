"""What a permission of Flatpak becomes here: one row of the tables in this package."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from intents import errors, kinds
from intents.flatpak import permission


class Outcome(StrEnum):
    """How a token ends; exactly one of these."""

    EXACT = "exact"  # the manifest asks for the same, or there is nothing to ask for
    TIGHTER = "tighter"  # what programs use it for works with less
    WARNED = "warning"  # it is not asked for, or not all of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """All that is settled of one app's permissions: the last setting of each key, whether it gives or takes back."""

    app_id: str
    settings: Mapping[tuple[str, str], permission.Setting]

    def value(self, group: str, key: str) -> str | None:
        """What is set there; None where nothing is, or it was taken back."""
        setting = self.settings.get((group, key))
        return setting.value if setting else None

    def has(self, group: str, key: str) -> bool:
        """Whether it is given."""
        return self.value(group, key) is not None

    def given(self, group: str) -> tuple[str, ...]:
        """The keys of a group that are given."""
        return tuple(key for (name, key), it in self.settings.items() if name == group and it.value is not None)

    def taken_back(self, group: str) -> tuple[str, ...]:
        """The keys of a group that were taken back in the end."""
        return tuple(key for (name, key), it in self.settings.items() if name == group and it.value is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One intent to write. name: a good id for it; table: its scope keys and ``kind``; required: not optional."""

    name: str
    table: Mapping[str, object]
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What becomes of a permission. said: one clause, how it is expressed, or why not and what to do instead."""

    outcome: Outcome
    said: str
    asks: tuple[Ask, ...] = ()


def exact(said: str, *asks: Ask) -> Row:
    """A row for what is expressed as it is."""
    return Row(outcome=Outcome.EXACT, said=said, asks=asks)


def tighter(said: str, *asks: Ask) -> Row:
    """A row for what is expressed with less."""
    return Row(outcome=Outcome.TIGHTER, said=said, asks=asks)


def warned(said: str, *asks: Ask) -> Row:
    """A row for what is not expressed, or only in part."""
    return Row(outcome=Outcome.WARNED, said=said, asks=asks)


def ask(name: str, kind: str, **keys: object) -> Ask:
    """An optional intent of that kind with those scope keys."""
    return Ask(name=name, table={"kind": kind, **keys})


def allowed(row: Row, instead: str) -> Row:
    """The row, if the kinds allow what it asks for; else a warning with their reason, and what to do instead."""
    for asked in row.asks:
        try:
            kinds.from_data(asked.table)
        except errors.ManifestError as error:
            return warned(f"{error.message.replace(': ', ', because ')}: {instead}")
    return row


DCONF = tighter("settings are kept in the program's own configuration, without dconf")
READERS = tighter("being read by assistive technology, no more of its bus", ask("readers", "accessibility"))
