"""Sandbox to plan: bubblewrap's and xdg-dbus-proxy's arguments as bytes (SPEC §10; bwrap(1), xdg-dbus-proxy(1)).

Arguments carry a one-letter tag, because descriptors do not exist yet: ``=text`` is literal, ``bN`` the descriptor of
``binds[N]``, ``fN`` that of ``files[N]``, ``c`` the system call filter, ``sNAME`` this launch's socket or file NAME,
``dPATH`` the caller's working directory as the app finds it, PATH where it does not. Of a companion also ``wPREFIX``,
PREFIX and the descriptor of the ready pipe, and ``lCOUNT PREFIX``, PREFIX and a descriptor that holds the next COUNT;
in a ``sandbox.Companion`` alone ``a``, the app's id, and ``c``, ``k``, ``n`` and ``r``, the system call filters of
programs, companions and the network's two processes in hexadecimal.
"""

import json
from dataclasses import dataclass

from intents import facts, identity, paths, plan, sandbox, seccomp

# Always: every namespace is new, no capability is left, no user namespace can be made inside (SPEC §9.2).
ALWAYS = ("--unshare-all", "--unshare-user", "--disable-userns", "--cap-drop", "ALL")
# `--unshare-all` one by one, for those of which not all are new.
_SINGLE = {"ipc": "--unshare-ipc", "processes": "--unshare-pid"}
_OTHERS = ("--unshare-net", "--unshare-uts", "--unshare-cgroup-try")
NETWORK = "network"  # the program of the companion that all rules of the network share


@dataclass(slots=True)
class _Plan:
    """The sections under construction; ``owners`` says of each group of arguments whose it is."""

    args: list[list[str]]
    owners: list[str]
    files: list[bytes]
    binds: list[tuple[str, str]]

    def add(self, because: str, *words: str) -> None:
        self.args.append(list(words))
        self.owners.append(because)

    def bind(self, op: sandbox.Bind) -> list[str]:
        write = op.access is sandbox.Access.WRITE
        if not op.held:
            return ["=--bind" if write else "=--ro-bind", f"={op.source}", f"={op.dest}"]
        self.binds.append((op.source, "write" if write else "read"))
        return ["=--bind-fd" if write else "=--ro-bind-fd", f"b{len(self.binds) - 1}", f"={op.dest}"]

    def file(self, op: sandbox.File) -> list[str]:
        self.files.append(op.content)
        return ["=--perms", "=0444", "=--ro-bind-data", f"f{len(self.files) - 1}", f"={op.dest}"]


def plan_bytes(
    box: sandbox.Sandbox,
    host: facts.HostFacts,
    *,
    guards: tuple[tuple[str, str, str], ...],
    settings: dict[str, str],
) -> bytes:
    """The plan of one launch; ``settings`` adds what only the broker knows (directories, the stamp, the head)."""
    built, companions = _build(box, host), _companions(box, host)
    ours = {
        "app": box.app_id,
        "lineage": box.lineage,
        "bwrap": host.bwrap,
        "proxy": "1" if _proxy(box, host) else "",
        "scoped": "1" if box.scoped else "0",
        "ports": " ".join(map(str, share.ports)) if (share := box.share("network")) else "",
        "held": seccomp.held(host.machine).hex() if share and share.ports else "",
        "terminal": "1" if box.terminal else "0",
        "signals": "1" if host.env_resets_signals and _shows(box, "/usr/bin/env") else "0",
        "seccomp": box.seccomp.hex(),
        "files": box.named.access if box.named else "",
        "given": json.dumps(given(box)),
        "identity": identity.keyfile(box) if box.identified else "",
        "instances": f"{host.runtime_dir}/.flatpak" if box.identified else "",
        **settings,
    }
    own = f"{host.apps}/{box.app_id}-{box.lineage}"
    sections = {
        "guards": [part for guard in guards for part in guard],
        "settings": [part for name, value in ours.items() for part in (name, value)],
        "make": [op.path for op in box.make],
        "links": [part for op in box.links for part in (f"{own}/{op.directory}", op.below, op.target)],
        "companions": [part for op in companions for part in _record(op, box, host)],
        "binds": [part for bind in built.binds for part in bind],
        "named": [part for row in _named(box) for part in row],
        "passed": [op.name for op in box.passed],
        "args": [arg for group in built.args for arg in group],
        "command": list(box.command),
    }
    encoded = {name: tuple(_bytes(item) for item in items) for name, items in sections.items()}
    return plan.encode({**encoded, "files": tuple(built.files)})


def given(box: sandbox.Sandbox) -> dict[str, list[list[str]]]:
    """What each intent puts into the sandbox, as the record of an instance tells it (SPEC §10.4)."""
    found: dict[str, list[list[str]]] = {op.because: [] for op in box.ops if op.because != sandbox.BASE}
    for because, *row in pieces(box):
        if because != sandbox.BASE:
            found[because].append(row)
    return found


def pieces(box: sandbox.Sandbox) -> list[tuple[str, str, str, str]]:
    """Every mount that shows something: whose it is, where, from where (empty: the launch makes it), and as what."""
    found = []
    for mount in box.mounts:
        match mount:
            case sandbox.Bind():
                found.append((mount.because, mount.dest, mount.source, mount.access.value))
            case sandbox.Device():
                found.append((mount.because, mount.dest, mount.dest, "device"))
            case sandbox.LaunchSocket() | sandbox.LaunchFile() | sandbox.File():
                found.append((mount.because, mount.dest, "", "made"))
            case _:
                continue
    return found


def _shows(box: sandbox.Sandbox, path: str) -> bool:
    return any(isinstance(op, sandbox.Bind) and paths.inside(path, op.dest) for op in box.mounts)


def _bytes(item: str) -> bytes:
    """As ``os.fsencode`` does: a file's name need not be text."""
    return item.encode("utf-8", "surrogateescape")


def arguments(box: sandbox.Sandbox, host: facts.HostFacts) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The bubblewrap command line as people read it: (``base`` or an intent's id, one option with its operands).

    Descriptors are shown as ``<what they hold>``; a passed variable as its name in ``<…>``.
    """
    built = _build(box, host)
    names = {f"b{n}": f"<{source}>" for n, (source, _) in enumerate(built.binds)}
    names |= {f"f{n}": f"<{len(content)} bytes>" for n, content in enumerate(built.files)}
    names |= {"c": f"<{len(box.seccomp) // 8} instructions>"}
    made = [op for op in box.mounts if isinstance(op, sandbox.LaunchFile)]
    names |= {f"s{op.name}": f"<{op.name} file of this launch>" for op in made}
    groups = zip(built.owners, built.args, strict=True)
    rows = [(because, tuple(_shown(arg, names) for arg in group)) for because, group in groups]
    passed = [(op.because, ("--setenv", op.name, "<as at launch>")) for op in box.passed]
    return ((sandbox.BASE, (host.bwrap,)), *rows, *passed, (sandbox.BASE, ("--", *box.command)))


def companion_arguments(box: sandbox.Sandbox, host: facts.HostFacts) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The companions' command lines as people read them: whose each is, and its words."""
    names = {"a": box.app_id, **dict.fromkeys("cknr", "<filter>"), "s": "<directory of this launch>"}
    names[f"s{sandbox.IDENTITY}"] = "<identity file of this launch>"
    return tuple(
        (op.because, (op.program, *(_shown(arg, names) for arg in op.arguments if arg[:1] not in ("l", "w"))))
        for op in _companions(box, host)
    )


def _shown(arg: str, names: dict[str, str]) -> str:
    if arg[:1] in ("=", "d"):
        return arg[1:]
    return names.get(arg, f"<{arg[1:]} socket of this launch>")


def _build(box: sandbox.Sandbox, host: facts.HostFacts) -> _Plan:
    built = _Plan(args=[], owners=[], files=[], binds=[])
    for because, words in _namespaces(box):
        built.add(because, *(f"={word}" for word in words))
    built.add(sandbox.BASE, "=--hostname", f"={box.hostname}")
    for mount in _with_parents(box.mounts):
        built.add(mount.because, *_mount(mount, built))
    built.add(sandbox.BASE, "=--remount-ro", "=/")
    for mount in filter(_sealed, box.mounts):
        built.add(mount.because, "=--remount-ro", f"={mount.dest}")
    for env in box.env:
        built.add(env.because, "=--setenv", f"={env.name}", f"={env.value}")
    built.add(sandbox.BASE, "=--chdir", f"d{host.account.home}")
    built.add(sandbox.BASE, "=--seccomp", "c")
    return built


def _named(box: sandbox.Sandbox) -> list[tuple[str, str, str]]:
    """What settles which files of a command line are given, and where: (word, path, source) rows.

    The words are those of ``named.py``, and of what is mounted: ``read``, ``write``, ``memory``, ``other``.
    """
    rows = [(word, start, "") for word, start in box.named.rules] if box.named else []
    for mount in box.mounts:
        match mount:
            case sandbox.Bind():
                rows.append((mount.access, mount.dest, mount.source))
            case sandbox.Directory() | sandbox.Tmpfs(mask=False):
                rows.append(("memory", mount.dest, ""))
            case _:
                rows.append(("other", mount.dest, ""))
    return rows


def _namespaces(box: sandbox.Sandbox) -> list[tuple[str, tuple[str, ...]]]:
    """What is new, what is shared after all, and that no more can be made inside unless that is granted."""
    shared = {share.namespace for share in box.shares}
    new = [ALWAYS[:1]]
    if shared & _SINGLE.keys():
        single = [option for namespace, option in _SINGLE.items() if namespace not in shared]
        new = [(option,) for option in (*single, *_OTHERS)]
    nested = any(allow.feature == "nested-sandbox" for allow in box.allows)
    closed = [] if nested else [ALWAYS[2:3]]
    base = [(sandbox.BASE, words) for words in (*new, ALWAYS[1:2], *closed, ALWAYS[3:])]
    network = box.share("network")
    return [*base, (network.because, ("--share-net",))] if network else base


def _sealed(mount: sandbox.Mount) -> bool:
    """Whether bubblewrap mounts it writable although it is to be read-only."""
    if isinstance(mount, sandbox.Tmpfs):
        return mount.mask
    return isinstance(mount, sandbox.Special) and mount.read_only


def _with_parents(mounts: tuple[sandbox.Mount, ...]) -> tuple[sandbox.Mount, ...]:
    """The mounts with the directories that bubblewrap would otherwise make itself, with modes of its own choosing."""
    taken = {mount.dest for mount in mounts}
    shown = [mount.dest for mount in mounts if isinstance(mount, sandbox.Bind | sandbox.Special)]
    made: list[sandbox.Mount] = []
    for mount in mounts:
        above = paths.parent(mount.dest)
        while above != "/" and above not in taken:
            if not any(paths.inside(above, dest) for dest in shown):
                made.append(sandbox.Directory(dest=above, because=_owner(above, mounts)))
            taken.add(above)
            above = paths.parent(above)
    return tuple(sorted((*mounts, *made), key=lambda op: (paths.depth(op.dest), op.dest)))


def _owner(above: str, mounts: tuple[sandbox.Mount, ...]) -> str:
    """Whose a directory is that is there only to hold others: theirs, if one intent has them all."""
    owners = {mount.because for mount in mounts if paths.inside(mount.dest, above)}
    return owners.pop() if len(owners) == 1 else sandbox.BASE


def _mount(op: sandbox.Mount, built: _Plan) -> list[str]:
    match op:
        case sandbox.Bind():
            return built.bind(op)
        case sandbox.File():
            return built.file(op)
        case sandbox.Tmpfs():
            return ["=--perms", f"={0 if op.mask else op.mode:04o}", "=--tmpfs", f"={op.dest}"]
        case sandbox.Directory():
            return ["=--perms", f"=0{op.mode:o}", "=--dir", f"={op.dest}"]
        case sandbox.Symlink():
            return ["=--symlink", f"={op.target}", f"={op.dest}"]
        case sandbox.Special():
            return [f"=--{op.kind}", f"={op.dest}"]
        case sandbox.Device():
            return ["=--dev-bind", f"={op.dest}", f"={op.dest}"]
        case sandbox.LaunchSocket() | sandbox.LaunchFile():
            return ["=--ro-bind", f"s{op.name}", f"={op.dest}"]


def _companions(box: sandbox.Sandbox, host: facts.HostFacts) -> tuple[sandbox.Companion, ...]:
    """xdg-dbus-proxy first, where there is a bus: who owns a name there is recognised by its process."""
    beside = (*box.companions, *_network(box, host))
    rules = _proxy(box, host)
    if not rules:
        return beside
    name, program, arguments = "xdg-dbus-proxy", host.proxy, ("w--fd=", f"l{len(rules)} --args=", *rules)
    if box.identified:
        buses = tuple(bus for bus in host.buses if f"={bus.address}" in rules)
        name, program, arguments = "bwrap", host.bwrap, (*identity.around_proxy(host, buses), *arguments)
    proxy = sandbox.Companion(name=name, program=program, arguments=arguments, because=sandbox.BASE)
    return (proxy, *beside)


def _network(box: sandbox.Sandbox, host: facts.HostFacts) -> tuple[sandbox.Companion, ...]:
    """What stands between the app's own network and the host's, with all its rules (SPEC §10.6)."""
    if not box.network:
        return ()
    tools = ("pasta", "nft") if any(rule.verb == "internet" for rule in box.network) else ()
    words = [*(rule.words for rule in box.network), *(f"tool {name} {host.program(name)}" for name in tools)]
    arguments = ("r", "n", *(f"={word}" for word in words))
    whose = next((rule for rule in box.network if rule.verb == "internet"), box.network[0]).because
    return (sandbox.Companion(name="network", program=NETWORK, arguments=arguments, because=whose),)


def _record(op: sandbox.Companion, box: sandbox.Sandbox, host: facts.HostFacts) -> tuple[str, ...]:
    # Made only where it is asked for: a filter takes a moment to build.
    known = {
        "a": lambda: box.app_id,
        "c": lambda: seccomp.build(host.machine, features=()).hex(),
        "k": lambda: seccomp.companion(host.machine).hex(),
        "n": lambda: seccomp.dialer(host.machine).hex(),
        "r": lambda: seccomp.relay(host.machine, connects=any(rule.verb == "listen" for rule in box.network)).hex(),
    }
    words = (f"={known[arg]()}" if arg in known else arg for arg in op.arguments)
    return (op.name, op.program, str(len(op.arguments)), *words)


def _proxy(box: sandbox.Sandbox, host: facts.HostFacts) -> list[str]:
    args: list[str] = []
    for bus in host.buses:
        rules = [rule for rule in box.bus_rules if rule.bus == bus.name]
        if any(isinstance(mount, sandbox.LaunchSocket) and mount.name == bus.name for mount in box.mounts):
            # Assistive technology has no names of its own: that one of it left is told by the number of a connection.
            sloppy = ["=--sloppy-names"] if bus.name == "a11y" else []
            told = [f"=--{rule.verb}={rule.rule}" for rule in rules]
            args += [f"={bus.address}", f"s{bus.name}", "=--filter", *sloppy, *told]
    return args
