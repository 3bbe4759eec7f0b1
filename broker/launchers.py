"""Where a desktop, a bus and a shell find an app's program, and the overrides that let it start in its sandbox
(SPEC §11.6). Looks at the host, changes nothing.
"""

import os
import shlex
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from broker import bus, overrides, programs, state
from intents import desktop_entry, errors, model, paths

_ENTRIES, _SERVICES = "applications", "dbus-1/services"
_SHARED = "/usr/local/share:/usr/share"  # XDG Base Directory specification
_DEPTH = 5  # of directories of entries
CONTROL = "Sandboxed"  # the last label of a name by which a bus tells that it knows our service files


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An override to install, and what of the file that it stands for was left out. of: that file's path."""

    wanted: overrides.Wanted
    of: str
    left_out: tuple[str, ...] = ()


def find(app: model.App, environ: Mapping[str, str], places: state.Places) -> tuple[Found, ...]:
    """The overrides of every launcher and every service file here that starts the app's program.

    Raises DecisionError ``no-launcher`` when there is none, ``no-intent-run``, HostError.
    """
    ours = _ours(app, environ)
    before = {each.path: each.before for each in overrides.recorded(places)}
    found = (*_launchers(ours, environ, places, before), *_services(ours, environ, places, before))
    if not found:
        message = f"no launcher on this machine starts `{paths.printable(app.command[0])}`, which {app.id} is"
        raise errors.DecisionError("no-launcher", message)
    return found


def command(app: model.App, environ: Mapping[str, str], places: state.Places) -> tuple[overrides.Wanted, str]:
    """The command that starts the app under its program's name, and what has to be done so that a shell finds it
    first, or empty. Raises DecisionError ``not-wrappable``, ``no-intent-run``."""
    started = desktop_entry.own_command(app.command)
    name = os.path.basename(started[0])
    shown = paths.printable(name)
    if desktop_entry.generic(started):
        message = f"`{shown}` runs other programs as well, and alone it is not {app.id}"
        raise errors.DecisionError("not-wrappable", message)
    listed = [os.path.normpath(entry) for entry in environ.get("PATH", "").split(":") if os.path.isabs(entry)]
    others = [f"{entry}/{name}" for entry in programs.SEARCH if os.access(f"{entry}/{name}", os.X_OK)]
    if others and os.path.realpath(started[0]) not in map(os.path.realpath, others):
        # Its author chose the name: who types `ssh` must not meet whatever calls itself so.
        message = f"`{shown}` is a program of the system, {others[0]}, and {app.id} is another one"
        raise errors.DecisionError("not-wrappable", message)
    usual = f"{places.home}/.local/bin"
    mine = [entry for entry in listed if entry in (usual, f"{places.home}/bin")]
    first = [entry for entry in mine if not _shadowed(name, listed[: listed.index(entry)])]
    directory = (first or mine or [usual])[0]
    text = f'#!/bin/sh\nexec {shlex.quote(launcher())} {app.id} "$@"\n'
    content = overrides.Content(data=os.fsencode(text), mode=0o755)
    wanted = overrides.Wanted(what=overrides.COMMAND, path=f"{directory}/{name}", content=content)
    if first:
        return wanted, ""
    return wanted, f'put `export PATH="{paths.printable(directory)}:$PATH"` into ~/.profile, and log in again'


def launcher() -> str:
    """The absolute path of ``intent-run``: the one beside this command, else the system's.

    Raises DecisionError ``no-intent-run`` when there is none that a desktop may start.
    """
    here = os.path.abspath(sys.argv[0]) if "/" in sys.argv[0] else sys.executable
    directories = dict.fromkeys(map(os.path.dirname, (here, os.path.realpath(here), sys.executable)))
    for path in (*(f"{directory}/intent-run" for directory in directories), programs.find("intent-run")):
        # Desktop Entry Specification, the Exec key: no `=`, and what `%` means inside quotes is not said.
        if path and paths.printable(path) == path and not {*"=%"} & {*path} and _executable(path):
            return path
    raise errors.DecisionError("no-intent-run", "there is no `intent-run` beside this command")


def controlled(places: state.Places, app_id: str, address: str, activatable: tuple[str, ...]) -> bool:
    """Whether the bus at ``address`` starts the app in its sandbox when somebody calls the app's own name.

    It does if our service files are as they were installed, none stands before them, and the bus knows them: that one
    of ours is among the names that it says are ``activatable``.
    """
    if f"{app_id}.{CONTROL}" not in activatable:
        return False
    try:
        known = [each for each in overrides.recorded(places) if each.app_id == app_id]
    except errors.HostError:
        return False
    services = [each for each in known if each.what in (overrides.SERVICE, overrides.MARKER)]
    installed = [each.path for each in services if each.status == "installed"]
    ours = [desktop_entry.service_name(_text(path)) for path in installed]
    bases = (os.path.dirname(places.data), *((os.path.dirname(places.runtime),) if places.runtime else ()))
    files = [path for base in bases for path in _files(f"{base}/{_SERVICES}", ".service", 0)]
    named = [desktop_entry.service_name(_text(path)) for path in files]
    first = all(name in ours and named.count(name) == 1 for name in (app_id, f"{app_id}.{CONTROL}"))
    return first and bus.reload(address)  # it may know of one file, and not yet that it stands before another


def reload_bus(environ: Mapping[str, str], places: state.Places) -> None:
    """Let the session bus, if there is one, read its service files again."""
    own = bus.address(f"{os.path.dirname(places.runtime)}/bus") if places.runtime else ""
    bus.reload(bus.usable(environ.get("DBUS_SESSION_BUS_ADDRESS") or own))


def _ours(app: model.App, environ: Mapping[str, str]) -> desktop_entry.Ours:
    started = desktop_entry.own_command(app.command)
    program, real = started[0], os.path.realpath(started[0])
    names = {os.path.basename(program), os.path.basename(real)}
    searched = [*environ.get("PATH", "").split(":"), *programs.SEARCH, "/bin"]

    def is_program(word: str) -> bool:
        if "/" in word:
            return os.path.basename(word) in names and os.path.realpath(word) == real
        return word in names and any(os.path.realpath(f"{each}/{word}") == real for each in searched if each)

    return desktop_entry.Ours(launcher=launcher(), app_id=app.id, command=started, is_program=is_program)


def _launchers(
    ours: desktop_entry.Ours,
    environ: Mapping[str, str],
    places: state.Places,
    before: Mapping[str, overrides.Content | None],
) -> Iterator[Found]:
    home = f"{os.path.dirname(places.data)}/{_ENTRIES}"
    seen: set[str] = set()
    for directory in (home, *(f"{shared}/{_ENTRIES}" for shared in _shared(environ))):
        for path in _files(directory, ".desktop", _DEPTH):
            below = path[len(directory) + 1 :]
            text = _text(path, before)
            if below.replace("/", "-") in seen or not text:
                continue
            seen.add(below.replace("/", "-"))  # its id, by which the first one counts
            found = None if desktop_entry.hidden(text) else desktop_entry.rewrite(text, ours)
            if found is not None:
                yield _found(overrides.LAUNCHER, f"{home}/{below}", path, found)


def _services(
    ours: desktop_entry.Ours,
    environ: Mapping[str, str],
    places: state.Places,
    before: Mapping[str, overrides.Content | None],
) -> Iterator[Found]:
    home = f"{os.path.dirname(places.data)}/{_SERVICES}"
    seen: set[str] = set()
    some = False
    for directory in (home, *(f"{shared}/{_SERVICES}" for shared in _shared(environ))):
        for path in _files(directory, ".service", 0):
            text = _text(path, before)
            name = desktop_entry.service_name(text)
            found = desktop_entry.service(text, ours)
            if not name or name in seen:
                continue
            seen.add(name)
            if found is not None:
                some = True
                yield _found(overrides.SERVICE, path if directory == home else f"{home}/{name}.service", path, found[1])
    control = f"{ours.app_id}.{CONTROL}"
    if some and desktop_entry.bus_name(control):
        text = desktop_entry.activation(control, ("/bin/false",))
        marker = desktop_entry.Rewritten(text=text, left_out=())
        yield _found(overrides.MARKER, f"{home}/{control}.service", "", marker)


def _found(what: str, path: str, of: str, found: desktop_entry.Rewritten) -> Found:
    content = overrides.Content(data=found.text.encode("utf-8", "surrogateescape"))
    return Found(wanted=overrides.Wanted(what=what, path=path, content=content), of=of, left_out=found.left_out)


def _shared(environ: Mapping[str, str]) -> list[str]:
    listed = (environ.get("XDG_DATA_DIRS") or _SHARED).split(":")
    return [os.path.normpath(entry) for entry in listed if os.path.isabs(entry)]


def _files(directory: str, ending: str, depth: int) -> Iterator[str]:
    try:
        listed = sorted(os.listdir(directory))
    except OSError:
        return
    for name in listed:
        path = f"{directory}/{name}"
        if name.endswith(ending):
            yield path
        elif depth and not name.startswith(".") and os.path.isdir(path):
            yield from _files(path, ending, depth - 1)


def _text(path: str, before: Mapping[str, overrides.Content | None] | None = None) -> str:
    """What the file says, or said before an override of ours; empty where there is none that can be read."""
    kept = before.get(path) if before is not None else None
    if before is not None and path in before and (kept is None or not kept.link):
        return kept.data.decode("utf-8", "surrogateescape") if kept is not None else ""
    source = os.path.join(os.path.dirname(path), kept.link) if kept is not None else path
    try:
        with open(os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            data = file.read(overrides.MAX_FILE + 1) if regular else b""
    except OSError:
        return ""
    return data.decode("utf-8", "surrogateescape") if len(data) <= overrides.MAX_FILE else ""


def _executable(path: str) -> bool:
    try:
        info = os.stat(path)
    except OSError:
        return False
    mine = info.st_uid in (0, os.geteuid()) and not state.others_write(info)
    return mine and stat.S_ISREG(info.st_mode) and os.access(path, os.X_OK)


def _shadowed(name: str, directories: list[str]) -> bool:
    return any(os.access(f"{directory}/{name}", os.X_OK) for directory in directories)
