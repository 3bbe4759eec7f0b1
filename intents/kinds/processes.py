"""Kind ``processes``: the other processes of the machine (SPEC §5.6)."""

from dataclasses import dataclass
from typing import ClassVar

from intents import facts, model, sandbox, scopes, text

KIND = "processes"
DOC = """See the other processes of this machine, as a system monitor does. Without it an app sees only its own."""

LANDLOCK_SCOPES = 6  # the Landlock ABI that closes signals to the outside (landlock(7))
_ENDING = (text.said("This kernel cannot keep it from ending your other programs."),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes(scopes.Whole):
    """It has no keys."""

    KIND: ClassVar[str] = KIND

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.HIGH

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        return model.Phrase(
            title=text.said("other processes"),
            allows=text.said("It can see every program that runs here, with the words it was started with."),
            notes=_ENDING if host.landlock < LANDLOCK_SCOPES else (),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        return (sandbox.Share(namespace="processes", because=because),)
