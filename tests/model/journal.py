"""What a journal says, worked out anew from the whole list of its events each time; written from SPEC §8.5 alone."""

Event = tuple[str, str, str, dict[str, object]]  # what, app, lineage, body
MOVING = ("decision", "forget", "lapse", "restore")


def pin(events: list[Event], app: str) -> tuple[str, object, object, object, int] | None:
    """(lineage, fingerprint, serial, digest, number of the event since when) of the publisher of ``app``."""
    found: tuple[str, object, object, object, int] | None = None
    for number, (what, of, lineage, body) in enumerate(events, 1):
        if of != app or what not in ("pin", "serial", "rekey"):
            continue
        fresh = (lineage, body["fingerprint"], body["serial"], body["digest"])
        same = found is not None and found[0] == lineage
        if what == "rekey" or (what == "pin" and not same):
            found = (*fresh, number)
        elif found is not None and same and int(str(body["serial"])) > int(str(found[2])):
            found = (*fresh, found[4])
    return found


def counts(events: list[Event], number: int) -> bool:
    """Whether no undoing that counts itself names the event."""
    app = events[number - 1][1]
    return not any(
        what == "undo" and of == app and number in list(body["undoes"]) and counts(events, later)  # type: ignore[call-overload]
        for later, (what, of, _, body) in enumerate(events, 1)
    )


def decided(events: list[Event], app: str, lineage: str) -> list[int]:
    """Numbers of the decisions that are neither undone nor forgotten."""
    found: list[int] = []
    for number, (what, of, by, _) in enumerate(events, 1):
        if (of, by) == (app, lineage) and what in ("decision", "forget") and counts(events, number):
            found = [*found, number] if what == "decision" else []
    return found


def lapsed(events: list[Event], app: str, lineage: str) -> set[int]:
    """Numbers of what lapsed and was not brought back."""
    found: set[int] = set()
    for what, of, by, body in events:
        if (of, by) == (app, lineage) and what in ("lapse", "restore"):
            found = found | set(body["decisions"]) if what == "lapse" else set()  # type: ignore[call-overload]
    return found


def head(events: list[Event], app: str, lineage: str) -> int:
    """Number of the newest event that the grants of an app depend on, 0 for none."""
    newest = 0
    for number, (what, of, by, _) in enumerate(events, 1):
        if of == app and (what in ("pin", "serial", "rekey", "undo") or (by == lineage and what in MOVING)):
            newest = number
    return newest


def pending(events: list[Event], app: str, lineage: str) -> list[int]:
    """Numbers of the questions that went unanswered since the last answer."""
    found: list[int] = []
    for number, (what, of, by, _) in enumerate(events, 1):
        if (of, by) == (app, lineage):
            found = [*found, number] if what == "pending" else [] if what in ("decision", "forget") else found
    return found


def waiting(events: list[Event], app: str, lineage: str) -> bool:
    """Whether a question went unanswered since all was last forgotten."""
    mine = [what for what, of, by, _ in events if (of, by) == (app, lineage)]
    return "pending" in mine[len(mine) - mine[::-1].index("forget") :] if "forget" in mine else "pending" in mine


def apps(events: list[Event]) -> list[tuple[str, str]]:
    """(app, lineage) of everything with a pin or a decision."""
    owners = {(app, lineage) for _, app, lineage, _ in events if decided(events, app, lineage)}
    for _, app, _, _ in events:
        known = pin(events, app)
        owners |= {(app, known[0])} if known else set()
    return sorted(owners)
