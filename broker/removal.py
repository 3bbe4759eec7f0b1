"""Remove what an app kept in its private directories. The app made all of it, so all of it may be a trap.

No link is followed, no depth is too deep and no mode forbids it: every directory that is found is first moved to the
top, so that one level is open at a time (openat(2), renameat(2), symlink(7)).
"""

import contextlib
import os
import re
import stat
from collections.abc import Iterator

from broker import state
from intents import errors, paths

_LINEAGE = "-[0-9a-f]{16}"
_OPEN = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def private(places: state.Places, app_id: str) -> tuple[str, ...]:
    """The names below ``apps/`` that are the app's, of every lineage."""
    wanted = re.compile(re.escape(app_id) + _LINEAGE)
    return tuple(sorted(name for name in os.listdir(f"{places.data}/apps") if wanted.fullmatch(name)))


def measure(places: state.Places, app_id: str) -> tuple[tuple[str, int, int], ...]:
    """What ``remove`` would remove: path, number of files, their bytes."""
    found = []
    for name in private(places, app_id):
        path = f"{places.data}/apps/{name}"
        sizes = tuple(_sizes(path))
        found.append((path, len(sizes), sum(sizes)))
    return tuple(found)


def _sizes(path: str) -> Iterator[int]:
    """The bytes of each file below; what no path can say, or goes meanwhile, is not counted."""
    left = [path]
    while left:
        with contextlib.suppress(OSError), os.scandir(left.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
                    continue
                with contextlib.suppress(OSError):
                    yield entry.stat(follow_symlinks=False).st_size


def remove(places: state.Places, app_id: str) -> tuple[str, ...]:
    """Remove the app's private directories of every lineage; their paths. The caller sees to it that it does not run.

    All of it is out of the app's reach before the first file goes, and what an interrupted removal left goes with the
    next. Raises HostError ``unwritable-place`` when something cannot be removed.
    """
    base = f"{places.data}/apps"
    state.own_directory(base)
    names = private(places, app_id)
    heap = f".removed-{app_id}"
    try:
        apps = os.open(base, os.O_RDONLY | _OPEN)
        try:
            _clear(apps, names, heap)
        finally:
            os.close(apps)
    except OSError as error:
        shown = paths.printable(f"{base}/{heap}")
        raise errors.HostError("unwritable-place", f"`{shown}` cannot be removed: {error.strerror}") from error
    return tuple(f"{base}/{name}" for name in names)


def _clear(apps: int, names: tuple[str, ...], heap: str) -> None:
    if not names and heap not in os.listdir(apps):
        return
    if heap not in os.listdir(apps):
        os.mkdir(heap, 0o700, dir_fd=apps)
    handle = os.open(heap, os.O_RDONLY | _OPEN, dir_fd=apps)
    try:
        left = os.listdir(handle)
        number = 1 + max((int(name) for name in left), default=0)
        for name in names:
            left += _move(apps, name, handle, number)
            number += 1
        while left:
            found = left.pop()
            number = _flatten(handle, found, left, number)
            os.rmdir(found, dir_fd=handle)
    finally:
        os.close(handle)
    os.rmdir(heap, dir_fd=apps)


def _flatten(heap: int, name: str, left: list[str], number: int) -> int:
    """Empty the directory ``name``: files go, directories move to the heap. The next free number."""
    handle = os.open(name, os.O_RDONLY | _OPEN, dir_fd=heap)
    try:
        for entry in os.listdir(handle):
            left += _move(handle, entry, heap, number)
            number += 1
    finally:
        os.close(handle)
    return number


def _move(source: int, name: str, heap: int, number: int) -> list[str]:
    """Move a directory to the heap and say its name there; remove anything else."""
    if not stat.S_ISDIR(os.stat(name, dir_fd=source, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=source)
        return []
    handle = os.open(name, os.O_PATH | _OPEN, dir_fd=source)
    try:
        os.chmod(f"/proc/self/fd/{handle}", 0o700)  # of this very directory: fchmod(2) takes no O_PATH descriptor
    finally:
        os.close(handle)
    os.rename(name, str(number), src_dir_fd=source, dst_dir_fd=heap)
    return [str(number)]
