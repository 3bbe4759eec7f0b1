"""What the mount table tells and paths do not: other ways to the same directory, and other places for the kernel's own
file systems (proc(5), ``mountinfo``). A directory with a bind mount below it shows more than its name says.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from intents import paths

TABLE = "/proc/self/mountinfo"
# What these show is the running system itself, wherever they are mounted: /proc/PID/root alone is a way out.
_KERNEL = (
    "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs", "fusectl",
    "mqueue", "nsfs", "proc", "pstore", "securityfs", "selinuxfs", "smackfs", "sysfs", "tracefs",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One line: the file system's device, which directory of it is shown, where, and the file system's type; the
    number of the mount and of the one it stands on, and whether what it shows can be written."""

    device: str
    root: str
    point: str
    kind: str
    number: int
    above: int
    writable: bool


def read(table: str | int = TABLE) -> tuple[Mount, ...]:
    """The mounts that this process sees, in the order of their making, or those of ``table``. Raises OSError."""
    with open(table, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        return tuple(_mount(line.split(" ")) for line in file)


def _mount(fields: list[str]) -> Mount:
    return Mount(
        device=fields[2],
        root=_plain(fields[3]),
        point=_plain(fields[4]),
        kind=fields[fields.index("-", 6) + 1],
        number=int(fields[0]),
        above=int(fields[1]),
        writable="ro" not in fields[5].split(","),
    )


def _plain(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def system(mounts: Iterable[Mount]) -> tuple[str, ...]:
    """Where the running system shows, outside the places that are refused by their names anyway: sorted."""
    table = tuple(mounts)
    named = [mount.point for mount in table if _refused(mount.point)]
    found = {mount.point for mount in table if mount.kind in _KERNEL}
    found |= {other for place in (*paths.REFUSED_ROOTS, *named) for other in others(place, table)}
    return tuple(sorted(place for place in found if not _refused(place)))


def others(path: str, mounts: Iterable[Mount]) -> Iterator[str]:
    """The other paths at which ``path``, which is canonical, or a part of it can be reached."""
    table = tuple(mounts)
    over = [mount for mount in table if paths.inside(path, mount.point)]
    if not over:
        return
    here, within = _stands(path, over)
    for mount in table:
        if mount.device != here.device or mount == here:
            continue
        if paths.inside(within, mount.root):
            found = _join(mount.point, within[len(mount.root.rstrip("/")) :])
        elif paths.inside(mount.root, within):
            found = mount.point
        else:
            continue
        if not paths.inside(found, path):
            yield found


def identity(path: str, table: Iterable[Mount]) -> tuple[str, str]:
    """What a canonical path names, wherever else it is mounted: a device, and a path on the file system there; both are
    empty where the table knows of none."""
    over = [mount for mount in table if paths.inside(path, mount.point)]
    if not over:
        return "", ""
    here, within = _stands(path, over)
    return here.device, within


def _stands(path: str, over: Sequence[Mount]) -> tuple[Mount, str]:
    """The innermost mount over a path, the last made of several, and the path on its file system."""
    here = max(enumerate(over), key=lambda pair: (len(pair[1].point), pair[0]))[1]
    return here, _join(here.root, path[len(here.point.rstrip("/")) :])


def _join(above: str, below: str) -> str:
    return (above.rstrip("/") + below).rstrip("/") or "/"


def _refused(path: str) -> bool:
    return any(paths.inside(path, root) for root in paths.REFUSED_ROOTS)
