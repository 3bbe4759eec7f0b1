"""32-bit programs: run when they are granted, ended when not; a program without a C library, made here (SPEC §5.6)."""

import pathlib
import struct
import subprocess
from collections.abc import Iterator

import pytest

from tests.conftest import must_work
from tests.real import world

pytestmark = pytest.mark.real

BASE = 0x08048000
WRITE, SOCKETCALL, SOCKET, MODIFY_LDT = 4, 102, 359, 123
UNIX, VSOCK = 1, 40
EPERM, EAFNOSUPPORT = 1, 97
KILLED = 128 + 31  # as the shell says SIGSYS


def program(number: int, *arguments: int, data: bytes = b"") -> bytes:
    """An i386 ELF file that makes one call, and ends with 0 or with the number of the error.

    An argument -1 stands for the address of ``data`` (elf(5), and the instructions' codes).
    """
    header = 52 + 32
    code_size = 5 * 5 + 2 + 2 + 2 + 2 + 2 + 2 + 2 + 5 + 2
    words = [BASE + header + code_size if word == -1 else word for word in (*arguments, 0, 0, 0, 0)[:4]]
    code = b"".join(
        bytes([opcode]) + struct.pack("<I", word)  # mov eax, ebx, ecx, edx, esi
        for opcode, word in zip((0xB8, 0xBB, 0xB9, 0xBA, 0xBE), (number, *words), strict=True)
    )
    code += bytes.fromhex("cd80 85c0 7904 f7d8 eb02 31c0 89c3 b801000000 cd80")
    assert len(code) == code_size
    size = header + code_size + len(data)
    ident = b"\x7fELF\x01\x01\x01" + bytes(9)
    elf = ident + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, BASE + header, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    load = struct.pack("<IIIIIIII", 1, 0, BASE, BASE, size, size, 5, 0x1000)
    return elf + load + code + data


@pytest.fixture
def here() -> Iterator[world.World]:
    with world.world() as made:
        (made.home / "bin32").mkdir()
        yield made


def put(here: world.World, name: str, body: bytes) -> str:
    path = here.home / "bin32" / name
    path.write_bytes(body)
    path.chmod(0o700)
    return str(path)


def granted(here: world.World, scope: str = "", serial: int = 1) -> None:
    intents: dict[str, dict[str, object]] = {"programs": {"kind": "path", "place": "home/bin32", "access": "read"}}
    if scope:
        intents["old"] = {"kind": "multiarch", "scope": scope}
    here.install(world.manifest(world.SHELL, intents, serial=serial))
    here.decide()


def ends(here: world.World, path: str, removed: str = "") -> int:
    """How the program at this path ends inside, as the shell says it."""
    return int(here.says(f"'{path}'; echo $?", removed=removed).splitlines()[-1])


def works_here(path: str) -> None:
    try:
        done = subprocess.run([path], capture_output=True, check=False)
    except OSError:
        done = None
    must_work(done, "an x86-64 kernel that runs 32-bit programs (IA32 emulation)")


HELLO = program(WRITE, 1, -1, 6, data=b"hello\n")


def test_a_32_bit_program_runs_when_that_is_granted_and_is_ended_when_not(here: world.World) -> None:
    path = put(here, "hello", HELLO)
    works_here(path)
    granted(here)
    assert ends(here, path) == KILLED
    assert ends(here, path, removed=world.NO_FILTER) == 0
    granted(here, "programs", serial=2)
    assert here.says(f"'{path}'") == "hello\n"


def test_its_sockets_are_those_of_the_granted_families_only(here: world.World) -> None:
    works_here(put(here, "hello", HELLO))
    granted(here, "programs")
    assert ends(here, put(here, "unix", program(SOCKET, UNIX, 1, 0))) == 0
    vsock = put(here, "vsock", program(SOCKET, VSOCK, 1, 0))
    assert ends(here, vsock) == EAFNOSUPPORT
    old = {name: struct.pack("<III", family, 1, 0) for name, family in (("old-unix", UNIX), ("old-vsock", VSOCK))}
    paths = {name: put(here, name, program(SOCKETCALL, 1, -1, data=data)) for name, data in old.items()}
    assert {ends(here, path) for path in paths.values()} == {EAFNOSUPPORT}
    granted(here, "sockets", serial=2)
    assert ends(here, paths["old-unix"]) == 0
    assert ends(here, vsock) == EAFNOSUPPORT


def test_what_is_refused_to_every_program_is_refused_to_it(here: world.World) -> None:
    path = put(here, "ldt", program(MODIFY_LDT, 0, -1, 16, data=bytes(16)))
    works_here(path)
    granted(here, "sockets")
    assert ends(here, path) == EPERM
    assert ends(here, path, removed=world.NO_FILTER) != EPERM


def test_a_64_bit_program_gains_nothing_by_the_other_door(here: world.World) -> None:
    """int 0x80 in a 64-bit program is a call of the 32-bit table: it ends the program unless that is granted."""
    body = bytearray(program(SOCKET, VSOCK, 1, 0))
    wide = _as_64_bit(bytes(body))
    path = put(here, "wide", wide)
    works_here(path)
    granted(here)
    assert ends(here, path) == KILLED
    granted(here, "programs", serial=2)
    assert ends(here, path) == EAFNOSUPPORT


def _as_64_bit(elf: bytes) -> bytes:
    """The same instructions, which mean the same in both modes, in an x86-64 ELF file."""
    code = elf[52 + 32 :]
    header = 64 + 56
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    made = ident + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, BASE + header, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    size = header + len(code)
    return made + struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, size, size, 0x1000) + code


def test_the_file_is_what_it_says(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "hello"
    path.write_bytes(HELLO)
    path.chmod(0o700)
    works_here(str(path))
    assert subprocess.run([str(path)], capture_output=True, check=True).stdout == b"hello\n"
