"""Where in a TOML text a key stands, for error messages; ``tomllib`` records no positions (SPEC §3.1).

A search by the shape of lines, not a parser: a multi-line string that looks like TOML can draw it to a wrong line,
never to a wrong message.
"""

import re

from intents import paths

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_KEY = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*"
_HEADER = re.compile(rf"[ \t]*\[{{1,2}}[ \t]*({_KEY})[ \t]*\]")
_PAIR = re.compile(rf"[ \t]*({_KEY})[ \t]*=")
_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def line(text: str, path: tuple[str, ...]) -> int:
    """The line (from 1) that sets ``path``, or else the one that opens the nearest table around it, or else 1."""
    best, depth = 1, 0
    table: tuple[str, ...] = ()
    for number, content in enumerate(text.split("\n"), 1):
        if header := _HEADER.match(content):
            table = found = _parts(header[1])
        elif pair := _PAIR.match(content):
            found = (*table, *_parts(pair[1]))
        else:
            continue
        shared = len(found) if path[: len(found)] == found else 0
        if shared > depth:
            best, depth = number, shared
    return best


def key_path(path: tuple[str, ...]) -> str:
    """``path`` as TOML writes a dotted key, made printable: ``intents.rates.kind``."""
    return ".".join(part if _BARE.fullmatch(part) else f'"{paths.printable(part[:80])}"' for part in path)


def _parts(key: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_PART, key))
