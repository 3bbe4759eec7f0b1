"""The diagnosis comes from trying: what is there is called so, and what is taken away is missed (SPEC §11)."""

import json
import os
import pathlib
import pwd
import stat

import pytest

from broker import bus, doctor, doctor_proxy, inside, programs, state, wayland
from broker.companions import wayland_context
from intents import errors, facts
from intents.kinds import network
from tests.conftest import must_work
from tests.real import peers

pytestmark = pytest.mark.real

NAMES = {
    "bubblewrap",
    "user namespaces",
    "planted links",
    "running apps",
    "system call filter",
    "Landlock",
    "TIOCSTI",
    "/usr/bin/env",
    "Wayland",
    "X11",
    "abstract sockets",
    "questions in a window",
    "internet alone",
    "xdg-dbus-proxy",
    "session bus",
    "system bus",
    "runtime directory",
    "reserved places",
}


@pytest.fixture
def home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A home of ours in the user database."""
    must_work(programs.find("bwrap"), "bubblewrap")
    must_work(programs.find("xdg-dbus-proxy"), "xdg-dbus-proxy")
    found = tmp_path / "home"
    found.mkdir(mode=0o700)
    entry = list(pwd.getpwuid(os.geteuid()))
    entry[5] = str(found)
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: pwd.struct_passwd(entry))
    return found


def examined(**environ: str) -> dict[str, doctor.Finding]:
    return {found.name: found for found in doctor.examine(environ)}


def test_a_bare_machine_is_described(home: pathlib.Path) -> None:
    found = examined()
    assert set(found) == NAMES
    assert {found[name].status for name in ("bubblewrap", "user namespaces", "system call filter")} == {doctor.OK}
    assert found["xdg-dbus-proxy"].status == doctor.OK
    assert {found[name].status for name in ("Wayland", "session bus")} == {doctor.ABSENT}
    assert found["X11"].status == doctor.OK
    assert found["runtime directory"].status == doctor.DEGRADED


def test_looking_changes_nothing(home: pathlib.Path) -> None:
    examined()
    assert list(home.iterdir()) == []


def test_what_a_compositor_and_buses_offer_is_said(home: pathlib.Path, tmp_path: pathlib.Path) -> None:
    address = f"unix:path={tmp_path}/bus"
    with peers.sway() as compositor, peers.message_bus(tmp_path, address, {"org.example.Service": "/bin/false"}):
        offered = peers.eventually(lambda: wayland.registry(str(compositor)), "the registry")
        peers.eventually(lambda: bus.names(address), "the bus")
        found = examined(WAYLAND_DISPLAY=str(compositor), DBUS_SESSION_BUS_ADDRESS=address)
    assert found["Wayland"].status == doctor.OK
    said = found["Wayland"].sentence
    assert ("security context" in said) is (wayland_context.MANAGER in offered)
    assert ("A filter" in said and "see the whole screen" in said) is not ("security context" in said)
    assert found["session bus"].status == doctor.OK
    assert "0 names are owned, 1 can be started" in found["session bus"].sentence


def test_a_compositor_with_walls_is_ok() -> None:
    for context, keeps in ((("wl_shm",), True), (("wl_shm", "zwlr_layer_shell_v1"), False), (None, False)):
        found = doctor._wayland(facts.Wayland(socket="/x", globals=("wl_shm",), context=context))
        assert found.status == doctor.OK
        assert ("security context" in found.sentence) is keeps


def test_a_missing_bubblewrap_leaves_nothing_to_try(home: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "find", lambda *_given: "")
    found = examined()
    assert found["bubblewrap"].status == found["user namespaces"].status == doctor.MISSING
    assert found["xdg-dbus-proxy"].status == doctor.MISSING
    assert "planted links" not in found and "running apps" not in found
    assert "bubblewrap" in found["bubblewrap"].fix
    assert "xdg-dbus-proxy" in found["xdg-dbus-proxy"].fix


@pytest.mark.parametrize("name", ["_GET_USERNS", "_OPEN_TREE", "_MOVE_MOUNT", "_OPENAT2", "_MOUNT_SETATTR"])
def test_a_kernel_that_lets_nothing_running_be_changed_is_told(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    must_work(programs.find("bwrap"), "bubblewrap")
    assert doctor._live(programs.find("bwrap")).status == doctor.OK
    monkeypatch.setattr(inside, name, 0xFFFF)  # no such call: what an older kernel, or a filter around us, says
    found = doctor._live(programs.find("bwrap"))
    assert found.status == doctor.DEGRADED and "next start" in found.sentence


def test_forbidden_namespaces_are_a_finding_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(_path: str) -> None:
        raise errors.HostError("userns-forbidden", "it may not", hint="allow it")

    monkeypatch.setattr(programs, "check_bwrap", forbid)
    bubblewrap, namespaces = doctor._bwrap("/usr/bin/bwrap")
    assert (bubblewrap.status, namespaces.status) == (doctor.OK, doctor.MISSING)
    assert (namespaces.sentence, namespaces.fix) == ("It may not.", "allow it")


def test_planted_links_are_found_by_what_bubblewrap_does(tmp_path: pathlib.Path) -> None:
    """A stand-in that does as asked, as an unfixed one does, and one that refuses, as a fixed one does."""
    follows = tmp_path / "follows"
    # $6 is the directory that the app can write; the link in it leads out of the new root.
    follows.write_text('#!/bin/sh\ntarget=$(readlink "$6/link"); mkdir "${target#/oldroot}/made"\n')
    refuses = tmp_path / "refuses"
    refuses.write_text("#!/bin/sh\nexit 1\n")
    for path in (follows, refuses):
        path.chmod(stat.S_IRWXU)
    found = doctor._planted(str(follows))
    assert (found.status, "CVE-2026-87766" in found.sentence) == (doctor.DEGRADED, True)
    assert doctor._planted(str(refuses)).status == doctor.OK


def test_the_installed_bubblewrap_says_the_same_of_planted_links_every_time(home: pathlib.Path) -> None:
    path = programs.find("bwrap")
    assert doctor._planted(path) == doctor._planted(path)
    follows = programs.run(path, "--help")[1].find("--overlay-src") < 0  # below 0.11, and so below 0.12
    if follows:
        assert doctor._planted(path).status == doctor.DEGRADED


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        (doctor_proxy.FIXED, doctor.OK),
        (doctor_proxy.VULNERABLE, doctor.DEGRADED),
        (doctor_proxy.UNKNOWN, doctor.DEGRADED),
        (doctor_proxy.UNFILTERED, doctor.MISSING),
    ],
)
def test_every_verdict_on_the_proxy_is_said(
    home: pathlib.Path, monkeypatch: pytest.MonkeyPatch, verdict: str, status: str
) -> None:
    monkeypatch.setattr(doctor_proxy, "probe", lambda _path: verdict)
    found = doctor._proxy()
    assert found.status == status
    assert bool(found.fix) == (status != doctor.OK)


def test_landlock_counts_from_the_version_that_scopes() -> None:
    assert [doctor._landlock(version).status for version in (0, network.LANDLOCK_SCOPES - 1)] == [doctor.DEGRADED] * 2
    assert doctor._landlock(network.LANDLOCK_SCOPES).status == doctor.OK


def test_the_filter_is_tried_on_this_kernel_and_refused_for_others() -> None:
    assert doctor._filter(os.uname().machine).status == doctor.OK
    assert doctor._filter("riscv64").status == doctor.MISSING


def test_reachable_abstract_sockets_are_named() -> None:
    recorded = pathlib.Path(__file__).parent / "hosts" / "debian12-desktop.json"
    text = json.loads(recorded.read_text("utf-8"))
    assert doctor._abstract(facts.from_json(json.dumps(text))).status == doctor.OK
    old = facts.from_json(json.dumps({**text, "landlock": 3}))
    found = doctor._abstract(old)
    assert (found.status, "@/tmp/.X11-unix/X0" in found.sentence) == (doctor.DEGRADED, True)


def test_what_the_internet_alone_takes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for program, package in network.TOOLS:
        there = {name: f"/usr/bin/{name}" for name, _ in network.TOOLS if name != program}
        monkeypatch.setattr(programs, "find", lambda name, _search, there=there: there.get(name, ""))
        found = doctor._uplink()
        assert (found.status, program in found.sentence, package in found.fix) == (doctor.DEGRADED, True, True)
    monkeypatch.setattr(programs, "find", lambda name, _search: f"/usr/bin/{name}")
    monkeypatch.setattr(network, "TUN", "/dev/full")
    assert doctor._uplink().status == (doctor.OK if os.access("/dev/full", os.W_OK) else doctor.DEGRADED)
    monkeypatch.setattr(network, "TUN", "/dev/nowhere")
    assert (doctor._uplink().status, "/dev/nowhere" in doctor._uplink().fix) == (doctor.DEGRADED, True)


def test_a_reserved_place_that_others_could_change_is_found(home: pathlib.Path) -> None:
    kept = state.places({}, os.geteuid())
    state.ensure(kept)
    assert examined()["reserved places"].status == doctor.OK
    os.chmod(kept.state, 0o702)
    found = examined()["reserved places"]
    assert (found.status, found.fix) == (doctor.MISSING, f"chmod go-w {kept.state}")
    os.chmod(kept.state, 0o700)
    pathlib.Path(kept.config).rmdir()
    pathlib.Path(kept.config).symlink_to("/tmp")
    assert "is a link" in examined()["reserved places"].sentence
    if os.geteuid() == 0:
        pathlib.Path(kept.config).unlink()
        os.chown(kept.data, peers.NOBODY, peers.NOBODY)
        assert examined()["reserved places"].fix == f"chown 0 {kept.data}"


def test_an_account_without_a_home_of_its_own_is_said(home: pathlib.Path) -> None:
    home.chmod(0o777)
    found = examined()
    assert found["account"].status == doctor.MISSING
    assert found["account"].fix == f"chmod o-w {home}"
    assert found["bubblewrap"].status == doctor.OK


def test_text_and_data_say_the_same(home: pathlib.Path) -> None:
    findings = (
        doctor.Finding(name="a", status=doctor.OK, sentence="Fine."),
        doctor.Finding(name="b", status=doctor.MISSING, sentence="Not \x1b[2J there.", fix="get it"),
    )
    assert doctor.render(findings) == "ok        a: Fine.\nmissing   b: Not \\x1b[2J there.\n          fix: get it"
    assert doctor.as_data(findings)[1] == {
        "name": "b",
        "status": "missing",
        "sentence": "Not \x1b[2J there.",
        "fix": "get it",
    }
    assert all(found.sentence.endswith(".") for found in doctor.examine({}))
