"""The order of scopes: what ``covers``, ``meet`` and ``parts`` promise (SPEC §8.1), on generated ones."""

import json

from hypothesis import given
from hypothesis import strategies as st

from intents import kinds, model
from intents.kinds import dbus
from tests.laws import generate


@given(generate.SCOPES)
def test_everything_covers_itself(scope: model.Scope) -> None:
    assert scope.covers(scope)
    assert scope.meet(scope) == scope or isinstance(scope, dbus.Dbus)
    assert (met := scope.meet(scope)) and met.covers(scope)


@given(generate.SCOPES, generate.SCOPES, generate.SCOPES)
def test_what_covers_a_cover_covers(one: model.Scope, two: model.Scope, three: model.Scope) -> None:
    # Meets are below what they are made of, so chains are frequent.
    for low in filter(None, [three, two.meet(three)]):
        for middle in filter(None, [two, one.meet(two)]):
            if one.covers(middle) and middle.covers(low):
                assert one.covers(low)


@given(generate.SCOPES, generate.SCOPES)
def test_only_equal_things_cover_each_other(one: model.Scope, two: model.Scope) -> None:
    for first in one.parts():
        for second in two.parts():
            if first.covers(second) and second.covers(first):
                assert first == second


@given(generate.SCOPES, generate.SCOPES)
def test_a_meet_is_below_both_and_the_same_from_both_sides(one: model.Scope, two: model.Scope) -> None:
    met, back = one.meet(two), two.meet(one)
    assert (met is None) == (back is None)
    if met is not None and back is not None:
        assert one.covers(met) and two.covers(met)
        assert met.covers(back) and back.covers(met)


@given(generate.SCOPES, generate.SCOPES, generate.SCOPES)
def test_nothing_below_both_is_outside_their_meet(one: model.Scope, two: model.Scope, low: model.Scope) -> None:
    for below in filter(None, [low, one.meet(low), two.meet(low)]):
        if one.covers(below) and two.covers(below):
            met = one.meet(two)
            assert met is not None and met.covers(below)


@given(generate.SCOPES, generate.SCOPES)
def test_kinds_and_buses_have_nothing_in_common(one: model.Scope, two: model.Scope) -> None:
    if one.kind != two.kind or one.data().get("bus") != two.data().get("bus"):
        assert not one.covers(two)
        assert one.meet(two) is None


@given(generate.SCOPES, generate.SCOPES)
def test_parts_are_the_whole_and_nothing_else(scope: model.Scope, other: model.Scope) -> None:
    parts = scope.parts()
    assert all(scope.covers(part) for part in parts)
    assert all(part.parts() == (part,) for part in parts)
    # Whatever one of the parts of another scope needs, one of ours gives, exactly if the whole does.
    each = all(any(part.covers(wanted) for part in parts) for wanted in other.parts())
    assert scope.covers(other) == each


@given(generate.SCOPES)
def test_a_scope_survives_being_written_down(scope: model.Scope) -> None:
    written = json.loads(json.dumps(kinds.to_data(scope)))
    assert kinds.from_data(written) == scope


@given(generate.SCOPES)
def test_what_is_narrower_is_less_and_the_widest_comes_first(scope: model.Scope) -> None:
    for whole in (scope, *scope.parts()):
        found = whole.narrower()
        assert len(set(found)) == len(found)
        for index, less in enumerate(found):
            assert whole.covers(less) and not less.covers(whole)
            assert kinds.from_data(kinds.to_data(less)) == less
            assert not any(later.covers(less) for later in found[index + 1 :])


@given(generate.SCOPES.filter(lambda scope: bool(scope.narrower())), st.data())
def test_giving_less_never_raises_the_risk_and_parts_are_as_risky_as_the_whole(
    scope: model.Scope, data: st.DataObject
) -> None:
    host = data.draw(generate.machines(list(scope.objects())))
    for whole in (scope, *scope.parts()):
        assert all(less.risk(host) <= whole.risk(host) for less in whole.narrower())
    assert scope.risk(host) == max(part.risk(host) for part in scope.parts())


def test_where_less_makes_sense() -> None:
    def less(**table: object) -> list[dict[str, object]]:
        return [kinds.to_data(scope) for scope in kinds.from_data(table).narrower()]

    place = {"kind": "path", "place": "home/a"}
    assert less(**place, access="create") == [{**place, "access": "write"}, {**place, "access": "read"}]
    assert not less(**place, access="read")
    assert less(kind="multiarch", scope="sockets") == [{"kind": "multiarch", "scope": "programs"}]
    assert [each["uses"] for each in less(kind="audio", uses=["record", "playback"])] == [["playback"], ["record"]]
    assert not less(kind="audio", uses=["record"])
    bus = {"kind": "dbus", "bus": "session"}
    assert less(**bus, talk=["org.a.b.*"]) == [
        {**bus, "talk": ["org.a.b"]},
        {**bus, "see": ["org.a.b.*"]},
        {**bus, "see": ["org.a.b"]},
    ]
    assert less(**bus, call=["org.a.b.*=i.A.*@/a"]) == [{**bus, "call": ["org.a.b=i.A.*@/a"]}]
    assert not less(**bus, own=["org.a.b"]) and not less(**bus, see=["org.a.b"])
    # No protocol gives what another gives: nothing else can stand in for the one that was asked for.
    assert not less(kind="display", protocol="x11-host")


@given(generate.NAMES, generate.NAMES, st.sampled_from(["see", "talk", "own"]), st.sampled_from(["see", "talk", "own"]))
def test_names_and_verbs_are_ordered_together(name: str, other: str, verb: str, less: str) -> None:
    order = ["see", "talk", "own"]
    wide, narrow = dbus.Rule(verb=verb, operand=name), dbus.Rule(verb=less, operand=other)
    below = name == other or (name.endswith(".*") and (other + ".").startswith(name[:-1]))
    assert wide.covers(narrow) == (below and order.index(verb) >= order.index(less))


def test_every_pair_of_bus_rules_has_its_widest_common_rule() -> None:
    names = ("org.a.b", "org.a.b.*", "org.a.b.c", "org.x.y")
    methods, objects = ("*", "i.A.*", "i.A.M"), ("", "@/a/*", "@/a/b")
    rules = [dbus.Rule(verb=verb, operand=name) for verb in ("see", "talk") for name in names]
    rules += [
        dbus.Rule(verb="call", operand=f"{name}={method}{path}")
        for name in names
        for method in methods
        for path in objects
    ]
    for one in rules:
        for two in rules:
            common = [rule for rule in rules if one.covers(rule) and two.covers(rule)]
            met = one.meet(two)
            assert (met is not None) == bool(common), (one, two)
            assert met is None or (met in common and all(met.covers(rule) for rule in common)), (one, two)
