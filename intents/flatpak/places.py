"""Flatpak's file system tokens and persistent directories (flatpak-metadata(5), `filesystems` and `persistent`)."""

from intents import paths
from intents.flatpak import rows
from intents.kinds import path

# The directories in the home that every app has its own of, and the roots that say the user's.
_HIDDEN = {".config": "xdg-config", ".local/share": "xdg-data", ".local/state": "xdg-state", ".cache": "xdg-cache"}
_LEFT_OUT = "without .config, .local, .cache and .var"
_WHOLE = rows.warned("it holds the files of every program, and those of intents: ask for one directory below it")
_RUNNING = rows.warned("what runs on this machine cannot be given: ask for the service by its kind or its bus name")
_OWN_TMP = rows.warned("every sandbox has its own, in memory: exchange files in a directory of the home")
_SYS = rows.tighter("devices as the kernel tells of them, to be read only", rows.ask("system", "system-info"))
_EVERYWHERE = rows.exact("every sandbox has it, to be read")
_NOTHING = "Flatpak gives nothing there either"

# Below $XDG_RUNTIME_DIR; each name stands for all below it.
RUNTIME = {
    "at-spi": rows.READERS,
    "dconf": rows.DCONF,
    "gnupg": rows.tighter("the socket of the GnuPG agent alone", rows.ask("gpg", "gpg-agent")),
    "gvfs": rows.warned("what the desktop has mounted cannot be given: ask for directories"),
    "gvfsd": rows.warned("what the desktop has mounted cannot be given: ask for directories"),
    "keyring": rows.tighter("the secret service, which the keyring answers", rows.ask("secrets", "secrets")),
    "pipewire-0": rows.warned("it leads to cameras and the screen, too: ask for `audio` or `camera`"),
    "docker.sock": rows.warned("it starts programs outside the sandbox: run containers outside"),
    "podman": rows.warned("it starts programs outside the sandbox: run containers outside"),
}
# Absolute places, each for all below it; the longest that fits counts.
SYSTEM = {
    "/": rows.warned("nobody can ask for everything: ask for the directories it needs"),
    "/app": rows.warned("it is Flatpak's own: the program is installed elsewhere"),
    "/dev": rows.warned(f"{_NOTHING}: ask for the device, with kind `device`"),
    "/etc": rows.warned(f"{_NOTHING}: every sandbox has of it what programs need to start"),
    "/proc": rows.warned(f"{_NOTHING}: kind `processes` shows other programs"),
    "/run": _RUNNING,
    "/run/media": rows.warned("what is mounted has other names elsewhere: ask for `removable` or one name in it"),
    "/run/udev": rows.warned("it cannot be given: the kinds of devices show what the kernel tells of them"),
    "/sys": rows.warned("only what tells of devices can be given: ask for it with kind `system-info`"),
    "/tmp": _OWN_TMP,
    "/var/run": _RUNNING,
    "/var/tmp": _OWN_TMP,
    **dict.fromkeys((f"/sys/{name}" for name in ("block", "bus", "class", "dev", "devices")), _SYS),
    **dict.fromkeys(("/bin", "/lib", "/lib32", "/lib64", "/sbin", "/usr"), _EVERYWHERE),
}
# Where `removable` may lie.
_MEDIA = ("/run/media", "/media")
# They hold what intents keeps, so that nobody can be given to write them (SPEC §8.6).
_RESERVED = ("/home", "/root", "/var", "/var/lib")
WORDS = {
    "host-etc": rows.warned("every sandbox has of /etc what programs need to start: ask for nothing more of it"),
    "host-os": rows.tighter("every sandbox has the programs of the system at their own place, to be read"),
    "host-root": SYSTEM["/"],
    **dict.fromkeys((*paths.BASE_DIRECTORIES, "home/.local"), _WHOLE),
}


def filesystem(key: str, access: str, request: rows.Request) -> rows.Row:
    """A path without its suffix, and ``read``, ``write`` or ``create``."""
    hidden = next((taken for taken in request.taken_back("filesystem") if _holds(key, taken) or _shows(key, taken)), "")
    if hidden:
        return rows.warned(f"Flatpak hides `{hidden}` in it, which cannot be said here: ask for directories beside it")
    below, most = _least(key, access, request)
    if below and (row := filesystem(key, most, request)).asks:
        return rows.warned(
            f"only to be read, as Flatpak gives `{below}` in it: ask for directories beside it", *row.asks
        )
    if key == "home":
        return rows.tighter(_LEFT_OUT, _ask("home", access))
    if key == "host":
        said = f"the home directory, {_LEFT_OUT}, and what is mounted"
        return rows.tighter(said, _ask("home", access), _media(access))
    text = _base(key)
    if text in WORDS:
        return WORDS[text]
    if text == "xdg-config/dconf":
        return rows.DCONF
    if text.startswith("xdg-run"):
        return RUNTIME.get(text.split("/")[1] if "/" in text else "", _RUNNING)
    if text.startswith("/"):
        return _system(text, access)
    return _user(text, access, request)


def _media(access: str) -> rows.Ask:
    """What the user has mounted; nobody makes a directory there."""
    return _ask(paths.REMOVABLE, "read" if access == "read" else "write")


def _system(text: str, access: str) -> rows.Row:
    if text == "/run/media":
        return rows.tighter("what the user has mounted, not what others have", _media(access))
    if text == "/sys":
        return _SYS
    known = max((place for place in SYSTEM if paths.inside(text, place)), key=len)
    if known != "/" or text == "/":
        return SYSTEM[known]
    if text in _RESERVED and access != "read":
        return rows.warned("it holds what intents keeps, too: ask for one directory below it")
    return rows.allowed(rows.exact("the same place", _ask(text, access)), "ask for one directory of the user")


def _user(text: str, access: str, request: rows.Request) -> rows.Row:
    root = text.partition("/")[0]
    wide = [(word, value) for word in ("host", "home") if (value := request.value("filesystem", word))]
    granted = [_least(word, value, request)[1] for word, value in wide]
    whole = max(granted, key=path.ACCESS.index, default="")
    if whole and root in paths.USER_DIRECTORIES and path.ACCESS.index(access) <= path.ACCESS.index(whole):
        return rows.tighter("as a part of the home directory, unless the user keeps it elsewhere", _ask("home", whole))
    return rows.allowed(rows.exact("the same place", _ask(text, access)), "ask for a place as docs/kinds.md says it")


def _ask(text: str, access: str) -> rows.Ask:
    return rows.ask(text.rpartition("/")[2], "path", place=text, access=access)


def _base(key: str) -> str:
    """``home/.config/x`` as ``xdg-config/x``, and so on: where nobody has moved it, the same."""
    for below, root in _HIDDEN.items():
        if paths.inside(f"/{key}", f"/home/{below}"):
            return root + key.removeprefix(f"home/{below}")
    return key


def _least(key: str, access: str, request: rows.Request) -> tuple[str, str]:
    """The key below ``key`` that Flatpak gives less of, if any, and the most that can be given of both then."""
    given = [(other, it.value) for (group, other), it in request.settings.items() if group == "filesystem" and it.value]
    less = [other for other, value in given if value == "read" and access != "read" and _shows(key, other)]
    return (less[0], "read") if less else ("", access)


def _shows(key: str, other: str) -> bool:
    """Whether what is given for ``key`` here shows ``other``, too."""
    if key not in ("host", "home"):
        return _holds(key, other)
    if key == "host" and any(paths.inside(other, media) for media in _MEDIA):
        return True
    root, _, below = _base(other).partition("/")
    return root in paths.USER_DIRECTORIES or (root == "home" and below.split("/")[0] not in ("", *path.NOT_OF_HOME))


def _holds(key: str, taken: str) -> bool:
    """Whether what is taken back lies below what is given."""
    return key != taken and (key == "host" or paths.inside(f"/{taken}", f"/{key}"))


def persist(key: str, value: str, request: rows.Request) -> rows.Row:
    """``--persist=PATH``: a directory of the app's own at that place of the home, or the whole home."""
    if request.has("filesystem", "home") or request.has("filesystem", "host"):
        return rows.exact("Flatpak keeps nothing apart where the home directory is given")
    below = _plain(key)
    if any(paths.inside(f"/{below}", f"/{kept}") for kept in _HIDDEN):
        return rows.exact("every app keeps its own .config, .local/share, .local/state and .cache")
    if not below:
        return rows.warned("only what is named is kept: ask with kind `persist` for the directories it makes")
    name = below.split("/")[0]
    given = [taken for taken in request.given("filesystem") if paths.inside(f"/{taken}", f"/home/{name}")]
    if f"home/{name}" in given:
        return rows.exact("the directory itself is given")
    if given:
        return rows.warned(f"`{given[0]}` lies there, and only one of the two can be seen: ask for one of them")
    said = "a directory of its own" if below == name else f"a directory of its own, all of ~/{name}"
    row = rows.exact(said, rows.ask(name, "persist", names=[name]))
    return rows.allowed(row, "let the program keep its files in .local/share")


def _plain(key: str) -> str:
    """A path in the home without what stands for the home itself."""
    return "/".join(step for step in key.removeprefix("~/").split("/") if step not in ("", "."))
