"""Kind ``multiarch``: 32-bit programs on a 64-bit machine (SPEC §5.6)."""

from collections.abc import Mapping
from dataclasses import dataclass

from intents import facts, keys, model, sandbox, text

KIND = "multiarch"
DOC = """Run 32-bit programs (i386 on x86-64, arm on arm64). Their system calls are refused exactly as those of 64-bit
programs are. `scope = "programs"` leaves it at that: they open no sockets where their C library still asks for them
through socketcall(2), as glibc does on i386. `scope = "sockets"` lets them, and then of every family, because the
filter cannot see which one is asked for. Without this kind a 32-bit program is ended at its first call."""

SCOPES = ("programs", "sockets")


@dataclass(frozen=True, slots=True, kw_only=True)
class Multiarch:
    """``scope``: programs < sockets."""

    scope: str

    @classmethod
    def read(cls, table: Mapping[str, object]) -> "Multiarch":
        """The scope keys of the intent's table. Raises ManifestError."""
        keys.only(table, ("scope",), KIND)
        return cls(scope=keys.choice(table, "scope", SCOPES, KIND))

    @property
    def kind(self) -> str:
        return KIND

    def data(self) -> Mapping[str, object]:
        return {"scope": self.scope}

    def covers(self, other: model.Scope) -> bool:
        return isinstance(other, Multiarch) and SCOPES.index(other.scope) <= SCOPES.index(self.scope)

    def meet(self, other: model.Scope) -> model.Scope | None:
        return Multiarch(scope=min(self.scope, other.scope, key=SCOPES.index)) if isinstance(other, Multiarch) else None

    def parts(self) -> tuple[model.Scope, ...]:
        return (self,)

    def narrower(self) -> tuple[model.Scope, ...]:
        return tuple(Multiarch(scope=less) for less in reversed(SCOPES[: SCOPES.index(self.scope)]))

    def needs(self) -> tuple[facts.Need, ...]:
        return ()

    def objects(self) -> tuple[str, ...]:
        return ()

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.NORMAL if self.scope == "programs" else model.Risk.HIGH

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        second = text.said("The kernel keeps a second set of system calls for them, in which errors are found later.")
        if self.scope == "programs":
            return model.Phrase(
                title=text.said("32-bit programs"), allows=text.said("It can run 32-bit programs."), notes=(second,)
            )
        return model.Phrase(
            title=text.said("32-bit programs (sockets)"),
            allows=text.said("It can run 32-bit programs, which can open sockets."),
            notes=(second, text.said("These sockets can be of any family: the filter cannot tell them apart.")),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        features = (KIND,) if self.scope == "programs" else (KIND, "socketcall")
        return tuple(sandbox.Allow(feature=feature, because=because) for feature in features)
