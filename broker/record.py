"""The one way decisions and pins reach the journal: after the plans that the old ones made are gone (SPEC §10.1)."""

from collections.abc import Callable, Sequence

from broker import app as apps
from broker import history, journal, plans, state
from intents import errors, model


def commit(places: state.Places, app_id: str, now: model.Clock, entries: Sequence[history.Entry]) -> tuple[int, ...]:
    """Append ``entries``, all about ``app_id``, durably; their ``seq``. Whoever starts it afterwards compiles anew.

    Raises JournalError, and then nothing was stored.
    """
    return commit_by(places, app_id, now, lambda _: entries)


def commit_by(
    places: state.Places, app_id: str, now: model.Clock, entries: Callable[[journal.Journal], Sequence[history.Entry]]
) -> tuple[int, ...]:
    """``commit`` what ``entries`` makes of the journal, which nobody else changes for this app meanwhile.

    Raises as it does, and whatever ``entries`` raises.
    """
    with state.lock(places.lock_file("state", app_id)):
        try:
            plans.drop(places, app_id)
        except OSError as error:
            message = f"the launch plans of {app_id} cannot be removed: {error.strerror}"
            raise errors.JournalError("journal-unwritable", message) from error
        with journal.Journal.open(places) as book:
            return book.record(now, entries(book))


def publisher(app: apps.App, vetted: model.Vetted, now: model.Clock) -> list[history.Entry]:
    """The pin that an answer makes, because it was given to this publisher: empty when that is pinned or unsigned."""
    if vetted.trust in (model.Trust.FIRST_USE, model.Trust.VOUCHED):
        return [history.pinned(app.pin(vetted, now))]
    return []
