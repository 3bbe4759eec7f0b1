"""Only root's programs count; a bubblewrap that will not do is refused with the cause and the remedy (SPEC §9.2)."""

import os
import pathlib
import shutil
import stat
import subprocess
import sys

import pytest

from broker import programs
from intents import errors
from tests.conftest import must_work
from tests.real import peers

ROOT = str(pathlib.Path(__file__).parent.parent)


@pytest.fixture
def bwrap() -> str:
    found = programs.find("bwrap")
    must_work(found, "bubblewrap")
    return found


def script(path: pathlib.Path, text: str) -> str:
    path.write_text("#!/bin/sh\n" + text + "\n")
    path.chmod(0o755)
    return str(path)


def refusal(path: str) -> errors.HostError:
    with pytest.raises(errors.HostError) as refused:
        programs.check_bwrap(path)
    return refused.value


def test_a_program_of_roots_is_found_wherever_path_points(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    script(tmp_path / "env", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert programs.find("env") == "/usr/bin/env"
    assert programs.find("intents-no-such-program") == ""


def test_a_program_that_somebody_else_may_change_is_not_found(tmp_path: pathlib.Path) -> None:
    tmp_path.chmod(0o755)
    path = pathlib.Path(script(tmp_path / "tool", "exit 0"))
    mine = programs.find("tool", (str(tmp_path),))
    if os.geteuid():
        assert mine == ""  # it is ours, not root's
        return
    assert mine == str(path)
    for mode in (0o775, 0o757, 0o644):
        path.chmod(mode)
        assert programs.find("tool", (str(tmp_path),)) == ""
    path.chmod(0o755)
    tmp_path.chmod(0o777)
    assert programs.find("tool", (str(tmp_path),)) == ""
    tmp_path.chmod(0o755)
    os.chown(tmp_path, peers.NOBODY, peers.NOBODY)
    assert programs.find("tool", (str(tmp_path),)) == ""
    os.chown(tmp_path, 0, 0)
    os.chown(path, peers.NOBODY, peers.NOBODY)
    assert programs.find("tool", (str(tmp_path),)) == ""
    path.unlink()
    path.mkdir()
    assert programs.find("tool", (str(tmp_path),)) == ""


def test_a_program_inherits_nothing_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/nowhere.so")
    status, said = programs.run("/usr/bin/env")
    assert (status, said) == (0, "LC_ALL=C\n")
    assert programs.run("/bin/cat") == (0, "")
    assert programs.run("/nowhere/program")[0] == -1
    monkeypatch.setattr(programs, "TIMEOUT", 0.2)
    assert peers.ends(lambda: programs.run("/bin/sleep", "600"))[0] == -1


@pytest.mark.real
def test_the_installed_bubblewrap_will_do(bwrap: str) -> None:
    programs.check_bwrap(bwrap)
    assert programs.missing_options(bwrap) == ()
    assert programs.privileged(bwrap) == ""


@pytest.mark.parametrize("path", ["", "/nowhere/bwrap"])
def test_a_missing_bubblewrap_is_said_with_the_command(path: str) -> None:
    error = refusal(path)
    assert error.code == "bwrap-missing"
    assert "bubblewrap" in error.hint


@pytest.mark.parametrize("mode", [stat.S_ISUID, stat.S_ISGID])
def test_cve_2026_41163_and_2020_5291_a_privileged_bubblewrap_is_refused(
    bwrap: str, tmp_path: pathlib.Path, mode: int
) -> None:
    copy = tmp_path / "bwrap"
    shutil.copy(bwrap, copy)
    copy.chmod(0o755 | mode)
    error = refusal(str(copy))
    assert (error.code, "setuid" in error.message) == ("bwrap-unsuitable", True)
    assert error.hint.endswith(f"chmod u-s,g-s {copy}")
    copy.chmod(0o755)
    programs.check_bwrap(str(copy))
    if os.geteuid() == 0:
        # VFS_CAP_REVISION_2 with CAP_SYS_ADMIN permitted and effective (capabilities(7), linux/capability.h).
        os.setxattr(copy, "security.capability", bytes.fromhex("01000002 00002000 00000000 00000000 00000000"))
        error = refusal(str(copy))
        assert (error.code, "file capabilities" in error.message) == ("bwrap-unsuitable", True)


@pytest.mark.parametrize("option", programs.OPTIONS)
def test_a_bubblewrap_without_a_needed_option_is_refused(bwrap: str, tmp_path: pathlib.Path, option: str) -> None:
    lists = f'{bwrap} --help 2>&1 | grep -v -e "{option} "'
    old = script(tmp_path / "bwrap", f'[ "$1" = --help ] || exec {bwrap} "$@"\n{lists}')
    error = refusal(old)
    assert error.code == "bwrap-unsuitable"
    assert option in error.message


IN_NAMESPACE = f"""
import sys
sys.path.insert(0, {ROOT!r})
from broker import programs
from intents import errors
try:
    programs.check_bwrap("/usr/bin/bwrap")
    print("usable")
except errors.HostError as error:
    print(error.code, error.message, error.hint, sep="|")
"""


@pytest.mark.real
@pytest.mark.parametrize("limit", ["0", "100"])
def test_a_kernel_that_allows_no_user_namespaces_is_named(bwrap: str, tmp_path: pathlib.Path, limit: str) -> None:
    """Really provoked: in a user namespace of our own the limit can be set."""
    must_work(shutil.which("unshare"), "unshare, of util-linux")
    (tmp_path / "inside.py").write_text(IN_NAMESPACE)
    inner = f"echo {limit} >/proc/sys/user/max_user_namespaces && exec {sys.executable} -B {tmp_path}/inside.py"
    argv = ["unshare", "--user", "--map-root-user", "sh", "-c", inner]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    if limit != "0":
        assert done.stdout == "usable\n"
        return
    code, message, hint = done.stdout.strip().split("|")
    assert code == "userns-forbidden"
    assert "user.max_user_namespaces=0" in message
    assert hint == "sysctl -w user.max_user_namespaces=15000"


KNOBS = {
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": ("1", "AppArmor"),
    "/proc/sys/kernel/unprivileged_userns_clone": ("0", "kernel.unprivileged_userns_clone=0"),
}


@pytest.mark.parametrize("knob", KNOBS)
@pytest.mark.parametrize("euid", [0, 1000])
def test_other_knobs_are_named_to_whom_they_bind(
    bwrap: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, knob: str, euid: int
) -> None:
    """Stand-ins: this kernel has neither knob."""
    value, named = KNOBS[knob]
    says = 'echo "bwrap: setting up uid map: no" >&2; exit 1'
    fails = script(tmp_path / "bwrap", f'[ "$1" = --help ] && exec {bwrap} --help\n{says}')
    monkeypatch.setattr(programs, "read_line", lambda path: value if path == knob else "")
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    error = refusal(fails)
    assert error.code == "userns-forbidden"
    assert (named in error.message) == bool(euid)
    if euid:
        assert error.hint.startswith("sudo sysctl -w kernel.")
    else:
        assert "setting up uid map" in error.message


SYSTEMS = [
    ("ID=debian\n", "apt"),
    ('ID="ubuntu"\nID_LIKE=debian\n', "apt"),
    ("ID=linuxmint\nID_LIKE='ubuntu debian'\n", "apt"),
    ("ID=fedora\n", "dnf"),
    ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "dnf"),
    ("ID=arch\n", "pacman"),
    ("ID=endeavouros\nID_LIKE=arch\n", "pacman"),
    ("ID=alpine\n", "apk"),
    ("ID=nixos\n", ""),
    ("", ""),
    ("\xff", ""),
]


@pytest.mark.parametrize(("text", "manager"), SYSTEMS)
def test_the_package_manager_follows_os_release(tmp_path: pathlib.Path, text: str, manager: str) -> None:
    (tmp_path / "os-release").write_text(text, "latin-1")
    assert programs.package_manager(str(tmp_path / "os-release")) == manager
    assert programs.package_manager(str(tmp_path / "none")) == ""


COMMANDS = [
    ("apt", "apt-get install x", "apt-get install --only-upgrade x"),
    ("dnf", "dnf install x", "dnf upgrade x"),
    ("pacman", "pacman -S x", "pacman -Syu x"),
    ("apk", "apk add x", "apk add --upgrade x"),
    ("", "install the package `x`", "upgrade the package `x`"),
]


@pytest.mark.parametrize(("manager", "install", "upgrade"), COMMANDS)
def test_commands_are_those_of_the_system(
    monkeypatch: pytest.MonkeyPatch, manager: str, install: str, upgrade: str
) -> None:
    monkeypatch.setattr(programs, "package_manager", lambda: manager)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert (programs.install("x"), programs.upgrade("x")) == (install, upgrade)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert programs.install("x") == (f"sudo {install}" if manager else install)
