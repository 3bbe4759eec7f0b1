"""``intent-ctl policy``: what the administrator's rules say and do (SPEC §8.8; ``ctl`` documents the JSON)."""

from collections.abc import Iterable, Sequence

from broker import app as apps
from broker import journal, known, policy, views
from intents import decide, errors, kinds, model, rules, trace


def check(environ: dict[str, str], files: Sequence[str]) -> known.Report:
    """Whether files say valid rules, whoever owns them, or without any, the policy of this machine as a start reads it.

    Negative where one does not.
    """
    found: list[model.Rule] = []
    troubles: list[errors.IntentError] = []
    ignored: tuple[str, ...] = ()
    for file in files:
        try:
            found += policy.read_file(file)
        except errors.PolicyError as error:
            troubles.append(error)
    if not files:
        try:
            here = policy.load(environ)
            found, ignored = list(here.rules), here.ignored
        except errors.PolicyError as error:
            troubles.append(error)
    lines = [line for error in troubles for line in errors.render(error, "policy").split("\n")]
    lines += [f"{policy.DIRECTORY}/{name} is not read: a policy's name ends in .toml" for name in ignored]
    count = "1 rule is valid." if len(found) == 1 else f"{len(found)} rules are valid."
    lines += [count] if not troubles else []
    data = {
        "rules": [trace.rule_data(rule) for rule in found],
        "ignored": list(ignored),
        "errors": [errors.as_data(error) for error in troubles],
    }
    return known.Report(data=data, lines=tuple(lines), negative=bool(troubles))


def list_rules(environ: dict[str, str]) -> known.Report:
    """Every rule of this machine. Raises PolicyError."""
    found = policy.load(environ).rules
    lines = [line for rule in found for line in (_about(rule), f"    {trace.rule_words(trace.rule_data(rule))}")]
    empty = f"There is no policy: {policy.DIRECTORY} holds no rule."
    data = {"directory": policy.DIRECTORY, "rules": [trace.rule_data(rule) for rule in found]}
    return known.Report(data=data, lines=tuple(lines) or (empty,))


def explain(at: known.Here, name: str) -> known.Report:
    """For each intent of an app, which rules are about it, which of them decide, and what the user had answered.

    Raises PolicyError, and the trouble there is with the app's manifest or publisher.
    """
    with journal.Journal.open(at.places) as book:
        found = known.find(at, book, name, changing=False)
    app, delta = found.settled()
    grant = decide.settle(delta)
    pairs = zip(grant.verdicts, delta.changes, strict=True)
    rows = [_row(found, app, verdict, change) for verdict, change in pairs]
    lines = [line for row in rows for line in _lines(row)]
    refused = rules.refusal(delta)
    lines += [f"It would not start: {refused.message}"] if refused else []
    data = {
        "app": found.app_id,
        "files": list(app.policy.files),
        "intents": rows,
        "would_not_start": errors.as_data(refused) if refused else None,
    }
    return known.Report(data=data, lines=tuple(lines) or (f"{found.app_id} has no intents.",))


def _row(found: known.Known, app: apps.App, verdict: model.Verdict, change: model.Change) -> dict[str, object]:
    _, delta = found.settled()
    parts = change.intent.scope.parts()
    answered = [
        decision
        for decision in found.live
        if any(decision.asked.covers(part) or part.covers(decision.asked) for part in (*parts, *change.free))
    ]
    view = app.rules(delta.vetted)
    return {
        "intent": change.intent.id,
        "scope": kinds.to_data(change.intent.scope),
        "state": views.state_of(verdict, change),
        "because": verdict.because,
        "locked": change.locked,
        "rules": [_ruled(rule, change, view) for rule in view.rules if _concerns(view, rule, parts)] if view else [],
        "answers": [trace.decision_data(decision) for decision in answered],
    }


def _concerns(view: rules.Rules, rule: model.Rule, parts: Iterable[model.Scope]) -> bool:
    return any(view.shared(rule, part) for part in parts)


def _ruled(rule: model.Rule, change: model.Change, view: rules.Rules) -> dict[str, object]:
    """A rule as JSON with ``decides``, and ``idle``: why it does not."""
    decides = any(ruling.rule == rule for ruling in change.rulings)
    return {**trace.rule_data(rule), "decides": decides, "idle": None if decides else _idle(rule, change, view)}


def _idle(rule: model.Rule, change: model.Change, view: rules.Rules) -> str:
    if rule.effect is model.Effect.ALLOW:
        said = next(filter(None, (view.idle(rule, part) for part in change.intent.scope.parts())), "")
        if said:
            return said
    locked = [each for each in change.locks if each is not rule]
    if locked and (not change.free or rule.locked):
        return f"{locked[0].place} counts before it"
    if change.decided_by or not change.rulings:
        return "you have answered"
    return "another default counts before it"


def _about(rule: model.Rule) -> str:
    scope = {"kind": rule.kind} if rule.scope is None else kinds.to_data(rule.scope)
    return f"{'every app' if rule.app == rules.EVERY_APP else rule.app}  {views.scope_words(scope)}"


def _lines(row: dict[str, object]) -> list[str]:
    ruled, answers = row["rules"], row["answers"]
    assert isinstance(ruled, list) and isinstance(answers, list)
    locked = ", locked" if row["locked"] else ""
    lines = [f"{row['intent']}  {row['state']}{locked}: {row['because']}"]
    for each in ruled:
        lead = "decides" if each["decides"] else "idle   "
        lines.append(f"    {lead}  {trace.rule_words(each)}")
        lines += [f"             {each['idle']}"] if each["idle"] else []
    lines += [] if ruled else ["    no rule is about it"]
    return lines + [f"    you      {trace.decision_words(each, views.day)}" for each in answers]
