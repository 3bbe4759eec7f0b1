"""Files by which a desktop starts programs, and what takes their place so that the app starts in its sandbox
(SPEC §11.6): desktop entries (Desktop Entry Specification 1.5) and the service files of a message bus.

Whoever wrote such a file is not trusted: what is kept of it is kept line by line, and only lines that are known to
start nothing.
"""

import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass

MAIN = "Desktop Entry"
MARK = "X-Intents-App"
MAX_NAME = 255  # of a bus name

_GROUP = re.compile(r"\[([^\[\]]*)\]")
_KEY = re.compile(r"([A-Za-z0-9-]+)(?:\[([A-Za-z0-9_.@-]+)\])?")  # a locale with `$` would make KDE run a command
_ACTION = re.compile(r"Desktop Action ([A-Za-z0-9-]+)")
_BUS_NAME = re.compile(r"[A-Za-z_-][A-Za-z0-9_-]*(\.[A-Za-z_-][A-Za-z0-9_-]*)+", re.ASCII)
_TRANSLATED = frozenset(("Name", "GenericName", "Comment", "Keywords", "Icon"))
_KEPT = _TRANSLATED | {
    *("Type", "Version", "NoDisplay", "Hidden", "OnlyShowIn", "NotShowIn", "TryExec", "Path", "Terminal", "MimeType"),
    *("Categories", "Implements", "StartupNotify", "StartupWMClass", "PrefersNonDefaultGPU", "SingleMainWindow"),
}
_OF_ACTION = frozenset(("Name", "Icon"))
# In keys that desktops made up: to start something else, by another way, as somebody else, or under another name.
_STARTING = re.compile(
    r"exec|command|dbus|service|script|launch|run|plugin|uid|user|root|flatpak|snap|intents", re.IGNORECASE
)
_FILES = ("%f", "%F", "%u", "%U")
# An option: intent-run never reads one as the name of a file, as long as no `--` stands before it.
_OPTION = re.compile(r"--?[A-Za-z0-9][A-Za-z0-9_.,:=+/-]*(%[fu])?", re.ASCII)
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.ASCII | re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_PLAIN = re.compile(r"[A-Za-z0-9_.,:=+/-]+", re.ASCII)
_GENERIC = re.compile(
    r"([a-z]*sh|env|python[0-9.]*|perl[0-9.]*|ruby[0-9.]*|node|java|mono|wine[0-9]*|flatpak|snap|busybox|toybox|sudo"
    r"|pkexec|nice|nohup|setsid|systemd-run|xdg-open|gio|gtk-launch|dbus-launch|dbus-run-session)"
)
_ESCAPES = {"s": " ", "n": "\n", "t": "\t", "r": "\r", "\\": "\\"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """What starts the app instead.

    launcher: the absolute path of ``intent-run``; command: ``own_command`` of the manifest's; is_program: whether a
    word, as it stands in a command line, means the program that the command begins with.
    """

    launcher: str
    app_id: str
    command: tuple[str, ...]
    is_program: Callable[[str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """A file's new content, and what of the old one was left out, as it was called there."""

    text: str
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One line of a group; key and value are empty for remarks and empty lines."""

    text: str
    key: str = ""
    locale: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Started:
    """What a command line gives the app's program: words of ours, and those that it loses."""

    words: tuple[str, ...]
    lost: tuple[str, ...]


def own_command(command: tuple[str, ...]) -> tuple[str, ...]:
    """A manifest's command without the variables that ``/usr/bin/env`` sets for it."""
    rest = _without_settings(command)[0] if command[0].rpartition("/")[2] == "env" else command
    return rest if rest and rest[0].startswith("/") else command


def _without_settings(line: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What env(1) starts, and the variables that it sets for that."""
    end = next((at for at, word in enumerate(line[1:], 1) if not _SETTING.fullmatch(word)), len(line))
    return line[end:], line[1:end]


def generic(command: tuple[str, ...]) -> bool:
    """Whether the program of a command runs what the words after it name, so that alone it is not the app."""
    return bool(_GENERIC.fullmatch(command[0].rpartition("/")[2]))


def words(value: str) -> tuple[str, ...]:
    """The words of an Exec line's value, without its quotes; none when it is malformed."""
    plain = re.sub(r"\\([sntr\\])", lambda found: _ESCAPES[found[1]], value)
    return _split(plain)


def _split(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError:
        return ()


def quoted(word: str) -> str:
    """One word without ``%`` as an Exec line writes it."""
    if _PLAIN.fullmatch(word):
        return word
    inner = re.sub(r'(["`$\\])', r"\\\1", word)
    return f'"{inner}"'.replace("\\", "\\\\")


def hidden(text: str) -> bool:
    """Whether the entry says that it is not there."""
    return _value(_groups(text)[0].get(MAIN, ()), "Hidden") == "true"


def rewrite(text: str, ours: Ours) -> Rewritten | None:
    """The entry that starts the app in its sandbox instead; None where ``text`` does not start it.

    What launches otherwise goes: other groups and keys, D-Bus activation, actions of other programs. Of the words
    behind the program, options and codes for files stay, and nothing that could be read as the name of a file.
    """
    groups, bad = _groups(text)
    main = groups.get(MAIN, ())
    started = _main(main, ours)
    if started is None or _value(main, "Type") != "Application":
        return None
    left = [*bad, *started.lost]
    actions: dict[str, tuple[tuple[_Line, ...], _Started]] = {}
    for name in _value(main, "Actions").split(";"):
        group = groups.get(f"Desktop Action {name}", ())
        found = _started(words(_value(group, "Exec")), ours, codes=True)
        if found is not None and name not in actions:
            actions[name] = group, found
    written = _write(main, started, ours, left, tuple(actions))
    for name, (group, found) in actions.items():
        left += found.lost
        written += ["", f"[Desktop Action {name}]", *_kept(group, _OF_ACTION, found, ours, left, ())]
    left += [f"[{name}]" for name in groups if name != MAIN and name.removeprefix("Desktop Action ") not in actions]
    return Rewritten(text="\n".join(written).strip("\n") + "\n", left_out=tuple(dict.fromkeys(filter(None, left))))


def service(text: str, ours: Ours) -> tuple[str, Rewritten] | None:
    """The bus name and the new content of a service file that starts the app; None for any other one."""
    lines = _groups(text)[0].get("D-BUS Service", ())
    name, found = _value(lines, "Name"), _started(words(_value(lines, "Exec")), ours, codes=False)
    if found is None or not bus_name(name):
        return None
    left = [line.key for line in lines if line.key not in ("", "Name", "Exec")]
    new = activation(name, (ours.launcher, ours.app_id, *found.words))
    return name, Rewritten(text=new, left_out=(*left, *found.lost))


def service_name(text: str) -> str:
    """The bus name that a service file is about, or empty."""
    return _value(_groups(text)[0].get("D-BUS Service", ()), "Name")


def activation(name: str, command: Iterable[str]) -> str:
    """A service file by which a bus starts ``command`` when somebody calls ``name``."""
    line = " ".join(map(shlex.quote, command)).replace("\\", "\\\\")
    return f"[D-BUS Service]\nName={name}\nExec={line}\n"


def bus_name(name: str) -> bool:
    """Whether it is a well-known name of the D-Bus specification."""
    return len(name) <= MAX_NAME and bool(_BUS_NAME.fullmatch(name))


def _groups(text: str) -> tuple[dict[str, tuple[_Line, ...]], list[str]]:
    """The first group of each name, and what is no line of a desktop entry."""
    found: dict[str, list[_Line]] = {}
    bad: list[str] = []
    here: list[_Line] = []
    seen: set[tuple[str, str]] = set()
    for raw in text.split("\n"):
        line = raw.strip(" \t\r")
        if _CONTROL.search(line):  # some programs take one for the end of a line
            bad.append("a line with a control character")
            here = [] if line.startswith("[") else here
        elif line.startswith("["):
            group = _GROUP.fullmatch(line)
            here, seen = [], set()
            if group and group[1] not in found:
                found[group[1]] = here
            else:
                bad.append(line)
        elif not line or line.startswith("#"):
            here.append(_Line(text=line))
        else:
            name, equals, value = line.partition("=")
            key = _KEY.fullmatch(name.strip(" \t"))
            if not key or not equals:
                bad.append(name or line)
            elif (key[1], key[2] or "") in seen:
                bad.append(f"the second {key[0]}")
            else:
                seen.add((key[1], key[2] or ""))
                here.append(_Line(text=line, key=key[1], locale=key[2] or "", value=value.strip(" \t")))
    return {name: tuple(lines) for name, lines in found.items()}, bad


def _value(lines: Iterable[_Line], key: str) -> str:
    return next((line.value for line in lines if line.key == key and not line.locale), "")


def _main(lines: tuple[_Line, ...], ours: Ours) -> _Started | None:
    """What the entry itself starts: by Exec or, where that is a script around the program, by what it tries first."""
    value = _value(lines, "Exec")
    found = _started(words(value), ours, codes=True)
    tried = words(_value(lines, "TryExec"))
    if found is None and len(tried) == 1 and not generic(ours.command) and ours.is_program(tried[0]):
        codes = [word for word in words(value) if word in _FILES][:1]
        return _Started(words=tuple(codes), lost=tuple(word for word in words(value) if word not in codes))
    return found


def _started(line: tuple[str, ...], ours: Ours, *, codes: bool) -> _Started | None:
    """What a command line gives the program, if it starts the app. codes: whether ``%`` has a meaning there."""
    lost: list[str] = []
    if line and line[0].rpartition("/")[2] == "env" and not ours.is_program(line[0]):
        line, variables = _without_settings(line)
        lost += variables
    if not line or not ours.is_program(line[0]):
        return None
    given, fixed = line[1:], ours.command[1:]
    if given[: len(fixed)] == fixed:
        given = given[len(fixed) :]
    elif generic(ours.command) or any("/" in word for word in fixed):
        return None
    if generic(ours.command) and any(word not in _FILES for word in given):
        return None
    kept: list[str] = []
    for word in given:
        code = word[-2:] if codes and word[-2:] in _FILES else ""
        again = code and any(each[-2:] in _FILES for each in kept)
        fits = word in _FILES if code == word else bool(_OPTION.fullmatch(word)) and (codes or "%" not in word)
        (lost if again or not fits else kept).append(word)
    return _Started(words=tuple(kept), lost=tuple(lost))


def _write(
    main: tuple[_Line, ...], started: _Started, ours: Ours, left: list[str], actions: tuple[str, ...]
) -> list[str]:
    """The lines of the entry's own group."""
    lines = [f"[{MAIN}]", *_kept(main, _KEPT, started, ours, left, actions)]
    while not lines[-1]:
        lines.pop()
    keys = {line.key for line in main if not line.locale}
    if "Exec" not in keys:
        files = ("%U",) if _value(main, "MimeType") else ()
        lines.append(_exec(ours, (*started.words, *files)))
    if "TryExec" not in keys:
        lines.append(f"TryExec={ours.command[0]}".replace("\\", "\\\\"))
    return [*lines, f"{MARK}={ours.app_id}"]


def _kept(
    lines: tuple[_Line, ...],
    allowed: frozenset[str],
    started: _Started,
    ours: Ours,
    left: list[str],
    actions: tuple[str, ...],
) -> list[str]:
    """The lines that stay, with ours in the place of those that start something."""
    kept = []
    for line in lines:
        extension = line.key.startswith("X-") and not _STARTING.search(line.key)
        if line.locale and line.key not in _TRANSLATED and not extension:
            left.append(f"{line.key}[{line.locale}]")
        elif line.key == "Exec":
            kept.append(_exec(ours, started.words))
        elif line.key == "DBusActivatable":
            kept.append("DBusActivatable=false")
        elif line.key == "Actions":
            kept += [f"Actions={';'.join(actions)};"] if actions else []
        elif not line.key or line.key in allowed or extension:
            kept.append(line.text)
        else:
            left.append(line.key)
    return kept


def _exec(ours: Ours, given: tuple[str, ...]) -> str:
    """The line that starts the app; the codes in the words behind it keep their meaning."""
    return " ".join((f"Exec={quoted(ours.launcher)}", ours.app_id, *given))
