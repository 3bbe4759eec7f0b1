"""Flatpak's permissions as intents (SPEC §11.3): nothing is dropped silently, and nothing becomes wider than it was.

``from_flatpak`` is total and depends on nothing but its arguments. One module for each kind of token; ``rows`` says
what a token can become.
"""

import itertools
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from intents import kinds, model, parse, paths, text
from intents.flatpak import environment, names, permission, places, rows, words
from intents.kinds import persist

REASON = f"{text.UNWRITTEN} what the user gets from this."
IF_DENIED = f"{text.UNWRITTEN} what does not work without it."
MAX_BYTES = 24_000  # of scopes, and of variables: so that a manifest with comments stays within its own limit
MAX_SCOPE = 1500  # bytes of one scope: a line of a manifest holds 2048
MAX_VARIABLES = 48
MAX_SLUG = 28  # of an intent's id, so that a number fits behind it

# In the order in which the intents are written.
_GROUPS: dict[str, Callable[[str, str, rows.Request], rows.Row]] = {
    "socket": words.socket,
    "share": words.share,
    "device": words.device,
    "filesystem": places.filesystem,
    "persist": places.persist,
    "session": names.session,
    "system": names.system,
    "allow": words.feature,
    "env": environment.variable,
    "other": environment.other,
}
OUTCOMES = EXACT, TIGHTER, WARNED = tuple(rows.Outcome)
_COMMAND = "--command="
_NOTHING = rows.exact("nothing of it is asked for")
_FULL = rows.warned("a manifest holds no more: ask for less")


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What became of one token: exactly one outcome, in which intents, and how or why."""

    token: str
    outcome: rows.Outcome
    said: str
    intents: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """The intents of an app, whose reasons are still to be written, and one note for each token, in their order.

    command: what the tokens say of it, or empty; environment: variables that it has to set. A manifest of these intents
    is valid for that app id.
    """

    intents: tuple[model.Intent, ...]
    command: str
    environment: tuple[tuple[str, str], ...]
    notes: tuple[Note, ...]


def from_flatpak(app_id: str, tokens: Iterable[str]) -> Imported:
    """What ``tokens``, options of flatpak-build-finish(1), ask for. Later ones win, as in Flatpak."""
    read = [(token, permission.read(token)) for token in tokens]
    settled = {(setting.group, setting.key): setting for _, setting in read}
    request = rows.Request(app_id=app_id, settings=settled)
    found = {
        at: _GROUPS[group](at[1], setting.value, request)
        for group in _GROUPS
        for at, setting in request.settings.items()
        if at[0] == group and setting.value is not None
    }
    variables = _variables(found, request)
    intents = _intents(asked for row in found.values() for asked in row.asks)
    ids = {intent.scope: intent.id for intent in intents}
    notes = tuple(_note(token, setting, found, ids, variables) for token, setting in read)
    command = next((word[len(_COMMAND) :] for word, _ in reversed(read) if word.startswith(_COMMAND)), "")
    return Imported(intents=intents, command=command, environment=tuple(variables.items()), notes=notes)


def _variables(found: Mapping[tuple[str, str], rows.Row], request: rows.Request) -> dict[str, str]:
    """The variables that the command sets, as many as a manifest has room for."""
    kept: dict[str, str] = {}
    room = MAX_BYTES
    for (group, name), row in found.items():
        if group == "env" and row is environment.SET:
            value = str(request.value(group, name))
            room -= len(json.dumps([name, value]))
            if room > 0 and len(kept) < MAX_VARIABLES:
                kept[name] = value
    return kept


def _intents(asked: Iterable[rows.Ask]) -> tuple[model.Intent, ...]:
    """The intents without those that others cover (SPEC §4), as many as a manifest has room for (SPEC §3.1)."""
    wanted: dict[model.Scope, rows.Ask] = {}
    for each in itertools.islice(asked, parse.MAX_PARTS):
        wanted.setdefault(kinds.from_data(each.table), each)
    wanted = _joined(wanted)
    of_kind: dict[str, list[model.Scope]] = {}
    for scope in wanted:
        of_kind.setdefault(scope.kind, []).append(scope)
    kept: list[model.Intent] = []
    parts, room = parse.MAX_PARTS, MAX_BYTES
    for scope, each in wanted.items():
        if any(other is not scope and other.covers(scope) for other in of_kind[scope.kind]):
            continue
        parts -= len(scope.parts())
        size = len(json.dumps(scope.data(), ensure_ascii=False).encode())
        room -= size
        if len(kept) < parse.MAX_INTENTS and parts >= 0 and room >= 0 and size <= MAX_SCOPE:
            kept.append(_intent(scope, each, {intent.id for intent in kept}))
    return tuple(kept)


def _joined(wanted: dict[model.Scope, rows.Ask]) -> dict[model.Scope, rows.Ask]:
    """The same with one intent for all directories that are kept: there is one reason for them."""
    kept = sorted(name for scope in wanted if isinstance(scope, persist.Persist) for name in scope.words)
    if len(kept) < 2 or len(json.dumps(kept)) > MAX_SCOPE // 2:
        return wanted
    rest = {scope: each for scope, each in wanted.items() if not isinstance(scope, persist.Persist)}
    joined = rows.ask("own-files", persist.KIND, names=kept)
    return {**rest, kinds.from_data(joined.table): joined}


def _intent(scope: model.Scope, asked: rows.Ask, taken: set[str]) -> model.Intent:
    plain = unicodedata.normalize("NFKD", asked.name).casefold().encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).lstrip("-0123456789")[:MAX_SLUG].strip("-") or scope.kind
    numbered = (f"{slug}-{number}" for number in itertools.count(2))
    return model.Intent(
        id=next(name for name in itertools.chain([slug], numbered) if name not in taken),
        scope=scope,
        optional=not asked.required,
        reason=REASON,
        if_denied="" if asked.required else IF_DENIED,
    )


def _note(
    token: str,
    setting: permission.Setting,
    found: Mapping[tuple[str, str], rows.Row],
    at: Mapping[model.Scope, str],
    variables: Mapping[str, str],
) -> Note:
    row = found.get((setting.group, setting.key), _NOTHING)
    mine = [kinds.from_data(asked.table) for asked in row.asks]
    by = [[at[scope]] if scope in at else [name for other, name in at.items() if other.covers(scope)] for scope in mine]
    if not all(by) or (row is environment.SET and setting.key not in variables):
        row = _FULL
    ids = dict.fromkeys(name for covering in by for name in covering)
    return Note(token=token, outcome=row.outcome, said=row.said, intents=tuple(ids))


def as_data(found: Imported) -> list[dict[str, object]]:
    """The notes for programs, safe to print: ``token``, ``outcome``, ``said`` and ``intents``."""
    return [
        {
            "token": paths.printable(note.token),
            "outcome": note.outcome.value,
            "said": paths.printable(note.said),
            "intents": list(note.intents),
        }
        for note in found.notes
    ]


def report(found: Imported) -> tuple[str, ...]:
    """What is not asked for, one line for each token, and how many there are of each outcome."""
    lost = (note for note in found.notes if note.outcome is WARNED)
    lines = dict.fromkeys(paths.printable(f"{note.token}: {note.said}") for note in lost)
    numbers = [sum(note.outcome is each for note in found.notes) for each in OUTCOMES]
    count = "{} exact, {} tighter, {} with a warning".format(*numbers)
    return (*lines, f"{len(found.notes)} permissions: {count}")
