"""Variables that Flatpak sets, and the options that are about Flatpak itself."""

import re

from intents import paths
from intents.flatpak import rows

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MAX_VALUE = 512  # bytes
# Directories that only exist inside Flatpak, or are elsewhere there.
_LAYOUT = re.compile(
    r"/app(/|:|$)|/run/(host|flatpak)|/usr/lib/(extensions|sdk)|/usr/lib/[a-z0-9_]+-linux-gnu/GL|FLATPAK_"
    r"|/var/(config|data|cache)\b"
)
# The base sets it for windows (intents/base.py), or it is about dconf.
_SETTINGS = ("DCONF_USER_CONFIG_DIR", "GSETTINGS_BACKEND")
SET = rows.exact("the command of the manifest sets it")

_CONDITION = rows.warned("it depends on a condition of Flatpak's: ask for it without one, or not at all")
_PACKAGE = rows.exact("it is about the package, and gives the program nothing")
OTHER = {
    "--add-policy": rows.warned("rules for other services cannot be said: ask for the service with kind `dbus`"),
    "--a11y-own-name": rows.warned("it needs no name there: ask for `accessibility`"),
    "--command": rows.exact("it is the command"),
    "--device-if": _CONDITION,
    "--share-if": _CONDITION,
    "--socket-if": _CONDITION,
    "--extension": rows.warned("extensions are Flatpak's: have the package bring what the program needs"),
    "--metadata": rows.warned("only Flatpak reads it: nothing to do unless the program misses something"),
    "--metadata=X-DConf": rows.warned("old settings are not taken over: copy them to the program's own ones"),
    "--no-exports": _PACKAGE,
    "--remove-policy": rows.exact("nothing of it is asked for"),
    "--require-version": _PACKAGE,
    "--runtime": _PACKAGE,
    "--runtime-version": _PACKAGE,
    "--sdk": _PACKAGE,
    "--usb": rows.warned("the desktop would choose the devices: ask for `usb`, all of them, if the program needs it"),
    "--nousb": rows.exact("nothing of it is asked for"),
}
_UNKNOWN = rows.warned("it is not an option that this program knows: look for a kind that means it")


def variable(name: str, value: str, request: rows.Request) -> rows.Row:
    """``--env=NAME=VALUE``: where it is expressed, by the command of the manifest (``SET``)."""
    if name in _SETTINGS:
        return rows.DCONF
    if _LAYOUT.search(value):
        return rows.warned("its value names what only Flatpak has: let the program find its files by itself")
    if not _NAME.fullmatch(name) or paths.printable(value) != value or len(value.encode()) > MAX_VALUE:
        return rows.warned("a command cannot set it: it is too long, or holds what cannot be shown")
    return SET


def other(token: str, value: str, request: rows.Request) -> rows.Row:
    """Any token that sets nothing else."""
    words = token.split("=")
    if len(words) > 1 and words[1]:
        return OTHER.get("=".join(words[:2]), OTHER.get(words[0], _UNKNOWN))
    return OTHER.get(words[0], _UNKNOWN) if words[0] == "--no-exports" else _UNKNOWN
