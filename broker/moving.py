"""What ``intent-ctl`` installs, so that an app starts in its sandbox from a desktop, a bus and a shell, and takes back
(SPEC §11.6; ``ctl`` documents the JSON)."""

from collections.abc import Sequence

from broker import journal, known, launchers, overrides
from intents import errors, model, paths

DESKTOP = (overrides.LAUNCHER, overrides.SERVICE, overrides.MARKER)
EVERYTHING = (*DESKTOP, overrides.COMMAND)


def install(at: known.Here, name: str) -> known.Report:
    """Let every launcher and every service file of the app's program start the app instead.

    Raises as ``launchers.find`` and ``overrides.install`` do, and why the app has no manifest.
    """
    app = _app(at, name)
    found = launchers.find(app, at.environ, at.places)
    over = overrides.install(at.places, app.id, DESKTOP, [each.wanted for each in found])
    launchers.reload_bus(at.environ, at.places)
    data = {"app": app.id, "installed": [_installed(each) for each in found]}
    return known.Report(data=data, lines=(*said(over), *(line for each in found for line in _lines(each))))


def wrap(at: known.Here, name: str, *, everything: bool) -> known.Report:
    """Put a command of the program's name where a shell finds it first. everything: and the same for desktop and bus,
    as far as anything there starts the app.

    Raises as ``launchers.command`` and ``overrides.install`` do, and why the app has no manifest.
    """
    app = _app(at, name)
    wanted, then = launchers.command(app, at.environ, at.places)
    found = _found(app, at) if everything else ()
    whats = EVERYTHING if everything else (overrides.COMMAND,)
    over = overrides.install(at.places, app.id, whats, [wanted, *(each.wanted for each in found)])
    launchers.reload_bus(at.environ, at.places)
    command = {"what": wanted.what, "path": wanted.path, "of": app.command[0], "left_out": []}
    data = {"app": app.id, "installed": [command, *map(_installed, found)], "then": then or None}
    lines = [*said(over), f"{wanted.path} starts {app.id}."]
    lines += [f"  A shell does not find it first: {then}."] if then else []
    return known.Report(data=data, lines=(*lines, *(line for each in found for line in _lines(each))))


def remove(at: known.Here, name: str, whats: Sequence[str]) -> known.Report:
    """Put back what stood where the app's overrides of these sorts are; also without a manifest.

    Raises DecisionError ``unknown-app``, HostError ``unwritable-place``.
    """
    app_id = _id(at, name)
    undone = overrides.remove(at.places, app_id, whats)
    if overrides.SERVICE in whats:
        launchers.reload_bus(at.environ, at.places)
    lines = said(undone) or ("There was nothing of it.",)
    removed = [{"path": each.path, "how": each.how, "saved": each.saved or None} for each in undone]
    kept = any(each.how == "kept" for each in undone)
    return known.Report(data={"app": app_id, "removed": removed}, lines=lines, negative=kept)


def said(undone: Sequence[overrides.Undone]) -> tuple[str, ...]:
    """What was done at each path, in lines for people."""
    words = {
        "removed": "{}: removed.",
        "restored": "{}: what stood there before is back.",
        "kept": "{}: changed since it was installed, and left as it is.",
    }
    lines = []
    for each in undone:
        lines.append(words[each.how].format(each.path))
        lines += [f"  What stood there before is in {each.saved}."] if each.saved else []
    return tuple(lines)


def show(at: known.Here) -> known.Report:
    """Every override on record, and whether it is still as it was installed."""
    found = overrides.recorded(at.places)
    rows = [{"app": each.app_id, "what": each.what, "path": each.path, "status": each.status} for each in found]
    lines = [f"{each.path}  {_purpose(each)}{_status(each)}" for each in found]
    return known.Report(data={"overrides": rows}, lines=tuple(lines) or ("Nothing is installed.",))


def _purpose(override: overrides.Override) -> str:
    shows = override.what == overrides.MARKER
    return f"tells whether a bus knows those of {override.app_id}" if shows else f"starts {override.app_id}"


def _status(override: overrides.Override) -> str:
    words = {"installed": "", "missing": "  (it is gone)", "changed": "  (changed since it was installed)"}
    return words[override.status]


def _app(at: known.Here, name: str) -> model.App:
    with journal.Journal.open(at.places) as book:
        found = known.find(at, book, name, changing=True)
    if found.app is None:
        assert found.trouble is not None
        raise found.trouble
    return found.app.manifest.app


def _id(at: known.Here, name: str) -> str:
    with journal.Journal.open(at.places) as book:
        meant = known.ids(at, book, name)
    known.choose_one(name, list(meant))
    return meant[0]


def _found(app: model.App, at: known.Here) -> tuple[launchers.Found, ...]:
    try:
        return launchers.find(app, at.environ, at.places)
    except errors.DecisionError as error:
        if error.code != "no-launcher":
            raise
        return ()


def _installed(found: launchers.Found) -> dict[str, object]:
    return {
        "what": found.wanted.what,
        "path": found.wanted.path,
        "of": found.of or None,
        "left_out": list(found.left_out),
    }


def _lines(found: launchers.Found) -> list[str]:
    if not found.of:
        return []
    lines = [f"{found.wanted.path} stands before {found.of}." if found.of != found.wanted.path else ""]
    lines = [line or f"{found.of} starts the sandbox; what it was is kept." for line in lines]
    left = ", ".join(paths.printable(each) for each in found.left_out)
    return [*lines, f"  Left out, because it could start something else: {left}."] if left else lines
