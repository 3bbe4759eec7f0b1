"""The broker's own places: where they are, and who may own them (SPEC §8.6)."""

import dataclasses
import grp
import os
import pwd
import stat
import sys
from pathlib import Path

import pytest

from broker import state
from intents import errors
from tests import scene

ME = os.geteuid()


def mode(path: str) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def test_defaults_come_from_the_user_database(tmp_path: Path) -> None:
    home = pwd.getpwuid(ME).pw_dir.rstrip("/")
    found = state.places({"HOME": str(tmp_path)}, ME)
    assert found == state.Places(
        home=home or "/",
        state=f"{home}/.local/state/intents",
        data=f"{home}/.local/share/intents",
        config=f"{home}/.config/intents",
        runtime="",
    )


def test_private_variables_count(tmp_path: Path) -> None:
    environ = {}
    for name in ("STATE_HOME", "DATA_HOME", "CONFIG_HOME", "RUNTIME_DIR"):
        (tmp_path / name).mkdir(mode=0o700)
        environ[f"XDG_{name}"] = str(tmp_path / name)
    environ["XDG_STATE_HOME"] += "/not/there/yet/"
    found = state.places(environ, ME)
    assert found.state == f"{tmp_path}/STATE_HOME/not/there/yet/intents"
    assert found.data == f"{tmp_path}/DATA_HOME/intents"
    assert found.config == f"{tmp_path}/CONFIG_HOME/intents"
    assert found.runtime == f"{tmp_path}/RUNTIME_DIR/intents"


def test_the_root_of_the_file_system_is_a_base_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "private_directory", lambda path, _euid: path == "/")
    assert state.places({"XDG_STATE_HOME": "/"}, ME).state == "/intents"


def test_a_locale_that_cannot_name_every_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "iso8859-1")
    with pytest.raises(errors.HostError, match="iso8859-1") as refused:
        state.places({}, ME)
    assert refused.value.code == "unsafe-account"


@pytest.mark.parametrize("defect", ["relative", "shared", "file", "foreign", "foreign-parent", "empty"])
def test_other_variables_do_not(tmp_path: Path, defect: str) -> None:
    directory = tmp_path / "base"
    directory.mkdir(mode=0o700)
    value = str(directory)
    match defect:
        case "relative":
            value = os.path.relpath(value)
        case "shared":
            directory.chmod(0o702)
        case "file":
            value = str(tmp_path / "file")
            Path(value).touch()
        case "foreign" if ME == 0:
            os.chown(directory, 65534, 65534)
        case "foreign-parent" if ME == 0:
            os.chown(directory, 65534, 65534)
            value += "/below"
        case "foreign":
            value = "/usr"
        case "foreign-parent":
            value = "/usr/below"
        case _:
            value = ""
    plain = state.places({}, ME)
    assert state.places(dict.fromkeys(("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), value), ME) == plain
    assert state.places({"XDG_RUNTIME_DIR": value}, ME).runtime == ""


def test_a_runtime_directory_must_exist(tmp_path: Path) -> None:
    assert state.places({"XDG_RUNTIME_DIR": f"{tmp_path}/missing"}, ME).runtime == ""


@pytest.mark.parametrize("defect", ["unknown", "missing", "foreign", "open"])
def test_a_home_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, defect: str
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    name = {"missing": f"{home}/missing", "foreign": "/"}.get(defect, str(home))
    if defect == "open":
        home.chmod(0o777)
    if defect == "foreign" and ME == 0:
        os.chown(home, 65534, 65534)
        name = str(home)

    def lookup(uid: int) -> pwd.struct_passwd:
        if defect == "unknown":
            raise KeyError(uid)
        return pwd.struct_passwd(("me", "x", uid, uid, "", name, "/bin/sh"))

    monkeypatch.setattr(pwd, "getpwuid", lookup)
    with pytest.raises(errors.HostError) as caught:
        state.places({}, ME)
    assert caught.value.code == "unsafe-account"
    assert (name if defect != "unknown" else str(ME)) in caught.value.message


def test_ensure_makes_private_places(tmp_path: Path) -> None:
    old = os.umask(0)  # the mode must not hang on what the caller's shell happens to set
    try:
        reserved = scene.below(tmp_path)
        state.ensure(reserved)
        state.ensure(reserved)
    finally:
        os.umask(old)
    made = {str(path.relative_to(tmp_path)): mode(str(path)) for path in tmp_path.rglob("*")}
    bases = ["state", "data", "config", "run"]
    ours = [f"{base}/intents" for base in bases]
    below = ["state/intents/locks", "state/intents/plans", "state/intents/stamps", "run/intents/run"]
    assert made == dict.fromkeys([*bases, *ours, *below, "data/intents/manifests", "data/intents/apps"], 0o700)


def test_ensure_without_a_runtime_directory(tmp_path: Path) -> None:
    reserved = scene.below(tmp_path)
    without = dataclasses.replace(reserved, runtime="")
    state.ensure(without)
    assert not (tmp_path / "run").exists()


def test_ensure_takes_reading_away_from_others(tmp_path: Path) -> None:
    reserved = scene.below(tmp_path)
    state.ensure(reserved)
    os.chmod(reserved.data, 0o755)
    state.ensure(reserved)
    assert mode(reserved.data) == 0o700


@pytest.mark.parametrize("where", ["state", "config", "runtime"])
@pytest.mark.parametrize("defect", ["link", "file", "writable", "foreign"])
def test_ensure_refuses_what_is_not_ours_alone(tmp_path: Path, where: str, defect: str) -> None:
    reserved = scene.below(tmp_path)
    state.ensure(reserved)
    victim = str(getattr(reserved, where))
    match defect:
        case "link":
            os.rename(victim, f"{tmp_path}/elsewhere")
            os.symlink(f"{tmp_path}/elsewhere", victim)
        case "file":
            os.rename(victim, f"{tmp_path}/elsewhere")
            Path(victim).touch()
        case "writable":
            os.chmod(victim, 0o702)
        case "foreign" if ME == 0:
            os.chown(victim, 65534, 65534)
        case _:  # an ordinary user can give nothing away, but root's directories are there to be pointed at
            victim = "/usr"
            reserved = dataclasses.replace(reserved, **{where: victim})
    with pytest.raises(errors.HostError) as caught:
        state.ensure(reserved)
    assert caught.value.code == "unsafe-place"
    assert victim in caught.value.message


def test_ensure_says_when_nothing_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "state").touch()  # a file where a base directory should be
    with pytest.raises(errors.HostError) as caught:
        state.ensure(scene.below(tmp_path))
    assert caught.value.code in ("unwritable-place", "unsafe-place")
    assert f"{tmp_path}/state/intents" in caught.value.message


@pytest.mark.parametrize(
    ("mode", "name", "members", "others"),
    [
        (0o664, "me", [], False),
        (0o664, "me", ["me"], False),
        (0o666, "me", [], True),
        (0o664, "me", ["me", "friend"], True),
        (0o664, "staff", [], True),
        (0o644, "staff", ["friend"], False),
        (0o646, "me", [], True),
    ],
)
def test_a_group_of_ones_own_is_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, name: str, members: list[str], others: bool
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    file.chmod(mode)
    gid = file.stat().st_gid
    real = pwd.getpwuid(os.geteuid())
    user = pwd.struct_passwd(("me", "x", real.pw_uid, gid, "", real.pw_dir, "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: user)
    monkeypatch.setattr(grp, "getgrgid", lambda number: grp.struct_group((name, "x", number, members)))
    assert state.others_write(file.stat()) is others
