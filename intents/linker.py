"""How the dynamic linkers of Linux look for a library: the rules alone, nothing is looked at (ld.so(8); musl's
dynlink.c). ``broker/closure.py`` follows these rules over the files of a machine.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from intents import elf, paths

CACHE = "/etc/ld.so.cache"
MAX_CACHE = 1 << 24  # bytes
MAX_ENTRIES = 1 << 18
_MAGIC = b"glibc-ld.so.cache1.1"
_OLD = b"ld.so-1.7.0"
_TRIPLETS = {
    (elf.I386, 32): "i386-linux-gnu",
    (elf.ARM, 32): "arm-linux-gnueabihf",
    (elf.X86_64, 32): "x86_64-linux-gnux32",
    (elf.X86_64, 64): "x86_64-linux-gnu",
    (elf.AARCH64, 64): "aarch64-linux-gnu",
    (elf.RISCV, 64): "riscv64-linux-gnu",
}  # by e_machine and bits
# What the kernel of a machine (uname -m) starts without an emulator.
_MACHINES = {"x86_64": (elf.X86_64, elf.I386), "aarch64": (elf.AARCH64, elf.ARM)}
# Subdirectories for better processors: which of them counts is known only when the program starts.
_LEVELS = tuple(f"glibc-hwcaps/x86-64-v{level}" for level in (4, 3, 2))
_MUSL_DEFAULT = ("/lib", "/usr/local/lib", "/usr/lib")
# musl is one file: these names, whatever follows the dot, are the dynamic linker itself.
_MUSL_ITSELF = ("c", "pthread", "rt", "m", "dl", "util", "xnet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Linker:
    """The dynamic linker that a program names. ``path`` as the program writes it, ``real`` canonical."""

    path: str
    real: str

    @property
    def musl(self) -> bool:
        """Whether it is musl's, which goes by other rules than glibc's."""
        return self.path.rpartition("/")[2].startswith("ld-musl-")

    @property
    def configuration(self) -> str:
        """The file that leads to libraries, which may be absent; empty for a linker that brings its own."""
        if self.musl:
            directory, _, name = self.path.rpartition("/")
            return f"{directory.rpartition('/')[0]}/etc/{name.removesuffix('.so.1')}.path"
        return CACHE if self._of_the_system else ""

    @property
    def _of_the_system(self) -> bool:
        return any(paths.inside(self.real, root) for root in paths.SYSTEM_ROOTS)

    def directories(self, program: elf.Elf, configured: str | None) -> tuple[str, ...]:
        """Where it looks last; ``configured`` is the text of musl's configuration, None where there is none."""
        if self.musl:
            listed = None if configured is None else tuple(filter(None, configured.replace("\n", ":").split(":")))
            return _MUSL_DEFAULT if listed is None else listed[: elf.MAX_SEARCH]
        if not self._of_the_system:
            return (paths.parent(self.real),)  # a store keeps each C library with a linker that looks there alone
        triplet = _TRIPLETS.get((program.machine, program.bits), "")
        own = (f"/lib/{triplet}", f"/usr/lib/{triplet}") if triplet else ()
        return (*own, *(("/lib64", "/usr/lib64") if program.bits == 64 else ()), "/lib", "/usr/lib")

    def levels(self, program: elf.Elf) -> tuple[str, ...]:
        """The subdirectories of each directory that are looked into first."""
        return _LEVELS if program.machine == elf.X86_64 and not self.musl else ()

    def is_itself(self, name: str, soname: str) -> bool:
        """Whether a library of that name is the linker, which is in the process already; ``soname``: its own name."""
        if not self.musl:
            return name == soname
        first, dot, _ = name.removeprefix("lib").partition(".")
        return name.startswith("lib") and bool(dot) and first in _MUSL_ITSELF

    def expand(self, search: tuple[str, ...], origin: str, program: elf.Elf) -> tuple[str, ...]:
        """The directories of a search path, with their variables replaced; those that are not absolute are left out.

        ``$LIB`` and ``$PLATFORM`` are known to glibc's linker alone, so that each of their usual values is given.
        musl knows ``$ORIGIN`` only and ignores a whole search path for any other.
        """
        found = [_replaced(entry, "ORIGIN", origin) for entry in search]
        if self.musl:
            return () if any("$" in entry for entry in found) else tuple(each for each in found if each[:1] == "/")
        triplet = _TRIPLETS.get((program.machine, program.bits), "")
        for name, values in (("LIB", (f"lib/{triplet}", "lib64", "lib")), ("PLATFORM", (triplet.partition("-")[0],))):
            found = [_replaced(entry, name, value) for entry in found for value in values]
        return tuple(entry for entry in dict.fromkeys(found) if entry.startswith("/"))


def _replaced(text: str, name: str, value: str) -> str:
    first, *parts = text.replace(f"${{{name}}}", value).split(f"${name}")
    longer = [part[:1].isalnum() or part.startswith("_") for part in parts]  # then it is another variable's name
    return first + "".join(f"${name}{part}" if more else value + part for part, more in zip(parts, longer, strict=True))


def suits(program: elf.Elf, machine: str) -> bool:
    """Whether a machine (as ``uname -m`` says) can run the program itself; unknown machines run everything."""
    return program.machine in _MACHINES.get(machine, (program.machine,))


def cache(data: bytes) -> Iterator[tuple[str, str, bool]]:
    """(name, path, whether only for better processors) of /etc/ld.so.cache, in its order; nothing for other bytes.

    Only glibc's second format is read, which every glibc since 2.2 writes, alone or after the first (ldconfig(8)).
    """
    start = 0
    if data.startswith(_OLD):
        count = int.from_bytes(data[12:16], "little")
        start = (16 + 12 * count + 7) & ~7
    if data[start : start + len(_MAGIC)] != _MAGIC:
        return
    order = ">" if data[start + 28 : start + 29] == b"\3" else "<"
    try:
        (count,) = struct.unpack_from(f"{order}I", data, start + 20)
        for number in range(min(count, MAX_ENTRIES)):
            _, name, path, _, hwcap = struct.unpack_from(f"{order}iIIIQ", data, start + 48 + 24 * number)
            yield _text(data, start + name), _text(data, start + path), hwcap != 0
    except struct.error:
        return


def _text(data: bytes, at: int) -> str:
    end = data.find(b"\0", at, at + elf.MAX_STRING)
    return data[at:end].decode("utf-8", "surrogateescape") if end >= 0 else ""


def script(first: bytes) -> tuple[str, str] | None:
    """(interpreter, its one argument) of a script's beginning as execve(2) reads it; None for anything else."""
    if not first.startswith(b"#!"):
        return None
    line = first[2:256].partition(b"\n")[0].partition(b"\0")[0].strip(b" \t").decode("utf-8", "surrogateescape")
    program, _, argument = line.replace("\t", " ").partition(" ")
    return (program, argument.strip(" ")) if program else None
