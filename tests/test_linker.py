"""Reading ELF files, linker caches and scripts, and the linkers' search rules (SPEC §9.2.2): hostile bytes included."""

import contextlib
import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intents import elf, linker
from tests.model import objects

FUZZ = int(os.environ.get("INTENTS_FUZZ") or 2000)
GLIBC = linker.Linker(path="/lib64/ld-linux-x86-64.so.2", real="/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
HEADS = (b"", b"\x7fELF\2\1", b"glibc-ld.so.cache1.1", b"ld.so-1.7.0\0", b"#!")
MUSL = linker.Linker(path="/lib/ld-musl-x86_64.so.1", real="/lib/ld-musl-x86_64.so.1")
STORE = linker.Linker(path="/nix/store/g/lib/ld-linux-x86-64.so.2", real="/nix/store/g/lib/ld-linux-x86-64.so.2")


def read(data: bytes) -> elf.Elf:
    return elf.read(lambda at, size: data[at : at + size])


PROGRAM = read(objects.build())


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_what_a_file_says_is_read_in_every_form(bits: int, order: str) -> None:
    names = {objects.SONAME: "liba.so.1", objects.RUNPATH: "/x:$ORIGIN/../lib::/x"}
    data = objects.build(["libb.so", "libc.so", "libb.so"], interpreter="/ld", names=names, bits=bits, order=order)
    found = read(data)
    assert (found.bits, found.little, found.machine) == (bits, order == "<", objects.X86_64)
    assert found.needed == ("libb.so", "libc.so")
    assert (found.soname, found.interpreter) == ("liba.so.1", "/ld")
    assert found.runpath == ("/x", "$ORIGIN/../lib")
    assert not found.no_default


def test_an_rpath_counts_only_without_a_runpath() -> None:
    assert read(objects.build(names={objects.RPATH: "/r"})).rpath == ("/r",)
    both = read(objects.build(names={objects.RPATH: "/r", objects.RUNPATH: ""}))
    assert (both.rpath, both.runpath) == ((), ())
    assert read(objects.build(flags=0x800)).no_default


def test_two_of_a_kind_run_together() -> None:
    assert PROGRAM.runs_with(read(objects.build(["x"])))
    for other in ({"bits": 32}, {"order": ">"}, {"machine": objects.AARCH64}):
        assert not PROGRAM.runs_with(read(objects.build(**other)))  # type: ignore[arg-type]
    assert linker.suits(PROGRAM, "x86_64") and not linker.suits(PROGRAM, "aarch64") and linker.suits(PROGRAM, "odd")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x7fELF", b"#!/bin/sh\n" * 9, b"\x7fELF\x03\x01" + bytes(90), objects.build()[:70],
        objects.build(kind=1), objects.build(["lib"])[:-4], b"\x7fELF\2\1\1" + b"\xff" * 4000,
    ],
    ids=range(8),
)  # fmt: skip
def test_anything_else_is_malformed(data: bytes) -> None:
    with pytest.raises(elf.Malformed):
        read(data)


def test_no_damage_makes_more_than_a_refusal() -> None:
    """Bytes changed at random in honest files: the reader returns or says Malformed, and soon."""
    chance = random.Random(1)
    names = {objects.SONAME: "liba.so.1", objects.RUNPATH: "$ORIGIN", objects.RPATH: "/r"}
    honest = [
        objects.build(["libb.so", "libc.so"], interpreter="/ld", names=names, bits=bits, order=order)
        for bits in (32, 64)
        for order in "<>"
    ]
    kept = 0
    for _ in range(FUZZ):
        data = bytearray(chance.choice(honest))
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.choice((0, 1, 0x7F, 0xFF, chance.randrange(256)))
        try:
            read(bytes(data[: chance.choice((len(data), chance.randrange(len(data))))]))
            kept += 1
        except elf.Malformed:
            continue
    assert kept > FUZZ / 20  # or nothing was tried


@settings(max_examples=300, deadline=None, database=None)
@given(st.binary(max_size=400), st.sampled_from(HEADS))
def test_no_bytes_crash_a_reader(data: bytes, head: bytes) -> None:
    list(linker.cache(head + data))
    linker.script(head + data)
    with contextlib.suppress(elf.Malformed):
        read(head + data)


@pytest.mark.parametrize("after_old", [-1, 0, 1, 2])
def test_the_cache_is_read_in_both_formats(after_old: int) -> None:
    entries = [("liba.so", "/usr/lib/liba.so", 0), ("liba.so", "/usr/lib/glibc-hwcaps/x86-64-v3/liba.so", 1 << 62 | 2)]
    found = list(linker.cache(objects.cache(entries, after_old=after_old)))
    assert found == [(name, path, hwcap != 0) for name, path, hwcap in entries]
    for cut in range(0, 150, 7):
        list(linker.cache(objects.cache(entries, after_old=after_old)[:cut]))


@pytest.mark.parametrize(
    ("first", "said"),
    [
        (b"#!/bin/sh\n", ("/bin/sh", "")),
        (b"#! \t/usr/bin/env  -S a b \t\nrest", ("/usr/bin/env", "-S a b")),
        (b"#!/bin/sh", ("/bin/sh", "")),
        (b"#!\n", None),
        (b"# !/bin/sh\n", None),
        (b"#!/bin/a\0b\n", ("/bin/a", "")),
    ],
)
def test_a_script_names_its_interpreter(first: bytes, said: tuple[str, str] | None) -> None:
    assert linker.script(first) == said


def test_variables_of_a_search_path() -> None:
    def expanded(*search: str, which: linker.Linker = GLIBC) -> tuple[str, ...]:
        return which.expand(search, "/opt/a/bin", PROGRAM)

    assert expanded("$ORIGIN/../lib", "${ORIGIN}x", "relative", "") == ("/opt/a/bin/../lib", "/opt/a/binx")
    assert expanded("$ORIGINAL/x", "/a$ORIGIN") == ("/a/opt/a/bin",)
    assert expanded("/x/$LIB") == ("/x/lib/x86_64-linux-gnu", "/x/lib64", "/x/lib")
    assert expanded("/x/$PLATFORM") == ("/x/x86_64",)
    assert expanded("/a", "$ORIGIN/lib", which=MUSL) == ("/a", "/opt/a/bin/lib")
    assert expanded("/a", "/x/$LIB", which=MUSL) == ()


def test_where_each_linker_looks_last() -> None:
    assert GLIBC.directories(PROGRAM, None) == (
        "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib",
    )  # fmt: skip
    assert MUSL.directories(PROGRAM, None) == ("/lib", "/usr/local/lib", "/usr/lib")
    assert MUSL.directories(PROGRAM, "/a:/b\n/c\n") == ("/a", "/b", "/c")
    assert STORE.directories(PROGRAM, None) == ("/nix/store/g/lib",)
    assert (GLIBC.configuration, MUSL.configuration, STORE.configuration) == (
        "/etc/ld.so.cache", "/etc/ld-musl-x86_64.path", "",
    )  # fmt: skip


def test_the_linker_is_in_the_process_already() -> None:
    assert GLIBC.is_itself("ld-linux-x86-64.so.2", "ld-linux-x86-64.so.2")
    assert not GLIBC.is_itself("libc.so.6", "ld-linux-x86-64.so.2")
    assert all(MUSL.is_itself(name, "") for name in ("libc.so", "libc.musl-x86_64.so.1", "libpthread.so.0", "libm.so"))
    assert not any(MUSL.is_itself(name, "") for name in ("libz.so.1", "libcrypt.so.1", "libc", "c.so"))
