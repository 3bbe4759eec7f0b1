"""What compiling promises for every grant on every machine (SPEC §9.3), on generated ones."""

import dataclasses
import pathlib
import random
from collections.abc import Mapping
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from broker import companions
from intents import bwrap, compiler, explain, facts, kinds, model, paths, plan, sandbox
from intents.kinds import dbus, path
from tests.laws import generate
from tests.model import mounts

RULES_OF_A_FILTER = ("filter", "sloppy-names", "see", "talk", "own", "call", "broadcast")
ACCESS = st.sampled_from(["read", "write", "create"])
# Every option that a plan may hold, and how many operands it takes (bwrap(1)).
OPTIONS = {
    "--unshare-ipc": 0, "--unshare-pid": 0, "--unshare-net": 0, "--unshare-uts": 0, "--unshare-cgroup-try": 0,
    "--dev-bind": 2,
    "--unshare-all": 0, "--unshare-user": 0, "--disable-userns": 0, "--cap-drop": 1, "--share-net": 0, "--hostname": 1,
    "--ro-bind": 2, "--bind": 2, "--ro-bind-fd": 2, "--bind-fd": 2, "--ro-bind-data": 2, "--perms": 1, "--tmpfs": 1,
    "--dir": 1, "--symlink": 2, "--proc": 1, "--dev": 1, "--remount-ro": 1, "--setenv": 2, "--chdir": 1, "--seccomp": 1,
}  # fmt: skip


HOSTS = pathlib.Path(__file__).parents[1] / "hosts"
RECORDED = [facts.from_json(file.read_text("utf-8")) for file in sorted(HOSTS.glob("*.json"))]


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """A grant on a machine."""

    grant: model.Grant
    host: facts.HostFacts


def settled(vetted: model.Vetted, given: list[bool]) -> model.Grant:
    """The grant that gives the intents for which ``given`` says so."""
    pairs = zip(vetted.manifest.intents, given, strict=True)
    made = tuple(model.Verdict(intent=each, granted=(each.scope,) if yes else (), because="") for each, yes in pairs)
    return model.Grant(vetted=vetted, verdicts=made)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    scopes = draw(st.lists(generate.PATHS, min_size=draw(st.integers(0, 3)), max_size=4))
    scopes += draw(st.lists(generate.SCOPES, max_size=3))
    return draw(granted(scopes))


@st.composite
def clashes(draw: st.DrawFn) -> Case:
    """Directories to persist, and paths that may lead to the same places."""
    near = st.sampled_from(["home/a", "home/a/b", "home/b", "xdg-documents/a", "home", "/home/u/a", "/srv/a/b", "/srv"])
    table = st.builds(lambda place, access: {"kind": "path", "place": place, "access": access}, near, ACCESS)
    found = draw(st.lists(table.map(kinds.from_data), min_size=1, max_size=2))
    return draw(granted([draw(generate.PERSISTS), *found]))


@st.composite
def granted(draw: st.DrawFn, scopes: list[model.Scope]) -> Case:
    """Some of these scopes granted on some machine."""
    trust = draw(st.sampled_from([model.Trust.PINNED, model.Trust.UNSIGNED]))
    vetted = generate.vetted(scopes, trust, draw(st.sampled_from(generate.BASES)))
    places = [scope.place.text for scope in scopes if isinstance(scope, path.Path)]
    given = draw(st.lists(st.sampled_from([True, True, False]), min_size=len(scopes), max_size=len(scopes)))
    seen = draw(st.one_of(generate.machines(places), generate.machines(places), st.sampled_from(RECORDED)))
    return Case(settled(vetted, given), explain.assume(vetted.manifest, seen) if seen in RECORDED else seen)


def compiled(case: Case) -> compiler.Compiled:
    return compiler.compile_sandbox(case.grant, case.host)


def on(case: Case, chosen: tuple[str, str]) -> sandbox.Sandbox:
    """What the same grant gives on another base."""
    app = dataclasses.replace(case.grant.vetted.manifest.app, base=chosen[0], libraries=chosen[1])
    manifest = dataclasses.replace(case.grant.vetted.manifest, app=app)
    vetted = dataclasses.replace(case.grant.vetted, manifest=manifest)
    return compiled(Case(dataclasses.replace(case.grant, vetted=vetted), case.host)).sandbox


def encoded(box: sandbox.Sandbox, host: facts.HostFacts) -> bytes:
    return bwrap.plan_bytes(box, host, guards=(), settings={})


def given_ids(case: Case, result: compiler.Compiled) -> set[str]:
    withheld = {name for name, _ in result.withheld}
    return {verdict.intent.id for verdict in case.grant.verdicts if verdict.granted} - withheld


def binds(box: sandbox.Sandbox) -> list[sandbox.Bind]:
    return [mount for mount in box.mounts if isinstance(mount, sandbox.Bind)]


@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_intents_does_not_matter(case: Case, chance: random.Random) -> None:
    verdicts = list(case.grant.verdicts)
    chance.shuffle(verdicts)
    mixed = dataclasses.replace(case.grant, verdicts=tuple(verdicts))
    one, two = compiled(case).sandbox, compiler.compile_sandbox(mixed, case.host).sandbox
    assert one == two
    assert encoded(one, case.host) == encoded(two, case.host)


@given(cases())
def test_without_a_grant_there_is_the_base_and_nothing_else(case: Case) -> None:
    nothing = settled(case.grant.vetted, [False] * len(case.grant.verdicts))
    bare = dataclasses.replace(case.grant, verdicts=())
    box = compiler.compile_sandbox(nothing, case.host).sandbox
    assert box == compiler.compile_sandbox(bare, case.host).sandbox
    assert {op.because for op in box.ops} == {sandbox.BASE}
    assert not box.shares and not box.allows and not box.bus_rules and not box.links


@given(cases())
def test_everything_else_is_there_for_a_granted_intent(case: Case) -> None:
    result = compiled(case)
    assert {op.because for op in result.sandbox.ops} <= {sandbox.BASE, *given_ids(case, result)}
    # The base is under every grant; only what stands at the very same place gives way, to more.
    bare = compiler.compile_sandbox(dataclasses.replace(case.grant, verdicts=()), case.host).sandbox
    solid = [mount.dest for mount in bare.mounts if not isinstance(mount, sandbox.Symlink)]
    assert {*solid} <= {mount.dest for mount in result.sandbox.mounts}


@generate.MANY
@given(st.one_of(cases(), clashes()), st.data())
def test_more_grants_never_show_less(case: Case, data: st.DataObject) -> None:
    more = data.draw(st.lists(st.booleans(), min_size=len(case.grant.verdicts), max_size=len(case.grant.verdicts)))
    both = [bool(verdict.granted) or yes for verdict, yes in zip(case.grant.verdicts, more, strict=True)]
    wide = Case(settled(case.grant.vetted, both), case.host)
    less, much = compiled(case).sandbox, compiled(wide).sandbox
    shows_no_more(less, much, case.host)
    assert set(less.bus_rules) <= set(much.bus_rules)


@generate.MANY
@given(cases(), st.data())
def test_less_of_a_scope_never_shows_more(case: Case, data: st.DataObject) -> None:
    """Unless the whole cannot be given at all: reading what may not be changed, for one."""
    given_whole = given_ids(case, compiled(case))
    verdicts = []
    for verdict in case.grant.verdicts:
        offered = verdict.intent.scope.narrower() if verdict.intent.id in given_whole else ()
        less = data.draw(st.sampled_from([verdict.granted, *((each,) for each in offered)]))
        verdicts.append(dataclasses.replace(verdict, granted=less))
    narrow = compiler.compile_sandbox(dataclasses.replace(case.grant, verdicts=tuple(verdicts)), case.host).sandbox
    whole = compiled(case).sandbox
    shows_no_more(narrow, whole, case.host)
    for rule in narrow.bus_rules:
        wide = [dbus.Rule(verb=each.verb, operand=each.rule) for each in whole.bus_rules if each.bus == rule.bus]
        assert any(each.covers(dbus.Rule(verb=rule.verb, operand=rule.rule)) for each in wide), rule


def shows_no_more(less: sandbox.Sandbox, much: sandbox.Sandbox, host: facts.HostFacts) -> None:
    """All that is there in the one is in the other, where it is and as it is; and every namespace and system call."""
    narrow_view, wide_view = mounts.visible(less.mounts), mounts.visible(much.mounts)
    for each in {*narrow_view, *(fact.path for fact in host.paths), *(fact.real for fact in host.paths)}:
        if not each or not (source := mounts.source(narrow_view, each)):
            continue
        assert mounts.source(wide_view, each) == source, each
        assert mounts.at(wide_view, each)[0].writable >= mounts.at(narrow_view, each)[0].writable, each
    assert {share.namespace for share in less.shares} <= {share.namespace for share in much.shares}
    assert {allow.feature for allow in less.allows} <= {allow.feature for allow in much.allows}


@generate.MANY
@given(cases(), st.sampled_from(list(pairwise(generate.BASES))))
def test_a_narrower_base_shows_nothing_that_a_wider_one_does_not(
    case: Case, bases: tuple[tuple[str, str], tuple[str, str]]
) -> None:
    less, much = (on(case, chosen) for chosen in bases)
    narrow_view, wide_view = mounts.visible(less.mounts), mounts.visible(much.mounts)
    for at, seen in narrow_view.items():
        wide, top = mounts.at(wide_view, at)
        by_link = f"/{wide.target.strip('/')}{at[len(top) :]}"  # such as /lib, which only the wider base has
        assert not seen.source or mounts.source(wide_view, at) == seen.source, at
        assert not seen.target or wide.source or seen.target in (wide.target, by_link), at
        assert wide.writable >= seen.writable, at
    assert {env.name: env.value for env in less.env}.items() <= {env.name: env.value for env in much.env}.items()
    assert set(less.passed) <= set(much.passed)
    assert set(less.make) <= set(much.make) and set(less.links) <= set(much.links)
    apart = {"mounts", "env", "passed", "make", "links"}
    alike = {field.name for field in dataclasses.fields(less)} - apart
    assert all(getattr(less, name) == getattr(much, name) for name in alike)


@given(cases())
def test_strict_shows_what_is_needed_and_nothing_else_of_the_system(case: Case) -> None:
    box = on(Case(settled(case.grant.vetted, [False] * len(case.grant.verdicts)), case.host), generate.BASES[0])
    own = f"{case.host.apps}/{case.grant.vetted.key}/"
    shown = {bind.source for bind in binds(box) if not bind.source.startswith(own)}
    assert case.host.closure is not None
    assert shown == {entry.path for entry in case.host.closure.entries if entry.kind != "link"}


@generate.MANY
@given(cases())
def test_nothing_of_the_broker_is_a_source_but_the_apps_own(case: Case) -> None:
    box, host = compiled(case).sandbox, case.host
    own = f"{host.apps}/{case.grant.vetted.key}/"
    for bind in binds(box):
        if not bind.source.startswith(own):
            assert not any(paths.inside(bind.source, place) for place in host.reserved), bind
    view = mounts.visible(box.mounts)
    for place in host.reserved:
        exists = any(fact.path == place and fact.kind == "dir" for fact in host.paths)
        seen = [at for at in view if paths.inside(place, mounts.source(view, at) or "//")]
        for at in seen:
            shown = at + place[len(mounts.source(view, at)) :]
            assert not exists or mounts.source(view, shown) != place, (place, at)
    for made in box.make:
        inside = [place for place in host.reserved if paths.inside(made.path, place)]
        assert not inside or made.path.startswith(own), made


@given(st.one_of(cases(), clashes()))
def test_destinations_are_unique_and_parents_come_first(case: Case) -> None:
    dests = [mount.dest for mount in compiled(case).sandbox.mounts]
    assert len(set(dests)) == len(dests)
    for number, dest in enumerate(dests):
        assert not any(paths.inside(dests[number], later) for later in dests[number + 1 :]), dest
        assert dest.startswith("/") and "//" not in dest and not {".", ".."} & set(dest.split("/"))


@given(st.one_of(cases(), clashes()))
def test_no_mount_point_lies_where_the_app_or_the_host_could_be_hurt(case: Case) -> None:
    """Not below a writable bind, not below a link, and below a readable bind only where the host has it already."""
    box, host = compiled(case).sandbox, case.host
    there = {fact.real: fact.kind for fact in host.paths} | {fact.path: fact.kind for fact in host.paths}
    made = {host.account.home, *(each.path for each in box.make)}
    for mount in box.mounts:
        above = [other for other in box.mounts if other.dest != mount.dest and paths.inside(mount.dest, other.dest)]
        if not above:
            continue
        assert not any(isinstance(other, sandbox.Symlink | sandbox.File) for other in above), mount
        under = max(above, key=lambda other: len(other.dest))
        writable = [bind.dest for bind in binds(box) if bind.access is sandbox.Access.WRITE]
        assert not any(other.dest in writable for other in above), mount
        if isinstance(under, sandbox.Bind):
            source = under.source + mount.dest[len(under.dest) :]
            assert not isinstance(mount, sandbox.Symlink | sandbox.Directory), mount
            assert there.get(source, "absent") in ("dir", "file") or source in made, (mount, under)


@given(cases())
def test_every_argument_is_an_option_or_an_operand_of_one(case: Case) -> None:
    """Whatever a manifest, a path or a name holds, bubblewrap reads the options that were meant, and no others."""
    box = compiled(case).sandbox
    sections = plan.decode(encoded(box, case.host))
    assert sections is not None
    args = [arg.decode() for arg in sections["args"]]
    limits = {"b": len(sections["binds"]) // 2, "f": len(sections["files"])}
    while args:
        option, *args = args
        assert option[0] == "=" and option[1:] in OPTIONS, option
        count = OPTIONS[option[1:]]
        operands, args = args[:count], args[count:]
        assert len(operands) == count
        for operand in operands:
            tag, rest = operand[0], operand[1:]
            launched = sandbox.LaunchSocket | sandbox.LaunchFile
            made = {f"s{mount.name}" for mount in box.mounts if isinstance(mount, launched)}
            assert tag in "=cd" or (tag in limits and int(rest) < limits[tag]) or operand in made
    assert sections["command"] == (b"/usr/bin/app", b"--option")


def _unwrapped(arguments: list[bytes]) -> tuple[bytes, list[bytes]]:
    """Program and arguments of a companion in a sandbox of its own, which lets it write into one directory."""
    at = arguments.index(b"=--")
    around = [arg.decode() for arg in arguments[2:at]]
    assert arguments[:2] == [b"=--args", b"l%d " % len(around)]
    assert around[:3] == ["=--unshare-all", "=--unshare-user", "=--disable-userns"]
    assert around.count("=--bind") == 1 and around[around.index("=--bind") + 1] == "s"
    return arguments[at + 1][1:], arguments[at + 2 :]


@given(cases())
def test_the_filter_of_a_bus_is_given_rules_and_nothing_else(case: Case) -> None:
    sections = plan.decode(encoded(compiled(case).sandbox, case.host))
    assert sections is not None
    records = list(companions._records(sections["companions"]))
    proxies = [(program, arguments) for name, program, arguments in records if name == b"xdg-dbus-proxy"]
    proxies += [_unwrapped(arguments) for name, _, arguments in records if name == b"bwrap"]
    # the executor takes the first companion for it
    assert [name for name, _, _ in records[1:] if name == b"xdg-dbus-proxy"] == []
    for program, (ready, listed, *rules) in proxies:
        assert (program, ready) == (case.host.proxy.encode(), b"w--fd=")
        assert listed == b"l%d --args=" % len(rules)
        for operand in [arg.decode() for arg in rules]:
            tag, _, rest = operand.partition("--")
            assert operand.startswith(("=unix:", "ssession", "ssystem", "sa11y")) or (
                tag == "=" and rest.partition("=")[0] in RULES_OF_A_FILTER
            )


@given(cases())
def test_the_compositor_is_reached_only_by_what_keeps_apart(case: Case) -> None:
    """Its socket is shown to no app, and to no companion but the one that keeps the walls."""
    box, found = compiled(case).sandbox, case.host.wayland
    where, walls = (found.socket, found.context == ("wl_shm",)) if found else ("nowhere", False)
    keepers = [op for op in box.companions if f"={where}" in op.arguments]
    assert {op.program for op in keepers} <= {"wayland_context" if walls else "wayland_filter"}
    assert where not in {bind.source for bind in binds(box)}
    windows = [op for op in box.mounts if isinstance(op, sandbox.LaunchSocket) and op.name == "wayland"]
    assert len(windows) == [op.arguments[0] for op in keepers].count("swayland")


@given(cases())
def test_every_source_is_there(case: Case) -> None:
    """bubblewrap refuses to start for one that is not; a link to nowhere is none."""
    box, host = compiled(case).sandbox, case.host
    made = {each.path for each in box.make}
    for bind in binds(box):
        fact = next((fact for fact in host.paths if bind.source in (fact.path, fact.real)), None)
        assert fact is None or fact.kind in ("dir", "file") or bind.source in made, bind


@given(cases())
def test_sharing_the_network_closes_what_the_namespace_closed(case: Case) -> None:
    box = compiled(case).sandbox
    shows_x11 = any(isinstance(op, sandbox.Bind) and op.dest.startswith("/tmp/.X11-unix/") for op in box.mounts)
    assert box.scoped == (
        bool({share.namespace for share in box.shares} & compiler.SCOPED) and case.host.landlock >= 6 and not shows_x11
    )
    names = {verdict.intent.id for verdict in case.grant.verdicts if verdict.intent.scope.kind == "dns"}
    if box.share("network") is None:
        told = [op for op in box.ops if op.because in names]
        out = any(rule.verb in ("connect", "internet") for rule in box.network)
        assert all(out and isinstance(op, sandbox.NetworkRule) for op in told)
    else:
        assert not box.network


@given(cases())
def test_what_a_network_of_its_own_reaches_was_granted(case: Case) -> None:
    result = compiled(case)
    given_ids = {name for name, _ in case.grant.scopes()} - {name for name, _ in result.withheld}
    granted = [scope for name, scope in case.grant.scopes() if name in given_ids]
    for rule in result.sandbox.network:
        words = rule.rule.split(" ")
        if rule.verb == "connect":
            host = f"[{words[1]}]" if ":" in words[1] else words[1]
            table: dict[str, object] = {"connect": [f"{host}:{words[2]}{'/udp' if words[0] == 'udp' else ''}"]}
            table |= {"sni": True} if "sni" in rule.flags else {}
            asked = kinds.from_data({"kind": "network", **table})
        elif rule.verb == "internet":
            asked = kinds.from_data({"kind": "network", "scope": words[0]})
        else:
            continue
        assert any(scope.covers(asked) for scope in granted)
    given = {mount.dest for mount in result.sandbox.mounts if mount.because != sandbox.BASE}
    reached = given & {"/etc/resolv.conf", "/etc/nsswitch.conf"}
    assert bool(reached) <= any(scope.kind in ("network", "dns") for scope in granted)


@given(cases())
def test_what_is_reported_as_not_given_is_not_given(case: Case) -> None:
    result = compiled(case)
    told = {name for name, _ in result.withheld}
    assert not {op.because for op in result.sandbox.ops} & told


def test_the_reference_is_told_apart_from_nothing() -> None:
    """The model of mounts itself, on the cases that matter."""
    home = sandbox.Tmpfs(dest="/h")
    read = sandbox.Bind(source="/s", dest="/h/a")
    write = sandbox.Bind(source="/w", dest="/h/a/b", access=sandbox.Access.WRITE)
    view: Mapping[str, mounts.Seen] = mounts.visible([home, read, write])
    assert mounts.source(view, "/h/a/b/c") == "/w/c"
    assert mounts.source(view, "/h/a/c") == "/s/c"
    assert mounts.source(mounts.visible([write, home]), "/h/a/b/c") == ""
