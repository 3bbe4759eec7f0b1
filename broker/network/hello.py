"""The name of the server in the first thing that a TLS client says, which anybody can read (RFC 8446, RFC 6066).

In: the first bytes of a connection, which may be anything. With Encrypted Client Hello this is the outer name: the one
that a look from outside can tell, and the server that the connection is made to.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final
LIMIT = 16384  # bytes: more than any client says, with post-quantum keys


class Incomplete:
    """There is only one of these."""

    __slots__ = ()


INCOMPLETE: "Final" = Incomplete()
_HANDSHAKE, _SERVER_NAME, _HOST_NAME = 22, 0, 0
_CLIENT_HELLO = b"\1"
_MAX_RECORD = 16384
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_.")


class _Ended(Exception):
    """A length that leads past the end of what it is in."""


class _Reader:
    """Bytes, taken from the front by lengths. Raises _Ended."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        """So many bytes."""
        end = self._at + size
        if end > len(self._data):
            raise _Ended
        taken, self._at = self._data[self._at : end], end
        return taken

    def number(self, size: int) -> int:
        """A number of so many bytes."""
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> "_Reader":
        """What stands behind a length of so many bytes."""
        return _Reader(self.take(self.number(size)))

    def left(self) -> int:
        """How many bytes are left."""
        return len(self._data) - self._at


def server_name(data: bytes) -> "bytes | Incomplete | None":
    """The host name that a ClientHello asks for: lower case, without a trailing dot.

    data: all that the client has sent so far. ``INCOMPLETE`` while more bytes could still make it one; None when they
    are no ClientHello, or one that names no host, several, or something that is not a host name. What comes after the
    ClientHello does not count: a server may answer before it, and another hello there would be a renegotiation.
    """
    try:
        told = _hello(data)
    except _Ended:
        return None
    if isinstance(told, Incomplete):
        return told if len(data) < LIMIT else None
    try:
        return _named(told)
    except _Ended:
        return None


def _hello(data: bytes) -> "bytes | Incomplete":
    """The ClientHello's body, put together from the records that it is split over. Raises _Ended for anything else."""
    body, at = b"", 0
    while at < len(data):
        head = data[at : at + 5]
        size = int.from_bytes(head[3:5], "big")
        if head[0] != _HANDSHAKE or head[1:2] not in (b"", b"\3"):
            raise _Ended
        if len(head) < 5:
            break
        if not 0 < size <= _MAX_RECORD:  # an empty record of a handshake is forbidden: RFC 8446, 5.1
            raise _Ended
        body += data[at + 5 : at + 5 + size]
        at += 5 + size
        end = 4 + int.from_bytes(body[1:4], "big")
        if body[:1] not in (b"", _CLIENT_HELLO) or (len(body) >= 4 and end > LIMIT):
            raise _Ended
        if len(body) >= max(4, end):
            return body[4:end]
    return INCOMPLETE


def _named(hello: bytes) -> "bytes | None":
    """The one host name in a ClientHello. Raises _Ended for what is malformed."""
    reader = _Reader(hello)
    reader.take(2 + 32)  # version, random
    reader.vector(1)  # session
    reader.vector(2)  # cipher suites
    reader.vector(1)  # compression
    if not reader.left():
        return None
    extensions = reader.vector(2)
    found: list[bytes] = []
    while extensions.left():
        kind, value = extensions.number(2), extensions.vector(2)
        if kind == _SERVER_NAME:
            found += _entries(value)
    if reader.left() or len(found) != 1:
        return None
    name = found[0].lower().removesuffix(b".")
    return name if 0 < len(name) <= 253 and _PLAIN.issuperset(name) else None


def _entries(value: _Reader) -> "list[bytes]":
    """The entries of a server name extension. An entry of another kind than a host name counts as one that is none."""
    names = value.vector(2)
    if value.left():
        raise _Ended
    found = []
    while names.left():
        kind, name = names.number(1), names.vector(2)
        found.append(name.take(name.left()) if kind == _HOST_NAME else b"")
    return found
