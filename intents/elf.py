"""What a program or library says it needs before it can run: the ELF headers and dynamic section (elf(5)).

Takes a function that gives bytes of the file, so that nothing has to be read whole. Any bytes give an ``Elf`` or one
``Malformed``.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Fetch = Callable[[int, int], bytes]  # (offset, size) -> that part of the file; shorter where the file ends

MAGIC = b"\x7fELF"
I386, ARM, X86_64, AARCH64, RISCV = 3, 40, 62, 183, 243  # EM_
MAX_HEADERS = 4096  # program headers
MAX_DYNAMIC = 1 << 20  # bytes of the dynamic section
MAX_NEEDED = 4096
MAX_STRING = 4096  # bytes, of a path or a name
MAX_SEARCH = 256  # directories of a search path

_LOAD, _DYNAMIC, _INTERP = 1, 2, 3  # PT_
_NULL, _NEEDED, _STRTAB, _SONAME, _RPATH, _RUNPATH, _FLAGS_1 = 0, 1, 5, 14, 15, 29, 0x6FFFFFFB  # DT_
_NODEFLIB = 0x800  # DF_1_NODEFLIB
_EXEC, _DYN = 2, 3  # ET_


class Malformed(ValueError):
    """The bytes are not an ELF program or library."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elf:
    """One program or library.

    bits: 32 or 64; machine: ``e_machine``; interpreter: the dynamic linker it names, empty for a static one or a
    library; rpath: empty where there is a runpath, because linkers then ignore it; no_default: it is to be linked from
    its own search paths alone (DF_1_NODEFLIB).
    """

    bits: int
    little: bool
    machine: int
    interpreter: str
    needed: tuple[str, ...]
    rpath: tuple[str, ...]
    runpath: tuple[str, ...]
    soname: str
    no_default: bool

    def runs_with(self, other: "Elf") -> bool:
        """Whether both can be in one process."""
        return (self.bits, self.little, self.machine) == (other.bits, other.little, other.machine)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


def read(fetch: Fetch) -> Elf:
    """What the file says of itself. Raises Malformed."""
    try:
        return _read(fetch)
    except (struct.error, OverflowError) as error:
        raise Malformed("it ends too early") from error


def _read(fetch: Fetch) -> Elf:
    ident = fetch(0, 16)
    if len(ident) < 16 or ident[:4] != MAGIC or ident[4] not in (1, 2) or ident[5] not in (1, 2):
        raise Malformed("it does not begin as an ELF file does")
    bits, order = 32 * ident[4], "<" if ident[5] == 1 else ">"
    form = order + ("HHIQQQIHHH" if bits == 64 else "HHIIIIIHHH")
    kind, machine, _, _, table, _, _, _, each, count = struct.unpack(form, fetch(16, struct.calcsize(form)))
    if kind not in (_EXEC, _DYN) or count > MAX_HEADERS:
        raise Malformed("it is neither a program nor a library")
    segments = tuple(_segments(fetch, order, bits, table, each, count))
    dynamic = next((found for found in segments if found.kind == _DYNAMIC), None)
    entries = _dynamic(fetch, order, bits, dynamic) if dynamic else []
    tags = dict(reversed(entries))  # of several the first counts
    strings = _offset(segments, tags[_STRTAB]) if _STRTAB in tags else None

    def string(at: int) -> str:
        if strings is None:
            raise Malformed("it names things without saying where the names are")
        return _string(fetch, strings + at)

    needed = [value for tag, value in entries if tag == _NEEDED]
    if len(needed) > MAX_NEEDED:
        raise Malformed("it names too many libraries")
    runpath = string(tags[_RUNPATH]) if _RUNPATH in tags else ""
    rpath = string(tags[_RPATH]) if _RPATH in tags and _RUNPATH not in tags else ""
    return Elf(
        bits=bits,
        little=order == "<",
        machine=machine,
        interpreter=_interpreter(fetch, segments),
        needed=tuple(dict.fromkeys(string(value) for value in needed)),
        rpath=_split(rpath),
        runpath=_split(runpath),
        soname=string(tags[_SONAME]) if _SONAME in tags else "",
        no_default=bool(tags.get(_FLAGS_1, 0) & _NODEFLIB),
    )


def _segments(fetch: Fetch, order: str, bits: int, table: int, each: int, count: int) -> Iterator[_Segment]:
    form = order + ("IIQQQQ" if bits == 64 else "IIIIII")
    for number in range(count):
        found = struct.unpack(form, fetch(table + number * each, struct.calcsize(form)))
        if bits == 64:
            kind, _, offset, address, _, size = found
        else:
            kind, offset, address, _, size, _ = found
        yield _Segment(kind=kind, offset=offset, address=address, size=size)


def _dynamic(fetch: Fetch, order: str, bits: int, segment: _Segment) -> list[tuple[int, int]]:
    form = order + ("QQ" if bits == 64 else "II")
    step = struct.calcsize(form)
    data = fetch(segment.offset, min(segment.size, MAX_DYNAMIC))
    entries: list[tuple[int, int]] = []
    for tag, value in struct.iter_unpack(form, data[: len(data) // step * step]):
        if tag == _NULL:
            break
        entries.append((tag, value))
    return entries


def _offset(segments: tuple[_Segment, ...], address: int) -> int:
    """Where in the file a virtual address is."""
    for each in segments:
        if each.kind == _LOAD and each.address <= address < each.address + each.size:
            return each.offset + address - each.address
    raise Malformed("its strings lie outside the file")


def _interpreter(fetch: Fetch, segments: tuple[_Segment, ...]) -> str:
    found = next((each for each in segments if each.kind == _INTERP), None)
    return _string(fetch, found.offset) if found else ""


def _string(fetch: Fetch, offset: int) -> str:
    found, end, _ = fetch(offset, MAX_STRING).partition(b"\0")
    if not end:
        raise Malformed("a string of it does not end")
    return found.decode("utf-8", "surrogateescape")


def _split(search: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, search.split(":"))))[:MAX_SEARCH]
