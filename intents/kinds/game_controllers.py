"""Kind ``input``: game controllers (SPEC §5.6)."""

from dataclasses import dataclass
from typing import ClassVar

from intents import facts, model, reach, sandbox, scopes, text

KIND = "input"
DOC = """Read game controllers; keyboards and mice are not among them. Not run on real hardware yet."""

PATTERNS = ("/dev/input/js*", "/dev/input/by-id/*-event-joystick", "/dev/input/by-path/*-event-joystick")
SYS = ("/sys/class/input", "/sys/devices")


@dataclass(frozen=True, slots=True, kw_only=True)
class GameControllers(scopes.Whole):
    """It has no keys."""

    KIND: ClassVar[str] = KIND

    def needs(self) -> tuple[facts.Need, ...]:
        return (
            *(facts.Need(what="nodes", name=pattern) for pattern in PATTERNS),
            *(facts.Need(what="path", name=place) for place in SYS),
        )

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.LOW

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        return model.Phrase(
            title=text.said("game controllers"),
            allows=text.said("It can read game controllers that are plugged in when it starts."),
            notes=(text.said("One that is plugged in later is seen at the next start."),),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """The nodes, and what tells of them. Raises HostError ``no-device``."""
        return reach.device_ops(host, PATTERNS, SYS, because, "no game controller is plugged in")
