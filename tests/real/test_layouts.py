"""Other distributions' layouts, imitated: the real intent-run and bubblewrap in a root that is arranged as theirs.

The outer root is bubblewrap's, with this machine's files in other places. What is root's must be seen to be root's, so
that only root can build one.
"""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from tests import test_closure
from tests.conftest import must_work
from tests.real import test_attacks_more, test_bases, world

pytestmark = pytest.mark.real

# What of these an app sees: libraries, a program, homes, what it was granted.
SEEN = "/lib/*/libc.so.6 /lib64/* /lib/ld-linux* /usr/bin/env /home/u/file /var/home/u/file /srv/data/file"
LOOK = f"for f in {SEEN}; do [[ ! -e $f ]] || echo $f; done"
INSIDE = """
import sys
sys.path.insert(0, {root!r})
from tests.real import world
asked = {{"data": {{"kind": "path", "place": {place!r}, "access": "read"}}}}
with world.world() as here:
    for serial, keys in enumerate({bases!r}, 1):
        here.install(world.manifest({command!r}, asked, serial=serial, **keys))
        here.decide()
        print(keys["base"], *here.says(*{said!r}).split())
"""
BASES = [{"base": "strict"}, {"base": "strict", "libraries": "system"}, {"base": "service"}, {"base": "desktop"}]


def layout(*options: str, command: list[str], said: tuple[str, ...], place: str = "/srv/data") -> list[list[str]]:
    """What an app says on each base, in words, in a root with these mounts beside the usual ones."""
    must_work(shutil.which("bwrap"), "bubblewrap")
    usual = ["--ro-bind", "/usr", "/usr", "--ro-bind", "/etc", "/etc", "--dev-bind", "/dev", "/dev"]
    usual += ["--bind", "/proc", "/proc", "--tmpfs", "/run", "--tmpfs", "/tmp", "--tmpfs", "/var/tmp"]
    usual += ["--ro-bind", str(world.ROOT), "/opt/checkout", "--ro-bind", sys.prefix, "/opt/python", "--perms", "0700"]
    script = INSIDE.format(root="/opt/checkout", command=command, said=said, place=place, bases=BASES)
    argv = ["bwrap", *usual, *options, "--die-with-parent", "/opt/python/bin/python", "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=world.LIMIT, check=False)
    assert (done.returncode, done.stderr[-3000:]) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [words[0] for words in lines] == [keys["base"] for keys in BASES]
    return [words[1:] for words in lines]


def links(*pairs: tuple[str, str]) -> list[str]:
    return [word for at, target in pairs for word in ("--symlink", target, at)]


def file(path: str) -> list[str]:
    """A file there, in a directory made for it."""
    return ["--perms", "0755", "--dir", os.path.dirname(path), "--ro-bind", "/etc/os-release", path]


TOPS = [name for name in ("bin", "sbin", "lib", "lib64") if os.path.isdir(f"/usr/{name}")]
MERGED = links(*((f"/{name}", f"usr/{name}") for name in TOPS))
SPLIT = [word for name in TOPS for word in ("--ro-bind", f"/usr/{name}", f"/{name}")]
HOME = ["--dir", "/root"]
LIBC = f"/lib/{os.uname().machine}-linux-gnu/libc.so.6"


@test_attacks_more.only_root_mounts
@pytest.mark.parametrize("roots", [MERGED, SPLIT], ids=["merged", "split"])
def test_usr_may_be_merged_or_not(roots: list[str]) -> None:
    strict, system, *wide = layout(*HOME, *roots, *file("/srv/data/file"), command=["/bin/bash", "-c"], said=(LOOK,))
    for found in (strict, system, *wide):
        assert {LIBC, "/srv/data/file"} <= {*found}
    assert "/usr/bin/env" not in strict + system
    assert all("/usr/bin/env" in found for found in wide)
    assert len({os.path.basename(found) for found in strict if "ld-linux" in found}) == 1


@test_attacks_more.only_root_mounts
def test_homes_may_be_behind_a_link() -> None:
    """As on an ostree system: /home leads to /var/home, and root's own home elsewhere, too."""
    roots = [*links(("/home", "var/home"), ("/root", "var/roothome")), *file("/var/home/u/file")]
    made = layout("--dir", "/var/roothome", *MERGED, *roots, command=["/bin/bash", "-c"], said=(LOOK,), place="/home/u")
    for found in made:
        assert {"/home/u/file", "/var/home/u/file"} <= {*found}


@test_attacks_more.only_root_mounts
def test_programs_may_be_in_a_store(tmp_path: pathlib.Path) -> None:
    """As on NixOS: the program by a link in /run, its linker and libraries by search paths that lead to the store."""
    must_work(shutil.which("gcc"), "gcc")
    libc, app = "/nix/store/aaa-glibc/lib", "/nix/store/bbb-app/bin/app"
    (tmp_path / "app.c").write_text(test_bases.C_PROGRAM)
    linked = [f"-Wl,--dynamic-linker={libc}/ld.so", f"-Wl,--enable-new-dtags,-rpath,{libc}"]
    subprocess.run(["gcc", "-o", str(tmp_path / "app"), str(tmp_path / "app.c"), *linked], check=True)
    store = ["--ro-bind", str(tmp_path / "app"), app, "--ro-bind", os.path.realpath(LIBC), f"{libc}/libc.so.6"]
    store += ["--ro-bind", os.path.realpath(test_closure.LD), f"{libc}/ld.so"]
    store += ["--perms", "0755", "--dir", "/nix/store/ccc-path/bin"]
    store += file("/nix/store/eee-other/secret")
    store += links(
        ("/nix/store/ccc-path/bin/app", app),
        ("/nix/store/ddd-system/sw", "/nix/store/ccc-path"),
        ("/run/current-system", "/nix/store/ddd-system"),
    )
    strict, system, *wide = layout(
        *HOME, *MERGED, *store, *file("/srv/data/file"),
        command=["/run/current-system/sw/bin/app"], said=("/nix/store", "/lib64", "/srv/data"),
    )  # fmt: skip
    needed = {f"/nix/store/{name}" for name in ("aaa-glibc", "bbb-app", "ccc-path", "ddd-system")}
    for found in (strict, system, *wide):
        assert "/srv/data/file" in found and found[-1] == app
        others = {"/nix/store/eee-other"} if found is not strict else set()
        assert {word for word in found[:-1] if word.startswith("/nix/store/")} == needed | others
    assert strict[-5:-2] == ["/lib64:", "not", "there"]
