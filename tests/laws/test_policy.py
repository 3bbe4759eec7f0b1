"""What the administrator's rules make of decisions: laws of ``diff`` with a policy (SPEC §8.8)."""

import dataclasses
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from intents import decide, diff, facts, kinds, model, paths, risk, rules
from intents.kinds import network, path
from tests.laws import generate

HOME = "/home/u"
DIRECTORIES = {"home": HOME, "xdg-documents": f"{HOME}/Documents"}
LINK = f"{HOME}/a/d"  # which leads to what another name is for
PLACES = ["home", "home/a", "home/a/b", "home/a/b/c", "home/a/d", "home/z", "xdg-documents", "home/Documents"]


def host(*, link: bool) -> facts.HostFacts:
    """A machine on which every place is a directory; link: but ``home/a/d``, which leads to ``home/z``."""
    tree = {f"{HOME}/{name}": "dir" for name in ("", "a", "a/b", "a/b/c", "a/d", "z", "Documents")}
    tree |= {"/home": "dir", HOME: "dir"} | ({LINK: f"{HOME}/z"} if link else {})
    return generate.host(tree, HOME, 1000, "/run/user/1000", DIRECTORIES | {
        "xdg-state": "/s", "xdg-data": "/d", "xdg-config": "/c"}, (), {*tree}, 7, None)  # fmt: skip


HOSTS = {link: host(link=link) for link in (False, True)}
FAMILIES: tuple[st.SearchStrategy[model.Scope], ...] = (
    st.builds(
        lambda place, access: kinds.from_data({"kind": "path", "place": place, "access": access}),
        st.sampled_from(PLACES),
        st.sampled_from(path.ACCESS),
    ),
    generate.FAMILIES[1],
    generate.SCOPES.filter(lambda scope: scope.kind != path.KIND),
)


@st.composite
def written(draw: st.DrawFn, near: st.SearchStrategy[model.Scope], effect: model.Effect | None = None) -> model.Rule:
    """A rule about a scope of that family, or about the whole of its kind."""
    scope = draw(near)
    allow = draw(st.sampled_from(model.Effect)) if effect is None else effect
    who = draw(st.sampled_from(["*", "org.example.App", "org.example.App", "org.example.Other"]))
    named = allow is model.Effect.ALLOW
    return model.Rule(
        file=draw(st.sampled_from(["a", "b"])),
        line=draw(st.integers(1, 9)),
        app=who,
        kind=scope.kind,
        scope=draw(st.sampled_from([scope, scope, *scope.parts(), None])),
        effect=allow,
        locked=draw(st.booleans()),
        reason="So it is.",
        lineage=draw(st.sampled_from(["", "", "0123456789abcdef", "f" * 16])) if named else "",
        confirm=named and who != "*" and draw(st.booleans()),
    )


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Ruled:
    """A case with a policy on a host."""

    case: generate.Case
    policy: tuple[model.Rule, ...]
    host: facts.HostFacts
    near: st.SearchStrategy[model.Scope]

    def __repr__(self) -> str:
        return f"{self.case.vetted.manifest.intents}\n{self.case.stored}\n{self.policy}\n{self.host is HOSTS[True]}"

    def delta(self, policy: Sequence[model.Rule] | None = None) -> model.Delta:
        rows = self.policy if policy is None else policy
        found = rules.about(rows, self.case.vetted, self.host)
        return diff.diff(self.case.vetted, self.case.stored, generate.NOW, self.case.objects, policy=found)


@st.composite
def ruled(draw: st.DrawFn) -> Ruled:
    near = draw(st.sampled_from(FAMILIES))
    scopes = draw(st.lists(near, min_size=1, max_size=3))
    stored = draw(st.lists(generate.decisions(near), max_size=5))
    trust = draw(st.sampled_from([model.Trust.PINNED, model.Trust.PINNED, model.Trust.VOUCHED, model.Trust.UNSIGNED]))
    case = generate.Case(generate.vetted(scopes, trust), generate.numbered(stored))
    policy = tuple(draw(st.lists(written(near), max_size=5)))
    return Ruled(case, policy, HOSTS[draw(st.booleans())], near)


def gives(found: model.Delta) -> set[tuple[str, model.Scope]]:
    return set(decide.settle(found).scopes())


def below(less: set[tuple[str, model.Scope]], more: set[tuple[str, model.Scope]]) -> bool:
    return all(any(name == other and wide.covers(scope) for other, wide in more) for name, scope in less)


def locked(case: Ruled) -> list[model.Rule]:
    about = [rule for rule in case.policy if rule.app in ("*", "org.example.App")]
    return [rule for rule in about if rule.locked and rule.effect is model.Effect.DENY]


def abilities(scope: path.Path, seen: facts.HostFacts) -> set[tuple[str, str]]:
    """(path, access) of all that a place gives among those of these tests, by its name and by what that leads to."""
    tops = names(scope.place, seen)
    below_it = {name for place in PLACES for name in names(paths.parse_place(place), seen)}
    given = {name for name in below_it for top in tops if f"{name}/".startswith(f"{top}/")}
    return {(name, access) for name in given for access in path.ACCESS[: path.ACCESS.index(scope.access) + 1]}


def names(place: paths.Place, seen: facts.HostFacts) -> set[str]:
    """The path of a place, and what it leads to."""
    lexical = place.resolve(DIRECTORIES)
    assert lexical is not None
    fact = seen.path(lexical)
    assert fact is not None
    return {lexical, fact.real}


def forbidden(scope: model.Scope, rule: model.Rule, seen: facts.HostFacts) -> bool:
    """Whether ``scope`` gives something of what the rule denies, said once more without a look at ``rules``."""
    if rule.kind != scope.kind:
        return False
    if rule.scope is None:
        return True
    both = isinstance(scope, network.Network) and isinstance(rule.scope, network.Network)
    if both and scope.ports and rule.scope.scope != "host":  # all UDP is open to it, and TCP to its ports
        named = [target for target in rule.scope.targets if target.protocol == "tcp"]
        return len(named) < len(rule.scope.targets) or not named or any(each.port in scope.ports for each in named)
    if not isinstance(scope, path.Path) or not isinstance(rule.scope, path.Path):
        return scope.meet(rule.scope) is not None
    places = {where for where, access in abilities(rule.scope, seen) if access == rule.scope.access}
    return any((where, rule.scope.access) in abilities(scope, seen) for where in places)


SOME = settings(max_examples=6 * generate.EXAMPLES)


@SOME
@given(ruled())
def test_nothing_is_given_but_by_decisions_and_rules(case: Ruled) -> None:
    allowed = [each.granted for each in case.case.stored if each.granted is not None and each.life.live(generate.NOW)]
    rows = [rule for rule in case.policy if rule.effect is model.Effect.ALLOW and rule.app in ("*", "org.example.App")]
    for _, scope in gives(case.delta()):
        assert any(wide.covers(scope) for wide in allowed) or any(rule.covers(scope) for rule in rows)
    declared = {(intent.id, intent.scope) for intent in case.case.vetted.manifest.intents}
    assert below(gives(case.delta()), declared)


@SOME
@given(ruled())
def test_what_is_locked_away_is_neither_given_nor_asked(case: Ruled) -> None:
    found = case.delta()
    left = [scope for _, scope in gives(found)] + [scope for change in found.changes for scope in change.free]
    assert not any(forbidden(scope, rule, case.host) for scope in left for rule in locked(case))
    assert all(set(change.open) <= set(change.free) for change in found.changes)


@SOME
@given(ruled())
def test_a_locked_denial_takes_nothing_else_away(case: Ruled) -> None:
    denials = locked(case)
    without = case.delta([rule for rule in case.policy if rule not in denials])
    untouched = {row for row in gives(without) if not any(forbidden(row[1], rule, case.host) for rule in denials)}
    assert below(untouched, gives(case.delta()))


@SOME
@given(ruled(), st.data())
def test_one_more_denial_gives_nothing(case: Ruled, data: st.DataObject) -> None:
    one_more = data.draw(written(case.near, model.Effect.DENY))
    assert below(gives(case.delta((*case.policy, one_more))), gives(case.delta()))


@SOME
@given(ruled(), st.data())
def test_one_more_allowance_takes_nothing_away(case: Ruled, data: st.DataObject) -> None:
    one_more = data.draw(written(case.near, model.Effect.ALLOW))
    assert below(gives(case.delta()), gives(case.delta((*case.policy, one_more))))


@SOME
@given(ruled(), st.randoms(use_true_random=False))
def test_the_order_of_rules_does_not_matter(case: Ruled, chance: object) -> None:
    mixed = list(case.policy)
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    one, other = case.delta(), case.delta(mixed)
    assert gives(one) == gives(other)
    assert [(set(a.open), set(a.free), set(a.denied)) for a in one.changes] == [
        (set(a.open), set(a.free), set(a.denied)) for a in other.changes
    ]


@SOME
@given(ruled())
def test_rules_of_others_change_nothing(case: Ruled) -> None:
    others = [dataclasses.replace(rule, app="org.example.Other") for rule in case.policy]
    bare = diff.diff(case.case.vetted, case.case.stored, generate.NOW, case.case.objects)
    assert case.delta(others) == case.delta(()) == bare


@SOME
@given(ruled())
def test_a_default_is_silent_where_the_user_has_spoken(case: Ruled) -> None:
    parts = [part for intent in case.case.vetted.manifest.intents for part in intent.scope.parts()]
    live = [each for each in case.case.stored if each.life.live(generate.NOW)]
    if all(any(d.asked.covers(part) or part.covers(d.asked) for d in live) for part in parts):
        hard = [rule for rule in case.policy if rule.locked]
        assert gives(case.delta()) == gives(case.delta(hard))


@SOME
@given(ruled())
def test_no_allowance_gives_more_risk_than_it_may(case: Ruled) -> None:
    for change in case.delta().changes:
        for ruling in change.rulings:
            if ruling.granted is not None:
                assert case.case.vetted.trust is not model.Trust.UNSIGNED
                assert risk.of((ruling.granted,), case.host, model.Trust.VOUCHED) <= rules.limit(ruling.rule)


@SOME
@given(ruled())
def test_what_the_user_said_counts_again_once_the_rules_are_gone(case: Ruled) -> None:
    """An answer to what a policy left is one without it, too: nothing is asked twice, and nothing is widened."""
    # An answer about less than another part takes the default of that one away, so no part holds another here.
    asked = [part for intent in case.case.vetted.manifest.intents for part in intent.scope.parts()]
    assume(not any(kinds.overlap(one, other) for one, other in itertools.combinations(asked, 2)))
    answers = [
        made
        for change in case.delta().questions
        for made in decide.decisions(
            change.intent, change.open, model.Effect.ALLOW, model.Life(span=model.Lifespan.FOREVER),
            case.case.objects, source="prompt", now=generate.NOW,
        )
    ]  # fmt: skip
    stored = generate.numbered([*case.case.stored, *answers])
    after = dataclasses.replace(case, case=generate.Case(case.case.vetted, stored))
    assert not after.delta().questions
    assert below(gives(after.delta(())), {(i.id, i.scope) for i in case.case.vetted.manifest.intents})


def rule(scope: dict[str, object] | None, kind: str = "path", **how: object) -> model.Rule:
    plain = model.Rule(
        file="a", line=1, app="*", kind=kind, scope=kinds.from_data({"kind": kind, **scope}) if scope else None,
        effect=model.Effect.DENY, locked=True, reason="So it is.",
    )  # fmt: skip
    return dataclasses.replace(plain, **how)  # type: ignore[arg-type]


def stands(asked: dict[str, object], *policy: model.Rule, link: bool = False, **how: object) -> model.Change:
    vetted = generate.vetted([kinds.from_data(asked)], **how)  # type: ignore[arg-type]
    found = rules.about(policy, vetted, HOSTS[link])
    return diff.diff(vetted, (), generate.NOW, {}, policy=found).changes[0]


def place(name: str, access: str) -> dict[str, object]:
    return {"kind": "path", "place": name, "access": access}


@pytest.mark.parametrize(
    ("asked", "denied", "left"),
    [
        (("home/a", "write"), ("home/a", "write"), "read"),
        (("home/a", "create"), ("home/a", "write"), "read"),
        (("home/a", "create"), ("home/a", "create"), "write"),
        (("home/a/b", "write"), ("home/a", "write"), "read"),
        (("home/a", "write"), ("home/a/b", "write"), "read"),
        (("home/a", "read"), ("home/a", "write"), "read"),
        (("home/a", "read"), ("home/a", "read"), None),
        (("home/a", "write"), ("home/a/b", "read"), None),
        (("home/z", "write"), ("home/a", "read"), "write"),
        (("home", "write"), ("xdg-documents", "write"), "read"),
        (("home/Documents", "write"), ("xdg-documents", "write"), "read"),
        (("/home/u/Documents", "write"), ("xdg-documents", "write"), "read"),
        (("home/.config/x", "read"), ("home", "read"), None),
        (("home", "read"), ("home/.config/x", "read"), "read"),
    ],
)
def test_what_a_denial_of_a_place_leaves(
    asked: tuple[str, str], denied: tuple[str, str], left: str | None
) -> None:
    change = stands(place(*asked), rule({"place": denied[0], "access": denied[1]}))
    assert change.open == ((kinds.from_data(place(asked[0], left)),) if left else ())


def test_a_denied_place_is_denied_by_every_name_that_leads_there() -> None:
    denial = rule({"place": "home/z", "access": "read"})
    assert stands(place("home/a/d", "read"), denial, link=True).open == ()
    assert stands(place("home/a/d", "read"), denial, link=False).open != ()
    through = rule({"place": "home/a/d", "access": "read"})
    assert stands(place("home/z", "read"), through, link=True).open == ()


def test_an_allowed_place_is_not_what_a_link_leads_to() -> None:
    allowance = rule({"place": "home/a/d", "access": "read"}, app="org.example.App", effect=model.Effect.ALLOW)
    assert stands(place("home/a/d", "read"), allowance, link=False).granted
    assert not stands(place("home/a/d", "read"), allowance, link=True).granted
    around = rule({"place": "home/a", "access": "read"}, app="org.example.App", effect=model.Effect.ALLOW)
    assert not stands(place("home/a/d", "read"), around, link=True).granted


@pytest.mark.parametrize(
    ("kind", "how", "given"),
    [
        ("dns", {}, True),
        ("printing", {}, False),
        ("printing", {"locked": False}, True),
        ("camera", {"locked": False}, False),
        ("camera", {"publisher": "SHA256:x"}, True),
        ("camera", {"publisher": "SHA256:y"}, False),
        ("camera", {"lineage": "0123456789abcdef"}, True),
        ("camera", {"app": "org.example.App"}, True),
        ("secrets", {"app": "org.example.App"}, False),
        ("secrets", {"app": "org.example.App", "publisher": "SHA256:x"}, False),
        ("secrets", {"app": "org.example.App", "confirm": True}, True),
    ],
)
def test_how_much_an_allowance_may_give(kind: str, how: dict[str, object], given: bool) -> None:
    asked = {"kind": kind, **({"scope": "any"} if kind == "dns" else {})}
    allowance = rule(None, kind, effect=model.Effect.ALLOW, **how)
    assert bool(stands(asked, allowance).granted) == given
    assert not stands(asked, allowance, trust=model.Trust.UNSIGNED).granted
    assert bool(stands(asked, allowance, trust=model.Trust.FIRST_USE).granted) == given
    assert not stands(asked, allowance, rule(None, kind)).granted


def test_a_required_intent_that_is_locked_away_stops_the_start() -> None:
    vetted = generate.vetted([kinds.from_data(place("home/a", "write"))])
    needed = dataclasses.replace(vetted.manifest.intents[0], optional=False)
    vetted = dataclasses.replace(vetted, manifest=dataclasses.replace(vetted.manifest, intents=(needed,)))
    for access, code in (("read", "refused-by-policy"), ("write", None)):
        found = rules.about([rule({"place": "home/a", "access": access})], vetted, HOSTS[False])
        refused = rules.refusal(diff.diff(vetted, (), generate.NOW, {}, policy=found))
        assert (refused and (refused.code, refused.exit_status, refused.subject)) == (code and (code, 126, "a:1"))


def test_an_allowance_that_goes_too_far_gives_no_less_either() -> None:
    """Or one more denial would give something: it would make what is left small enough to be allowed."""
    too_far = rule({"place": "home", "access": "write"}, app="org.example.App", effect=model.Effect.ALLOW)
    for locked_too in (True, False):
        allowance = dataclasses.replace(too_far, locked=locked_too)
        assert stands(place("home", "write"), allowance).granted == ()
        assert stands(place("home", "write"), allowance, rule({"place": "home", "access": "write"})).granted == ()
