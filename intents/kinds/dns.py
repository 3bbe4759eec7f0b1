"""Kind ``dns``: turning names into addresses (SPEC §5.2)."""

from collections.abc import Mapping
from dataclasses import dataclass

from intents import facts, keys, model, resolving, sandbox, text

KIND = "dns"
DOC = """Find the address of a server by its name. `scope = "granted"` is the names of the servers that the app may
connect to, and comes with them. `scope = "any"` is every name: through a resolver of the sandbox's own that asks the
host's, or, with the host's network, by the host's own configuration. It is of no use without a `network` intent:
without one, nothing is added to the sandbox."""

GRANTED, ANY = SCOPES = ("granted", "any")
FILES = (*resolving.OWN, *resolving.TABLES)
CERTIFICATES = resolving.CERTIFICATES


@dataclass(frozen=True, slots=True, kw_only=True)
class Dns:
    """``scope``: granted (the names that may be connected to) < any."""

    scope: str

    @classmethod
    def read(cls, table: Mapping[str, object]) -> "Dns":
        """The scope keys of the intent's table. Raises ManifestError."""
        keys.only(table, ("scope",), KIND)
        return cls(scope=keys.choice(table, "scope", SCOPES, KIND))

    @property
    def kind(self) -> str:
        return KIND

    def data(self) -> Mapping[str, object]:
        return {"scope": self.scope}

    def covers(self, other: model.Scope) -> bool:
        return isinstance(other, Dns) and SCOPES.index(other.scope) <= SCOPES.index(self.scope)

    def meet(self, other: model.Scope) -> model.Scope | None:
        return Dns(scope=min(self.scope, other.scope, key=SCOPES.index)) if isinstance(other, Dns) else None

    def parts(self) -> tuple[model.Scope, ...]:
        return (self,)

    def narrower(self) -> tuple[model.Scope, ...]:
        return ()

    def needs(self) -> tuple[facts.Need, ...]:
        return ()

    def objects(self) -> tuple[str, ...]:
        return ()

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.LOW

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        nothing = text.said("Without the network it means nothing, and nothing is given.")
        if self.scope == GRANTED:
            return model.Phrase(
                title=text.said("names of its servers"),
                allows=text.said("It can look up the addresses of the servers that it may contact, and no others."),
                notes=(nothing, text.said("It comes with them in any case.")),
            )
        return model.Phrase(
            title=text.said("server names (DNS)"),
            allows=text.said(
                "It can look up any server's address through your resolver. What it asks can carry data out."
            ),
            notes=(
                nothing,
                text.said("With the whole network it sees your resolver's configuration as well."),
                text.said("With the whole network a refusal is not enforced: a program can ask a name server itself."),
            ),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """Both ways of it, of which the compiler keeps the one that fits the network, or none."""
        if self.scope == GRANTED:
            return ()
        return (
            sandbox.NetworkRule(verb="resolve", rule=ANY, because=because),
            *resolving.shown(host, (*FILES, *CERTIFICATES), because),
            sandbox.File(dest="/etc/nsswitch.conf", content=resolving.NSSWITCH, because=because),
        )
