"""Damaged manifests give only our errors. Seeded; ``INTENTS_FUZZ`` sets how many mutations are tried."""

import os
import random
from pathlib import Path

import pytest

from intents import errors, parse, paths

VECTORS = sorted((Path(__file__).parent / "vectors" / "manifest").glob("*valid/*"))
COUNT = int(os.environ.get("INTENTS_FUZZ", "20000"))
# What makes a TOML reader, a text check or a path check stumble, besides random bytes.
PIECES = (
    b"[", b"]", b"[[", b"{", b"}", b'"', b"'", b'"""', b"\\", b"\n", b"\r", b"\0", b"=", b".", b",", b"#", b" ",
    b"\\u0000", b"\\ud800", b"\\U0010ffff", b"\\u202e", b"\\e", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf",
    "\u0301".encode(),
    b"true", b"nan", b"-inf", b"1e400", b"0x" + b"f" * 300, b"9" * 400, b"1979-05-27T07:32:00Z", b"07:32", b"[]", b"{}",
    b"home/", b"../", b"/", b"xdg-documents", b"org.example.Sheet", b".*", b"=", b"@/", b"read", b"host", b"spec = 1\n",
    b"[intents.a]\n", b"kind = ", b"place = ", b"talk = [", b"optional = true\n", b"a." * 400, b"[" * 900, b"{a=" * 300,
)  # fmt: skip


def mutate(body: bytes, other: bytes, chance: random.Random) -> bytes:
    """One to four small damages, or a graft of another vector."""
    data = bytearray(body)
    for _ in range(chance.randint(1, 4)):
        start = chance.randint(0, len(data))
        end = min(len(data), start + chance.choice((0, 1, 1, 2, 8, 40)))
        match chance.randrange(5):
            case 0:
                data[start:end] = chance.choice(PIECES)
            case 1:
                data[start:end] = chance.randbytes(chance.randint(0, 3))
            case 2:
                data[start:end] = b""
            case 3:
                data[start:start] = data[start:end] * chance.randint(1, 3)
            case _:
                cut = chance.randint(0, len(other))
                data[start:end] = other[cut : cut + 60]
    return bytes(data)


def test_mutated_manifests() -> None:
    chance = random.Random(20_260_101)
    bodies = [path.read_bytes().split(b"\n\n", 1)[1] for path in VECTORS]
    bodies = [body for body in bodies if len(body) < 4096]
    seen = {"success": 0}
    for number in range(COUNT):
        body = mutate(chance.choice(bodies), chance.choice(bodies), chance)
        try:
            parse.parse(body, file="m")
            code = "success"
        except errors.ManifestError as error:
            code = error.code
            shown = errors.render(error, "p")
            assert shown.count("\n") == 2 and len(shown) < 16_384, (number, body)
            assert all(paths.printable(line) == line for line in shown.split("\n")), (number, body)
        except Exception as error:
            pytest.fail(f"mutation {number} of {body!r} gave {error!r}")
        seen[code] = seen.get(code, 0) + 1
    # A run that never gets past the TOML reader would prove nothing about what stands behind it.
    assert len(seen) >= 12 and seen["success"] > COUNT // 200, seen
