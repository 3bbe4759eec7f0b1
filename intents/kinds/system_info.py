"""Kind ``system-info``: what the kernel tells about the hardware (SPEC §5.6)."""

from dataclasses import dataclass
from typing import ClassVar

from intents import facts, model, reach, sandbox, scopes, text

KIND = "system-info"
DOC = """Read what the kernel tells about this machine's hardware below /sys."""

SYS = ("/sys/block", "/sys/bus", "/sys/class", "/sys/dev", "/sys/devices")


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemInfo(scopes.Whole):
    """It has no keys."""

    KIND: ClassVar[str] = KIND

    def needs(self) -> tuple[facts.Need, ...]:
        return tuple(facts.Need(what="path", name=place) for place in SYS)

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.NORMAL

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        return model.Phrase(
            title=text.said("hardware details"),
            allows=text.said(
                "It can read which hardware this machine has, with serial numbers that tell it from others."
            ),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        return reach.shown(host, SYS, because)
