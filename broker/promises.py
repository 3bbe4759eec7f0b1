"""The table of ``intent-ctl reach``: each question for the probe, and the answer that a compiled sandbox promises.

A promise is read from the sandbox and, for what is shared, from the answer outside, which is all that sharing can give.
"""

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from broker import servers, why
from intents import facts, hosts, paths, sandbox, sight
from intents.kinds import display, network

Answer = object
_MOST_SERVERS = 3  # that are tried
_NAMESPACES = {"user": "", "mnt": "", "pid": "processes", "net": "network", "ipc": "ipc", "uts": "", "cgroup": ""}
# call -> (words, the feature of the filter that gives it)
_CALLS = {
    "user-namespace": ("make a user namespace", "nested-sandbox"),
    "mount": ("mount file systems", "nested-sandbox"),
    "trace": ("trace processes (ptrace)", "debugging"),
    "perf": ("use performance events", "debugging"),
    "keyring": ("use kernel keyrings", ""),
    "io-uring": ("use io_uring", ""),
    "bpf": ("use bpf", ""),
    "type-into-terminal": ("type into a terminal (TIOCSTI)", ""),
    "setuid-mode": ("make files setuid", ""),
}
# family -> (number, type and protocol of a socket; the feature of the filter that gives it, None: every sandbox has it)
_FAMILIES: dict[str, tuple[tuple[int, ...], str | None]] = {
    "netlink": ((16, 3), None),
    "vsock": ((40, 1), ""),
    "packet": ((17, 3), ""),
    "bluetooth": ((31, 5), "bluetooth"),
    "can": ((29, 3, 1), "can"),
}
_COVERED = ("bus", "irq", "sys", "sysrq-trigger")  # parts of /proc that bubblewrap mounts again, read-only
_STATUS = {"NoNewPrivs": "1", "Seccomp": "2", "CapEff": "0" * 16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bait:
    """What ``reach`` puts up outside to be found: a port, an abstract socket, a text in the environment."""

    port: int
    abstract: str
    secret: str


Ask = Callable[[list[object]], list[object]]  # a question for the probe outside, and its answer if it has one


def _as_it_is(found: Answer) -> Answer:
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. question: for the probe inside; outside: what it comes to there, None where that cannot be
    told; promised: what must be seen inside; seen: what an answer from inside comes to."""

    name: str
    group: str
    words: str
    question: list[object]
    outside: Answer
    promised: Answer
    seen: Callable[[Answer], Answer] = _as_it_is


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One sandbox on one machine, with who can be asked outside."""

    box: sandbox.Sandbox
    host: facts.HostFacts
    environ: Mapping[str, str]
    bait: Bait
    ask: Ask

    def row(
        self,
        name: str,
        group: str,
        words: str,
        question: Sequence[object],
        promised: Callable[[Answer], Answer],
        seen: Callable[[Answer], Answer] = _as_it_is,
        outside: Sequence[object] = (),
    ) -> Row:
        """A row; ``promised`` is told the answer outside, to ``outside`` or the same question."""
        before = (self.ask(list(outside or question)) or [None])[0]
        return Row(
            name=name,
            group=group,
            words=words,
            question=list(question),
            outside=seen(before),
            promised=promised(before),
            seen=seen,
        )

    def yes(self, name: str, group: str, words: str, question: Sequence[object], given: bool) -> Row:
        """A row of yes or no: what is given is as it is outside, and what is not is no."""
        return self.row(name, group, words, question, lambda outside: given and outside is True)

    def fixed(self, name: str, group: str, words: str, question: Sequence[object], promised: Answer) -> Row:
        """A row whose answer does not depend on what is outside."""
        return self.row(name, group, words, question, lambda _: promised)

    def same(self, name: str, group: str, words: str, question: Sequence[object], shared: bool) -> Row:
        """A row of yes or no: whether the answer is the one outside."""
        before = self.ask(list(question))
        return Row(
            name=name,
            group=group,
            words=words,
            question=list(question),
            outside=bool(before) or None,
            promised=shared,
            seen=lambda found: [found] == before and found != [None],
        )


def rows(case: Case) -> list[Row]:
    """The whole table for one sandbox."""
    parts = (_files, _mounts, _processes, _kernel, _network, _desktop)
    return [row for part in parts for row in part(case)]


def _files(case: Case) -> Iterator[Row]:
    box, home = case.box, case.host.account.home
    read = {
        "ssh-keys": ("~/.ssh", f"{home}/.ssh"),
        "shell-startup": ("~/.bashrc", f"{home}/.bashrc"),
        "browser-profile": ("~/.mozilla", f"{home}/.mozilla"),
        "machine-id": ("/etc/machine-id", "/etc/machine-id"),
        "accounts": ("/etc/shadow", "/etc/shadow"),
        "hosts-file": ("/etc/hosts", "/etc/hosts"),
    }
    for name, (words, path) in read.items():
        yield case.fixed(name, "files", f"read {words}", ("read", path), _readable(box, path))
    for name, words, path in (("home", "~", home), ("tmp", "/tmp", "/tmp"), ("shm", "/dev/shm", "/dev/shm")):
        yield case.same(name, "files", f"find your own {words}", ("identities", path), _ours(box, path))
    yield case.fixed("home-write", "files", "make files in ~, gone at its end", ("write", home), _writable(box, home))
    runtime = f"/run/user/{case.host.account.uid}"
    for name, path in {"root": "/", "home": home, "runtime": runtime, "run": "/run", "sys": "/sys"}.items():
        words = f"names in {'~' if path == home else path}"
        yield case.fixed(f"{name}-names", "files", words, ("names", path), _names(box, path))
    devices = _beside(sight.names(box, "/dev"))
    yield case.row(
        "devices",
        "files",
        "devices beside the usual ones",
        ("names", "/dev"),
        lambda _: devices,
        lambda found: _beside(_strings(found)),
    )


def _mounts(case: Case) -> Iterator[Row]:
    box = case.box
    shown = [mount for mount in box.mounts if isinstance(mount, sandbox.Bind | sandbox.Device)]
    dests = [mount.dest for mount in shown]
    sources = [mount.source if isinstance(mount, sandbox.Bind) else mount.dest for mount in shown]

    def foreign(found: Answer) -> Answer:
        # Asked when the sandbox has run: some are made for it.
        (there,) = case.ask(["identities", *sources])
        trios = zip(dests, _items(found), _items(there), strict=True)
        return [dest for dest, mine, theirs in trios if mine != theirs]

    yield Row(
        name="objects",
        group="files",
        words="mounted objects that are not the granted ones",
        question=["identities", *dests],
        outside=None,
        promised=[],
        seen=foreign,
    )
    yield case.row(
        "mounts",
        "files",
        "what is mounted",
        ("mounts",),
        lambda outside: sorted(_expected(box, _pairs(outside))),
        lambda found: [place for place, _ in _pairs(found) if _counts(box, place)],
    )
    yield case.row(
        "writable",
        "files",
        "what is mounted to be written",
        ("mounts",),
        lambda outside: sorted(at for at, mode in _expected(box, _pairs(outside)).items() if mode == "rw"),
        lambda found: [place for place, mode in _pairs(found) if mode == "rw" and _counts(box, place)],
    )


def _expected(box: sandbox.Sandbox, outside: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Every mount there must be with its mode; a host directory brings the mounts below it."""
    found = {"/": "ro"}
    for mount in box.mounts:
        match mount:
            case sandbox.Bind():
                above = [mode for place, mode in outside if paths.inside(mount.source, place)]
                write = mount.access is sandbox.Access.WRITE
                found[mount.dest] = above[-1] if write and above else "ro"
                for place, mode in outside:
                    if place != mount.source and paths.inside(place, mount.source):
                        found[mount.dest + place[len(mount.source) :]] = mode if write else "ro"
            case sandbox.Device():
                above = [mode for place, mode in outside if paths.inside(mount.dest, place)]
                found[mount.dest] = above[-1] if above else "rw"
            case sandbox.Tmpfs():
                found[mount.dest] = "ro" if mount.mask else "rw"
            case sandbox.Special():
                found[mount.dest] = "ro" if mount.read_only else "rw"
            case sandbox.Directory() | sandbox.Symlink():
                continue  # no mounts of their own
            case _:
                found[mount.dest] = "ro"
    return found


def _counts(box: sandbox.Sandbox, place: str) -> bool:
    """Whether a mount is to be one of the sandbox's list: not what bubblewrap mounts in its own /dev and over /proc."""
    own = {f"/dev/{name}" for name in sight.DEVICE_ENTRIES} | {f"/proc/{name}" for name in _COVERED}
    return place not in own or any(mount.dest == place for mount in box.mounts)


def _processes(case: Case) -> Iterator[Row]:
    box, group = case.box, "processes"
    for name, shared in _NAMESPACES.items():
        given = bool(shared) and box.share(shared) is not None
        yield case.same(f"same-{name}", group, f"be in your {name} namespace", ("namespace", name), given)
    others = box.share("processes") is not None
    yield case.row("processes", group, "see other processes", ("processes",), lambda _: others, bool)
    yield case.yes("signals", group, "signal your processes", ("signals", os.getpid()), others and not box.scoped)
    yield case.yes("secrets", group, "find a secret of your environment", ("leak", case.bait.secret), False)
    names = {op.name for op in box.env} | {op.name for op in box.passed if op.name in case.environ}
    # bubblewrap sets PWD together with the working directory (bwrap(1), --chdir).
    yield case.fixed("environment", group, "variables", ("environ",), sorted({*names, "PWD"}))
    yield case.fixed("host-name", group, "host name", ("hostname",), box.hostname)
    for field, value in _STATUS.items():
        yield case.fixed(field.lower(), group, field, ("status", field), value)


def _kernel(case: Case) -> Iterator[Row]:
    features = {allow.feature for allow in case.box.allows}
    for name, (words, feature) in _CALLS.items():
        yield case.yes(name, "kernel", words, ("call", name), feature in features)
    for name, (operands, needs) in _FAMILIES.items():
        given = needs is None or needs in features
        yield case.yes(f"{name}-sockets", "kernel", f"open {name} sockets", ("family", *operands), given)


def _network(case: Case) -> Iterator[Row]:
    box, group = case.box, "network"
    shared = box.share("network") is not None
    wide = any(rule.verb == "internet" for rule in box.network)
    local = ("tcp", "127.0.0.1", case.bait.port)
    yield case.yes("loopback", group, "reach services of this machine", local, shared)
    if not wide:  # of a way that is filtered, the kernel tells what the filter would not let through
        yield case.yes("route", group, "have a way to other machines (IPv4)", ("route", "192.0.2.1"), shared)
        yield case.yes("route-6", group, "have a way to other machines (IPv6)", ("route", "2001:db8::1"), shared)
        ask = ("interfaces",)
        yield case.row("interfaces", group, "interfaces", ask, lambda outside: outside if shared else ["lo"])
    yield from _servers(case)
    resolver = "/etc/resolv.conf"
    words = "have a name server that answers for what is granted" if box.network else "know your name server"
    yield case.fixed("resolver", group, words, ("read", resolver), _readable(box, resolver))
    unscoped = shared and not box.scoped
    yield case.yes("abstract", group, "reach abstract sockets", ("unix", case.bait.abstract), unscoped)
    for name in case.host.abstract_sockets:
        if name.startswith(network.X11_ABSTRACT):
            short = name.rpartition("/")[2].lower()
            yield case.yes(f"abstract-{short}", group, f"reach {name}", ("unix", name), unscoped)


def _servers(case: Case) -> Iterator[Row]:
    """What is granted by name is there, and this machine's own name is not, which its resolver knows and no other.

    The same is asked outside, and inside it goes on to there: lookups of granted names, and connections to granted
    servers that are closed at once. Nobody is told more, and what would be asked about is left alone.
    """
    box, group = case.box, "network"
    given = [servers.target(rule) for rule in box.network if rule.verb == "connect" and sandbox.ASK not in rule.flags]
    named = [each for each in given if each.network is None and not each.wild]
    for host in dict.fromkeys(each.host for each in named[:_MOST_SERVERS]):
        yield case.fixed(f"name-{host}", group, f"look up {host}", ("resolves", host), True)
    for each in [each for each in named if each.protocol == hosts.TCP][:_MOST_SERVERS]:
        ask = ("tcp", each.host, each.port)
        yield case.fixed(f"server-{each.text}", group, f"connect to {each.text}", ask, True)
    own = socket.gethostname().lower()
    known = box.share("network") or any(rule.verb == "resolve" for rule in box.network)
    if not known and not any(each.matches(own) for each in given) and own.isascii() and not own.startswith("localhost"):
        yield case.fixed("own-name", group, "look up this machine's own name", ("resolves", own), False)


def _desktop(case: Case) -> Iterator[Row]:
    box, group = case.box, "desktop"
    filtered = {mount.name for mount in sight.buses(box)}
    for bus in ("session", "system"):
        known = case.host.bus(bus)
        variable = f"DBUS_{bus.upper()}_BUS_ADDRESS"
        yield case.row(
            f"{bus}-bus",
            group,
            f"names on the {bus} bus",
            ("bus", variable),
            lambda outside, bus=bus: _shown(box, bus, _strings(outside)) if bus in filtered else None,  # type: ignore[misc]
            outside=("bus", known.address if known else variable),
        )
    where = _compositor(box)
    outside = ("wayland", case.host.wayland.socket if case.host.wayland else "")
    stands = sight.look(box, where).stands if where else sight.Stands.NOTHING
    shown, plain = stands is not sight.Stands.NOTHING, stands is sight.Stands.HOST
    ask = ("wayland",)
    yield case.row("wayland", group, "show windows (Wayland)", ask, lambda _: shown, _answers, outside)
    words = "Wayland interfaces beyond its windows"
    beyond = lambda there: _privileged(there) if plain else []  # noqa: E731
    yield case.row("wayland-privileged", group, words, ask, beyond, _privileged, outside)
    x11 = "/tmp/.X11-unix"
    yield case.fixed("x11", group, "X11 displays", ("names", x11), _names(box, x11))


def _compositor(box: sandbox.Sandbox) -> str:
    """Where the app looks for a compositor, or empty."""
    variables = {op.name: op.value for op in box.env}
    name = variables.get("WAYLAND_DISPLAY", "")
    return f"{variables.get('XDG_RUNTIME_DIR', '')}/{name}" if name else ""


def _answers(found: Answer) -> Answer:
    return found is not None


def _shown(box: sandbox.Sandbox, bus: str, owned: Iterable[str]) -> list[str]:
    """The names that a filter shows of those there are; the bus itself always is."""
    visible = [name for name in owned if any(rule.bus == bus for rule in sight.rules(box, name))]
    return sorted({"org.freedesktop.DBus", *visible})


def _privileged(found: Answer) -> list[str]:
    return [name for name in _strings(found) if name in display.PRIVILEGED]


def _readable(box: sandbox.Sandbox, where: str) -> bool:
    seen = sight.look(box, where, why.read_link)
    if seen.stands is sight.Stands.HOST:
        return os.path.exists(seen.source) and why.may(seen.source, os.R_OK)
    return seen.stands is not sight.Stands.NOTHING


def _writable(box: sandbox.Sandbox, where: str) -> bool:
    seen = sight.look(box, where, why.read_link)
    return seen.writable and (seen.stands is not sight.Stands.HOST or why.may(seen.source, os.W_OK))


def _ours(box: sandbox.Sandbox, where: str) -> bool:
    """Whether the object that is at a path outside is what stands there inside."""
    seen = sight.look(box, where, why.read_link)
    return seen.stands is sight.Stands.HOST and os.path.realpath(seen.source) == os.path.realpath(where)


def _names(box: sandbox.Sandbox, where: str) -> list[str] | None:
    seen = sight.look(box, where, why.read_link)
    return None if seen.stands is sight.Stands.NOTHING else list(sight.names(box, seen.path))


def _beside(names: Iterable[str]) -> list[str]:
    return sorted(set(names) - {*sight.DEVICE_ENTRIES})


def _strings(answer: Answer) -> list[str]:
    return [str(item) for item in answer] if isinstance(answer, list) else []


def _items(answer: Answer) -> list[object]:
    return answer if isinstance(answer, list) else []


def _pairs(answer: Answer) -> list[tuple[str, str]]:
    return [(str(place), str(mode)) for place, mode in answer] if isinstance(answer, list) else []
