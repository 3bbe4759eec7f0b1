"""One app as it stands now: its manifest read and verified once, the host looked at once (SPEC §2)."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from broker import catalog, displays, guards, host, journal, objects, plans, state
from broker import policy as policies
from intents import diff, errors, facts, model, parse, paths, rules, sign, trust
from intents.kinds import path, settings


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """What loading gave. ``guards`` cover all that was consulted, so that a plan knows when it is over."""

    places: state.Places
    found: catalog.Found
    manifest: model.Manifest
    key: sign.PublicKey | None
    host: facts.HostFacts
    guards: tuple[guards.Guard, ...]
    unsigned: bool
    also: tuple[str, ...] = ()  # places beside those of the intents, that are or may be given instead
    policy: policies.Policy = policies.NONE
    wanted: str = ""  # what the user says for this start about files named there
    files: str = ""  # what the manifest says of them

    @property
    def objects(self) -> dict[str, str]:
        """The canonical path now of each place looked at, and the identity of its directory (``diff.diff``)."""
        known = dict(self.host.directories)
        scopes = [intent.scope for intent in self.manifest.intents]
        named = {paths.parse_place(text) for scope in scopes for text in scope.objects()}
        named |= set(map(paths.parse_place, self.also))
        resolved = {place.text: self.host.path(place.resolve(known) or "") for place in named}
        found = {text: fact for text, fact in resolved.items() if fact is not None}
        identities = {model.identity(text): fact.identity for text, fact in found.items() if fact.identity}
        return {text: fact.real for text, fact in found.items()} | identities

    def vet(self, book: journal.Journal) -> model.Vetted:
        """Settle the publisher against what the journal remembers. Raises SignatureError."""
        vouched = self.found.vouched and not self.unsigned
        pin = book.pin(self.manifest.app.id)
        try:
            return trust.vet(self.manifest, self.key, vouched=vouched, pin=pin, allow_unsigned=self.unsigned)
        except errors.SignatureError as error:
            error.subject = error.subject or self.found.path
            raise

    def seeing(self, scopes: Iterable[model.Scope]) -> "App":
        """The same, with the places looked at that these scopes name and no intent does."""
        known = {place for intent in self.manifest.intents for place in intent.scope.objects()}
        more = sorted({place for scope in scopes for place in scope.objects()} - known - set(self.also))
        if not more:
            return self
        watch, directories = guards.Watch({}), dict(self.host.directories)
        wanted = {paths.parse_place(place).resolve(directories) for place in more}
        found = [objects.path(watch, each) for each in wanted if each and self.host.path(each) is None]
        seen = dataclasses.replace(self.host, paths=(*self.host.paths, *found))
        guarded = tuple(dict.fromkeys((*self.guards, *watch.taken.values())))
        return dataclasses.replace(self, also=(*self.also, *more), host=seen, guards=guarded)

    def recalling(self, book: journal.Journal) -> "App":
        """The same, with the places looked at that were given before. Raises SignatureError, JournalError."""
        stored = book.decisions(self.manifest.app.id, self.vet(book).lineage)
        return self.seeing(decision.granted for decision in stored if decision.granted is not None)

    def delta(self, book: journal.Journal, now: model.Clock, this_launch: Sequence[model.Decision] = ()) -> model.Delta:
        """The declared intents against the decisions of the journal. Raises SignatureError, JournalError."""
        vetted = self.vet(book)
        stored = book.decisions(self.manifest.app.id, vetted.lineage)
        found, pin = self.rules(vetted), book.pin(self.manifest.app.id)
        agreed = pin.files if pin is not None and pin.lineage == vetted.lineage else None
        if self.wanted:
            this_launch = (*this_launch, diff.said(self.wanted, model.Lifespan.ONCE))
        return diff.diff(vetted, stored, now, self.objects, this_launch=this_launch, policy=found, agreed=agreed)

    def supposed(self, vetted: model.Vetted, decisions: Sequence[model.Decision], now: model.Clock) -> model.Delta:
        """The declared intents as they would stand if these were the decisions."""
        return diff.diff(vetted, decisions, now, self.objects, policy=self.rules(vetted))

    def rules(self, vetted: model.Vetted) -> rules.Rules | None:
        """The administrator's rules about the app; None where there is no policy at all."""
        return rules.about(self.policy.rules, vetted, self.host) if self.policy.rules else None

    def lock(self, purpose: str) -> str:
        """The path of one of the app's locks: ``ask`` spans a handshake, ``state`` what reads or changes decisions."""
        return self.places.lock_file(purpose, self.manifest.app.id)

    def pin(self, vetted: model.Vetted, now: model.Clock) -> model.Pin:
        """The pin that agreeing to this publisher makes."""
        return model.Pin(
            app_id=self.manifest.app.id,
            lineage=vetted.lineage,
            fingerprint=vetted.fingerprint,
            serial=self.manifest.app.serial,
            digest=self.manifest.digest,
            since=now.wall,
            files=self.files,
        )


def load(name: str, environ: Mapping[str, str], *, typed: bool, unsigned: bool = False, files: str = "") -> App:
    """Find, read and verify what ``name`` means, and look at the host for it.

    typed: whether standard input is a terminal; unsigned: ``--unsigned``; files: ``--read`` or ``--write``,
    which count instead of what the manifest says of files on the command line. Raises PolicyError, CatalogError,
    ManifestError, SignatureError, HostError.
    """
    places = state.places(environ, os.geteuid())
    policy = policies.load(environ)
    listed = [guards.make("list", entry.directory, environ) for entry in catalog.catalogs(places)]
    candidates = catalog.find(name, places)
    choice = _choice_guards(candidates, environ) if len(candidates) > 1 else []
    found = catalog.choose(candidates, typed=typed, wayland=bool(displays.wayland_socket(environ)))
    manifest = parse.parse(found.body, file=found.path)
    catalog.check_id(found, manifest)
    own = manifest.app.files
    if files:
        manifest = dataclasses.replace(manifest, app=dataclasses.replace(manifest.app, files=files))
    key = _verify(found)
    looked = host.look(manifest, environ, places)
    # Without settings there is nothing to ask about them, and a home in memory has no place for them.
    kept = settings.present(manifest, looked.facts)
    kept = tuple(each for each in kept if not (unsigned and each.scope.kind == settings.KIND))
    manifest = dataclasses.replace(manifest, intents=kept)
    app = App(
        places=places,
        found=found,
        manifest=manifest,
        key=key,
        host=looked.facts,
        guards=(
            *(*policy.guards, *listed, *choice),
            *(*_found_guards(found, environ), *_program_guards(environ), *looked.guards),
        ),
        unsigned=unsigned,
        wanted=files,
        files=own,
        policy=policy,
    )
    return app.seeing(policy.places(manifest))


def _verify(found: catalog.Found) -> sign.PublicKey | None:
    if found.signature is None:
        return None
    try:
        return sign.verify(found.body, found.signature)
    except errors.SignatureError as error:
        error.subject = f"{found.path}.sig"
        raise


def _choice_guards(candidates: Sequence[catalog.Found], environ: Mapping[str, str]) -> list[guards.Guard]:
    """What an alias of several apps is decided by: what is installed, and whether there is a compositor."""
    programs = [catalog.manifest(candidate).app.command[0] for candidate in candidates]
    looked_at = [("file", program) for program in programs] + [("node", displays.compositor(environ))]
    variables = [("env", name) for name in ("WAYLAND_DISPLAY", "XDG_RUNTIME_DIR")]
    return [guards.make(kind, subject, environ) for kind, subject in (*variables, *looked_at)]


def _found_guards(found: catalog.Found, environ: Mapping[str, str]) -> list[guards.Guard]:
    """The manifest and its signature, which may be links; a file that comes to stand before them changes a listing."""
    return [guards.make("file", subject, environ) for subject in (found.path, f"{found.path}.sig")]


def _program_guards(environ: Mapping[str, str]) -> list[guards.Guard]:
    """intents itself: a plan made by other code is another plan."""
    ours, pure, kinds = (os.path.dirname(os.path.abspath(f)) for f in (plans.__file__, errors.__file__, path.__file__))
    found = [guards.make("code", ours, environ)]
    for directory in (ours, f"{ours}/companions", pure, kinds):
        files = sorted(name for name in os.listdir(directory) if name.endswith(".py"))
        found += [guards.make("file", f"{directory}/{name}", environ) for name in files]
    return [*found, guards.make("same", "/proc/sys/kernel/random/boot_id", environ)]
