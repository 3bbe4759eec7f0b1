"""A warm start loads a handful of modules and starts a handful of programs: both are pinned here, by real starts.

Time is not measured: what a start costs is what it loads and starts (tests/benchmarks/launch.py reports milliseconds).
"""

import os
import pathlib
import re
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from broker import launch
from broker.companions import wayland_wire as wire
from intents import model
from tests.conftest import must_work
from tests.real import peers, terminal, world

pytestmark = pytest.mark.real

PYTHON = ["/usr/bin/python3", "-IS"]
# What bootstrap writes, and a report of what is loaded when a process becomes another program, and at the end.
LAUNCHER = """#!/usr/bin/python3 -IS
import sys

sys.path += [{root!r}, {packages!r}]
{extra}
import os

become = os.execve


def report():
    handle = os.open({report!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(handle, " ".join([*sys.modules, ""]).encode())
    os.close(handle)


def reported(*words):
    report()
    become(*words)


os.execve = reported
from broker.run import main

status = main()
report()
sys.exit(status)
"""
BUS = "org.freedesktop.Notifications"
OURS = {"broker", "broker.run", "broker.launch", "intents", "intents.plan"}
RELAY = {"broker.relay", "broker.monitor", "broker.user_terminal"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A launch. intent: what the app has; ours: our modules beside OURS; standard: the library's, besides what an
    interpreter loads anyway; programs: what it starts, in order; processes: how many it makes before it is bwrap;
    files: what it does with a file that is named to it; words: its arguments."""

    intent: Mapping[str, object] | None = None
    span: model.Lifespan = model.Lifespan.FOREVER
    terminal: bool = False
    ours: frozenset[str] = frozenset()
    standard: str = "os, _signal, fcntl, pwd"
    programs: tuple[str, ...] = ("intent-run", "bwrap", "true")
    processes: int = 0
    files: str = ""
    words: tuple[str, ...] = ()


CASES = {
    "plain": Case(),
    "files": Case(intent={"kind": "path", "place": "home/Notes", "access": "write"}),
    "bus": Case(
        intent={"kind": "dbus", "bus": "session", "talk": [BUS]},
        ours=frozenset({"broker.companions"}),
        standard="os, _signal, fcntl, pwd, select",
        programs=("intent-run", "xdg-dbus-proxy", "bwrap", "true"),
        processes=1,
    ),
    "wayland": Case(
        intent={"kind": "display", "protocol": "wayland"},
        ours=frozenset({"broker.companions"}),
        standard="os, _signal, fcntl, pwd, select",
        processes=1,
    ),
    "arguments": Case(words=("--option", "no file")),
    "named file": Case(files="write", words=("/etc/hosts",), ours=frozenset({"broker.named"})),
    "terminal": Case(
        terminal=True,
        ours=frozenset(RELAY),
        standard="os, _signal, fcntl, pwd, termios, select",
        programs=("intent-run", "bwrap", "env", "true"),
        processes=2,
    ),
    "network": Case(
        intent={"kind": "network", "scope": "host"},
        ours=frozenset({"broker.landlock"}),
        standard="os, _signal, fcntl, pwd, ctypes",
    ),
    "ports": Case(
        intent={"kind": "network", "scope": "host", "ports": [443]},
        ours=frozenset({"broker.landlock", "broker.confine"}),
        standard="os, _signal, fcntl, pwd, ctypes",
    ),
    "until": Case(
        intent={"kind": "dns", "scope": "any"},
        span=model.Lifespan.UNTIL,
        standard="os, _signal, fcntl, pwd, time",
    ),
}


def loaded(modules: str) -> set[str]:
    """What an interpreter has loaded once a script has imported ``modules``."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(f"import sys, {modules}; print(*sys.modules)")
        script.flush()
        done = subprocess.run([*PYTHON, script.name], capture_output=True, check=True, text=True)
    return set(done.stdout.split())


class Launch:
    """An app in a world of its own, and intent-run as a process that reports what it loads."""

    def __init__(self, here: world.World, case: Case) -> None:
        self.world, self.case = here, case
        self.report = here.base / "modules"
        (here.home / "Notes").mkdir()
        about = {"files": case.files} if case.files else {}
        here.install(world.manifest(["/bin/true"], {"it": case.intent} if case.intent else {}, **about))
        if case.intent:
            here.decide(span=case.span)
        self.start(extra=f"from broker import state\nstate._home = lambda euid: {str(here.home)!r}")
        self.report.unlink()
        sections = launch.read(self.plan)
        assert sections is not None, "no plan"
        self.scoped = b"1" in dict(zip(sections["settings"][::2], sections["settings"][1::2], strict=True))[b"scoped"]

    @property
    def words(self) -> list[str]:
        return [world.APP, *self.case.words]

    @property
    def plan(self) -> str:
        kind = "tty" if self.case.terminal else "pipe"
        return f"{self.world.places.state}/plans/{world.APP}.{kind}"

    def start(self, *, extra: str = "", before: tuple[str, ...] = ()) -> None:
        """Start the app to its good end; extra: what the launcher does first; before: a program that starts it."""
        launcher = self.world.base / "intent-run"
        packages = sysconfig.get_path("purelib")
        text = LAUNCHER.format(root=str(world.ROOT), packages=packages, report=str(self.report), extra=extra)
        launcher.write_text(text)
        launcher.chmod(0o755)
        master, slave = os.openpty() if self.case.terminal else (-1, os.open(os.devnull, os.O_RDWR))
        try:
            done = subprocess.run(
                ["setsid", *(["--ctty"] if self.case.terminal else []), "--wait", *before, launcher, *self.words],
                env=self.world.environ,
                stdin=slave,
                stdout=slave,
                stderr=slave if self.case.terminal else subprocess.PIPE,
                timeout=terminal.PATIENCE,
                check=False,
            )
            shown = os.read(master, 1 << 16) if self.case.terminal and done.returncode else done.stderr
        finally:
            os.close(slave)
            if self.case.terminal:
                os.close(master)
        assert done.returncode == 0, shown

    def modules(self) -> set[str]:
        """What the starts since the last look have loaded."""
        found = set(self.report.read_text().split())
        self.report.unlink()
        return found

    def expected(self) -> set[str]:
        """What this case may load and must load."""
        return OURS | self.case.ours | loaded(self.case.standard)


@pytest.fixture(params=CASES)
def warm(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[Launch]:
    case = CASES[request.param]
    with world.world() as here:
        address = f"unix:path={tmp_path}/bus"
        if "xdg-dbus-proxy" not in case.programs:
            here.environ["WAYLAND_DISPLAY"] = f"{here.runtime}/wayland-1"
            with peers.peer(here.runtime / "wayland-1", peers.says(wire.message(3, 0, 0))):  # a compositor's last word
                yield Launch(here, case)
            return
        must_work(shutil.which("xdg-dbus-proxy"), "xdg-dbus-proxy")
        with peers.message_bus(tmp_path, address, {BUS: "/bin/false"}):
            peers.eventually(lambda: (tmp_path / "bus").exists(), "the bus")
            here.environ["DBUS_SESSION_BUS_ADDRESS"] = address
            yield Launch(here, case)


def test_a_warm_start_loads_this_and_nothing_else(warm: Launch) -> None:
    if "ctypes" in warm.case.standard:
        must_work(warm.scoped, "Landlock that scopes abstract sockets")
    warm.start()
    assert warm.modules() == warm.expected()
    # The same start sees more as soon as there is more to see.
    warm.start(extra="import json")
    assert warm.modules() == warm.expected() | loaded("json")


def test_a_stale_plan_is_seen_in_what_is_loaded(warm: Launch) -> None:
    if warm.case.intent:
        warm.world.decide(span=warm.case.span)  # whatever was decided, the plans are over
    else:
        os.utime(pathlib.Path(warm.world.places.data, "manifests", f"{world.APP}.toml"))
    home = f"from broker import state\nstate._home = lambda euid: {str(warm.world.home)!r}"
    warm.start(extra=home)
    assert {"broker.session", "sqlite3", "cryptography"} <= warm.modules()
    warm.start()
    assert warm.modules() == warm.expected()


ONE_MORE = """
import os
os.fork() or os._exit(0)
os.wait()
"""


def test_a_warm_start_makes_these_processes_and_no_more(warm: Launch) -> None:
    must_work(shutil.which("strace"), "strace")
    calls, log = "--trace=execve,clone,clone3,fork,vfork", warm.world.base / "strace"
    for extra, more in (("", 0), (ONE_MORE, 1)):
        warm.start(before=("strace", "-f", "-qq", "--signal=none", calls, f"--output={log}"), extra=extra)
        first, programs, made = traced(log.read_text())
        assert [name for name, _ in programs] == list(warm.case.programs)
        assert made == warm.case.processes + more
        assert (dict(programs)["bwrap"] == first) is not warm.case.terminal  # elsewhere intent-run becomes bwrap


CALL = re.compile(r"(?P<name>\w+)\((?P<words>.*) = (?P<result>\d+)(?: .*)?")


def traced(log: str) -> tuple[str, list[tuple[str, str]], int]:
    """strace's log as: the first process; (program, process) of each execve(2) that succeeded, without the directory;
    how many processes were made by one that was intent-run."""
    calls = list(finished(log))
    programs: list[tuple[str, str]] = []
    # A process in a namespace is known to its maker by another number: those are bubblewrap's.
    makers = {call["result"]: pid for pid, call in calls if call["name"] != "execve"}
    made = 0
    for pid, call in calls:
        if call["name"] == "execve":
            programs.append((call["words"].split('"')[1].rpartition("/")[2], pid))
            continue
        running = {process: program for program, process in programs}
        maker = pid
        while maker not in running and maker in makers:
            maker = makers[maker]
        made += running.get(maker) == "intent-run"
    return calls[0][0], programs, made


def finished(log: str) -> Iterator[tuple[str, re.Match[str]]]:
    """(process, call) of each call that succeeded, in the order in which they ended."""
    begun: dict[str, str] = {}
    for line in log.splitlines():
        pid, text = line.split(maxsplit=1)
        if text.startswith("<... "):
            text = begun[pid] + text.partition("resumed>")[2]
        if text.endswith("<unfinished ...>"):
            begun[pid] = text.removesuffix("<unfinished ...>")
        elif call := CALL.fullmatch(text):
            yield pid, call
