"""Kind ``ssh-agent``: the user's SSH agent (SPEC §5.6)."""

from dataclasses import dataclass
from typing import ClassVar

from intents import facts, model, reach, sandbox, scopes, text

KIND = "ssh-agent"
DOC = """Log in with the keys of the user's SSH agent. The keys stay in the agent; what they open does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SshAgent(scopes.Whole):
    """It has no keys."""

    KIND: ClassVar[str] = KIND

    def needs(self) -> tuple[facts.Need, ...]:
        return (facts.Need(what="socket", name="ssh-agent"),)

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.CRITICAL

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        return model.Phrase(
            title=text.said("SSH agent"),
            allows=text.said("It can log in anywhere as you, with every key your SSH agent holds, as long as it runs."),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """The socket. Raises HostError ``no-service``."""
        return reach.socket_ops(
            host,
            "ssh-agent",
            f"/run/user/{host.account.uid}/ssh-agent",
            "SSH_AUTH_SOCK",
            because,
            "no SSH agent answers here",
        )
