"""Every option of a launch belongs to the base or to one intent (SPEC §11.4), on generated grants and machines."""

from hypothesis import given

from intents import bwrap, compiler, facts, plan, sandbox, trace
from tests.laws import test_compile as compiling


def groups(case: compiling.Case, box: sandbox.Sandbox, names: tuple[str, ...]) -> list[dict[str, object]]:
    owners = [trace.Owner(intent=name, granted=(), because="") for name in names]
    return trace.tell(trace.options(box, case.host), owners, case.grant.vetted.manifest.app)


def rows(told: list[dict[str, object]], part: str) -> list[tuple[str, list[str]]]:
    """(group, words) of every option of a part."""
    found = []
    for group in told:
        options = group["options"]
        assert isinstance(options, list)
        found += [(str(group["group"]), option["words"]) for option in options if option["part"] == part]
    return found


def encoded_rows(box: sandbox.Sandbox, host: facts.HostFacts) -> list[list[str]]:
    """The plan's own bubblewrap arguments, one option with its operands per row, read back from its bytes."""
    sections = plan.decode(bwrap.plan_bytes(box, host, guards=(), settings={}))
    assert sections is not None
    sources = [item.decode() for item in sections["binds"][::2]]
    args = [item.decode() for item in sections["args"]]
    found: list[list[str]] = []
    while args:
        count = 1 + compiling.OPTIONS[args[0][1:]]
        row, args = args[:count], args[count:]
        shown = [arg[1:] if arg[0] in "=d" else f"<{sources[int(arg[1:])]}>" if arg[0] == "b" else "" for arg in row]
        if found and found[-1][0] == "--perms" and len(found[-1]) == 2:
            found[-1] += shown
        else:
            found.append(shown)
    return found


@given(compiling.cases())
def test_the_groups_together_are_the_launch(case: compiling.Case) -> None:
    box, host = compiling.compiled(case).sandbox, case.host
    names = tuple(verdict.intent.id for verdict in case.grant.verdicts)
    told = groups(case, box, names)
    assert [group["group"] for group in told] == ["base", *names]
    found = (words for _, words in rows(told, trace.BUBBLEWRAP))
    shown = sorted([word for word in words if word[:1] != "<" or word[1:2] == "/"] for words in found)
    argv = [[word for word in row if word] for row in encoded_rows(box, host)]
    passed = [["--setenv", op.name] for op in box.passed]
    assert shown == sorted([[host.bwrap], *argv, *passed, ["--", *box.command]])


@given(compiling.cases())
def test_each_operation_stands_under_whoever_it_is_there_for(case: compiling.Case) -> None:
    box = compiling.compiled(case).sandbox
    told = groups(case, box, tuple(verdict.intent.id for verdict in case.grant.verdicts))
    options = rows(told, trace.BUBBLEWRAP)
    variables = {words[1]: group for group, words in options if words[0] == "--setenv"}
    assert variables == {op.name: op.because for op in (*box.env, *box.passed)}
    dests = {words[-1]: group for group, words in options if words[0] in ("--perms", "--symlink") or "bind" in words[0]}
    assert dests.items() >= {mount.dest: mount.because for mount in box.mounts if mount.dest in dests}.items()
    assert {mount.dest for mount in box.mounts if not isinstance(mount, sandbox.Special)} <= set(dests)
    assert sorted(rows(told, trace.FILTER)) == sorted((op.because, [op.feature]) for op in box.allows)
    beside = rows(told, trace.COMPANION)
    for rule in box.bus_rules:
        assert (rule.because, [f"--{rule.verb}={rule.rule}"]) in beside
    for reach in box.network:
        assert (reach.because, [reach.words]) in beside
    launch = rows(told, trace.LAUNCH)
    elsewhere = (*box.mounts, *box.env, *box.passed, *box.allows, *box.bus_rules, *box.network, *box.companions)
    for op in box.ops:
        assert op in elsewhere or op == box.share("network") or (op.because, [op.describe()]) in launch, op
    network = box.share("network")
    assert [group for group, words in options if words == ["--share-net"]] == ([network.because] if network else [])


@given(compiling.cases())
def test_what_is_not_granted_adds_no_option(case: compiling.Case) -> None:
    result: compiler.Compiled = compiling.compiled(case)
    given_ids = compiling.given_ids(case, result)
    for group in groups(case, result.sandbox, tuple(verdict.intent.id for verdict in case.grant.verdicts)):
        assert group["options"] == [] or group["group"] in ("base", *given_ids)
