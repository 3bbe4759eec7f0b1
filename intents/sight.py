"""What an app finds in its compiled sandbox: at a path, on a bus, in its environment (SPEC §11.4).

Pure functions of the ``Sandbox`` that is launched, so that ``intent-ctl why`` and ``reach`` cannot know better than it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from intents import paths, reach, sandbox
from intents.kinds import dbus, path

LINKS = 40  # that a path may lead over, as the kernel counts them (path_resolution(7))
# What bubblewrap puts into its own /dev (bwrap(1), --dev): the host's nodes, and what is the sandbox's own.
DEVICE_NODES = ("full", "null", "random", "tty", "urandom", "zero")
DEVICE_ENTRIES = (*DEVICE_NODES, "console", "core", "fd", "ptmx", "pts", "shm", "stderr", "stdin", "stdout")


class Stands(StrEnum):
    """What stands at a path: an object of the host, something the sandbox made, a kernel interface, or nothing."""

    HOST = "host"
    MADE = "made"
    KERNEL = "kernel"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What is at one path.

    path: where the links lead; line: the mount that decides, None where only the empty root is; source: the host
    object, for HOST; writable: whether the mount lets the app change it, or make it where nothing is.
    """

    path: str
    stands: Stands
    line: sandbox.Mount | None
    source: str = ""
    writable: bool = False

    @property
    def because(self) -> str:
        """Whose line it is: ``base`` or an intent's id."""
        return self.line.because if self.line else sandbox.BASE


def look(box: sandbox.Sandbox, where: str, read_link: Callable[[str], str] = lambda source: "") -> Sight:
    """What the app finds at an absolute path, all links followed.

    read_link: the target of a host path that is a link, else empty; without it only the sandbox's own links are known.
    """
    links = _links(box)
    done, rest, left = "", _parts(where), LINKS
    while rest:
        part, rest = rest[0], rest[1:]
        if part == "..":
            done = done.rpartition("/")[0]
            continue
        at = f"{done}/{part}"
        seen = _standing(box, at)
        target = (read_link(seen.source) if seen.source else "") or links.get(at, "")
        if not target:
            done = at
            continue
        if not left:
            return Sight(path=at, stands=Stands.NOTHING, line=seen.line)
        left -= 1
        done, rest = "" if target.startswith("/") else done, (*_parts(target), *rest)
    return _standing(box, done or "/")


def _parts(where: str) -> tuple[str, ...]:
    return tuple(part for part in where.split("/") if part not in ("", "."))


def _links(box: sandbox.Sandbox) -> dict[str, str]:
    """The links that the sandbox makes, and those that a launch makes in the app's own directories."""
    found = {mount.dest: mount.target for mount in box.mounts if isinstance(mount, sandbox.Symlink)}
    own = {mount.source: mount.dest for mount in box.mounts if isinstance(mount, sandbox.Bind)}
    for link in box.links:
        for source, dest in own.items():
            if source.endswith(f"/{box.app_id}-{box.lineage}/{link.directory}"):
                found[f"{dest}/{link.below}"] = link.target
    return found


def _standing(box: sandbox.Sandbox, at: str) -> Sight:
    """What the deepest mount above ``at`` puts there; a link stands for itself."""
    above = [mount for mount in box.mounts if paths.inside(at, mount.dest)]
    line = max(above, key=lambda mount: paths.depth(mount.dest), default=None)
    below = at[len(line.dest) :] if line else at
    holds = any(mount.dest != at and paths.inside(mount.dest, at) for mount in box.mounts)
    match line:
        case sandbox.Bind():
            writable = line.access is sandbox.Access.WRITE
            return Sight(path=at, stands=Stands.HOST, line=line, source=line.source + below, writable=writable)
        case sandbox.Device():
            return Sight(path=at, stands=Stands.HOST, line=line, source=at, writable=True)
        case sandbox.Special(kind="dev"):
            return _device(line, at, below, holds=holds)
        case sandbox.Special():
            return Sight(path=at, stands=Stands.KERNEL, line=line, writable=not line.read_only)
        case sandbox.Tmpfs(mask=True):
            return Sight(path=at, stands=Stands.NOTHING, line=line)
        case sandbox.Tmpfs():
            there = not below or holds
            return Sight(path=at, stands=Stands.MADE if there else Stands.NOTHING, line=line, writable=True)
        case sandbox.Directory():
            there, writable = not below or holds, _in_memory(box, line.dest)
            return Sight(path=at, stands=Stands.MADE if there else Stands.NOTHING, line=line, writable=writable)
        case None:
            there = holds or at == "/"
            return Sight(path=at, stands=Stands.MADE if there else Stands.NOTHING, line=None)
        case _:
            return Sight(path=at, stands=Stands.NOTHING if below else Stands.MADE, line=line)


def _device(line: sandbox.Mount, at: str, below: str, *, holds: bool) -> Sight:
    name = below[1:].partition("/")[0]
    if name in DEVICE_NODES:
        return Sight(path=at, stands=Stands.HOST, line=line, source=at, writable=True)
    stands = Stands.KERNEL if not name or name in DEVICE_ENTRIES or holds else Stands.NOTHING
    return Sight(path=at, stands=stands, line=line, writable=name in ("pts", "shm"))


def _in_memory(box: sandbox.Sandbox, at: str) -> bool:
    """Whether a directory that the sandbox made stands in memory that the app may change; the root is read-only."""
    above = [mount for mount in box.mounts if paths.inside(at, mount.dest) and not isinstance(mount, sandbox.Directory)]
    line = max(above, key=lambda mount: paths.depth(mount.dest), default=None)
    return isinstance(line, sandbox.Tmpfs) and not line.mask


def names(box: sandbox.Sandbox, directory: str) -> tuple[str, ...]:
    """The names that mounts put directly below a directory, sorted."""
    lead = directory.rstrip("/") + "/"
    below = (mount.dest[len(lead) :] for mount in box.mounts if mount.dest.startswith(lead))
    return tuple(sorted({name.partition("/")[0] for name in below}))


def rules(box: sandbox.Sandbox, name: str) -> tuple[sandbox.BusRule, ...]:
    """The rules of the buses' filters that are about a bus name, or about some name below a wildcard."""
    asked = dbus.Rule(verb="see", operand=name)
    found = ((rule, dbus.Rule(verb="see", operand=rule.rule.partition("=")[0])) for rule in box.bus_rules)
    return tuple(rule for rule, pattern in found if pattern.covers(asked) or asked.covers(pattern))


def buses(box: sandbox.Sandbox) -> tuple[sandbox.LaunchSocket, ...]:
    """The sockets of the filtered buses."""
    sockets = (mount for mount in box.mounts if isinstance(mount, sandbox.LaunchSocket))
    return tuple(mount for mount in sockets if mount.name in reach.BUSES)


def variable(box: sandbox.Sandbox, name: str) -> sandbox.Env | sandbox.Pass | None:
    """What sets an environment variable of the app."""
    set_here = next((op for op in box.env if op.name == name), None)
    return set_here or next((op for op in box.passed if op.name == name), None)


def own_directory(box: sandbox.Sandbox, source: str) -> bool:
    """Whether a host path lies in the directories that are the app's own."""
    tops = {mount.source for mount in box.mounts if isinstance(mount, sandbox.Bind)}
    private = {name for _, name in path.PRIVATE_DIRECTORIES}
    key = f"/{box.app_id}-{box.lineage}/"
    return any(paths.inside(source, top) for top in tops if top.rpartition("/")[2] in private and key in top)
