"""Kind ``socket-family``: kinds of socket that ordinary programs do not need (SPEC §5.6)."""

from dataclasses import dataclass
from typing import ClassVar

from intents import facts, model, sandbox, scopes, text

KIND = "socket-family"
DOC = """Make sockets of further families: `families` holds `bluetooth`, `can` or both. They speak over the host's own
network only, so `network` with `scope = "host"` belongs to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketFamily(scopes.Words):
    """``families``: bluetooth, can."""

    KIND: ClassVar[str] = KIND
    KEY: ClassVar[str] = "families"
    KNOWN: ClassVar[tuple[str, ...]] = ("bluetooth", "can")

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.NORMAL

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        shown = {"bluetooth": text.said("Bluetooth devices"), "can": text.said("a CAN bus")}
        return model.Phrase(
            title=scopes.listed(self.words),
            allows=text.said("It can talk to {what}.", what=scopes.listed(tuple(shown[word] for word in self.words))),
            notes=(text.said("Without the host's network it means nothing."),),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        return tuple(sandbox.Allow(feature=word, because=because) for word in self.words)
