"""The administrator's policy: which files count, and what every command says of it (SPEC §8.8)."""

import errno
import os
import pathlib
from collections.abc import Callable, Iterator

import pytest

from broker import policy
from intents import errors
from tests import control, ruled
from tests.control import APP
from tests.real import world

NO_NETWORK = ruled.rule("network", "deny", reason="No network on exam machines.")
NOTES = {"app": APP, "place": "home/Notes"}


@pytest.fixture
def home() -> Iterator[world.World]:
    """A world where nothing was decided, whose administrator is whoever runs the tests."""
    with control.home() as made, ruled.here(made):
        yield made


def refused() -> errors.PolicyError:
    with pytest.raises(errors.PolicyError) as caught:
        policy.load({})
    return caught.value


# Files


def test_without_a_directory_there_is_no_policy(home: world.World) -> None:
    found = policy.load({})
    assert (found.rules, found.guards) == ((), (("absent", policy.DIRECTORY, ""),))


def test_files_are_read_in_the_order_of_their_names(home: world.World) -> None:
    for name in ("b.toml", "a.toml", "10.toml"):
        ruled.write(home, NO_NETWORK, name=name)
    for name in (".hidden.toml", "a.toml~", "README"):
        ruled.write(home, "nonsense", name=name)
    found = policy.load({})
    assert [rule.place.rpartition("/")[2] for rule in found.rules] == ["10.toml:1", "a.toml:1", "b.toml:1"]
    assert found.ignored == (".hidden.toml", "README", "a.toml~")
    assert [kind for kind, _, _ in found.guards] == ["list", "file"]


def _fifo(path: pathlib.Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o644)


def _link(path: pathlib.Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to("../elsewhere")


def _directory(path: pathlib.Path) -> None:
    path.unlink()
    path.mkdir()


def _linked_directory(path: pathlib.Path) -> None:
    path.parent.rename(path.parent.parent / "elsewhere")
    path.parent.symlink_to("elsewhere")


def _linked_above(path: pathlib.Path) -> None:
    above = path.parent.parent
    above.rename(above.parent / "elsewhere")
    above.symlink_to("elsewhere")


def _no_directory(path: pathlib.Path) -> None:
    path.unlink()
    path.parent.rmdir()
    path.parent.write_text("")


def _dangling(path: pathlib.Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


UNSAFE: dict[str, Callable[[pathlib.Path], object]] = {
    "a file that others can write": lambda path: path.chmod(0o646),
    "a file that a group can write": lambda path: path.chmod(0o664),
    "a directory that others can write": lambda path: path.parent.chmod(0o777),
    "a directory that a group can write": lambda path: path.parent.chmod(0o775),
    "a directory above that others can write": lambda path: path.parent.parent.chmod(0o757),
    "a pipe": _fifo,
    "a link": _link,
    "a link to nothing": _dangling,
    "a directory": _directory,
    "a linked directory": _linked_directory,
    "a link above": _linked_above,
    "a file for a directory": _no_directory,
}


@pytest.mark.parametrize("change", UNSAFE.values(), ids=UNSAFE.keys())
def test_what_somebody_else_could_have_made_is_refused(
    home: world.World, change: Callable[[pathlib.Path], object]
) -> None:
    path = ruled.write(home, NO_NETWORK)
    assert len(policy.load({}).rules) == 1
    change(path)
    assert refused().code == "unsafe-policy"
    for words in (("grant", APP, "net"), ("policy", "explain", APP), ("policy", "list")):
        assert control.code(home, *words) == "unsafe-policy"
    found = control.data(home, "policy", "check", status=1)
    assert isinstance(found["errors"], list) and found["errors"][0]["code"] == "unsafe-policy"


def test_what_belongs_to_somebody_else_is_refused(home: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ruled.write(home, NO_NETWORK)
    for what in (path, path.parent, path.parent.parent):
        if os.geteuid() == 0:
            os.chown(what, 1, 1)
        else:  # whoever cannot give a file away is somebody else instead
            monkeypatch.setattr(policy, "OWNER", 0)
        assert refused().code == "unsafe-policy"
        if os.geteuid() == 0:
            os.chown(what, 0, 0)


def test_what_cannot_be_read_is_not_taken_for_nothing(home: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ruled.write(home, NO_NETWORK)
    really, closed = os.open, [path.name]

    def fails(name: str, *rest: int, **how: int) -> int:
        if name in closed:
            raise PermissionError(errno.EACCES, "Permission denied")
        return really(name, *rest, **how)

    monkeypatch.setattr(os, "open", fails)
    for name in (path.name, path.parent.name, path.parent.parent.name):
        closed[:] = [name]
        assert "cannot be read" in refused().message


def test_hostile_files_end_in_one_error(home: world.World) -> None:
    path = ruled.write(home)
    for body, says in (
        (b"#" * (10 << 20), "65536 bytes"),
        (b'[[rule]]\nreason = "\xff"\n', "UTF-8"),
        (b"x = " + b"[" * 2000, "nested"),
        (b"\0", "TOML"),
    ):
        path.write_bytes(body)
        error = refused()
        assert error.code == "bad-policy" and says in error.message and error.subject.startswith(f"{path}:")


def test_too_many_files_are_refused(home: world.World) -> None:
    for number in range(257):
        ruled.write(home, name=f"{number}.toml")
    assert refused().code == "unsafe-policy"


def test_every_change_makes_a_plan_stale(home: world.World) -> None:
    from broker import launch

    def holds(found: policy.Policy) -> bool:
        return launch.holds(tuple(os.fsencode(part) for guard in found.guards for part in guard))

    none = policy.load({})
    assert holds(none)
    path = ruled.write(home, NO_NETWORK)
    assert not holds(none)
    for change in (
        lambda: path.write_text(ruled.rule("dns", "deny")),
        lambda: ruled.write(home, name="20.toml"),
        lambda: path.unlink(),
        lambda: path.parent.chmod(0o777),
    ):
        path.parent.chmod(0o755)
        before = policy.load({})
        assert holds(before)
        change()
        assert not holds(before)


# Commands


def test_what_is_locked_is_shown_as_locked_with_the_reason(home: world.World) -> None:
    control.done(home, "grant", APP, "net", "notes")
    path = ruled.write(home, NO_NETWORK)
    assert control.states(home) == {"net": "denied", "notes": "allowed"}
    out = control.done(home, "show", APP)
    assert "net  denied, locked  (HIGH risk, optional)" in out
    assert f"administrator: {path}:1: denied, locked: “No network on exam machines.”" in out
    assert f"  {path}:1: denied, locked" in control.done(home, "explain", APP)
    status, out, _ = control.run(home, "why", APP, "example.org")
    assert status == 1 and f"locked    net: {path}:1: denied, locked: “No network" in out and "to allow" not in out
    path.unlink()
    assert control.states(home) == {"net": "allowed", "notes": "allowed"}, "what the user said counts again"
    assert "to allow" not in control.run(home, "why", APP, "example.org")[1]


@pytest.mark.parametrize(
    ("denied", "denies"),
    [
        ({"scope": "lan"}, True),
        ({"scope": "internet"}, True),
        ({"connect": ["10.0.0.0/8:443"]}, True),
        ({"connect": ["time.example.org:123/udp"]}, True),
        ({"connect": ["10.0.0.0/8:22"]}, False),
        ({"scope": "host", "ports": [22]}, False),
    ],
)
def test_the_hosts_network_by_ports_is_no_way_round_a_denial(
    home: world.World, denied: dict[str, object], denies: bool
) -> None:
    scope = {"kind": "network", "scope": "host", "ports": [443]}
    home.install(world.manifest(["/bin/true"], {"net": scope}, serial=2))
    control.done(home, "grant", APP, "net")
    ruled.write(home, ruled.rule("network", "deny", **denied))
    assert control.states(home) == {"net": "denied" if denies else "allowed"}


def test_a_locked_intent_is_not_changed_by_command(home: world.World) -> None:
    path = ruled.write(home, NO_NETWORK, ruled.rule("path", "allow", access="read", **NOTES))
    for words in (("grant", APP, "net"), ("revoke", APP, "net"), ("revoke", APP, "notes"), ("grant", APP, "notes")):
        assert control.code(home, *words) == "locked-by-policy"
        _, _, err = control.run(home, *words)
        assert f"{path}:" in err and ("No network on exam" in err or "So it is." in err)
    assert control.decisions(home) == []
    out = control.data(home, "revoke", APP)
    assert (out["denied"], out["locked"]) == (["net"], ["notes"])
    assert control.states(home) == {"net": "denied", "notes": "allowed"}
    path.unlink()
    assert control.states(home) == {"net": "denied", "notes": "denied"}


def test_a_default_is_the_users_to_change(home: world.World) -> None:
    ruled.write(home, ruled.rule("path", "allow", locked=False, access="read", **NOTES))
    assert control.states(home) == {"net": "open", "notes": "allowed"}
    out = control.done(home, "show", APP)
    assert "notes  allowed  (" in out and "allowed, a default: “So it is.”" in out
    control.done(home, "revoke", APP, "notes")
    assert control.states(home) == {"net": "open", "notes": "denied"}
    control.done(home, "grant", APP, "notes")
    ruled.write(home, ruled.rule("path", "deny", locked=False, access="read", **NOTES))
    assert control.states(home)["notes"] == "allowed"


def test_a_folder_that_is_locked_to_reading_is_granted_to_read(home: world.World) -> None:
    writes = {"kind": "path", "place": "home/Notes", "access": "write"}
    home.install(world.manifest(["/bin/true"], {"notes": writes}, serial=2))
    path = ruled.write(home, ruled.rule("path", "deny", access="write", **NOTES))
    out = control.done(home, "grant", APP, "notes")
    assert "It can read everything in ~/Notes." in out and "locked the rest" in out
    (decision,) = control.decisions(home)
    assert decision.granted is not None and decision.granted.data()["access"] == "read"
    assert control.states(home) == {"notes": "partly"}
    assert control.run(home, "why", APP, str(home.home / "Notes"))[0] == 0
    status, out, _ = control.run(home, "why", APP, str(home.home / "Notes"), "--write")
    assert status == 1 and f"{path}:1" in out
    path.unlink()
    assert control.states(home) == {"notes": "partly"}, "nothing is wider than what was answered"


def test_policy_explain_says_which_rule_decides(home: world.World) -> None:
    control.done(home, "grant", APP, "net")
    ruled.write(
        home,
        NO_NETWORK,
        ruled.rule("network", "allow", app=APP, locked=False),
        ruled.rule("network", "allow"),
        ruled.rule("camera", "deny"),
    )
    found = control.data(home, "policy", "explain", APP)
    net, notes = found["intents"]  # type: ignore[misc]
    assert (net["state"], net["locked"], notes["rules"]) == ("denied", True, [])
    assert [(row["line"], row["decides"]) for row in net["rules"]] == [(1, True), (8, False), (15, False)]
    assert net["rules"][0]["idle"] is None and "counts before it" in net["rules"][1]["idle"]
    assert "low risk at most" in net["rules"][2]["idle"]
    assert [answer["effect"] for answer in net["answers"]] == ["allow"]
    out = control.done(home, "policy", "explain", APP)
    assert "net  denied, locked: the administrator does not allow it" in out and "you      decision" in out


def test_policy_check_reads_files_of_anybody(home: world.World, tmp_path: pathlib.Path) -> None:
    good, bad, pipe = tmp_path / "good", tmp_path / "bad.toml", tmp_path / "pipe"
    good.write_text(NO_NETWORK)
    good.chmod(0o666)
    bad.write_text(NO_NETWORK.replace("deny", "ask"))
    os.mkfifo(pipe)
    assert "1 rule is valid" in control.done(home, "policy", "check", str(good))
    files = (str(good), str(bad), str(pipe), str(tmp_path / "absent"), "/proc/self/mem")
    status, out, err = control.run(home, "policy", "check", *files)
    assert (status, err) == (1, "") and f"{bad}:4  rule.effect" in out and out.count("[unsafe-policy]") == 3
    found = control.data(home, "policy", "check", str(bad), status=1)
    assert found["rules"] == [] and isinstance(found["errors"], list) and len(found["errors"]) == 1


def test_policy_check_without_files_reads_what_every_start_reads(home: world.World) -> None:
    assert "0 rules are valid" in control.done(home, "policy", "check")
    assert "There is no policy" in control.done(home, "policy", "list")
    ruled.write(home, NO_NETWORK)
    ruled.write(home, "nonsense", name="typo.tml")
    out = control.done(home, "policy", "check")
    assert "1 rule is valid" in out and "typo.tml is not read" in out
    assert "every app  network" in control.done(home, "policy", "list")
    ruled.write(home, "nonsense")
    assert control.run(home, "policy", "check")[0] == 1
    assert control.code(home, "policy", "explain", APP) == "bad-policy"
    assert control.data(home, "show", APP)["trouble"] is not None


def test_nothing_is_written_to_the_journal(home: world.World) -> None:
    before = control.data(home, "log")
    ruled.write(home, NO_NETWORK, ruled.rule("path", "allow", access="read", **NOTES))
    for words in (("show", APP), ("explain", APP), ("policy", "explain", APP)):
        control.done(home, *words)
    assert control.data(home, "log") == before
    assert control.decisions(home) == []


def test_no_other_command_gives_what_is_locked(home: world.World, tmp_path: pathlib.Path) -> None:
    control.done(home, "grant", APP, "net", "--for", "forever")
    exported = tmp_path / "exported.json"
    exported.write_text(control.done(home, "export"))
    control.done(home, "revoke", APP, "net")
    path = ruled.write(home, NO_NETWORK)
    assert control.code(home, "choose", APP, "net", "deny") == "locked-by-policy"
    assert control.code(home, "choose", APP, "net") == "locked-by-policy"
    status, out, _ = control.run(home, "import", str(exported))
    assert status == 1 and "the administrator has locked `net`, which stays denied: “No network" in out
    control.done(home, "undo")
    assert control.states(home)["net"] == "denied"
    path.unlink()
    assert control.states(home)["net"] == "allowed", "undone is the denial, and no rule is left"


def test_less_is_chosen_of_what_is_not_locked(home: world.World) -> None:
    writes = {"kind": "path", "place": "home/Notes", "access": "create"}
    home.install(world.manifest(["/bin/true"], {"notes": writes}, serial=2))
    ruled.write(home, ruled.rule("path", "deny", access="create", **NOTES))
    found = control.data(home, "choose", APP, "notes")["offers"]
    assert isinstance(found, list)
    given = {each["offer"]: [scope["access"] for scope in each["scopes"]] for each in found}
    assert given == {"deny": [], "less-1": ["read"], "allow": ["write"]}
    control.done(home, "choose", APP, "notes", "allow")
    (decision,) = control.decisions(home)
    assert decision.granted is not None and decision.granted.data()["access"] == "write"
