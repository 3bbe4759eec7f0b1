"""The page about trouble with a publisher: no question and no key, because no answer would be a good one (SPEC §7)."""

from datetime import UTC, datetime

from broker import stopped
from broker.ui import wording
from intents import model, text

_WHY = {
    "key-changed": text.template("It is signed by a key that you never trusted, and not by the one that you trust."),
    "serial-rollback": text.template("It is older than what already ran here: old faults may be in it again."),
    "serial-equivocation": text.template("It has the serial of what already ran here, but other contents."),
    "signature-missing": text.template("Nobody has signed it."),
    "unsigned": text.template("It is signed by the example key, with which everybody can sign."),
}


def page(stop: stopped.Stop, where: wording.Page) -> tuple[wording.Line, ...]:
    """What is trusted, what this is, that nothing happened, and the commands there are."""
    app = text.said("STOP  {app} is not started.", app=stop.app_id)
    lines = wording.flow(where, wording.Voice.WARNING, app)
    if stop.code in _WHY:
        lines += wording.flow(where, wording.Voice.OURS, text.said(_WHY[stop.code]))
    if stop.pin is not None:
        lines += wording.flow(where, wording.Voice.OURS, _trusted(stop.pin), "  ", "         ")
    lines += wording.flow(where, wording.Voice.OURS, _this(stop), "  ", "         ")
    lines += wording.flow(where, wording.Voice.OURS, text.said("Nothing was started and nothing was changed."))
    if stop.pin is not None and stop.decisions:
        kept = text.said("Your {count} decisions stay with what is trusted; this gets none.", count=stop.decisions)
        lines += wording.flow(where, wording.Voice.OURS, kept)
    for words, command in _ways(stop):
        lines += wording.flow(where, wording.Voice.OURS, words)
        lines += wording.flow(where, wording.Voice.OURS, command, "  ", "  ")
    return tuple(lines)


def _trusted(pin: model.Pin) -> text.Said:
    since = datetime.fromtimestamp(pin.since, UTC).strftime("%Y-%m-%d")
    key = pin.fingerprint or text.said("the catalog of this machine")
    return text.said("trusted  {key}  since {since}, serial {serial}", key=key, since=since, serial=pin.serial)


def _this(stop: stopped.Stop) -> text.Said:
    key = stop.fingerprint or text.said("no key")
    return text.said("this     {key}  serial {serial}, {file}", key=key, serial=stop.serial, file=stop.file)


def _ways(stop: stopped.Stop) -> list[tuple[text.Said, str]]:
    if stop.code in ("signature-missing", "unsigned"):
        once = text.said("To try it without trust, in a sandbox that is thrown away:")
        return [(once, f"intent-run --unsigned {stop.app_id}")]
    meant = {
        "key-changed": text.said("Did its publisher announce a new key? This shows what would change:"),
        "serial-rollback": text.said("Install the newer one again. Or, to go back, this shows what would change:"),
    }
    other = text.said("Whoever publishes it has to raise the serial. Until then, this shows what would change:")
    seen = text.said("What is trusted here, and since when:")
    rekey, show = f"intent-ctl trust rekey {stop.app_id}", f"intent-ctl trust show {stop.app_id}"
    return [(meant.get(stop.code, other), rekey), (seen, show)]
