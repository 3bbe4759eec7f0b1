"""Kind ``printing``: the system's print service (SPEC §5.6)."""

from dataclasses import dataclass
from typing import ClassVar

from intents import facts, model, reach, sandbox, scopes, text

KIND = "printing"
DOC = """Print through CUPS, the system's print service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Printing(scopes.Whole):
    """It has no keys."""

    KIND: ClassVar[str] = KIND

    def needs(self) -> tuple[facts.Need, ...]:
        return (facts.Need(what="socket", name="cups"),)

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.NORMAL

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        return model.Phrase(
            title=text.said("printing"),
            allows=text.said("It can print, and see your printers and waiting print jobs."),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """The socket. Raises HostError ``no-service``."""
        return reach.socket_ops(
            host, "cups", "/run/cups/cups.sock", "CUPS_SERVER", because, "no print service (CUPS) answers here"
        )
