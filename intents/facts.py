"""HostFacts: all that compiling may know about a machine, as plain data with a JSON form (SPEC §9.1).

``broker/host.py`` fills it by looking once; recorded ones in tests/hosts/ make every distribution testable anywhere.
"""

import dataclasses
import json
import typing
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The user who starts the app."""

    uid: int
    gid: int
    user: str
    group: str
    home: str  # canonical


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One object of the host's system directories: ``kind`` is dir, file or link; ``target`` of a link as written."""

    path: str
    kind: str
    target: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathFact:
    """What a path that was asked for is on this host.

    path: absolute, as the place resolves; real: canonical, all links followed (for an absent one: the canonical
    parent plus the rest, or empty if that cannot be told); kind: dir, file, absent, other or unreadable;
    owner: a user id, -1 when nothing is there; entries: the children (name, kind) of the home and of where media are
    mounted, else empty; identity: of a directory on a file system that keeps such numbers, else empty.
    """

    path: str
    real: str
    kind: str
    owner: int
    entries: tuple[tuple[str, str], ...] = ()
    identity: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One thing that has to be looked at on a host before a scope can be judged and compiled (``model.Scope.needs``).

    what: ``path`` (name: an absolute path), ``place`` (as a manifest writes it), ``display`` (wayland or x11), ``bus``
    (session or system), ``documents`` (session: the document portal on that bus), ``socket`` (a name in
    ``broker/services.py``), ``nodes`` (a glob below /dev), ``mounts`` (the kernel's table of them), ``look`` (a place
    that the base may show, ``appearance.py``), ``program`` (a name without a path).
    """

    what: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One object below /dev at its canonical path: ``kind`` is char, block or dir; ``names``: links that lead to it;
    ``usable``: this user may read and change it, or list it."""

    path: str
    kind: str
    usable: bool
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wayland:
    """The compositor's socket and the interfaces its registry offers to a plain client.

    context: those it offers behind a security context; None where it keeps none.
    """

    socket: str
    globals: tuple[str, ...]
    context: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class X11:
    """The real X11 display: number, its socket, whether the abstract twin listens, the authority file or empty."""

    display: int
    socket: str
    abstract: bool
    authority: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bus:
    """One reachable D-Bus bus: its address, and the names that are activatable or owned there now."""

    name: str
    address: str
    activatable: tuple[str, ...]
    owned: tuple[str, ...]


# Why a closure lacks something.
ABSENT, OTHER_PROCESSOR, NO_PROGRAM = "absent", "other-processor", "no-program"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """Something that ``of`` (a path) cannot run without and that was not found. ``why``: one of the three words above;
    for the last, ``name`` is the path of a program or of what should interpret it."""

    name: str
    of: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """What the program of an app needs before it can run (SPEC §9.2.2).

    entries: files, and directories that are asked for as a whole, at their canonical paths, and the links that lead to
    them; outside: canonical paths of what would be taken as well, but lies where nothing is shown without a grant.
    """

    entries: tuple[Entry, ...]
    outside: tuple[str, ...] = ()
    lacks: tuple[Lack, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """One machine as one user sees it at one moment."""

    machine: str  # as uname -m says: x86_64, aarch64
    account: Account
    runtime_dir: str  # $XDG_RUNTIME_DIR when usable, else empty
    directories: tuple[tuple[str, str], ...]  # place root -> absolute path; absent roots are left out
    reserved: tuple[str, ...]  # canonical paths of the broker's own places
    apps: str  # canonical path of the directory that holds each app's own directories
    system: tuple[Entry, ...]  # /bin /lib /lib64 ... as they are
    etc: tuple[Entry, ...]  # the objects of /etc that a base or a kind may show, those that exist
    paths: tuple[PathFact, ...]
    wayland: Wayland | None
    x11: X11 | None
    buses: tuple[Bus, ...]
    bwrap: str  # absolute path
    proxy: str  # absolute path of xdg-dbus-proxy, or empty
    landlock: int  # ABI version, 0 without
    abstract_sockets: tuple[str, ...]  # names of listening abstract sockets in the host's network namespace
    env_resets_signals: bool  # /usr/bin/env understands --default-signal (GNU coreutils >= 8.31)
    code: tuple[str, ...] = ()  # canonical: the files and directories that this program itself is run from
    sockets: tuple[tuple[str, str], ...] = ()  # name -> canonical path, of the services that answer here
    documents: str = ""  # where the document portal is mounted, or empty
    nodes: tuple[Node, ...] = ()  # of /dev, those that an intent needs
    libraries: tuple[Entry, ...] = ()  # directories of the system that hold libraries, and links among them
    closure: Closure | None = None  # of the program, for a base that shows nothing else
    programs: tuple[tuple[str, str], ...] = ()  # name -> absolute path, of those that an intent needs beside its app
    kernel: tuple[str, ...] = ()  # where the running system shows outside /proc, /sys, /dev, /run, /tmp: mounts

    def directory(self, root: str) -> str | None:
        """The absolute path of a place root here."""
        return dict(self.directories).get(root)

    def path(self, path: str) -> PathFact | None:
        """The fact about an absolute path that was probed."""
        return next((fact for fact in self.paths if fact.path == path), None)

    def socket(self, name: str) -> str:
        """The path of a service's socket, or empty where it does not answer."""
        return dict(self.sockets).get(name, "")

    def program(self, name: str) -> str:
        """The absolute path of a program that works beside apps, or empty where it is not installed."""
        return dict(self.programs).get(name, "")

    def leads_nowhere(self, entry: Entry) -> bool:
        """Whether the entry is a link whose target is not there; bubblewrap cannot mount that."""
        fact = self.path(entry.path)
        return entry.kind == "link" and fact is not None and fact.kind not in ("dir", "file")

    def bus(self, name: str) -> Bus | None:
        """The bus called ``session`` or ``system``."""
        return next((bus for bus in self.buses if bus.name == name), None)


def to_json(host: HostFacts) -> str:
    """One JSON object, keys sorted, two spaces of indentation, final newline."""
    return json.dumps(dataclasses.asdict(host), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def from_json(text: str) -> HostFacts:
    """Read what ``to_json`` wrote. Raises ValueError, KeyError or TypeError on anything else."""
    built = _build(HostFacts, json.loads(text))
    assert isinstance(built, HostFacts)
    return built


def _build(wanted: typing.Any, value: typing.Any) -> typing.Any:
    if dataclasses.is_dataclass(wanted):
        hints = typing.get_type_hints(wanted)
        return wanted(**{name: _build(hints[name], item) for name, item in value.items()})  # type: ignore[operator]
    if typing.get_origin(wanted) is tuple:
        inner = typing.get_args(wanted)
        if len(inner) == 2 and inner[1] is Ellipsis:
            return tuple(_build(inner[0], item) for item in value)
        return tuple(_build(kind, item) for kind, item in zip(inner, value, strict=True))
    if type(None) in typing.get_args(wanted):
        return None if value is None else _build(typing.get_args(wanted)[0], value)
    if not isinstance(value, wanted):
        raise TypeError(f"{value!r} is not {wanted}")
    return value
