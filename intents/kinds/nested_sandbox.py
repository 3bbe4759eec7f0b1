"""Kind ``nested-sandbox``: sandboxes inside the sandbox (SPEC §5.6)."""

from dataclasses import dataclass
from typing import ClassVar

from intents import facts, model, sandbox, scopes, text

KIND = "nested-sandbox"
DOC = """Make sandboxes of its own inside this one, as browsers do for each page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedSandbox(scopes.Whole):
    """It has no keys."""

    KIND: ClassVar[str] = KIND

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.HIGH

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        return model.Phrase(
            title=text.said("sandboxes of its own"),
            allows=text.said("It can make user namespaces inside its sandbox, as browsers do to wall off pages."),
            notes=(text.said("This opens parts of the kernel in which ways out were found before."),),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        return (sandbox.Allow(feature=KIND, because=because),)
