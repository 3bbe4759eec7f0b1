"""intent-ctl reach: what a probe finds inside is what the compiled sandbox promises, and where it is not, that is said.

Each planted difference launches another sandbox than the one that the promises are read from.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from broker import probe, reach, shell_probe
from intents import bwrap, facts, sandbox
from tests import control
from tests.conftest import must_work
from tests.control import APP
from tests.real import peers, test_attacks_bus, world

pytestmark = pytest.mark.real

INTENTS: dict[str, dict[str, object]] = {
    "net": {"kind": "network", "scope": "host"},
    "names": {"kind": "dns", "scope": "any"},
    "notes": {"kind": "path", "place": "home/Notes", "access": "read"},
    "keys": {"kind": "path", "place": "home/.ssh", "access": "write"},
    "conf": {"kind": "path", "place": "home/.config/kdeglobals", "access": "read"},
    "new": {"kind": "path", "place": "home/New/er", "access": "create"},
    "editor": {"kind": "env", "names": ["EDITOR"]},
    "fuse": {"kind": "device", "nodes": ["/dev/fuse"]},
    "debug": {"kind": "debugging"},
    "nested": {"kind": "nested-sandbox"},
    "processes": {"kind": "processes"},
    "memory": {"kind": "shared-memory", "uses": ["files", "ipc"]},
    "system": {"kind": "system-info"},
    "windows": {"kind": "display", "protocol": "wayland"},
    "bus": {"kind": "dbus", "bus": "session", "talk": ["org.example.Given.*"]},
}


@pytest.fixture
def home() -> Iterator[world.World]:
    """A world where nothing was decided, with something for every intent to give."""
    with control.home() as made:
        for name in (".ssh", ".config"):
            (made.home / name).mkdir(exist_ok=True)
        for name in (".ssh/id", ".config/kdeglobals", "Notes/one", ".bashrc"):
            (made.home / name).write_text("content")
        made.environ |= {"EDITOR": "vi", "API_SECRET": "of the user"}
        made.install(world.manifest(["/bin/true"], INTENTS, serial=2))
        yield made


def grant(home: world.World, *names: str) -> None:
    control.done(home, "grant", APP, *names, "--for", "forever", *(f"--confirm={name}" for name in names))


def rows(home: world.World, *, differing: bool = False) -> dict[str, dict[str, object]]:
    """The table by row; all must agree, or not all."""
    status, out, err = control.run(home, "reach", APP, "--json")
    told = json.loads(out)
    assert "error" not in told, told
    wrong = [row for row in told["rows"] if row["agrees"] is False]
    assert (bool(wrong), status, err) == (differing, int(differing), ""), wrong
    found = {row["row"]: row for row in told["rows"]}
    assert len(found) == len(told["rows"])
    assert told["differences"] == len(wrong)
    return found


def untold(found: dict[str, dict[str, object]]) -> set[str]:
    return {name for name, row in found.items() if row["agrees"] is None}


def test_without_a_grant_nothing_of_the_host_is_found(home: world.World) -> None:
    found = rows(home)
    assert not untold(found)
    no = [
        "ssh-keys", "shell-startup", "machine-id", "accounts", "hosts-file", "home", "tmp", "shm", "processes",
        "signals", "secrets", "loopback", "route", "route-6", "resolver", "abstract", "wayland", "user-namespace",
        "mount", "trace", "perf", "keyring", "io-uring", "bpf", "type-into-terminal", "setuid-mode", "vsock-sockets",
        "packet-sockets", *(f"same-{name}" for name in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")),
    ]  # fmt: skip
    assert [name for name in no if found[name]["found"] is not False] == []
    assert found["host-name"]["found"] == "sandbox" and found["nonewprivs"]["found"] == "1"
    assert found["home-names"]["found"] == [".cache", ".config", ".local"] and found["session-bus"]["found"] is None
    assert found["interfaces"]["found"] == ["lo"] and found["devices"]["found"] == []
    # Outside, the same questions find it: they are not no for want of asking.
    yes = ["ssh-keys", "shell-startup", "home", "tmp", "processes", "signals", "secrets", "loopback", "abstract"]
    assert [name for name in yes if found[name]["outside"] is not True] == []


@pytest.mark.parametrize(
    ("granted", "gained"),
    [
        (("net", "names"), {"same-net", "loopback", "hosts-file", "resolver"}),
        (("notes", "keys", "conf"), {"ssh-keys"}),
        (("debug", "nested"), {"trace", "perf", "user-namespace", "mount"}),
        (("processes",), {"processes", "same-pid"}),
        (("memory", "system", "editor", "new"), {"shm", "same-ipc"}),
        (("net", "notes", "processes", "memory", "nested", "fuse"), {"loopback", "processes", "shm"}),
    ],
)
def test_what_is_granted_is_found_and_no_more(home: world.World, granted: tuple[str, ...], gained: set[str]) -> None:
    before = rows(home)
    grant(home, *granted)
    after = rows(home)
    assert untold(after) == set()
    for name in gained & {name for name, row in after.items() if row["outside"] is True}:
        assert (before[name]["found"], after[name]["found"]) == (False, True), name
    assert ("EDITOR" in str(after["environment"]["found"])) == ("editor" in granted)


def test_the_compositor_and_the_bus(home: world.World) -> None:
    must_work(shutil.which("xdg-dbus-proxy"), "xdg-dbus-proxy")
    address = f"unix:path={home.runtime}/bus"
    env = {"PATH": os.environ["PATH"], "DBUS_SESSION_BUS_ADDRESS": address}
    with peers.message_bus(home.base, address, {}), peers.sway() as compositor:
        peers.eventually(lambda: (home.runtime / "bus").exists(), "the bus")
        compositor.parent.chmod(0o755)  # sway of root runs as somebody else
        compositor.chmod(0o777)
        home.environ |= {"DBUS_SESSION_BUS_ADDRESS": address, "WAYLAND_DISPLAY": str(compositor)}
        owners = ("org.example.Given", "org.example.Other")
        with peers.child(test_attacks_bus.owner(owners[0]), env), peers.child(test_attacks_bus.owner(owners[1]), env):
            for name in owners:
                peers.eventually(lambda name=name: test_attacks_bus.owned(env, name), name)  # type: ignore[misc]
            before = rows(home)
            assert before["session-bus"]["found"] is None and before["wayland"]["found"] is False
            grant(home, "bus", "windows")
            after = rows(home)
    assert after["session-bus"]["found"] == ["org.example.Given", "org.freedesktop.DBus"]
    assert {*owners} <= set(after["session-bus"]["outside"])  # type: ignore[call-overload]
    assert after["wayland"]["found"] is True and after["runtime-names"]["found"] == ["bus", "wayland-0"]
    assert "zwlr_screencopy_manager_v1" in str(after["wayland-privileged"]["outside"])
    assert after["wayland-privileged"]["found"] == []


def more(**changed: Callable[[sandbox.Sandbox], object]) -> Callable[[sandbox.Sandbox], sandbox.Sandbox]:
    """The sandbox with some fields made anew from it."""
    return lambda box: dataclasses.replace(box, **{name: make(box) for name, make in changed.items()})  # type: ignore[arg-type]


def shown(source: str, dest: str, access: sandbox.Access = sandbox.Access.READ) -> sandbox.Mount:
    return sandbox.Bind(source=source, dest=dest, access=access, held=False)


def instead(box: sandbox.Sandbox, name: str, **changed: object) -> tuple[sandbox.Mount, ...]:
    """The mounts with the one at a place of that name changed."""
    return tuple(
        dataclasses.replace(mount, **changed) if mount.dest.endswith(f"/{name}") else mount  # type: ignore[arg-type]
        for mount in box.mounts
    )


ALLOW_ALL = (0x06).to_bytes(2, "little") + bytes(2) + 0x7FFF0000.to_bytes(4, "little")
SHARE = (sandbox.Share(namespace="network", because="x"),)
NETWORK = {"same-net", "loopback", "route", "interfaces"}
FILTERED = {"keyring", "io-uring", "type-into-terminal", "setuid-mode", "vsock-sockets"}
# what the launched sandbox has that the promises do not know -> rows that must say so
PLANTED: dict[str, tuple[Callable[[sandbox.Sandbox], sandbox.Sandbox], set[str]]] = {
    "a bind": (more(mounts=lambda box: (*box.mounts, shown("/srv", "/srv"))), {"mounts", "root-names"}),
    "a file": (
        more(mounts=lambda box: (*box.mounts, shown("/etc/shadow", "/etc/shadow"))),
        {"mounts", *({"accounts"} if os.geteuid() == 0 else set())},
    ),
    "the host's shared memory": (more(mounts=lambda box: (*box.mounts, sandbox.Device(dest="/dev/shm"))), {"shm"}),
    "a device": (more(mounts=lambda box: (*box.mounts, sandbox.Device(dest="/dev/fuse"))), {"devices", "mounts"}),
    "a writable bind": (more(mounts=lambda box: instead(box, "Notes", access=sandbox.Access.WRITE)), {"writable"}),
    "another object": (more(mounts=lambda box: instead(box, "Notes", source="/srv")), {"objects"}),
    "the host's /tmp": (
        more(mounts=lambda box: tuple(shown("/tmp", "/tmp") if m.dest == "/tmp" else m for m in box.mounts)),
        {"tmp"},
    ),
    "a variable": (more(env=lambda box: (*box.env, sandbox.Env(name="API_SECRET", value="x"))), {"environment"}),
    "the network": (more(shares=lambda _: SHARE), NETWORK),
    "no filter": (more(seccomp=lambda _: ALLOW_ALL), FILTERED),
    "user namespaces": (
        more(
            allows=lambda _: (sandbox.Allow(feature="nested-sandbox", because="x"),),
            seccomp=lambda _: ALLOW_ALL,
        ),
        {"user-namespace", "mount"},
    ),
    "processes": (
        more(shares=lambda _: (sandbox.Share(namespace="processes", because="x"),)),
        {"processes", "same-pid", "signals"},
    ),
    "a host name": (more(hostname=lambda _: "host"), {"host-name"}),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_difference_is_said_aloud(home: world.World, planted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    grant(home, "notes")
    change, expected = PLANTED[planted]
    honest = bwrap.plan_bytes

    def dishonest(box: sandbox.Sandbox, host: facts.HostFacts, **more: object) -> bytes:
        return honest(change(box), host, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(bwrap, "plan_bytes", dishonest)
    found = rows(home, differing=True)
    differing = {name for name, row in found.items() if row["agrees"] is False}
    there = {name for name in expected if found[name]["outside"] not in (False, None) or name == "objects"}
    assert there and there <= differing, (differing, expected)
    status, out, _ = control.run(home, "reach", APP)
    assert status == 1 and "\n!!" in out and "DIFFERS: " in out and "are not as promised." in out


def test_nothing_is_left_and_it_is_no_use_of_the_app(home: world.World) -> None:
    grant(home, "conf", "new", "net")

    def everything() -> list[str]:
        left = (str(path) for path in [*home.base.rglob("*"), *home.runtime.rglob("*")])
        return sorted(path for path in left if not path.endswith(("-shm", "-wal")))

    control.data(home, "show", APP)
    before, log = everything(), control.data(home, "log")
    rows(home)
    assert everything() == before and control.data(home, "log") == log
    assert control.data(home, "show", APP)["last_used"] is None and control.data(home, "ps") == {"instances": []}
    assert home.start().returncode == 0
    rows(home)
    assert (home.own("config") / "kdeglobals").is_symlink(), "what a start made stays"
    assert (home.home / "New" / "er").is_dir()


def test_what_the_app_leads_elsewhere_is_left_alone(home: world.World) -> None:
    grant(home, "conf")
    assert home.start().returncode == 0
    (home.own("config") / "kdeglobals").unlink()
    home.own("config").rename(home.home / "elsewhere")
    (home.own("config")).symlink_to(home.home / "elsewhere")
    assert control.code(home, "reach", APP) == "probe-failed", "as a start would, it refuses the link"
    assert list((home.home / "elsewhere").iterdir()) == []


def test_what_would_not_start_is_not_probed(home: world.World) -> None:
    needed = world.manifest(["/bin/true"], INTENTS, serial=3).replace("optional = true", "optional = false", 1)
    home.install(needed)
    assert control.code(home, "reach", APP) == "required-intent-refused"
    home.install(world.manifest(["/bin/absent"], INTENTS, serial=4))
    assert control.code(home, "reach", APP) == "program-missing"


def test_smaller_bases_are_probed_as_far_as_they_go(home: world.World) -> None:
    """Without /proc some of it cannot be told, and that is not taken for an agreement."""
    for serial, (more, missing) in enumerate(
        [({"base": "service"}, 0), ({"base": "strict", "libraries": "system"}, 0), ({"proc": False}, 13)], start=3
    ):
        options = {"base": "strict", "libraries": "system", **more}
        home.install(world.manifest(["/usr/bin/python3"], INTENTS, serial=serial, **options))  # type: ignore[arg-type]
        found = rows(home)
        assert len(untold(found)) == missing, untold(found)
    assert found["ssh-keys"]["agrees"] and found["type-into-terminal"]["agrees"] and not found["seccomp"]["agrees"]
    assert "13 could not be told." in control.done(home, "reach", APP)
    home.install(world.manifest(["/usr/bin/python3"], INTENTS, serial=6, base="strict"))
    assert control.code(home, "reach", APP) == "not-probed", "its closure holds no library of Python"


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_a_shell_alone_tells_what_it_can(home: world.World, shell: str) -> None:
    must_work(os.path.exists(shell), shell)
    (home.home / "Notes" / "a name\nof two lines").write_text("")
    home.install(world.manifest([shell], INTENTS, serial=3, base="strict"))
    by_shell = rows(home)
    assert str(control.data(home, "reach", APP)["probe"]).endswith(("/sh", "/bash"))
    assert by_shell["keyring"]["agrees"] is None and by_shell["objects"]["agrees"] is None
    told = set(by_shell) - untold(by_shell)
    assert told == {
        "ssh-keys", "shell-startup", "browser-profile", "machine-id", "accounts", "hosts-file", "resolver",
        "home-write", "root-names", "home-names", "runtime-names", "run-names", "sys-names", "devices", "mounts",
        "writable", "x11", "processes", "host-name", "nonewprivs", "seccomp", "capeff",
    }  # fmt: skip
    grant(home, "keys", "notes")
    assert rows(home)["ssh-keys"]["found"] is True


def test_a_shell_tells_the_same_as_python(home: world.World) -> None:
    """Outside, where there is more to tell."""
    (home.home / "Notes" / "two\nlines").write_text("")
    (home.home / "Notes" / ".hidden").symlink_to("nowhere")
    names = ["/", "/dev", "/etc", str(home.home), str(home.home / "Notes"), "/absent", "/etc/passwd"]
    asked: list[list[object]] = [[name, path] for name in ("read", "write", "names") for path in names]
    asked += [["hostname"], ["status", "Seccomp"], ["status", "NoSuchField"], ["mounts"], ["call", "keyring"]]
    words = ["/bin/sh", "-c", shell_probe.TEXT, "probe", *shell_probe.arguments(asked)]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=world.LIMIT)
    assert done.stderr == b""
    found = shell_probe.answers(done.stdout)
    assert found[:-1] == [probe.ask(question) for question in asked[:-1]] and found[-1] == []


def test_a_sandbox_without_anything_that_could_look_is_said(home: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "PYTHON", "/usr/bin/no-such-python")
    monkeypatch.setattr(reach, "SHELLS", ("/bin/no-such-shell",))
    assert control.code(home, "reach", APP) == "not-probed"


def test_a_probe_that_says_nothing_is_no_answer(home: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "_text", lambda: "raise SystemExit('it fell over')")
    assert control.code(home, "reach", APP) == "probe-failed"
    assert "it fell over" in control.run(home, "reach", APP)[2]


def test_a_probe_that_does_not_end_is_ended(home: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    home.install(world.manifest(["/bin/true"], INTENTS, serial=3, interface="window"))
    marker = f"endless-{os.urandom(8).hex()}"

    def running() -> bool:
        found = b""
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                found += pathlib.Path(f"/proc/{name}/cmdline").read_bytes()
        return marker.encode() in found

    monkeypatch.setattr(reach, "_text", lambda: f"import time; time.sleep(1000)  # {marker}")
    monkeypatch.setattr(reach, "PATIENCE", 0.5)
    assert control.code(home, "reach", APP) == "probe-failed"
    peers.eventually(lambda: not running(), "the end of the sandbox")


@pytest.mark.parametrize("closed", ["<&-", "<&- >&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors_are_no_answer(home: world.World, closed: str) -> None:
    program = f"from broker import ctl, state; state._home = lambda _: {str(home.home)!r}; raise SystemExit(ctl.main())"
    line = f'"$0" -c "$1" reach {APP} {closed}'
    words = ["/bin/sh", "-c", line, sys.executable, program]
    environ = {**home.environ, "PYTHONPATH": str(world.ROOT)}
    assert subprocess.run(words, env=environ, timeout=world.LIMIT, check=False).returncode == 0


def test_the_probe_needs_nothing_beside_itself(tmp_path: pathlib.Path) -> None:
    text = pathlib.Path(probe.__file__).read_text()
    asked = [["read", str(tmp_path)], ["names", str(tmp_path)], ["call", "keyring"], ["mounts"], ["bus", "NO_SUCH"]]
    words = [sys.executable, "-I", "-S", "-c", text, json.dumps(asked)]
    done = subprocess.run(words, env={}, cwd="/", capture_output=True, check=True, timeout=world.LIMIT)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer[0] for answer in answers] == asked and answers[1][1] == [] and answers[4][1] is None
