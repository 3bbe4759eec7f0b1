"""Where the sandbox's programs ask for names: 127.0.0.53, by datagrams and by connections (RFC 1035, RFC 7766)."""

import _socket
import select

from broker.network import stub as stubs
from broker.network import turns

ADDRESS, PORT = "127.0.0.53", 53
BATCH = 64  # datagrams of one turn
MOST = 64  # connections; the one that has been silent the longest makes room for another
IDLE = 10.0  # seconds that a connection may be silent
MOST_OPEN = 32  # queries of one connection that are not answered yet
_SIZE = 65536
_UNREAD = 1 << 18  # bytes of answers that a client does not take
_DATAGRAM = _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
_STREAM = _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC


class Resolver:
    """Both ways to ask the stub."""

    __slots__ = ("_clients", "_last", "_listener", "_made", "idle", "loop", "stub")

    def __init__(self, loop: turns.Loop, stub: stubs.Stub, address: str, port: int) -> None:
        """Raises OSError."""
        self.loop, self.stub = loop, stub
        self._last = -2  # the turn in which a datagram came
        self._clients: dict[Client, None] = {}
        self.idle = turns.Patience(loop, IDLE, Client.close)
        self._made = _socket.socket(_socket.AF_INET, _DATAGRAM)
        self._made.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEPORT, 1)  # beside what listens at every address
        self._made.bind((address, port))
        self._listener = _socket.socket(_socket.AF_INET, _STREAM)
        self._listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        self._listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEPORT, 1)
        self._listener.bind(self.address())
        self._listener.listen(MOST)
        loop.watch(self._made, turns.READ, self._asked, self._failed)
        loop.watch(self._listener, turns.READ, self._accept, self._failed)

    def address(self) -> "tuple[str, int]":
        """Where to ask, either way."""
        host, port = self._made.getsockname()
        return host, port

    def _asked(self, _events: int) -> None:
        often = self.loop.turns - self._last <= 1
        self._last = self.loop.turns
        for _ in range(BATCH if often else 2):  # programs ask for both kinds of addresses at once
            try:
                data, sender = self._made.recvfrom(_SIZE)
            except BlockingIOError:
                return
            again = self.stub.again(data, self.loop.now)
            if again:
                self._tell(again, sender)
            else:
                self._ask(data, sender)

    def _tell(self, answer: bytes, sender: "tuple[str, int]") -> None:
        try:
            self._made.sendto(answer, sender)
        except OSError:  # who asked does not read, or is gone
            return

    def _ask(self, data: bytes, sender: "tuple[str, int]") -> None:
        def reply(answer: bytes) -> None:
            self._tell(answer, sender)

        self.loop.stirred = True
        try:
            self.stub.ask(data, self.loop.now, reply)
        except (ValueError, IndexError):  # no query
            return

    def _failed(self) -> None:
        """One query was no use; those after it may be."""

    def _accept(self, _events: int) -> None:
        handle, _ = self._listener._accept()  # type: ignore[attr-defined]
        made = _socket.socket(_socket.AF_INET, _STREAM, 0, handle)
        made.setblocking(False)
        if len(self._clients) >= MOST:
            self.idle.oldest().close()
        client = Client(self, made)
        self._clients[client] = None
        self.loop.watch(made, turns.READ, client.ready, client.close)
        self.idle.start(client)

    def gone(self, client: "Client") -> bool:
        """A connection is no more; whether it still was."""
        self.idle.stop(client)
        return client in self._clients and self._clients.pop(client) is None

    def close(self) -> None:
        """Answer nobody."""
        for client in list(self._clients):
            client.close()
        self.loop.forget(self._made)
        self.loop.forget(self._listener)


class Client:
    """A connection to the resolver: queries and answers, each after its length in two bytes."""

    __slots__ = ("_all", "_asked", "_heard", "_made", "_open", "_said")

    def __init__(self, everything: Resolver, made: _socket.socket) -> None:
        self._all, self._made = everything, made
        self._heard = self._said = b""
        self._open = 0  # queries that are not answered yet
        self._asked = False  # whether the client has asked all that it will

    def ready(self, events: int) -> None:
        """Take queries, and let go of answers, as many as there is room for."""
        if events & ~select.EPOLLOUT and self._open < MOST_OPEN and len(self._said) < _UNREAD and not self._asked:
            data = self._made.recv(_SIZE)
            self._asked = not data
            self._heard += data
            self._all.idle.start(self)
        if events & (select.EPOLLERR | select.EPOLLHUP):
            self.close()
            return
        self._all.loop.stirred = True
        self._ask()
        self._flush()

    def _ask(self) -> None:
        while self._open < MOST_OPEN and len(self._said) < _UNREAD:
            size = int.from_bytes(self._heard[:2], "big")
            if len(self._heard) < 2 + size or not size:
                break
            query, self._heard = self._heard[2 : 2 + size], self._heard[2 + size :]
            self._open += 1
            self._all.stub.ask(query, self._all.loop.now, self._answer, stream=True)
        if len(self._heard) >= 2 and not any(self._heard[:2]):
            raise ValueError("a query of no bytes")

    def _answer(self, answer: bytes) -> None:
        self._open -= 1
        self._said += len(answer).to_bytes(2, "big") + answer
        self._flush()

    def _flush(self) -> None:
        if self._made.fileno() < 0:
            return
        try:
            while self._said:
                self._said = self._said[self._made.send(self._said) :]
                self._all.idle.start(self)
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if self._asked and not self._open and not self._said:
            self.close()
            return
        reads = not self._asked and self._open < MOST_OPEN and len(self._said) < _UNREAD
        self._all.loop.change(self._made, (turns.READ if reads else 0) | (select.EPOLLOUT if self._said else 0))

    def close(self) -> None:
        """End it."""
        if self._all.gone(self):
            self._all.loop.forget(self._made)
