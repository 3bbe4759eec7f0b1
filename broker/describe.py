"""One app on this machine as JSON, for ``intent-author``, which may not look for itself (SPEC §11.3)."""

import dataclasses
import json
import os
from collections.abc import Mapping

from broker import app as apps
from broker import journal, state
from intents import decide, errors, kinds, trace


def describe(name: str, environ: Mapping[str, str]) -> str:
    """``{"manifest": path, "host": facts, "granted": [...]}`` and a newline; ``granted`` has one row per intent once
    anything was decided: intent, scopes, because, decisions, rules. Nothing is created, asked or started. Raises as
    ``app.load`` does."""
    app = apps.load(name, environ, typed=True)
    granted: list[dict[str, object]] = []
    if os.path.exists(f"{app.places.state}/{journal.DATABASE}"):
        with journal.Journal.open(app.places, create=False) as book:
            granted = _granted(app, book)
    data = {"manifest": app.found.path, "host": dataclasses.asdict(app.host), "granted": granted}
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def _granted(app: apps.App, book: journal.Journal) -> list[dict[str, object]]:
    try:
        delta = app.recalling(book).delta(book, state.clock(app.places))
    except errors.SignatureError:
        return []
    stored = {each.seq: each for each in book.decisions(app.manifest.app.id, delta.vetted.lineage)}
    pairs = zip(decide.settle(delta).verdicts, delta.changes, strict=True)
    return [
        {
            "intent": verdict.intent.id,
            "scopes": [kinds.to_data(scope) for scope in verdict.granted],
            "because": verdict.because,
            "decisions": [trace.decision_data(stored[seq]) for seq in change.decided_by],
            "rules": list(trace.rules_data(change)),
        }
        for verdict, change in pairs
    ]
