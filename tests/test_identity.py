"""How portals recognise an app: its name there, the identity file, the directory of an instance (SPEC §9.8)."""

import dataclasses
import os
import pathlib

import pytest

from broker import identity as written
from intents import bwrap, errors, explain, facts, identity, model, portals, sandbox
from intents import kinds as read_kind
from tests.laws import generate
from tests.laws import test_compile as compiling

DESKTOP = next(host for host in compiling.RECORDED if host.bus("session") and host.proxy)


@pytest.mark.parametrize(
    ("app_id", "trust", "name"),
    [
        ("org.example.App", model.Trust.VOUCHED, "org.example.App"),
        ("org.example.App-2", model.Trust.VOUCHED, "org.example.App-2"),
        ("org.exa-mple.App", model.Trust.VOUCHED, "org.exa_mple.App.k0123456789abcdef"),
        ("org.example.App", model.Trust.PINNED, "org.example.App.k0123456789abcdef"),
        ("org.example.App", model.Trust.FIRST_USE, "org.example.App.k0123456789abcdef"),
        ("org.example.App-2", model.Trust.UNSIGNED, "org.example.App_2.k0123456789abcdef"),
    ],
)
def test_only_an_app_that_is_vouched_for_goes_by_its_id(app_id: str, trust: model.Trust, name: str) -> None:
    made = generate.vetted([], trust)
    app = dataclasses.replace(made.manifest.app, id=app_id)
    vetted = dataclasses.replace(made, manifest=dataclasses.replace(made.manifest, app=app))
    assert identity.portal_id(vetted) == name


def compiled(*kinds: str) -> tuple[sandbox.Sandbox, facts.HostFacts]:
    """What these kinds give on a recorded desktop with portals."""
    session = dataclasses.replace(DESKTOP.bus("session") or DESKTOP.buses[0], activatable=(portals.SERVICE,))
    host = dataclasses.replace(DESKTOP, buses=(session,), documents="/run/user/1000/doc")
    tables = [{"kind": kind} | ({"scope": "host"} if kind == "network" else {}) for kind in kinds]
    vetted = generate.vetted([read_kind.from_data(table) for table in tables])
    grant = compiling.settled(vetted, [True] * len(kinds))
    case = compiling.Case(grant, explain.assume(vetted.manifest, host))
    return compiling.compiled(case).sandbox, case.host


def test_the_file_tells_of_the_network_when_that_is_granted_and_of_nothing_else() -> None:
    alone = "[Application]\nname=org.example.App.k0123456789abcdef\n\n[Instance]\ninstance-id="
    assert identity.keyfile(compiled("files")[0]) == alone
    assert identity.keyfile(compiled("files", "network")[0]) == alone.replace("[I", "[Context]\nshared=network;\n\n[I")


def test_only_files_lets_toolkits_pick_files_by_the_portal() -> None:
    def shown(*kinds: str) -> list[str]:
        return [op.dest for op in compiled(*kinds)[0].mounts if isinstance(op, sandbox.LaunchFile)]

    assert shown("notifications") == []
    assert shown("open-uri", "location") == ["/.flatpak-info"]
    assert shown("files") == ["/.flatpak-info", "/run/user/1000/flatpak-info"]


def test_notifications_go_by_the_portal_only_with_an_identity() -> None:
    def rules(*kinds: str) -> list[str]:
        return [op.rule for op in compiled(*kinds)[0].bus_rules if "portal.Notification." in op.rule]

    assert rules("notifications") == []
    assert len(rules("notifications", "appearance")) == 1


def test_no_rule_is_wider_than_one_portal() -> None:
    for kind in (kind for kind, scope in read_kind.KINDS.items() if isinstance(scope, portals.Portal)):
        rules = compiled(kind)[0].bus_rules
        assert rules, kind
        for rule in rules:
            assert rule.verb in ("call", "broadcast")
            name, _, method = rule.rule.partition("=")
            assert name in (portals.SERVICE, "org.freedesktop.portal.Documents")
            assert method.count(".") >= 4 and "@/org/freedesktop/portal/" in method, rule
        assert len(set(rules)) == len({(rule.bus, rule.verb, rule.rule) for rule in rules})


def test_the_proxys_own_sandbox_is_there_only_for_portals() -> None:
    def programs(*kinds: str) -> list[str]:
        box, host = compiled(*kinds)
        return [words[0] for _, words in bwrap.companion_arguments(box, host)]

    assert programs("notifications") == [DESKTOP.proxy]
    assert programs("notifications", "open-uri") == [DESKTOP.bwrap]


def test_an_abstract_bus_is_reached_in_the_network_it_is_in() -> None:
    bus = facts.Bus(name="session", address="unix:abstract=/tmp/bus", activatable=(), owned=())
    named = dataclasses.replace(bus, address="unix:path=/run/a%20b,guid=1")
    assert "=--share-net" in identity.around_proxy(DESKTOP, (bus,))
    assert "=/run/a b" in identity.around_proxy(DESKTOP, (named,))
    assert "=--share-net" not in identity.around_proxy(DESKTOP, (named,))


def test_an_instance_is_new_private_and_removed_once_its_launch_left_nothing(tmp_path: pathlib.Path) -> None:
    run, instances = tmp_path / "run", tmp_path / ".flatpak"
    launch = run / str(os.getpid())
    launch.mkdir(parents=True)
    (instances / "1234").mkdir(parents=True)  # Flatpak's own
    names = []
    for _ in range(2):
        os.close(written.make(b"instance-id=", os.fsencode(instances), os.fsencode(launch)))
        names.append((launch / "identity").read_text().strip().removeprefix("instance-id="))
        assert (instances / names[-1]).stat().st_mode & 0o777 == 0o700
        assert (instances / names[-1] / "bwrapinfo.json").stat().st_mode & 0o777 == 0o600
        (launch / "identity").unlink()
    assert names[0] != names[1]
    written.remove_stale(str(instances), str(run))
    assert {each.name for each in instances.iterdir()} == {"1234", *names}
    launch.rmdir()
    written.remove_stale(str(instances), str(run))
    assert {each.name for each in instances.iterdir()} == {"1234"}


def test_an_identity_that_cannot_be_written_stops_the_launch(tmp_path: pathlib.Path) -> None:
    (tmp_path / ".flatpak").write_text("in the way")
    with pytest.raises(errors.HostError, match=r"\.flatpak") as caught:
        written.make(b"", os.fsencode(tmp_path / ".flatpak"), os.fsencode(tmp_path))
    assert caught.value.code == "identity-failed"
