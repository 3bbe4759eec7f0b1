"""What is known of an app when it is not started: its manifest as it stands, the journal, or only one of the two."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from broker import app as apps
from broker import catalog, journal, overrides, runs, state
from intents import diff, errors, model, parse, paths


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a command found or did: ``data`` for ``--json``, the same as ``lines`` for people; both may hold raw text of
    an app. negative: nothing failed, but the answer is no. more: what goes on, each with its JSON object and its line,
    or None when there is nothing new for now; then there are neither ``data`` nor ``lines``."""

    data: Mapping[str, object]
    lines: tuple[str, ...]
    negative: bool = False
    more: Iterator[tuple[Mapping[str, object], str] | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """Where and when a command runs. typed: whether standard input is a terminal, as for ``intent-run``."""

    environ: Mapping[str, str]
    places: state.Places
    now: model.Clock
    typed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One app. app: None without a manifest that can be read; delta: None unless its publisher counts; trouble: why;
    lineage: whose decisions are meant; live: those of its decisions that hold, newest first."""

    app_id: str
    lineage: str
    app: apps.App | None
    delta: model.Delta | None
    trouble: errors.IntentError | None
    live: tuple[model.Decision, ...]

    def settled(self) -> tuple[apps.App, model.Delta]:
        """The app and its intents against the decisions. Raises the trouble there is."""
        if self.app is None or self.delta is None:
            assert self.trouble is not None
            raise self.trouble
        return self.app, self.delta

    def intent(self, name: str) -> model.Intent:
        """A declared intent. Raises DecisionError ``unknown-intent``, or the trouble there is."""
        app, _ = self.settled()
        intents = diff.declared(app.manifest)
        found = next((intent for intent in intents if intent.id == name), None)
        if found is None:
            raise unknown_intent(self, name, [intent.id for intent in intents])
        return found


def here(environ: Mapping[str, str], *, typed: bool) -> Here:
    """The places of this user, made where they are missing, and this moment. Raises HostError."""
    places = state.places(environ, os.geteuid())
    state.ensure(places)
    return Here(environ=environ, places=places, now=state.clock(places), typed=typed)


def ids(at: Here, book: journal.Journal, name: str) -> tuple[str, ...]:
    """The app ids that ``name``, an id, an alias or a file, may mean; of several, those installed go first.

    Raises DecisionError ``unknown-app``, or why the manifest cannot be read when nothing else is known of it.
    """
    try:
        found = [parse.parse(each.body, file=each.path).app for each in catalog.find(name, at.places)]
    except errors.IntentError as error:
        if name in _remembered(at, book):
            return (name,)
        if error.code != "manifest-not-found" or "/" in name:
            raise
        raise errors.DecisionError("unknown-app", f"nothing here is called `{paths.printable(name)}`") from error
    return tuple(app.id for app in sorted(found, key=lambda app: not _installed(app)))


def find(at: Here, book: journal.Journal, name: str, *, changing: bool) -> Known:
    """The app that ``intent-run`` would start for ``name`` here, or what the journal remembers of it.

    changing: something will be decided for it, so an alias must mean one installed app. Raises CatalogError
    ``alias-ambiguous`` and as ``ids`` does.
    """
    meant = ids(at, book, name)
    if changing and len(meant) > 1:
        choose_one(name, [app_id for app_id in meant if _is_installed(at, app_id)])
    try:
        app = apps.load(name, at.environ, typed=at.typed)
    except errors.IntentError as error:
        gone = errors.CatalogError("manifest-not-found", f"there is no manifest of `{meant[0]}` any more")
        return _known(at, book, meant[0], None, gone if error.code == gone.code else error)
    return _known(at, book, app.manifest.app.id, app, None)


def choose_one(name: str, app_ids: list[str]) -> None:
    """Raise CatalogError ``alias-ambiguous`` when ``name`` means several apps."""
    if len(app_ids) > 1:
        meant = ", ".join(f"`{app_id}`" for app_id in app_ids)
        hint = "Name one of them by its id."
        raise errors.CatalogError("alias-ambiguous", f"`{paths.printable(name)}` may mean {meant}", hint=hint)


def lineages(book: journal.Journal, app_id: str) -> tuple[str, ...]:
    """Every lineage of the app that the journal remembers."""
    return tuple(lineage for found, lineage in book.apps() if found == app_id)


def live(at: Here, book: journal.Journal, app_id: str, lineage: str) -> tuple[model.Decision, ...]:
    """The decisions that hold now, newest first."""
    return tuple(decision for decision in reversed(book.decisions(app_id, lineage)) if decision.life.live(at.now))


def unknown_intent(known: Known, name: str, declared: list[str]) -> errors.DecisionError:
    """The error for a name that is none of the app's intents, with those there are."""
    listed = ", ".join(f"`{each}`" for each in declared) or "none at all"
    message = f"{known.app_id} has no intent `{paths.printable(name)}`: it has {listed}"
    return errors.DecisionError("unknown-intent", message, hint=f"intent-ctl show {known.app_id}")


def _known(
    at: Here, book: journal.Journal, app_id: str, app: apps.App | None, trouble: errors.IntentError | None
) -> Known:
    delta = None
    if app is not None:
        try:
            app = app.recalling(book)
            delta = app.delta(book, at.now)
        except errors.SignatureError as error:
            trouble = error
    lineage = delta.vetted.lineage if delta else _lineage(book, app_id)
    decisions = live(at, book, app_id, lineage)
    return Known(app_id=app_id, lineage=lineage, app=app, delta=delta, trouble=trouble, live=decisions)


def _lineage(book: journal.Journal, app_id: str) -> str:
    """The pinned one, else that of the newest decision."""
    pin = book.pin(app_id)
    if pin is not None:
        return pin.lineage
    newest = {lineage: [d.seq for d in book.decisions(app_id, lineage)] for lineage in lineages(book, app_id)}
    return max(newest, key=lambda lineage: max(newest[lineage], default=0), default="")


def _remembered(at: Here, book: journal.Journal) -> set[str]:
    installed = {each.app_id for each in overrides.recorded(at.places)}
    return installed | {app_id for app_id, _ in book.apps()} | {each.app_id for each in runs.instances(at.places)}


def _installed(app: model.App) -> bool:
    return os.access(app.command[0], os.X_OK)


def _is_installed(at: Here, app_id: str) -> bool:
    (found,) = catalog.find(app_id, at.places)
    return _installed(parse.parse(found.body, file=found.path).app)
