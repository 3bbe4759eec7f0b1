"""Guards: what a plan remembers of the machine, so that a later launch can tell that it still holds (SPEC §10).

A guard is (kind, subject, value), all text. Make it BEFORE looking at the subject: a change between the two then
makes the plan stale; the other way round it would be remembered as if it had been seen.
"""

import ctypes
import errno
import os
from collections.abc import Callable, Mapping

from broker import launch

Guard = tuple[str, str, str]
_LASTING = {0xEF53, 0x58465342, 0x9123683E, 0xF2F52010}  # ext2 to ext4, XFS, Btrfs, F2FS: linux/magic.h
SMALL = 1 << 16  # bytes; the guard of a larger content never holds, which only costs a compilation


def make(kind: str, subject: str, environ: Mapping[str, str]) -> Guard:
    """The guard of ``kind`` over ``subject`` as it is now.

    file: identity, size and times of what a path leads to, ``dev:ino:size:mtime_ns:ctime_ns``; node: only its
    identity, ``dev:ino``; absent: nothing to be found there; link: the text of a symbolic link, or a node guard of
    anything else; real: the canonical path; env: the variable of ``environ``, ``-`` when unset; list: a directory's
    entries, sorted, ``name=ino:size:mtime_ns:ctime_ns`` joined by ``/``; names: only their names and
    what they are, ``name=f`` for a file, ``d``, ``l`` or ``o``, joined by ``/``; same: the content, for small files;
    code: that this program runs from the directory ``subject``; object: ``launch.object_of`` of a directory.

    What is not there or cannot be looked at gives an absent guard; an absent guard of what is there after all can
    never hold, which only costs a compilation. Raises KeyError for another kind.
    """
    if kind == "env":
        return kind, subject, environ.get(subject, "-")
    look = _LOOKS[kind]
    try:
        return kind, subject, look(subject)
    except OSError as missing:
        if missing.errno == errno.EINVAL and kind == "link":
            return make("node", subject, environ)
        return "absent", subject, ""


class Watch:
    """Makes each guard before the look it belongs to, once."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.taken: dict[tuple[str, str], Guard] = {}

    def see(self, kind: str, subject: str) -> None:
        """Guard ``subject``; the first guard counts."""
        if (kind, subject) not in self.taken:
            self.taken[kind, subject] = make(kind, subject, self.environ)

    def variable(self, name: str) -> str:
        """An environment variable, guarded; empty when unset."""
        self.see("env", name)
        return self.environ.get(name, "")


def lasting(path: str) -> bool:
    """Whether the file system at ``path`` keeps an object's number and generation from boot to boot (statfs(2))."""
    found = ctypes.create_string_buffer(256)  # struct statfs; its first word is f_type
    known = ctypes.CDLL(None).statfs(os.fsencode(path), found) == 0
    return known and int.from_bytes(found.raw[:4], "little") in _LASTING


def _file(path: str) -> str:
    found = os.stat(path)
    return f"{found.st_dev}:{_version(found)}"


def _node(path: str) -> str:
    found = os.stat(path)
    return f"{found.st_dev}:{found.st_ino}"


def _listing(path: str) -> str:
    with os.scandir(path) as entries:
        found = sorted((entry.name, _version(entry.stat(follow_symlinks=False))) for entry in entries)
    return "/".join(f"{name}={version}" for name, version in found)


def _names(path: str) -> str:
    with os.scandir(path) as entries:
        return "/".join(f"{name}={sort}" for name, sort in sorted((entry.name, _sort(entry)) for entry in entries))


def _sort(entry: os.DirEntry[str]) -> str:
    return "l" if entry.is_symlink() else "d" if entry.is_dir() else "f" if entry.is_file() else "o"


def _version(found: os.stat_result) -> str:
    return f"{found.st_ino}:{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}"


def _content(path: str) -> str:
    with open(path, "rb") as file:
        return os.fsdecode(file.read(SMALL))


_LOOKS: dict[str, Callable[[str], str]] = {
    "file": _file,
    "node": _node,
    "absent": lambda _path: "",
    "code": lambda _path: "",
    "object": lambda path: launch.object_of(os.fsencode(path)).decode(),
    "link": os.readlink,
    "real": os.path.realpath,
    "list": _listing,
    "names": _names,
    "same": _content,
}
