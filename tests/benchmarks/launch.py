"""``python -m tests.benchmarks.launch``: what a launch costs beside bubblewrap started with the same arguments.

Every case is timed from posix_spawn(3) to the exit of what was spawned, in interleaved rounds of one run. The raw cases
get their arguments and open descriptors made beforehand, outside the timed part: no launcher, in C or otherwise, can be
quicker. Nothing passes or fails by the clock. What was measured: docs/performance.md.
"""

import argparse
import compileall
import ctypes
import json
import os
import pathlib
import random
import shutil
import statistics
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from broker import companions, launch
from broker.companions import wayland_wire as wire
from intents import model
from tests.real import peers, world

PROGRAM = "/bin/true"
ROUNDS = 40
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER: prctl(2)
RATIOS = {
    "warm_vs_bwrap": ("warm", "bwrap"),
    "warm_terminal_vs_bwrap": ("warm_terminal", "bwrap_terminal"),
    "warm_dbus_vs_c_pair": ("warm_dbus", "c_pair"),
    "warm_network_vs_bwrap": ("warm_network", "bwrap_network"),
    "warm_named_vs_warm": ("warm_named", "warm"),
    "warm_wayland_vs_warm": ("warm_wayland", "warm"),
    "warm_desktop_vs_warm": ("warm_desktop", "warm"),
    "warm_file_vs_warm": ("warm_file", "warm"),
    "cold_vs_bwrap": ("cold", "bwrap"),
    "warm_vs_firejail": ("warm", "firejail"),
    "warm_vs_firejail_noprofile": ("warm", "firejail_noprofile"),
    "warm_vs_flatpak": ("warm", "flatpak"),
    "warm_dbus_vs_flatpak_dbus": ("warm_dbus", "flatpak_dbus"),
    "warm_desktop_vs_flatpak_dbus": ("warm_desktop", "flatpak_dbus"),
}
LAUNCHER = """#!/usr/bin/python3 -IS
import sys

sys.path += [{code!r}, {packages!r}]
{extra}from broker.run import main

sys.exit(main())
"""
# Beside what bootstrap writes: no warm start may quietly become a cold one, and a cold one must know our home.
WARM = 'sys.modules["broker.session"] = None\n'
COLD = "from broker import state\nstate._home = lambda euid: {home!r}\n"

Intents = dict[str, dict[str, object]]
FILES: Intents = {
    "documents": {"kind": "path", "place": "home/Documents", "access": "read"},
    "sheets": {"kind": "path", "place": "home/Sheets", "access": "write"},
}
NETWORK: Intents = {"net": {"kind": "network", "scope": "host"}, "names": {"kind": "dns", "scope": "any"}}
BUS: Intents = {"bus": {"kind": "dbus", "bus": "session", "talk": ["org.freedesktop.Notifications"]}}
WINDOW: Intents = {"window": {"kind": "display", "protocol": "wayland"}}
# What a desktop program has: a window, notifications, the desktop's colours through a portal, a directory it keeps.
DESKTOP: Intents = {
    **WINDOW,
    "notifications": {"kind": "notifications"},
    "appearance": {"kind": "appearance"},
    "kept": {"kind": "persist", "names": [".desktop"]},
}
# Two servers by name, and so a network of its own.
NAMED: Intents = {"net": {"kind": "network", "connect": ["www.example.org:443", "*.example.net:443"]}}
PLAIN, ON_BUS, ONLINE, ON_NAMES, ON_SCREEN, ON_FILE, ON_DESKTOP = (
    f"org.example.{name}" for name in ("Plain", "Bus", "Online", "Names", "Screen", "File", "Desktop")
)
APPS = {
    PLAIN: {**FILES, **NETWORK},
    ON_BUS: {**FILES, **NETWORK, **BUS},
    ONLINE: {**FILES, **NETWORK},
    ON_NAMES: {**FILES, **NAMED},
    ON_SCREEN: {**FILES, **NETWORK, **WINDOW},
    ON_FILE: {**FILES, **NETWORK},
    ON_DESKTOP: {**FILES, **NETWORK, **DESKTOP},
}
DENIED = {ONLINE: (), ON_NAMES: ()} | dict.fromkeys((PLAIN, ON_BUS, ON_SCREEN, ON_FILE, ON_DESKTOP), tuple(NETWORK))
KEYS: dict[str, dict[str, object]] = {ON_FILE: {"files": "read"}, ON_DESKTOP: {"interface": "window"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A start that is ready. spawn: starts it and gives its pid; opened: the descriptors to close when it has ended."""

    spawn: Callable[[], int]
    opened: tuple[int, ...] = ()


Case = Callable[[], Start]  # prepares one start, which is not timed


def started(
    argv: Sequence[str] | Sequence[bytes],
    environ: Mapping[str, str] | None = None,
    *,
    terminal: bool = False,
    given: tuple[int, ...] = (),
) -> Start:
    """``argv``, whose first word is a path, as the leader of a session: on a new pty, or on /dev/null.

    given: descriptors that are not inheritable and that it gets all the same.
    """
    master, slave = os.openpty() if terminal else (-1, -1)
    actions: list[tuple[object, ...]] = [
        (os.POSIX_SPAWN_OPEN, 0, os.ttyname(slave) if terminal else os.devnull, os.O_RDWR, 0),
        *((os.POSIX_SPAWN_DUP2, 0, number) for number in (1, 2)),
        *((os.POSIX_SPAWN_DUP2, number, number) for number in given),
    ]
    return Start(
        spawn=lambda: os.posix_spawn(argv[0], tuple(argv), environ or {}, file_actions=actions, setsid=True),
        opened=(master, slave) if terminal else (),
    )


def timed(case: Case) -> float:
    """Seconds from starting to the end of one start, which must be a good one; all that it left is waited for."""
    start, strangers = case(), _children()
    begin = time.perf_counter()
    pid = start.spawn()
    status = os.waitpid(pid, 0)[1]
    end = time.perf_counter()
    for descriptor in start.opened:
        os.close(descriptor)
    while left := _children() - strangers:  # the proxy ends after the sandbox, and is ours now (SUBREAPER)
        os.waitpid(left.pop(), 0)
    assert status == 0, os.waitstatus_to_exitcode(status)
    return end - begin


def _children() -> set[int]:
    return {int(pid) for pid in pathlib.Path("/proc/thread-self/children").read_text().split()}


class Bench:
    """A world with the apps installed, decided and started once, so that each has a plan; and its two launchers."""

    def __init__(self, here: world.World, bus: str) -> None:
        self.world, self.environ = here, here.environ
        self.environ["DBUS_SESSION_BUS_ADDRESS"] = bus
        for place in ("Documents", "Sheets"):
            (here.home / place).mkdir()
        self.file = here.home / "letter"
        self.file.touch()
        sources = shutil.ignore_patterns("__pycache__")
        for package in ("intents", "broker"):  # a copy: nobody edits it, and its bytecode can be stored
            shutil.copytree(world.ROOT / package, here.base / "code" / package, ignore=sources)
        compileall.compile_dir(here.base / "code", quiet=2)
        self.warm = self._launcher("warm/intent-run", WARM)
        self.cold = self._launcher("cold/intent-run", COLD.format(home=str(here.home)))
        for app, intents in APPS.items():
            here.install(world.manifest([PROGRAM], intents, app_id=app, **KEYS.get(app, {})))
            for effect in model.Effect:
                names = [name for name in intents if (name in DENIED[app]) is (effect is model.Effect.DENY)]
                if names:
                    here.decide(*names, app_id=app, effect=effect)
        for app in APPS:  # all are installed: each plan remembers what else there was
            for terminal in (False, True):
                timed(self._run(self.cold, app, terminal=terminal))
                assert self._plan(app, terminal=terminal).exists(), f"{app} has no plan"

    def warm_start(self, app: str, *words: str, terminal: bool = False) -> Case:
        """intent-run with a plan that holds."""
        return self._run(self.warm, app, *words, terminal=terminal)

    def cold_start(self, app: str) -> Case:
        """intent-run without a plan: it reads, verifies, compiles and stores the plan again."""

        def prepare() -> Start:
            self._plan(app).unlink()
            return started([self.cold, app], self.environ)

        return prepare

    def raw(self, app: str, *, terminal: bool = False) -> Case:
        """bubblewrap, and the proxy before it where the plan has one, with the arguments of the app's plan."""
        sections = launch.read(str(self._plan(app, terminal=terminal)))
        assert sections is not None
        names = sections["settings"]
        settings = dict(zip(names[::2], names[1::2], strict=True))

        def prepare() -> Start:
            before = _descriptors()
            sockets = settings[b"run"] + b"/%d" % os.getpid()
            args = launch._arguments(sections, settings, sockets)
            head = [settings[b"bwrap"], b"--die-with-parent" if terminal else b"--new-session"]
            tail = [*args, b"--", *sections["command"]]
            if not sections["companions"]:
                bwrap = started([*head, *tail], terminal=terminal)
                return Start(spawn=bwrap.spawn, opened=tuple(_descriptors() - before))
            ready, beside = os.pipe()
            proxy = started(_companion(sections["companions"], sockets, beside), given=(beside,))
            bwrap = started([*head, b"--sync-fd", b"%d" % ready, *tail], given=(ready,))
            opened = tuple(_descriptors() - before - {beside})
            return Start(spawn=lambda: _both(proxy, bwrap, ready, beside), opened=opened)

        return prepare

    def _run(self, launcher: str, app: str, *words: str, terminal: bool) -> Case:
        return lambda: started([launcher, app, *words], self.environ, terminal=terminal)

    def _plan(self, app: str, *, terminal: bool = False) -> pathlib.Path:
        return pathlib.Path(self.world.places.state, "plans", f"{app}.{'tty' if terminal else 'pipe'}")

    def _launcher(self, name: str, extra: str) -> str:
        path = self.world.base / name
        path.parent.mkdir()
        code, packages = str(self.world.base / "code"), sysconfig.get_path("purelib")
        path.write_text(LAUNCHER.format(code=code, packages=packages, extra=extra))
        path.chmod(0o755)
        return str(path)


def _companion(section: tuple[bytes, ...], directory: bytes, beside: int) -> list[bytes]:
    """The command line of the one companion; ``directory``: of its sockets, made and emptied here."""
    os.makedirs(directory, 0o700, exist_ok=True)
    for name in os.listdir(directory):
        os.unlink(directory + b"/" + name)
    ((_, program, tagged),) = companions._records(section)
    words, _ = companions._arguments(tagged, directory, beside, launch._memory)
    return [program, *words]


def _both(proxy: Start, bwrap: Start, ready: int, beside: int) -> int:
    proxy.spawn()
    os.close(beside)
    assert os.read(ready, 1), "the proxy did not start"
    return bwrap.spawn()


def _descriptors() -> set[int]:
    """The open descriptors, without the one that lists them."""
    with os.scandir("/proc/self/fd") as entries:
        names = [int(entry.name) for entry in entries]
    return {number for number in names if os.path.exists(f"/proc/self/fd/{number}")}


def cases(bench: Bench, flatpak: str) -> dict[str, Case]:
    """What is timed, by name."""
    found = {
        "floor": lambda: started([PROGRAM]),
        "python": lambda: started(["/usr/bin/python3", "-IS", "-c", "pass"]),
        "bwrap": bench.raw(PLAIN),
        "warm": bench.warm_start(PLAIN),
        "warm_file": bench.warm_start(ON_FILE, str(bench.file)),
        "cold": bench.cold_start(PLAIN),
        "bwrap_terminal": bench.raw(PLAIN, terminal=True),
        "warm_terminal": bench.warm_start(PLAIN, terminal=True),
        "bwrap_network": bench.raw(ONLINE),
        "warm_network": bench.warm_start(ONLINE),
        "warm_named": bench.warm_start(ON_NAMES),
        "c_pair": bench.raw(ON_BUS),
        "warm_dbus": bench.warm_start(ON_BUS),
        "warm_wayland": bench.warm_start(ON_SCREEN),
        "warm_desktop": bench.warm_start(ON_DESKTOP),
    }
    plain = {**os.environ}
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS"):
        plain.pop(name, None)
    if firejail := shutil.which("firejail"):
        found["firejail"] = lambda: started([firejail, "--quiet", PROGRAM], plain)
        found["firejail_noprofile"] = lambda: started([firejail, "--quiet", "--noprofile", PROGRAM], plain)
    if flatpak:
        program = shutil.which("flatpak") or "flatpak"
        argv = [program, "run", "--command=true", flatpak]
        bus = {"DBUS_SESSION_BUS_ADDRESS": bench.environ["DBUS_SESSION_BUS_ADDRESS"]}
        found["flatpak"] = lambda: started([*argv[:2], "--no-session-bus", *argv[2:]], plain)
        found["flatpak_dbus"] = lambda: started(argv, {**plain, **bus})
    return found


def measure(found: Mapping[str, Case], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every start, by case; each round starts every case once, in another order."""
    taken: dict[str, list[float]] = {name: [] for name in found}
    order, shuffle = list(found), random.Random(1)
    for warmup in (True, *(False for _ in range(rounds))):
        shuffle.shuffle(order)
        for name in order:
            spent = timed(found[name]) * 1000
            if not warmup:
                taken[name].append(spent)
    return taken


def report(taken: Mapping[str, Sequence[float]]) -> dict[str, object]:
    """The ratios of medians that can be had, then medians, minima and 90th percentiles in ms, by case."""
    medians = {name: statistics.median(spent) for name, spent in taken.items()}
    ratios = {
        name: round(medians[ours] / medians[theirs], 2)
        for name, (ours, theirs) in RATIOS.items()
        if ours in medians and theirs in medians
    }
    return {
        **ratios,
        "runs": min(len(spent) for spent in taken.values()),
        "median_ms": {name: round(spent, 2) for name, spent in medians.items()},
        "min_ms": {name: round(min(spent), 2) for name, spent in taken.items()},
        "p90_ms": {name: round(sorted(spent)[int(len(spent) * 0.9)], 2) for name, spent in taken.items()},
    }


def table(facts: dict[str, object]) -> str:
    """``report`` for people."""
    columns = [facts[name] for name in ("median_ms", "min_ms", "p90_ms")]
    rows = [f"{'case':24}{'median':>9}{'min':>9}{'p90':>9}  ms"]
    for name in columns[0]:  # type: ignore[attr-defined]
        rows.append(f"{name:24}" + "".join(f"{column[name]:9.2f}" for column in columns))  # type: ignore[index]
    rows += ["", *(f"{name:33}{facts[name]:6.2f}" for name in RATIOS if name in facts)]
    return "\n".join(rows)


@contextmanager
def bench() -> Iterator[Bench]:
    """A bench with a compositor that has nothing to offer, and a bus."""
    ends = wire.message(3, 0, 0)  # a registry without anything in it
    with world.world() as here, peers.peer(here.runtime / "wayland-1", peers.says(ends)) as compositor:
        here.environ["WAYLAND_DISPLAY"] = compositor
        address = f"unix:path={here.base}/bus"
        services = ("org.freedesktop.Notifications", "org.freedesktop.portal.Desktop")
        with peers.message_bus(here.base, address, dict.fromkeys(services, "/bin/false")):
            peers.eventually(lambda: os.path.exists(address.removeprefix("unix:path=")), "the bus")
            yield Bench(here, address)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.launch", description="What a launch costs.")
    parser.add_argument("--json", action="store_true", help="one object with the ratios by name")
    parser.add_argument("-n", type=int, default=ROUNDS, metavar="RUNS", help=f"rounds ({ROUNDS})")
    parser.add_argument("--flatpak", default="", metavar="APPID", help="an installed app whose runtime has `true`")
    parser.add_argument("--only", default="", metavar="CASES", help="names of cases, separated by commas")
    asked = parser.parse_args()
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    with bench() as made:
        found = cases(made, asked.flatpak)
        wanted = asked.only.split(",") if asked.only else found
        facts = report(measure({name: found[name] for name in wanted}, asked.n))
    print(json.dumps(facts) if asked.json else table(facts))


if __name__ == "__main__":
    main()
