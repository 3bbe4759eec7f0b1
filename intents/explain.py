"""One sandbox traced back: every bubblewrap option to the base or to an intent, and that to a decision (SPEC §11.4).

Takes a manifest, host facts and what is to be granted; returns values. It goes the way every launch goes (diff,
settle, compile), so what it shows is what would be started.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from intents import compiler, decide, diff, errors, facts, model, paths, risk, sign, trace, trust

# Scopes to grant, by intent id.
Said = Mapping[str, tuple[model.Scope, ...]]
_MOMENT = model.Clock(wall=0, boottime=0, boot_id="", session="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What would be started.

    missing: required intents that are not granted, for which ``intent-run`` would refuse to start; withheld: granted
    intents that this host cannot give, with the reason; together: what the rest makes possible in combination.
    """

    options: tuple[trace.Option, ...]
    verdicts: tuple[model.Verdict, ...]
    missing: tuple[str, ...]
    withheld: tuple[tuple[str, errors.IntentError], ...]
    together: tuple[str, ...]


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
    vetted = trust.vet(manifest, key, vouched=key is not None, pin=None, allow_unsigned=key is None)
    return of_grant(_settled(vetted, host, said), host)


def of_grant(grant: model.Grant, host: facts.HostFacts) -> Explanation:
    """What a start with ``grant`` would run. Raises HostError where no sandbox could be built."""
    compiled = compiler.compile_sandbox(relaxed(grant), host)
    return Explanation(
        options=trace.options(compiled.sandbox, host),
        verdicts=grant.verdicts,
        missing=tuple(intent.id for intent in grant.missing_required),
        withheld=compiled.withheld,
        together=_together(grant, host, {name for name, _ in compiled.withheld}),
    )


def _together(grant: model.Grant, host: facts.HostFacts, withheld: set[str]) -> tuple[str, ...]:
    given = [scope for name, scope in grant.scopes() if name not in withheld]
    return tuple(sentence for _, sentence in risk.together(given, (), host))


def relaxed(grant: model.Grant) -> model.Grant:
    """The grant as if every intent were optional: what would stop a start can then still be shown."""
    verdicts = (
        dataclasses.replace(verdict, intent=dataclasses.replace(verdict.intent, optional=True))
        for verdict in grant.verdicts
    )
    return dataclasses.replace(grant, verdicts=tuple(verdicts))


def assume(manifest: model.Manifest, host: facts.HostFacts) -> facts.HostFacts:
    """``host`` with the program installed, alone, and every place an empty directory, where nobody looked for them."""
    known = dict(host.directories)
    places = [paths.parse_place(text) for intent in manifest.intents for text in intent.scope.objects()]
    named = [place.resolve(known) for place in places]
    wanted = [(manifest.app.command[0], "file", 0), *((name, "dir", host.account.uid) for name in named if name)]
    new = [
        facts.PathFact(path=name, real=_real(name, host), kind=kind, owner=owner)
        for name, kind, owner in dict.fromkeys(wanted)
        if host.path(name) is None
    ]
    program = manifest.app.command[0]
    alone = facts.Closure(entries=(facts.Entry(path=program, kind="file"),))
    looked = host.closure is not None and any(entry.path == program for entry in host.closure.entries)
    return dataclasses.replace(host, paths=(*host.paths, *new), closure=host.closure if looked else alone)


def _real(name: str, host: facts.HostFacts) -> str:
    """Where a path leads by the links at the top of the host's file system, such as /bin."""
    links = {entry.path: f"/{entry.target.strip('/')}" for entry in host.system if entry.kind == "link"}
    top = next((link for link in links if paths.depth(link) == 1 and paths.inside(name, link)), "")
    return links[top] + name[len(top) :] if top else name


def _settled(vetted: model.Vetted, host: facts.HostFacts, said: Said) -> model.Grant:
    objects = {}
    for intent in vetted.manifest.intents:
        for scope in (intent.scope, *said.get(intent.id, ())):
            for text in scope.objects():
                fact = host.path(paths.parse_place(text).resolve(dict(host.directories)) or "")
                objects[text] = fact.real if fact else ""
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
