"""What the administrator's rules leave of a part of an intent, and what they give of it (SPEC §8.8).

The order of the rules never matters: denials only take away, and each is held against everything that is given.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from intents import errors, facts, model, paths, risk
from intents.kinds import network, path

EVERY_APP = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules about one app, and what it takes to tell how they stand for it on this host. ``about`` makes one."""

    rules: tuple[model.Rule, ...]
    vetted: model.Vetted
    host: facts.HostFacts

    def left(self, scope: model.Scope) -> tuple[model.Scope | None, tuple[model.Rule, ...]]:
        """What the locked denials leave of ``scope``, and those that take something of it away."""
        denials = self.denials(scope, locked=True)
        left: model.Scope | None = scope
        for rule in denials:
            left = self._without(left, rule) if left is not None else None
        return left, denials

    def denials(self, scope: model.Scope, *, locked: bool) -> tuple[model.Rule, ...]:
        """The denials that something of ``scope`` runs into."""
        found = (rule for rule in self._of(model.Effect.DENY, locked=locked) if rule.kind == scope.kind)
        return tuple(rule for rule in found if self._without(scope, rule) != scope)

    def given(self, scope: model.Scope, *, locked: bool) -> tuple[tuple[model.Rule, model.Scope], ...]:
        """What the allowances that count give of ``scope``, without what is locked away. A default gives nothing of
        which another one denies something."""
        found = []
        for rule in self._of(model.Effect.ALLOW, locked=locked):
            shared = _shared(rule, scope)
            if shared is None or self.idle(rule, shared) or (not locked and self.denials(shared, locked=False)):
                continue
            kept = self.left(shared)[0]
            found += [(rule, kept)] if kept is not None else []
        return tuple(found)

    def idle(self, rule: model.Rule, scope: model.Scope) -> str:
        """Why an allowance does not count for ``scope``, as a clause; empty where it does."""
        if self.vetted.trust is model.Trust.UNSIGNED:
            return "the app is not signed, and what anybody could have written gets nothing by a rule"
        other = rule.lineage not in ("", self.vetted.lineage) or rule.publisher not in ("", self.vetted.fingerprint)
        if other:
            return "it is for another publisher"
        # Not raised for a publisher that is new: whoever is asked about that is shown what the rules give.
        exposed = risk.of((scope,), self.host, model.Trust.VOUCHED)
        if exposed > limit(rule):
            return f"the risk is {exposed.word} here, and such a rule gives what is of {limit(rule).word} risk at most"
        return self._astray(scope) if isinstance(scope, path.Path) else ""

    def shared(self, rule: model.Rule, scope: model.Scope) -> bool:
        """Whether the rule has to do with ``scope``."""
        if rule.effect is model.Effect.DENY:
            return self._without(scope, rule) != scope
        return _shared(rule, scope) is not None

    def _of(self, effect: model.Effect, *, locked: bool) -> Iterable[model.Rule]:
        return (rule for rule in self.rules if rule.effect is effect and rule.locked is locked)

    def _without(self, scope: model.Scope, rule: model.Rule) -> model.Scope | None:
        """The widest of ``scope`` that gives nothing of what the rule denies. Reading stays where writing is denied."""
        if rule.kind != scope.kind:
            return scope
        if rule.scope is None:
            return None
        if isinstance(scope, network.Network) and isinstance(rule.scope, network.Network):
            return None if scope.touches(rule.scope) else scope
        if not isinstance(scope, path.Path) or not isinstance(rule.scope, path.Path):
            return scope if scope.meet(rule.scope) is None else None
        level = path.ACCESS.index(rule.scope.access)
        if path.ACCESS.index(scope.access) < level or not _gives(scope, rule.scope, self.host):
            return scope
        return path.Path(place=scope.place, access=path.ACCESS[level - 1]) if level else None

    def _astray(self, scope: path.Path) -> str:
        """A rule remembers no canonical path, so it gives no place that a link leads to: anybody can have made it."""
        lexical = scope.place.resolve(dict(self.host.directories))
        fact = self.host.path(lexical or "")
        if fact is not None and fact.real == lexical:
            return ""
        where = (paths.printable(fact.real) if fact else "") or "nowhere"
        return f"`{scope.place.text}` leads to {where}, and that is asked"


def about(policy: Iterable[model.Rule], vetted: model.Vetted, host: facts.HostFacts) -> Rules:
    """The rules of a policy that are about this app."""
    names = (EVERY_APP, vetted.manifest.app.id)
    return Rules(rules=tuple(rule for rule in policy if rule.app in names), vetted=vetted, host=host)


def limit(rule: model.Rule) -> model.Risk:
    """The highest risk that an allowance may give (SPEC §8.8)."""
    if rule.confirm:
        return model.Risk.CRITICAL
    if rule.app != EVERY_APP or rule.lineage or rule.publisher:
        return model.Risk.HIGH
    return model.Risk.LOW if rule.locked else model.Risk.NORMAL


def refusal(delta: model.Delta) -> errors.RefusedError | None:
    """Why the policy keeps the app from starting: a required intent of which it leaves nothing. None if it does not."""
    for change in delta.changes:
        denials = [ruling.rule for ruling in change.rulings if ruling.rule.locked and ruling.granted is None]
        if denials and not change.granted and not change.intent.optional and not change.free:
            name, rule = delta.vetted.manifest.app.name, denials[0]
            said = f"{name} needs `{change.intent.id}`, which the administrator does not allow: “{rule.reason}”"
            hint = "Ask whoever administers this machine; `intent-ctl policy explain` shows every rule."
            return errors.RefusedError("refused-by-policy", said, subject=rule.place, hint=hint)
    return None


def refuse_locked(change: model.Change, *, decides: bool) -> None:
    """Refuse to change an intent about which the user decides nothing. Raises DecisionError ``locked-by-policy``."""
    if change.locks and not decides:
        rule, stays = change.locks[0], "allowed" if change.granted else "denied"
        said = f"the administrator has locked `{change.intent.id}`, which stays {stays}: “{rule.reason}”"
        hint = "Ask whoever administers this machine; `intent-ctl policy explain` shows every rule."
        raise errors.DecisionError("locked-by-policy", said, subject=rule.place, hint=hint)


def _shared(rule: model.Rule, scope: model.Scope) -> model.Scope | None:
    """What an allowance says of ``scope``."""
    if rule.covers(scope):
        return scope
    return rule.scope.meet(scope) if rule.scope is not None else None


def _gives(asked: path.Path, denied: path.Path, host: facts.HostFacts) -> bool:
    """Whether who gets one place gets something of the other, by whatever name or link."""
    mine, theirs = _ways(asked.place, host), _ways(denied.place, host)
    if not mine or not theirs:
        return asked.meet(denied) is not None
    return any(paths.inside(one, other) or _shows(one, other, host.account.home) for one in mine for other in theirs)


def _ways(place: paths.Place, host: facts.HostFacts) -> tuple[str, ...]:
    """The path that a place names and its canonical one, if that was looked at; nothing if its root is not here."""
    lexical = place.resolve(dict(host.directories))
    if lexical is None:
        return ()
    fact = host.path(lexical)
    return lexical, (fact.real if fact and fact.real else lexical)


def _shows(wide: str, within: str, home: str) -> bool:
    """Whether a path that is granted shows another one below it: a whole home, and what is above it, leave out some."""
    if not paths.inside(within, wide):
        return False
    if wide == home and within != home:
        return within[len(home) + 1 :].split("/")[0] not in path.NOT_OF_HOME
    return not (paths.inside(home, wide) and wide != home and paths.inside(within, home))
