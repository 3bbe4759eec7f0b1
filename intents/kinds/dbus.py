"""Kind ``dbus``: named services on the session or system bus, through a filter (SPEC §5.5)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from intents import catalogue, errors, facts, keys, model, paths, reach, sandbox, text

KIND = "dbus"
DOC = """Talk to named services. `bus` is `session` or `system`. `see` lets the app know that a name exists; `talk`
lets it use everything on the connection behind the name; `own` lets it offer its own id; `call` allows single methods
(`org.example.Service=org.example.Interface.Method@/path`); `broadcast` lets it hear signals in the same form. Ask for
`call` rather than `talk`. Names through which a program could start others or widen its own rights are refused."""

BUSES = ("session", "system")
VERBS = ("see", "talk", "own", "call", "broadcast")
_ORDER = ("see", "talk", "own")

# D-Bus specification, "Bus names" and "Interface names"; a filter name may end in `.*` below three labels.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)+")
_MEMBER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+")
_PATH = re.compile(r"/|(/[A-Za-z0-9_]+)+")
MAX_NAME = 255


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Rule:
    """One verb and what it applies to: a name, or ``NAME=METHOD[@PATH]`` for call and broadcast."""

    verb: str
    operand: str

    @property
    def name(self) -> str:
        return self.operand.partition("=")[0]

    def covers(self, other: "Rule") -> bool:
        """Whether the filter with this rule lets through all that ``other`` lets through."""
        if not _name_covers(self.name, other.name):
            return False
        if self.verb in _ORDER:
            return _ORDER.index(self.verb) >= (_ORDER.index(other.verb) if other.verb in _ORDER else 1)
        if self.verb != other.verb:
            return False
        method, path = _split(self.operand)
        other_method, other_path = _split(other.operand)
        return _method_covers(method, other_method) and _path_covers(path, other_path)

    def narrower(self) -> "tuple[Rule, ...]":
        """The one name instead of all below it, and knowing that a service runs instead of using it; widest first."""
        name = self.name.removesuffix(".*")
        one = Rule(verb=self.verb, operand=name + self.operand[len(self.name) :])
        seen = [Rule(verb="see", operand=each) for each in (self.name, name)] if self.verb == "talk" else []
        return tuple(dict.fromkeys(rule for rule in (one, *seen) if rule != self))

    def meet(self, other: "Rule") -> "Rule | None":
        """The widest rule that both cover; None when there is none."""
        name = _narrower(self.name, other.name, _name_covers)
        wide, narrow = sorted((self, other), key=lambda rule: rule.verb not in _ORDER)
        if name is None:
            return None
        if narrow.verb in _ORDER:
            return Rule(verb=min(wide.verb, narrow.verb, key=_ORDER.index), operand=name)
        method, path = _split(narrow.operand)
        if wide.verb not in _ORDER:
            wide_method, wide_path = _split(wide.operand)
            same = _narrower(method, wide_method, _method_covers), _narrower(path, wide_path, _path_covers)
            if wide.verb != narrow.verb or None in same:
                return None
            method, path = str(same[0]), str(same[1])
        elif wide.verb == "see":
            return None
        return Rule(verb=narrow.verb, operand=f"{name}={method}" + (f"@{path}" if path != "*" else ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dbus:
    """Rules on one bus, sorted and distinct."""

    bus: str
    rules: tuple[Rule, ...]

    @classmethod
    def read(cls, table: Mapping[str, object]) -> "Dbus":
        """The scope keys of the intent's table. Raises ManifestError."""
        keys.only(table, ("bus", *VERBS), KIND)
        bus = keys.choice(table, "bus", BUSES, KIND)
        rules = [Rule(verb=verb, operand=item) for verb in VERBS for item in keys.strings(table, verb)]
        if not rules:
            known = ", ".join(f"`{verb}`" for verb in VERBS)
            raise errors.ManifestError("missing-key", f"kind `dbus` needs at least one of {known}")
        for rule in rules:
            _check(rule, bus)
        return cls(bus=bus, rules=tuple(sorted(rules)))

    @property
    def kind(self) -> str:
        return KIND

    def data(self) -> Mapping[str, object]:
        lists = {verb: [rule.operand for rule in self.rules if rule.verb == verb] for verb in VERBS}
        return {"bus": self.bus, **{verb: items for verb, items in lists.items() if items}}

    def covers(self, other: model.Scope) -> bool:
        return (
            isinstance(other, Dbus)
            and other.bus == self.bus
            and all(any(mine.covers(rule) for mine in self.rules) for rule in other.rules)
        )

    def meet(self, other: model.Scope) -> model.Scope | None:
        if not isinstance(other, Dbus) or other.bus != self.bus:
            return None
        both = {met for mine in self.rules for theirs in other.rules if (met := mine.meet(theirs)) is not None}
        return Dbus(bus=self.bus, rules=tuple(sorted(both))) if both else None

    def parts(self) -> tuple[model.Scope, ...]:
        return tuple(Dbus(bus=self.bus, rules=(rule,)) for rule in self.rules)

    def narrower(self) -> tuple[model.Scope, ...]:
        if len(self.rules) > 1:
            parts = [part for part in self.parts() if not part.covers(self)]  # one rule may say what all say
            return tuple(sorted(parts, key=lambda part: -sum(map(part.covers, parts))))
        return tuple(Dbus(bus=self.bus, rules=(rule,)) for rule in self.rules[0].narrower())

    def needs(self) -> tuple[facts.Need, ...]:
        return (facts.Need(what="bus", name=self.bus),)

    def objects(self) -> tuple[str, ...]:
        return ()

    def risk(self, host: facts.HostFacts) -> model.Risk:
        risks = {
            "see": model.Risk.LOW,
            "own": model.Risk.LOW,
            "broadcast": model.Risk.NORMAL,
            "call": model.Risk.NORMAL,
            "talk": model.Risk.HIGH,
        }
        return max(risks[rule.verb] for rule in self.rules)

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        done = tuple(_deed(rule) for rule in self.rules)
        notes = []
        if any(rule.verb == "talk" for rule in self.rules):
            notes.append(
                text.said("The program behind a name may offer more than the name suggests: all of it is given.")
            )
        for name, kind in {rule.name: catalogue.meant(rule.name) for rule in self.rules}.items():
            if kind:
                shown = paths.printable(name)
                notes.append(
                    text.said("The kind {kind} gives what {name} is asked for, and no more.", kind=kind, name=shown)
                )
            if reaches := catalogue.powerful(name):
                notes.append(text.said("{name} {reaches}.", name=paths.printable(name), reaches=reaches))
        one = self.rules[0].name.rpartition(".")[2]
        what = one if len(self.rules) == 1 else text.said("{count} bus rules", count=len(self.rules))
        bus = {
            "session": text.said("session bus: {what}", what=what),
            "system": text.said("system bus: {what}", what=what),
        }
        allows = text.said("It can {what}.", what=text.joined(done, "; "))
        return model.Phrase(title=bus[self.bus], allows=allows, notes=tuple(notes))

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """The filter's rules. Raises HostError ``no-bus``, ``proxy-missing``, RefusedError ``bus-name-activatable``."""
        given = reach.bus_ops(host, self.bus, tuple((rule.verb, rule.operand) for rule in self.rules), because)
        bus = host.bus(self.bus)
        for rule in self.rules:
            if bus and rule.verb == "own" and rule.name in (*bus.activatable, *bus.owned):
                how = "can be started" if rule.name in bus.activatable else "is running"
                what = f"`{rule.name}` {how} outside the sandbox, where a call to it would go"
                raise errors.RefusedError("bus-name-activatable", what)
        return given


def _deed(rule: Rule) -> text.Said:
    """What a rule lets the app do, as a verb phrase."""
    name = paths.printable(rule.operand)
    return {
        "see": text.said("know whether {name} runs", name=name),
        "own": text.said("offer its own services as {name}", name=name),
        "broadcast": text.said("hear {name}", name=name),
        "call": text.said("call {name}", name=name),
        "talk": text.said("use everything that {name} offers", name=name),
    }[rule.verb]


def _check(rule: Rule, bus: str) -> None:
    shown = paths.printable(rule.operand)
    name, found, _ = rule.operand.partition("=")
    if (rule.verb in ("call", "broadcast")) != bool(found):
        form = "NAME=METHOD@PATH" if not found else "a bare NAME"
        raise errors.ManifestError("bad-bus-name", f"`{rule.verb}` takes {form}, not `{shown}`")
    plain = name.removesuffix(".*")
    if len(name) > MAX_NAME or not _NAME.fullmatch(plain) or (plain != name and plain.count(".") < 2):
        raise errors.ManifestError("bad-bus-name", f"`{shown}` is not a D-Bus name, or a wildcard above three labels")
    if found:
        _check_method(rule, shown)
    if rule.operand in catalogue.HARMLESS:
        return
    kind = catalogue.meant(name)
    hint = f"Ask for kind `{kind}` instead." if kind else ""
    for never, why in catalogue.NEVER.items():
        if catalogue.below(plain, never) or (plain != name and catalogue.below(never, plain)):
            raise errors.ManifestError("forbidden-bus-name", f"`{shown}` cannot be granted: {why}", hint=hint)
    if rule.verb == "own" and (bus == "system" or plain != name):
        raise errors.ManifestError("bad-bus-name", f"`own` takes the app's own id on the session bus, not `{shown}`")


def _check_method(rule: Rule, shown: str) -> None:
    method, path = _split(rule.operand)
    plain, plain_path = method.removesuffix(".*"), path.removesuffix("/*") or "/"
    method_good = method == "*" or _MEMBER.fullmatch(plain)
    if not method_good or (path != "*" and not _PATH.fullmatch(plain_path)):
        raise errors.ManifestError("bad-bus-name", f"`{shown}` is not NAME=INTERFACE.METHOD@/PATH")


def _split(operand: str) -> tuple[str, str]:
    """(method pattern, path pattern) of a call or broadcast rule; an absent path is every path."""
    method, _, path = operand.partition("=")[2].partition("@")
    return method or "*", path or "*"


def _narrower(mine: str, other: str, covers: Callable[[str, str], bool]) -> str | None:
    """The one of two patterns that the other covers."""
    if covers(mine, other):
        return other
    return mine if covers(other, mine) else None


def _name_covers(mine: str, other: str) -> bool:
    if mine.endswith(".*"):
        return catalogue.below(other.removesuffix(".*"), mine[:-2])
    return mine == other


def _method_covers(mine: str, other: str) -> bool:
    """`INTERFACE.*` is every method of that one interface, not of longer-named ones (xdg-dbus-proxy(1))."""
    if mine == "*" or mine == other:
        return True
    return mine.endswith(".*") and other.rpartition(".")[0] == mine[:-2]


def _path_covers(mine: str, other: str) -> bool:
    """`/a/*` is every object below `/a`."""
    return mine == "*" or mine == other or (mine.endswith("/*") and other.startswith(mine[:-1]))
