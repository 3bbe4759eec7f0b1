"""What lies beside the grants: other ways to a place, the program's own code, stale plans, files for accomplices."""

import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from broker import journal, mounts, programs, state
from intents import model, sign
from tests.real import world

pytestmark = pytest.mark.real


@pytest.fixture
def here() -> Iterator[world.World]:
    with world.world() as made:
        (made.home / "Documents").mkdir()
        yield made


def granted(here: world.World, place: str, access: str, serial: int = 1) -> None:
    scope = {"kind": "path", "place": place, "access": access}
    here.install(world.manifest(world.SHELL, {"it": scope}, serial=serial))
    here.decide()


def run(here: world.World, argv: list[str], cwd: pathlib.Path | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        argv, env=here.environ, cwd=cwd or here.base, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )


def refused(done: subprocess.CompletedProcess[bytes], why: str) -> bool:
    return b"`it` is granted but not given" in done.stderr and why.encode() in done.stderr


# Files for accomplices

MARKED = """
import os, stat
os.umask(0)
os.chdir(os.path.expanduser("~/Documents"))
def tries():
    for bits in (0o4755, 0o2755, 0o6755):
        yield lambda: os.chmod("plain", bits)
        yield lambda: os.fchmod(os.open("plain", os.O_RDONLY), bits)
        yield lambda: os.write(os.open("made", os.O_CREAT | os.O_RDWR, bits), b"x")
        yield lambda: os.truncate(os.path.realpath(f"/proc/self/fd/{os.open('long', os.O_CREAT | os.O_RDWR, bits)}"), 9)
        yield lambda: os.posix_fallocate(os.open("full", os.O_CREAT | os.O_RDWR, bits), 0, 4096)
open("plain", "w").write("x")
for attempt in tries():
    try:
        attempt()
    except OSError:
        pass
for name in os.listdir():
    found = os.stat(name)
    print(name, found.st_size > 0 and bool(found.st_mode & 0o6000))
"""


def test_no_file_is_left_that_runs_as_the_user(here: world.World) -> None:
    here.install(
        world.manifest(world.PYTHON, {"it": {"kind": "path", "place": "home/Documents", "access": "write"}})
    )
    here.decide()
    said = here.says(MARKED)
    assert len(said.split()) == 8
    assert "True" not in said
    for file in (here.home / "Documents").iterdir():
        file.unlink()
    assert "plain True" in here.says(MARKED, removed=world.NO_FILTER)


# The program's own code

CODE = "from broker import programs\nprograms.code = lambda: ({!r},)"
NO_CODE = "from broker import programs\nprograms.code = lambda: ()"


@pytest.mark.parametrize("place", ["home/src", "home/src/tool/broker", "home/src/tool"])
def test_no_app_changes_the_program_that_starts_it(here: world.World, place: str) -> None:
    code = here.home / "src" / "tool"
    (code / "broker").mkdir(parents=True)
    granted(here, place, "write")
    script = f"echo x >~/{place.removeprefix('home/')}/planted"
    assert refused(here.start(script, removed=CODE.format(str(code))), "intents itself is run from")
    assert list(here.home.rglob("planted")) == []
    here.start(script, removed=NO_CODE)
    assert len(list(here.home.rglob("planted"))) == 1


def test_of_a_whole_home_the_program_can_only_be_read(here: world.World) -> None:
    code = here.home / "src" / "tool"
    code.mkdir(parents=True)
    (code / "file").write_text("code")
    granted(here, "home", "write")
    script = "cat ~/src/tool/file; echo x >~/Documents/new; echo x 2>/dev/null >~/src/tool/planted; true"
    assert here.says(script, removed=CODE.format(str(code))) == "code"
    assert (here.home / "Documents" / "new").exists()
    assert not (code / "planted").exists()
    here.says(script, removed=NO_CODE)
    assert (code / "planted").exists()


def test_the_programs_own_directories_are_known(here: world.World) -> None:
    code = programs.code()
    assert str(world.ROOT) in code
    assert os.path.realpath("/usr/bin/python3") in code


# Other ways to a refused place


def test_the_usual_places_are_reserved_wherever_the_environment_says(here: world.World) -> None:
    """What a start without these variables will trust, no start with them may give away."""
    (here.home / "state").mkdir()
    here.environ |= {"XDG_STATE_HOME": f"{here.home}/state", "XDG_DATA_HOME": f"{here.home}/state/data"}
    with here.here():
        here.places = state.places(here.environ, os.geteuid())
        state.ensure(here.places)
    forged = here.home / ".local" / "state" / "intents" / "forged"
    granted(here, "home/.local/state/intents", "create")
    script = "echo x >~/.granted/.local/state/intents/forged"
    assert refused(here.start(script), "belongs to intents itself")
    assert not forged.exists()
    here.start(script, removed="from intents.kinds import path\npath.refuse_path = lambda *_, **__: ()")
    assert forged.exists()


def test_what_lies_beside_the_brokers_runtime_files_is_not_given(here: world.World) -> None:
    (here.runtime / "systemd").mkdir()
    granted(here, f"{here.runtime}/systemd", "read")
    assert refused(here.start("true"), "belongs to the running system")


def test_no_program_is_started_from_a_place_of_the_broker(here: world.World) -> None:
    planted = pathlib.Path(here.places.runtime, "planted")
    planted.write_text("#!/bin/sh\necho started\n")
    planted.chmod(0o700)
    here.install(world.manifest([str(planted)]))
    done = here.start()
    assert (done.returncode, done.stdout) == (127, b"")


only_root_mounts = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts; the suite runs as root, too")


def mounted(here: world.World, script: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run the app below mounts that ``script`` makes, in a mount namespace that ends with it."""
    argv = ["unshare", "-m", "/bin/sh", "-c", f'{script} && exec "$@"', "sh", *here.argv(world.APP, *words)]
    return run(here, argv)


@only_root_mounts
def test_a_mounted_proc_gives_no_way_out(here: world.World) -> None:
    inner = here.home / "Documents" / "root" / "proc"
    inner.mkdir(parents=True)
    granted(here, "home/Documents", "read")
    assert here.start("true").stderr == b""
    done = mounted(here, f"mount -t proc proc {inner}", "ls ~/Documents/root/proc/1")
    assert refused(done, "shows the running system")
    assert done.stdout == b""


@only_root_mounts
def test_a_bind_mount_leads_to_no_place_of_the_broker(here: world.World) -> None:
    other = here.home / "Documents" / "other"
    other.mkdir()
    granted(here, "home/Documents", "read")
    done = mounted(here, f"mount --bind {here.home}/.local {other}", "ls ~/Documents/other/state/intents")
    assert refused(done, "belongs to intents itself")
    assert done.stdout == b""


TABLE = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
23 27 0:22 / /sys rw - sysfs sysfs rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 27 254:1 /@home /home rw - btrfs /dev/vdb rw
31 27 254:1 / /mnt/all rw - btrfs /dev/vdb rw
32 30 254:1 /@home/u/.local /home/u/with\040space rw - btrfs /dev/vdb rw
33 27 0:40 / /run rw - tmpfs tmpfs rw
34 27 0:40 /user/1000 /home/u/runtime rw - tmpfs tmpfs rw
35 27 0:21 / /srv/root/proc rw - proc proc rw
36 27 254:0 /tmp /srv/root/scratch rw - ext4 /dev/vda rw
"""


def test_the_mount_table_is_read_as_the_kernel_writes_it(tmp_path: pathlib.Path) -> None:
    (tmp_path / "table").write_text(TABLE)
    table = mounts.read(str(tmp_path / "table"))
    assert set(mounts.others("/home/u/.local/state", table)) == {
        "/mnt/all/@home/u/.local/state",
        "/home/u/with space/state",
    }
    assert set(mounts.others("/home/u", table)) == {"/mnt/all/@home/u"}
    assert mounts.system(table) == ("/home/u/runtime", "/srv/root/proc", "/srv/root/scratch")
    assert mounts.system(mounts.read()) == mounts.system(mounts.read())


# Plans


def test_a_file_of_the_same_name_elsewhere_is_another_app(here: world.World) -> None:
    granted(here, "home/Documents", "read")
    installed = pathlib.Path(here.places.data, "manifests", f"{world.APP}.toml")
    for name in ("one", "two"):
        (here.base / name).mkdir()
    for suffix in ("", ".sig"):
        shutil.copy(f"{installed}{suffix}", here.base / "one" / f"app.toml{suffix}")
    assert here.start("true", name="app.toml", cwd=here.base / "one").returncode == 0
    assert here.start("true", name="app.toml", cwd=here.base / "two").returncode == 127


def test_a_plan_of_a_child_that_became_a_link_is_made_anew(here: world.World) -> None:
    granted(here, "home", "read")
    (here.home / "Music").mkdir()
    (here.home / "Music" / "song").touch()
    assert here.says("ls ~/Music") == "song\n"
    (here.home / "Music").rename(here.home / "Moved")
    (here.home / "Documents").rmdir()
    (here.home / "Documents").symlink_to("Moved")
    (here.home / "Music").mkdir()
    assert here.says("ls ~") == "Moved\nMusic\n"


def test_after_a_newer_manifest_ran_no_older_plan_is_used(here: world.World) -> None:
    granted(here, "home/Documents", "read")
    assert here.start("true").returncode == 0
    installed = pathlib.Path(here.places.data, "manifests", f"{world.APP}.toml")
    before = installed.stat()
    newer = here.base / "newer.toml"
    old = {suffix: pathlib.Path(f"{installed}{suffix}").read_bytes() for suffix in ("", ".sig")}
    text = old[""].decode().replace("serial = 1", "serial = 2")
    newer.write_text(text)
    newer_signature = sign.sign(text.encode(), world.KEY.read_bytes(), None)
    pathlib.Path(f"{newer}.sig").write_bytes(newer_signature)
    assert here.start("true", name=str(newer)).returncode == 0
    assert installed.stat() == before
    done = here.start("true")
    assert (done.returncode, b"[serial-rollback]" in done.stderr) == (126, True), done.stderr


def test_a_plan_of_another_installation_is_not_used(here: world.World, tmp_path: pathlib.Path) -> None:
    granted(here, "home/Documents", "read")
    assert here.start("true").returncode == 0
    (plan,) = pathlib.Path(here.places.state, "plans").glob("*.pipe")
    made = plan.stat().st_ino
    assert here.start("true").returncode == 0
    assert plan.stat().st_ino == made
    elsewhere = here.base / "copy"
    for package in ("intents", "broker"):
        shutil.copytree(world.ROOT / package, elsewhere / package, ignore=shutil.ignore_patterns("__pycache__"))
    argv = [str(word).replace(repr(str(world.ROOT)), repr(str(elsewhere))) for word in here.argv(world.APP, "true")]
    done = run(here, argv)
    assert done.returncode == 0, done.stderr
    assert plan.stat().st_ino != made


# The caller


def test_a_working_directory_that_the_sandbox_hides_is_not_entered(here: world.World) -> None:
    granted(here, str(here.base), "read")
    assert here.says("pwd", cwd=here.home / "Documents") == f"{here.home}\n"
    assert here.says("pwd", cwd=here.base) == f"{here.base}\n"


def test_what_the_system_refuses_is_said_in_a_sentence(here: world.World) -> None:
    granted(here, "home/Documents", "read")
    here.says("true")
    argv = ["/bin/sh", "-c", 'ulimit -n 12; exec "$@"', "sh", *here.argv(world.APP, "true")]
    done = run(here, argv)
    assert done.returncode == 125
    assert b"[launch-failed]" in done.stderr
    gone = here.base / "gone"
    gone.mkdir()
    argv = ["/bin/sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh", *here.argv("./x.toml")]
    done = run(here, argv, gone)
    assert done.returncode == 125
    assert b"[launch-failed]" in done.stderr


def test_a_home_of_more_names_than_a_plan_holds_is_said(here: world.World) -> None:
    for number in range(2600):
        (here.home / f"{number:0>200}").touch()
    granted(here, "home", "read")
    done = here.start("true")
    assert (done.returncode, b"more than a plan can hold" in done.stderr) == (125, True), done.stderr[-300:]


def test_what_a_plan_needs_and_somebody_removed_is_made_again(here: world.World) -> None:
    granted(here, "home/Documents", "read")
    here.says("true")
    for name in ("stamps", "locks"):
        shutil.rmtree(f"{here.places.state}/{name}")
    shutil.rmtree(f"{here.places.runtime}/run")
    here.says("true")


def test_nothing_is_lost_to_descriptors_that_were_closed(here: world.World) -> None:
    """A journal at number 2 would get the error messages."""
    granted(here, "home/Documents", "read")
    for closed in ("0<&-", "2>&-", "0<&- 1>&- 2>&-"):
        shutil.rmtree(f"{here.places.state}/plans")
        argv = ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *here.argv(world.APP, "true")]
        assert run(here, argv).returncode == 0
    with here.here(), journal.Journal.open(here.places) as book:
        book.verify()
        assert [decision.effect for decision in book.decisions(world.APP, book.apps()[0][1])] == [model.Effect.ALLOW]
