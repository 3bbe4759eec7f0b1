"""What one bubblewrap command line gives access to, and in what one such map exceeds another.

Written from bwrap(1), xdg-dbus-proxy(1), mount_namespaces(7) and seccomp(2), without a look at the compiler: the same
reading of a command line serves what Flatpak starts and what we start.
"""

import functools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tests.model import bpf

# Options that change nothing about what is reached, and how many operands each takes.
NEUTRAL = {
    "--lock-file": 1, "--sync-fd": 1, "--info-fd": 1, "--json-status-fd": 1, "--block-fd": 1, "--die-with-parent": 0,
    "--new-session": 0, "--hostname": 1, "--unshare-user": 0, "--unshare-user-try": 0, "--chdir": 1, "--size": 1,
    "--disable-userns": 0, "--assert-userns-disabled": 0, "--as-pid-1": 0, "--clearenv": 0, "--perms": 1,
    "--unsetenv": 1,
}  # fmt: skip
BINDS = {
    "--bind": "write", "--bind-try": "write", "--bind-fd": "write",
    "--ro-bind": "read", "--ro-bind-try": "read", "--ro-bind-fd": "read",
    "--dev-bind": "device", "--dev-bind-try": "device",
}  # fmt: skip
# A new file system: operands, of which the last is the place. Directories and links only stand on what is there.
NEW = {"--tmpfs": 1, "--proc": 1, "--dev": 1, "--mqueue": 1, "--bind-data": 2, "--ro-bind-data": 2}
MADE = {"--dir": 1, "--symlink": 2, "--chmod": 2, "--remount-ro": 1, "--file": 2}
WRITTEN = ("--file", "--bind-data", "--ro-bind-data")  # by whoever made the sandbox
NAMESPACES = ("cgroup", "ipc", "net", "pid", "uts")
ORDER = ("", "read", "write", "device")
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_* of linux/audit.h
FOREIGN = {"x86_64": 0x40000003, "aarch64": 0x40000028}  # i386 and arm
CALLS = range(700)
X32 = 0x40000000  # __X32_SYSCALL_BIT
# Calls that a filter may decide by an argument: machine -> (name, number, which argument, values).
DECIDED = {
    "foreign x86_64": (  # i386
        ("ioctl", 54, 1, (0x5412, 0x541C, 0x5422, 0x5401)),
        ("clone", 120, 0, (0x11, 0x10000000, 0x20000000, 0x40000000, 0x00020000)),
        ("personality", 136, 0, (0, 8, 0x40000, 0xFFFFFFFF)),
        ("socketcall", 102, 0, tuple(range(1, 21))),
        ("socket", 359, 0, tuple(range(64))),
        ("socketpair", 360, 0, tuple(range(64))),
        ("chmod", 15, 1, (0o777, 0o4755)),
    ),
    "foreign aarch64": (  # arm
        ("ioctl", 54, 1, (0x5412, 0x541C, 0x5422, 0x5401)),
        ("clone", 120, 0, (0x11, 0x10000000, 0x20000000, 0x40000000, 0x00020000)),
        ("personality", 136, 0, (0, 8, 0x40000, 0xFFFFFFFF)),
        ("socket", 281, 0, tuple(range(64))),
        ("socketpair", 288, 0, tuple(range(64))),
    ),
    "x86_64": (
        ("ioctl", 16, 1, (0x5412, 0x541C, 0x1_0000_5412, 0x5422, 0x5401)),
        ("clone", 56, 0, (0x11, 0x10000000, 0x20000000, 0x40000000, 0x00020000, 0x02000000, 0x04000000, 0x08000000)),
        ("personality", 135, 0, (0, 8, 0x40000, 0xFFFFFFFF, 0x20000008)),
        ("socket", 41, 0, tuple(range(64))),
        ("socketpair", 53, 0, tuple(range(64))),
        ("chmod", 90, 1, (0o777, 0o4755, 0o2755)),
        ("fchmod", 91, 1, (0o777, 0o4755, 0o2755)),
        ("fchmodat", 268, 2, (0o777, 0o4755, 0o2755)),
    ),
    "aarch64": (
        ("ioctl", 29, 1, (0x5412, 0x541C, 0x1_0000_5412, 0x5422, 0x5401)),
        ("clone", 220, 0, (0x11, 0x10000000, 0x20000000, 0x40000000, 0x00020000, 0x02000000, 0x04000000, 0x08000000)),
        ("personality", 92, 0, (0, 8, 0x40000, 0xFFFFFFFF, 0x20000008)),
        ("socket", 198, 0, tuple(range(64))),
        ("socketpair", 199, 0, tuple(range(64))),
        ("fchmod", 52, 1, (0o777, 0o4755, 0o2755)),
        ("fchmodat", 53, 2, (0o777, 0o4755, 0o2755)),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One command line: its words, what the descriptors named in it hold, and where they lead."""

    words: tuple[str, ...]
    held: Mapping[str, bytes]
    leads: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """One mount: at ``dest`` stands the host's ``source``, or something new when that is empty."""

    dest: str
    source: str = ""
    access: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessMap:
    """All that one sandbox reaches. ``rules``: (bus, verb, operand); ``verdicts``: call -> what the filter says."""

    mounts: tuple[Mounted, ...]
    written: frozenset[str]
    shares: frozenset[str]
    environment: frozenset[str]
    rules: frozenset[tuple[str, str, str]]
    verdicts: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Excess:
    """One thing that the first of two maps gives and the second does not."""

    what: str  # path, file, namespace, variable, bus, call
    subject: str
    ours: str
    theirs: str

    def __str__(self) -> str:
        return f"{self.what} {self.subject}: {self.ours}, not {self.theirs or 'nothing'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What a world calls its things: ``own`` leads from host paths to what they are compared as; ``filtered`` are the
    directories of sockets behind which a filter stands, whose rules count instead; ``buses``: a bus's own socket."""

    own: Mapping[str, str] = field(default_factory=dict)
    filtered: tuple[str, ...] = ()
    buses: Mapping[str, str] = field(default_factory=dict)

    def source(self, path: str) -> str:
        """A source as both sides are compared by: canonical, private places as one; empty for no host object."""
        real = os.path.realpath(path)
        if any(inside(real, place) for place in self.filtered):
            return ""
        for place in sorted(self.own, key=len, reverse=True):
            if inside(real, place):
                return f"{self.own[place]}{real[len(place) :]}"
        return real


def inside(path: str, above: str) -> bool:
    """Whether ``path`` is ``above`` or below it."""
    return path == above or above == "/" or path.startswith(f"{above}/")


def read(sandbox: Recorded, proxies: Iterable[Recorded], machine: str, names: Names) -> AccessMap:
    """The map of one sandbox with its message-bus filters. An option that is not known here is a ValueError."""
    mounts: list[Mounted] = []
    written: set[str] = set()
    new: set[str] = set()
    variables: set[str] = set()
    filters: list[bytes] = []
    capable = True
    rest = iter(sandbox.words)
    for word in rest:
        if word == "--":
            break
        if word in BINDS:
            source, dest = next(rest), next(rest)
            source = sandbox.leads[source] if word.endswith("-fd") else source
            if os.path.lexists(source) or not word.endswith("-try"):
                mounts.append(Mounted(dest=_clean(dest), source=names.source(source), access=BINDS[word]))
        elif word in NEW or word in MADE:
            dest = _clean([next(rest) for _ in range(NEW.get(word) or MADE[word])][-1])
            mounts += [Mounted(dest=dest)] if word in NEW else []
            written |= {dest} if word in WRITTEN else set()
        elif word == "--setenv":
            variables.add(next(rest))
            next(rest)
        elif word in ("--seccomp", "--add-seccomp-fd"):
            filters.append(sandbox.held[next(rest)])
        elif word == "--unshare-all":
            new |= set(NAMESPACES)
        elif word == "--share-net":
            new.discard("net")
        elif word == "--cap-drop":
            capable = capable and next(rest) != "ALL"
        elif word.startswith("--unshare-") and word.removeprefix("--unshare-").removesuffix("-try") in NAMESPACES:
            new.add(word.removeprefix("--unshare-").removesuffix("-try"))
        elif word in NEUTRAL:
            for _ in range(NEUTRAL[word]):
                next(rest)
        else:
            raise ValueError(f"what does {word} do?")
    kept = {"capabilities"} if capable else set()
    return AccessMap(
        mounts=tuple(mounts),
        written=frozenset(written),
        shares=frozenset(set(NAMESPACES) - new | kept),
        environment=frozenset(variables),
        rules=frozenset((*_filtered(proxies), *_raw(mounts, names))),
        verdicts=_verdicts(tuple(filters), machine),
    )


def _clean(path: str) -> str:
    return os.path.normpath(path)


def _raw(mounts: Iterable[Mounted], names: Names) -> Iterable[tuple[str, str, str]]:
    """A bus whose own socket is shown answers everything."""
    return ((names.buses[mount.source], "own", "*") for mount in mounts if mount.source in names.buses)


def _filtered(proxies: Iterable[Recorded]) -> Iterable[tuple[str, str, str]]:
    """The rules of xdg-dbus-proxy: an address and a socket begin a bus, whose options follow."""
    for proxy in proxies:
        at = max(number for number, word in enumerate(proxy.words) if word.endswith("xdg-dbus-proxy"))
        words = [word for word in proxy.words[at + 1 :] if not word.startswith("--fd=")]
        starts = [number for number, word in enumerate(words) if not word.startswith("--")][::2]
        for start, end in zip(starts, [*starts[1:], len(words)], strict=True):
            bus = words[start + 1].rpartition("/")[2].partition("-")[0]
            options = words[start + 2 : end]
            if "--filter" not in options:
                yield bus, "own", "*"
            for option in options:
                verb, given, operand = option[2:].partition("=")
                if given:
                    yield bus, verb, operand


@functools.lru_cache
def _verdicts(filters: tuple[bytes, ...], machine: str) -> Mapping[str, str]:
    """Call -> the strictest verdict of all filters, of calls by number and of those that an argument decides."""
    programs = [bpf.load(program) for program in filters]

    def verdict(audit: int, number: int, *arguments: int) -> str:
        said = {bpf.run(program, audit=audit, number=number, arguments=arguments) for program in programs}
        return next(iter(said - {bpf.ALLOW}), bpf.ALLOW)

    found: dict[str, str] = {}
    for mode, audit in ((machine, AUDIT[machine]), (f"foreign {machine}", FOREIGN[machine])):
        said = mode.removesuffix(machine)
        numbers = {number for _, number, _, _ in DECIDED[mode]}
        found |= {f"{said}{number}": verdict(audit, number) for number in CALLS if number not in numbers}
        for name, number, at, values in DECIDED[mode]:
            found |= {f"{said}{name}({value:#x})": verdict(audit, number, *[0] * at, value) for value in values}
    if machine == "x86_64":
        found |= {f"x32 {number}": verdict(AUDIT[machine], X32 | number) for number in CALLS}
    return found


def beyond(ours: AccessMap, theirs: AccessMap) -> tuple[Excess, ...]:
    """Everything that ``ours`` gives and ``theirs`` does not; empty where ours is the same or less."""
    found = [*_paths(ours, theirs)]
    found += [_excess("file", dest) for dest in ours.written - theirs.written]
    found += [_excess("namespace", name) for name in ours.shares - theirs.shares]
    found += [_excess("variable", name) for name in ours.environment - theirs.environment]
    for bus, verb, operand in ours.rules:
        if not any(bus == other and covers((wide, what), (verb, operand)) for other, wide, what in theirs.rules):
            found.append(_excess("bus", f"{bus} {verb} {operand}"))
    for call, verdict in ours.verdicts.items():
        if verdict == bpf.ALLOW != theirs.verdicts[call]:
            found.append(Excess(what="call", subject=call, ours=verdict, theirs=theirs.verdicts[call]))
    return tuple(sorted(found))


def _excess(what: str, subject: str) -> Excess:
    return Excess(what=what, subject=subject, ours="given", theirs="")


def _paths(ours: AccessMap, theirs: AccessMap) -> Iterable[Excess]:
    """How a host path can be used changes only where a mount begins or is covered, so those places say it all."""
    mine, other = _uncovered(ours.mounts), _uncovered(theirs.mounts)
    for path in sorted({*_changes(mine), *_changes(other)}):
        here, there = _access(mine, path), _access(other, path)
        if ORDER.index(here) > ORDER.index(there):
            yield Excess(what="path", subject=path, ours=here, theirs=there)


def _uncovered(mounts: Iterable[Mounted]) -> dict[str, Mounted]:
    """Mount point -> what stands there in the end: a mount covers all that was at its place and below."""
    view: dict[str, Mounted] = {}
    for mount in mounts:
        view = {at: seen for at, seen in view.items() if not inside(at, mount.dest)}
        view[mount.dest] = mount
    return view


def _changes(view: Mapping[str, Mounted]) -> Iterable[str]:
    for mount in view.values():
        if mount.source:
            yield mount.source
            below = (at for at in view if at != mount.dest and inside(at, mount.dest))
            yield from (mount.source.rstrip("/") + at[len(mount.dest.rstrip("/")) :] for at in below)


def _access(view: Mapping[str, Mounted], path: str) -> str:
    """The most that can be done to the host's ``path`` through any of the mounts that show it."""
    found = [""]
    for mount in view.values():
        if mount.source and inside(path, mount.source):
            at = _clean(f"{mount.dest}/{path[len(mount.source) :]}")
            if _top(view, at) is mount:
                found.append(mount.access)
    return max(found, key=ORDER.index)


def _top(view: Mapping[str, Mounted], path: str) -> Mounted | None:
    while path not in view:
        if path == "/":
            return None
        path = os.path.dirname(path)
    return view[path]


def covers(wide: tuple[str, str], narrow: tuple[str, str]) -> bool:
    """Whether a filter with the one rule lets through all that the other lets through (xdg-dbus-proxy(1))."""
    (verb, operand), (other_verb, other_operand) = wide, narrow
    name, other_name = operand.partition("=")[0], other_operand.partition("=")[0]
    if not _name_covers(name, other_name):
        return False
    policy = ("see", "talk", "own")
    if verb in policy:
        return policy.index(verb) >= (policy.index(other_verb) if other_verb in policy else 1)
    method, _, path = operand.partition("=")[2].partition("@")
    other_method, _, other_path = other_operand.partition("=")[2].partition("@")
    return (
        verb == other_verb
        and (method in ("", "*", other_method) or method == f"{other_method.rpartition('.')[0]}.*")
        and (path in ("", other_path) or (path.endswith("/*") and other_path.startswith(path[:-1])))
    )


def _name_covers(wide: str, narrow: str) -> bool:
    if wide == "*" or wide == narrow:
        return True
    return wide.endswith(".*") and f"{narrow.removesuffix('.*')}.".startswith(f"{wide[:-2]}.")
