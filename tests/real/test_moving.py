"""Overrides at work: a bus, a desktop and a shell start the sandboxed program, and afterwards the other again
(SPEC §11.6)."""

import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from broker import bus, launchers, runs
from tests import control
from tests.conftest import must_work
from tests.real import desktop, peers, test_own_name, world
from tests.test_overrides import tree

pytestmark = pytest.mark.real

HOLDER = ["/usr/bin/python3", "-c", test_own_name.HOLD.strip().replace("\n", "; ")]
OWN = test_own_name.OWN
CALCULATOR, WINDOW = "org.gnome.Calculator", "gnome-calculator"
BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  {services}
  <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy>
</busconfig>
"""
STANDARD = "<standard_session_servicedirs/>"


def commands(directory: pathlib.Path, home: pathlib.Path) -> pathlib.Path:
    """Our commands as an installation has them, for the user whose home it is; the directory that holds them."""
    directory.mkdir()
    for name, module in (("intent-run", "broker.run"), ("intent-ctl", "broker.ctl")):
        program = world.MAIN.format(root=str(world.ROOT), home=str(home), removed="").replace("broker.run", module)
        (directory / name).write_text(f"#!{sys.executable}\n{program}")
        (directory / name).chmod(0o755)
    return directory


class Moved(world.World):
    """A world with our commands in a directory of a difficult name, and a place for what the system has."""

    def __init__(self, base: pathlib.Path) -> None:
        super().__init__(base)
        self.shared = base / "shared"
        self.commands = commands(base / "it's $(x) \\ `y`", self.home)
        self.environ["XDG_DATA_DIRS"] = str(self.shared)

    def ctl(self, *words: str, status: int = 0) -> str:
        """What intent-ctl prints, as a program of its own."""
        done = subprocess.run([self.commands / "intent-ctl", *words], env=self.environ, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (status, ""), done
        return done.stdout

    def put(self, below: str, text: str) -> None:
        """A file of the system's."""
        (self.shared / below).parent.mkdir(parents=True, exist_ok=True)
        (self.shared / below).write_text(text)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Moved]:
    monkeypatch.setattr(world, "World", Moved)
    with world.world() as made:
        assert isinstance(made, Moved)
        yield made


@contextmanager
def session(here: Moved, services: str = STANDARD) -> Iterator[str]:
    """A real session bus that looks for services where the user's and the system's are; its address."""
    must_work(shutil.which("xdg-dbus-proxy"), "xdg-dbus-proxy")
    must_work(shutil.which("dbus-send"), "dbus-send")
    config, socket = here.base / "bus.conf", here.runtime / "bus"
    config.write_text(BUS_CONFIG.format(socket=socket, services=services))
    here.environ["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={socket}"
    with peers.child(["dbus-daemon", "--nofork", f"--config-file={config}"], here.environ):
        peers.eventually(socket.exists, "the bus")
        try:
            yield here.environ["DBUS_SESSION_BUS_ADDRESS"]
        finally:
            for each in runs.instances(here.places):
                runs.stop([each], kill=True)


def activatable(here: Moved) -> None:
    """The system has a service file by which a call to the app's own name starts its program."""
    words = " ".join(map(shlex.quote, HOLDER)).replace("\\", "\\\\")
    text = f"[D-BUS Service]\nName={world.APP}\nExec={words}\nSystemdService=app.service\n"
    here.put(f"dbus-1/services/{world.APP}.service", text)
    here.install(world.manifest(HOLDER, OWN))
    here.decide()


def call(here: Moved) -> subprocess.CompletedProcess[bytes]:
    """Call the app's own name, so that the bus starts what is to answer."""
    return subprocess.run(test_own_name.PING.split(), env=here.environ, capture_output=True, check=False)


def sandboxed(here: Moved, address: str) -> bool:
    """Whether who owns the app's own name there is its filter, beside an instance that runs."""
    pid = bus.owner(address, world.APP)
    program = os.readlink(f"/proc/{pid}/exe")
    running = [each.app_id for each in runs.instances(here.places)]
    assert (running == [world.APP]) == program.endswith("/xdg-dbus-proxy"), (running, program)
    return bool(running)


def owns(here: Moved) -> bool:
    """Whether a start would give the app its own name, as ``show`` says it."""
    (intent,) = json.loads(here.ctl("show", world.APP, "--json"))["intents"]
    return not intent["withheld"]


def test_a_call_starts_the_sandboxed_program(here: Moved) -> None:
    activatable(here)
    with session(here) as address:
        assert not owns(here)
        here.ctl("desktop", "install", world.APP)
        assert owns(here)
        answer = call(here)
        assert answer.returncode == 0, answer
        assert sandboxed(here, address)


def test_without_our_file_a_call_starts_the_other_program(here: Moved) -> None:
    activatable(here)
    before = tree(here.home / ".local" / "share")
    with session(here) as address:
        here.ctl("desktop", "install", world.APP)
        here.ctl("desktop", "remove", world.APP)
        assert tree(here.home / ".local" / "share") == before
        assert not owns(here)
        assert call(here).returncode == 0
        assert not sandboxed(here, address)
        os.kill(bus.owner(address, world.APP), signal.SIGTERM)


@pytest.mark.parametrize("why", ["the bus looks elsewhere", "another file comes first", "ours was changed"])
def test_a_name_that_others_start_is_not_the_apps(here: Moved, why: str) -> None:
    activatable(here)
    elsewhere = f"<servicedir>{here.shared}/dbus-1/services</servicedir>"
    with session(here, elsewhere if why == "the bus looks elsewhere" else STANDARD):
        here.ctl("desktop", "install", world.APP)
        ours = here.home / ".local" / "share" / "dbus-1" / "services" / f"{world.APP}.service"
        if why == "another file comes first":
            first = here.runtime / "dbus-1" / "services" / "first.service"
            first.parent.mkdir(parents=True, exist_ok=True)
            first.write_text((here.shared / "dbus-1" / "services" / ours.name).read_text())
        elif why == "ours was changed":
            ours.write_text(ours.read_text().replace("Exec=", "Exec=/usr/bin/env "))
        else:
            assert owns(here) is False
        assert not owns(here)


def test_what_has_no_service_file_has_its_name_as_before(here: Moved) -> None:
    here.put("applications/app.desktop", f"[Desktop Entry]\nType=Application\nExec={shlex.join(['awk', '%f'])}\n")
    here.install(world.manifest(["/usr/bin/awk"], OWN))
    here.decide()
    with session(here) as address:
        here.ctl("desktop", "install", world.APP)
        assert owns(here)
        names = bus.names(address)
        assert names is not None and f"{world.APP}.{launchers.CONTROL}" not in names[1]


AWK = 'BEGIN { for (i = 1; i < ARGC; i++) print ARGV[i]; while ((getline line < "-") > 0) print line; exit 3 }'


def typed(here: Moved, path: str) -> tuple[int, str, str]:
    """Status, output and errors of the app's program when its name is typed at a shell with this PATH."""
    words = ["awk", AWK, "a  b", "", "$(id)", "*", "-x"]
    done = subprocess.run(
        ["/bin/sh", "-c", '"$@"; exit $?', "sh", *words],
        env={**here.environ, "PATH": path},
        input="one\ntwo\n",
        capture_output=True,
        text=True,
        timeout=world.LIMIT,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_command_passes_everything_on_and_does_not_start_itself(here: Moved) -> None:
    must_work(shutil.which("awk", path="/usr/bin"), "/usr/bin/awk")
    here.install(world.manifest(["/usr/bin/awk"]))
    here.environ["PATH"] = path = f"{here.home}/.local/bin:/usr/bin:/bin"
    plain = typed(here, path)
    before = tree(here.home / ".local")
    assert here.ctl("wrap", world.APP) == f"{here.home}/.local/bin/awk starts {world.APP}.\n"
    assert typed(here, path) == plain == (3, "a  b\n\n$(id)\n*\n-x\none\ntwo\n", "")
    look = '"$@"; exit $?', "sh", "awk", 'BEGIN { while ((getline line < "/proc/sys/kernel/hostname") > 0) print line }'
    seen = subprocess.run(["/bin/sh", "-c", *look], env=here.environ, capture_output=True, text=True)
    assert seen.stdout == "sandbox\n"
    here.ctl("unwrap", world.APP)
    after = {path: found for path, found in tree(here.home / ".local").items() if "/intents" not in path}
    assert after == {path: found for path, found in before.items() if "/intents" not in path}


def test_a_shell_that_would_not_find_it_first_is_said(here: Moved) -> None:
    here.install(world.manifest(["/usr/bin/awk"]))
    for path in ("/usr/bin", f"/usr/bin:{here.home}/.local/bin"):
        here.environ["PATH"] = path
        assert f'export PATH="{here.home}/.local/bin:$PATH"' in here.ctl("wrap", world.APP)
    here.environ["PATH"] = f"{here.home}/bin:/usr/bin"
    assert "export" not in here.ctl("wrap", world.APP)
    assert not (here.home / ".local" / "bin").exists() and (here.home / "bin" / "awk").exists()


def test_a_program_of_the_users_own_and_an_interpreter_are_not_wrapped(here: Moved) -> None:
    here.install(world.manifest(["/usr/bin/awk"]))
    mine = here.home / ".local" / "bin" / "awk"
    mine.parent.mkdir()
    mine.write_text("mine")
    assert control.code(here, "wrap", world.APP) in ("override-taken", "no-intent-run")
    assert mine.read_text() == "mine"
    here.install(world.manifest(["/usr/bin/python3", "-c", "0"], serial=2))
    assert control.code(here, "wrap", world.APP) == "not-wrappable"


def test_an_app_is_not_put_before_another_program_of_its_name(here: Moved) -> None:
    """Its author names the program: who types `ls` must not meet the app."""
    named = here.home / "app" / "ls"
    named.parent.mkdir()
    named.symlink_to("/usr/bin/true")
    here.install(world.manifest([str(named)]))
    assert control.code(here, "wrap", world.APP) == "not-wrappable"
    assert not (here.home / ".local" / "bin").exists()
    named.unlink()
    named.symlink_to("/usr/bin/ls")
    assert "/ls starts" in here.ctl("wrap", world.APP), "it is that program"


def test_an_entry_of_the_users_own_comes_back(here: Moved) -> None:
    here.put("applications/kde/a.desktop", "[Desktop Entry]\nType=Application\nName=System\nExec=awk %f\n")
    here.put("applications/b.desktop", "[Desktop Entry]\nType=Application\nName=B\nExec=awk %f\n")
    here.install(world.manifest(["/usr/bin/awk"]))
    mine = here.home / ".local" / "share" / "applications"
    mine.mkdir()
    (mine / "b.desktop").write_bytes(b"[Desktop Entry]\nType=Application\nName=Mine\nExec=awk -f \xff %f\n")
    (mine / "c.desktop").symlink_to(here.shared / "applications" / "b.desktop")
    before = tree(mine)
    here.ctl("desktop", "install", world.APP)
    names = [(mine / each).read_text().split("\n")[2] for each in ("kde/a.desktop", "b.desktop", "c.desktop")]
    assert names == ["Name=System", "Name=Mine", "Name=B"]
    assert here.ctl("desktop", "list").count(f"starts {world.APP}\n") == 3
    here.ctl("desktop", "install", world.APP)
    (mine / "b.desktop").write_text("edited")
    assert "changed since" in here.ctl("desktop", "list")
    assert "left as it is" in here.ctl("desktop", "remove", world.APP, status=1)
    (saved,) = mine.glob("b.desktop.before-*")
    saved.rename(mine / "b.desktop")
    assert tree(mine) == before


# What an entry says is passed on as it is.
TRUSTING = """
import re
from intents import desktop_entry
desktop_entry._OPTION = re.compile(".+")
"""


@pytest.mark.parametrize("removed", ["", TRUSTING])
def test_cve_2021_21381_nothing_that_an_entry_names_is_given(here: Moved, *, removed: str) -> None:
    must_work(shutil.which("gio"), "gio")
    secret, given = here.home / "secret", here.home / "given file"
    secret.write_text("secret ")
    given.write_text("given")
    here.put("applications/b.desktop", f"[Desktop Entry]\nType=Application\nName=B\nExec=cat -v {secret} %f\n")
    here.install(world.manifest(["/usr/bin/cat"], files="read"))
    program = (here.commands / "intent-ctl").read_text()
    (here.commands / "intent-ctl").write_text(program.replace("from broker.ctl", f"{removed}\nfrom broker.ctl"))
    said = here.ctl("desktop", "install", world.APP)
    entry = here.home / ".local" / "share" / "applications" / "b.desktop"
    done = subprocess.run(
        ["/usr/bin/gio", "launch", entry, given],
        env=here.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.stdout == ("secret given" if removed else "given"), done
    assert removed or f"Left out, because it could start something else: {secret}." in said


def test_an_app_without_a_manifest_leaves_nothing_behind(here: Moved) -> None:
    here.put("applications/b.desktop", "[Desktop Entry]\nType=Application\nName=B\nExec=awk %f\n")
    here.install(world.manifest(["/usr/bin/awk"]))
    here.ctl("wrap", "--all", world.APP)
    assert "overrides" in here.ctl("doctor", status=int(not shutil.which("xdg-dbus-proxy")))
    here.ctl("forget", world.APP)
    assert len(json.loads(here.ctl("desktop", "list", "--json"))["overrides"]) == 2
    for file in pathlib.Path(here.places.data, "manifests").iterdir():
        file.unlink()
    assert f"intent-ctl forget {world.APP}" in here.ctl("doctor", status=int(not shutil.which("xdg-dbus-proxy")))
    assert "removed" in here.ctl("forget", world.APP)
    assert here.ctl("desktop", "list") == "Nothing is installed.\n"
    assert not (here.home / ".local" / "share" / "applications").exists()


@pytest.fixture
def screen() -> Iterator[desktop.Desktop]:
    with desktop.desktop("sway", "swaymsg", "dbus-daemon", "gnome-calculator", "gio") as made:
        made.start_bus()
        made.start_sway()
        yield made


def test_a_launcher_of_the_desktop_opens_the_sandboxed_window(screen: desktop.Desktop) -> None:
    screen.grant(CALCULATOR, "window", "--for", "session")
    bin_ = screen.place / "b in"
    bin_.mkdir()
    for name, module in (("intent-run", "broker.run"), ("intent-ctl", "broker.ctl")):
        text = desktop.COMMAND.format(root=str(desktop.ROOT), module=module)
        (bin_ / name).write_text(f"#!{sys.executable}\n{text}\n")
        (bin_ / name).chmod(0o755)
    done = screen.run(str(bin_ / "intent-ctl"), "desktop", "install", CALCULATOR)
    assert done.returncode == 0, done.stderr
    entry = screen.place / "data" / "applications" / f"{CALCULATOR}.desktop"
    screen.closing.callback(screen.run, *screen.ours("broker.ctl", "stop", CALCULATOR, "--kill"))
    screen.spawn("/usr/bin/gio", "launch", str(entry))
    desktop.until(lambda: WINDOW in screen.windows(), "the calculator's window")
    pid = screen.inside(CALCULATOR)
    assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    screen.keep_screenshot("launched")
