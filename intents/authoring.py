"""Writing manifests (SPEC §3) with ``tomlkit``, and comparing its reading with the one that counts, ``parse``'s.

Takes and returns text or bytes; raises nothing.
"""

import tomllib
from collections.abc import Callable

import tomlkit
from tomlkit.exceptions import TOMLKitError

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
# scope = "host"                           # the whole network: there is nothing narrower yet
# optional = true                          # the program also starts without it
# reason = "Download exchange rates."      # shown as the program's own words
# if_denied = "Rates stay as they were."   # what the user loses by refusing
#
# [intents.names]
# kind = "dns"                             # without it, a network is of little use
# scope = "any"
# optional = true
# reason = "Find the server of the exchange rates."
# if_denied = "Rates stay as they were."
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


def new(*, app_id: str, name: str, command: tuple[str, ...], interface: str) -> str:
    """The text of a first manifest: serial 1, and a Wayland window as its only intent if ``interface`` is window."""
    app = _MANIFEST.format(
        app_id=_toml(app_id), name=_toml(name), command=_toml(list(command)), interface=_toml(interface)
    )
    return app + (_WINDOW if interface == "window" else "") + _EXAMPLES


def _toml(value: str | list[str]) -> str:
    return tomlkit.item(value).as_string()


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
