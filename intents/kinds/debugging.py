"""Kind ``debugging``: tracing of its own processes (SPEC §5.6)."""

from dataclasses import dataclass
from typing import ClassVar

from intents import facts, model, sandbox, scopes, text

KIND = "debugging"
DOC = """Trace and profile its own processes: ptrace, perf_event_open, personality. For development tools."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Debugging(scopes.Whole):
    """It has no keys."""

    KIND: ClassVar[str] = KIND

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.NORMAL

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        return model.Phrase(
            title=text.said("debugging"),
            allows=text.said("It can look into and steer its own processes; none outside the sandbox."),
            notes=(text.said("More of the kernel is within its reach, and with it more flaws."),),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        return (sandbox.Allow(feature=KIND, because=because),)
