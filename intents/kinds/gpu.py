"""Kind ``gpu``: the graphics processor (SPEC §5.6)."""

from dataclasses import dataclass
from typing import ClassVar

from intents import facts, model, reach, sandbox, scopes, text

KIND = "gpu"
DOC = """Draw with the graphics processor: its render nodes, not the nodes that set the screen.
Not run on real hardware yet."""

PATTERNS = ("/dev/dri/renderD*", "/dev/nvidia*", "/dev/udmabuf", "/dev/mali*", "/dev/kfd")
SYS = ("/sys/dev/char", "/sys/devices")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu(scopes.Whole):
    """It has no keys."""

    KIND: ClassVar[str] = KIND

    def needs(self) -> tuple[facts.Need, ...]:
        return (
            *(facts.Need(what="nodes", name=pattern) for pattern in PATTERNS),
            *(facts.Need(what="path", name=place) for place in SYS),
        )

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.NORMAL

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        return model.Phrase(
            title=text.said("graphics processor"),
            allows=text.said("It can use the graphics processor, and see which devices this machine has."),
            notes=(text.said("Graphics drivers are large and part of the kernel: a flaw in one is a way out."),),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """The nodes, and what tells of them. Raises HostError ``no-device``."""
        return reach.device_ops(host, PATTERNS, SYS, because, "this machine has no graphics processor that can be used")
