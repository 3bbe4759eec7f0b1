"""Kind ``settings``: the settings that the user's own program has already, copied or in place (SPEC §5.8)."""

from collections.abc import Mapping
from dataclasses import dataclass

from intents import errors, facts, keys, model, paths, sandbox, scopes, text
from intents.kinds import path

KIND = "settings"
DOC = """Take over the settings that the program has outside the sandbox: `places = ["xdg-config/qalculate"]`, below
the base directories. It is asked only where something is there, and the user answers with nothing (the app starts
fresh), with a copy, made once, or with the settings themselves, which both then share. `how = "copy"` asks for no more
than the copy. It must be optional."""

COPY, USE = "copy", "use"
HOW = (COPY, USE)
MAX_PLACES = 16
MAX_BYTES = 256 << 20  # that are copied
MAX_FILES = 20_000
_OWN = {"xdg-config": "config", "xdg-data": "data", "xdg-state": "state", "xdg-cache": "cache"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Places, sorted, and what of them is given: copy < use."""

    places: tuple[paths.Place, ...]
    how: str

    @classmethod
    def read(cls, table: Mapping[str, object]) -> "Settings":
        """The scope keys of the intent's table. Raises ManifestError."""
        keys.only(table, ("places", "how"), KIND)
        named = [paths.parse_place(name) for name in keys.strings(table, "places")]
        if not named:
            raise errors.ManifestError("missing-key", f"kind `{KIND}` needs at least one place in `places`")
        if len(named) > MAX_PLACES:
            raise errors.ManifestError("bad-value", f"`places` must hold at most {MAX_PLACES} places")
        for place in named:
            if place.root not in _OWN:
                listed = scopes.listed(tuple(f"`{root}`" for root in _OWN))
                raise errors.ManifestError("bad-place", f"`{place.text}` does not lie below one of {listed}")
            if sum(other.contains(place) or place.contains(other) for other in named) > 1:
                raise errors.ManifestError("bad-value", f"`places` names `{place.text}` twice, or what lies in it")
        how = keys.choice(table, "how", HOW, KIND) if "how" in table else USE
        return cls(places=tuple(sorted(named, key=lambda place: place.text)), how=how)

    @property
    def kind(self) -> str:
        return KIND

    def data(self) -> Mapping[str, object]:
        return {"places": [place.text for place in self.places], "how": self.how}

    def covers(self, other: model.Scope) -> bool:
        if not isinstance(other, Settings) or HOW.index(other.how) > HOW.index(self.how):
            return False
        return all(any(mine.contains(place) for mine in self.places) for place in other.places)

    def meet(self, other: model.Scope) -> model.Scope | None:
        if not isinstance(other, Settings):
            return None
        pairs = [(mine, theirs) for mine in self.places for theirs in other.places]
        both = {(one if two.contains(one) else two) for one, two in pairs if one.contains(two) or two.contains(one)}
        how = min(self.how, other.how, key=HOW.index)
        return Settings(places=tuple(sorted(both, key=lambda place: place.text)), how=how) if both else None

    def parts(self) -> tuple[model.Scope, ...]:
        return (self,)

    def narrower(self) -> tuple[model.Scope, ...]:
        return (Settings(places=self.places, how=COPY),) if self.how == USE else ()

    def needs(self) -> tuple[facts.Need, ...]:
        return tuple(facts.Need(what="place", name=place.text) for place in self.places)

    def objects(self) -> tuple[str, ...]:
        """None for a copy: what was copied stays, whatever is at the place later."""
        return tuple(place.text for place in self.places) if self.how == USE else ()

    def clash(self, place: paths.Place) -> bool:
        """Whether another intent's place is one of these, or above or below it."""
        return any(mine.contains(place) or place.contains(mine) for mine in self.places)

    def found(self, host: facts.HostFacts) -> tuple[path.Path, ...]:
        """What is there on this host, as the scopes that giving it equals."""
        access = "write" if self.how == USE else "read"
        each = (path.Path(place=place, access=access) for place in self.places)
        return tuple(scope for scope in each if (fact := _fact(scope, host)) and fact.kind in ("dir", "file"))

    def holds(self, host: facts.HostFacts) -> bool:
        """Whether secrets are among them."""
        return any(scope.holds(host) for scope in self._given(host))

    def sources(self, host: facts.HostFacts) -> tuple[tuple[str, str], ...]:
        """What there is to copy: (canonical path, its place below the app's own directories)."""
        return tuple(
            (fact.real, own(scope.place))
            for scope in self.found(host)
            if (fact := _fact(scope, host)) is not None
        )

    def _given(self, host: facts.HostFacts) -> tuple[path.Path, ...]:
        access = "write" if self.how == USE else "read"
        return self.found(host) or tuple(path.Path(place=place, access=access) for place in self.places)

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return max(scope.risk(host) for scope in self._given(host))

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        given = self._given(host)
        shown = scopes.listed(tuple(scope.phrase(host).title for scope in given))
        if self.how == USE:
            notes = [note for scope in given for note in scope.phrase(host).notes]
            notes.append(text.said("Instead of it a copy can be given, or nothing: then it starts fresh."))
            return model.Phrase(
                title=text.said("your settings"),
                allows=text.said("It can read, change and delete your own settings in {places}.", places=shown),
                notes=tuple(dict.fromkeys(notes)),
            )
        beware = [text.said("Beware: {why}.", why=why) for scope in given if (why := scope.holds(host))]
        size = text.said("Up to {size} MiB are copied, before it starts, without links.", size=str(MAX_BYTES >> 20))
        return model.Phrase(
            title=text.said("a copy of your settings"),
            allows=text.said("It gets a copy of your settings in {places}; yours stay as they are.", places=shown),
            notes=(*dict.fromkeys(beware), size),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """In place, the binds of what is there; a copy needs none, but is refused where reading would be."""
        ops = tuple(op for scope in self.found(host) for op in scope.ops(host, because))
        return ops if self.how == USE else ()


def own(place: paths.Place) -> str:
    """Where a place appears among the app's own directories: ``config/qalculate``."""
    return "/".join((_OWN[place.root], *place.parts))


def present(manifest: model.Manifest, host: facts.HostFacts) -> tuple[model.Intent, ...]:
    """The manifest's intents without those about settings of which nothing is on this host."""
    return tuple(
        intent
        for intent in manifest.intents
        if not isinstance(intent.scope, Settings) or intent.scope.found(host)
    )


def _fact(scope: path.Path, host: facts.HostFacts) -> facts.PathFact | None:
    resolved = scope.place.resolve(dict(host.directories))
    return host.path(resolved) if resolved else None
