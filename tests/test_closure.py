"""What a program needs, found on real files (SPEC §9.2.2): by the linker's rules, no further than is shown, guarded."""

import os
import pathlib
import random
import re
import subprocess

import pytest

from broker import closure, guards, launch
from intents import elf, facts
from tests.conftest import must_work
from tests.model import objects

LD = next((str(path) for top in ("/lib64", "/lib") for path in pathlib.Path(top).glob("ld-linux-*.so.*")), "")
DAMAGED = int(os.environ.get("INTENTS_FUZZ") or 20_000) // 100
ORACLE = 60  # programs of this machine that are compared with its own linker


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> "Tree":
    return Tree(pathlib.Path(os.path.realpath(tmp_path)))


class Tree:
    """Files made for a test: ``shown`` is where the base would show them, ``other`` where it would not."""

    def __init__(self, top: pathlib.Path) -> None:
        self.shown, self.other = top / "shown", top / "other"
        self.taken: list[tuple[str, str]] = []
        self.ld = self.put("shown/ld-linux.so.2", objects.build(names={objects.SONAME: "ld-linux.so.2"}))

    def put(self, name: str, data: bytes) -> str:
        path = self.shown.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return str(path)

    def link(self, name: str, target: str) -> str:
        path = self.shown.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
        return str(path)

    def program(self, *needed: str, name: str = "shown/bin/app", **how: object) -> str:
        return self.put(name, objects.build(needed, interpreter=self.ld, **how))  # type: ignore[arg-type]

    def look(self, program: str, *extras: str, machine: str = "x86_64") -> facts.Closure:
        area = closure.Area(shown=(str(self.shown),), hidden=(f"{self.shown}/hidden",))
        self.taken = []
        return closure.look(program, extras, machine, area, lambda kind, subject: self.taken.append((kind, subject)))

    def names(self, found: facts.Closure) -> list[str]:
        top = f"{self.shown.parent}/"
        return [entry.path.removeprefix(top) + (" ->" if entry.target else "") for entry in found.entries]


def test_libraries_and_their_libraries_by_every_link(tree: Tree) -> None:
    tree.put("shown/lib/libb.so.1.2", objects.build(["libc.so"], names={objects.RPATH: "$ORIGIN"}))
    tree.link("shown/lib/libb.so.1", "libb.so.1.2")
    tree.put("shown/deep/libc.so", objects.build())
    tree.link("shown/lib/libc.so", "../alias/libc.so")
    tree.link("shown/alias", "deep")
    tree.program("libb.so.1", name="shown/bin/app.real", names={objects.RPATH: "$ORIGIN/../lib"})
    found = tree.look(tree.link("shown/bin/app", "app.real"))
    assert tree.names(found) == [
        "shown/alias ->", "shown/bin/app ->", "shown/bin/app.real", "shown/deep/libc.so", "shown/ld-linux.so.2",
        "shown/lib/libb.so.1 ->", "shown/lib/libb.so.1.2", "shown/lib/libc.so ->",
    ]  # fmt: skip
    assert (found.outside, found.lacks) == ((), ())


def test_an_rpath_is_inherited_and_a_runpath_is_not(tree: Tree) -> None:
    tree.put("shown/lib/liba.so", objects.build(["libb.so"]))
    tree.put("shown/lib/libb.so", objects.build())
    for tag, lacks in ((objects.RPATH, ()), (objects.RUNPATH, (f"{tree.shown}/lib/liba.so",))):
        found = tree.look(tree.program("liba.so", names={tag: f"{tree.shown}/lib"}))
        assert tuple(lack.of for lack in found.lacks) == lacks


def test_a_missing_library_is_told_with_what_needs_it(tree: Tree) -> None:
    tree.put("shown/lib/liba.so", objects.build(["libgone.so"]))
    found = tree.look(tree.program("liba.so", "libgone.so", names={objects.RUNPATH: f"{tree.shown}/lib"}))
    (lack,) = found.lacks
    assert (lack.name, lack.of, lack.why) == ("libgone.so", f"{tree.shown}/bin/app", facts.ABSENT)


def test_what_is_for_another_processor_is_passed_over(tree: Tree) -> None:
    tree.put("shown/one/liba.so", objects.build(machine=objects.AARCH64))
    path = {objects.RUNPATH: f"{tree.shown}/one:{tree.shown}/two"}
    (lack,) = tree.look(tree.program("liba.so", names=path)).lacks
    assert lack.why == facts.OTHER_PROCESSOR
    tree.put("shown/two/liba.so", objects.build())
    found = tree.look(tree.program("liba.so", names=path))
    assert "shown/two/liba.so" in tree.names(found) and not found.lacks
    other = tree.program(name="shown/bin/other", machine=objects.AARCH64)
    for program, machine in ((tree.program(), "aarch64"), (other, "x86_64")):
        (lack,) = tree.look(program, machine=machine).lacks
        assert (lack.name, lack.of, lack.why) == (program, program, facts.OTHER_PROCESSOR)


def test_variants_for_better_processors_come_along(tree: Tree) -> None:
    for directory in ("", "glibc-hwcaps/x86-64-v3/", "glibc-hwcaps/x86-64-v9/"):
        tree.put(f"shown/lib/{directory}liba.so", objects.build())
    found = tree.look(tree.program("liba.so", names={objects.RUNPATH: f"{tree.shown}/lib"}))
    assert [name for name in tree.names(found) if "liba" in name] == [
        "shown/lib/glibc-hwcaps/x86-64-v3/liba.so", "shown/lib/liba.so",
    ]  # fmt: skip


def test_a_closure_leads_no_further_than_what_is_shown(tree: Tree) -> None:
    """Neither by a search path, nor by a link, nor by what a library there says it needs."""
    tree.put("shown/lib/libsecret.so", objects.build())
    tree.put("other/liba.so", objects.build([f"{tree.shown}/lib/libsecret.so"]))
    program = tree.program("liba.so", names={objects.RUNPATH: f"{tree.other}:{tree.shown}/lib"})
    found = tree.look(program)
    assert tree.names(found) == ["shown/bin/app", "shown/ld-linux.so.2"]
    assert (found.outside, found.lacks) == ((f"{tree.other}/liba.so",), ())
    os.unlink(tree.other / "liba.so")
    tree.link("other/liba.so", f"{tree.shown}/lib/libsecret.so")  # planted: leads to what may be shown
    found = tree.look(program)
    assert "shown/lib/libsecret.so" not in tree.names(found)
    tree.link("shown/lib/liba.so", f"{tree.other}/liba.so")  # and through it
    assert "shown/lib/libsecret.so" not in tree.names(tree.look(program))
    os.unlink(tree.shown / "lib" / "liba.so")
    tree.put("shown/lib/liba.so", objects.build())  # the linker goes on to this one, as nobody sees the other
    found = tree.look(program)
    assert "shown/lib/liba.so" in tree.names(found) and not found.outside
    tree.put("shown/hidden/libh.so", objects.build())
    found = tree.look(tree.program(f"{tree.shown}/hidden/libh.so"))
    assert found.outside == (f"{tree.shown}/hidden/libh.so",)


def test_an_absolute_name_of_no_library_is_not_shown(tree: Tree) -> None:
    tree.put("shown/secret", b"no library")
    os.mkfifo(tree.shown / "pipe")
    found = tree.look(tree.program(f"{tree.shown}/secret", f"{tree.shown}/pipe", "/dev/null", "/etc/passwd"))
    assert tree.names(found) == ["shown/bin/app", "shown/ld-linux.so.2"]
    assert [lack.why for lack in found.lacks] == [facts.ABSENT] * 4


def test_scripts_lead_to_their_interpreters(tree: Tree) -> None:
    shell = tree.program(name="shown/bin/sh")
    middle = tree.put("shown/bin/middle", f"#!{shell}\n".encode())
    found = tree.look(tree.put("shown/bin/script", f"#! {middle} -x\n".encode()))
    assert tree.names(found) == ["shown/bin/middle", "shown/bin/script", "shown/bin/sh", "shown/ld-linux.so.2"]
    (lack,) = tree.look(tree.put("shown/bin/lost", b"#!/gone/sh\n")).lacks
    assert (lack.name, lack.why) == ("/gone/sh", facts.NO_PROGRAM)
    (lack,) = tree.look(tree.put("shown/bin/text", b"hello\n")).lacks
    assert (lack.name, lack.why) == (f"{tree.shown}/bin/text", facts.NO_PROGRAM)
    endless = tree.put("shown/bin/endless", f"#!{tree.shown}/bin/endless\n".encode())
    assert [lack.why for lack in tree.look(endless).lacks] == [facts.NO_PROGRAM]
    outside = tree.program(name="other/sh")
    found = tree.look(tree.put("shown/bin/far", f"#!{outside}\n".encode()))
    assert (tree.names(found), found.outside) == (["shown/bin/far"], (outside,))


def test_env_leads_to_the_program_it_starts(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closure, "SEARCH", (f"{tree.shown}/first", f"{tree.shown}/bin"))
    env, named = tree.program(name="shown/bin/env"), tree.program(name="shown/bin/perl")
    for line in ("perl", "-S A=1 perl -w", named):
        found = tree.look(tree.put("shown/bin/script", f"#!{env} {line}\n".encode()))
        assert {"shown/bin/env", "shown/bin/perl"} <= set(tree.names(found))
        assert line == named or ("file", f"{tree.shown}/first/perl") in tree.taken  # what comes there later is another
    endless = tree.put("shown/bin/loop", f"#!{env} loop\n".encode())
    assert "shown/bin/loop" in tree.names(tree.look(endless))
    for line in ("nowhere", "-S 'open", "-S A=1"):
        found = tree.look(tree.put("shown/bin/script", f"#!{env} {line}\n".encode()))
        assert "shown/bin/perl" not in tree.names(found)


def test_extras_are_libraries_by_name_and_files_by_path(tree: Tree) -> None:
    tree.put("shown/lib/libplugin.so", objects.build(["libdeep.so"], names={objects.RUNPATH: "$ORIGIN"}))
    tree.put("shown/lib/libdeep.so", objects.build())
    tool = tree.program(name="shown/bin/tool")
    program = tree.program(names={objects.RUNPATH: f"{tree.shown}/lib"})
    expected = [
        "shown/bin/app", "shown/bin/tool", "shown/ld-linux.so.2", "shown/lib/libdeep.so", "shown/lib/libplugin.so",
    ]  # fmt: skip
    for library in ("libplugin.so", f"{tree.shown}/lib/libplugin.so"):
        found = tree.look(program, library, "libnowhere.so", tool, f"{tree.shown}/gone")
        assert (tree.names(found), found.lacks) == (expected, ())
    data, elsewhere = tree.put("shown/data", b"words"), tree.put("other/data", b"words")
    found = tree.look(program, data, elsewhere)
    assert tree.names(found) == ["shown/bin/app", "shown/data", "shown/ld-linux.so.2"]
    assert (found.outside, found.lacks) == ((elsewhere,), ())


def test_extras_may_be_directories_that_hold_nothing_hidden(tree: Tree) -> None:
    program = tree.program()
    for place in ("shown/share/fonts/a", "shown/hidden/secret", "other/share/a"):
        tree.put(place, b"words")
    alias = tree.link("shown/fonts", "share/fonts")
    found = tree.look(program, alias, f"{tree.shown}/gone")
    assert tree.names(found) == ["shown/bin/app", "shown/fonts ->", "shown/ld-linux.so.2", "shown/share/fonts"]
    assert [entry.path for entry in found.entries if entry.kind == "dir"] == [f"{tree.shown}/share/fonts"]
    planted = tree.link("shown/planted", str(tree.other))
    for refused in (str(tree.shown), f"{tree.shown}/hidden", f"{tree.other}/share", planted):
        found = tree.look(program, refused)
        assert (tree.names(found), found.outside) == (
            ["shown/bin/app", "shown/ld-linux.so.2"],
            (os.path.realpath(refused),),
        )


def test_nothing_but_the_program_may_lie_anywhere_whatever_becomes_of_the_program(tree: Tree) -> None:
    other = tree.program(name="other/tool")
    for program in (f"{tree.shown}/gone", tree.put("shown/text", b"words")):
        assert not [name for name in tree.names(tree.look(program, other)) if name.startswith("other")]


def test_a_static_program_needs_nothing(tree: Tree) -> None:
    found = tree.look(tree.put("shown/bin/static", objects.build(kind=2)))
    assert tree.names(found) == ["shown/bin/static"] and not found.lacks


def test_the_program_itself_may_lie_anywhere(tree: Tree) -> None:
    found = tree.look(tree.program(name="other/app"))
    assert tree.names(found) == ["other/app", "shown/ld-linux.so.2"]


def test_hostile_files_end_soon(tree: Tree) -> None:
    many = [f"lib{number}.so" for number in range(elf.MAX_NEEDED)]
    search = ":".join(f"/no/{number}" for number in range(500))
    found = tree.look(tree.program(*many, names={objects.RUNPATH: search}))
    assert len(found.lacks) == len(many)
    assert len([subject for kind, subject in tree.taken if kind == "file"]) <= closure.MAX_LOOKS
    ring = [f"libr{number}.so" for number in range(3)]
    for number, name in enumerate(ring):
        tree.put(f"shown/lib/{name}", objects.build([ring[number - 1]], names={objects.RUNPATH: "$ORIGIN"}))
    assert not tree.look(tree.program(ring[0], names={objects.RUNPATH: f"{tree.shown}/lib"})).lacks
    tree.link("shown/lib/libloop.so", "libloop.so")
    assert tree.look(tree.program(f"{tree.shown}/lib/libloop.so")).lacks


def test_a_damaged_program_is_looked_at_like_any_other(tree: Tree) -> None:
    """Bytes of a real program changed at random where the linker reads: a closure of the system's files, or a lack."""
    must_work(os.path.exists("/bin/ls"), "ls")
    chance, honest = random.Random(3), pathlib.Path("/bin/ls").read_bytes()
    at = honest.index(b"libc.so.6\0")
    ends: set[bool] = set()
    area = closure.Area(shown=("/usr/lib", "/usr/lib64", "/lib", "/lib64"), hidden=())
    for _ in range(DAMAGED):
        data = bytearray(honest)
        for _ in range(chance.randint(1, 6)):
            spot = chance.choice((chance.randrange(0x400), at + chance.randrange(-64, 64), chance.randrange(len(data))))
            data[spot] = chance.choice((0, 0x2F, 0x24, 0xFF, chance.randrange(256)))
        program = tree.put("other/ls", bytes(data))
        found = closure.look(program, (), os.uname().machine, area, lambda _kind, _subject: None)
        ends.add(bool(found.lacks))
        assert all(area.holds(entry.path) or entry.path == program for entry in found.entries)
    assert ends == {True, False}


@pytest.mark.parametrize("change", ["upgrade", "earlier", "link", "interpreter", "directory"])
def test_what_was_looked_at_is_guarded(tree: Tree, change: str) -> None:
    tree.put("shown/lib/liba.so.1", objects.build())
    tree.link("shown/lib/liba.so", "liba.so.1")
    (tree.shown / "first").mkdir()
    program = tree.program("liba.so", names={objects.RUNPATH: f"{tree.shown}/first:{tree.shown}/lib"})
    watch = guards.Watch({})
    area = closure.Area(shown=(str(tree.shown),), hidden=())

    def hold() -> bool:
        return launch.holds(tuple(os.fsencode(part) for guard in watch.taken.values() for part in guard))

    closure.look(program, (), "x86_64", area, watch.see)
    assert hold()
    if change == "upgrade":
        tree.put("shown/lib/new", objects.build(["libnew.so"]))
        os.rename(tree.shown / "lib" / "new", tree.shown / "lib" / "liba.so.1")
    elif change == "earlier":
        tree.put("shown/first/liba.so", objects.build())
    elif change == "link":
        os.link(tree.shown / "lib" / "liba.so.1", tree.shown / "lib" / "liba.so.2")
        os.unlink(tree.shown / "lib" / "liba.so")
        tree.link("shown/lib/liba.so", "liba.so.2")
    elif change == "interpreter":
        os.utime(tree.ld)
    else:
        os.rename(tree.shown / "lib", tree.shown / "moved")
        tree.link("shown/lib", "moved")
    assert not hold()


def test_this_machines_programs_need_what_its_own_linker_says() -> None:
    """Differential, over programs at random: the same files as ``ld.so --list``, but for variants of processors."""
    must_work(LD, "glibc's dynamic linker")
    area = closure.Area(shown=("/",), hidden=())
    compared = 0
    names = sorted(os.listdir("/usr/bin"))
    random.Random(2).shuffle(names)
    for name in names:
        program = os.path.realpath(f"/usr/bin/{name}")
        found = closure.look(program, (), os.uname().machine, area, lambda _kind, _subject: None)
        mine = {entry.path for entry in found.entries if entry.kind == "file"} - {program}
        if os.path.realpath(LD) not in mine or not _is_elf(program):
            continue
        said = subprocess.run([LD, "--list", program], capture_output=True, text=True, env={}, check=False).stdout
        theirs = {os.path.realpath(path) for path in re.findall(r"(/\S+) \(0x", said)}
        assert {path for path in mine if "hwcaps" not in path} - {"/etc/ld.so.cache"} == theirs, program
        assert {lack.name for lack in found.lacks} == set(re.findall(r"(\S+) => not found", said)), program
        compared += 1
        if compared == ORACLE:
            break
    assert compared == ORACLE


def _is_elf(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(4) == elf.MAGIC
