"""The smallest Wayland client: which interfaces a compositor offers, and to whom (SPEC §5.4).

Opens no window, believes nothing it is told.
"""

import contextlib
import os
import socket
import tempfile
import time

from broker.companions import wayland_context
from broker.companions import wayland_wire as wire

_REGISTRY, _CALLBACK = 2, 3  # object ids of our choice


def registry(path: str, timeout: float = 1.0) -> tuple[str, ...] | None:
    """The interfaces that the compositor at the socket ``path`` announces, sorted, each once.

    timeout: seconds for everything together. None when nobody listens there, or what answers is no compositor:
    silence, an end before the list was complete, a malformed or endless answer. Raises nothing.
    """
    try:
        with socket.socket(socket.AF_UNIX) as stream:
            return _ask(stream, path, time.monotonic() + timeout)
    except (OSError, ValueError):
        return None


def context(path: str, timeout: float = 1.0) -> tuple[str, ...] | None:
    """The same, as the compositor announces them to a sandboxed program, for which it has to keep a security context.

    None when it keeps none, or does not answer. Raises nothing.
    """
    with tempfile.TemporaryDirectory(prefix="intents-") as directory, contextlib.ExitStack() as held:
        ends = os.pipe()
        for end in ends:
            held.callback(os.close, end)
        inside = f"{directory}/wayland"
        try:
            wayland_context.make(os.fsencode(inside), os.fsencode(path), b"org.intents.probe", b"0", ends[1])
        except (OSError, ValueError):
            return None
        return registry(inside, timeout)


def _ask(stream: socket.socket, path: str, deadline: float) -> tuple[str, ...]:
    def receive(most: int) -> bytes:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        stream.settimeout(left)
        return stream.recv(most)

    stream.settimeout(max(deadline - time.monotonic(), 0.001))
    stream.connect(path)
    # The answer to sync comes after every global: without it the list could be a part of the truth.
    stream.sendall(
        wire.message(wire.DISPLAY, wire.GET_REGISTRY, _REGISTRY) + wire.message(wire.DISPLAY, wire.SYNC, _CALLBACK)
    )
    said = wire.answers(receive, _CALLBACK)
    found = {wire.global_(body)[1] for target, opcode, body in said if (target, opcode) == (_REGISTRY, wire.GLOBAL)}
    return tuple(sorted(found))
