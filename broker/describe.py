"""One app on this machine as JSON, for ``intent-author``, which may not look for itself (SPEC §11.3)."""

import dataclasses
import json
import os
from collections.abc import Mapping

from broker import app as apps
from broker import journal, state
from intents import errors, kinds


def describe(name: str, environ: Mapping[str, str]) -> str:
    """``{"manifest": path, "host": facts, "granted": [...]}`` and a newline; ``granted`` has one row per granted scope:
    intent, scope, because. Nothing is created, asked or started. Raises as ``app.load`` does."""
    app = apps.load(name, environ, typed=True)
    granted: list[dict[str, object]] = []
    if os.path.exists(f"{app.places.state}/{journal.DATABASE}"):
        with journal.Journal.open(app.places, create=False) as book:
            try:
                delta = app.delta(book, state.clock(app.places))
            except errors.SignatureError:
                return _render(app, granted)
        for change in delta.changes:
            rows = ({"intent": change.intent.id, "scope": kinds.to_data(scope)} for scope in change.granted)
            granted += ({**row, "decisions": list(change.decided_by)} for row in rows)
    return _render(app, granted)


def _render(app: apps.App, granted: list[dict[str, object]]) -> str:
    data = {"manifest": app.found.path, "host": dataclasses.asdict(app.host), "granted": granted}
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
