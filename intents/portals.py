"""The shape of a kind that is one portal of the desktop: the user is asked outside, for one thing (SPEC §5.7).

A portal is a method or two of a service that shows its own dialog and gives back what was picked. Never all portals at
once: some of them are ways out of the sandbox, some need no dialog.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from intents import errors, facts, keys, model, reach, sandbox

SERVICE, OBJECT = "org.freedesktop.portal.Desktop", "/org/freedesktop/portal/desktop"
IDENTITY_FILE = "/.flatpak-info"  # where portals and toolkits look for it
# With every portal: to take back what was asked for, and to read which version a portal is.
_ALWAYS = (
    ("call", f"{SERVICE}=org.freedesktop.portal.Request.Close@{OBJECT}/request/*"),
    ("call", f"{SERVICE}=org.freedesktop.portal.Session.Close@{OBJECT}/session/*"),
    ("call", f"{SERVICE}=org.freedesktop.DBus.Properties.Get@{OBJECT}"),
    ("call", f"{SERVICE}=org.freedesktop.DBus.Properties.GetAll@{OBJECT}"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Portal:
    """One such kind; it has no keys, so this is its only scope as well.

    interfaces: below ``org.freedesktop.portal``, each with its methods; hears: signals that go to everybody.
    """

    kind: str
    doc: str
    title: str
    allows: str
    level: model.Risk
    interfaces: tuple[tuple[str, tuple[str, ...]], ...]
    hears: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def read(self, table: Mapping[str, object]) -> model.Scope:
        """The scope keys of the intent's table: there are none. Raises ManifestError ``unknown-key``."""
        keys.only(table, (), self.kind)
        return self

    def data(self) -> Mapping[str, object]:
        return {}

    def covers(self, other: model.Scope) -> bool:
        return other.kind == self.kind

    def meet(self, other: model.Scope) -> model.Scope | None:
        return self if self.covers(other) else None

    def parts(self) -> tuple[model.Scope, ...]:
        return (self,)

    def narrower(self) -> tuple[model.Scope, ...]:
        return ()

    def needs(self) -> tuple[facts.Need, ...]:
        return (facts.Need(what="bus", name="session"),)

    def objects(self) -> tuple[str, ...]:
        return ()

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return self.level

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        return model.Phrase(title=self.title, allows=self.allows, notes=self.notes)

    def rules(self) -> tuple[tuple[str, str], ...]:
        """(verb, operand) of the bus filter's rules that are this kind's own."""
        lead = "org.freedesktop.portal"
        called = (f"{lead}.{name}.{method}" for name, methods in self.interfaces for method in methods)
        return (
            *(("call", f"{SERVICE}={method}@{OBJECT}") for method in called),
            *(("broadcast", f"{SERVICE}={signal}@{OBJECT}") for signal in self.hears),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """The filter's rules, and the file by which portals recognise the app.

        Raises HostError ``no-bus``, ``proxy-missing``, and ``no-service`` where no portal answers.
        """
        given = reach.bus_ops(host, "session", (*_ALWAYS, *self.rules()), because)
        bus = host.bus("session")
        if bus is None or not host.runtime_dir or SERVICE not in (*bus.activatable, *bus.owned):
            raise errors.HostError("no-service", "no desktop portal (xdg-desktop-portal) answers here")
        return (*given, sandbox.LaunchFile(name=sandbox.IDENTITY, dest=IDENTITY_FILE, because=because))
