"""Kind ``notifications``: notifications (SPEC §5.6)."""

from dataclasses import dataclass
from typing import ClassVar

from intents import facts, model, portals, reach, sandbox, scopes, text

KIND = "notifications"
DOC = """Show notifications. Single methods of the notification service, not all that the program behind it offers."""

RULES = (
    ("call", "org.freedesktop.Notifications=org.freedesktop.Notifications.*@/org/freedesktop/Notifications"),
    ("broadcast", "org.freedesktop.Notifications=org.freedesktop.Notifications.*@/org/freedesktop/Notifications"),
)
# What toolkits use instead once they find that portals know the app.
PORTAL = f"{portals.SERVICE}=org.freedesktop.portal.Notification.*@{portals.OBJECT}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifications(scopes.Whole):
    """It has no keys."""

    KIND: ClassVar[str] = KIND

    def needs(self) -> tuple[facts.Need, ...]:
        return (facts.Need(what="bus", name="session"),)

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.LOW

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        return model.Phrase(
            title=text.said("notifications"),
            allows=text.said("It can show notifications, with any text in them."),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """The filter's rules. Raises HostError ``no-bus`` or ``proxy-missing``."""
        by_portal = sandbox.BusRule(bus="session", verb="call", rule=PORTAL, because=because, identified=True)
        return (*reach.bus_ops(host, "session", RULES, because), by_portal)
