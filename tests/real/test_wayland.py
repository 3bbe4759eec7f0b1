"""The registry is read from a real compositor, and nothing a hostile one does hangs, crashes or fools the client."""

import pathlib
import socket
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker import wayland
from intents.kinds import display
from tests.real import peers

pytestmark = pytest.mark.real

DONE = struct.pack("=III", 3, 12 << 16, 0)  # the answer to sync


def announce(name: bytes, length: int | None = None) -> bytes:
    """A wl_registry.global event for the interface ``name``; ``length`` is what it claims about the text."""
    text = name + b"\0"
    body = struct.pack("=II", 1, len(text) if length is None else length) + text + b"\0" * (-len(text) % 4)
    return struct.pack("=II", 2, len(body) + 12 << 16) + body + struct.pack("=I", 1)


@pytest.fixture
def place(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "s"


def test_a_real_compositor_announces_what_every_client_may_use() -> None:
    with peers.sway() as path:
        found = peers.eventually(lambda: wayland.registry(str(path), peers.PATIENCE), "the registry")
        assert {"wl_compositor", "wl_shm", "xdg_wm_base"} <= set(found)
        assert list(found) == sorted(set(found))
        # The reason for looking: a plain client of this compositor may see the screen and type.
        powers = {"zwlr_screencopy_manager_v1", "zwp_virtual_keyboard_manager_v1"}
        assert powers <= set(found) & display.PRIVILEGED.keys()


def test_the_list_ends_with_the_answer_to_sync(place: pathlib.Path) -> None:
    late = announce(b"wl_shm") + DONE + announce(b"zwlr_screencopy_manager_v1")
    with peers.peer(place, peers.says(late)) as path:
        assert wayland.registry(path) == ("wl_shm",)


def test_messages_arrive_in_any_pieces(place: pathlib.Path) -> None:
    data = announce(b"wl_seat") + announce(b"wl_shm") + announce(b"wl_seat") + DONE

    def behave(stream: socket.socket) -> None:
        for byte in data:
            stream.sendall(bytes([byte]))
        peers.silent(stream)

    with peers.peer(place, behave) as path:
        assert wayland.registry(path, peers.PATIENCE) == ("wl_seat", "wl_shm")


@pytest.mark.parametrize(
    "behave",
    [
        peers.silent,
        peers.hangs_up,
        peers.drip,
        peers.flood(struct.pack("=II", 9, 8 << 16)),
        peers.flood(announce(b"wl_shm")),
        peers.says(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        peers.says(struct.pack("=II", 2, 4 << 16)),
        peers.says(struct.pack("=II", 2, 0xFFFF_0000)),
        peers.says(announce(b"wl_shm", 0xFFFFFFFF) + DONE),
        peers.says(announce(b"wl_shm", 0) + DONE),
        peers.says(announce(b"wl_shm", 3) + DONE),
        peers.says(announce(b"wl_shm\0\0\0\0", 7) + DONE),
        peers.says(announce(b"wl_\xff") + DONE),
        peers.says(announce(b"\x1b[2J") + DONE),
        peers.says(announce(b"") + DONE),
        peers.says(struct.pack("=II", 2, 12 << 16) + b"\0\0\0\0" + DONE),
        peers.says(announce(b"wl_shm")),
    ],
)
def test_what_is_no_compositor_gives_nothing(place: pathlib.Path, behave: object) -> None:
    with peers.peer(place, behave) as path:  # type: ignore[arg-type]
        assert peers.ends(lambda: wayland.registry(path, 0.3)) is None


@pytest.mark.parametrize("endless", [struct.pack("=II", 9, 8 << 16), announce(b"wl_shm")])
def test_an_endless_answer_is_cut_by_its_size(place: pathlib.Path, endless: bytes) -> None:
    with peers.peer(place, peers.flood(endless)) as path:
        assert peers.ends(lambda: wayland.registry(path, 10 * peers.PATIENCE)) is None


def test_nobody_there_gives_nothing(place: pathlib.Path) -> None:
    assert wayland.registry(str(place)) is None
    place.write_text("")
    assert wayland.registry(str(place)) is None
    assert wayland.registry("/" + "x" * 300) is None
    assert wayland.registry("/a\0b") is None


@given(data=st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None, database=None)
def test_no_bytes_raise(tmp_path: pathlib.Path, data: bytes) -> None:
    path = tmp_path / "s"
    path.unlink(missing_ok=True)
    with peers.peer(path, lambda stream: stream.sendall(data)) as where:
        found = wayland.registry(where, 0.3)
        assert found is None or all(name.isascii() for name in found)
