"""Kind ``camera``: cameras (SPEC §5.6)."""

from dataclasses import dataclass
from typing import ClassVar

from intents import facts, model, reach, sandbox, scopes, text

KIND = "camera"
DOC = """Use cameras directly. Not run on real hardware yet."""

PATTERNS = ("/dev/video*", "/dev/media*")
SYS = ("/sys/class/video4linux", "/sys/devices")


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera(scopes.Whole):
    """It has no keys."""

    KIND: ClassVar[str] = KIND

    def needs(self) -> tuple[facts.Need, ...]:
        return (
            *(facts.Need(what="nodes", name=pattern) for pattern in PATTERNS),
            *(facts.Need(what="path", name=place) for place in SYS),
        )

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.HIGH

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        return model.Phrase(
            title=text.said("camera"),
            allows=text.said("It can see through every camera of this machine whenever it runs."),
            notes=(text.said("Nothing but the camera's own light tells when it does."),),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """The nodes, and what tells of them. Raises HostError ``no-device``."""
        return reach.device_ops(host, PATTERNS, SYS, because, "this machine has no camera that can be used")
