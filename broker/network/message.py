"""DNS messages (RFC 1035, RFC 6891): an app's questions, which may be any bytes, and the answers to them (SPEC §10.6).

No compression pointer is ever followed: a question has no use for one, and of an upstream's reply only the addresses
are looked at.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

A, CNAME, AAAA, OPT, SVCB, HTTPS, ANY = 1, 5, 28, 41, 64, 65, 255
INTERNET = 1  # the class
OKAY, MALFORMED, FAILED, NO_SUCH_NAME, NOT_IMPLEMENTED, REFUSED, BAD_VERSION = 0, 1, 2, 3, 4, 5, 16
TTL = 1  # seconds: a made-up address is for the connection that follows
MAX_QUERY = 4096  # bytes, with room for every option that is in use
MAX_NAME = 255  # bytes with all lengths: RFC 1035, 2.3.4
PAYLOAD = 1232  # bytes of a datagram that no path of today cuts in pieces
_HEADER, _MAX_LABEL = 12, 63
_RESPONSE, _OPCODE, _TRUNCATED, _RECURSION, _AVAILABLE, _RESERVED, _UNCHECKED = (
    0x8000, 0x7800, 0x0200, 0x0100, 0x0080, 0x0040, 0x0010,
)  # fmt: skip
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")  # of host names, and of service names: RFC 952, RFC 8552
_HINTS = {4: 4, 6: 16}  # SvcParamKeys of RFC 9460 whose values are addresses -> bytes of one


class Query:
    """One question. number: two bytes; name: lower case, without a trailing dot; version: of EDNS, -1 without."""

    __slots__ = ("flags", "group", "kind", "name", "number", "payload", "question", "version")

    def __init__(self, data: bytes, name: str, end: int) -> None:
        """data: the message; end: of its question."""
        self.number, self.flags = data[:2], int.from_bytes(data[2:4], "big")
        self.name, self.question = name, data[_HEADER:end]
        self.kind = int.from_bytes(data[end - 4 : end - 2], "big")
        self.group = int.from_bytes(data[end - 2 : end], "big")
        self.version, self.payload = -1, 512


def parse_query(data: bytes) -> "Query | None":
    """The question of a message; None for anything but one well-formed standard query with nothing else in it.

    A name with other characters than those of host and service names is none that could be granted.
    """
    if not _HEADER + 5 <= len(data) <= MAX_QUERY or data[4:10] != b"\0\1\0\0\0\0":
        return None
    flags = int.from_bytes(data[2:4], "big")
    if flags & (_RESPONSE | _OPCODE | _TRUNCATED | _RESERVED):
        return None
    labels, at = [], _HEADER
    while at < len(data) and data[at]:
        label = data[at + 1 : at + 1 + data[at]].lower()
        if data[at] > _MAX_LABEL or len(label) != data[at] or not _PLAIN.issuperset(label):
            return None
        labels.append(label.decode("ascii"))
        at += 1 + data[at]
    end = at + 5
    if len(data) < end or at + 1 - _HEADER > MAX_NAME:
        return None
    query = Query(data, ".".join(labels), end)
    return query if _extends(query, data[10:12], data[end:]) else None


def _extends(query: Query, count: bytes, rest: bytes) -> bool:
    """Take in what stands behind the question: nothing, or one OPT record of the root (RFC 6891, 6.1.2)."""
    if count == b"\0\0":
        return not rest
    if count != b"\0\1" or rest[:3] != b"\0\0\x29" or len(rest) != 11 + int.from_bytes(rest[9:11], "big"):
        return False
    query.payload, query.version = max(512, int.from_bytes(rest[3:5], "big")), rest[6]
    return True


def answer(query: Query, code: int, addresses: "Iterable[bytes]" = ()) -> bytes:
    """The reply with this code, and a record for each packed address.

    Who speaks EDNS gets an OPT record back, and who speaks another version of it only that (RFC 6891, 6.1.1, 6.1.3).
    """
    if query.version > 0:
        code, addresses = BAD_VERSION, ()
    records = [
        b"\xc0\x0c" + (A if len(address) == 4 else AAAA).to_bytes(2, "big") + b"\0\1" + TTL.to_bytes(4, "big")
        + len(address).to_bytes(2, "big") + address
        for address in addresses
    ]  # fmt: skip
    flags = _RESPONSE | _AVAILABLE | (query.flags & (_RECURSION | _UNCHECKED)) | (code & 15)
    more = b"\0\0\x29" + PAYLOAD.to_bytes(2, "big") + bytes([code >> 4, 0, 0, 0, 0, 0]) if query.version >= 0 else b""
    counts = b"\0\1" + len(records).to_bytes(2, "big") + b"\0\0" + (b"\0\1" if more else b"\0\0")
    return b"".join([query.number, flags.to_bytes(2, "big"), counts, query.question, *records, more])


def complaint(data: bytes) -> bytes:
    """The reply to what ``parse_query`` does not take: a header alone; empty for what must not be replied to."""
    flags = int.from_bytes(data[2:4], "big")
    if len(data) < _HEADER or flags & _RESPONSE:
        return b""
    code = NOT_IMPLEMENTED if flags & _OPCODE else MALFORMED
    flags = _RESPONSE | _AVAILABLE | (flags & (_OPCODE | _RECURSION)) | code
    return data[:2] + flags.to_bytes(2, "big") + bytes(8)


def framed(data: bytes) -> bytes:
    """A message as it goes over TCP: RFC 1035, 4.2.2."""
    return len(data).to_bytes(2, "big") + data


def unframe(data: bytes) -> "tuple[bytes, bytes] | None":
    """The first message of a TCP stream, and what follows it; None while it is not all there."""
    end = 2 + int.from_bytes(data[:2], "big")
    return (data[2:end], data[end:]) if len(data) >= max(2, end) else None


def asks(number: bytes, query: Query) -> bytes:
    """The question as it is sent to an upstream, under another number: no word more of what the app sent."""
    flags = query.flags & (_RECURSION | _UNCHECKED) | _RECURSION
    opt = b"\0\0\x29" + PAYLOAD.to_bytes(2, "big") + bytes(6)
    return number + flags.to_bytes(2, "big") + b"\0\1\0\0\0\0\0\1" + query.question + opt


def replies(data: bytes, number: bytes, query: Query) -> bool:
    """Whether a message is a reply to ``asks(number, query)``, be it well-formed otherwise or not."""
    flags = int.from_bytes(data[2:4], "big")
    end = _HEADER + len(query.question)
    return (
        data[:2] == number
        and flags & (_RESPONSE | _OPCODE) == _RESPONSE
        and data[4:6] == b"\0\1"
        and data[_HEADER:end].lower() == query.question.lower()
    )


def truncated(data: bytes) -> bool:
    """Whether a reply is only the beginning of one."""
    return bool(int.from_bytes(data[2:4], "big") & _TRUNCATED)


def code_of(data: bytes) -> int:
    """The code of a reply."""
    return data[3] & 15


def fits(query: Query, data: bytes, stream: bool = False) -> bytes:
    """A reply, or its question alone, marked as truncated, where it is longer than the app said it can take."""
    if stream or len(data) <= query.payload:
        return data
    flags = int.from_bytes(data[2:4], "big") | _TRUNCATED
    return data[:2] + flags.to_bytes(2, "big") + b"\0\1\0\0\0\0\0\0" + query.question


def addresses_in(reply: bytes) -> "list[bytes] | None":
    """Every packed address of a reply, in any section, also those that HTTPS and SVCB records hint at.

    None for a reply that is not well-formed to its last byte.
    """
    if len(reply) < _HEADER:
        return None
    counts = [int.from_bytes(reply[at : at + 2], "big") for at in (4, 6, 8, 10)]
    at = _HEADER
    for _ in range(counts[0]):
        at = _skip(reply, at) + 4
        if not 4 < at <= len(reply):
            return None
    found: list[bytes] = []
    for _ in range(sum(counts[1:])):
        at = _skip(reply, at)
        if not 0 < at <= len(reply) - 10:
            return None
        kind, end = int.from_bytes(reply[at : at + 2], "big"), at + 10 + int.from_bytes(reply[at + 8 : at + 10], "big")
        data, at = reply[at + 10 : end], end
        held = _held(kind, data)
        if end > len(reply) or held is None:
            return None
        found += held
    return found if at == len(reply) else None


def _held(kind: int, data: bytes) -> "list[bytes] | None":
    """The addresses in the data of one record; None where it is malformed."""
    if kind in (A, AAAA):
        return [data] if len(data) == (4 if kind == A else 16) else None
    if kind not in (SVCB, HTTPS):
        return []
    at, found = _skip(data, 2), []
    if at < 0:
        return None
    while at < len(data):
        key, end = int.from_bytes(data[at : at + 2], "big"), at + 4 + int.from_bytes(data[at + 2 : at + 4], "big")
        value, size = data[at + 4 : end], _HINTS.get(key, 0)
        if end > len(data) or at + 4 > len(data) or (size and len(value) % size):
            return None
        if size:
            found += [value[each : each + size] for each in range(0, len(value), size)]
        at = end
    return found


def _skip(data: bytes, at: int) -> int:
    """Where a name ends that begins there, or with a pointer, which leads back (RFC 1035, 4.1.4); -1 for none."""
    begin = at
    while 0 <= at < len(data) and at - begin < MAX_NAME:
        size = data[at]
        if size == 0:
            return at + 1
        if size >= 0xC0:
            to = int.from_bytes(data[at : at + 2], "big") & 0x3FFF
            return at + 2 if at + 2 <= len(data) and to < begin else -1
        if size > _MAX_LABEL:
            return -1
        at += 1 + size
    return -1
