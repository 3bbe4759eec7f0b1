"""Trouble with who publishes an app: what is trusted, what this is (SPEC §7). There is nothing to answer about it."""

from dataclasses import dataclass

from broker import app as apps
from broker import journal
from intents import errors, model


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Why an app is not started. pin: the publisher that is remembered, if any; decisions: how many were given to it;
    fingerprint: of the key under the manifest, empty without one; file: the manifest."""

    code: str
    app_id: str
    pin: model.Pin | None
    decisions: int
    fingerprint: str
    serial: int
    file: str


def stop(app: apps.App, error: errors.SignatureError) -> Stop:
    """What is to be said of this trouble. Raises JournalError."""
    app_id = app.manifest.app.id
    with journal.Journal.open(app.places) as book:
        pin = book.pin(app_id)
        given = book.decisions(app_id, pin.lineage) if pin else ()
    return Stop(
        code=error.code,
        app_id=app_id,
        pin=pin,
        decisions=len(given),
        fingerprint=app.key.fingerprint if app.key else "",
        serial=app.manifest.app.serial,
        file=app.found.path,
    )
