"""Kind ``accessibility``: be read and operated by screen readers and other assistive technology (SPEC §5.6)."""

from dataclasses import dataclass
from typing import ClassVar

from intents import facts, model, reach, sandbox, scopes, text

KIND = "accessibility"
DOC = """Let screen readers and other assistive technology read and operate the app's windows, through the accessibility
bus (AT-SPI). The app can register itself there and answer; it cannot look at other programs, nor listen to keys."""

BUS = "a11y"
REGISTRY = "org.a11y.atspi.Registry"
# What a toolkit asks of the registry (at-spi2-core, xml/); whatever reads or works other programs is not among it.
_CALLS = (
    "org.a11y.atspi.Socket.Embed@/org/a11y/atspi/accessible/root",
    "org.a11y.atspi.Socket.Unembed@/org/a11y/atspi/accessible/root",
    "org.a11y.atspi.Registry.GetRegisteredEvents@/org/a11y/atspi/registry",
    "org.a11y.atspi.DeviceEventController.GetKeystrokeListeners@/org/a11y/atspi/registry/deviceeventcontroller",
    "org.a11y.atspi.DeviceEventController.GetDeviceEventListeners@/org/a11y/atspi/registry/deviceeventcontroller",
    "org.a11y.atspi.DeviceEventController.NotifyListenersSync@/org/a11y/atspi/registry/deviceeventcontroller",
    "org.a11y.atspi.DeviceEventController.NotifyListenersAsync@/org/a11y/atspi/registry/deviceeventcontroller",
)
_SIGNALS = (
    "org.a11y.atspi.Registry.EventListenerRegistered@/org/a11y/atspi/registry",
    "org.a11y.atspi.Registry.EventListenerDeregistered@/org/a11y/atspi/registry",
)
RULES = (
    *(("call", f"{REGISTRY}={call}") for call in _CALLS),
    *(("broadcast", f"{REGISTRY}={signal}") for signal in _SIGNALS),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accessibility(scopes.Whole):
    """It has no keys."""

    KIND: ClassVar[str] = KIND

    def needs(self) -> tuple[facts.Need, ...]:
        return (facts.Need(what="bus", name=BUS),)

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.NORMAL

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        return model.Phrase(
            title=text.said("screen readers"),
            allows=text.said(
                "Screen readers can read and operate its windows; it cannot look at other programs' windows."
            ),
            notes=(text.said("It tells them which keys are pressed in its windows, and could make some up."),),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """The filter's rules. Raises HostError ``no-bus`` or ``proxy-missing``."""
        return reach.bus_ops(host, BUS, RULES, because)
