"""One sandbox traced back: every bubblewrap option to the base or to an intent, and that to a decision (SPEC §9.5).

Takes a manifest, host facts and what is to be granted; returns values. It goes the way every launch goes (diff,
settle, compile), so what it shows is what would be started.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from intents import bwrap, compiler, decide, diff, errors, facts, model, paths, sandbox, sign, trust
from intents.kinds import path

# Scopes to grant, by intent id.
Said = Mapping[str, tuple[model.Scope, ...]]
_MOMENT = model.Clock(wall=0, boottime=0, boot_id="", session="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option with its operands, and whose it is: ``base`` or an intent's id."""

    words: tuple[str, ...]
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What would be started.

    missing: required intents that are not granted, for which ``intent-run`` would refuse to start; withheld: granted
    intents that this host cannot give, with the reason; companions: the command lines of what runs beside the app, word
    by word; besides: what happens outside the command lines.
    """

    options: tuple[Option, ...]
    companions: tuple[Option, ...]
    besides: tuple[Option, ...]
    verdicts: tuple[model.Verdict, ...]
    missing: tuple[str, ...]
    withheld: tuple[tuple[str, errors.IntentError], ...]


def chosen(manifest: model.Manifest, names: tuple[str, ...]) -> Said:
    """The intents of those names, with all they ask for. Raises DecisionError ``unknown-intent``."""
    known = {intent.id: (intent.scope,) for intent in manifest.intents}
    for name in names:
        if name not in known:
            has = ", ".join(f"`{key}`" for key in known) or "none"
            message = f"`{paths.printable(name)}` is not an intent of `{manifest.app.id}`, which has {has}"
            raise errors.DecisionError("unknown-intent", message)
    return {name: known[name] for name in names}


def explain(manifest: model.Manifest, key: sign.PublicKey | None, host: facts.HostFacts, said: Said) -> Explanation:
    """What starting ``manifest`` on ``host`` would run if exactly ``said`` were granted.

    key: whose signature is on it, for the names of its directories. Raises HostError where no sandbox could be built.
    """
    missing = tuple(intent.id for intent in manifest.intents if not intent.optional and not said.get(intent.id))
    # With a required intent missing nothing would be started; the rest of the sandbox can still be shown.
    relaxed = tuple(dataclasses.replace(intent, optional=True) for intent in manifest.intents)
    shown = dataclasses.replace(manifest, intents=relaxed)
    vetted = trust.vet(shown, key, vouched=key is not None, pin=None, allow_unsigned=key is None)
    grant = _settled(vetted, host, said)
    compiled = compiler.compile_sandbox(grant, host)
    box = compiled.sandbox
    return Explanation(
        options=tuple(Option(words=row, because=_because(row, box)) for row in bwrap.arguments(box, host)),
        companions=_companions(box, host),
        besides=_besides(box),
        verdicts=grant.verdicts,
        missing=missing,
        withheld=compiled.withheld,
    )


def assume(manifest: model.Manifest, host: facts.HostFacts) -> facts.HostFacts:
    """``host`` with the program installed and every place an empty directory, where nobody looked for them there."""
    known = dict(host.directories)
    named = [intent.scope.place.resolve(known) for intent in manifest.intents if isinstance(intent.scope, path.Path)]
    wanted = [(manifest.app.command[0], "file", 0), *((name, "dir", host.account.uid) for name in named if name)]
    new = [
        facts.PathFact(path=name, real=name, kind=kind, owner=owner)
        for name, kind, owner in dict.fromkeys(wanted)
        if host.path(name) is None
    ]
    return dataclasses.replace(host, paths=(*host.paths, *new))


def _settled(vetted: model.Vetted, host: facts.HostFacts, said: Said) -> model.Grant:
    objects = {}
    for intent in vetted.manifest.intents:
        for scope in (intent.scope, *said.get(intent.id, ())):
            if isinstance(scope, path.Path):
                fact = host.path(scope.place.resolve(dict(host.directories)) or "")
                objects[scope.place.text] = fact.real if fact else ""
    answers = [
        decision
        for intent in vetted.manifest.intents
        for decision in decide.decisions(
            intent,
            tuple(part for scope in said.get(intent.id, ()) for part in scope.parts()),
            model.Effect.ALLOW,
            model.Life(span=model.Lifespan.ONCE),
            objects,
            source="command",
            now=_MOMENT,
        )
    ]
    return decide.settle(diff.diff(vetted, (), _MOMENT, objects, this_launch=answers))


def _because(row: tuple[str, ...], box: sandbox.Sandbox) -> str:
    """Whose a row of ``bwrap.arguments`` is; what bubblewrap needs for a mount belongs to whoever has the mount."""
    if row[0] == "--share-net" and (share := box.share("network")):
        return share.because
    if row[0] == "--setenv":
        passed = {op.name: op.because for op in box.passed}
        return (passed | {op.name: op.because for op in box.env}).get(row[1], sandbox.BASE)
    owners = {mount.dest: mount.because for mount in box.mounts}
    if row[-1] in owners:
        return owners[row[-1]]
    below = {owner for dest, owner in owners.items() if row[0] == "--perms" and paths.inside(dest, row[-1])}
    return below.pop() if len(below) == 1 else sandbox.BASE


def _companions(box: sandbox.Sandbox, host: facts.HostFacts) -> tuple[Option, ...]:
    """The proxy serves one bus after the other; the same rule may be there for each of them."""
    rules = {(rule.bus, f"--{rule.verb}={rule.rule}"): rule.because for rule in box.bus_rules}
    addresses = {bus.address: bus.name for bus in host.buses}
    options, bus = [], ""
    for because, words in bwrap.companion_arguments(box, host):
        for word in words:
            bus = addresses.get(word, bus)
            options.append(Option(words=(word,), because=rules.get((bus, word), because)))
    return tuple(options)


def _besides(box: sandbox.Sandbox) -> tuple[Option, ...]:
    done = [Option(words=(made.describe(),), because=made.because) for made in box.make]
    done += [Option(words=(link.describe(),), because=link.because) for link in box.links]
    shared = (share for share in box.shares if share.namespace != "network")  # that is an option of bubblewrap's
    done += [Option(words=(share.describe(),), because=share.because) for share in shared]
    done += [Option(words=(allow.describe(),), because=allow.because) for allow in box.allows]
    if box.scoped:
        closed = "close abstract sockets and signals to the outside (Landlock)"
        done.append(Option(words=(closed,), because=box.shares[0].because))
    return tuple(done)
