"""The sandbox as data: what will be visible, shared and set, each with the intent it is there for (SPEC §9).

Nothing here knows bubblewrap; ``bwrap.py`` turns a ``Sandbox`` into a plan.
"""

from dataclasses import dataclass
from enum import StrEnum

BASE = "base"
APP = "{app}"  # stands for the app's id in a ``NetworkRule`` until the compiler puts it there
ASK = "ask"  # the flag of a ``NetworkRule`` that is asked about when it is first used
IDENTITY = "identity"  # the launch file by which portals recognise the app


class Access(StrEnum):
    """What an app may do with a mounted object."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """A host object made visible. ``held``: opened without following links and mounted by descriptor."""

    source: str
    dest: str
    access: Access = Access.READ
    held: bool = True
    because: str = BASE

    def describe(self) -> str:
        where = self.dest if self.source == self.dest else f"{self.dest} (from {self.source})"
        return f"{self.access} {where}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tmpfs:
    """An empty directory in memory that ends with the sandbox; read-only when it hides something (a mask)."""

    dest: str
    mode: int = 0o700
    mask: bool = False
    because: str = BASE

    def describe(self) -> str:
        return f"hide {self.dest}" if self.mask else f"empty directory {self.dest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """A directory on a file system that the sandbox itself made."""

    dest: str
    mode: int = 0o755
    because: str = BASE

    def describe(self) -> str:
        return f"directory {self.dest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Symlink:
    """A symbolic link on a file system that the sandbox itself made."""

    target: str
    dest: str
    because: str = BASE

    def describe(self) -> str:
        return f"link {self.dest} -> {self.target}"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A read-only file whose content the compiler wrote."""

    dest: str
    content: bytes
    because: str = BASE

    def describe(self) -> str:
        return f"file {self.dest} ({len(self.content)} bytes, written by intents)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Special:
    """A kernel file system: ``proc`` or ``dev`` (bubblewrap's minimal ones)."""

    kind: str
    dest: str
    read_only: bool = False
    because: str = BASE

    def describe(self) -> str:
        return f"own {self.kind} at {self.dest}" + (", read-only" if self.read_only else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSocket:
    """A socket that a companion makes at launch: ``session`` and ``system`` are the filtered D-Bus buses."""

    name: str
    dest: str
    because: str = BASE

    def describe(self) -> str:
        return f"{self.name} socket of this launch at {self.dest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchFile:
    """A file made at launch, to be read: by a companion, or ``IDENTITY``, by which portals know the app (SPEC §9.8)."""

    name: str
    dest: str
    because: str = BASE

    def describe(self) -> str:
        return f"{self.name} file of this launch at {self.dest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """An object of the host's /dev that can be used as a device: a node, or a directory of nodes."""

    dest: str
    because: str = BASE

    def describe(self) -> str:
        return f"device {self.dest}"


Mount = Bind | Tmpfs | Directory | Symlink | File | Special | LaunchSocket | LaunchFile | Device


@dataclass(frozen=True, slots=True, kw_only=True)
class Env:
    """One environment variable of the app."""

    name: str
    value: str
    because: str = BASE

    def describe(self) -> str:
        return f"{self.name}={self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One environment variable whose value is taken at launch from whoever starts the app."""

    name: str
    because: str = BASE

    def describe(self) -> str:
        return f"{self.name} as it is at launch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One namespace of the host instead of a new one: ``network``, ``ipc`` (System V) or ``processes``.

    ports: of the network, the TCP ports that connections are held to; empty for all.
    """

    namespace: str
    because: str
    ports: tuple[int, ...] = ()

    def describe(self) -> str:
        if self.ports:
            return f"the host's own network, TCP to port {', '.join(map(str, self.ports))} alone"
        return {
            "network": "the host's own network",
            "ipc": "the host's own System V memory, semaphores and queues",
            "processes": "the host's own processes",
        }[self.namespace]


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """One group of system calls that the filter otherwise refuses: a name of ``seccomp.FEATURES``."""

    feature: str
    because: str

    def describe(self) -> str:
        return f"system calls for {self.feature}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BusRule:
    """One xdg-dbus-proxy rule: ``verb`` is see, talk, own, call or broadcast; ``rule`` its operand.

    identified: it counts only where the app has an identity file, with which toolkits take this way.
    """

    bus: str
    verb: str
    rule: str
    because: str
    identified: bool = False

    def describe(self) -> str:
        return f"{self.bus} bus: {self.verb} {self.rule}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRule:
    """One rule of the network companion (SPEC §10.6): ``verb`` is connect, resolve, internet or listen.

    rule: its operands; flags, of connect alone: ``sni``, ``ask``.
    """

    verb: str
    rule: str
    because: str
    flags: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The rule as the companion reads it."""
        flags = (",".join(self.flags) or "-",) if self.verb == "connect" else ()
        return " ".join((self.verb, self.because, self.rule, *flags))

    def describe(self) -> str:
        return f"network: {self.verb} {' '.join((self.rule, *self.flags))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateLink:
    """A link inside one of the app's own directories that leads to a grant mounted elsewhere (SPEC §9.4).

    directory: config, data, state or cache; below: the path in it; target: what the link says.
    """

    directory: str
    below: str
    target: str
    because: str

    def describe(self) -> str:
        return f"link {self.below} -> {self.target} in the app's own {self.directory} directory"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostDirectory:
    """A host directory that is made, mode 0700, when it does not exist at launch."""

    path: str
    because: str

    def describe(self) -> str:
        return f"make {self.path} on the host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """A process beside the sandbox, outside every sandbox and unreachable but by the sockets it makes (SPEC §10.5).

    program: an absolute path, or the name of a module of ``broker.companions``; arguments: tagged (``bwrap.py``).
    """

    name: str
    program: str
    arguments: tuple[str, ...]
    because: str

    def describe(self) -> str:
        return f"{self.name} beside the app"


@dataclass(frozen=True, slots=True, kw_only=True)
class Persist:
    """A directory of the app's own called ``name``, mounted writable; the compiler says where it is stored."""

    name: str
    dest: str
    because: str

    def describe(self) -> str:
        return f"own directory {self.dest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFiles:
    """Files that the user names on the command line are given, each launch its own (SPEC §9.7).

    access: how, where the user says nothing else; rules: (word, beginning of a path), see ``named.py``.
    """

    access: Access
    rules: tuple[tuple[str, str], ...]
    because: str = BASE

    def describe(self) -> str:
        return f"{self.access} the files named on its command line"



@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """What the document portal, mounted at ``root`` on the host, shows of the app's own documents (SPEC §5.7)."""

    root: str
    dest: str
    because: str

    def describe(self) -> str:
        return f"documents of the app at {self.dest}"


Op = (
    Mount | Env | Pass | Share | Allow | BusRule | NetworkRule | PrivateLink | HostDirectory | Companion | Persist
    | NamedFiles | Documents
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """Everything one launch gives. ``mounts`` are sorted so that parents precede children; ``shares`` by namespace."""

    app_id: str
    lineage: str
    portal_id: str  # what the desktop's portals know the app by
    mounts: tuple[Mount, ...]
    env: tuple[Env, ...]
    passed: tuple[Pass, ...]
    bus_rules: tuple[BusRule, ...]
    companions: tuple[Companion, ...]  # besides xdg-dbus-proxy and the network's, which rules say enough about
    links: tuple[PrivateLink, ...]
    shares: tuple[Share, ...]
    allows: tuple[Allow, ...]
    scoped: bool  # Landlock closes abstract sockets and signals to the outside
    seccomp: bytes
    hostname: str
    make: tuple[HostDirectory, ...]  # parents before children
    terminal: bool  # interface = "terminal": ends with whoever started it
    command: tuple[str, ...]
    named: NamedFiles | None = None
    network: tuple[NetworkRule, ...] = ()  # of a network of its own

    @property
    def ops(self) -> tuple[Op, ...]:
        """Every operation in the order ``explain`` shows them."""
        given: tuple[Op, ...] = (*self.shares, *self.allows, *self.bus_rules, *self.network, *self.companions)
        named = (self.named,) if self.named else ()
        return (*self.mounts, *self.links, *self.make, *named, *given, *self.env, *self.passed)

    @property
    def identified(self) -> bool:
        """Whether the desktop's portals recognise the app."""
        return any(isinstance(mount, LaunchFile) and mount.name == IDENTITY for mount in self.mounts)

    def share(self, namespace: str) -> Share | None:
        """The namespace of the host that is shared under that name."""
        return next((share for share in self.shares if share.namespace == namespace), None)
