"""ELF files made by hand, from elf(5): as much of them as a dynamic linker reads, in every form and byte order."""

import struct
from collections.abc import Mapping, Sequence

NEEDED, STRTAB, SONAME, RPATH, RUNPATH, FLAGS_1 = 1, 5, 14, 15, 29, 0x6FFFFFFB
X86_64, AARCH64 = 62, 183


def build(
    needed: Sequence[str] = (),
    *,
    interpreter: str = "",
    names: Mapping[int, str] | None = None,
    flags: int = 0,
    bits: int = 64,
    order: str = "<",
    machine: int = X86_64,
    kind: int = 3,
) -> bytes:
    """An ELF file that needs these libraries; ``names``: tag -> text of other entries, such as RPATH and SONAME."""
    word, wide = (f"{order}QQ", 64) if bits == 64 else (f"{order}II", 52)
    strings = bytearray(b"\0")

    def add(text: str) -> int:
        strings.extend(text.encode() + b"\0")
        return len(strings) - len(text.encode()) - 1

    entries = [(NEEDED, add(name)) for name in needed]
    entries += [(tag, add(text)) for tag, text in (names or {}).items()]
    entries += [(FLAGS_1, flags)] if flags else []
    each = 56 if bits == 64 else 32
    started = interpreter.encode() + b"\0" if interpreter else b""
    at = wide + 3 * each
    base = 0x400000  # addresses are not offsets
    table_at, strings_at = at + len(started), at + len(started) + struct.calcsize(word) * (len(entries) + 2)
    entries += [(STRTAB, base + strings_at), (0, 0)]
    table = b"".join(struct.pack(word, *entry) for entry in entries)
    size = strings_at + len(strings)
    segments = [(1, 0, base, size), (2, table_at, base + table_at, len(table))]
    segments.append((3, at, base + at, len(started)) if started else (0, 0, 0, 0))
    headers = b"".join(_segment(order, bits, *segment) for segment in segments)
    ident = b"\x7fELF" + bytes((1 if bits == 32 else 2, 1 if order == "<" else 2, 1)) + bytes(9)
    form = order + ("HHIQQQIHHHHHH" if bits == 64 else "HHIIIIIHHHHHH")
    head = struct.pack(form, kind, machine, 1, 0, wide, 0, 0, wide, each, len(segments), 0, 0, 0)
    return ident + head + headers + started + table + bytes(strings)


def _segment(order: str, bits: int, kind: int, offset: int, address: int, size: int) -> bytes:
    if bits == 64:
        return struct.pack(f"{order}IIQQQQQQ", kind, 4, offset, address, address, size, size, 1)
    return struct.pack(f"{order}IIIIIIII", kind, offset, address, address, size, size, 4, 1)


def cache(entries: Sequence[tuple[str, str, int]], *, after_old: int = -1) -> bytes:
    """An ld.so.cache of (name, path, hwcap) in glibc's second format, after a first-format one of so many entries."""
    strings = bytearray()
    rows = []
    start = 48 + 24 * len(entries)
    for name, path, hwcap in entries:
        offsets = []
        for text in (name, path):
            offsets.append(start + len(strings))
            strings.extend(text.encode() + b"\0")
        rows.append(struct.pack("<iIIIQ", 0x0303, *offsets, 0, hwcap))
    head = b"glibc-ld.so.cache1.1" + struct.pack("<IIB3x4I", len(entries), len(strings), 2, 0, 0, 0, 0)
    new = head + b"".join(rows) + bytes(strings)
    if after_old < 0:
        return new
    old = b"ld.so-1.7.0\0" + struct.pack("<I", after_old) + bytes(12 * after_old)
    return old + bytes(-len(old) % 8) + new
