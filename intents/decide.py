"""From answers to decisions, and from a settled delta to the grant that is compiled (SPEC §8.3, §8.4)."""

from collections.abc import Mapping

from intents import errors, model


def decisions(
    intent: model.Intent,
    parts: tuple[model.Scope, ...],
    effect: model.Effect,
    life: model.Life,
    objects: Mapping[str, str],
    narrowed: tuple[model.Scope, ...] | None = None,
    *,
    source: str,
    now: model.Clock,
) -> tuple[model.Decision, ...]:
    """The decisions that say this, in the order in which they are recorded, remembering where the places lead now.

    narrowed: with ALLOW, what is given instead of the whole parts. What no part covers is not given.
    """

    def decision(asked: model.Scope, granted: model.Scope | None) -> model.Decision:
        return model.Decision(
            intent_id=intent.id,
            asked=asked,
            granted=granted,
            life=life,
            objects=remembered(granted or asked, objects),
            source=source,
            at=now.wall,
        )

    if effect is model.Effect.DENY or narrowed is None:
        return tuple(decision(part, part if effect is model.Effect.ALLOW else None) for part in parts)
    made: list[model.Decision] = []
    for part in parts:
        given = [scope for scope in narrowed if part.covers(scope)]
        # One that gives less than was asked settles the part; several are answers of their own after a denial.
        made += [decision(part, given[0])] if len(given) == 1 else [decision(part, None)]
        made += [decision(scope, scope) for scope in given] if len(given) > 1 else []
    return tuple(made)


def remembered(scope: model.Scope, objects: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """What a decision about ``scope`` remembers: where each of its places leads, and which directory is there."""
    found = [(place, objects.get(place, "")) for place in scope.objects()]
    names = [model.identity(place) for place, _ in found]
    return (*found, *((name, objects[name]) for name in names if name in objects))


def lifespans(trust: model.Trust, *, session_available: bool) -> tuple[model.Lifespan, ...]:
    """Those on offer, shortest first (SPEC §8.2): no long ones where nobody vouches for what a later start runs."""
    short = (model.Lifespan.ONCE, model.Lifespan.SESSION) if session_available else (model.Lifespan.ONCE,)
    return short if trust is model.Trust.UNSIGNED else (*short, model.Lifespan.UNTIL, model.Lifespan.FOREVER)


def life(span: model.Lifespan, now: model.Clock, *, seconds: int = 0, trust: model.Trust) -> model.Life:
    """A lifespan that begins now; ``seconds`` is the length of UNTIL. Raises DecisionError ``lifespan-unavailable``."""
    if span is model.Lifespan.SESSION and not now.session:
        raise errors.DecisionError(
            "lifespan-unavailable", "`session` is not offered: there is no XDG_RUNTIME_DIR that ends with the login"
        )
    if span not in lifespans(trust, session_available=True):
        raise errors.DecisionError(
            "lifespan-unavailable", f"`{span}` is not offered for an unsigned app: the longest is `session`"
        )
    if span is model.Lifespan.UNTIL:
        until, boottime = now.wall + seconds, now.boottime + seconds
        return model.Life(span=span, until=until, until_boottime=boottime, boot_id=now.boot_id)
    return model.Life(span=span, session=now.session if span is model.Lifespan.SESSION else "")


def settle(delta: model.Delta) -> model.Grant:
    """What this launch gets: all that live decisions grant and nothing else; what is open is not granted."""
    return model.Grant(vetted=delta.vetted, verdicts=tuple(_verdict(change) for change in delta.changes))


def _verdict(change: model.Change) -> model.Verdict:
    later = change.open if change.intent.on_use else ()
    return model.Verdict(intent=change.intent, granted=change.granted, because=_because(change), on_use=later)


def _because(change: model.Change) -> str:
    ruled = _ruled(change)
    said = _said(change)
    by_user = bool(change.decided_by) or bool(change.lives) or bool(change.open) or not change.rulings
    return "; ".join((*ruled, said)) if by_user else "; ".join(ruled)


def _ruled(change: model.Change) -> tuple[str, ...]:
    """What the administrator's rules say of an intent, one clause for each sort of them."""
    said = []
    for ruling in change.rulings:
        gives, rest = ruling.granted is not None, change.free if ruling.rule.locked else change.open
        what = "it" if not rest else "some of it" if gives else "all of it"
        if ruling.rule.locked:
            said.append(f"the administrator {'allows' if gives else 'does not allow'} {what}")
        else:
            said.append(f"the administrator's default is to {'allow' if gives else 'refuse'} {what}")
    return tuple(dict.fromkeys(said))


def _said(change: model.Change) -> str:
    if change.intent.id == model.FILES and change.granted and not any(change.decided_by):
        return "naming a file is your own act"
    spans = tuple(dict.fromkeys(life.span for life in change.lives))
    span = max(spans, key=list(model.Lifespan).index) if spans else None
    until = {
        model.Lifespan.ONCE: "for this start",
        model.Lifespan.SESSION: "for this session",
        model.Lifespan.UNTIL: "for a time",
        model.Lifespan.FOREVER: "always",
    }
    held = until[span] if span else ""
    match bool(change.granted), bool(change.denied), bool(change.open):
        case True, False, False:
            return f"you allowed it {held}"
        case True, _, _:
            return f"you allowed part of it {held}"
        case False, True, False:
            return f"you refused it {held}"
        case _:
            if change.moved:
                return "what is there now is not what you answered about"
            if change.intent.on_use:
                return "you are asked when it first tries"
            return "it was not used for long" if change.lapsed else "nobody has answered yet"


def storable(delta: model.Delta) -> bool:
    """Whether a plan may outlive this launch: every intent is settled by a decision longer than ONCE (SPEC §10.1)."""
    return not delta.questions and all(
        life.span is not model.Lifespan.ONCE for change in delta.changes for life in change.lives
    )
