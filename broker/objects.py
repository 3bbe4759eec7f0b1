"""One object of the file system as the facts tell of it, and the guards of the look (SPEC §9.1)."""

import os
import stat
from collections.abc import Iterable

from broker import guards
from intents import facts


def entries(watch: guards.Watch, candidates: Iterable[str]) -> Iterable[facts.Entry]:
    """Those of the paths that are there, as they are."""
    for each in candidates:
        watch.see("link", each)
        try:
            mode = os.lstat(each).st_mode
            target = os.readlink(each) if stat.S_ISLNK(mode) else ""
        except OSError:
            continue
        if kind := _kind(mode):
            yield facts.Entry(path=each, kind=kind, target=target)


def _kind(mode: int) -> str:
    return {stat.S_IFDIR: "dir", stat.S_IFREG: "file", stat.S_IFLNK: "link"}.get(stat.S_IFMT(mode), "")


def path(watch: guards.Watch, wanted: str, listed: tuple[str | None, ...] = ()) -> facts.PathFact:
    """What is at a path and where it leads; with its children if it leads to one of ``listed``."""
    watch.see("real", wanted)
    watch.see("node", wanted)
    nobody = -1
    try:
        real = os.path.realpath(wanted, strict=True)
        info = os.lstat(real)
    except FileNotFoundError:
        return facts.PathFact(path=wanted, real=os.path.realpath(wanted), kind="absent", owner=nobody)
    except NotADirectoryError:
        return facts.PathFact(path=wanted, real="", kind="absent", owner=nobody)
    except PermissionError:
        return facts.PathFact(path=wanted, real="", kind="unreadable", owner=nobody)
    except OSError:
        return facts.PathFact(path=wanted, real="", kind="other", owner=nobody)
    kind = _kind(info.st_mode) or "other"
    children = _children(watch, real) if real in listed else ()
    identity = _identity(watch, real) if kind == "dir" else ""
    return facts.PathFact(path=wanted, real=real, kind=kind, owner=info.st_uid, entries=children, identity=identity)


def _identity(watch: guards.Watch, real: str) -> str:
    """Which directory this is, as its guard says it; empty where that does not last, or cannot be told."""
    if not guards.lasting(real):
        return ""
    watch.see("object", real)
    kind, _, value = watch.taken["object", real]
    if kind == "object":
        return value
    del watch.taken["object", real]
    return ""


def _children(watch: guards.Watch, directory: str) -> tuple[tuple[str, str], ...]:
    watch.see("names", directory)
    try:
        with os.scandir(directory) as entries:
            found = [(entry.name, _kind(entry.stat(follow_symlinks=False).st_mode) or "other") for entry in entries]
    except OSError:
        return ()
    return tuple(sorted(found))
