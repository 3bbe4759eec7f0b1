"""What the kinds of the network come to on a machine: rules of the companion, files, and nothing of the host's."""

import dataclasses
import itertools

import pytest

from broker import prompts, wire
from intents import bwrap, compiler, decide, diff, facts, hosts, kinds, model, plan, sandbox, seccomp
from intents import rules as rules_of
from tests.test_compile import NOW, TOOLS, TUN, host

SEEN = host(programs=TOOLS, nodes=(TUN,))
BANK = {"kind": "network", "connect": ["www.example.org:443"]}
ANY = {"kind": "dns", "scope": "any"}


def compiled(*scopes: dict[str, object], seen: facts.HostFacts = SEEN) -> compiler.Compiled:
    """Intents i0, i1, … of these scopes, all granted, compiled."""
    intents = tuple(
        model.Intent(id=f"i{number}", scope=kinds.from_data(scope), optional=True, reason="r", if_denied="d")
        for number, scope in enumerate(scopes)
    )
    app = model.App(
        id="org.example.App", name="App", version="1", serial=1, command=("/usr/bin/app",), interface="terminal",
        aliases=(), packages=(),
    )  # fmt: skip
    manifest = model.Manifest(app=app, intents=intents, digest="0" * 64)
    vetted = model.Vetted(manifest=manifest, trust=model.Trust.PINNED, lineage="0" * 16, fingerprint="SHA256:x")
    life = model.Life(span=model.Lifespan.FOREVER)
    made = [
        one
        for each in intents
        for one in decide.decisions(
            each, each.scope.parts(), model.Effect.ALLOW, life, {}, source="command", now=NOW
        )
    ]
    return compiler.compile_sandbox(decide.settle(diff.diff(vetted, made, NOW, {})), seen)


def rules(*scopes: dict[str, object]) -> list[str]:
    return [rule.words for rule in compiled(*scopes).sandbox.network]


def files(box: sandbox.Sandbox) -> dict[str, sandbox.Mount]:
    return {op.dest: op for op in box.mounts if op.because != sandbox.BASE}


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({"connect": ["www.example.org:443"]}, ["connect i0 tcp www.example.org 443 -"]),
        ({"connect": ["*.example.org:443"], "sni": True}, ["connect i0 tcp *.example.org 443 sni"]),
        ({"connect": ["[2001:db8::/32]:22", "[2001:db9::1]:22"]},
         ["connect i0 tcp 2001:db8::/32 22 -", "connect i0 tcp 2001:db9::1 22 -"]),
        ({"connect": ["time.example.org:123/udp"]}, ["connect i0 udp time.example.org 123 -"]),
        ({"scope": "internet"}, ["internet i0 internet"]),
        ({"scope": "lan"}, ["internet i0 lan"]),
        ({"scope": "host"}, []),
    ],
)  # fmt: skip
def test_the_rules(scope: dict[str, object], expected: list[str]) -> None:
    assert rules({"kind": "network", **scope}) == expected


def test_a_network_of_its_own_shows_nothing_of_the_hosts_names() -> None:
    for scope in (BANK, {"kind": "network", "scope": "internet"}):
        for more in ((), (ANY,)):
            box = compiled(scope, *more).sandbox
            shown = files(box)
            assert isinstance(resolver := shown["/etc/resolv.conf"], sandbox.File)
            assert resolver.content == b"nameserver 127.0.0.53\n"
            assert isinstance(names := shown["/etc/hosts"], sandbox.File) and b"localhost" in names.content
            assert isinstance(shown["/etc/nsswitch.conf"], sandbox.File)
            assert not {"/etc/host.conf", "/etc/gai.conf"} & shown.keys()
            assert "/etc/ssl/certs" in shown
            assert box.share("network") is None and not box.scoped
            assert [rule.words for rule in box.network if rule.verb == "resolve"] == ["resolve i1 any"] * len(more)


def test_names_alone_and_granted_names_give_nothing() -> None:
    assert not compiled(ANY).sandbox.network and not files(compiled(ANY).sandbox)
    granted = {"kind": "dns", "scope": "granted"}
    assert rules(BANK, granted) == rules(BANK)


def test_in_the_hosts_network_nothing_stands_between() -> None:
    whole = {"kind": "network", "scope": "host"}
    box = compiled(whole, BANK, ANY).sandbox  # what no manifest may ask for together
    assert not box.network
    assert box == dataclasses.replace(compiled(whole, {"kind": "usb"}, ANY).sandbox, mounts=box.mounts)
    assert not isinstance(files(box)["/etc/resolv.conf"], sandbox.File)


def test_ports_of_several_decisions_add_up() -> None:
    one, two = ({"kind": "network", "scope": "host", "ports": [port]} for port in (443, 22))
    share = compiled(one, two).sandbox.share("network")
    assert share is not None and share.ports == (22, 443)
    share = compiled(one, {"kind": "network", "scope": "host"}).sandbox.share("network")
    assert share is not None and share.ports == ()


def test_one_companion_has_all_the_rules_however_they_are_split() -> None:
    targets = ["a.example.org:443", "*.example.net:443", "192.0.2.7:22"]
    whole = {rule.removeprefix("connect i0 ") for rule in rules({"kind": "network", "connect": targets})}
    for order in itertools.permutations(targets):
        split = [{"kind": "network", "connect": [target]} for target in order]
        assert {rule.split(" ", 2)[2] for rule in rules(*split)} == whole
    box = compiled({"kind": "network", "connect": targets}, {"kind": "network", "scope": "lan"}).sandbox
    decoded = plan.decode(bwrap.plan_bytes(box, SEEN, guards=(), settings={}))
    assert decoded is not None
    name, program, count, relay, dialer, *words = decoded["companions"]
    assert (name, program, int(count)) == (b"network", b"network", len(words) + 2)
    assert bytes.fromhex(relay[1:].decode()) and bytes.fromhex(dialer[1:].decode()) == seccomp.dialer(SEEN.machine)
    assert words == [
        *(b"=" + rule.words.encode() for rule in box.network),
        b"=tool pasta /usr/bin/pasta",
        b"=tool nft /usr/sbin/nft",
    ]


HOST = (
    "a.example.org:443", "*.example.org:443", "*.a.example.org:443", "b.a.example.org:443", "10.0.0.0/8:443",
    "10.1.0.0/16:443", "10.1.2.3:443", "[2001:db8::/32]:443", "[2001:db8::1]:443", "a.example.org:443/udp", "nas:443",
)  # fmt: skip


def test_targets_are_ordered() -> None:
    found = [hosts.parse(each) for each in HOST]
    assert [each.text for each in found] == list(HOST)
    for one, two in itertools.product(found, found):
        assert (one.covers(two) and two.covers(one)) == (one == two)
        below = [each for each in found if one.covers(each) and two.covers(each)]
        met = one.meet(two)
        assert (met is not None) or not below
        assert met is None or (one.covers(met) and two.covers(met) and all(met.covers(each) for each in below))
        if not two.wild and (one.port, one.protocol) == (two.port, two.protocol):
            assert one.covers(two) == one.matches(two.host)


@pytest.mark.parametrize(
    ("target", "host_name", "expected"),
    [
        ("*.example.org:443", "example.org", False),
        ("*.example.org:443", "badexample.org", False),
        ("*.example.org:443", "a.b.example.org", True),
        ("example.org:443", "a.example.org", False),
        ("10.0.0.0/8:443", "10.255.0.1", True),
        ("10.0.0.0/8:443", "11.0.0.1", False),
        ("10.0.0.0/8:443", "fd00::1", False),
        ("10.0.0.0/8:443", "ten.example.org", False),
        ("[fd12::/16]:443", "fd12::1", True),
        ("*.example.org:443", "10.0.0.1", False),
    ],
)
def test_what_a_target_matches(target: str, host_name: str, expected: bool) -> None:
    assert hosts.parse(target).matches(host_name) is expected


@pytest.mark.parametrize("target", ["nas:445", "printer.local:631", "*.x.lan:80", "a.home.arpa:80", "10.0.0.0/8:80"])
def test_what_is_local(target: str) -> None:
    lan, internet = (kinds.from_data({"kind": "network", "scope": scope}) for scope in ("lan", "internet"))
    asked = kinds.from_data({"kind": "network", "connect": [target]})
    assert hosts.parse(target).local
    assert lan.covers(asked) and not internet.covers(asked) and internet.meet(asked) is None


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({}, "tcp 4533 loopback:4533 -"),
        ({"from": "lan"}, "tcp 4533 lan:4533 -"),
        ({"from": "all", "proxy_protocol": True}, "tcp 4533 all:4533 proxy2"),
        ({"socket": "x.sock"}, "tcp 4533 unix:/run/user/1000/org.example.App/x.sock -"),
        ({"activation": True}, "tcp 4533 systemd:i0 -"),
    ],
)
def test_what_comes_in(scope: dict[str, object], expected: str) -> None:
    asked = {"kind": "listen", "port": 4533, **scope}
    assert rules(asked) == [f"listen i0 {expected}"]
    box = compiled(asked).sandbox
    assert box.share("network") is None and not files(box)
    assert not compiled(asked, ANY).sandbox.share("network") and rules(asked, ANY) == rules(asked)
    assert rules(asked, {"kind": "network", "scope": "host"}) == []


def test_a_socket_needs_a_place_of_its_own() -> None:
    asked = {"kind": "listen", "port": 4533, "socket": "x.sock"}
    for directory in ("", "/run/a b", "/run/\u202e"):
        result = compiled(asked, seen=dataclasses.replace(SEEN, runtime_dir=directory))
        assert [error.code for _, error in result.withheld] == ["no-runtime-directory"]
    root = dataclasses.replace(SEEN, runtime_dir="", account=dataclasses.replace(SEEN.account, uid=0))
    (rule,) = compiled(asked, seen=root).sandbox.network
    assert " unix:/run/org.example.App/x.sock " in rule.words


def asking(*answers: model.Decision) -> model.Delta:
    """An app that asks for one server at the start and for two once it tries them, after these answers."""
    now = model.Intent(id="now", scope=kinds.from_data(BANK), optional=True, reason="r", if_denied="d")
    servers = {"kind": "network", "connect": ["a.example.net:443", "b.example.net:443"]}
    later = model.Intent(
        id="later", scope=kinds.from_data(servers), optional=True, reason="r", if_denied="d", on_use=True
    )
    app = model.App(
        id="org.example.App", name="App", version="1", serial=1, command=("/usr/bin/app",), interface="terminal",
        aliases=(), packages=(),
    )  # fmt: skip
    manifest = model.Manifest(app=app, intents=(now, later), digest="0" * 64)
    vetted = model.Vetted(manifest=manifest, trust=model.Trust.PINNED, lineage="0" * 16, fingerprint="SHA256:x")
    return diff.diff(vetted, answers, NOW, {})


def said(server: str, effect: model.Effect) -> tuple[model.Decision, ...]:
    scope = kinds.from_data({"kind": "network", "connect": [server]})
    intent = model.Intent(id="any", scope=scope, optional=True, reason="r", if_denied="d")
    life = model.Life(span=model.Lifespan.FOREVER)
    return decide.decisions(intent, (scope,), effect, life, {}, source="prompt", now=NOW)


def test_what_is_asked_on_use_is_no_question_at_the_start() -> None:
    fresh = asking()
    assert [change.intent.id for change in fresh.questions] == ["now"]
    assert [change.intent.id for change in fresh.later] == ["later"]
    assert not decide.storable(fresh)
    shown = prompts.request(fresh, SEEN, session_available=True, root=False)
    assert [question.intent_id for question in shown.questions] == ["now"]
    assert shown.later == ("a.example.net", "b.example.net")
    assert "Will ask when first used: a.example.net, b.example.net." in list(prompts.not_asked(shown))
    assert wire.read_request(wire.request_data(shown)) == shown
    settled = asking(*said("www.example.org:443", model.Effect.DENY))
    assert not settled.questions and decide.storable(settled)
    tried = dataclasses.replace(fresh, tried=("later",))
    assert [change.intent.id for change in tried.questions] == ["now", "later"] and not tried.later


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((), {"later tcp a.example.net 443 ask", "later tcp b.example.net 443 ask"}),
        (said("a.example.net:443", model.Effect.ALLOW),
         {"later tcp a.example.net 443 -", "later tcp b.example.net 443 ask"}),
        (said("a.example.net:443", model.Effect.DENY), {"later tcp b.example.net 443 ask"}),
        (said("*.example.net:443", model.Effect.DENY), set()),
        (said("*.example.net:443", model.Effect.ALLOW),
         {"later tcp a.example.net 443 -", "later tcp b.example.net 443 -"}),
    ],
)  # fmt: skip
def test_what_is_open_is_a_rule_that_asks(answers: tuple[model.Decision, ...], expected: set[str]) -> None:
    grant = decide.settle(asking(*answers))
    box = compiler.compile_sandbox(grant, SEEN).sandbox
    assert {rule.words.removeprefix("connect ") for rule in box.network} == expected
    flags = ["ask" in rule.flags for rule in box.network]
    assert flags == sorted(flags)  # what needs no answer is found first
    assert bool(expected) == ("/etc/resolv.conf" in files(box))
    assert not dict(grant.scopes()).keys() - {"later"}


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (["www.ecb.europa.eu:443"], "By this it can contact www.ecb.europa.eu, port 443, nothing else."),
        (["time.example.org:123/udp"], "By this it can contact time.example.org, port 123 (UDP), nothing else."),
        (
            ["b.example.org:443", "a.example.org:443", "*.example.net:443", "192.168.1.0/24:631"],
            "By this it can contact all below example.net, a.example.org and b.example.org at port 443; "
            "192.168.1.0/24, port 631, nothing else.",
        ),
    ],
)
def test_the_sentence_is_what_is_enforced(targets: list[str], expected: str) -> None:
    assert kinds.from_data({"kind": "network", "connect": targets}).phrase(SEEN).allows == expected


def test_a_long_name_is_told_by_its_end() -> None:
    long = kinds.from_data({"kind": "network", "connect": [f"{'a' * 60}.evil.example.org:443"]})
    title = long.phrase(SEEN).title
    assert len(title) == 24 and title.endswith(".evil.example.org")


def test_who_has_allowed_more_is_not_asked_for_less() -> None:
    """An update that names its servers where it had the whole network."""
    whole = kinds.from_data({"kind": "network", "scope": "host"})
    old = model.Intent(id="net", scope=whole, optional=True, reason="r", if_denied="d")
    life = model.Life(span=model.Lifespan.FOREVER)
    for effect in model.Effect:
        made = decide.decisions(old, (whole,), effect, life, {}, source="prompt", now=NOW)
        delta = asking(*made)
        assert not delta.questions and not delta.later and not delta.withdrawn
        given = {scope for _, scope in decide.settle(delta).scopes()}
        assert bool(given) is (effect is model.Effect.ALLOW)
        assert all(scope.data().keys() == {"connect"} for scope in given)


SERVERS = ("x.ads.example:443", "www.example.org:443", "10.1.2.3:443")


@pytest.mark.parametrize(
    ("denied", "left"),
    [
        ({"connect": ["*.ads.example:443"]}, {"www.example.org:443", "10.1.2.3:443"}),
        ({"connect": ["10.0.0.0/8:443"]}, {"x.ads.example:443", "www.example.org:443", "internet"}),
        ({"connect": ["10.0.0.0/8:80"]}, {*SERVERS, "internet"}),
        ({"scope": "internet"}, {"10.1.2.3:443"}),
        ({"scope": "lan"}, set()),
        ({"scope": "host"}, set()),
        ({"scope": "host", "ports": [25]}, {*SERVERS, "internet", "lan"}),
    ],
)
def test_what_the_administrator_denies_is_denied_within_more_as_well(denied: dict[str, object], left: set[str]) -> None:
    rule = model.Rule(
        file="a", line=1, app="*", kind="network", effect=model.Effect.DENY, locked=True, reason="r",
        scope=kinds.from_data({"kind": "network", **denied}),
    )  # fmt: skip
    held = rules_of.about([rule], asking().vetted, SEEN)
    asked: dict[str, dict[str, object]] = {
        **{server: {"connect": [server]} for server in SERVERS},
        **{scope: {"scope": scope} for scope in ("internet", "lan", "host")},
    }
    found = {name for name, keys in asked.items() if held.left(kinds.from_data({"kind": "network", **keys}))[0]}
    assert found == left
