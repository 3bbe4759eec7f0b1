"""What ``[app] files`` asks for, as a scope: no manifest can write it as an intent (SPEC §9.7)."""

from collections.abc import Mapping
from dataclasses import dataclass

from intents import facts, keys, model, sandbox, text

KIND = "named-files"
ACCESS = ("read", "write")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFiles:
    """``access`` to files that the user names at a start: read < write."""

    access: str

    @classmethod
    def read(cls, table: Mapping[str, object]) -> "NamedFiles":
        """What ``data`` gave. Raises ManifestError."""
        keys.only(table, ("access",), KIND)
        return cls(access=keys.choice(table, "access", ACCESS, KIND))

    @property
    def kind(self) -> str:
        return KIND

    def data(self) -> Mapping[str, object]:
        return {"access": self.access}

    def covers(self, other: model.Scope) -> bool:
        return isinstance(other, NamedFiles) and ACCESS.index(other.access) <= ACCESS.index(self.access)

    def meet(self, other: model.Scope) -> model.Scope | None:
        if not isinstance(other, NamedFiles):
            return None
        return NamedFiles(access=min(self.access, other.access, key=ACCESS.index))

    def parts(self) -> tuple[model.Scope, ...]:
        return (self,)

    def narrower(self) -> tuple[model.Scope, ...]:
        return (NamedFiles(access="read"),) if self.access == "write" else ()

    def needs(self) -> tuple[facts.Need, ...]:
        return ()

    def objects(self) -> tuple[str, ...]:
        return ()

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.NORMAL

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        if self.access == "read":
            allows = text.said("It can read the files that you name when you start it, each time anew.")
        else:
            allows = text.said("It can read and change the files that you name when you start it, each time anew.")
        return model.Phrase(title=text.said("files you name"), allows=allows)

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        return ()
