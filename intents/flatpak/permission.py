"""One Flatpak permission as text, taken apart: the options of flatpak-build-finish(1) and flatpak-override(1)."""

from dataclasses import dataclass

# What an option is about, and what it says of it; "" stands for "yes", None takes back.
_OPTIONS: dict[str, tuple[str, str | None]] = {
    "--share": ("share", ""),
    "--unshare": ("share", None),
    "--socket": ("socket", ""),
    "--nosocket": ("socket", None),
    "--device": ("device", ""),
    "--nodevice": ("device", None),
    "--allow": ("allow", ""),
    "--disallow": ("allow", None),
    "--filesystem": ("filesystem", ""),
    "--nofilesystem": ("filesystem", None),
    "--persist": ("persist", ""),
    "--env": ("env", ""),
    "--unset-env": ("env", None),
    "--see-name": ("session", "see"),  # only metadata files can say this one
    "--talk-name": ("session", "talk"),
    "--own-name": ("session", "own"),
    "--no-talk-name": ("session", None),
    "--system-see-name": ("system", "see"),
    "--system-talk-name": ("system", "talk"),
    "--system-own-name": ("system", "own"),
    "--system-no-talk-name": ("system", None),
}
# Suffixes of a path: what may be done there. Without one, it may be written.
ACCESS = {"ro": "read", "rw": "write", "create": "create"}
# Takes back `host` here, and what the layers below this one gave, of which there are none.
_RESET = "host:reset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What one token sets: ``key`` of ``group`` to ``value``; None takes it back.

    group: one of those above, or ``other``, whose keys are whole tokens. value: ``read``, ``write`` or ``create`` for a
    file system, ``see``, ``talk`` or ``own`` for a bus name, the text of a variable, else empty.
    """

    group: str
    key: str
    value: str | None


def read(token: str) -> Setting:
    """The setting that a token makes. Total: what is not understood is of group ``other``."""
    option, found, operand = token.partition("=")
    if option not in _OPTIONS or not found or not operand:
        return Setting(group="other", key=token, value="")
    group, value = _OPTIONS[option]
    if group == "filesystem":
        return _place(operand, given=value is not None)
    if group == "env" and value is not None:
        name, _, value = operand.partition("=")
        return Setting(group=group, key=name, value=value)
    return Setting(group=group, key=operand, value=value)


def _place(operand: str, *, given: bool) -> Setting:
    """A path and its access. Flatpak takes back what begins with `!`, and a backslash guards the next character."""
    if operand.startswith("!"):
        operand, given = operand[1:], False
    if not given and operand == _RESET:
        operand = "host"
    parts, last = [""], ""
    for char in operand:
        if char == ":" and last != "\\":
            parts.append("")
        elif char != "\\" or last == "\\":
            parts[-1] += char
        last = "" if last == "\\" else char
    access = "write"
    if len(parts) > 1 and parts[-1] in ACCESS:
        access = ACCESS[parts.pop()]
    return Setting(group="filesystem", key=_plain(":".join(parts)), value=access if given else None)


def _plain(path: str) -> str:
    """Without doubled and closing slashes and `.` components, and with one word for the home directory."""
    steps = path.split("/")
    kept = [step for step in steps[1:] if step not in ("", ".")]
    root = "home" if steps[0] == "~" else steps[0]
    return "/".join((root, *kept)) or "/"
