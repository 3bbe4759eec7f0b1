"""Files of the user's that stand before those of the system, so that a program starts in its sandbox (SPEC §11.6).

What is installed and what stood there before is on record, durably, before anything changes: whenever this program is
interrupted, ``remove`` puts everything back.
"""

import base64
import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from broker import state
from intents import errors, paths

LAUNCHER, SERVICE, MARKER, COMMAND = "launcher", "service", "marker", "command"
MAX_FILE = 1 << 20
_MAX_RECORD = 1 << 26


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A file with its mode, or a symbolic link and where it leads."""

    data: bytes = b""
    mode: int = 0o644
    link: str = ""

    @property
    def digest(self) -> str:
        """What tells it from others."""
        return hashlib.sha256(b"%d\0%b\0%b" % (self.mode, os.fsencode(self.link), self.data)).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A file to install. what: ``launcher``, ``service``, ``marker`` or ``command``."""

    what: str
    path: str
    content: Content


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One that is on record. ours: the digests of what may stand there by our hand; before: what stood there, or None;
    made: the directories that were made for it, innermost first."""

    app_id: str
    what: str
    path: str
    ours: tuple[str, ...]
    before: Content | None
    made: tuple[str, ...]

    @property
    def status(self) -> str:
        """``installed``, ``missing``, or ``changed`` by somebody else since."""
        found = _found(self.path)
        return "missing" if found is None else "installed" if found.digest in self.ours else "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """What ``remove`` did at a path: ``removed``, ``restored``, or ``kept`` because it was changed since. saved: where
    it then put what stood there before, or empty."""

    path: str
    how: str
    saved: str = ""


def file(places: state.Places) -> str:
    """Where everything is on record."""
    return f"{places.state}/overrides.json"


def recorded(places: state.Places) -> tuple[Override, ...]:
    """Everything on record, in the order of the paths. Raises HostError ``unsafe-place``, ``overrides-damaged``."""
    found = state.read_private(file(places), _MAX_RECORD)
    try:
        return tuple(map(_override, json.loads(found)["overrides"])) if found is not None else ()
    except (ValueError, KeyError, TypeError) as error:
        message = f"the record of overrides, `{paths.printable(file(places))}`, is damaged"
        raise errors.HostError("overrides-damaged", message) from error


def install(places: state.Places, app_id: str, whats: Sequence[str], wanted: Sequence[Wanted]) -> tuple[Undone, ...]:
    """Make the app's overrides of the sorts ``whats`` exactly those of ``wanted``; what was done to those that are not.

    Raises DecisionError ``override-taken`` or ``override-changed`` before anything changes, HostError
    ``unwritable-place``.
    """
    with _locked(places):
        known = {each.path: each for each in recorded(places)}
        asked = {each.path for each in wanted}
        new = {each.path: _before(known, app_id, each) for each in wanted}
        _write(places, {**known, **new}.values())
        for each in wanted:
            _put(each.path, each.content)
        stale = [e for e in known.values() if e.app_id == app_id and e.what in whats and e.path not in asked]
        return _undo(places, stale)


def remove(places: state.Places, app_id: str, whats: Sequence[str]) -> tuple[Undone, ...]:
    """Put back what stood at the paths of the app's overrides of these sorts. Raises HostError ``unwritable-place``."""
    with _locked(places):
        return _undo(places, [e for e in recorded(places) if e.app_id == app_id and e.what in whats])


def look(path: str) -> Content | None:
    """What stands at ``path``, or None. Raises DecisionError ``override-taken`` for what is no small file or link."""
    try:
        info = os.lstat(path)
        if stat.S_ISLNK(info.st_mode):
            return Content(link=os.readlink(path), mode=0)
        if stat.S_ISREG(info.st_mode) and info.st_size <= MAX_FILE:
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
                return Content(data=opened.read(MAX_FILE), mode=stat.S_IMODE(info.st_mode))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unwritable(path, error) from error
    message = f"`{paths.printable(path)}` is not a file that could be put back as it was"
    raise errors.DecisionError("override-taken", message)


def _found(path: str) -> Content | None:
    """The same, with one that is like no file where something else stands."""
    try:
        return look(path)
    except errors.IntentError:
        return Content(mode=-1)


def _before(there: Mapping[str, Override], app_id: str, wanted: Wanted) -> Override:
    """The record of an override that is about to be written. Raises as ``install`` does."""
    path, now = wanted.path, look(wanted.path)
    known, shown = there.get(path), paths.printable(path)
    if known is not None and known.app_id != app_id:
        raise errors.DecisionError("override-taken", f"`{shown}` starts {known.app_id}")
    if known is not None:
        if known.status == "changed" and now != known.before:
            raise errors.DecisionError("override-changed", f"`{shown}` was changed after it was installed")
        return replace(known, ours=tuple(dict.fromkeys((*known.ours, wanted.content.digest))))
    if now is not None and wanted.what == COMMAND:
        raise errors.DecisionError("override-taken", f"`{shown}` is a program of your own")
    return Override(
        app_id=app_id,
        what=wanted.what,
        path=path,
        ours=(wanted.content.digest,),
        before=now,
        made=_made(os.path.dirname(path), there.values()),
    )


def _undo(places: state.Places, overrides: Sequence[Override]) -> tuple[Undone, ...]:
    done = tuple(_restore(each) for each in overrides)
    if done:
        over = {each.path for each in done}
        _write(places, [each for each in recorded(places) if each.path not in over])
    return done


def _restore(override: Override) -> Undone:
    path, before = override.path, override.before
    now = _found(path)
    if now is not None and now.digest not in override.ours and now != before:
        saved = f"{path}.before-{before.digest[:8]}" if before is not None else ""
        if before is not None:
            _put(saved, before)
        return Undone(path=path, how="kept", saved=saved)
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(_beside(path))
        if before is not None and now != before:
            _put(path, before)
        elif before is None and now is not None:
            os.unlink(path)
        for directory in override.made:
            with contextlib.suppress(OSError):  # there is something else in it by now, or it is gone
                os.rmdir(directory)
    except OSError as error:
        raise _unwritable(path, error) from error
    return Undone(path=path, how="restored" if before is not None else "removed")


def _put(path: str, content: Content) -> None:
    """Let ``content`` stand at ``path``: after a crash it does, or what stood there still does."""
    if look(path) == content:
        return
    beside = _beside(path)
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        if content.link:
            os.symlink(content.link, beside)
        else:
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as new:
                new.write(content.data)
                os.fchmod(new.fileno(), content.mode)
                new.flush()
                os.fsync(new.fileno())
        state.put(beside, path)
    except OSError as error:
        raise _unwritable(path, error) from error


def _beside(path: str) -> str:
    """Where a file is written before it is renamed to ``path``; desktops and shells do not look at such a name."""
    directory, name = os.path.split(path)
    return f"{directory}/.{name}.intents"


def _made(directory: str, others: Iterable[Override]) -> tuple[str, ...]:
    """Of a directory and those above it, the ones that have to be made, or were made for others on record."""
    known = {made for each in others for made in each.made}
    above = (directory, *paths.above(directory))
    return tuple(each for each in above if each in known or not os.path.lexists(each))


@contextlib.contextmanager
def _locked(places: state.Places) -> Iterator[None]:
    with state.lock(places.lock_file("overrides", "all")):
        yield


def _write(places: state.Places, overrides: Iterable[Override]) -> None:
    listed = sorted(overrides, key=lambda override: override.path)
    text = json.dumps({"overrides": [_data(each) for each in listed]}, indent=1)
    try:
        state.write_atomic(file(places), text.encode("ascii"))
    except OSError as error:
        raise _unwritable(file(places), error) from error


def _data(override: Override) -> dict[str, object]:
    before = override.before
    kept = None
    if before is not None:
        kept = {"link": before.link, "mode": before.mode, "data": base64.b64encode(before.data).decode("ascii")}
    found = {"app": override.app_id, "what": override.what, "path": override.path, "ours": list(override.ours)}
    return {**found, "before": kept, "made": list(override.made)}


def _override(data: dict[str, object]) -> Override:
    before = data["before"]
    kept = None
    if isinstance(before, dict):
        plain = base64.b64decode(before["data"], validate=True)
        kept = Content(data=plain, mode=int(before["mode"]), link=str(before["link"]))
    ours, made = data["ours"], data["made"]
    if not isinstance(ours, list) or not isinstance(made, list) or (before is not None and kept is None):
        raise TypeError
    return Override(
        app_id=str(data["app"]),
        what=str(data["what"]),
        path=str(data["path"]),
        ours=tuple(map(str, ours)),
        before=kept,
        made=tuple(map(str, made)),
    )


def _unwritable(path: str, error: OSError) -> errors.HostError:
    return errors.HostError("unwritable-place", f"`{paths.printable(path)}` cannot be changed: {error.strerror}")
