"""The user's own directories as user-dirs.dirs(5) names them: Documents, Downloads, Music ... (SPEC §5.3)."""

import os
import re

from broker import state
from intents import paths

# Place root -> the name below the home where no configuration names another.
DEFAULTS = {
    "xdg-desktop": "Desktop",
    "xdg-documents": "Documents",
    "xdg-download": "Downloads",
    "xdg-music": "Music",
    "xdg-pictures": "Pictures",
    "xdg-public-share": "Public",
    "xdg-templates": "Templates",
    "xdg-videos": "Videos",
}
MAX_BYTES = 1 << 16

_KEYS = {f"XDG_{root[4:].replace('-', '').upper()}_DIR": root for root in DEFAULTS}
_LINE = re.compile(r'\s*(XDG_[A-Z]+_DIR)="((?:[^"\\]|\\.)*)"\s*')


def read(config: str, home: str, uid: int) -> dict[str, str]:
    """Place root -> absolute path below ``home``, for the directories that exist or are configured.

    config: the path of user-dirs.dirs; home: canonical. A configured directory that is the home itself (that is how a
    user turns one off), holds the home, lies elsewhere or is written in another form than ``"$HOME/..."`` or an
    absolute path is left out. A file that somebody else could have written is not read.
    """
    found = {root: f"{home}/{name}" for root, name in DEFAULTS.items() if os.path.isdir(f"{home}/{name}")}
    for line in _text(config, uid).splitlines():
        if (match := _LINE.fullmatch(line)) and match[1] in _KEYS:
            found[_KEYS[match[1]]] = _resolve(re.sub(r"\\(.)", r"\1", match[2]), home)
    return {root: path for root, path in found.items() if path and not paths.inside(home, os.path.realpath(path))}


def _resolve(value: str, home: str) -> str:
    path = home + value[5:] if value.startswith("$HOME/") else value
    path = path.rstrip("/")
    below = paths.inside(path, home) and path != home
    return path if below and os.path.normpath(path) == path and "\0" not in path else ""


def _text(config: str, uid: int) -> str:
    try:
        with open(os.open(config, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            info = os.fstat(file.fileno())
            if info.st_uid not in (0, uid) or state.others_write(info):
                return ""
            return file.read(MAX_BYTES).decode("utf-8", "surrogateescape")
    except OSError:
        return ""
