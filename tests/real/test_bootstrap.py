"""``./bootstrap`` on machines that are not here: stand-ins for package managers and sudo, in a box with our /usr/bin.

The real thing, on a bare Debian with a real apt, is tried by hand before a release (docs/releasing.md).
"""

import json
import os
import pathlib
import pty
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.conftest import must_work

ROOT = pathlib.Path(__file__).parents[2]
HERE = "/mnt/home/a check'out"  # bootstrap must not trip over blanks and quotes
PROJECT = """[project]
dependencies = []
[project.scripts]
intent-run = "broker.run:main"
"""
STUB = """import json, sys
def main():
    print(json.dumps([sys.argv[1:], sys.stdin.read(), sys.flags.isolated, sys.flags.no_site]))
    return 42
"""
# What each manager is told, and how its stand-in finds the program in a word of its command line.
TOLD = {
    "apt-get": "apt-get -o DPkg::Lock::Timeout=300 install -qq -y --no-install-recommends "
    "bubblewrap xdg-dbus-proxy qalc",
    "dnf": "dnf install -q -y /usr/bin/bwrap /usr/bin/xdg-dbus-proxy /usr/bin/qalc",
    "pacman": "pacman -S --needed --noconfirm bubblewrap xdg-dbus-proxy libqalculate",
    "apk": "apk add --no-cache cmd:bwrap cmd:xdg-dbus-proxy cmd:qalc",
}
MANAGER = """#!/bin/sh
cat >>/mnt/log/stolen
echo "$(id -u) ${0##*/} $*" >>/mnt/log/told
for word; do
  case $word in bubblewrap) word=bwrap ;; libqalculate) word=qalc ;; cmd:*) word=${word#cmd:} ;; esac
  case ${word##*/} in bwrap | xdg-dbus-proxy | qalc) ln -s /bin/true "/usr/bin/${word##*/}" ;; esac
done
"""
SUDO = '#!/bin/sh\necho "sudo $1" >>/mnt/log/sudo\nexec "$@"\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A machine: directories that stand for its /usr/bin, for a home with the checkout in it, and for a log."""

    top: pathlib.Path

    @property
    def checkout(self) -> pathlib.Path:
        return self.top / "home" / pathlib.PurePath(HERE).name

    def provide(self, name: str, script: str = MANAGER) -> None:
        program = self.top / "bin" / name
        program.unlink(missing_ok=True)
        program.write_text(script)
        program.chmod(0o755)

    def told(self, name: str = "told") -> list[str]:
        path = self.top / "log" / name
        return path.read_text().splitlines() if path.exists() else []

    def command(self, *words: str, uid: int = 0, locked: bool = False, **environ: str) -> list[str]:
        """bwrap's command line for ``./bootstrap WORDS``; ``locked``: the checkout cannot be written."""
        box = ["bwrap", "--unshare-user", "--uid", str(uid), "--gid", "0", "--die-with-parent", "--ro-bind", "/", "/"]
        box += ["--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--tmpfs", "/mnt"]
        box += ["--ro-bind", "/usr/bin", "/mnt/bin"]
        for name, dest in (("home", "/mnt/home"), ("log", "/mnt/log"), ("bin", "/usr/bin")):
            box += ["--bind", str(self.top / name), dest]
        if locked:
            box += ["--ro-bind", str(self.checkout), HERE]
        settings = {"PATH": "/usr/bin:/bin", "HOME": "/mnt/home", "LANG": "C.UTF-8", **environ}
        box += ["--clearenv", *(word for item in settings.items() for word in ("--setenv", *item))]
        return [*box, "--chdir", "/", f"{HERE}/bootstrap", *words]


def run(command: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=300)


@pytest.fixture
def box(tmp_path: pathlib.Path) -> Iterator[Box]:
    """A machine that has everything but a package manager, sudo, and the three programs that a sandbox needs."""
    must_work(shutil.which("bwrap"), "bwrap")
    for name in ("bin", "log", "home"):
        (tmp_path / name).mkdir()
    absent = {*TOLD, "sudo", "bwrap", "xdg-dbus-proxy", "qalc", "gnome-calculator"}
    for name in set(os.listdir("/usr/bin")) - absent:
        (tmp_path / "bin" / name).symlink_to(f"/mnt/bin/{name}")
    made = Box(top=tmp_path)
    for package in ("intents", "broker"):
        (made.checkout / package).mkdir(parents=True)
    shutil.copy(ROOT / "bootstrap", made.checkout)
    (made.checkout / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "packages", made.checkout / "tests")
    (made.checkout / "pyproject.toml").write_text(PROJECT)
    (made.checkout / "broker" / "run.py").write_text(STUB)
    yield made


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Where the virtual environment of a finished checkout is kept, for the tests that are not about making one."""
    return tmp_path_factory.mktemp("built") / "venv"


@pytest.fixture
def ready(box: Box, built: pathlib.Path) -> Box:
    """A machine whose checkout is finished, and whose programs are missing again."""
    if built.exists():
        shutil.copytree(built, box.checkout / ".venv", symlinks=True)
        return box
    box.provide("apk")
    assert run(box.command("run", "x")).returncode == 42
    shutil.copytree(box.checkout / ".venv", built, symlinks=True)
    for name in ("apk", "bwrap", "xdg-dbus-proxy", "qalc"):
        (box.top / "bin" / name).unlink()
    shutil.rmtree(box.top / "log")
    (box.top / "log").mkdir()
    return box


def test_from_nothing_to_the_application_and_nothing_the_second_time(box: Box) -> None:
    box.provide("apk")
    first = run(box.command("run", "name", "a b", "", "--x"), "6*7\n")
    assert first.returncode == 42, first.stderr
    assert json.loads(first.stdout) == [["name", "a b", "", "--x"], "6*7\n", 1, 1]
    assert "apk add" in first.stderr
    assert all(line.startswith("bootstrap: ") for line in first.stderr.splitlines())
    again = run(box.command("run", "name"), "1")
    assert (again.returncode, json.loads(again.stdout), again.stderr) == (42, [["name"], "1", 1, 1], "")
    assert len(box.told()) == 1
    assert not box.told("stolen")


@pytest.mark.parametrize("manager", TOLD)
@pytest.mark.parametrize("uid", [0, 1000])
def test_each_package_manager_is_told_what_is_missing(ready: Box, manager: str, uid: int) -> None:
    ready.provide(manager)
    ready.provide("sudo", SUDO)
    done = run(ready.command("run", "x", uid=uid), "kept")
    assert (done.returncode, json.loads(done.stdout)[1]) == (42, "kept"), done.stderr
    assert ready.told()[-1] == f"{uid} {TOLD[manager]}"
    assert bool(ready.told("sudo")) == (uid != 0)
    assert TOLD[manager] in done.stderr
    assert not ready.told("stolen")


def test_only_what_is_missing_is_installed(ready: Box) -> None:
    ready.provide("dnf")
    for name in ("bwrap", "qalc"):
        ready.provide(name, "#!/bin/sh\n")
    assert run(ready.command("run", "x")).returncode == 42
    assert ready.told() == ["0 dnf install -q -y /usr/bin/xdg-dbus-proxy"]


def test_without_sudo_the_exact_command_is_said(ready: Box) -> None:
    ready.provide("dnf")
    done = run(ready.command("run", "x", uid=1000))
    assert (done.returncode, done.stdout) == (125, "")
    assert f"as root, run: {TOLD['dnf']}" in done.stderr
    assert ready.told() == []


@pytest.mark.parametrize(("manager", "says"), [("", "none of apt, dnf, pacman and apk"), ("dnf", "still missing")])
def test_what_cannot_be_installed_is_said(ready: Box, manager: str, says: str) -> None:
    if manager:
        ready.provide(manager, "#!/bin/sh\n")
    done = run(ready.command("run", "x"))
    assert (done.returncode, done.stdout) == (125, "")
    assert says in done.stderr
    assert "/usr/bin/bwrap /usr/bin/xdg-dbus-proxy /usr/bin/qalc" in done.stderr


def test_a_package_manager_that_fails_ends_it(ready: Box) -> None:
    ready.provide("dnf", "#!/bin/sh\necho broken >&2\nexit 7\n")
    done = run(ready.command("run", "x"))
    assert (done.returncode, done.stdout) == (125, "")
    assert "broken\nbootstrap: error: the package manager failed" in done.stderr


def test_an_old_python_is_refused(box: Box) -> None:
    box.provide("apk")
    box.provide("python3", '#!/bin/sh\ncase $2 in *version_info*) exit 1 ;; esac\nexec /mnt/bin/python3 "$@"\n')
    done = run(box.command("run", "x"))
    assert done.returncode == 125
    assert "older than 3.11" in done.stderr


def test_a_checkout_that_cannot_be_written_keeps_its_packages_in_the_cache(box: Box) -> None:
    box.provide("dnf")
    for _ in range(2):
        done = run(box.command("run", "x", locked=True))
        assert done.returncode == 42, done.stderr
    assert done.stderr == ""
    assert not (box.checkout / ".venv").exists()
    assert len(list((box.top / "home/.cache/intents-bootstrap").iterdir())) == 1


def test_two_at_once_do_the_work_once(box: Box) -> None:
    box.provide("apk", MANAGER.replace("for word", "/mnt/bin/sleep 0.3; for word"))
    command = box.command("run", "x")
    both = [subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [42, 42], said
    assert len(box.told()) == 1
    assert "".join(said).count("installing the Python packages") == 1


def test_new_dependencies_are_noticed(ready: Box) -> None:
    ready.provide("apk")
    (ready.checkout / "pyproject.toml").write_text(PROJECT.replace("[]", '["no such requirement"]'))
    done = run(ready.command("run", "x"))
    assert (done.returncode, done.stdout) == (125, "")
    assert "pip failed" in done.stderr


@pytest.mark.parametrize(
    ("typed", "display", "expected"),
    [(True, "wayland-0", []), (True, "", ["qalc"]), (False, "wayland-0", ["qalc"])],
)
def test_the_terminal_calculator_comes_unless_the_name_means_a_window(
    ready: Box, typed: bool, display: str, expected: list[str]
) -> None:
    ready.provide("dnf")
    for name in ("bwrap", "xdg-dbus-proxy", "gnome-calculator"):
        ready.provide(name, "#!/bin/sh\n")
    ours, theirs = pty.openpty()
    os.write(ours, b"\x04")
    stdin = theirs if typed else subprocess.DEVNULL
    command = ready.command("run", "x", WAYLAND_DISPLAY=display)
    done = subprocess.run(command, stdin=stdin, capture_output=True, timeout=300)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 42, done.stderr
    told = [word for line in ready.told() for word in line.split()]
    assert [word.removeprefix("/usr/bin/") for word in told if word.startswith("/usr/bin/")] == expected


@pytest.mark.parametrize("words", [[], ["install"], ["--help"]])
def test_other_words_get_the_usage(box: Box, words: list[str]) -> None:
    done = run(box.command(*words))
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: ./bootstrap run NAME" in done.stderr
