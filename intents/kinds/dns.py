"""Kind ``dns``: turning names into addresses (SPEC §5.2)."""

from collections.abc import Mapping
from dataclasses import dataclass

from intents import facts, keys, model, sandbox, text

KIND = "dns"
DOC = """Find the address of a server by its name. `scope = "any"` shows the app the host's resolver configuration,
its table of host names, and the certificates that prove who a server is. It is of no use without a `network` intent:
without one, nothing is added to the sandbox."""

FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/gai.conf", "/etc/services", "/etc/protocols")
CERTIFICATES = ("/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/ca-certificates", "/etc/pki", "/etc/crypto-policies")
# Only files and the resolver itself: nss modules such as `resolve` or `mdns` would talk to host daemons.
NSSWITCH = b"passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dns:
    """``scope`` is ``any``: any name, through the host's own resolver."""

    scope: str

    @classmethod
    def read(cls, table: Mapping[str, object]) -> "Dns":
        """The scope keys of the intent's table. Raises ManifestError."""
        keys.only(table, ("scope",), KIND)
        return cls(scope=keys.choice(table, "scope", ("any",), KIND))

    @property
    def kind(self) -> str:
        return KIND

    def data(self) -> Mapping[str, object]:
        return {"scope": self.scope}

    def covers(self, other: model.Scope) -> bool:
        return isinstance(other, Dns)

    def meet(self, other: model.Scope) -> model.Scope | None:
        return self if isinstance(other, Dns) else None

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
        return model.Phrase(
            title=text.said("server names (DNS)"),
            allows=text.said(
                "It can look up any server's address through your resolver, and sees your resolver's configuration."
            ),
            notes=(
                text.said("Without the network it means nothing, and nothing is given."),
                text.said("With the whole network a refusal is not enforced: a program can ask a name server itself."),
            ),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """The resolver's files; the compiler drops them when no network is granted."""
        shown = [
            sandbox.Bind(source=entry.path, dest=entry.path, held=False, because=because)
            for entry in host.etc
            if entry.path in (*FILES, *CERTIFICATES) and not host.leads_nowhere(entry)
        ]
        return (*shown, sandbox.File(dest="/etc/nsswitch.conf", content=NSSWITCH, because=because))
