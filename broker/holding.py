"""What a sandbox's processes keep of a place that is taken from them: open files, directories, mappings (SPEC §11.7).

What is sent to a process in a message that it has not read yet cannot be seen.
"""

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from broker import runs
from intents import paths


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One thing that stays open. sort: ``file``, ``directory`` (through which all below it is reached), ``mapping`` or
    ``working-directory``; place: its path as far as the kernel tells it; writable: whether it was opened to write, or
    may lead to what can be written."""

    pid: int
    program: str
    sort: str
    place: str
    writable: bool

    def as_data(self) -> dict[str, object]:
        """pid, program, sort, place, writable."""
        return {
            "pid": self.pid,
            "program": self.program,
            "sort": self.sort,
            "place": self.place,
            "writable": self.writable,
        }


def mapped(instance: runs.Instance, points: Collection[str]) -> tuple[Held, ...]:
    """The files below mounts at these points that are in a process's memory: to be asked while they are mounted."""
    return tuple(dict.fromkeys(held for pid in instance.members() for held in _mapped(pid, points)))


def opened(instance: runs.Instance, points: Mapping[int, str]) -> tuple[Held, ...]:
    """What processes have open through mounts that are detached: by number, where each was mounted."""
    return tuple(held for pid in instance.members() for held in _opened(pid, points))


def _mapped(pid: int, points: Collection[str]) -> Iterator[Held]:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.rstrip("\n").split(maxsplit=5)
            if len(fields) == 6 and any(paths.inside(fields[5], point) for point in points):
                shared = fields[1].endswith("s") and "w" in fields[1]
                yield Held(pid=pid, program=_program(pid), sort="mapping", place=fields[5], writable=shared)


def _opened(pid: int, points: Mapping[int, str]) -> Iterator[Held]:
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                number, flags = _told(f"/proc/{pid}/fdinfo/{name}")
                if number in points:
                    link = f"/proc/{pid}/fd/{name}"
                    sort = "directory" if os.path.isdir(link) else "file"
                    writable = sort == "directory" or flags & os.O_ACCMODE != os.O_RDONLY
                    place = _place(os.readlink(link), points[number])
                    yield Held(pid=pid, program=_program(pid), sort=sort, place=place, writable=writable)
    with contextlib.suppress(OSError):
        handle = os.open(f"/proc/{pid}/cwd", os.O_PATH | os.O_CLOEXEC)
        try:
            if point := points.get(_told(f"/proc/self/fdinfo/{handle}")[0]):
                place = _place(os.readlink(f"/proc/{pid}/cwd"), point)
                yield Held(pid=pid, program=_program(pid), sort="working-directory", place=place, writable=True)
        finally:
            os.close(handle)


def _place(link: str, point: str) -> str:
    """What the kernel names from the root of a detached mount, from where that stood."""
    return link if paths.inside(link, point) else (point + link).rstrip("/")


def _told(path: str) -> tuple[int, int]:
    """The number of a descriptor's mount, and how it was opened (proc_pid_fdinfo(5)). Raises OSError."""
    with open(path, encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file if line.startswith(("mnt_id:", "flags:")))
    return int(fields.get("mnt_id", "0")), int(fields.get("flags", "0"), 8)


def _program(pid: int) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().rstrip("\n")
    return ""
