"""Grant and host facts to sandbox: the base, then each granted scope through its kind, then the laws (SPEC §9.3)."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from intents import base, errors, facts, identity, model, named, paths, risk, sandbox, seccomp
from intents.kinds import accessibility, network, path

# With these of the host's namespaces shared, abstract sockets or signals reach outside unless Landlock closes them.
SCOPED = frozenset({"network", "processes"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """The sandbox, and why optional intents that were granted cannot be given here: (intent id, error)."""

    sandbox: sandbox.Sandbox
    withheld: tuple[tuple[str, errors.IntentError], ...]


def compile_sandbox(grant: model.Grant, host: facts.HostFacts) -> Compiled:
    """Build the sandbox of one launch. Raises RefusedError ``required-intent-refused``, HostError or RefusedError.

    An optional intent that this host cannot give is withheld and reported; a required one stops the launch.
    """
    _refuse_missing(grant, host)
    given: dict[str, list[sandbox.Op]] = {}
    always = base.ops(grant.vetted, host)
    taken = _taken(grant, host, always)
    withheld: list[tuple[str, errors.IntentError]] = []
    for verdict in grant.verdicts:
        try:
            asked = [op for each in verdict.granted for op in each.ops(host, verdict.intent.id)]
            asked += [_asking(op) for each in verdict.on_use for op in each.ops(host, verdict.intent.id)]
            _refuse_changing(asked, grant.vetted.manifest.app, host)
            own = [op for each in asked for op in _stored(each, grant, host, taken)]
            given[verdict.intent.id] = [_of_app(op, grant) for op in own]
        except (errors.HostError, errors.RefusedError) as error:
            if not verdict.intent.optional:
                raise
            withheld.append((verdict.intent.id, error))
    ops = [*always, *(op for name in sorted(given) for op in given[name])]
    ops.extend(_program(grant, host, ops))
    if not any(isinstance(op, sandbox.LaunchSocket) and op.name == accessibility.BUS for op in ops):
        ops.extend(base.without_accessibility(grant.vetted.manifest.app))
    return Compiled(sandbox=_assemble(grant, host, ops), withheld=tuple(withheld))


def _stored(
    op: sandbox.Op, grant: model.Grant, host: facts.HostFacts, taken: Mapping[str, str]
) -> tuple[sandbox.Op, ...]:
    """The operation, with a directory to persist at the place where it is stored.

    Raises RefusedError ``place-taken`` where something else stands on this host, whether it is granted or not: of two
    things at one place only one could be seen, and a grant must never hide another.
    """
    if not isinstance(op, sandbox.Persist):
        return (op,)
    for place, why in taken.items():
        if paths.inside(place, op.dest) or paths.inside(op.dest, place):
            shown = f"`{op.dest}` cannot be the app's own: `{place}` {why}"
            raise errors.RefusedError("place-taken", paths.printable(shown))
    return base.own(grant.vetted, host, f"persist/{op.name}", op.dest, op.because)


def _asking(op: sandbox.Op) -> sandbox.Op:
    """The operation, where it is a rule one that holds only once the user has said so (SPEC §8.9)."""
    return dataclasses.replace(op, flags=(*op.flags, sandbox.ASK)) if isinstance(op, sandbox.NetworkRule) else op


def _of_app(op: sandbox.Op, grant: model.Grant) -> sandbox.Op:
    """The operation with the app's own names: its documents where the document portal shows them (SPEC §5.7), its
    sockets in a directory of its own (SPEC §5.9)."""
    if isinstance(op, sandbox.NetworkRule):
        return dataclasses.replace(op, rule=op.rule.replace(sandbox.APP, grant.vetted.manifest.app.id))
    if not isinstance(op, sandbox.Documents):
        return op
    source = f"{op.root}/by-app/{identity.portal_id(grant.vetted)}"
    return sandbox.Bind(source=source, dest=op.dest, access=sandbox.Access.WRITE, because=op.because)


def _taken(grant: model.Grant, host: facts.HostFacts, always: Iterable[sandbox.Op]) -> dict[str, str]:
    """Places of the home where the program stands, what the app asks for, by name and at the end of links, and what
    the base shows: with the reason why nothing else may be there."""
    declared = [verdict.intent.scope for verdict in grant.verdicts]
    places = [scope.place.resolve(dict(host.directories)) for scope in declared if isinstance(scope, path.Path)]
    named = {grant.vetted.manifest.app.command[0], *(place for place in places if place)}
    named |= {fact.real for fact in host.paths if fact.path in named and fact.real}
    shown = {op.dest for op in always if isinstance(op, sandbox.Bind) and op.access is sandbox.Access.READ}
    found = dict.fromkeys(shown, "is shown to it anyway") | dict.fromkeys(named, "is asked for as well")
    return {place: why for place, why in sorted(found.items()) if paths.inside(place, host.account.home)}


def _refuse_missing(grant: model.Grant, host: facts.HostFacts) -> None:
    missing = grant.missing_required
    if missing:
        app = grant.vetted.manifest.app
        names = ", ".join(f"`{intent.id}`" for intent in missing)
        raise errors.RefusedError(
            "required-intent-refused",
            f"{app.name} cannot work without {names}, which is not granted",
            hint=risk.grant_command(grant.vetted, missing, host),
        )


def _refuse_changing(ops: Iterable[sandbox.Op], app: model.App, host: facts.HostFacts) -> None:
    """Refuse to let an app write what its closure is made from: it would choose what it sees.

    Raises RefusedError ``path-refused``.
    """
    needed = host.closure.entries if host.closure and app.base == base.STRICT else ()
    for op in ops:
        if isinstance(op, sandbox.Bind) and op.access is sandbox.Access.WRITE:
            for entry in needed:
                if paths.inside(entry.path, op.source):
                    what = f"`{op.source}` holds `{entry.path}`, and by that {app.name} would choose what else it sees"
                    raise errors.RefusedError("path-refused", paths.printable(what))


def _program(grant: model.Grant, host: facts.HostFacts, ops: Iterable[sandbox.Op]) -> tuple[sandbox.Op, ...]:
    """The program itself, where neither the base nor a grant shows it.

    Raises HostError ``program-missing``, ``program-unsuitable`` or ``library-missing``.
    """
    app = grant.vetted.manifest.app
    program = app.command[0]
    fact = host.path(program)
    if fact is None or fact.kind != "file":
        how = dict(app.packages)
        hint = "install it: " + " or ".join(f"`{tool} install {name}`" for tool, name in how.items()) if how else ""
        message = f"`{program}`, which {app.name} starts, is not installed"
        raise errors.HostError("program-missing", message, hint=hint)
    if any(paths.inside(fact.real, place) for place in host.reserved):
        raise errors.HostError("program-missing", f"`{program}` lies where intents keeps its own files")
    shown = [op for op in ops if isinstance(op, sandbox.Bind)]
    if any(paths.inside(program, op.dest) and op.source != op.dest for op in shown):
        message = f"`{program}` lies where {app.name} has its own directories, so it cannot be shown there"
        raise errors.HostError("program-missing", message, hint="install it elsewhere, such as in /usr/local/bin")
    if app.base == base.STRICT:
        _check_closure(grant, host, shown)
        return ()
    places = dict.fromkeys((program, fact.real))
    roots = [op.dest for op in ops if isinstance(op, sandbox.Symlink) and op.because == sandbox.BASE]
    linked = [place for place in places if any(paths.inside(place, root) for root in roots)]  # its real path counts
    hidden = [place for place in places if place not in linked and not _visible(place, shown)]
    return tuple(sandbox.Bind(source=fact.real, dest=place) for place in hidden)


def _check_closure(grant: model.Grant, host: facts.HostFacts, shown: Iterable[sandbox.Bind]) -> None:
    """Whether the program can run in what the strict base and the grants show.

    Raises HostError ``program-unsuitable`` or ``library-missing``.
    """
    app = grant.vetted.manifest.app
    found = host.closure or facts.Closure(entries=())
    for lack in found.lacks:
        _refuse_lack(lack, app)
    hidden = [place for place in found.outside if not _visible(place, shown)]
    if hidden and app.libraries == base.CLOSURE:
        message = f"{app.name} needs `{paths.printable(hidden[0])}`, which its base does not show"
        hint = "The manifest has to ask for it, or for its directory, with an intent of kind `path`."
        asked = [verdict.intent for verdict in grant.verdicts if _leads(verdict.intent.scope, hidden[0], host)]
        raise errors.HostError(
            "library-missing", message, hint=risk.grant_command(grant.vetted, asked, host) if asked else hint
        )


def _leads(scope: model.Scope, place: str, host: facts.HostFacts) -> bool:
    fact = host.path(scope.place.resolve(dict(host.directories)) or "") if isinstance(scope, path.Path) else None
    return fact is not None and paths.inside(place, fact.real)


def _refuse_lack(lack: facts.Lack, app: model.App) -> None:
    name, needer = paths.printable(lack.name), paths.printable(lack.of)
    if lack.why == facts.NO_PROGRAM:
        needed = f", which `{needer}` is started by," if lack.name != lack.of else ""
        raise errors.HostError("program-unsuitable", f"`{name}`{needed} is no program that this machine can start")
    if lack.name == lack.of:
        raise errors.HostError("program-unsuitable", f"`{name}` is a program for another processor")
    if app.libraries == base.CLOSURE:
        which = "not here" if lack.why == facts.ABSENT else "here for another processor only"
        raise errors.HostError("library-missing", f"`{needer}` needs `{name}`, which is {which}")


def _visible(path: str, shown: Iterable[sandbox.Bind]) -> bool:
    return any(paths.inside(path, op.dest) for op in shown)


def _assemble(grant: model.Grant, host: facts.HostFacts, ops: list[sandbox.Op]) -> sandbox.Sandbox:
    if grant.vetted.trust is model.Trust.UNSIGNED:
        ops = [_in_memory(op, host) for op in ops]
    shares = {op.namespace: op for op in ops if isinstance(op, sandbox.Share)}
    if "network" in shares:
        ports = [op.ports for op in ops if isinstance(op, sandbox.Share) and op.namespace == "network"]
        every = tuple(sorted({port for each in ports for port in each})) if all(ports) else ()
        shares["network"] = dataclasses.replace(shares["network"], ports=every)
    ops = _with_one_network(grant, ops, hosted="network" in shares)
    allows = tuple({op.feature: op for op in ops if isinstance(op, sandbox.Allow)}.values())
    real_x11 = any(isinstance(op, sandbox.Bind) and paths.inside(op.dest, "/tmp/.X11-unix") for op in ops)
    app = grant.vetted.manifest.app
    env = {op.name: op for op in ops if isinstance(op, sandbox.Env)}
    identified = any(isinstance(op, sandbox.LaunchFile) and op.name == sandbox.IDENTITY for op in ops)
    rules = [op for op in ops if isinstance(op, sandbox.BusRule) and (identified or not op.identified)]
    return sandbox.Sandbox(
        app_id=app.id,
        lineage=grant.vetted.lineage,
        portal_id=identity.portal_id(grant.vetted),
        mounts=_mounts(ops),
        env=tuple(env[name] for name in sorted(env)),
        passed=tuple({op.name: op for op in ops if isinstance(op, sandbox.Pass) and op.name not in env}.values()),
        bus_rules=tuple(dict.fromkeys(rules)),
        companions=_companions(ops),
        links=tuple(op for op in ops if isinstance(op, sandbox.PrivateLink)),
        shares=tuple(shares[name] for name in sorted(shares)),
        allows=allows,
        # libxcb tries the abstract socket first and gives up on EPERM, so the real display needs the scope off.
        scoped=bool(shares.keys() & SCOPED) and not real_x11 and host.landlock >= network.LANDLOCK_SCOPES,
        seccomp=seccomp.build(host.machine, features=tuple(op.feature for op in allows)),
        hostname=base.HOSTNAME,
        make=tuple(sorted((op for op in ops if isinstance(op, sandbox.HostDirectory)), key=lambda op: op.path)),
        terminal=app.interface == "terminal",
        command=app.command,
        named=named.files(grant.files, host),
        network=_rules(ops),
    )


def _companions(ops: Iterable[sandbox.Op]) -> tuple[sandbox.Companion, ...]:
    """One of each name, with the arguments of all that ask for it."""
    found: dict[str, sandbox.Companion] = {}
    for op in ops:
        if isinstance(op, sandbox.Companion):
            known = found.setdefault(op.name, op)
            more = (word for word in op.arguments if word not in known.arguments)
            found[op.name] = dataclasses.replace(known, arguments=(*known.arguments, *more))
    return tuple(found.values())


def _in_memory(op: sandbox.Op, host: facts.HostFacts) -> sandbox.Op:
    """The same link in the home of an app that has no directories of its own."""
    if not isinstance(op, sandbox.PrivateLink):
        return op
    at = next(below for below, name in path.PRIVATE_DIRECTORIES if name == op.directory)
    return sandbox.Symlink(target=op.target, dest=f"{host.account.home}/{at}/{op.below}", because=op.because)


def _with_one_network(grant: model.Grant, ops: list[sandbox.Op], *, hosted: bool) -> list[sandbox.Op]:
    """What fits the network that the app has: the host's, one of its own that leads out, or none (SPEC §5.1, §5.2).

    With the host's, no companion stands between, and nothing that belongs to one is there. In one of its own the files
    of the resolver come with what leads out. Names without any network give nothing.
    """

    def named(*wanted: str) -> set[str]:
        return {verdict.intent.id for verdict in grant.verdicts if verdict.intent.scope.kind in wanted}

    if hosted:
        apart = named("network", "listen")
        return [
            op
            for op in ops
            if not isinstance(op, sandbox.NetworkRule) and (op.because not in apart or isinstance(op, sandbox.Share))
        ]
    out = any(isinstance(op, sandbox.NetworkRule) and op.verb in ("connect", "internet") for op in ops)
    names = named("dns")
    return [op for op in ops if op.because not in names or (out and isinstance(op, sandbox.NetworkRule))]


def _rules(ops: Iterable[sandbox.Op]) -> tuple[sandbox.NetworkRule, ...]:
    """Each rule once, those about which nothing is asked first."""
    found = dict.fromkeys(op for op in ops if isinstance(op, sandbox.NetworkRule))
    return tuple(sorted(found, key=lambda rule: sandbox.ASK in rule.flags))


def _mounts(ops: Iterable[sandbox.Op]) -> tuple[sandbox.Mount, ...]:
    """One mount per destination, parents first; the wider access and the later writer win; what is implied is left out.

    The laws that make it safe on every bubblewrap (SPEC §9.3): nothing is mounted below a directory the app can
    write, and no mount point is made inside a host directory.
    """
    chosen: dict[str, sandbox.Mount] = {}
    for op in ops:
        if isinstance(op, sandbox.Mount) and not _narrower(op, chosen.get(op.dest)):
            chosen[op.dest] = op
    base_dests = [op.dest for op in chosen.values() if op.because == sandbox.BASE]
    able = [op for op in chosen.values() if not _gives_way(op, base_dests)]
    showing = {op.dest: op for op in able if isinstance(op, sandbox.Bind | sandbox.Symlink)}
    anew = [op.dest for op in able if isinstance(op, sandbox.Tmpfs)]
    above = {op.dest: [showing[dest] for dest in paths.above(op.dest) if dest in showing] for op in able}
    kept = [op for op in able if not any(_implied(op, each) for each in above[op.dest] if not _between(op, each, anew))]
    return tuple(sorted(kept, key=lambda op: (paths.depth(op.dest), op.dest)))


def _gives_way(op: sandbox.Mount, base_dests: list[str]) -> bool:
    """Whether ``op`` is a link to a grant where the base needs a directory: for one, `~/.local` as a link."""
    granted_link = isinstance(op, sandbox.Symlink) and op.because != sandbox.BASE
    return granted_link and any(paths.inside(dest, op.dest) for dest in base_dests)


def _between(op: sandbox.Mount, other: sandbox.Mount, anew: list[str]) -> bool:
    """Whether an empty directory hides ``other`` where ``op`` is: a home in /usr, for one."""
    below = [dest for dest in anew if paths.inside(dest, other.dest) and dest != other.dest]
    return any(paths.inside(op.dest, dest) and dest != op.dest for dest in below)


def _implied(op: sandbox.Mount, other: sandbox.Bind | sandbox.Symlink) -> bool:
    """Whether ``other``, above ``op``, already shows what ``op`` would. AssertionError where that would be unsafe."""
    if isinstance(other, sandbox.Symlink) or other.access is sandbox.Access.WRITE:
        assert isinstance(op, sandbox.Bind | sandbox.Symlink), f"{op.dest} below {other.dest}"
        return True
    return isinstance(op, sandbox.Symlink)


def _narrower(op: sandbox.Mount, other: sandbox.Mount | None) -> bool:
    """Whether ``op`` must not replace ``other`` at the same destination."""
    return (
        isinstance(op, sandbox.Bind)
        and isinstance(other, sandbox.Bind)
        and op.access is sandbox.Access.READ
        and other.access is sandbox.Access.WRITE
    )
