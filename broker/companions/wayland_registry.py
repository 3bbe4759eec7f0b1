"""What one client may see of a compositor: both streams of a connection, judged message by message (SPEC §5.4).

Takes bytes as they come from a socket, cut anywhere, and gives those that pass. Everything passes but two things: what
the compositor says of globals that are not allowed, which is left out, and requests that name one, which end the
connection (``Refused``), as does whatever does not have Wayland's form. Believes neither side.

A registry is made by wl_display.get_registry alone and has no destructor, so its id is never free again: it is watched
to the end. wl_fixes, which can destroy registries, is therefore never to be allowed: with it, or by trusting
wl_display.delete_id, a client could have the id of an older object deleted just after it became a registry's.
"""

from broker.companions import wayland_wire as wire

LONGEST = 1024  # words of a message that is judged; libwayland's own limit is 1024 by default
SERVERS = 0xFF000000  # ids from here on are the compositor's to give

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Judge = Callable[[int, int, bytes], bool]


class Refused(Exception):
    """The connection has to end. ``about`` is the object that the client is told of."""

    def __init__(self, message: str, about: int = wire.DISPLAY) -> None:
        super().__init__(message)
        self.about = about


class Registry:
    """The two directions of one connection. ``allowed``: the names of the interfaces that may be seen."""

    def __init__(self, allowed: "frozenset[bytes]") -> None:
        self._allowed = allowed
        self._registries: set[int] = set()
        self._shown: dict[int, bytes] = {}  # by the numbers that the compositor calls them
        self._addressed = {wire.DISPLAY}
        self.requests = Stream(self._addressed, self._request)
        self.events = Stream(self._registries, self._event)

    def _request(self, target: int, opcode: int, body: bytes) -> bool:
        if target != wire.DISPLAY:
            return self._bind(target, opcode, body)
        if opcode == wire.GET_REGISTRY and len(body) == 4:
            new = wire.number(body, 0)
            if wire.DISPLAY < new < SERVERS:
                self._registries.add(new)
                self._addressed.add(new)
                return True
        elif opcode == wire.SYNC:
            return True
        raise Refused(f"wl_display has no such request ({opcode})")

    def _bind(self, target: int, opcode: int, body: bytes) -> bool:
        name = wire.number(body, 0)
        interface, end = wire.text(body, 4)
        if opcode != wire.BIND or len(body) != end + 8:
            raise Refused(f"wl_registry has no such request ({opcode})", target)
        # A name stays bindable after its removal, which the client may not have heard of: the compositor knows better.
        if self._shown.get(name) != interface:
            raise Refused(f"invalid global {interface.decode('ascii', 'replace')} ({name})", target)
        return True

    def _event(self, _target: int, opcode: int, body: bytes) -> bool:
        name = wire.number(body, 0)
        if opcode == wire.GLOBAL:
            interface, _ = wire.text(body, 4)
            if interface in self._allowed:
                self._shown[name] = interface
                return True
            self._shown.pop(name, None)  # compositors may use names again
            return False
        return opcode == wire.GLOBAL_REMOVE and name in self._shown


class Stream:
    """One direction. ``passes`` takes what was read and gives what is to be written.

    watched: the objects whose messages are judged, each whole; the others pass as they come.
    """

    def __init__(self, watched: "set[int]", judge: "Judge") -> None:
        self._watched, self._judge = watched, judge
        self._held = b""  # the beginning of a message that cannot be judged yet
        self._rest = 0  # bytes still to come of a message that passes

    @property
    def between(self) -> bool:
        """Whether what passed so far ends with a whole message."""
        return not self._rest

    def passes(self, data: bytes) -> bytes:
        """Raises Refused; then nothing of ``data`` may be written."""
        if self._rest >= len(data):
            self._rest -= len(data)
            return data
        begin, self._rest = self._rest, 0
        if self._held:
            data, self._held = self._held + data, b""
        try:
            return self._judged(data, begin)
        except ValueError as error:
            raise Refused(str(error)) from None

    def _judged(self, data: bytes, begin: int) -> bytes:
        """``data`` without what does not pass; its first ``begin`` bytes belong to a message that does."""
        whole = (len(data) - begin) // 4
        words = memoryview(data)[begin : begin + whole * 4].cast("I")
        watched = self._watched
        parts: list[bytes] = []
        at = kept = 0  # in words: the message looked at, and the first that is not in ``parts``
        while at + 1 < whole:
            sized = words[at + 1]
            length = sized >> 18
            if length < 2 or sized & 0x30000:
                raise Refused("not a Wayland message")
            if words[at] in watched:
                if length > LONGEST:
                    raise Refused("a message that is too long")
                if at + length > whole:
                    break
                if not self._judge(words[at], sized & 0xFFFF, bytes(words[at + 2 : at + length])):
                    parts.append(data[begin + kept * 4 if parts else 0 : begin + at * 4])
                    kept = at + length
            at += length
        end = begin + at * 4
        self._rest = max(end - len(data), 0)
        self._held = data[end:]
        if not parts and not self._held:
            return data
        parts.append(data[begin + kept * 4 if parts else 0 : end])
        return b"".join(parts)
