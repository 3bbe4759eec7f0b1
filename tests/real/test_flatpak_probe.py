"""The same probe in a sandbox of Flatpak's and in one of ours, for the same permissions: ours has no yes that theirs
lacks.

What a command line promises is compared by ``test_flatpak_oracle.py``; here the kernel answers.
"""

import contextlib
import functools
import itertools
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest

from broker import probe
from intents import authoring
from intents import flatpak as importer
from intents.kinds import network
from tests.conftest import must_work
from tests.oracle import flatpak, runtime, scenery
from tests.real import peers, test_flatpak_oracle, world

pytestmark = pytest.mark.real

SETS = {
    "none": (),
    "network": ("--share=network",),
    "home": ("--filesystem=home",),
    "documents": ("--filesystem=xdg-documents:ro", "--filesystem=xdg-config/kdeglobals:ro"),
    "much": ("--filesystem=home:ro", "--filesystem=/var/log:ro", "--share=network", "--device=all"),
    "windows": ("--socket=wayland", "--socket=fallback-x11", "--device=dri", "--share=ipc"),
    "x11": ("--socket=x11", "--share=ipc", "--share=network"),
    "sound": ("--socket=pulseaudio",),
    "buses": ("--talk-name=org.example.Other", "--system-talk-name=org.example.Other"),
    "wildcard": ("--talk-name=org.example.Some.*", "--own-name=org.example.App"),
    "agents": ("--socket=ssh-auth", "--socket=gpg-agent", "--socket=pcsc", "--socket=cups"),
    "development": ("--allow=devel", "--allow=bluetooth", "--device=kvm", "--device=shm"),
}
# What each set lets an app reach besides.
GAINED = {
    "network": {"port", "interfaces", "read /etc/resolv.conf"},
    "home": {"read ~/.bashrc", "write ~/secret.txt"},
    "documents": {"read ~/Documents/letter.txt", "read ~/.config/kdeglobals"},
    "much": {"read ~/.ssh/id_ed25519", "read /var/log", "port"},
    "windows": {"compositor", "interfaces of the compositor"},
    "sound": {"sound"},
    "buses": {"session bus", "system bus", "names on the session bus"},
    "wildcard": {"session bus", "names on the session bus"},
    "agents": {"ssh agent", "gpg agent", "smart cards", "printing"},
    "development": {"call trace", "family bluetooth"},
}
# With Flatpak every app has these.
ALWAYS = {"session bus", "names on the session bus", "read /etc/resolv.conf"}
SOCKETS = {
    "session bus": ("bus", "/run/flatpak/bus"),
    "system bus": ("system-bus", "/run/dbus/system_bus_socket"),
    "compositor": ("wayland-0", "/run/flatpak/wayland-0"),
    "sound": ("pulse/native", "/run/flatpak/pulse/native"),
    "ssh agent": ("ssh-agent", "/run/flatpak/ssh-auth"),
    "gpg agent": ("gnupg/S.gpg-agent", "/run/flatpak/gnupg/S.gpg-agent"),
    "smart cards": ("pcscd.comm", "/run/pcscd/pcscd.comm"),
    "printing": ("cups.sock", "/run/cups/cups.sock"),
    "another service": ("foo.sock", "/run/flatpak/foo.sock"),
}
HOME = (
    ".ssh/id_ed25519", ".bashrc", "secret.txt", "Documents/letter.txt", ".config/kdeglobals", ".mozilla", "Projects",
    ".var/app/org.other.App", ".local/share/applications",
)  # fmt: skip
SYSTEM = (
    "/etc/passwd", "/etc/shadow", "/etc/machine-id", "/etc/resolv.conf", "/etc/hosts", "/sys/class", "/sys/kernel",
    "/sys/fs", "/var/log", "/var/lib", "/root", "/boot", "/srv", "/dev/mem", "/dev/kvm", "/dev/fuse", "/proc/kcore",
    "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/usr", "/etc", "/dev", "/",
)  # fmt: skip
NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")
CALLS = (
    "type-into-terminal", "setuid-mode", "trace", "user-namespace", "mount", "keyring", "io-uring", "perf", "bpf",
)  # fmt: skip
FAMILIES = {
    "packet": (17, 3), "netlink": (16, 3), "bluetooth": (31, 5), "can": (29, 3, 1), "alg": (38, 5), "vsock": (40, 1),
}  # fmt: skip
Answers = Mapping[str, frozenset[str]]
Ask = Callable[..., tuple[Answers, Answers]]


@dataclass(frozen=True, slots=True)
class Bait:
    """What stands outside to be found: a port, an abstract socket, files in /tmp and in shared memory."""

    port: int
    abstract: str
    files: tuple[str, str]


@pytest.fixture(scope="module")
def bait() -> Iterator[Bait]:
    with contextlib.ExitStack() as stack:
        inet, unix = stack.enter_context(socket.socket()), stack.enter_context(socket.socket(socket.AF_UNIX))
        inet.bind(("127.0.0.1", 0))
        unix.bind(f"\0intents-oracle-{os.getpid()}")
        for opened in (inet, unix):
            opened.listen(64)
        files = [stack.enter_context(tempfile.NamedTemporaryFile(dir=where)).name for where in ("/tmp", "/dev/shm")]
        yield Bait(inet.getsockname()[1], f"@intents-oracle-{os.getpid()}", (files[0], files[1]))


@pytest.fixture(scope="module")
def theirs() -> Iterator[flatpak.Flatpak]:
    for program in test_flatpak_oracle.NEEDED:
        must_work(shutil.which(program), program)
    with scenery.scenery(staged=False) as scene, peers.sway() as compositor:
        compositor.parent.chmod(0o755)  # sway of root runs as somebody else
        compositor.chmod(0o777)
        # A real one, because the X11 server for a single app draws on it.
        (scene.world.runtime / "wayland-0").unlink()
        (scene.world.runtime / "wayland-0").symlink_to(compositor)
        scene.world.environ = dict(scene.environ)
        yield flatpak.Flatpak(scene, probing=True)


def questions(scene: scenery.Scenery, bait: Bait) -> dict[str, list[object]]:
    """Name -> a question for the probe. Where the two keep a socket at different places, both are asked for."""
    home, inside = scene.world.home, f"/run/user/{os.geteuid()}"
    display = scene.environ["DISPLAY"][1:]
    paths = [*(f"{home}/{name}" for name in HOME), *SYSTEM, *bait.files]
    asked: dict[str, list[object]] = {f"read {path}": ["read", path] for path in paths}
    # Not /dev, which is one in memory but where Flatpak shows that of the host.
    asked |= {f"write {path}": ["write", path] for path in paths if path != "/dev"}
    asked |= {f"same {path}": ["identities", path] for path in ("/tmp", "/dev/shm", "/run", "/var/tmp", str(home))}
    for name, places in SOCKETS.items():
        ways = [str(scene.world.runtime / places[0]), f"{inside}/{places[0]}", places[1]]
        asked |= {f"{name} at {at}": ["unix", at] for at in ways}
    asked |= {f"x11 at {at}": ["unix", f"{at}{display}"] for at in ("/tmp/.X11-unix/X", "@/tmp/.X11-unix/X")}
    asked |= {f"namespace {name}": ["namespace", name] for name in NAMESPACES}
    asked |= {f"call {name}": ["call", name] for name in CALLS}
    asked |= {f"family {name}": ["family", *numbers] for name, numbers in FAMILIES.items()}
    return asked | {
        "names on the session bus": ["bus", "DBUS_SESSION_BUS_ADDRESS"],
        "names on the system bus": ["bus", "DBUS_SYSTEM_BUS_ADDRESS"],
        "interfaces of the compositor": ["wayland"],
        "secret": ["leak", scenery.VALUE],
        "port": ["tcp", "127.0.0.1", bait.port],
        "abstract": ["unix", bait.abstract],
        "interfaces": ["interfaces"],
        "capabilities": ["status", "CapEff"],
        "gaining privileges": ["status", "NoNewPrivs"],
        "processes": ["processes"],
        "signals": ["signals", os.getpid()],
    }


def reached(asked: Mapping[str, list[object]], out: str) -> Answers:
    """Name -> what was reached; nothing for a no. Sockets that answer count once, wherever they are."""
    found: dict[str, frozenset[str]] = {}
    for (name, question), line in zip(asked.items(), out.splitlines(), strict=True):
        answer = json.loads(line)[1:]
        got = _things(question, answer[0]) if answer else frozenset()
        name = name.partition(" at ")[0]
        found[name] = found.get(name, frozenset()) | got
    return found


def _things(question: Sequence[object], answer: object) -> frozenset[str]:
    kind = question[0]
    if kind in ("namespace", "identities"):
        same = [answer] == probe.ask(list(question)) and answer not in (None, [None])
        return frozenset({"the host's"} if same else ())
    if kind == "processes":
        return frozenset({"others"} if int(str(answer)) > 3 else ())
    if kind == "status":
        free = {"CapEff": "0" * 16, "NoNewPrivs": "1"}[str(question[1])] != answer
        return frozenset({str(answer)} if free else ())
    if kind == "wayland":
        return frozenset(() if answer is None else {"answers", *answer})  # type: ignore[misc]
    if isinstance(answer, list):
        return frozenset(map(str, answer))
    return frozenset({"yes"} if answer is True else ())


def in_theirs(theirs: flatpak.Flatpak, tokens: Sequence[str], asked: Mapping[str, list[object]]) -> Answers:
    words = [runtime.PYTHON, "-I", "-S", "-c", text(), json.dumps([*asked.values()])]
    return reached(asked, theirs.run(tokens, *words))


def in_ours(
    where: world.World, tokens: Sequence[str], asked: Mapping[str, list[object]], serial: int, removed: str = ""
) -> Answers:
    """The same in the sandbox of an app that was imported, installed, and granted everything."""
    found = importer.from_flatpak(scenery.APP, tokens)
    manifest = authoring.imported(app_id=scenery.APP, name="App", program=runtime.PYTHON, found=found)
    where.install(manifest.replace("serial = 1\n", f"serial = {serial}\n"))
    where.decide()
    return reached(asked, where.says("-I", "-S", "-c", text(), json.dumps([*asked.values()]), removed=removed))


def text() -> str:
    with open(probe.__file__, encoding="utf-8") as file:
        return file.read()


def more(ours: Answers, their: Answers) -> dict[str, frozenset[str]]:
    """What ours reached and theirs did not."""
    return {name: things - their[name] for name, things in ours.items() if things - their[name]}


@pytest.fixture(scope="module")
def both(theirs: flatpak.Flatpak, bait: Bait) -> Ask:
    """Ours and theirs for one of ``SETS``, asked once."""
    asked = questions(theirs.scene, bait)
    serials = itertools.count(1)

    @functools.cache
    def ask(name: str, removed: str = "") -> tuple[Answers, Answers]:
        ours = in_ours(theirs.scene.world, SETS[name], asked, next(serials), removed)
        return ours, in_theirs(theirs, SETS[name], asked)

    return ask


@pytest.mark.parametrize("name", SETS)
def test_nothing_is_reached_that_flatpak_keeps_away(both: Ask, name: str) -> None:
    assert more(*both(name)) == {}


@pytest.mark.parametrize("name", GAINED)
def test_what_is_granted_is_reached_in_both(both: Ask, theirs: flatpak.Flatpak, name: str) -> None:
    wanted = {each.replace("~", str(theirs.scene.world.home)) for each in GAINED[name] if known(each)}
    for now, bare, before in zip(both(name), both("none"), (set(), ALWAYS), strict=True):
        gained = {question for question, things in now.items() if things - bare[question]}
        assert wanted - gained <= before


def known(question: str) -> bool:
    """Whether this kernel could say yes: not every one has every family of sockets."""
    family = question.partition("family ")[2]
    return not family or probe.ask(["family", *FAMILIES[family]]) == [True]


def test_flatpak_gives_more_to_an_app_without_permissions(both: Ask) -> None:
    ours, their = both("none")
    alone = set(more(their, ours))
    expected = {"secret", "session bus", "namespace uts", "call io-uring"}
    assert alone >= expected | {f"read {path}" for path in ("/etc/machine-id", "/etc/resolv.conf", "/sys/class")}


def test_the_real_display_and_abstract_sockets_stay_outside(both: Ask, theirs: flatpak.Flatpak) -> None:
    ours, their = both("x11")
    assert "x11" in more(their, ours)
    with theirs.scene.world.here():
        scoped = theirs.scene.world.load().host.landlock >= network.LANDLOCK_SCOPES
    assert ("abstract" in more(their, ours)) == scoped


def test_a_protection_that_is_missing_is_found(both: Ask) -> None:
    assert {"call keyring", "call trace"} <= set(more(*both("none", world.NO_FILTER)))
