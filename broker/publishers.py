"""``intent-ctl trust``: whose manifests count (SPEC §7; ``ctl`` documents the JSON).

A pin stands for (app id, lineage). Agreeing to another key by ``rekey`` says that it is the same publisher: the pinned
lineage stays, and with it every decision and the app's data, as ``trust.vet`` then finds them. Only a pin that no key
stood behind, of a catalog's unsigned manifest, gives its place to the lineage of the new key, which inherits nothing.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace

from broker import app as apps
from broker import history, journal, known, record, views
from intents import errors, model, paths, trust


def list_pins(at: known.Here) -> known.Report:
    """Every remembered publisher."""
    with journal.Journal.open(at.places) as book:
        pins = book.pins()
    lines = [f"{pin.app_id}  {_pin_words(pin)}" for pin in pins]
    data = {"pins": [views.pin_data(pin) for pin in pins]}
    return known.Report(data=data, lines=tuple(lines) or ("Nobody is remembered.",))


def show(at: known.Here, name: str) -> known.Report:
    """The remembered publisher of one app, beside the one of its manifest."""
    with journal.Journal.open(at.places) as book:
        found = known.find(at, book, name, changing=False)
        pin = book.pin(found.app_id)
    vetted = found.delta.vetted if found.delta else None
    data = {
        "app": found.app_id,
        "pin": views.pin_data(pin),
        "manifest": _signed(found.app),
        "trust": vetted.trust.value if vetted else None,
        "lineage": found.lineage or None,
        "trouble": errors.as_data(found.trouble) if found.trouble else None,
    }
    lines = [found.app_id]
    lines.append(f"  remembered  {_pin_words(pin)}")
    if found.app:
        key = _key(found.app.key.fingerprint) if found.app.key else "nobody"
        lines.append(f"  manifest    signed by {key}, serial {found.app.manifest.app.serial}")
    lines += [f"  trust       {vetted.trust.value}, lineage {vetted.lineage}"] if vetted else []
    lines += [f"  trouble     {found.trouble.message}", f"  next        {found.trouble.hint}"] if found.trouble else []
    return known.Report(data=data, lines=tuple(lines))


def accept(at: known.Here, name: str, fingerprint: str) -> known.Report:
    """Agree to the key that signed an app nobody agreed to yet.

    fingerprint: all of it, as ``ssh-keygen -l`` shows it. Raises DecisionError ``wrong-publisher``, and SignatureError
    ``key-changed`` for an app that belongs to another key already.
    """
    with journal.Journal.open(at.places) as book:
        found = known.find(at, book, name, changing=True)
    app, delta = found.settled()
    _same("is signed by", fingerprint, delta.vetted.fingerprint, found)
    new = delta.vetted.trust is not model.Trust.PINNED
    if new:
        record.commit(at.places, found.app_id, at.now, record.publisher(app, delta.vetted, at.now))
    data = {"app": found.app_id, "lineage": found.lineage, "fingerprint": fingerprint, "changed": new}
    line = f"{found.app_id} belongs to {fingerprint}" + (" from now on." if new else ", as before.")
    return known.Report(data=data, lines=(line,))


def rekey(at: known.Here, name: str, fingerprint: str | None, serial: int | None) -> known.Report:
    """Show what agreeing to the manifest as it stands would change; agree where everything that changes is named.

    fingerprint: the new key's, needed when the key is another; serial: the manifest's, needed when it is lower than, or
    given twice with, the one remembered. Raises DecisionError ``wrong-publisher`` when they are not the manifest's,
    and SignatureError for a manifest whose signature does not count at all.
    """
    with journal.Journal.open(at.places) as book:
        found = known.find(at, book, name, changing=True)
        pin = book.pin(found.app_id)
        count = len(found.live)
    if found.app is None:
        found.settled()
    assert found.app is not None
    if pin is None or found.delta is not None:
        line = f"{found.app_id} needs no other key: {_pin_words(pin)}."
        return known.Report(data={"app": found.app_id, "changes": {}, "applied": False}, lines=(line,))
    new = _next_pin(found.app, pin, at.now)
    changes = _changes(pin, new)
    named: dict[str, object] = {"fingerprint": fingerprint, "serial": serial}
    for what, value in named.items():
        if value is not None:
            _same(f"has the {what}", str(value), str(asdict(new)[what]), found)
    applied = all(named[what] is not None for what in changes if what in named)
    if applied:
        record.commit(at.places, found.app_id, at.now, [history.rekeyed(new)])
    data = {"app": found.app_id, "changes": changes, "decisions": count, "applied": applied}
    lines = [f"{found.app_id}: {what} {then} becomes {now}" for what, (then, now) in changes.items() if then != now]
    lines += [f"{found.app_id}: other contents under the serial {pin.serial}"] if new.serial == pin.serial else []
    if "fingerprint" in changes and new.lineage == pin.lineage:
        lines.append(f"{count} decisions and the app's data go over to it.")
    options = [f"--{what} {now}" for what, (_, now) in changes.items() if what in named]
    again = f"Nothing is changed. Compare with what its publisher says; then intent-ctl trust rekey {found.app_id}"
    lines.append("Done." if applied else " ".join((again, *options)))
    return known.Report(data=data, lines=tuple(lines))


def _next_pin(app: apps.App, pin: model.Pin, now: model.Clock) -> model.Pin:
    """The pin that agreeing to the manifest would make."""
    vouched = app.found.vouched and not app.unsigned
    vetted = trust.vet(app.manifest, app.key, vouched=vouched, pin=None, allow_unsigned=False)
    new = app.pin(vetted, now)
    continues = vetted.trust is not model.Trust.VOUCHED and pin.lineage != trust.UNNAMED
    return replace(new, lineage=pin.lineage, files=pin.files) if continues else new


def _changes(pin: model.Pin, new: model.Pin) -> dict[str, tuple[object, object]]:
    """What differs and why it needs a word of the user: what -> (then, now)."""
    found: dict[str, tuple[object, object]] = {}
    if new.fingerprint != pin.fingerprint:
        found["fingerprint"] = _key(pin.fingerprint), _key(new.fingerprint)
    if new.serial < pin.serial or (new.serial == pin.serial and new.digest != pin.digest):
        found["serial"] = pin.serial, new.serial
    if new.lineage != pin.lineage:
        found["lineage"] = pin.lineage, new.lineage
    return found


def _same(what: str, named: str, real: str, found: known.Known) -> None:
    if named != real:
        message = f"{found.app_id} {what} {real or 'nobody'}, not {paths.printable(named)}"
        raise errors.DecisionError("wrong-publisher", message, hint=f"intent-ctl trust show {found.app_id}")


def _signed(app: apps.App | None) -> Mapping[str, object] | None:
    if app is None:
        return None
    key = app.key.fingerprint if app.key else None
    return {"path": app.found.path, "fingerprint": key, "serial": app.manifest.app.serial}


def _key(fingerprint: str) -> str:
    return fingerprint or "the catalog"


def _pin_words(pin: model.Pin | None) -> str:
    if pin is None:
        return "nobody is remembered for it"
    return f"{_key(pin.fingerprint)}, serial {pin.serial}, since {views.day(pin.since)}"
