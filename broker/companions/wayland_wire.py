"""Wayland's wire format (wayland.freedesktop.org, "Wire Format"): words in host byte order, each message an object id,
then size and opcode in one word, then arguments in whole words. Knows no interface."""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DISPLAY = 1  # the one object that every connection has from the start
SYNC, GET_REGISTRY = 0, 1  # requests of wl_display
ERROR = 0  # event of wl_display
BIND = 0  # request of wl_registry
GLOBAL, GLOBAL_REMOVE = 0, 1  # events of wl_registry
DESCRIPTORS = 28  # as many as libwayland passes and takes at once
MOST = 1 << 17  # bytes of one answer; the registry of a compositor with every known extension is under 8 KiB


def message(target: int, opcode: int, *arguments: "int | bytes") -> bytes:
    """One message; bytes among the arguments are strings, without their final NUL."""
    body = b"".join(_word(each) if isinstance(each, int) else _text(each) for each in arguments)
    return _word(target) + _word(8 + len(body) << 16 | opcode) + body


def _word(number: int) -> bytes:
    return number.to_bytes(4, sys.byteorder)


def _text(text: bytes) -> bytes:
    return _word(len(text) + 1) + text + b"\0" * (4 - len(text) % 4)


def first(buffer: bytes) -> "tuple[int, int, bytes, bytes] | None":
    """Object id, opcode and arguments of the first message, and what follows it; None while it is incomplete.

    Raises ValueError for what can be no message.
    """
    if len(buffer) < 8:
        return None
    target, sized = number(buffer, 0), number(buffer, 4)
    size = sized >> 16
    if size < 8 or size % 4:
        raise ValueError("not a Wayland message")
    if len(buffer) < size:
        return None
    return target, sized & 0xFFFF, buffer[8:size], buffer[size:]


def number(body: bytes, at: int) -> int:
    """The word at an offset. Raises ValueError where there is none."""
    if len(body) < at + 4:
        raise ValueError("a word is missing")
    return int.from_bytes(body[at : at + 4], sys.byteorder)


def text(body: bytes, at: int) -> "tuple[bytes, int]":
    """The string at an offset, without its final NUL, and the offset of what follows. Raises ValueError."""
    length = number(body, at)  # counts the final NUL, not the padding
    end = at + 4 + (length + 3) // 4 * 4
    found = body[at + 4 : at + 4 + length]
    if len(body) < end or found[-1:] != b"\0" or b"\0" in found[:-1]:
        raise ValueError("a string that does not end")
    return found[:-1], end


def answers(receive: "Callable[[int], bytes]", last: int) -> "Iterator[tuple[int, int, bytes]]":
    """Object id, opcode and arguments of each message, until one for the object ``last``, a callback, ends it.

    receive: gives at most so many bytes, none at the end. Raises ValueError for an end before that, for an endless
    answer and for what is no Wayland, and whatever ``receive`` raises.
    """
    buffer, received = b"", 0
    while True:
        chunk = receive(1 << 16)
        received += len(chunk)
        if not chunk or received > MOST:
            raise ValueError("the answer did not end")
        buffer += chunk
        while found := first(buffer):
            target, opcode, body, buffer = found
            if target == last:
                return
            yield target, opcode, body


def global_(body: bytes) -> "tuple[int, str]":
    """The number and the interface of an announced global. Raises ValueError where it has none."""
    interface, end = text(body, 4)
    if len(body) != end + 4 or not interface.isascii() or not interface.replace(b"_", b"").isalnum():
        raise ValueError("a global without a name")
    return number(body, 0), interface.decode()
