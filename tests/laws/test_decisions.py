"""What decisions add up to: laws of ``diff`` and ``settle``, and both against a model (SPEC §8.3)."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intents import decide, diff, kinds, model
from tests.laws import generate
from tests.model import decide as reference

FOREVER = model.Life(span=model.Lifespan.FOREVER)


def delta(case: generate.Case, *stored: model.Decision) -> model.Delta:
    found = generate.numbered([*case.stored, *stored])
    objects = {**case.objects, **generate.there(each.asked for each in stored)}
    return diff.diff(case.vetted, found, generate.NOW, objects)


def gives(found: model.Delta) -> set[tuple[str, model.Scope]]:
    return set(decide.settle(found).scopes())


def below(less: set[tuple[str, model.Scope]], more: set[tuple[str, model.Scope]]) -> bool:
    """Whether everything of ``less`` is covered by something of the same intent in ``more``."""
    return all(any(name == other and wide.covers(scope) for other, wide in more) for name, scope in less)


def decision(scope: model.Scope, granted: model.Scope | None) -> model.Decision:
    objects = tuple((place, generate.where(place)) for place in scope.objects())
    return model.Decision(
        intent_id="x", asked=scope, granted=granted, life=FOREVER, objects=objects, source="command"
    )


@settings(max_examples=12 * generate.EXAMPLES)
@given(generate.cases())
def test_it_is_what_the_rules_say(case: generate.Case) -> None:
    live = [each for each in reversed(case.stored) if each.life.live(generate.NOW)]
    for change in delta(case).changes:
        parts = {part: reference.stands(part, live, case.objects) for part in change.intent.scope.parts()}
        assert set(change.granted) == set().union(*(standing.granted for standing in parts.values()))
        assert set(change.denied) == {part for part, standing in parts.items() if standing.denied}
        assert set(change.open) == {part for part, standing in parts.items() if standing.open}
        assert {place for place, _, _ in change.moved} == set().union(*(each.moved for each in parts.values()))


@given(generate.cases())
def test_when_it_is_asked_changes_nothing_but_the_moment(case: generate.Case) -> None:
    manifest = case.vetted.manifest
    waiting = tuple(dataclasses.replace(intent, on_use=True) for intent in manifest.intents)
    vetted = dataclasses.replace(case.vetted, manifest=dataclasses.replace(manifest, intents=waiting))
    at_once, later = delta(case), delta(dataclasses.replace(case, vetted=vetted))
    assert gives(later) == gives(at_once) and not later.questions
    assert [change.open for change in later.later] == [change.open for change in at_once.questions]
    settled = decide.settle(later)
    assert [verdict.on_use for verdict in settled.verdicts] == [change.open for change in later.changes]
    tried = dataclasses.replace(later, tried=tuple(intent.id for intent in waiting))
    assert [change.open for change in tried.questions] == [change.open for change in at_once.questions]
    assert not any(verdict.on_use for verdict in decide.settle(at_once).verdicts)


@given(generate.SCOPES)
def test_nothing_is_given_without_a_decision(scope: model.Scope) -> None:
    found = delta(generate.Case(generate.vetted([scope]), ()))
    assert gives(found) == set()
    assert [change.open for change in found.questions] == [scope.parts()]


@given(generate.cases())
def test_nothing_is_given_that_was_not_asked_for_and_allowed(case: generate.Case) -> None:
    declared = {(intent.id, intent.scope) for intent in case.vetted.manifest.intents}
    assert below(gives(delta(case)), declared)
    allowed = [each.granted for each in case.stored if each.granted is not None and each.life.live(generate.NOW)]
    assert all(any(scope.covers(given) for scope in allowed) for _, given in gives(delta(case)))


@given(generate.cases())
def test_what_is_over_counts_as_never_said(case: generate.Case) -> None:
    live = tuple(each for each in case.stored if each.life.live(generate.NOW))
    kept = generate.Case(case.vetted, live)
    assert gives(delta(case)) == gives(delta(kept))
    assert [change.open for change in delta(case).changes] == [change.open for change in delta(kept).changes]


@given(generate.cases(), st.data())
def test_one_more_allowance_takes_nothing_away(case: generate.Case, data: st.DataObject) -> None:
    made = data.draw(generate.decisions(data.draw(st.sampled_from(generate.FAMILIES)), moved=False))
    assert below(gives(delta(case)), gives(delta(case, decision(made.asked, made.asked))))


@given(generate.cases(), st.data())
def test_one_more_denial_gives_nothing(case: generate.Case, data: st.DataObject) -> None:
    made = data.draw(generate.decisions(data.draw(st.sampled_from(generate.FAMILIES))))
    assert below(gives(delta(case, decision(made.asked, None))), gives(delta(case)))


@given(generate.cases(), st.data())
def test_the_order_of_unrelated_decisions_does_not_matter(case: generate.Case, data: st.DataObject) -> None:
    """Unrelated: no part of any intent has to do with both."""
    parts = [part for intent in case.vetted.manifest.intents for part in intent.scope.parts()]

    def about(each: model.Decision) -> set[int]:
        return {at for at, part in enumerate(parts) if each.asked.covers(part) or part.covers(each.asked)}

    order = list(case.stored)
    for at in data.draw(st.lists(st.integers(0, max(0, len(order) - 2)), max_size=6)):
        if len(order) > at + 1 and not about(order[at]) & about(order[at + 1]):
            order[at], order[at + 1] = order[at + 1], order[at]
    assert gives(delta(generate.Case(case.vetted, generate.numbered(order)))) == gives(delta(case))


@given(generate.SCOPES, generate.SCOPES, st.booleans())
def test_a_widening_is_asked_and_a_narrowing_is_not(one: model.Scope, two: model.Scope, allowed: bool) -> None:
    for old, new in ((one, two), (one, one.meet(two)), (one.meet(two), one)):
        if old is None or new is None:
            continue
        stored = tuple(decision(part, part if allowed else None) for part in old.parts())
        found = delta(generate.Case(generate.vetted([new]), generate.numbered(list(stored))))
        (change,) = found.changes
        assert change.open == tuple(part for part in new.parts() if not old.covers(part))
        settled = [part for part in new.parts() if old.covers(part)]
        assert set(settled) <= {*change.granted} if allowed else {*settled} == {*change.denied}


@given(generate.SCOPES)
def test_a_place_that_leads_elsewhere_is_asked_again(scope: model.Scope) -> None:
    stored = [decision(part, part) for part in scope.parts()]
    before = [dataclasses.replace(each, objects=tuple((p, "/elsewhere") for p, _ in each.objects)) for each in stored]
    found = delta(generate.Case(generate.vetted([scope]), generate.numbered(before)))
    (change,) = found.changes
    assert bool(change.open) == bool(scope.objects())
    assert change.moved == tuple((place, "/elsewhere", generate.where(place)) for place in scope.objects())


@given(generate.SCOPES)
def test_another_directory_at_the_same_path_is_asked_again(scope: model.Scope) -> None:
    objects = {**generate.there([scope]), **{model.identity(place): "2:2" for place in scope.objects()}}
    stored = [dataclasses.replace(decision(part, part), objects=tuple(objects.items())) for part in scope.parts()]
    found = delta(generate.Case(generate.vetted([scope]), generate.numbered(stored)))
    (change,) = found.changes
    assert bool(change.open) == bool(scope.objects())
    assert change.moved == tuple((place, generate.where(place), generate.where(place)) for place in scope.objects())


@given(generate.cases(moved=False), st.data())
def test_what_lapsed_is_asked_again_and_gives_nothing(case: generate.Case, data: st.DataObject) -> None:
    gone = set(data.draw(st.lists(st.sampled_from(case.stored or (None,)), unique_by=id)))
    lapsed = tuple(dataclasses.replace(d, lapsed=d in gone and d.granted is not None) for d in case.stored)
    before, after = delta(case), delta(generate.Case(case.vetted, lapsed))
    assert below(gives(after), gives(before))
    for then, now in zip(before.changes, after.changes, strict=True):
        assert set(then.open) <= set(now.open)
        assert set(now.denied) <= set(then.denied), "nothing older comes back that was replaced"
        assert now.lapsed or set(now.open) == set(then.open)


@given(generate.cases())
def test_only_what_is_settled_for_longer_makes_a_plan(case: generate.Case) -> None:
    found = delta(case)
    if decide.storable(found):
        assert not found.questions
    once = [decision(part, part) for intent in case.vetted.manifest.intents for part in intent.scope.parts()]
    once = [dataclasses.replace(each, life=model.Life(span=model.Lifespan.ONCE)) for each in once]
    now = diff.diff(case.vetted, (), generate.NOW, case.objects, this_launch=once)
    assert not now.questions
    assert decide.storable(now) == (not once)


@given(generate.cases())
def test_what_no_intent_uses_any_more_is_told(case: generate.Case) -> None:
    scopes = [part for intent in case.vetted.manifest.intents for part in intent.scope.parts()]
    for each in delta(case).withdrawn:
        assert not any(each.asked.covers(part) or part.covers(each.asked) for part in scopes)


@pytest.mark.parametrize(
    ("wide", "within", "asked"),
    [
        ("home", "home/Documents", False),
        ("home", "home/.config/autostart", True),
        ("home", "home/.local/bin", True),
        ("home", "home/.var/app/org.example.Other", True),
        ("home/.config", "home/.config/autostart", False),
        ("/home", "/home/user/.ssh", True),
        ("/var", "/var/home/user/.ssh", True),
        ("/var", "/var/log", False),
        ("/home/user", "/home/user/.ssh", False),
    ],
)
def test_what_a_wide_place_does_not_give_is_asked_though_it_lies_below(wide: str, within: str, asked: bool) -> None:
    """A manifest that grew could else take, without a question, what the first answer said is not given."""
    old, new = (kinds.from_data({"kind": "path", "place": each, "access": "write"}) for each in (wide, within))
    found = delta(generate.Case(generate.vetted([new]), generate.numbered([decision(old, old)])))
    assert bool(found.questions) == asked
    assert gives(found) == (set() if asked else {("i0", new)})


@pytest.mark.parametrize("inside", [True, False])
def test_a_link_below_a_granted_place_does_not_lead_out_of_it_unasked(inside: bool) -> None:
    """An app that may write a directory plants a link in it; its next manifest asks for the link by name."""
    whole, link, again = (
        kinds.from_data({"kind": "path", "place": place, "access": access})
        for place, access in (("home/a", "write"), ("home/a/link", "write"), ("home/a", "read"))
    )
    leads = "/now/home/a/other" if inside else "/now/home/.ssh"
    objects = {"home/a": "/now/home/a", "home/a/link": leads}
    stored = generate.numbered([decision(whole, whole)])
    found = diff.diff(generate.vetted([again, link]), stored, generate.NOW, objects)
    moved = [change.moved for change in found.questions]
    if inside:
        assert (gives(found), moved) == ({("i0", again), ("i1", link)}, [])
    else:
        assert (gives(found), moved) == ({("i0", again)}, [(("home/a/link", "/now/home/a", "/now/home/.ssh"),)])
