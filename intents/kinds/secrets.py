"""Kind ``secrets``: the keyring of passwords (SPEC §5.6)."""

from dataclasses import dataclass
from typing import ClassVar

from intents import facts, model, reach, sandbox, scopes, text

KIND = "secrets"
DOC = """Use the keyring in which the desktop keeps passwords (Secret Service). It gives every password in it, not only
the app's own."""

RULES = (("talk", "org.freedesktop.secrets"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets(scopes.Whole):
    """It has no keys."""

    KIND: ClassVar[str] = KIND

    def needs(self) -> tuple[facts.Need, ...]:
        return (facts.Need(what="bus", name="session"),)

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.CRITICAL

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        return model.Phrase(
            title=text.said("all saved passwords"),
            allows=text.said("It can read, change and delete every password that your programs saved in the keyring."),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """The filter's rules. Raises HostError ``no-bus`` or ``proxy-missing``."""
        return reach.bus_ops(host, "session", RULES, because)
