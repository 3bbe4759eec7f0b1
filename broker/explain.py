"""``intent-ctl explain``: every option of what would be started now, and who decided on it (SPEC §11.4)."""

from broker import journal, known, views
from intents import decide, errors, explain, trace


def explain_app(at: known.Here, name: str) -> known.Report:
    """The app as it would be started now, from the same manifest, decisions and host. Raises HostError, and the trouble
    there is with its manifest or publisher."""
    with journal.Journal.open(at.places) as book:
        found = known.find(at, book, name, changing=False)
    app, delta = found.settled()
    shown = explain.of_grant(decide.settle(delta), app.host)
    stored = {decision.seq: decision for decision in found.live}
    owners = [
        trace.Owner(
            intent=verdict.intent.id,
            granted=verdict.granted,
            because=verdict.because,
            decisions=tuple(trace.decision_data(stored[seq]) for seq in change.decided_by),
            rules=trace.rules_data(change),
        )
        for verdict, change in zip(shown.verdicts, delta.changes, strict=True)
    ]
    groups = trace.tell(shown.options, owners, app.manifest.app)
    withheld = [{"intent": intent, **errors.as_data(error)} for intent, error in shown.withheld]
    lines = trace.lines(groups, views.day)
    lines += [f"Not granted, and it does not start without it: {intent}." for intent in shown.missing]
    lines += [f"Granted and not given here: {intent}: {error.message}." for intent, error in shown.withheld]
    lines += [f"!! {sentence}" for sentence in shown.together]
    data: dict[str, object] = {"app": found.app_id, "groups": groups, "missing": list(shown.missing)}
    data |= {"withheld": withheld, "together": list(shown.together)}
    return known.Report(data=data, lines=tuple(lines))
