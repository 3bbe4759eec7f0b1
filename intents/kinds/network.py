"""Kind ``network``: the host's own network, which is the whole of it (SPEC §5.1)."""

from collections.abc import Mapping
from dataclasses import dataclass

from intents import facts, keys, model, sandbox, text

KIND = "network"
DOC = """Reach other machines. `scope = "host"` shares the host's own network: every server, the local network,
and every service of this machine that listens on a network address. Nothing narrower exists yet, so the key must be
written. Without this intent the app has a network of its own with nobody else in it."""

# Landlock ABI 6 (Linux 6.12) can close abstract sockets, which the network namespace would otherwise have closed.
LANDLOCK_SCOPES = 6
X11_ABSTRACT = "@/tmp/.X11-unix/X"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """``scope`` is ``host``."""

    scope: str

    @classmethod
    def read(cls, table: Mapping[str, object]) -> "Network":
        """The scope keys of the intent's table. Raises ManifestError."""
        keys.only(table, ("scope",), KIND)
        return cls(scope=keys.choice(table, "scope", ("host",), KIND))

    @property
    def kind(self) -> str:
        return KIND

    def data(self) -> Mapping[str, object]:
        return {"scope": self.scope}

    def covers(self, other: model.Scope) -> bool:
        return isinstance(other, Network)

    def meet(self, other: model.Scope) -> model.Scope | None:
        return self if isinstance(other, Network) else None

    def parts(self) -> tuple[model.Scope, ...]:
        return (self,)

    def narrower(self) -> tuple[model.Scope, ...]:
        return ()

    def needs(self) -> tuple[facts.Need, ...]:
        return ()

    def objects(self) -> tuple[str, ...]:
        return ()

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.CRITICAL if _display_reachable(host) else model.Risk.HIGH

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        notes = [
            text.said("This includes programs of this machine that wait for connections, such as a local database.")
        ]
        if _display_reachable(host):
            notes.append(
                text.said("This kernel cannot close X11's abstract socket: the app could read your screen and keys.")
            )
        elif host.landlock < LANDLOCK_SCOPES and host.abstract_sockets:
            notes.append(
                text.said("This kernel cannot close abstract sockets: the app can reach those of your other programs.")
            )
        return model.Phrase(
            title=text.said("whole network"),
            allows=text.said("It can contact any server, your local network and this machine's own services."),
            notes=tuple(notes),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        return (sandbox.Share(namespace="network", because=because),)


def _display_reachable(host: facts.HostFacts) -> bool:
    open_display = any(name.startswith(X11_ABSTRACT) for name in host.abstract_sockets)
    return open_display and host.landlock < LANDLOCK_SCOPES
