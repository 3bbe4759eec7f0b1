"""A mouse for a compositor without one: clicks through wlr-virtual-pointer-unstable-v1, which sway offers."""

import pathlib
import socket
import time
from collections.abc import Callable

from broker.companions import wayland_wire as wire

MANAGER = "zwlr_virtual_pointer_manager_v1"
REGISTRY, CALLBACK, BOUND, POINTER = 2, 3, 4, 5  # object ids
CREATE, MOVE, BUTTON, FRAME = 0, 1, 2, 4  # requests of the manager, then of the pointer
LEFT = 0x110  # BTN_LEFT of linux/input-event-codes.h


def click(path: pathlib.Path, x: int, y: int, before: Callable[[], None] = lambda: None) -> None:
    """Press and release the left button at a point of a screen of 800x600, at once after ``before``."""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(str(path))
        stream.sendall(wire.message(wire.DISPLAY, wire.GET_REGISTRY, REGISTRY))
        stream.sendall(wire.message(wire.DISPLAY, wire.SYNC, CALLBACK))
        offered = [wire.global_(body) for target, _, body in wire.answers(stream.recv, CALLBACK) if target == REGISTRY]
        (name,) = [number for number, interface in offered if interface == MANAGER]
        stream.sendall(wire.message(REGISTRY, wire.BIND, name, MANAGER.encode(), 1, BOUND))
        stream.sendall(wire.message(BOUND, CREATE, 0, POINTER))
        time.sleep(0.3)  # until the programs on the screen have taken the new mouse
        before()
        for step in (2, 0):
            _frame(stream, wire.message(POINTER, MOVE, _now(), x - step, y, 800, 600))
        for state in (1, 0):
            _frame(stream, wire.message(POINTER, BUTTON, _now(), LEFT, state))
        time.sleep(0.1)


def _now() -> int:
    return time.monotonic_ns() // 1_000_000 & 0xFFFFFFFF


def _frame(stream: socket.socket, event: bytes) -> None:
    stream.sendall(event + wire.message(POINTER, FRAME))
    time.sleep(0.05)
