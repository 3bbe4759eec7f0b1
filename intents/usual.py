"""What programs of a category are known to need, so that a question can say what is unusual (SPEC §3.2, §8.4).

The category is the app's claim. It can make a question look stranger, never safer: no risk depends on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from intents import model, text
from intents.kinds import audio, display, path

MICROPHONE, REAL_X11, FILES_CHANGED = "microphone", "real X11", "changing files"


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """many: what its programs are called; wants: the words of ``WATCHED`` that are usual there; why: the reason."""

    many: str
    wants: frozenset[str]
    why: str


def _row(many: str, wants: str, why: str) -> Category:
    return Category(many=many, wants=frozenset(wants.split("|") if wants else ()), why=why)


_NET = "network|open-uri"
_WORK = f"path|{FILES_CHANGED}"
_TALK = f"{_NET}|{MICROPHONE}|camera|camera-portal|screenshare|screenshot|global-shortcuts|path|{FILES_CHANGED}"

CATEGORIES: Mapping[str, Category] = {
    "calculator": _row(text.said("calculators"), "", "they work on what is typed into them"),
    "clock": _row(text.said("clocks"), "background|location", "the time and the place are all they are about"),
    "viewer": _row(text.said("viewers"), "path|printing|open-uri", "they show files and print them"),
    "editor": _row(text.said("editors"), f"{_WORK}|printing|open-uri", "they open, change and print files"),
    "office": _row(text.said("office programs"), f"{_WORK}|printing|open-uri|email", "they write and print documents"),
    "graphics": _row(
        text.said("graphics programs"), f"{_WORK}|printing|screenshot|usb", "they scan, change and print pictures"
    ),
    "player": _row(text.said("players"), f"path|{_NET}", "they play files and streams"),
    "recorder": _row(
        text.said("recorders"),
        f"{_WORK}|{MICROPHONE}|camera|camera-portal|screenshare|screenshot|global-shortcuts",
        "they record what is heard and seen",
    ),
    "browser": _row(
        text.said("browsers"), f"{_TALK}|printing|nested-sandbox|location|smartcard", "they load pages, which ask too"
    ),
    "mail": _row(
        text.said("mail programs"), f"{_NET}|{_WORK}|printing|secrets|gpg-agent|smartcard", "they sign and send"
    ),
    "chat": _row(text.said("chat programs"), f"{_TALK}|secrets", "they carry calls, pictures and files"),
    "game": _row(text.said("games"), f"{_NET}|input|multiarch", "many are played with others, and with controllers"),
    "development": _row(
        text.said("development tools"),
        f"{_NET}|{_WORK}|debugging|ssh-agent|gpg-agent|processes|nested-sandbox|usb|device",
        "they build, run and send programs",
    ),
    "terminal": _row(
        text.said("terminals"), f"{_NET}|{_WORK}|processes|ssh-agent|gpg-agent", "what is typed there runs there"
    ),
    "file-manager": _row(text.said("file managers"), f"{_WORK}|open-uri|trash", "files are what they are about"),
    "password-manager": _row(
        text.said("password managers"), f"{_WORK}|smartcard|usb|secrets|ssh-agent", "they keep a file of secrets"
    ),
    "network-tool": _row(text.said("network tools"), f"{_NET}|path|ssh-agent", "the network is what they are about"),
    "system-tool": _row(
        text.said("system tools"), "processes|system-info|usb|device|path", "they show what the machine does"
    ),
    "server": _row(text.said("servers"), f"{_NET}|{_WORK}", "they answer over the network, from files"),
    "education": _row(text.said("teaching programs"), f"{_NET}|path", "they load lessons"),
    "science": _row(
        text.said("science programs"), f"{_NET}|{_WORK}|usb|device|printing", "they read instruments and work on data"
    ),
}
# What is worth remarking on; every other kind is usual anywhere.
WATCHED = frozenset(
    {
        "network", "open-uri", "path", FILES_CHANGED, MICROPHONE, REAL_X11, "camera", "camera-portal",
        "screenshot", "screenshare", "remote-desktop", "input-capture", "global-shortcuts", "location", "secrets",
        "ssh-agent", "gpg-agent", "smartcard", "usb", "device", "input", "printing", "processes", "system-info",
        "debugging", "nested-sandbox", "shared-memory", "socket-family", "multiarch", "background", "email", "trash",
    }
)  # fmt: skip


def remark(category: str, scope: model.Scope) -> str:
    """Our sentence where few programs of the category ask for that; empty where many do, or the app names none."""
    row = CATEGORIES.get(category)
    if row is None or not (_words(scope) & WATCHED) - row.wants:
        return ""
    return text.said("Unusual: few {programs} ask for this.", programs=row.many)


def _words(scope: model.Scope) -> frozenset[str]:
    match scope:
        case audio.Audio():
            return frozenset({MICROPHONE} if audio.RECORD in scope.words else ())
        case display.Display():
            return frozenset({REAL_X11} if scope.protocol == display.X11_HOST else ())
        case path.Path():
            return frozenset({"path"} if scope.access == "read" else {"path", FILES_CHANGED})
    return frozenset({scope.kind})
