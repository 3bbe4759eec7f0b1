"""What granting exposes (SPEC §8.4), and the command that grants all the same."""

from collections.abc import Iterable

from intents import facts, model

_RAISED = (model.Trust.FIRST_USE, model.Trust.UNSIGNED)


def of(scopes: Iterable[model.Scope], host: facts.HostFacts, trust: model.Trust) -> model.Risk:
    """What granting these scopes (at least one) together exposes: one step more from a publisher nobody agreed to."""
    found = max(scope.risk(host) for scope in scopes)
    return model.Risk(found + 1) if trust in _RAISED and found < model.Risk.CRITICAL else found


def of_intent(intent: model.Intent, host: facts.HostFacts, trust: model.Trust) -> model.Risk:
    """What granting the whole of an intent exposes."""
    return of((*intent.scope.parts(), intent.scope), host, trust)


def grant_command(vetted: model.Vetted, intents: Iterable[model.Intent], host: facts.HostFacts) -> str:
    """The ``intent-ctl`` command that grants these intents, with the confirmation that critical ones need."""
    named = tuple(intents)
    loud = [intent.id for intent in named if of_intent(intent, host, vetted.trust) >= model.Risk.CRITICAL]
    words = [*(intent.id for intent in named), *(f"--confirm {name}" for name in loud)]
    return f"intent-ctl grant {vetted.manifest.app.id} {' '.join(words)}"
