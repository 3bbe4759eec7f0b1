"""Kind ``gpg-agent``: the user's GnuPG agent (SPEC §5.6)."""

from dataclasses import dataclass
from typing import ClassVar

from intents import facts, model, reach, sandbox, scopes, text

KIND = "gpg-agent"
DOC = """Sign and decrypt with the keys of the user's GnuPG agent. The keys stay in the agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpgAgent(scopes.Whole):
    """It has no keys."""

    KIND: ClassVar[str] = KIND

    def needs(self) -> tuple[facts.Need, ...]:
        return (facts.Need(what="socket", name="gpg-agent"),)

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.CRITICAL

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        return model.Phrase(
            title=text.said("GnuPG agent"),
            allows=text.said("It can sign and decrypt in your name with every key your GnuPG agent has unlocked."),
            notes=(text.said("It cannot take keys out of the agent or change them."),),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """The socket, where GnuPG looks for it. Raises HostError ``no-service``."""
        dest = f"/run/user/{host.account.uid}/gnupg/S.gpg-agent"
        return reach.socket_ops(host, "gpg-agent", dest, "", because, "no GnuPG agent answers here")
