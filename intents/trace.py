"""Every option of one compiled launch, under the base or under the intent that it is there for (SPEC §11.4).

Takes a sandbox and gives values. ``tell`` makes of them the JSON of both ``explain`` commands, ``lines`` its text.
"""

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from intents import base, bwrap, facts, kinds, model, paths, sandbox

# Where an option stands: on bubblewrap's command line, on that of what runs beside the app, in the system call filter,
# or in what the launch does around them.
BUBBLEWRAP, COMPANION, FILTER, LAUNCH = "bubblewrap", "companion", "system-calls", "launch"
# What the other parts show.
_ELSEWHERE = (
    sandbox.Mount | sandbox.Env | sandbox.Pass | sandbox.Allow | sandbox.BusRule | sandbox.NetworkRule
    | sandbox.Companion
)  # fmt: skip
_LEAD = {BUBBLEWRAP: "", COMPANION: "beside it: ", FILTER: "system calls: ", LAUNCH: "at launch: "}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option with its operands, where it stands, and whose it is: ``base`` or an intent's id."""

    part: str
    words: tuple[str, ...]
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """One intent: what of it is granted, in one clause why, and the decisions and rules behind that (``decision_data``,
    ``rule_data``)."""

    intent: str
    granted: tuple[model.Scope, ...]
    because: str
    decisions: tuple[Mapping[str, object], ...] = ()
    rules: tuple[Mapping[str, object], ...] = ()


def options(box: sandbox.Sandbox, host: facts.HostFacts) -> tuple[Option, ...]:
    """All that starting ``box`` runs and does, in the order in which it is run."""
    rows = [Option(part=BUBBLEWRAP, words=words, because=whose) for whose, words in bwrap.arguments(box, host)]
    return (*rows, *_companions(box, host), *_filter(box), *_launch(box))


def _companions(box: sandbox.Sandbox, host: facts.HostFacts) -> list[Option]:
    """Those of the buses and the network word by word, as they serve several intents, each perhaps by one rule."""
    rules: dict[tuple[str, str], list[str]] = {}
    for rule in box.bus_rules:
        rules.setdefault((rule.bus, f"--{rule.verb}={rule.rule}"), []).append(rule.because)
    for reach in box.network:
        rules.setdefault(("", reach.words), []).append(reach.because)
    addresses = {bus.address: bus.name for bus in host.buses}
    found, bus = [], ""
    for because, words in bwrap.companion_arguments(box, host):
        if because != sandbox.BASE and words[0] != bwrap.NETWORK:
            found.append(Option(part=COMPANION, words=words, because=because))
            continue
        for word in words:
            bus = addresses.get(word, bus)
            whose = rules.get((bus, word)) or rules.get(("", word), [])
            found.append(Option(part=COMPANION, words=(word,), because=whose.pop(0) if whose else because))
    return found


def _filter(box: sandbox.Sandbox) -> list[Option]:
    return [Option(part=FILTER, words=(allow.feature,), because=allow.because) for allow in box.allows]


def _launch(box: sandbox.Sandbox) -> list[Option]:
    """All else that is done: of the namespaces, bubblewrap has an option for the network alone."""
    done = [op for op in box.ops if not isinstance(op, _ELSEWHERE) and op != box.share("network")]
    found = [Option(part=LAUNCH, words=(op.describe(),), because=op.because) for op in done]
    if box.scoped:
        closed = "close abstract sockets and signals to the outside (Landlock)"
        found.append(Option(part=LAUNCH, words=(closed,), because=box.shares[0].because))
    if (share := box.share("network")) and share.ports:
        held = f"hold TCP connections to port {', '.join(map(str, share.ports))} (Landlock)"
        found.append(Option(part=LAUNCH, words=(held,), because=share.because))
    return found


def decision_data(decision: model.Decision) -> dict[str, object]:
    """A decision as JSON: seq, intent, effect, asked, granted, span, until, at, source."""
    return {
        "seq": decision.seq,
        "intent": decision.intent_id,
        "effect": decision.effect.value,
        "asked": kinds.to_data(decision.asked),
        "granted": None if decision.granted is None else kinds.to_data(decision.granted),
        "span": decision.life.span.value,
        "until": decision.life.until or None,
        "at": decision.at,
        "source": decision.source,
    }


def rule_data(rule: model.Rule) -> dict[str, object]:
    """A rule of the administrator's policy as JSON: file, line, app, kind, scope, effect, locked, reason."""
    return {
        "file": rule.file,
        "line": rule.line,
        "app": rule.app,
        "kind": rule.kind,
        "scope": None if rule.scope is None else kinds.to_data(rule.scope),
        "effect": rule.effect.value,
        "locked": rule.locked,
        "reason": rule.reason,
    }


def rules_data(change: model.Change) -> tuple[dict[str, object], ...]:
    """The rules that decide about an intent, each once."""
    return tuple(rule_data(rule) for rule in dict.fromkeys(ruling.rule for ruling in change.rulings))


def rule_words(row: Mapping[str, object]) -> str:
    """One rule in one line: ``/etc/intents/policy.d/a.toml:1: denied, locked: “No network here.”``."""
    effect = "denied" if row["effect"] == model.Effect.DENY.value else "allowed"
    kept = "locked" if row["locked"] else "a default"
    return f"{row['file']}:{row['line']}: {effect}, {kept}: “{row['reason']}”"


def base_sentence(app: model.App) -> str:
    """Whose the options of the base are: which one the app has chosen, and that no decision is behind it."""
    libraries = "what it needs" if app.libraries == base.CLOSURE else "the system's libraries"
    what = f", the program and {libraries}" if app.base == base.STRICT else ""
    proc = "" if app.proc else ", without /proc"
    return f"`{app.base}`{what}{proc}; every sandbox of this app has it"


def tell(traced: Iterable[Option], owners: Sequence[Owner], app: model.App) -> list[dict[str, object]]:
    """The groups as JSON, the base first, then every intent: group, granted, because, decisions, rules and options,
    which are part and words each. Every option is in exactly one."""
    groups: dict[str, dict[str, object]] = {}
    always = Owner(intent=sandbox.BASE, granted=(), because=base_sentence(app))
    for owner in (always, *owners):
        groups[owner.intent] = {
            "group": owner.intent,
            "granted": [kinds.to_data(scope) for scope in owner.granted],
            "because": owner.because,
            "decisions": [dict(row) for row in owner.decisions],
            "rules": [dict(row) for row in owner.rules],
            "options": [],
        }
    for option in traced:
        rows = groups[option.because]["options"]
        assert isinstance(rows, list)
        rows.append({"part": option.part, "words": list(option.words)})
    return list(groups.values())


def lines(groups: Iterable[Mapping[str, object]], day: Callable[[int], str]) -> list[str]:
    """What ``tell`` gave as text, one option per line. day: how a moment (seconds since the epoch) is written."""
    said: list[str] = []
    for group in groups:
        rows, decisions, rules = group["options"], group["decisions"], group["rules"]
        assert isinstance(rows, list) and isinstance(decisions, list) and isinstance(rules, list)
        said += [*([""] if said else []), f"{group['group']}: {group['because']}"]
        said += [f"  {rule_words(row)}" for row in rules]
        said += [f"  {decision_words(row, day)}" for row in decisions]
        said += [f"  {_LEAD[row['part']]}{shown(row['words'])}" for row in rows]
    return said


def decision_words(row: Mapping[str, object], day: Callable[[int], str]) -> str:
    """One decision in one line: ``decision 3: allowed always, by command on 2026-01-31 12:00``."""
    until, at = row["until"], row["at"]
    span = {
        model.Lifespan.ONCE.value: "this once",
        model.Lifespan.SESSION.value: "for this session",
        model.Lifespan.UNTIL.value: f"until {day(until)}" if isinstance(until, int) else "for a time",
        model.Lifespan.FOREVER.value: "always",
    }[str(row["span"])]
    effect = "denied" if row["effect"] == model.Effect.DENY.value else "allowed"
    when = f" on {day(at)}" if isinstance(at, int) else ""
    return f"decision {row['seq']}: {effect} {span}, by {row['source']}{when}"


def shown(words: Iterable[str]) -> str:
    """An option as a shell would read it; what only exists at launch stays in angle brackets."""
    clean = [paths.printable(word) for word in words]
    plain = len(clean) == 1 and clean[0]
    return " ".join(word if word.startswith("<") or plain else shlex.quote(word) for word in clean)
