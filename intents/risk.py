"""What granting exposes (SPEC §8.4), and the command that grants all the same."""

from collections.abc import Iterable

from intents import catalogue, facts, model, scopes, text
from intents.kinds import audio, display, env, network, path, settings

_RAISED = (model.Trust.FIRST_USE, model.Trust.UNSIGNED)


def of(scopes: Iterable[model.Scope], host: facts.HostFacts, trust: model.Trust) -> model.Risk:
    """What granting these scopes (at least one) together exposes: one step more from a publisher nobody agreed to."""
    found = max(scope.risk(host) for scope in scopes)
    return model.Risk(found + 1) if trust in _RAISED and found < model.Risk.CRITICAL else found


def of_intent(intent: model.Intent, host: facts.HostFacts, trust: model.Trust) -> model.Risk:
    """What granting the whole of an intent exposes."""
    return of((*intent.scope.parts(), intent.scope), host, trust)


def traits(scope: model.Scope, host: facts.HostFacts) -> tuple[str, ...]:
    """What a scope brings along that matters beside another, in the words of ``catalogue.COMBINATIONS``."""
    match scope:
        case path.Path():
            return ("keys",) if scope.holds(host) else ("files",)
        case network.Network():
            if scope.scope == network.CONNECT:
                return ("tells",)
            return ("sends", "shares") if scope.scope == network.HOST else ("sends",)
        case settings.Settings():
            return ("keys",) if scope.holds(host) else ()
        case audio.Audio():
            return ("senses",) if audio.RECORD in scope.words else ()
        case env.Env():
            return ("tokens",) if scope.risk(host) >= model.Risk.HIGH else ()
        case display.Display():
            return ("screen", "x11") if scope.protocol == display.X11_HOST else ()
    found = catalogue.TRAITS.get(scope.kind)
    return (found,) if found else ()


def together(
    given: Iterable[model.Scope], held: Iterable[model.Scope], host: facts.HostFacts
) -> tuple[tuple[str, str], ...]:
    """What ``given`` makes possible in combination, also with what is ``held`` already: (row, sentence)."""

    def having(scopes: Iterable[model.Scope]) -> list[tuple[str, str]]:
        return [(trait, scope.phrase(host).title) for scope in scopes for trait in traits(scope, host)]

    return tuple(combined(having(given), having(held)).items())


def combined(given: Iterable[tuple[str, str]], held: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The same from what was found out before, traits and the titles of the scopes that have them: row -> sentence."""
    having: dict[str, dict[str, bool]] = {}
    for new, pairs in ((True, given), (False, held)):
        for trait, title in pairs:
            titles = having.setdefault(trait, {})
            titles[title] = new or titles.get(title, False)
    said: dict[str, str] = {}
    for name, row in catalogue.COMBINATIONS.items():
        one, other = having.get(row.one, {}), having.get(row.other, {})
        if one and other and row.unless not in having and any((*one.values(), *other.values())):
            words = {"one": scopes.listed(tuple(one)), "other": scopes.listed(tuple(other))}
            said[name] = text.said(row.says, **words)
    return said


def grant_command(vetted: model.Vetted, intents: Iterable[model.Intent], host: facts.HostFacts) -> str:
    """The ``intent-ctl`` command that grants these intents, with the confirmation that critical ones need."""
    named = tuple(intents)
    loud = [intent.id for intent in named if of_intent(intent, host, vetted.trust) >= model.Risk.CRITICAL]
    words = [*(intent.id for intent in named), *(f"--confirm {name}" for name in loud)]
    return f"intent-ctl grant {vetted.manifest.app.id} {' '.join(words)}"
