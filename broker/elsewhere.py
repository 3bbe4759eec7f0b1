"""A place that the user names at a question, instead of the one that is asked for (SPEC §8.4)."""

from collections.abc import Iterable, Iterator

from broker import app as apps
from broker import prompts
from intents import errors, facts, kinds, model, paths, text
from intents.kinds import path


class Looking:
    """What looks at such places for one handshake; nothing is given by it. ``app`` has what was seen: a place is given
    as it was when the user was told of it."""

    def __init__(self, app: apps.App, delta: model.Delta) -> None:
        self.app = app
        self._delta = delta

    def __call__(self, intent_id: str, typed: str) -> tuple[prompts.Narrowing, ...] | text.Said:
        """``prompts.Elsewhere``."""
        asked = next((change.open for change in self._delta.questions if change.intent.id == intent_id), ())
        said = text.said("It asks for no place.")
        for whole in asked:
            if isinstance(whole, path.Path):
                found = _within(self.app, self._delta, whole, typed)
                if not isinstance(found, text.Said):
                    self.app = self.app.seeing(scope for each in found for scope in each.scopes)
                    return found
                said = found
        return said


def leads_out(seen: apps.App, whole: Iterable[model.Scope], scope: model.Scope) -> bool:
    """Whether a place leads out of all that is asked and covers it: through a link."""
    fact = _fact(seen, scope)
    about = [_fact(seen, each) for each in whole if each.covers(scope)]
    return fact is not None and not any(each and paths.inside(fact.real, each.real) for each in about)


def _within(
    app: apps.App, delta: model.Delta, whole: path.Path, typed: str
) -> tuple[prompts.Narrowing, ...] | text.Said:
    """What ``typed`` comes to below an asked place, or why it cannot be given: a sentence."""
    names = {"typed": paths.printable(typed), "asked": paths.printable(_path(app, whole))}
    named = _named(app, whole, typed)
    if named is None:
        return text.said("{typed} is not in {asked}, which is what it asks for.", **names)
    if named == whole.place.text:
        return text.said("{typed} is all that it asks for.", **names)
    access = "write" if whole.access == "create" else whole.access
    try:
        scope = kinds.from_data({"kind": path.KIND, "place": named, "access": access})
        if not whole.covers(scope):
            return text.said("{typed} is not part of {asked}, whatever is answered.", **names)
        seen = app.seeing([scope])
        fact = _fact(seen, scope)
        if fact is None or fact.kind not in ("dir", "file"):
            return text.said("{typed} is no folder or file that is there.", **names)
        real = _fact(seen, whole)
        if real is None or not paths.inside(fact.real, real.real):
            where = paths.printable(fact.real)
            return text.said("{typed} leads to {where}, out of what it asks for.", where=where, **names)
        scope.ops(seen.host, "")
    except errors.IntentError as error:
        return text.said("{typed} cannot be given: {why}.", why=error.message, **names)
    return tuple(prompts.narrowing(each, seen.host, delta.vetted) for each in (scope, *scope.narrower()))


def _named(app: apps.App, whole: path.Path, typed: str) -> str | None:
    """The place as a manifest would write it; None where it does not begin with the asked one."""
    asked, home = _path(app, whole), app.host.account.home
    words = home + typed[1:] if typed == "~" or typed.startswith("~/") else typed
    absolute = "/".join(_components(words if words.startswith("/") else f"{asked}/{words}"))
    if not asked or not paths.inside(f"/{absolute}", asked):
        return None
    return whole.place.text.rstrip("/") + f"/{absolute}"[len(asked) :]


def _components(words: str) -> Iterator[str]:
    return (part for part in words.split("/") if part not in ("", "."))


def _path(app: apps.App, scope: path.Path) -> str:
    return scope.place.resolve(dict(app.host.directories)) or ""


def _fact(app: apps.App, scope: model.Scope) -> facts.PathFact | None:
    return app.host.path(_path(app, scope)) if isinstance(scope, path.Path) else None
