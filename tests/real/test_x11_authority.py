"""The authority file of the real X11 display: it opens that display to its app, and no other (SPEC §5.4)."""

import os
import pathlib
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.companions import x11_authority
from tests.conftest import must_work
from tests.real import peers, world

pytestmark = pytest.mark.real

LOCAL, INTERNET, WILD = 256, 0, 65535  # families of X.h and Xauth(3)
HERE = os.uname().nodename.encode()
GOOD, OTHER = b"0123456789abcdef", b"fedcba9876543210"
SCOPE = {"it": {"kind": "display", "protocol": "x11-host"}}


def entry(family: int, address: bytes, number: bytes, cookie: bytes, name: bytes = b"MIT-MAGIC-COOKIE-1") -> bytes:
    parts = (address, number, name, cookie)
    return struct.pack(">H", family) + b"".join(struct.pack(">H", len(part)) + part for part in parts)


@contextmanager
def server(directory: pathlib.Path) -> Iterator[str]:
    """An X server that asks for a cookie; its display."""
    must_work(shutil.which("Xvfb"), "Xvfb, an X server")
    (directory / "server").write_bytes(entry(WILD, b"", b"", GOOD))
    ours, theirs = os.pipe()
    argv = ["Xvfb", "-displayfd", str(theirs), "-auth", str(directory / "server"), "-nolisten", "tcp"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(argv, pass_fds=[theirs], stdin=quiet, stdout=quiet, stderr=quiet) as started:
        os.close(theirs)
        try:
            with open(ours) as number:
                yield number.readline().strip()
        finally:
            started.terminate()


def test_the_real_display_opens_with_its_own_cookie_and_the_others_stay_outside() -> None:
    must_work(shutil.which("xdotool"), "xdotool")
    with world.world() as here, server(here.base) as number:
        authority = here.home / ".Xauthority"
        mine, next_one = number.encode(), str(int(number) + 1).encode()
        authority.write_bytes(
            entry(LOCAL, HERE, next_one, OTHER)
            + entry(INTERNET, b"\x7f\0\0\1", b"10", OTHER)
            + entry(LOCAL, HERE, mine, GOOD)
        )
        here.environ |= {"DISPLAY": f":{number}", "XAUTHORITY": str(authority)}
        here.install(world.manifest(world.SHELL, SCOPE))
        here.decide()
        assert "x:" in here.says("xdotool getmouselocation")
        seen = here.says('cat "$XAUTHORITY" | od -An -tx1 -v').split()
        shown = bytes(int(byte, 16) for byte in seen)
        assert GOOD in shown and OTHER not in shown
        # It is gone with the app.
        run = pathlib.Path(here.places.runtime, "run")
        peers.eventually(lambda: not [*run.glob("*/x11-authority")], "the end of the file")


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (entry(LOCAL, HERE, b"7", GOOD), [(b"7", GOOD)]),
        (entry(WILD, b"", b"7", GOOD), [(b"7", GOOD)]),
        (entry(LOCAL, HERE, b"", GOOD), [(b"", GOOD)]),
        (entry(LOCAL, b"elsewhere", b"7", GOOD), []),
        (entry(INTERNET, b"\x7f\0\0\1", b"7", GOOD), []),
        (entry(LOCAL, HERE, b"77", GOOD), []),
        (entry(LOCAL, HERE, b"7", GOOD) + b"\1", [(b"7", GOOD)]),
        (entry(LOCAL, HERE, b"7", GOOD)[:-1], []),
        (b"", []),
    ],
)
def test_what_is_kept_of_a_file(data: bytes, kept: list[tuple[bytes, bytes]]) -> None:
    assert x11_authority.entries(data, b"7", HERE) == b"".join(entry(WILD, b"", *pair) for pair in kept)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_file(data: bytes) -> None:
    kept = x11_authority.entries(data, b"7", HERE)
    assert len(kept) <= len(data)
