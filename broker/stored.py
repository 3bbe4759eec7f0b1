"""Pins and decisions as the bodies of the journal's events, and back (docs/journal.md). Pure."""

from collections.abc import Mapping

from intents import kinds, model

Body = Mapping[str, object]


def pin(pin: model.Pin) -> Body:
    """What of a pin is kept beside the app id, the lineage and the time."""
    return {"fingerprint": pin.fingerprint, "serial": pin.serial, "digest": pin.digest, "files": pin.files}


def read_pin(app_id: str, lineage: str, at: int, body: Body) -> model.Pin:
    """The pin of an event. Raises ValueError."""
    match body:
        case {"fingerprint": str(fingerprint), "serial": int(serial), "digest": str(digest)}:
            files = body.get("files")
            return model.Pin(
                app_id=app_id,
                lineage=lineage,
                fingerprint=fingerprint,
                serial=serial,
                digest=digest,
                since=at,
                files=files if isinstance(files, str) else "",
            )
    raise ValueError("the pin cannot be read")


def decision(decision: model.Decision) -> Body:
    """All of a decision but its time and its number."""
    life = decision.life
    return {
        "intent": decision.intent_id,
        "asked": kinds.to_data(decision.asked),
        "granted": None if decision.granted is None else kinds.to_data(decision.granted),
        "life": {
            "span": life.span.value,
            "session": life.session,
            "until": life.until,
            "until_boottime": life.until_boottime,
            "boot_id": life.boot_id,
        },
        "objects": [list(pair) for pair in decision.objects],
        "source": decision.source,
    }


def kind(body: Body) -> str:
    """The kind that a decision is about; empty where that cannot be told."""
    match body:
        case {"asked": {"kind": str(kind)}}:
            return kind
    return ""


def read_decision(seq: int, at: int, body: Body, *, lapsed: bool) -> model.Decision:
    """The decision of an event. Raises ManifestError, KeyError, TypeError or ValueError for one of another version."""
    match body:
        case {
            "intent": str(intent_id),
            "asked": dict(asked),
            "granted": dict() | None as granted,
            "life": dict(life),
            "objects": list(objects),
            "source": str(source),
        }:
            return model.Decision(
                intent_id=intent_id,
                asked=kinds.from_data(asked),
                granted=None if granted is None else kinds.from_data(granted),
                life=_read_life(life),
                objects=tuple((str(place), str(path)) for place, path in objects),
                source=source,
                at=at,
                seq=seq,
                lapsed=lapsed,
            )
    raise ValueError("the decision cannot be read")


def _read_life(body: Mapping[str, object]) -> model.Life:
    match body:
        case {
            "span": str(span),
            "session": str(session),
            "until": int(until),
            "until_boottime": int(until_boottime),
            "boot_id": str(boot_id),
        }:
            return model.Life(
                span=model.Lifespan(span),
                session=session,
                until=until,
                until_boottime=until_boottime,
                boot_id=boot_id,
            )
    raise ValueError("the lifespan cannot be read")
