"""Kind ``tray``: an icon in the tray (SPEC §5.6)."""

from dataclasses import dataclass
from typing import ClassVar

from intents import facts, model, reach, sandbox, scopes, text

KIND = "tray"
DOC = """Show an icon in the tray (StatusNotifierItem), registered by the app's own connection."""

RULES = (
    ("call", "org.kde.StatusNotifierWatcher=org.kde.StatusNotifierWatcher.*@/StatusNotifierWatcher"),
    ("call", "org.kde.StatusNotifierWatcher=org.freedesktop.DBus.Properties.*@/StatusNotifierWatcher"),
    ("broadcast", "org.kde.StatusNotifierWatcher=org.kde.StatusNotifierWatcher.*@/StatusNotifierWatcher"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tray(scopes.Whole):
    """It has no keys."""

    KIND: ClassVar[str] = KIND

    def needs(self) -> tuple[facts.Need, ...]:
        return (facts.Need(what="bus", name="session"),)

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.LOW

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        return model.Phrase(
            title=text.said("tray icon"),
            allows=text.said("It can show an icon with a menu in the tray."),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """The filter's rules. Raises HostError ``no-bus`` or ``proxy-missing``."""
        return reach.bus_ops(host, "session", RULES, because)
