"""Kind ``smartcard``: smart cards through pcscd (SPEC §5.6)."""

from dataclasses import dataclass
from typing import ClassVar

from intents import facts, model, reach, sandbox, scopes, text

KIND = "smartcard"
DOC = """Use smart cards and readers through pcscd."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Smartcard(scopes.Whole):
    """It has no keys."""

    KIND: ClassVar[str] = KIND

    def needs(self) -> tuple[facts.Need, ...]:
        return (facts.Need(what="socket", name="pcscd"),)

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.HIGH

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        return model.Phrase(
            title=text.said("smart cards"),
            allows=text.said("It can use any smart card or security token that is plugged in, while it is unlocked."),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """The socket. Raises HostError ``no-service``."""
        return reach.socket_ops(
            host,
            "pcscd",
            "/run/pcscd/pcscd.comm",
            "PCSCLITE_CSOCK_NAME",
            because,
            "no smart card service (pcscd) answers here",
        )
