"""Questions about any name, asked of this machine's resolvers, where that was granted (SPEC §10.6).

Only of resolvers: what /etc/hosts or another source of this machine knows is not the network's, and is not told. Each
question goes out from a port of its own under a number of its own, and what comes back must be its reply (RFC 5452).
How much a granted app can tell somebody in the names it asks for is bounded by the rate; it cannot be prevented.
"""

import _socket
import errno
import os
import time

from broker.network import addresses, connecting, loop, message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Done = Callable[[bytes], None]
RESOLVERS = "/etc/resolv.conf"
MOST = 3  # resolvers: resolv.conf(5), MAXNS
PATIENCE = 2.0  # seconds until the next resolver is asked
ROUNDS = 2
WAITING = 256  # questions at a time
RATE, BURST = 50.0, 300.0  # questions in a second, and at once: a page of many sites
_LARGEST = 65535
Server = tuple[bytes, int]  # a packed address and the number of an interface, for one that is local to it


def servers(text: bytes) -> "tuple[Server, ...]":
    """The resolvers of a resolv.conf(5); this machine itself where it names none."""
    found: list[Server] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0] != b"nameserver":
            continue
        address, _, zone = words[1].decode("ascii", "replace").partition("%")
        try:
            packed, bits = addresses.pack(address)
            scope = (int(zone) if zone.isdigit() else _socket.if_nametoindex(zone)) if zone else 0
        except (OSError, ValueError):
            continue
        if bits == 8 * len(packed):
            found.append((packed, scope))
    return tuple(found[:MOST]) or ((b"\x7f\0\0\1", 0),)


class Forward:
    """The resolvers as they are now, and the questions that wait for them."""

    __slots__ = ("_budget", "_counted", "_kind_of", "_lan", "_loop", "_path", "_port", "_seen", "_servers", "_waiting")

    def __init__(
        self, looping: loop.Loop, kind_of: "Callable[[bytes], str]", lan: bool, path: str = RESOLVERS, port: int = 53
    ) -> None:
        """kind_of: what an address is to this machine; lan: any name may lead to an address of the local network."""
        self._loop, self._kind_of, self._lan, self._path, self._port = looping, kind_of, lan, path, port
        self._servers: tuple[Server, ...] = ()
        self._seen: tuple[int, int, int] | None = None
        self._budget, self._counted = BURST, time.monotonic()
        self._waiting: set[Question] = set()

    def ask(self, data: bytes, done: "Done") -> None:
        """Ask one question. done: gets the reply, at once or later; a failure is one, too."""
        query = message.parse_query(data)
        if query is None:
            done(message.complaint(data))
        elif "." not in query.name:
            done(message.answer(query, message.NO_SUCH_NAME))
        elif len(self._waiting) >= WAITING or not self._affordable():
            done(message.answer(query, message.FAILED))
        else:
            self._read()

            def replied(reply: bytes) -> None:
                self._waiting.discard(question)
                done(self._checked(query, reply))

            question = Question(self._loop, query, self._servers * ROUNDS, self._port, replied)
            self._waiting.add(question)
            question.go_on()

    def _affordable(self) -> bool:
        now = time.monotonic()
        self._budget = min(BURST, self._budget + (now - self._counted) * RATE)
        self._counted = now
        if self._budget < 1:
            return False
        self._budget -= 1
        return True

    def _read(self) -> None:
        """Read the resolvers again where they have changed: a network came or went, the machine slept."""
        try:
            now = os.stat(self._path)
            seen = now.st_ino, now.st_mtime_ns, now.st_size
            if seen == self._seen:
                return
            handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._servers, self._seen = servers(os.read(handle, _LARGEST)), seen
            finally:
                os.close(handle)
        except OSError:
            self._servers, self._seen = servers(b""), None

    def _checked(self, query: message.Query, reply: bytes) -> bytes:
        """A reply as the app gets it: one that leads where names must not lead is empty."""
        found = message.addresses_in(reply) if reply else None
        if found is None:
            return message.answer(query, message.FAILED)
        local = self._lan or addresses.is_local_name(query.name)
        kinds = map(self._kind_of, found)
        if any(addresses.verdict(kind, local_name=local, granted=False) for kind in kinds):
            return message.answer(query, message.OKAY)
        return query.number + reply[2:]

    def close(self) -> None:
        """Give up what waits."""
        for question in list(self._waiting):
            question.close()
        self._waiting.clear()


class Question:
    """One question on its way. It ends by calling ``done`` once: with a reply, or with nothing."""

    __slots__ = (
        "_data",
        "_done",
        "_last",
        "_left",
        "_loop",
        "_made",
        "_number",
        "_port",
        "_query",
        "_server",
        "_timer",
    )

    def __init__(
        self, looping: loop.Loop, query: message.Query, left: "tuple[Server, ...]", port: int, done: "Done"
    ) -> None:
        self._loop, self._query, self._left, self._port, self._done = looping, query, list(left), port, done
        self._server: Server = left[0]
        self._number = self._data = self._last = b""
        self._made: _socket.socket | None = None
        self._timer: loop.Timer | None = None

    def go_on(self) -> None:
        """Ask the next resolver; where there is none left, the last reply is the best there was."""
        while self._left:
            self._server = self._left.pop(0)
            self._number = os.urandom(2)
            try:
                self._send(self._open(_socket.SOCK_DGRAM))
                return
            except OSError:
                continue
        self.close()
        self._done(self._last)

    def _open(self, kind: int) -> _socket.socket:
        """Connect to the resolver, instead of what was connected. Raises OSError."""
        self.close()
        self._made = made = connecting.make(self._server[0], kind)
        self._timer = self._loop.after(PATIENCE, self.go_on)
        code = made.connect_ex(connecting.target(self._server[0], self._port, self._server[1]))
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        return made

    def _send(self, made: _socket.socket) -> None:
        made.send(message.asks(self._number, self._query))
        self._loop.watch(made.fileno(), loop.READ, lambda _events: self._datagram(made))

    def _datagram(self, made: _socket.socket) -> None:
        try:
            reply = made.recv(_LARGEST)
        except BlockingIOError:
            return
        except OSError:  # nobody is there
            self.go_on()
            return
        if not message.replies(reply, self._number, self._query):
            return
        if not message.truncated(reply):
            self._judge(reply)
            return
        try:
            stream = self._open(_socket.SOCK_STREAM)
            self._data = b""
            self._loop.watch(stream.fileno(), loop.WRITE, lambda _events: self._connected(stream))
        except OSError:
            self.go_on()

    def _connected(self, made: _socket.socket) -> None:
        try:
            made.send(message.framed(message.asks(self._number, self._query)), _socket.MSG_NOSIGNAL)
        except OSError:
            self.go_on()
            return
        self._loop.forget(made.fileno())
        self._loop.watch(made.fileno(), loop.READ, lambda _events: self._stream(made))

    def _stream(self, made: _socket.socket) -> None:
        try:
            piece = made.recv(_LARGEST)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        self._data += piece
        whole = message.unframe(self._data)
        if whole and message.replies(whole[0], self._number, self._query):
            self._judge(whole[0])
        elif whole or not piece:
            self.go_on()

    def _judge(self, reply: bytes) -> None:
        if message.code_of(reply) in (message.OKAY, message.NO_SUCH_NAME):
            self.close()
            self._done(reply)
        else:
            self._last = reply
            self.go_on()

    def close(self) -> None:
        """Wait no longer."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._made:
            self._loop.forget(self._made.fileno())
            self._made.close()
            self._made = None
