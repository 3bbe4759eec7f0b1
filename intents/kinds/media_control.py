"""Kind ``media-control``: be a player that the desktop's media keys control (SPEC §5.6)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from intents import errors, facts, keys, model, paths, reach, sandbox, text

KIND = "media-control"
DOC = """Offer itself to media keys and players' remote controls as `org.mpris.MediaPlayer2.NAME`: `player = "NAME"`,
the name under which the program itself appears. It gives no control over other players."""

PREFIX = "org.mpris.MediaPlayer2."
_PLAYER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}(\.[A-Za-z_][A-Za-z0-9_-]{0,63}){0,8}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaControl:
    """``player``: what follows the prefix in the name on the bus."""

    player: str

    @classmethod
    def read(cls, table: Mapping[str, object]) -> "MediaControl":
        """The scope keys of the intent's table. Raises ManifestError."""
        keys.only(table, ("player",), KIND)
        player = keys.string(table, "player", KIND)
        if not _PLAYER.fullmatch(player) or len(player) > 200:
            raise errors.ManifestError("bad-value", f"`{paths.printable(player[:80])}` is not the name of a player")
        return cls(player=player)

    @property
    def kind(self) -> str:
        return KIND

    def data(self) -> Mapping[str, object]:
        return {"player": self.player}

    def covers(self, other: model.Scope) -> bool:
        return isinstance(other, MediaControl) and (
            other.player == self.player or other.player.startswith(f"{self.player}.")
        )

    def meet(self, other: model.Scope) -> model.Scope | None:
        if self.covers(other):
            return other
        return self if other.covers(self) else None

    def parts(self) -> tuple[model.Scope, ...]:
        return (self,)

    def narrower(self) -> tuple[model.Scope, ...]:
        return ()

    def needs(self) -> tuple[facts.Need, ...]:
        return (facts.Need(what="bus", name="session"),)

    def objects(self) -> tuple[str, ...]:
        return ()

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.LOW

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        return model.Phrase(
            title=text.said("media keys"),
            allows=text.said("Media keys and widgets can control it; they know it as {name}.", name=self.player),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """The name and what is below it, as players with several windows own. Raises HostError, RefusedError."""
        return reach.bus_ops(host, "session", (("own", f"{PREFIX}{self.player}.*"),), because)
