"""Kind ``usb``: raw USB devices (SPEC §5.6)."""

from dataclasses import dataclass
from typing import ClassVar

from intents import facts, model, reach, sandbox, scopes, text

KIND = "usb"
DOC = """Talk to USB devices directly. Not run on real hardware yet."""

PATTERNS = ("/dev/bus/usb",)
SYS = ("/sys/bus/usb", "/sys/devices")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usb(scopes.Whole):
    """It has no keys."""

    KIND: ClassVar[str] = KIND

    def needs(self) -> tuple[facts.Need, ...]:
        return (
            *(facts.Need(what="nodes", name=pattern) for pattern in PATTERNS),
            *(facts.Need(what="path", name=place) for place in SYS),
        )

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.CRITICAL

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        return model.Phrase(
            title=text.said("all USB devices"),
            allows=text.said(
                "It can read and control every USB device you may use: disks, security keys, phones, keyboards."
            ),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """The nodes, and what tells of them. Raises HostError ``no-device``."""
        return reach.device_ops(host, PATTERNS, SYS, because, "this machine has no USB devices")
