"""Writing manifests (SPEC §3) with ``tomlkit``, and comparing its reading with the one that counts, ``parse``'s.

Takes and returns text or bytes; raises nothing.
"""

import tomllib
from collections.abc import Callable, Iterable

import tomlkit
from tomlkit.exceptions import TOMLKitError

from intents import flatpak, model, parse, paths
from intents.kinds import network

_MANIFEST = """\
# What this program asks for. Nobody has granted any of it yet: a manifest can only ask.
# Check it with `intent-author lint`, sign it with `intent-author sign`.

spec = 1

[app]
id = {app_id}
name = {name}
version = "1.0"  # what people call it; only shown
serial = 1       # raise it with every signed manifest: an older one is refused
command = {command}
interface = {interface}
# files = "read" # it opens files that are named on its command line; "write": it saves them, too
"""

_WINDOW = """
[intents.window]
kind = "display"
protocol = "wayland"
reason = "Show its window."
"""

# What a new manifest shows but does not ask for.
_EXAMPLES = """
# Ask for as little as the program needs, one table for each thing that a user may refuse alone:
#
# [intents.rates]
# kind = "network"
# connect = ["www.ecb.europa.eu:443"]      # its servers and nothing else; see docs/kinds.md for more than that
# optional = true                          # the program also starts without it
# reason = "Download exchange rates."      # shown as the program's own words
# if_denied = "Rates stay as they were."   # what the user loses by refusing
#
# [intents.sheets]
# kind = "path"
# place = "xdg-documents/Sheets"           # or home/..., xdg-config/..., an absolute path
# access = "create"                        # or read, write
# reason = "Keep the sheets that you save."
#
# [intents.notify]
# kind = "dbus"
# bus = "session"
# call = ["org.freedesktop.Notifications=org.freedesktop.Notifications.Notify@/org/freedesktop/Notifications"]
# optional = true
# reason = "Say when a long calculation is done."
# if_denied = "You have to look for yourself."
"""

_IMPORTED = """\
# Made from an app's permissions in Flatpak. What is still to be written, only its author can say.
# Flatpak gives some things to every app, unasked: portals (here `files`, `open-uri` and others), its own name on the
# session bus, names for media players, `accessibility`, the variables of whoever starts it. Ask for those that it uses.
"""
_MAX_COMMENT = 240  # characters of one line
_MAX_COMMENTS = 12_000  # bytes of all of them


def new(*, app_id: str, name: str, command: tuple[str, ...], interface: str) -> str:
    """The text of a first manifest: serial 1, and a Wayland window as its only intent if ``interface`` is window."""
    app = _MANIFEST.format(
        app_id=_toml(app_id), name=_toml(name), command=_toml(list(command)), interface=_toml(interface)
    )
    return app + (_WINDOW if interface == "window" else "") + _EXAMPLES


def imported(*, app_id: str, name: str, program: str, found: flatpak.Imported) -> str:
    """The text of a manifest of what was found in Flatpak's permissions; what became of each stands in comments."""
    said = {intent.id: [note for note in found.notes if note.intents[:1] == (intent.id,)] for intent in found.intents}
    told = _Comments()
    tables = [
        f"\n{told.lines(said[intent.id], '# ')}[intents.{intent.id}]\n{_keys(_table(intent))}"
        for intent in found.intents
    ]
    rest = [note for note in found.notes if not note.intents]
    lost = told.lines([note for note in rest if note.outcome is flatpak.WARNED], "#   ")
    other = told.lines([note for note in rest if note.outcome is not flatpak.WARNED], "#   ")
    windows = any(intent.scope.kind == "display" for intent in found.intents)
    variables = [f"{key}={value}" for key, value in found.environment]
    command = ["/usr/bin/env", *variables, program] if variables else [program]
    app: dict[str, object] = {"id": app_id, "name": name, "version": "1.0", "serial": 1, "command": command}
    return "".join(
        (
            _IMPORTED,
            f"# Not asked for:\n{lost}" if lost else "",
            f"# Asked for without an intent:\n{other}" if other else "",
            f"\nspec = 1\n\n[app]\n{_keys(app | {'interface': 'window' if windows else 'terminal'})}",
            *tables,
        )
    )


class _Comments:
    """Comments about tokens, as many as a manifest has room for."""

    def __init__(self) -> None:
        self._room = _MAX_COMMENTS

    def lines(self, notes: Iterable[flatpak.Note], indent: str) -> str:
        """One line for each different note; one about those left out where there is no more room."""
        kept, left = [], 0
        for line in dict.fromkeys(_comment(note, indent) for note in notes):
            self._room -= len(line.encode())
            kept += [line] if self._room >= 0 else []
            left += self._room < 0
        return "".join(kept) + (f"{indent}… and {left} more\n" if left else "")


def _comment(note: flatpak.Note, indent: str) -> str:
    how = "" if note.outcome is flatpak.EXACT else f"{note.outcome}: "
    line = f"{indent}{paths.printable(note.token)}  {how}{paths.printable(note.said)}"
    return (line if len(line) <= _MAX_COMMENT else f"{line[: _MAX_COMMENT - 1]}…") + "\n"


def _table(intent: model.Intent) -> dict[str, object]:
    table: dict[str, object] = {"kind": intent.scope.kind, **intent.scope.data()}
    table |= {"optional": True} if intent.optional else {}
    table |= {parse.ASK: network.ON_USE} if intent.on_use else {}
    table |= {"reason": intent.reason}
    return table | ({"if_denied": intent.if_denied} if intent.if_denied else {})


def _keys(table: dict[str, object]) -> str:
    return "".join(f"{key} = {_toml(value)}\n" for key, value in table.items())


def _toml(value: object) -> str:
    """The value in TOML; a long array on many lines."""
    item = tomlkit.item(value)
    text = item.as_string()
    if isinstance(value, list) and len(text) > 100:
        return "[\n" + "".join(f"    {_toml(part)},\n" for part in value) + "]"
    return text


def same_reading(body: bytes) -> bool:
    """Whether ``tomllib`` and ``tomlkit`` read the same values, of the same types, or both refuse."""
    return _reading(tomllib.loads, body) == _reading(lambda text: tomlkit.parse(text).unwrap(), body)


def _reading(loads: Callable[[str], object], body: bytes) -> object:
    """What a parser reads, comparable; None where it refuses."""
    try:
        return _typed(loads(body.decode("utf-8")))
    except (ValueError, TOMLKitError, RecursionError):
        return None


def _typed(value: object) -> object:
    """``value`` with its types written out: to Python, 1 equals 1.0 and true, and nan not even itself."""
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    return type(value).__name__, str(value)
