"""The relay's part of being reached: connects to what listens in the sandbox, once for each connection (SPEC §10.6).

An app that does not listen yet is waited for, once: until it is reached for the first time, or takes too long.
"""

import _socket
import _struct
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.network import rules
PATIENCE = 10.0  # seconds from a connection's arrival until it is refused
AGAIN = 0.05  # ... between two tries
_INSIDE = ((_socket.AF_INET, "127.0.0.1"), (_socket.AF_INET6, "::1"))
_STREAM = _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"  # PROXY protocol, version 2
_MAPPED = bytes(10) + b"\xff\xff"


class _Call:
    """One connection from outside that has none inside yet."""

    __slots__ = ("again", "head", "inner", "outside", "rule", "side", "until")

    def __init__(self, rule: "rules.Listen", outside: _socket.socket, head: bytes) -> None:
        self.rule, self.outside, self.head = rule, outside, head
        self.inner: _socket.socket | None = None
        self.side = 0  # of _INSIDE
        self.again, self.until = 0.0, time.monotonic() + PATIENCE


class Inward:
    """All connections from outside that wait for the app.

    The relay watches ``fileno`` for input, waits at most ``patience`` seconds, and calls ``turn`` after each wait.
    """

    __slots__ = ("_calls", "_connecting", "_join", "_listens", "_over", "_poll", "_reached")

    def __init__(
        self,
        listens: "list[rules.Listen]",
        join: "Callable[[_socket.socket, _socket.socket, str], object]",
        over: "Callable[[], object]",
    ) -> None:
        """join: moves bytes between the app's socket and the one outside, for an intent; over: counts one that ended
        before that."""
        self._listens, self._join, self._over = listens, join, over
        self._poll = select.epoll()
        self._connecting: dict[int, _Call] = {}
        self._calls: dict[_Call, None] = {}  # in the order in which they are tried again
        self._reached: set[int] = set()

    def fileno(self) -> int:
        """What can be read when ``turn`` has something to do."""
        return self._poll.fileno()

    def patience(self) -> float:
        """Seconds until ``turn`` has something to do in any case; -1 for never."""
        first = min((call.again for call in self._calls), default=0.0)
        return max(0.0, first - time.monotonic()) if first else -1

    def take(self, words: "list[bytes]", outside: _socket.socket) -> None:
        """A connection, with what the dialer said of it: the number of its rule, and the peer's address and port."""
        rule = self._listens[int(words[0])]
        outside.setblocking(False)
        try:
            head = _head(outside, words[1].decode(), int(words[2])) if rule.proxy else b""
        except OSError:  # it ended already
            self._refuse(_Call(rule, outside, b""))
            return
        self._try(_Call(rule, outside, head))

    def turn(self) -> None:
        """Do what there is to do, and wait for nothing."""
        for handle, _ in self._poll.poll(0):
            call = self._connecting.get(handle)
            if call:
                self._settle(call)
        now = time.monotonic()
        for call in [call for call in self._calls if call.again <= now]:
            del self._calls[call]
            if call.inner:  # nobody takes it from the queue
                self._leave(call)
                self._refuse(call)
            else:
                self._try(call)

    def drop(self, intent: str) -> int:
        """End those that wait for an intent; how many there were."""
        found = [call for call in self._calls if call.rule.intent == intent]
        for call in found:
            del self._calls[call]
            if call.inner:
                self._leave(call)
            self._refuse(call)
        return len(found)

    def _try(self, call: _Call) -> None:
        """Connect at one address after the other, until one answers or has to be waited for."""
        while call.side < len(_INSIDE):
            family, address = _INSIDE[call.side]
            try:
                inner = _socket.socket(family, _STREAM)
            except OSError:
                call.side += 1
                continue
            call.inner = inner
            try:
                inner.connect((address, call.rule.inside))
            except BlockingIOError:
                self._connecting[inner.fileno()] = call
                self._poll.register(inner.fileno(), select.EPOLLOUT)
                call.again = call.until
                self._calls[call] = None
                return
            except OSError:
                inner.close()
                call.inner = None
                call.side += 1
                continue
            self._connected(call)
            return
        self._wait(call)

    def _settle(self, call: _Call) -> None:
        """What became of an attempt."""
        self._calls.pop(call, None)
        failed = call.inner is None or call.inner.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if not failed:
            self._forget(call)
            self._connected(call)
            return
        self._leave(call)
        call.side += 1
        self._try(call)

    def _forget(self, call: _Call) -> None:
        if call.inner and self._connecting.pop(call.inner.fileno(), None):
            self._poll.unregister(call.inner.fileno())

    def _leave(self, call: _Call) -> None:
        self._forget(call)
        if call.inner:
            call.inner.close()
        call.inner = None

    def _wait(self, call: _Call) -> None:
        """Nobody listens: try again in a moment, if nobody ever did."""
        now = time.monotonic()
        if call.rule.inside in self._reached or now >= call.until:
            self._refuse(call)
            return
        call.side, call.again = 0, now + AGAIN
        self._calls[call] = None

    def _connected(self, call: _Call) -> None:
        self._reached.add(call.rule.inside)
        if call.inner is None:
            return
        try:
            if call.head:
                call.inner.send(call.head)  # fits into an empty buffer
        except OSError:
            self._leave(call)
            self._refuse(call)
            return
        self._join(call.inner, call.outside, call.rule.intent)

    def _refuse(self, call: _Call) -> None:
        """Reset it, as where nobody listens."""
        call.outside.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, _struct.pack("ii", 1, 0))
        call.outside.close()
        self._over()


def _head(outside: _socket.socket, address: str, port: int) -> bytes:
    """The header of version 2 of the PROXY protocol: who connected, and where to. Raises OSError."""
    if outside.family == _socket.AF_UNIX:
        return _SIGNATURE + b"\x21\0\0\0"  # relayed, from an address of no kind that counts
    own, own_port = outside.getsockname()[:2]
    source, target = (
        _socket.inet_pton(outside.family, address),
        _socket.inet_pton(outside.family, own.partition("%")[0]),
    )
    if source[:12] == target[:12] == _MAPPED and len(source) == 16:
        source, target = source[12:], target[12:]
    family = b"\x11" if len(source) == 4 else b"\x21"
    body = source + target + _struct.pack(">HH", port, own_port)
    return _SIGNATURE + b"\x21" + family + _struct.pack(">H", len(body)) + body
