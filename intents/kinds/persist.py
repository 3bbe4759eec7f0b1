"""Kind ``persist``: directories in the home that are the app's own and outlive it (SPEC §5.6)."""

from dataclasses import dataclass
from typing import ClassVar

from intents import errors, facts, model, paths, sandbox, scopes, text

KIND = "persist"
DOC = """Keep directories of its own directly in the home, for programs that put their files there: `names = ["games",
".mozilla"]`. They are stored with the app's own files and never hold anything of yours; `.config`, `.local` and
`.cache` are kept without asking. No other intent may ask for the same place, as only one of the two can be seen."""

# What a home in a sandbox has already, and where grants among the app's own directories appear.
TAKEN = (".config", ".local", ".cache", ".granted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Persist(scopes.Words):
    """``names``: names of directories directly below the home."""

    KIND: ClassVar[str] = KIND
    KEY: ClassVar[str] = "names"

    @classmethod
    def check(cls, word: str) -> None:
        shown = paths.printable(word[:80])
        try:
            place = paths.parse_place(f"home/{word}")
        except errors.ManifestError as error:
            raise errors.ManifestError("bad-value", f"`{shown}` is not the name of a directory") from error
        if len(place.parts) != 1:
            raise errors.ManifestError("bad-value", f"`{shown}` is not one name: ask for what is directly in the home")
        if word in TAKEN:
            raise errors.ManifestError("bad-value", f"`{shown}` cannot be kept: every app has its own already")

    def clash(self, place: paths.Place) -> str:
        """Which of the names lies at a place that a manifest writes, or above or below it; empty for none."""
        if place.root != "home":
            return ""
        return next((word for word in self.words if not place.parts or place.parts[0] == word), "")

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.LOW

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        shown = scopes.listed(tuple(f"~/{paths.printable(word)}" for word in self.words))
        title = shown if len(self.words) == 1 and len(shown) <= 24 else text.said("own directories")
        allows = text.said(
            "It keeps files of its own in {names}; what you have there stays out of its sight.", names=shown
        )
        return model.Phrase(title=title, allows=allows)

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        home = host.account.home
        return tuple(sandbox.Persist(name=word, dest=f"{home}/{word}", because=because) for word in self.words)
