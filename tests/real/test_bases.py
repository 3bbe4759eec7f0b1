"""The bases as an app finds them: bash with its libraries alone, without /proc, with musl; and what it tries."""

import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import sys

import pytest

from tests import test_closure
from tests.conftest import must_work
from tests.real import terminal, test_attacks_more, world

pytestmark = pytest.mark.real

BASH = ["/bin/bash", "--norc", "--noprofile", "-c"]
# Every object below the root but in /proc and /dev, by the shell alone.
LIST = "shopt -s globstar dotglob nullglob; cd /; for f in **; do [[ $f == proc/* || $f == dev/* ]] || echo /$f; done"
C_PROGRAM = """
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int count, char **names) {
  for (int at = 1; at < count; at++) {
    DIR *found = opendir(names[at]);
    for (struct dirent *each; found && (each = readdir(found));)
      if (strcmp(each->d_name, ".") && strcmp(each->d_name, "..")) printf("%s/%s\\n", names[at], each->d_name);
    if (!found) printf("%s: not there\\n", names[at]);
  }
  char self[999], *origin = realpath("/proc/self/exe", self);
  printf("%s\\n", origin ? origin : "no /proc/self/exe");
}
"""
# Without this one the base shows as much as it did before there were others.
ANYWHERE = """
from broker import closure
closure.Area.holds = lambda area, path: True
"""
CHANGING = """
from intents import compiler
compiler._refuse_changing = lambda ops, app, host: None
"""
WHOLE = """
from intents import base
base._named = lambda app, host: base._system(app, host)
"""


def bash() -> None:
    must_work(shutil.which("bash"), "bash")


def listed(here: world.World, **how: object) -> set[str]:
    """What bash finds in its sandbox, but for the home, which is the app's own."""
    found = here.says(LIST, **how).splitlines()
    home = [str(here.home), *(str(above) for above in here.home.parents)]
    return {line for line in found if not line.startswith(f"{here.home}/") and line not in home}


def test_bash_runs_with_exactly_its_libraries() -> None:
    bash()
    with world.world() as here:
        here.install(world.manifest(BASH, base="strict"))
        found = listed(here)
        closure = here.load().host.closure
    assert closure is not None
    needed = {entry.path for entry in closure.entries}
    said = subprocess.run(["/usr/bin/ldd", "/bin/bash"], capture_output=True, text=True, check=True).stdout.split()
    assert {os.path.realpath(word) for word in said if word.startswith("/")} <= needed
    above = {str(directory) for path in needed for directory in pathlib.PurePath(path).parents} - {"/"}
    uid = os.geteuid()
    made = {"/etc", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/proc", "/dev", "/tmp", "/run", "/run/user"}
    assert found == needed | above | made | {f"/run/user/{uid}"}


def test_what_strict_does_not_show_is_not_there() -> None:
    bash()
    tries = "for f in /usr/bin/env /usr/bin/* /bin/ls /usr/share /usr/lib/*/libz.so* /etc/hostname /var /opt; do "
    tries += "[[ -e $f ]] && echo $f; done; mapfile -t lines </etc/passwd; echo ${#lines[@]}"
    with world.world() as here:
        here.install(world.manifest(BASH, base="strict"))
        real = os.path.realpath("/bin/bash")
        assert here.says(tries).split() == [real, "2"]
        assert here.says("echo ${LANG-no} ${TZ-no}", environ={"LANG": "C.UTF-8", "TZ": "UTC"}) == "no no\n"
        assert "/usr/bin/env" in here.says(tries, removed=WHOLE)


def test_proc_is_a_link_to_the_program_alone() -> None:
    bash()
    with world.world() as here:
        here.install(world.manifest(BASH, base="strict", proc=False))
        said = here.says("echo /proc/* /proc/self/*; [[ -L /proc/self/exe ]] && /proc/self/exe -c 'echo again'")
        assert said == "/proc/self /proc/self/exe\nagain\n"
        here.install(world.manifest(["/bin/sh", "-c"], base="service", proc=False, serial=2))
        assert here.says("ls -1 /proc /proc/self; readlink /proc/self/exe").split() == [
            "/proc:", "self", "/proc/self:", "exe", os.path.realpath("/bin/sh"),
        ]  # fmt: skip


def test_with_the_systems_libraries_there_are_no_programs() -> None:
    bash()
    with world.world() as here:
        here.install(world.manifest(BASH, base="strict", libraries="system"))
        assert here.says("shopt -s nullglob; echo /usr/bin/*").split() == [os.path.realpath("/bin/bash")]
        host = sorted(name for name in os.listdir("/usr/lib") if not name.startswith("."))
        assert here.says("cd /usr/lib; printf '%s\\n' *").splitlines() == host
        none = "/etc/localtime /etc/fonts /usr/share /usr/include /usr/libexec /var /opt"
        assert here.says(f"for f in {none}; do [[ ! -e $f ]] || echo $f; done") == ""


def test_a_service_has_programs_and_nothing_of_a_desktop() -> None:
    with world.world() as here:
        here.install(world.manifest(["/bin/sh", "-c"], base="service"))
        said = here.says("ls -d /etc/* /var/*; env", environ={"TZ": "UTC", "XDG_CURRENT_DESKTOP": "x", "FOO": "y"})
    assert "/etc/localtime" in said or "/etc/timezone" in said
    assert "TZ=UTC" in said and "/var/tmp" in said
    assert not [name for name in ("/etc/fonts", "/etc/gtk-3.0", "/etc/xdg", "XDG_CURRENT", "FOO") if name in said]


def compile_musl(*arguments: str) -> None:
    """Run the compiler for musl: on a system of musl's, the compiler."""
    found = shutil.which("musl-gcc") or (shutil.which("gcc") if os.path.exists("/etc/alpine-release") else None)
    must_work(found, "musl-gcc")
    subprocess.run([found or "", *arguments], check=True)


def test_extras_bring_a_program_with_what_it_needs() -> None:
    """As a music server brings ffmpeg: started by the app, and the only other program there is."""
    bash()
    with world.world() as here:
        (here.home / "music").write_text("song")
        asked = {"music": {"kind": "path", "place": "home/music", "access": "read"}}
        shared = (path for path in sorted(pathlib.Path("/usr/share").iterdir()) if not path.is_symlink())
        data = str(next(path for path in shared if path.name != "intents" and path.is_dir() and any(path.iterdir())))
        extras = ["/usr/bin/sort", "libnowhere.so.9", data]
        here.install(world.manifest(BASH, asked, base="strict", proc=False, extras=extras))
        here.decide()
        assert here.says("sort <~/music; shopt -s nullglob; echo /usr/bin/* /usr/share/*").split() == [
            "song", os.path.realpath("/bin/bash"), "/usr/bin/sort", data,
        ]  # fmt: skip
        assert here.says(f"cd {data}; shopt -s dotglob; printf '%s\\n' *").splitlines() == sorted(os.listdir(data))
        here.install(world.manifest(BASH, asked, base="strict", proc=False, extras=["/usr/share"], serial=3))
        assert b"[library-missing]" in here.start("true").stderr  # it holds what intents keeps
        here.install(world.manifest(BASH, asked, base="strict", proc=False, serial=4))
        assert here.start("sort <~/music").returncode == 127


def musl(here: world.World, *options: str) -> str:
    """A dynamically linked program of musl's, built below the home."""
    source, program = here.base / "app.c", here.base / "app"
    source.write_text(C_PROGRAM)
    compile_musl("-o", str(program), str(source), *options)
    return str(program)


def test_a_musl_program_runs_with_musl_alone() -> None:
    with world.world() as here:
        program = musl(here)
        linker = next(iter(pathlib.Path("/lib").glob("ld-musl-*.so.1")))
        here.install(world.manifest([program], base="strict"))
        found = here.says("/lib", "/lib64", "/usr/share").splitlines()
        assert f"/lib/{linker.name}" in found
        assert not [name for name in found if "libc.so.6" in name or "-linux-gnu" in name]
        assert found[-3:] == ["/lib64: not there", "/usr/share: not there", program]
        here.install(world.manifest([program], base="strict", proc=False, serial=2))
        assert here.says("/proc", "/proc/self") == f"/proc/self\n/proc/self/exe\n{program}\n"


def test_a_library_in_the_users_own_directory_is_not_shown_unasked() -> None:
    """Its search path leads into the home, where the app, or whoever, may have put something."""
    with world.world() as here:
        own = here.home / "libs"
        own.mkdir()
        (here.base / "own.c").write_text("int own(void) { return 7; }")
        library = own / "libown.so"
        compile_musl("-shared", "-fPIC", "-o", str(library), str(here.base / "own.c"))
        program = musl(here, f"-L{own}", "-Wl,--no-as-needed", "-lown", f"-Wl,-rpath,{own}")
        asked = {"libs": {"kind": "path", "place": "home/libs", "access": "read"}}
        here.install(world.manifest([program], asked, base="strict"))
        done = here.start("/")
        assert (done.returncode, b"[library-missing]" in done.stderr) == (127, True), done.stderr
        assert f"intent-ctl grant {world.APP} libs".encode() in done.stderr
        assert str(library) in here.says(str(own), removed=ANYWHERE)
        here.decide("libs")
        assert here.says("/lib", str(own)).splitlines()[-2:] == [str(library), program]
        # Planted in its place: a link to a library that is none of its own.
        library.unlink()
        library.symlink_to(os.path.realpath(test_closure.LD))
        assert b"ld-linux" not in here.start("/lib", "/usr/lib", "/lib64").stdout
        closure = here.load().host.closure
        assert closure is not None and not [entry for entry in closure.entries if "ld-linux" in entry.path]


def test_no_app_may_change_what_its_closure_is_made_from() -> None:
    with world.world() as here:
        program = musl(here)
        place = here.home / "bin"
        place.mkdir()
        shutil.copy(program, place / "app")
        (place / "other").touch()
        asked = {"bin": {"kind": "path", "place": "home/bin", "access": "write"}}
        here.install(world.manifest([str(place / "app")], asked, base="strict"))
        assert here.start("/").returncode == 0
        here.decide("bin")
        done = here.start("/")
        assert (done.returncode, b"would choose what else it sees" in done.stderr) == (0, True), done.stderr
        assert done.stdout.decode().splitlines()[-1] == str(place / "app")
        assert f"{place}/other" not in here.says(str(place))
        assert f"{place}/other" in here.says(str(place), removed=CHANGING)


def test_a_plan_is_over_when_a_library_changes() -> None:
    """A second start takes the stored plan; after an upgrade of the program's library it does not."""
    with world.world() as here:
        program = musl(here)
        here.install(world.manifest([program], base="strict"))
        assert here.says("/lib")
        plans = list(pathlib.Path(here.places.state).glob("plans/**/*"))
        before = {path: path.stat().st_mtime_ns for path in plans if path.is_file()}
        assert here.says("/lib") and before
        assert before == {path: path.stat().st_mtime_ns for path in before}
        os.utime(program)
        assert here.says("/lib")
        assert before != {path: path.stat().st_mtime_ns for path in before if path.exists()}


@pytest.mark.parametrize(
    "content", [b"\x7fELF\2\1\1" + bytes(80), b"#!/no/such/shell\n", b"text"], ids=["damaged", "script", "text"]
)
def test_what_cannot_start_is_said_before_it_is_tried(content: bytes) -> None:
    with world.world() as here:
        program = here.home / "app"
        program.write_bytes(content)
        program.chmod(0o755)
        here.install(world.manifest([str(program)], base="strict"))
        done = here.start()
    assert (done.returncode, b"[program-unsuitable]" in done.stderr) == (127, True), done.stderr


def test_a_script_brings_its_shell() -> None:
    with world.world() as here:
        script = here.home / "app"
        script.write_text('#!/bin/sh\necho "$1" /usr/bin/*\nls\n')
        script.chmod(0o755)
        here.install(world.manifest([str(script)], base="strict"))
        done = here.start("hello")
        shells = {os.path.realpath("/bin/sh"), f"{os.path.realpath('/bin')}/sh"}
    assert (done.stdout.decode().split()[0], {*done.stdout.decode().split()[1:]}) == ("hello", shells)
    assert done.returncode == 127


# In a mount namespace with a /run of its own: one medium now, another one while the app runs.
PLUGGED = """
import pathlib, subprocess, sys
sys.path.insert(0, {root!r})
from tests.real import world
asked = {{"media": {{"kind": "path", "place": "removable", "access": "read"}}}}
media = pathlib.Path("/run/media", {user!r})
with world.world() as here:
    here.install(world.manifest(["/bin/sh", "-c"], asked))
    assert "STICK" not in here.says(f"ls {{media}} 2>&1; true")
    here.decide()
    assert here.says(f"ls {{media}} {{media}}/STICK") == f"{{media}}:\\nSTICK\\n\\n{{media}}/STICK:\\nphoto\\n"
    assert here.start(f"touch {{media}}/STICK/new {{media}}/new").returncode == 1
    subprocess.run(["mkdir", media / "LATER"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "later", media / "LATER"], check=True)
    assert here.says(f"ls {{media}}") == "LATER\\nSTICK\\n"  # the next start, although there was a plan
    tries = f"echo ready; read go; touch {{media}}/LATER/new {{media}}/LAST/new 2>&-; ls {{media}} {{media}}/LATER"
    pipes = {{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}}
    app = subprocess.Popen(here.argv(world.APP, tries), env=here.environ, **pipes)
    assert app.stdout.readline() == b"ready\\n"
    whole = subprocess.Popen(here.argv(world.APP, tries, removed={whole!r}), env=here.environ, **pipes)
    assert whole.stdout.readline() == b"ready\\n"
    subprocess.run(["mkdir", media / "LAST"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "last", media / "LAST"], check=True)
    whole.communicate(b"\\n")
    assert (media / "LAST" / "new").exists()  # as would have been without what is tested here
    (media / "LAST" / "new").unlink()
    assert app.communicate(b"\\n")[0].decode() == f"{{media}}:\\nLATER\\nSTICK\\n\\n{{media}}/LATER:\\n"
    assert not (media / "LAST" / "new").exists()
"""
# The directory of the media as any other: bound as a whole.
WHOLE_MEDIA = """
from intents import sandbox
from intents.kinds import path
path.Path._children = lambda scope, fact, host, because: (
    sandbox.Bind(source=fact.real, dest=fact.real, because=because),
)
"""


@test_attacks_more.only_root_mounts
def test_media_are_seen_one_by_one_and_later_ones_by_the_next_start() -> None:
    user = pwd.getpwuid(os.geteuid()).pw_name
    stick = f"/run/media/{user}/STICK"
    make = f"mount -t tmpfs run /run && mount --make-shared /run && mkdir -p {stick} && mount -t tmpfs one {stick}"
    script = PLUGGED.format(root=str(world.ROOT), user=user, whole=WHOLE_MEDIA)
    started = f'{make} && touch {stick}/photo && exec "$@"'
    argv = ["unshare", "-m", "/bin/sh", "-c", started, "sh", sys.executable, "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=world.LIMIT, check=False)
    assert (done.returncode, done.stderr[-2000:]) == (0, "")


@pytest.mark.parametrize("extras", [["/usr/bin/env"], []], ids=["with", "without"])
def test_an_interrupt_is_the_apps_to_handle_where_env_is_shown(extras: list[str]) -> None:
    """What gives signals back to the app is one more program (ADR 3)."""
    bash()
    account = pwd.getpwuid(os.geteuid())
    script = "trap 'echo told; exit 3' INT; echo up; while :; do read -t 0.05 line; done"
    with world.world() as here:
        here.install(world.manifest([*BASH, script], base="strict", extras=extras))
        command = [str(word) for word in here.argv(world.APP)]
        screen = terminal.Terminal(command, account, here.environ, (24, 80), owned=False)
        try:
            screen.expect("up\r")
            screen.send("\x03")
            assert screen.wait() == (3 if extras else -signal.SIGINT)
            assert not extras or "told" in screen.shown
        finally:
            screen.close()
