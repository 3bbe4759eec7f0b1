"""The smallest Wayland client: which interfaces a compositor's registry offers to a plain client (SPEC §5.4).

Speaks the core wire protocol (wayland.freedesktop.org, "Wire Format"): words in host byte order, each message an
object id, then size and opcode in one word. Opens no window, binds nothing, believes nothing it is told.
"""

import socket
import struct
import time

MAX_BYTES = 1 << 17  # the registry of a compositor with every known extension is under 8 KiB

_DISPLAY, _REGISTRY, _CALLBACK = 1, 2, 3  # object ids: the first is fixed by the protocol, the others are our choice
_SYNC, _GET_REGISTRY = 0, 1  # requests of wl_display
_GLOBAL = 0  # event of wl_registry: name (number), interface (string), version (number)


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


def _ask(stream: socket.socket, path: str, deadline: float) -> tuple[str, ...]:
    stream.settimeout(max(deadline - time.monotonic(), 0.001))
    stream.connect(path)
    # The answer to sync comes after every global: without it the list could be a part of the truth.
    stream.sendall(_request(_GET_REGISTRY, _REGISTRY) + _request(_SYNC, _CALLBACK))
    found: set[str] = set()
    buffer = b""
    received = 0
    while True:
        stream.settimeout(max(deadline - time.monotonic(), 0.001))
        chunk = stream.recv(1 << 16)
        received += len(chunk)
        if not chunk or received > MAX_BYTES or time.monotonic() > deadline:
            raise ValueError("the registry did not end")
        buffer += chunk
        while message := _take(buffer):
            target, opcode, body, buffer = message
            if target == _CALLBACK:
                return tuple(sorted(found))
            if target == _REGISTRY and opcode == _GLOBAL:
                found.add(_interface(body))


def _request(opcode: int, new: int) -> bytes:
    return struct.pack("=III", _DISPLAY, 12 << 16 | opcode, new)


def _take(buffer: bytes) -> tuple[int, int, bytes, bytes] | None:
    if len(buffer) < 8:
        return None
    target, word = struct.unpack_from("=II", buffer)
    size = word >> 16
    if size < 8 or size % 4:
        raise ValueError("not a Wayland message")
    if len(buffer) < size:
        return None
    return target, word & 0xFFFF, buffer[8:size], buffer[size:]


def _interface(body: bytes) -> str:
    if len(body) < 12:
        raise ValueError("a global without a name")
    length = struct.unpack_from("=I", body, 4)[0]  # counts the final NUL, not the padding
    text = body[8 : 8 + length]
    if len(body) != 12 + (length + 3) // 4 * 4 or text[-1:] != b"\0":
        raise ValueError("a global without a name")
    name = text[:-1].decode("ascii")
    if not name.replace("_", "").isalnum():
        raise ValueError("a global without a name")
    return name
