"""The plan: a compiled launch as bytes, the only thing the executor reads (SPEC §10). Imports nothing.

A header line with the length of each section, then the sections, each a run of NUL-terminated byte strings.
"""

MAGIC = b"intent-plan/1"
LIMIT = 1 << 20
SECTIONS = ("guards", "settings", "make", "links", "companions", "files", "binds", "named", "passed", "args", "command")


def encode(sections: dict[str, tuple[bytes, ...]]) -> bytes:
    """The plan's bytes; every one of ``SECTIONS`` is present. Raises ValueError for an item with a NUL in it."""
    bodies = []
    for name in SECTIONS:
        items = sections[name]
        if any(b"\0" in item for item in items):
            raise ValueError(f"an item of {name} holds a NUL")
        bodies.append(b"".join(item + b"\0" for item in items))
    return b" ".join([MAGIC, *(b"%d" % len(body) for body in bodies)]) + b"\n" + b"".join(bodies)


def decode(data: bytes) -> "dict[str, tuple[bytes, ...]] | None":
    """The sections, or None: a plan is whole and canonical or it does not exist."""
    head, found, body = data.partition(b"\n")
    words = head.split(b" ")
    if not found or len(data) > LIMIT or len(words) != len(SECTIONS) + 1 or words[0] != MAGIC:
        return None
    sections = {}
    for name, word in zip(SECTIONS, words[1:]):  # noqa: B905  (lengths were compared)
        if not word.isdigit() or len(word) > 7 or b"%d" % int(word) != word:
            return None
        size = int(word)
        part, body = body[:size], body[size:]
        if len(part) != size or (part and part[-1:] != b"\0"):
            return None
        sections[name] = tuple(part[:-1].split(b"\0")) if part else ()
    return None if body else sections


def settings(sections: dict[str, tuple[bytes, ...]]) -> dict[bytes, bytes]:
    """The settings by their names."""
    items = sections["settings"]
    return dict(zip(items[::2], items[1::2], strict=True))
