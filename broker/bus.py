"""The smallest D-Bus client: which names a bus owns and can start (SPEC §5.5), and the messages a probe needs.

Follows the D-Bus Specification: "Server Addresses", "Authentication Protocol" (EXTERNAL), "Message Protocol".
Bounded in time and size; what a peer sends is data, never believed further than its form.
"""

import contextlib
import os
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4

MAX_MESSAGE = 1 << 20  # names of a crowded desktop bus take some 20 KiB
MAX_MESSAGES = 1000  # that may come before the answer to a call
MAX_LINE = 512

_DAEMON = "org.freedesktop.DBus"
_DOCUMENTS = "org.freedesktop.portal.Documents"
# Header fields: code -> (attribute, signature).
_FIELDS = {
    1: ("path", "o"),
    2: ("interface", "s"),
    3: ("member", "s"),
    5: ("reply_serial", "u"),
    6: ("destination", "s"),
    7: ("sender", "s"),
    8: ("signature", "g"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One D-Bus message; an absent header field is empty or 0. ``body`` is as it came, in ``order`` ("<" or ">")."""

    kind: int
    serial: int
    path: str = ""
    interface: str = ""
    member: str = ""
    reply_serial: int = 0
    destination: str = ""
    sender: str = ""
    signature: str = ""
    body: bytes = b""
    order: str = "<"


def encode(message: Message) -> bytes:
    """The message's bytes, in little-endian order whatever ``message.order`` says of a body that is not empty."""
    fields = b""
    for code, (attribute, signature) in _FIELDS.items():
        if value := getattr(message, attribute):
            fields = _pad(fields, 8) + struct.pack("<BB", code, 1) + signature.encode() + b"\0"
            fields = _pad(fields, 4) + struct.pack("<I", value) if signature == "u" else _text(fields, signature, value)
    fixed = struct.pack("<cBBBIII", b"l", message.kind, 0, 1, len(message.body), message.serial, len(fields))
    return _pad(fixed + fields, 8) + message.body


def _pad(data: bytes, unit: int) -> bytes:
    return data + b"\0" * (-len(data) % unit)


def _text(data: bytes, signature: str, value: str) -> bytes:
    raw = value.encode()
    if signature == "g":
        return data + bytes([len(raw)]) + raw + b"\0"
    return _pad(data, 4) + struct.pack("<I", len(raw)) + raw + b"\0"


def size(start: bytes) -> int | None:
    """How long the message that begins with ``start`` is, in bytes; None while that cannot be told yet.

    Raises ValueError for what is no message of protocol version 1, or one larger than ``MAX_MESSAGE``.
    """
    if len(start) < 16:
        return None
    order = {b"l": "<", b"B": ">"}.get(start[:1])
    if order is None or start[3] != 1:
        raise ValueError("not a D-Bus message")
    body, _, fields = struct.unpack_from(order + "III", start, 4)
    whole: int = 16 + (fields + 7) // 8 * 8 + body
    if whole > MAX_MESSAGE:
        raise ValueError("a D-Bus message that is too large")
    return whole


def decode(data: bytes) -> Message:
    """One whole message as ``size`` measured it. Raises ValueError when it is malformed."""
    order = "<" if data[:1] == b"l" else ">"
    found: dict[str, int | str] = {}
    try:
        body, serial, length = struct.unpack_from(order + "III", data, 4)
        at, end = 16, 16 + length
        while at < end:
            at += -at % 8
            code, signature = data[at], data[at + 2 : at + 3].decode()
            if data[at + 1] != 1 or data[at + 3] != 0:
                raise ValueError("a header field that is no simple value")
            value, at = _read(data, at + 4, order, signature)
            if code in _FIELDS and _FIELDS[code][1] == signature:
                found[_FIELDS[code][0]] = value
    except (struct.error, IndexError, UnicodeDecodeError) as wrong:
        raise ValueError("not a D-Bus message") from wrong
    rest = data[len(data) - body :] if body else b""
    return Message(kind=data[1], serial=serial, body=rest, order=order, **found)  # type: ignore[arg-type]


def _read(data: bytes, at: int, order: str, signature: str) -> tuple[int | str, int]:
    if signature == "g":
        length, at = data[at], at + 1
    else:
        at += -at % 4
        length, at = struct.unpack_from(order + "I", data, at)[0], at + 4
        if signature == "u":
            return int(length), at
    if signature not in ("s", "o", "g") or at + length + 1 > len(data):
        raise ValueError("a header field that is no text")
    return data[at : at + length].decode(), at + length + 1


def strings(message: Message) -> tuple[str, ...]:
    """The body of a message whose signature is ``as``. Raises ValueError for any other."""
    if message.signature != "as":
        raise ValueError("not a list of strings")
    try:
        at, end = 4, 4 + struct.unpack_from(message.order + "I", message.body)[0]
        found = []
        while at < end:
            value, at = _read(message.body, at, message.order, "s")
            found.append(str(value))
            at += -at % 4
    except (struct.error, IndexError, UnicodeDecodeError) as wrong:
        raise ValueError("not a list of strings") from wrong
    return tuple(found)


def target(address: str) -> str | None:
    """The socket that a D-Bus address means, ready for ``connect``: a path, or a NUL and an abstract name.

    Only ``unix:path=`` and ``unix:abstract=`` count: other transports reach another machine or start a program.
    """
    transport, _, rest = address.partition(":")
    keys = dict(pair.partition("=")[::2] for pair in rest.split(",") if "=" in pair)
    if transport != "unix" or len(keys.keys() & {"path", "abstract"}) != 1:
        return None
    value = _unescape(keys.get("path") or keys.get("abstract") or "")
    if not value or "\0" in value:
        return None
    return value if "path" in keys else "\0" + value


def usable(addresses: str) -> str:
    """The first address of a ``;`` list that this client can use, or empty."""
    return next((address for address in addresses.split(";") if target(address)), "")


def address(path: str) -> str:
    """The address of the bus whose socket is the file ``path``; ``target`` reads it back."""
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/."
    return "unix:path=" + "".join(chr(byte) if byte in plain else f"%{byte:02x}" for byte in os.fsencode(path))


def _unescape(value: str) -> str:
    head, *parts = value.split("%")
    try:
        raw = os.fsencode(head) + b"".join(bytes([int(part[:2], 16)]) + os.fsencode(part[2:]) for part in parts)
    except ValueError:
        return ""
    return os.fsdecode(raw)


class Connection:
    """A stream to a bus or a proxy. Every method raises OSError or ValueError when the peer does not play along."""

    def __init__(self, stream: socket.socket, deadline: float) -> None:
        """stream: connected; deadline: on the monotonic clock, for everything together."""
        self._stream = stream
        self._deadline = deadline
        self._buffer = b""
        self._serial = 0

    def greet(self) -> str:
        """Authenticate as ourselves and say Hello; the unique name that the bus gives."""
        user = str(os.geteuid()).encode().hex()
        self.write(b"\0AUTH EXTERNAL " + user.encode() + b"\r\n")
        if not self.line().startswith(b"OK "):
            raise ValueError("the bus does not accept this user")
        self.write(b"BEGIN\r\n")
        answer = self.ask("Hello")
        value, _ = _read(answer.body, 0, answer.order, "s") if answer.signature == "s" else ("", 0)
        return str(value)

    def ask(self, member: str, name: str = "") -> Message:
        """Call a method of the bus itself, with a name or with nothing; its return."""
        return self.call(
            Message(
                kind=CALL,
                serial=0,
                path="/org/freedesktop/DBus",
                interface=_DAEMON,
                member=member,
                destination=_DAEMON,
                signature="s" if name else "",
                body=_text(b"", "s", name) if name else b"",
            )
        )

    def call(self, message: Message) -> Message:
        """Send a method call; its return."""
        serial = self.send(message)
        for _ in range(MAX_MESSAGES):
            answer = self.receive()
            if answer.reply_serial == serial and answer.kind in (RETURN, ERROR):
                if answer.kind == ERROR:
                    raise ValueError(f"{message.member} is refused")
                return answer
        raise ValueError(f"nothing answers {message.member}")

    def send(self, message: Message) -> int:
        """Send with the next serial number, which is returned."""
        self._serial += 1
        fields = {name: getattr(message, name) for name in message.__slots__}
        self.write(encode(Message(**{**fields, "serial": self._serial})))
        return self._serial

    def receive(self) -> Message:
        """The next message."""
        while (wanted := size(self._buffer)) is None or len(self._buffer) < wanted:
            self._fill()
        data, self._buffer = self._buffer[:wanted], self._buffer[wanted:]
        return decode(data)

    def line(self) -> bytes:
        """The next line of the authentication, without its end."""
        while b"\r\n" not in self._buffer:
            if len(self._buffer) > MAX_LINE:
                raise ValueError("not a D-Bus server")
            self._fill()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._stream.settimeout(max(self._deadline - time.monotonic(), 0.001))
        self._stream.sendall(data)

    def _fill(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._stream.settimeout(left)
        chunk = self._stream.recv(1 << 16)
        if not chunk:
            raise ConnectionResetError
        self._buffer += chunk


def names(address: str, timeout: float = 1.0) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """(owned, activatable) names of the bus at ``address``, sorted, without unique names and the bus itself.

    timeout: seconds for everything together. None when the bus is not reachable or does not behave like one.
    """
    where = target(address)
    if where is None:
        return None
    try:
        with _greeted(where, timeout) as bus:
            owned = strings(bus.ask("ListNames"))
            activatable = strings(bus.ask("ListActivatableNames"))
    except (OSError, ValueError):
        return None
    return _well_known(owned), _well_known(activatable)


def owner(address: str, name: str, timeout: float = 1.0) -> int:
    """The process that owns ``name`` on the bus at ``address``, as the bus knows it; 0 when nobody says."""
    try:
        with _greeted(target(address) or "", timeout) as bus:
            answer = bus.ask("GetConnectionUnixProcessID", name)
    except (OSError, ValueError):
        return 0
    pid, _ = _read(answer.body, 0, answer.order, "u") if answer.signature == "u" and len(answer.body) == 4 else (0, 0)
    return int(pid)


def reload(address: str, timeout: float = 1.0) -> bool:
    """Whether the bus at ``address`` has read its configuration and its service files again."""
    try:
        with _greeted(target(address) or "", timeout) as bus:
            bus.ask("ReloadConfig")
    except (OSError, ValueError):
        return False
    return True


def told(address: str, name: str, path: str, member: str, timeout: float = 1.0) -> str:
    """The one string that a method of the interface called like the service itself returns; empty without it."""
    answer = _told(address, name, path, member, timeout)
    try:
        return str(_read(answer.body, 0, answer.order, "s")[0]) if answer and answer.signature == "s" else ""
    except (ValueError, struct.error, IndexError):
        return ""


def documents(address: str, timeout: float = 1.0) -> bytes:
    """Where the document portal of the bus at ``address``, started if need be, is mounted; empty if it does not say."""
    answer = _told(address, _DOCUMENTS, "/org/freedesktop/portal/documents", "GetMountPoint", timeout)
    if answer is None or answer.signature != "ay" or len(answer.body) < 4:
        return b""
    size, found = struct.unpack_from(answer.order + "I", answer.body)[0], answer.body[4:]
    return found.rstrip(b"\0") if size == len(found) else b""


def _told(address: str, name: str, path: str, member: str, timeout: float) -> Message | None:
    """The return of a method without arguments, of the interface called like the service itself."""
    try:
        with _greeted(target(address) or "", timeout) as bus:
            return bus.call(Message(kind=CALL, serial=0, path=path, interface=name, member=member, destination=name))
    except (OSError, ValueError):
        return None


@contextlib.contextmanager
def _greeted(where: str, timeout: float) -> Iterator[Connection]:
    """A connection to the bus at a socket, which knows us. Raises OSError or ValueError."""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(timeout)
        stream.connect(where)
        bus = Connection(stream, time.monotonic() + timeout)
        bus.greet()
        yield bus


def _well_known(found: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({name for name in found if not name.startswith(":") and name != _DAEMON}))
